//! OAuth grants are renewed once for everybody, and nothing that a token endpoint does makes a credential disappear or
//! a process ask for ever.
#![allow(unreachable_pub, reason = "modules of one test")]

use crate::support;
mod token_server;

use std::sync::Arc;

use application::connections::{Connections, LiveConnection};
use application::ports::{
    Connection, InstanceStore, RefreshState, SecretRef, SourceError, SourceErrorKind, StoredCredential, Vault,
};
use application::{Ctx, Error};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{Credential, Instance, InstanceId, InstanceStatus, SourceKind};
use futures::future::join_all;
use patchbay_infrastructure::clock::SystemClock;
use patchbay_infrastructure::egress::{EgressClient, EgressPolicy};
use patchbay_infrastructure::postgres::{Db, PgInstances, PgMappings, PoolSizes};
use patchbay_infrastructure::sources;
use patchbay_infrastructure::vault::PgVault;
use secrecy::ExposeSecret;
use serde_json::json;
use support::{TestDb, cancel_after, master_key, run};
use token_server::{Fault, TokenServer};
use uuid::Uuid;

use application::ports::Clock;

/// One process of the product.
struct Process {
    store: Arc<PgInstances>,
    vault: Arc<PgVault>,
    connections: Connections,
}

impl Process {
    async fn start(test: &TestDb) -> Self {
        let db = Db::connect(&test.urls, PoolSizes { app: 8, reader: 1, queue: 1 });
        let vault = Arc::new(PgVault::open(db.clone(), master_key()).await.unwrap());
        let store = Arc::new(PgInstances::new(db.clone(), test.audit()));
        let client = EgressClient::new(EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()])).unwrap();
        let connections = Connections::new(
            store.clone(),
            vault.clone(),
            sources::registry(client),
            Arc::new(PgMappings::new(db, test.audit())),
            Arc::new(SystemClock),
        );
        Self { store, vault, connections }
    }

    async fn open(&self, ctx: &Ctx, instance: &Instance) -> Result<Connection, Error> {
        self.connections.open(ctx, instance).await
    }

    async fn stored(&self, ctx: &Ctx, instance: &Instance) -> StoredCredential {
        self.store.credential(ctx, instance.id).await.unwrap().expect("credentials are never deleted")
    }

    /// The access and refresh token as they are stored.
    async fn tokens(&self, ctx: &Ctx, instance: &Instance) -> (String, String) {
        let stored = self.stored(ctx, instance).await;
        let place = SecretRef::InstanceCredential(instance.id);
        let plaintext = self.vault.open(ctx, place, &stored.sealed).await.unwrap();
        let Some(Credential::OAuth(grant)) = Credential::from_plaintext(&plaintext) else {
            panic!("the credential is no grant any more")
        };
        let refresh = grant.refresh_token.as_ref().expect("a refresh token").expose_secret().to_owned();
        (grant.access_token.expose_secret().to_owned(), refresh)
    }

    async fn status(&self, ctx: &Ctx, instance: &Instance) -> InstanceStatus {
        self.store.find(ctx, instance.id).await.unwrap().expect("the instance").status
    }
}

fn grant(token_url: &url::Url, expires_at: Option<DateTime<Utc>>) -> Credential {
    let grant = json!({
        "kind": "oauth", "access_token": "access-0", "refresh_token": "refresh-0", "expires_at": expires_at,
        "client_id": "patchbay", "client_secret": "client-s3cret", "token_url": token_url,
    });
    serde_json::from_value(grant).unwrap()
}

fn in_minutes(minutes: i64) -> Option<DateTime<Utc>> {
    Some(SystemClock.now() + TimeDelta::minutes(minutes))
}

async fn connect(process: &Process, ctx: &Ctx, credential: &Credential) -> Instance {
    let instance = Instance {
        id: InstanceId::new(Uuid::now_v7()),
        slug: "jira".parse().unwrap(),
        source: SourceKind::new("jira"),
        name: "jira".into(),
        base_url: "https://api.atlassian.com/ex/jira/c1d".parse().unwrap(),
        settings: json!({}),
        status: InstanceStatus::Active,
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
    };
    let sealed = process.connections.seal(ctx, instance.id, credential).await.unwrap();
    process.store.insert(ctx, &instance, &sealed).await.unwrap();
    instance
}

fn access_token(connection: &Connection) -> &str {
    let Credential::OAuth(grant) = &connection.credential else { panic!("no grant") };
    grant.access_token.expose_secret()
}

fn source_error(result: Result<Connection, Error>) -> SourceError {
    match result {
        Err(Error::Source(error)) => error,
        other => panic!("not a failure of the source: {other:?}"),
    }
}

