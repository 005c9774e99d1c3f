//! Tenants, instances and the schema's own state, as the application's role.

use crate::support;

use application::ports::{AccessStore, InstanceStore, ListPage, Sealed, StoreError};
use chrono::{DateTime, Utc};
use domain::{Instance, InstanceId, InstanceStatus, SourceKind, Tenant, TenantId, TenantStatus};
use patchbay_infrastructure::postgres::{
    PgAccess, PgInstances, RolePasswords, SchemaState, check_server, migrate, schema_state,
};
use patchbay_infrastructure::vault::{MasterKey, MasterKeys};
use support::{TestDb, master_key};
use uuid::Uuid;

#[tokio::test]
async fn a_slug_is_taken_once_and_found_by_operators() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let access = PgAccess::new(test.db.clone(), test.audit());
    let again = Tenant {
        id: TenantId::new(Uuid::now_v7()),
        slug: "alpha".parse().unwrap(),
        status: TenantStatus::Active,
        strict_audit: false,
        created_at: chrono::DateTime::UNIX_EPOCH,
    };
    assert!(matches!(access.create_tenant(&again).await, Err(StoreError::Conflict(_))));
    let found = access.find_tenant(&"alpha".parse().unwrap()).await.unwrap().expect("alpha exists");
    assert_eq!(found.id, alpha.tenant);
    assert!(access.find_tenant(&"beta".parse().unwrap()).await.unwrap().is_none());
}

fn instance(slug: &str) -> Instance {
    let at: DateTime<Utc> = "2026-11-01T10:00:00Z".parse().unwrap();
    Instance {
        id: InstanceId::new(Uuid::now_v7()),
        slug: slug.parse().unwrap(),
        source: SourceKind::new("github"),
        name: slug.into(),
        base_url: "https://api.github.com".parse().unwrap(),
        settings: serde_json::json!({"repositories": ["owner/repo"]}),
        status: InstanceStatus::Active,
        created_at: at,
        updated_at: at,
    }
}

#[tokio::test]
async fn instances_are_kept_listed_in_pages_and_removed_with_their_credential() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let store = PgInstances::new(test.db.clone(), test.audit());
    let all: Vec<Instance> = ["a", "b", "c"].map(instance).into();
    for one in &all {
        store.insert(&alpha, one, &Sealed(vec![1, 2])).await.unwrap();
    }
    assert!(matches!(
        store.insert(&alpha, &instance("a"), &Sealed(vec![])).await,
        Err(StoreError::Conflict(_))
    ));
    store.insert(&beta, &instance("a"), &Sealed(vec![3])).await.expect("another tenant may use the name");

    let first = store.list(&alpha, &ListPage { limit: 2, cursor: None }).await.unwrap();
    let second = store.list(&alpha, &ListPage { limit: 2, cursor: first.next.clone() }).await.unwrap();
    let listed: Vec<_> = first.items.into_iter().chain(second.items).collect();
    assert_eq!(listed, all.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(second.next, None);

    let mut changed = all[0].clone();
    changed.status = InstanceStatus::Paused;
    assert!(store.update(&alpha, &changed, Some(&Sealed(vec![9]))).await.unwrap());
    assert_eq!(store.find(&alpha, changed.id).await.unwrap(), Some(changed.clone()));
    assert_eq!(
        store.credential(&alpha, changed.id).await.unwrap().map(|found| found.sealed),
        Some(Sealed(vec![9]))
    );
    assert!(store.delete(&alpha, changed.id).await.unwrap());
    assert!(!store.delete(&alpha, changed.id).await.unwrap());
    assert_eq!(store.credential(&alpha, changed.id).await.unwrap(), None);
}

// Security requirement 9: another tenant's id is answered like one that does not exist.
#[tokio::test]
async fn an_instance_of_another_tenant_is_not_found_changed_or_removed() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let store = PgInstances::new(test.db.clone(), test.audit());
    let theirs = instance("a");
    store.insert(&alpha, &theirs, &Sealed(vec![1])).await.unwrap();
    assert_eq!(store.find(&beta, theirs.id).await.unwrap(), None);
    assert_eq!(store.credential(&beta, theirs.id).await.unwrap(), None);
    assert!(!store.update(&beta, &theirs, Some(&Sealed(vec![2]))).await.unwrap());
    assert!(!store.delete(&beta, theirs.id).await.unwrap());
    assert_eq!(
        store.credential(&alpha, theirs.id).await.unwrap().map(|found| found.sealed),
        Some(Sealed(vec![1]))
    );
}

#[tokio::test]
async fn the_schema_state_tells_missing_current_behind_and_ahead() {
    let empty = TestDb::empty().await;
    assert_eq!(schema_state(&empty.db).await.unwrap(), SchemaState::Missing);

    let test = TestDb::new().await;
    assert_eq!(schema_state(&test.db).await.unwrap(), SchemaState::UpToDate);
    let mut admin = test.admin().await;
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                 values (99991231000000, 'of a newer build', true, '', 0)",
    )
    .execute(&mut admin)
    .await
    .unwrap();
    assert_eq!(schema_state(&test.db).await.unwrap(), SchemaState::Ahead);
    sqlx::query("comment on schema published is null").execute(&mut admin).await.unwrap();
    assert!(matches!(schema_state(&test.db).await.unwrap(), SchemaState::Behind { .. }));
}

#[tokio::test]
async fn migrating_twice_at_once_and_again_is_harmless() {
    let test = TestDb::empty().await;
    let (passwords, master) = (RolePasswords::default(), master_key());
    let migrated = || migrate(&test.urls.admin, &passwords, &master);
    let (a, b) = tokio::join!(migrated(), migrated());
    a.unwrap();
    b.unwrap();
    let warnings = migrated().await.unwrap().warnings;
    assert_eq!(
        warnings.iter().filter(|finding| !finding.what.contains("security fixes")).count(),
        0,
        "{warnings:?}"
    );
    assert_eq!(schema_state(&test.db).await.unwrap(), SchemaState::UpToDate);
}

// Security requirement 56.
#[tokio::test]
async fn another_master_key_is_refused_before_anything_changes() {
    let test = TestDb::new().await;
    let other = MasterKey::generate();
    let passwords = RolePasswords::derived(&MasterKeys::from(&other)).await.unwrap();
    let error = migrate(&test.urls.admin, &passwords, &other).await.unwrap_err();
    assert!(error.to_string().starts_with("the master key does not open this database's keys"), "{error}");
}

#[tokio::test]
async fn the_doctor_reports_a_reader_that_got_its_rights_back() {
    let test = TestDb::new().await;
    sqlx::raw_sql(
        "grant execute on function pg_catalog.set_config(text, text, boolean) to public;
                   alter table work_items no force row level security",
    )
    .execute(&mut test.admin().await)
    .await
    .unwrap();
    let findings = check_server(&test.urls.admin).await.unwrap();
    let found = |text: &str| findings.iter().any(|finding| finding.what.contains(text));
    assert!(found("patchbay_reader may call set_config"), "{findings:?}");
    assert!(found("work_items is not under forced row-level security"), "{findings:?}");
}
