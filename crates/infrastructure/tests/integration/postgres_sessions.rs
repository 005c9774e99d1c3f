//! Sessions and sign-ins under way, as the application's role.

use crate::support;

use std::time::{Duration, Instant};

use application::Ctx;
use application::ports::{KnownSession, NewSession, SessionStore, SignInState};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{SessionId, UserId};
use patchbay_infrastructure::clock::SystemClock;
use patchbay_infrastructure::postgres::PgSessions;
use sqlx::{Connection, Executor, PgConnection};
use support::TestDb;
use uuid::Uuid;

const IDLE: Duration = Duration::from_secs(30 * 60);

fn now() -> DateTime<Utc> {
    application::ports::Clock::now(&SystemClock)
}

fn store(test: &TestDb) -> PgSessions {
    PgSessions::new(test.db.clone(), test.audit())
}

fn session(mac: u8, user: UserId) -> NewSession {
    let created_at = now();
    NewSession {
        id: SessionId::new(Uuid::now_v7()),
        mac: [mac; 32],
        user,
        created_at,
        expires_at: created_at + TimeDelta::hours(12),
    }
}

fn state(mac: u8, expires_at: DateTime<Utc>) -> SignInState {
    SignInState {
        mac: [mac; 32],
        browser_mac: [9; 32],
        issuer: "https://idp.example".into(),
        nonce: "nonce".into(),
        pkce_verifier: "verifier".to_owned().into(),
        invitation_mac: Some([8; 32]),
        tenant_slug: Some("alpha".into()),
        return_to: "/docs".into(),
        expires_at,
    }
}

async fn found(store: &PgSessions, mac: u8) -> Option<KnownSession> {
    store.find(&[mac; 32], IDLE).await.unwrap()
}

async fn as_admin(test: &TestDb, statement: &'static str) {
    let mut admin: PgConnection = test.admin().await;
    admin.execute(statement).await.unwrap();
    admin.close().await.unwrap();
}

// Security requirement 42.
#[tokio::test]
async fn a_sign_in_is_taken_once_even_by_many_at_the_same_moment() {
    let test = TestDb::new().await;
    let store = store(&test);
    store.begin(&state(1, now() + TimeDelta::minutes(10))).await.unwrap();
    let taken = futures::future::join_all((0..8).map(|_| store.take(&[1; 32]))).await;
    let taken: Vec<SignInState> = taken.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].nonce.as_str(), taken[0].return_to.as_str()), ("nonce", "/docs"));
    assert_eq!((taken[0].browser_mac, taken[0].invitation_mac), ([9; 32], Some([8; 32])));
}

#[tokio::test]
async fn sign_ins_that_are_over_are_cleared_away_by_later_ones() {
    let test = TestDb::new().await;
    let store = store(&test);
    store.begin(&state(1, now() - TimeDelta::seconds(1))).await.unwrap();
    store.begin(&state(2, now() + TimeDelta::minutes(10))).await.unwrap();
    assert!(store.take(&[1; 32]).await.unwrap().is_none());
    assert!(store.take(&[2; 32]).await.unwrap().is_some());
}

// Security requirements 32 and 60.
#[tokio::test]
async fn an_ended_session_is_unknown_here_at_once_and_on_other_replicas_within_five_seconds() {
    let test = TestDb::new().await;
    let (here, there) = (store(&test), store(&test));
    let alpha = test.ctx("alpha").await;
    let user = UserId::new(Uuid::now_v7());
    let new = session(1, user);
    here.insert(&alpha, &new).await.unwrap();
    let known = found(&here, 1).await.unwrap();
    assert_eq!((known.id, known.tenant, known.user), (new.id, alpha.tenant, user));
    assert!(found(&there, 1).await.is_some());
    assert!(found(&here, 2).await.is_none());

    here.revoke(&alpha, &known).await.unwrap();
    here.revoke(&alpha, &known).await.unwrap();
    assert!(found(&here, 1).await.is_none());
    let ended = Instant::now();
    while found(&there, 1).await.is_some() {
        assert!(ended.elapsed() < Duration::from_secs(5), "the other replica still takes it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn nobody_ends_a_session_of_another_tenant() {
    let test = TestDb::new().await;
    let store = store(&test);
    let (alpha, beta): (Ctx, Ctx) = (test.ctx("alpha").await, test.ctx("beta").await);
    store.insert(&alpha, &session(1, UserId::new(Uuid::now_v7()))).await.unwrap();
    let known = found(&store, 1).await.unwrap();
    store.revoke(&beta, &known).await.unwrap();
    assert!(found(&self::store(&test), 1).await.is_some());
}

// Security requirement 60.
#[tokio::test]
async fn a_session_ends_when_it_is_old_or_idle_and_use_keeps_it_alive() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let user = UserId::new(Uuid::now_v7());
    let begun = store(&test);
    for mac in 1..=4 {
        begun.insert(&alpha, &session(mac, user)).await.unwrap();
    }
    as_admin(
        &test,
        "update sessions set last_used_at = now() - interval '29 minutes' where get_byte(mac, 0) = 1;
         update sessions set last_used_at = now() - interval '31 minutes' where get_byte(mac, 0) = 2;
         update sessions set expires_at = now() where get_byte(mac, 0) = 3;
         update sessions set revoked_at = now() where get_byte(mac, 0) = 4",
    )
    .await;
    // A store without what the first has in memory.
    let fresh = store(&test);
    assert!(found(&fresh, 1).await.is_some());
    for (mac, why) in [(2, "idle"), (3, "old"), (4, "revoked")] {
        assert!(found(&fresh, mac).await.is_none(), "{why}");
    }
    let mut admin = test.admin().await;
    let idle: f64 = sqlx::query_scalar(
        "select extract(epoch from now() - last_used_at)::float8 from sessions where get_byte(mac, 0) = 1",
    )
    .fetch_one(&mut admin)
    .await
    .unwrap();
    assert!(idle < 60.0, "its use was not written down: {idle} s");
    admin.close().await.unwrap();
}

#[tokio::test]
async fn a_person_has_a_bounded_number_of_sessions_in_a_tenant() {
    let test = TestDb::new().await;
    let store = store(&test);
    let alpha = test.ctx("alpha").await;
    let user = UserId::new(Uuid::now_v7());
    for mac in 1..=25 {
        store.insert(&alpha, &session(mac, user)).await.unwrap();
    }
    let mut live = 0;
    for mac in 1..=25 {
        live += usize::from(found(&store, mac).await.is_some());
    }
    assert_eq!(live, 20);
    assert!(found(&store, 25).await.is_some(), "the newest stays");
}

// Security requirement 66.
#[tokio::test]
async fn sessions_made_and_ended_are_on_the_record_of_their_tenant() {
    let test = TestDb::new().await;
    let store = store(&test);
    let alpha = test.ctx("alpha").await;
    store.insert(&alpha, &session(1, UserId::new(Uuid::now_v7()))).await.unwrap();
    let known = found(&store, 1).await.unwrap();
    store.revoke(&alpha, &known).await.unwrap();
    let mut admin = test.admin().await;
    let recorded: Vec<String> = sqlx::query_scalar(
        "select action || ' ' || (target_id = $2::text) from audit_log
         where tenant_id = $1 and action like 'session.%' order by seq",
    )
    .bind(alpha.tenant.as_uuid())
    .bind(known.id.to_string())
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert_eq!(recorded, ["session.create true", "session.end true"]);
    admin.close().await.unwrap();
}
