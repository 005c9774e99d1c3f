//! API keys: handing out, narrowing, replacing, ending; through the use cases, on the real store, with two replicas.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test fails by it; statements of the tests' own making"
)]

use crate::support;

use std::sync::Arc;
use std::time::Duration;

use application::access::AccessService;
use application::keys::{KeyService, KeySpec};
use application::ports::{AccessStore, Clock, InstanceStore, KeyStore, ListPage, MacPurpose, Sealed, Vault};
use application::{Ctx, Error};
use chrono::{DateTime, Utc};
use domain::{
    Allowed, Grant, Instance, InstanceId, InstanceStatus, KeyId, KeyKind, Principal, RequestId, Role, Scope,
    Scopes, SourceKind, UserId,
};
use patchbay_infrastructure::clock::{SystemClock, SystemIds};
use patchbay_infrastructure::postgres::{Db, DbUrls, PgAccess, PgInstances, PgMembers, PoolSizes};
use patchbay_infrastructure::vault::PgVault;
use secrecy::ExposeSecret;
use support::TestDb;
use uuid::Uuid;

/// One process: its own caches over the shared database.
struct Replica {
    store: Arc<PgAccess>,
    keys: KeyService,
    access: AccessService,
}

async fn replica(test: &TestDb) -> Replica {
    over(test, test.db.clone(), Arc::new(test.vault().await))
}

fn over(test: &TestDb, db: Db, vault: Arc<PgVault>) -> Replica {
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let store = Arc::new(PgAccess::new(db.clone(), test.audit()));
    let members = Arc::new(PgMembers::new(db, test.audit(), store.clone()));
    Replica {
        keys: KeyService::new(store.clone(), members, vault.clone(), clock.clone(), ids.clone(), "test"),
        access: AccessService::new(store.clone(), vault, clock, ids),
        store,
    }
}

fn request() -> RequestId {
    RequestId::new(Uuid::now_v7())
}

fn scopes(list: &[Scope]) -> Scopes {
    Scopes::new(list.iter().copied()).unwrap()
}

fn narrowed(instance: InstanceId) -> Grant {
    Grant { instances: Allowed::Only([instance].into()), ..Grant::default() }
}

async fn instance(test: &TestDb, ctx: &Ctx, slug: &str) -> InstanceId {
    let at: DateTime<Utc> = "2026-11-01T10:00:00Z".parse().unwrap();
    let one = Instance {
        id: InstanceId::new(Uuid::now_v7()),
        slug: slug.parse().unwrap(),
        source: SourceKind::new("github"),
        name: slug.into(),
        base_url: "https://api.github.com".parse().unwrap(),
        settings: serde_json::json!({}),
        status: InstanceStatus::Active,
        created_at: at,
        updated_at: at,
    };
    PgInstances::new(test.db.clone(), test.audit()).insert(ctx, &one, &Sealed(vec![1])).await.unwrap();
    one.id
}

/// A person who is a member with this role, written past the sign-in.
async fn member(test: &TestDb, ctx: &Ctx, role: Role) -> UserId {
    let id = Uuid::now_v7();
    let mut admin = test.admin().await;
    sqlx::query("insert into users (id, email) values ($1, 'ada@example.com')")
        .bind(id)
        .execute(&mut admin)
        .await
        .unwrap();
    sqlx::query(
        "insert into memberships (tenant_id, user_id, role, email) values ($1, $2, $3, 'ada@example.com')",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(id)
    .bind(role.as_str())
    .execute(&mut admin)
    .await
    .unwrap();
    UserId::new(id)
}

async fn set(test: &TestDb, statement: &'static str) {
    sqlx::query(statement).execute(&mut test.admin().await).await.unwrap();
}

async fn until_refused(replica: &Replica, text: &str) -> &'static str {
    let refused = async {
        loop {
            match replica.access.authenticate(text, request()).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(Error::Unauthenticated(why)) => return why,
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused).await.expect("it still works after 5 s")
}

#[tokio::test]
async fn a_key_is_known_with_everything_it_was_made_with() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let here = replica(&test).await;
    let grant = Grant {
        instances: Allowed::Only([instance(&test, &alpha, "core").await].into()),
        projects_read: Allowed::Only(["o/r".parse().unwrap(), "ENG".parse().unwrap()].into()),
        projects_write: Allowed::Only(["ENG".parse().unwrap()].into()),
        templates: Allowed::Only(["find_work_items".to_owned()].into()),
        toolsets: Allowed::Only([domain::Toolset::Sql].into()),
    };
    let expires_at = Some("2030-01-01T00:00:00Z".parse().unwrap());
    let spec = KeySpec {
        grant: grant.clone(),
        expires_at,
        ..KeySpec::new(" ci ", KeyKind::Assistant, scopes(&[Scope::McpSql]))
    };
    let created = here.keys.create(&alpha, spec).await.unwrap();
    let caller = here.access.authenticate(created.text.expose_secret(), request()).await.unwrap();
    assert_eq!((caller.ctx.tenant, caller.tenant_slug.as_str()), (alpha.tenant, "alpha"));
    assert_eq!(*caller.ctx.grant, grant);
    assert_eq!(caller.ctx.principal, Principal::Key { id: created.key.id, name: "ci".into() });
    assert_eq!(caller.key.map(|key| (key.kind, key.expires_at)), Some((KeyKind::Assistant, expires_at)));
    let listed = here.keys.get(&alpha, created.key.id).await.unwrap();
    assert_eq!((&listed.grant, listed.name.as_str()), (&grant, "ci"));
    // Security requirement 9.
    assert!(here.keys.list(&beta, &ListPage { limit: 50, cursor: None }).await.unwrap().items.is_empty());
    let of = |result: Result<_, Error>| match result {
        Err(Error::NotFound { what }) => what,
        other => panic!("{other:?}"),
    };
    for id in [created.key.id, KeyId::new(Uuid::now_v7())] {
        let expected = format!("the key {id}");
        assert_eq!(of(here.keys.get(&beta, id).await.map(drop)), expected);
        assert_eq!(of(here.keys.revoke(&beta, id).await), expected);
        assert_eq!(of(here.keys.rotate(&beta, id, None).await.map(drop)), expected);
    }
    assert!(here.access.authenticate(created.text.expose_secret(), request()).await.is_ok());
}