/// Lets the time pass after which a renewal without an answer is tried again.
async fn wait_out(test: &TestDb) {
    let mut admin = test.admin().await;
    run(&mut admin, "update credentials set refreshed_at = refreshed_at - interval '31 seconds'".into())
        .await;
}

#[tokio::test]
async fn fifty_expiries_at_once_in_two_processes_make_one_refresh() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let server = TokenServer::start().await;
    let (one, other) = (Process::start(&test).await, Process::start(&test).await);
    let instance = connect(&one, &ctx, &grant(&server.url("/oauth/token"), in_minutes(-1))).await;

    let opened = (0..50).map(|n| if n % 2 == 0 { &one } else { &other }).map(|process| {
        let (ctx, instance) = (&ctx, &instance);
        async move { process.open(ctx, instance).await }
    });
    for connection in join_all(opened).await {
        assert_eq!(access_token(&connection.unwrap()), "access-1");
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 1, "{} token calls were made", requests.len());
    assert_eq!(
        requests[0],
        json!({"grant_type": "refresh_token", "client_id": "patchbay", "client_secret": "client-s3cret",
               "refresh_token": "refresh-0"})
    );
    assert_eq!(server.content_types(), ["application/json"]);
    assert_eq!(one.tokens(&ctx, &instance).await, ("access-1".into(), "refresh-1".into()));
    let stored = one.stored(&ctx, &instance).await;
    assert_eq!((stored.version, stored.refresh), (2, RefreshState::Ok));

    let mut admin = test.admin().await;
    let records: Vec<String> =
        sqlx::query_scalar("select details::text from audit_log where action = 'credential.renewed'")
            .fetch_all(&mut admin)
            .await
            .unwrap();
    assert_eq!(records.len(), 1);
    for secret in ["access-", "refresh-", "s3cret"] {
        assert!(!records[0].contains(secret), "the record holds a secret: {}", records[0]);
    }
}

#[tokio::test]
async fn a_token_that_lasts_is_used_without_asking() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let server = TokenServer::start().await;
    let process = Process::start(&test).await;
    let instance = connect(&process, &ctx, &grant(&server.url("/oauth/token"), in_minutes(5))).await;
    assert_eq!(access_token(&process.open(&ctx, &instance).await.unwrap()), "access-0");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_lost_rotation_never_loops_deletes_nothing_and_ends_in_a_clear_state() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let server = TokenServer::start().await;
    let process = Process::start(&test).await;
    let instance = connect(&process, &ctx, &grant(&server.url("/oauth/token"), in_minutes(-1))).await;
    server.fail_next(&[Fault::CutAfterRotation]);

    let many = join_all((0..10).map(|_| process.open(&ctx, &instance))).await;
    for opened in many {
        let error = source_error(opened);
        assert_eq!(error.kind, SourceErrorKind::Unavailable, "{error}");
        assert!(error.retry_after.is_some_and(|wait| !wait.is_zero()), "nobody knows when to ask again");
    }
    assert_eq!(server.requests().len(), 1, "the endpoint is asked again and again");
    assert_eq!(process.stored(&ctx, &instance).await.refresh, RefreshState::Unknown);
    assert_eq!(process.status(&ctx, &instance).await, InstanceStatus::Active);

    // Later one more try shows that the grant is lost; after that nothing is sent any more.
    wait_out(&test).await;
    for _ in 0..5 {
        let error = source_error(process.open(&ctx, &instance).await);
        assert_eq!(error.kind, SourceErrorKind::Unauthorized, "{error}");
    }
    assert_eq!(server.requests().len(), 2);
    assert_eq!(process.status(&ctx, &instance).await, InstanceStatus::ReconnectRequired);
    assert_eq!(process.stored(&ctx, &instance).await.refresh, RefreshState::Refused);
    assert_eq!(process.tokens(&ctx, &instance).await, ("access-0".into(), "refresh-0".into()));
}

#[tokio::test]
async fn a_refusal_asks_for_a_new_credential_and_a_new_one_works() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let server = TokenServer::start().await;
    let process = Process::start(&test).await;
    let url = server.url("/rest/oauth2/latest/token");
    let mut instance = connect(&process, &ctx, &grant(&url, in_minutes(-1))).await;
    server.revoke();
    let error = source_error(process.open(&ctx, &instance).await);
    assert_eq!(error.kind, SourceErrorKind::Unauthorized, "{error}");
    assert_eq!(process.status(&ctx, &instance).await, InstanceStatus::ReconnectRequired);
    assert_eq!(server.content_types(), ["application/x-www-form-urlencoded"], "a Data Center takes a form");

    let given = grant(&url, in_minutes(60));
    let sealed = process.connections.seal(&ctx, instance.id, &given).await.unwrap();
    instance.status = InstanceStatus::Active;
    assert!(process.store.update(&ctx, &instance, Some(&sealed)).await.unwrap());
    assert_eq!(process.stored(&ctx, &instance).await.refresh, RefreshState::Ok);
    assert_eq!(access_token(&process.open(&ctx, &instance).await.unwrap()), "access-0");
}

