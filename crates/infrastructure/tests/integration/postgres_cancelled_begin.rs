//! A cancelled `begin` in sqlx 0.9 can leave the server in a transaction that the client does not know of. The next
//! user's acknowledged writes would then be gone with its rollback (reference/security.md 5.7).

use crate::support;

use application::ports::{InstanceStore, Sealed, StoreError};
use chrono::{DateTime, Utc};
use domain::{Instance, InstanceId, InstanceStatus, SourceKind};
use patchbay_infrastructure::postgres::{PgInstances, PoolSizes};
use sqlx::postgres::PgPoolOptions;
use support::{TestDb, cancel_after};
use uuid::Uuid;

#[tokio::test]
async fn without_the_hook_an_acknowledged_write_can_be_lost() {
    let test = TestDb::new().await;
    let mut admin = test.admin().await;
    sqlx::query("create table scratch (n int)").execute(&mut admin).await.unwrap();
    #[expect(clippy::disallowed_types, reason = "the very thing that is shown to be unsafe")]
    let pool: sqlx::PgPool =
        PgPoolOptions::new().max_connections(1).connect_with(test.urls.admin.clone()).await.unwrap();
    for n in 0..400 {
        drop(cancel_after(2 + (n as u32) % 7, pool.begin()).await);
        // Acknowledged: whoever wrote this believes that it is there.
        sqlx::query("insert into scratch values ($1)").bind(n).execute(&pool).await.unwrap();
        pool.begin().await.unwrap().rollback().await.unwrap();
        let kept: bool = sqlx::query_scalar("select exists (select from scratch where n = $1)")
            .bind(n)
            .fetch_one(&mut admin)
            .await
            .unwrap();
        if !kept {
            pool.close().await;
            return;
        }
    }
    panic!(
        "400 cancelled begins lost no write: if this sqlx no longer leaves transactions open, the hook in \
         postgres/db.rs can go, and this test with it"
    );
}

// Security requirement 13.
#[tokio::test]
async fn through_the_products_pool_no_acknowledged_write_is_lost() {
    let test = TestDb::with_pools(PoolSizes { app: 1, reader: 1, queue: 1 }).await;
    let alpha = test.ctx("alpha").await;
    let store = PgInstances::new(test.db.clone(), test.audit());
    let mut admin = test.admin().await;
    for n in 0..400u32 {
        let written = instance(&format!("i{n}"));
        drop(cancel_after(2 + n % 7, store.find(&alpha, written.id)).await);
        store.insert(&alpha, &written, &Sealed(vec![])).await.expect("the write is acknowledged");
        drop(cancel_after(2 + n % 5, store.find(&alpha, written.id)).await);
        let again = store.insert(&alpha, &instance(&format!("i{n}")), &Sealed(vec![])).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
        let kept: bool = sqlx::query_scalar("select exists (select from source_instances where id = $1)")
            .bind(written.id.as_uuid())
            .fetch_one(&mut admin)
            .await
            .unwrap();
        assert!(kept, "the acknowledged write {n} is gone");
    }
}

/// The hook itself: with it, what the next user gets is never inside somebody else's transaction.
#[tokio::test]
async fn a_connection_of_the_products_pool_is_never_handed_on_inside_a_transaction() {
    let test = TestDb::with_pools(PoolSizes { app: 1, reader: 1, queue: 1 }).await;
    let alpha = test.ctx("alpha").await;
    let store = PgInstances::new(test.db.clone(), test.audit());
    let mut admin = test.admin().await;
    for n in 0..300u32 {
        drop(cancel_after(2 + n % 7, store.find(&alpha, InstanceId::new(Uuid::now_v7()))).await);
        // Autocommit on the same pool: inside a stale transaction its state would stay "idle in transaction".
        test.db.ping().await.unwrap();
        let stale: bool = sqlx::query_scalar(
            "select exists (select from pg_stat_activity where datname = current_database()
             and usename = 'patchbay_app' and state like 'idle in transaction%')",
        )
        .fetch_one(&mut admin)
        .await
        .unwrap();
        assert!(!stale, "try {n} left a transaction open");
    }
}

fn instance(slug: &str) -> Instance {
    let at: DateTime<Utc> = "2026-11-01T10:00:00Z".parse().unwrap();
    Instance {
        id: InstanceId::new(Uuid::now_v7()),
        slug: slug.parse().unwrap(),
        source: SourceKind::new("github"),
        name: slug.into(),
        base_url: "https://api.github.com".parse().unwrap(),
        settings: serde_json::json!({}),
        status: InstanceStatus::Active,
        created_at: at,
        updated_at: at,
    }
}