#[tokio::test]
async fn nobody_hands_out_more_than_they_hold() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let here = replica(&test).await;
    let (core, web) = (instance(&test, &alpha, "core").await, instance(&test, &alpha, "web").await);
    let theirs = instance(&test, &beta, "core").await;
    let strong = KeySpec::new("strong", KeyKind::Service, scopes(&[Scope::Admin]));
    let strong = here.keys.create(&alpha, strong).await.unwrap();

    let mut weak = alpha.clone();
    weak.scopes = scopes(&[Scope::KeysWrite, Scope::McpSql]);
    let wide = KeySpec::new("x", KeyKind::Service, scopes(&[Scope::ItemsRead]));
    let refused = here.keys.create(&weak, wide).await.map(drop);
    assert!(matches!(refused, Err(Error::Forbidden { needed: Scope::ItemsRead })), "{refused:?}");
    for refused in [
        here.keys.revoke(&weak, strong.key.id).await,
        here.keys.rotate(&weak, strong.key.id, None).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Forbidden { needed: Scope::Admin })), "{refused:?}");
    }

    weak.grant = Arc::new(narrowed(core));
    let sql = || KeySpec::new("x", KeyKind::Service, scopes(&[Scope::McpSql]));
    for grant in [Grant::default(), narrowed(web)] {
        let refused = here.keys.create(&weak, KeySpec { grant, ..sql() }).await.map(drop);
        assert!(matches!(refused, Err(Error::Exceeds { .. })), "{refused:?}");
    }
    here.keys.create(&weak, KeySpec { grant: narrowed(core), ..sql() }).await.unwrap();
    // It sees its equals only, and the wider ones like ones that are not there.
    let seen = here.keys.list(&weak, &ListPage { limit: 50, cursor: None }).await.unwrap();
    assert_eq!(seen.items.len(), 1);
    assert!(matches!(here.keys.get(&weak, strong.key.id).await, Err(Error::NotFound { .. })));

    // Security requirement 10: another tenant's instance is refused like one that is not there.
    let mut answers = Vec::new();
    for id in [theirs, InstanceId::new(Uuid::now_v7())] {
        let refused = here.keys.create(&alpha, KeySpec { grant: narrowed(id), ..sql() }).await.map(drop);
        let Err(Error::Invalid(invalid)) = refused else { panic!("{refused:?}") };
        answers.push(invalid.to_string().replace(&id.to_string(), "ID"));
    }
    assert_eq!(answers[0], answers[1]);
    let stranger = member(&test, &beta, Role::Owner).await;
    let refused = here.keys.create(&alpha, KeySpec { user: Some(stranger), ..sql() }).await.map(drop);
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    for at in [DateTime::UNIX_EPOCH, DateTime::<Utc>::MAX_UTC] {
        let refused = here.keys.create(&alpha, KeySpec { expires_at: Some(at), ..sql() }).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
}