#[tokio::test]
async fn an_endpoint_that_is_down_keeps_the_credential_until_it_is_back() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let server = TokenServer::start().await;
    let process = Process::start(&test).await;
    let instance = connect(&process, &ctx, &grant(&server.url("/oauth/token"), in_minutes(1))).await;
    for status in [500, 503, 429] {
        server.fail_next(&[Fault::Status(status)]);
        // A minute is left, so that nobody notices.
        assert_eq!(access_token(&process.open(&ctx, &instance).await.unwrap()), "access-0", "{status}");
        assert_eq!(process.stored(&ctx, &instance).await.refresh, RefreshState::Unknown, "{status}");
        assert_eq!(process.status(&ctx, &instance).await, InstanceStatus::Active, "{status}");
        wait_out(&test).await;
    }
    assert_eq!(access_token(&process.open(&ctx, &instance).await.unwrap()), "access-1");
    assert_eq!(process.stored(&ctx, &instance).await.refresh, RefreshState::Ok);
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn a_renewal_ends_even_when_its_caller_went_away() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let server = TokenServer::start().await;
    let process = Process::start(&test).await;
    let instance = connect(&process, &ctx, &grant(&server.url("/oauth/token"), in_minutes(-1))).await;
    server.fail_next(&[Fault::Hold]);
    {
        let opening = std::pin::pin!(process.open(&ctx, &instance));
        tokio::select! {
            opened = opening => panic!("opened before the endpoint answered: {:?}", opened.is_ok()),
            () = server.asked() => {}
        }
    }
    server.go_on();
    process.connections.settled().await;
    assert_eq!(process.tokens(&ctx, &instance).await, ("access-1".into(), "refresh-1".into()));
    // Nothing of it is left undone for the next one.
    assert!(cancel_after(10_000, process.open(&ctx, &instance)).await.is_some_and(|opened| opened.is_ok()));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_token_refused_midway_is_renewed_once_and_the_call_repeated_once() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let server = TokenServer::start().await;
    let process = Process::start(&test).await;
    // Its end is not known beforehand.
    let instance = connect(&process, &ctx, &grant(&server.url("/oauth/token"), None)).await;
    let live = LiveConnection::from(process.open(&ctx, &instance).await.unwrap());
    let refuses = |token: &'static str| {
        move |connection: Arc<Connection>| async move {
            connection.count_request();
            if access_token(&connection) == token {
                return Err(SourceError::new(SourceErrorKind::Unauthorized, "the token has expired"));
            }
            Ok(access_token(&connection).to_owned())
        }
    };
    let calls = (0..8).map(|_| process.connections.call(&ctx, &instance, &live, refuses("access-0")));
    for answer in join_all(calls).await {
        assert_eq!(answer.unwrap(), "access-1");
    }
    assert_eq!(server.requests().len(), 1);
    assert_eq!(live.take_requests(), 16, "requests are counted over both tokens");

    // Refused again with a token that is new: that is the tracker's word, and believed.
    let again = process.connections.call(&ctx, &instance, &live, refuses("access-1")).await;
    assert_eq!(again.unwrap_err().kind, SourceErrorKind::Unauthorized);
    assert_eq!(server.requests().len(), 1);

    // Another connection opened before finds what was renewed, and asks for nothing.
    let stale = LiveConnection::from(Connection {
        credential: grant(&server.url("/oauth/token"), None),
        ..process.open(&ctx, &instance).await.unwrap()
    });
    let answer = process.connections.call(&ctx, &instance, &stale, refuses("access-0")).await;
    assert_eq!(answer.unwrap(), "access-1");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn other_credentials_are_never_renewed() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let process = Process::start(&test).await;
    let credential = Credential::Pat { token: "p4t".to_owned().into() };
    let instance = connect(&process, &ctx, &credential).await;
    let connection = process.open(&ctx, &instance).await.unwrap();
    assert!(process.connections.renewed(&ctx, &instance, &connection).await.unwrap().is_none());
    assert_eq!(process.stored(&ctx, &instance).await.version, 1);
}