// Security requirement 32, on two replicas.
#[tokio::test]
async fn what_ends_a_key_ends_it_within_five_seconds_on_every_replica() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let (here, there) = (replica(&test).await, replica(&test).await);
    let user = member(&test, &alpha, Role::Admin).await;
    let make = async |user| {
        let spec = KeySpec { user, ..KeySpec::new("k", KeyKind::Person, scopes(&[Scope::ItemsRead])) };
        let created = here.keys.create(&alpha, spec).await.unwrap();
        let text = created.text.expose_secret().to_owned();
        for replica in [&here, &there] {
            replica.access.authenticate(&text, request()).await.expect("the key works");
        }
        (created.key.id, text)
    };
    let unknown = "the API key is unknown, expired or revoked";

    let disabled = member(&test, &alpha, Role::Admin).await;
    let ((id, revoked), (_, of_none), (_, of_disabled)) =
        (make(None).await, make(Some(user)).await, make(Some(disabled)).await);
    here.keys.revoke(&alpha, id).await.unwrap();
    here.keys.revoke(&alpha, id).await.expect("safe to repeat");
    let refused = here.access.authenticate(&revoked, request()).await;
    assert!(matches!(refused, Err(Error::Unauthenticated(_))), "at once where it was revoked: {refused:?}");
    // The user made first, whose id sorts first; then the one who is left.
    set(&test, "delete from memberships where user_id in (select id from users order by id limit 1)").await;
    set(&test, "update users set disabled_at = now() where id in (select user_id from memberships)").await;
    // All three at once, as each is known for seconds.
    let waiting = [&revoked, &of_none, &of_disabled].map(|text| until_refused(&there, text));
    assert_eq!(futures::future::join_all(waiting).await, [unknown; 3]);

    let (_, text) = make(None).await;
    set(&test, "update tenants set status = 'suspended'").await;
    let why = until_refused(&there, &text).await;
    assert!(why.contains("suspended"), "{why}");
    set(&test, "update tenants set status = 'deleting'").await;
    tokio::time::timeout(Duration::from_secs(5), async {
        while until_refused(&there, &text).await != unknown {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("told as unknown within 5 s");
}

#[tokio::test]
async fn the_suspension_is_told_to_the_holder_of_the_key_only() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let (here, vault) = (replica(&test).await, test.vault().await);
    let spec = KeySpec::new("k", KeyKind::Service, scopes(&[Scope::ItemsRead]));
    let created = here.keys.create(&alpha, spec).await.unwrap();
    set(&test, "update tenants set status = 'suspended'").await;
    // The right public part with another secret: as the store knows it, the MAC is wrong.
    let other = vault.mac(MacPurpose::ApiKey, &"another".to_owned().into());
    sqlx::query("update api_keys set mac = $1")
        .bind(other.as_slice())
        .execute(&mut test.admin().await)
        .await
        .unwrap();
    let there = replica(&test).await;
    let refused = there.access.authenticate(created.text.expose_secret(), request()).await;
    assert!(
        matches!(refused, Err(Error::Unauthenticated("the API key is unknown, expired or revoked"))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_persons_key_allows_no_more_than_their_role_does_now() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let here = replica(&test).await;
    let user = member(&test, &alpha, Role::Owner).await;
    let mut person = alpha.clone();
    person.principal = Principal::User { id: user, name: "Ada".into() };
    // A key made by a person, and one made with that key, are theirs.
    let spec =
        |name: &str| KeySpec::new(name, KeyKind::Person, scopes(&[Scope::InstancesWrite, Scope::KeysWrite]));
    let first = here.keys.create(&person, spec("first")).await.unwrap();
    let caller = here.access.authenticate(first.text.expose_secret(), request()).await.unwrap();
    let second = here.keys.create(&caller.ctx, spec("second")).await.unwrap();
    assert_eq!((first.key.user, second.key.user), (Some(user), Some(user)));
    set(&test, "update memberships set role = 'viewer'").await;
    let there = replica(&test).await;
    let caller = there.access.authenticate(second.text.expose_secret(), request()).await.unwrap();
    assert_eq!(caller.ctx.scopes.names(), ["instances:read"]);
    let useless =
        KeySpec { user: Some(user), ..KeySpec::new("x", KeyKind::Person, scopes(&[Scope::AuditRead])) };
    let useless = here.keys.create(&alpha, useless).await.unwrap();
    let refused = there.access.authenticate(useless.text.expose_secret(), request()).await;
    assert!(matches!(refused, Err(Error::Unauthenticated(why)) if why.contains("role")), "{refused:?}");
}

// Security requirement 59.
#[tokio::test]
async fn a_rotation_leaves_two_good_keys_and_never_three() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let here = replica(&test).await;
    let core = instance(&test, &alpha, "core").await;
    let spec =
        KeySpec { grant: narrowed(core), ..KeySpec::new("k", KeyKind::Service, scopes(&[Scope::McpSql])) };
    let first = here.keys.create(&alpha, spec).await.unwrap();
    let second = here.keys.rotate(&alpha, first.key.id, None).await.unwrap();
    assert_eq!(second.key.rotated_from, Some(first.key.id));
    for text in [&first.text, &second.text] {
        let caller = here.access.authenticate(text.expose_secret(), request()).await.unwrap();
        assert_eq!(
            (caller.ctx.scopes.names(), &*caller.ctx.grant),
            (vec!["mcp:sql".to_owned()], &narrowed(core))
        );
    }
    let overlap =
        here.keys.get(&alpha, first.key.id).await.unwrap().expires_at.expect("it ends") - SystemClock.now();
    assert!((86_300..=86_400).contains(&overlap.num_seconds()), "{overlap}");
    for id in [first.key.id, second.key.id] {
        let refused = here.keys.rotate(&alpha, id, None).await;
        assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    }
    here.keys.revoke(&alpha, first.key.id).await.unwrap();
    let third = here.keys.rotate(&alpha, second.key.id, Some(Duration::ZERO)).await.unwrap();
    assert!(here.access.authenticate(third.text.expose_secret(), request()).await.is_ok());
    assert!(
        here.access.authenticate(second.text.expose_secret(), request()).await.is_err(),
        "no overlap was asked for"
    );
    assert!(matches!(here.keys.rotate(&alpha, second.key.id, None).await, Err(Error::Conflict { .. })));
    let long = Some(Duration::from_secs(31 * 86_400));
    assert!(matches!(here.keys.rotate(&alpha, third.key.id, long).await, Err(Error::Invalid(_))));

    // Of many at once, one.
    let rotations =
        futures::future::join_all((0..8).map(|_| here.keys.rotate(&alpha, third.key.id, None))).await;
    assert_eq!(rotations.iter().filter(|rotation| rotation.is_ok()).count(), 1, "{rotations:?}");
}

#[tokio::test]
async fn the_last_use_is_noted_once_a_minute_and_off_the_path() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let here = replica(&test).await;
    let spec = KeySpec::new("k", KeyKind::Service, scopes(&[Scope::McpSql]));
    let created = here.keys.create(&alpha, spec).await.unwrap();
    let id = created.key.id;
    assert_eq!(here.keys.get(&alpha, id).await.unwrap().last_used_at, None);
    here.access.authenticate(created.text.expose_secret(), request()).await.unwrap();
    let noted = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            if let Some(at) = here.keys.get(&alpha, id).await.unwrap().last_used_at {
                return at;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("it is written");
    for _ in 0..100 {
        here.access.authenticate(created.text.expose_secret(), request()).await.unwrap();
    }
    // Another key's use is written behind those, had they been noted.
    let other = here
        .keys
        .create(&alpha, KeySpec::new("o", KeyKind::Service, scopes(&[Scope::McpSql])))
        .await
        .unwrap();
    here.store.note_use(alpha.tenant, other.key.id, SystemClock.now());
    while here.keys.get(&alpha, other.key.id).await.unwrap().last_used_at.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(here.keys.get(&alpha, id).await.unwrap().last_used_at, Some(noted));
}

// Security requirement 33.
#[tokio::test]
async fn without_its_store_no_key_is_accepted_and_none_is_called_wrong() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let here = replica(&test).await;
    let spec = KeySpec::new("k", KeyKind::Service, scopes(&[Scope::Admin]));
    let created = here.keys.create(&alpha, spec).await.unwrap();
    let gone = DbUrls::derive(test.urls.admin.clone().port(1).host("127.0.0.1"), |_| None);
    let db = Db::connect(&gone, PoolSizes { app: 1, reader: 1, queue: 1 });
    let there = over(&test, db, Arc::new(test.vault().await));
    let refused = there.access.authenticate(created.text.expose_secret(), request()).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    // A key that was known a moment ago is not accepted for longer than its time in the cache.
    here.access.authenticate(created.text.expose_secret(), request()).await.unwrap();
    here.store_closes(&test).await;
    let refused = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            match here.access.authenticate(created.text.expose_secret(), request()).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => return error,
            }
        }
    })
    .await
    .expect("it is not accepted for ever");
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
}

impl Replica {
    async fn store_closes(&self, test: &TestDb) {
        test.db.close().await;
        let alpha = support::ctx(domain::TenantId::new(Uuid::now_v7()));
        assert!(KeyStore::find(&*self.store, &alpha, KeyId::new(Uuid::now_v7())).await.is_err());
    }
}
