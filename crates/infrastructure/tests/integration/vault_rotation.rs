//! New master keys and new data keys while processes go on sealing and opening, and the destruction of keys.

use crate::support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use application::Ctx;
use application::ports::{Claimed, IdempotencyKey, IdempotencyStore, Sealed, SecretRef, StoredAnswer, Vault};
use domain::InstanceId;
use patchbay_infrastructure::postgres::PgIdempotency;
use patchbay_infrastructure::vault::{MasterKey, MasterKeys, PgVault, TenantKeys, VaultError};
use sqlx::PgConnection;
use support::{TestDb, cancel_after, master_key, run};
use uuid::Uuid;

const TOKEN: &[u8] = b"ghp_canary-0123456789";

fn place() -> SecretRef {
    SecretRef::InstanceCredential(InstanceId::new(Uuid::now_v7()))
}

async fn vault(test: &TestDb, keys: &MasterKeys) -> PgVault {
    PgVault::open(test.db.clone(), keys).await.expect("the vault opens")
}

async fn count(admin: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(admin).await.unwrap()
}

// Security requirement 55: no failed seal and no failed open in processes of either phase while keys are rewrapped.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_key_is_rotated_while_processes_of_both_phases_seal_and_open() {
    let test = TestDb::new().await;
    let (old, new) = (master_key(), MasterKey::generate());
    let distributed = MasterKeys::local(old.clone()).accepting([new.clone()]);
    let switched = MasterKeys::local(new.clone()).accepting([old.clone()]);
    let mut sealed = Vec::new();
    for number in 0..20 {
        let (ctx, place) = (test.ctx(&format!("tenant-{number}")).await, place());
        sealed.push((
            ctx.clone(),
            place,
            vault(&test, &distributed).await.seal(&ctx, place, TOKEN).await.unwrap(),
        ));
    }

    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let sealed = Arc::new(sealed);
    let mut load = Vec::new();
    for keys in [distributed.clone(), switched.clone()] {
        let (db, stop, done, sealed) = (test.db.clone(), stop.clone(), done.clone(), sealed.clone());
        load.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                // A process with nothing in its caches.
                let vault = PgVault::open(db.clone(), &keys).await.expect("the vault opens");
                for (ctx, place, sealed) in sealed.iter() {
                    assert_eq!(vault.open(ctx, *place, sealed).await.expect("it opens").as_slice(), TOKEN);
                    let again = vault.seal(ctx, *place, TOKEN).await.expect("it seals");
                    vault.open(ctx, *place, &again).await.expect("its own opens");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    let rotating = vault(&test, &switched).await;
    let rotated = rotating.rotate(&test.urls.admin, |_, _| ()).await.unwrap();
    assert_eq!((rotated.data_keys, rotated.deployment_secrets, rotated.left), (20, 2, 0), "{rotated:?}");
    let seen = done.load(Ordering::Relaxed);
    while done.load(Ordering::Relaxed) < seen + 60 && load.iter().all(|task| !task.is_finished()) {
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("no seal and no open failed");
    }

    let only_new = vault(&test, &MasterKeys::local(new.clone())).await;
    for (ctx, place, sealed) in sealed.iter() {
        only_new.open(ctx, *place, sealed).await.expect("the old key is needed no more");
    }
    let status = only_new.status().await.unwrap();
    assert_eq!(status.wrapped_by.len(), 1, "{status:?}");
    assert_eq!((status.current.as_str(), status.left()), (new.id().as_str(), 0));
    let error = PgVault::open(test.db.clone(), old).await.unwrap_err();
    assert!(matches!(error, VaultError::WrongMasterKey { .. }), "{error:?}");
    let mut admin = test.admin().await;
    let recorded = count(&mut admin, "select count(*) from audit_log where action = 'vault.rotate'").await;
    assert_eq!(recorded, 20, "one record for each tenant");
    let again = rotating.rotate(&test.urls.admin, |_, _| ()).await.unwrap();
    assert_eq!((again.data_keys, again.deployment_secrets, again.left), (0, 0, 0));
}

// Security requirement 55: resumable, and nothing is lost wherever it stops.
#[tokio::test]
async fn a_rotation_cut_off_anywhere_goes_on_where_it_was() {
    let test = TestDb::new().await;
    let (old, new) = (master_key(), MasterKey::generate());
    let both = MasterKeys::local(new.clone()).accepting([old.clone()]);
    let before = MasterKeys::local(old).accepting([new.clone()]);
    let mut sealed = Vec::new();
    for number in 0..12 {
        let (ctx, place) = (test.ctx(&format!("tenant-{number}")).await, place());
        sealed.push((ctx.clone(), place, test.vault().await.seal(&ctx, place, TOKEN).await.unwrap()));
    }
    let rotating = vault(&test, &both).await;
    let (mut polls, mut interrupted, mut rewrapped) = (3, 0, 0);
    let last = loop {
        match cancel_after(polls, rotating.rotate(&test.urls.admin, |_, _| ())).await {
            Some(rotated) => break rotated.unwrap(),
            None => interrupted += 1,
        }
        for keys in [&before, &both] {
            let reader = vault(&test, keys).await;
            for (ctx, place, sealed) in &sealed {
                reader.open(ctx, *place, sealed).await.expect("it opens at every moment");
            }
        }
        let left = rotating.status().await.unwrap().left();
        rewrapped = rewrapped.max(14 - left);
        polls += 4;
    };
    assert!(interrupted >= 2, "it was never interrupted, so nothing is shown");
    assert_eq!(last.left, 0);
    assert_eq!(
        i64::try_from(last.data_keys + last.deployment_secrets).unwrap(),
        14 - rewrapped,
        "what was done was not done again"
    );
}

#[tokio::test]
async fn a_process_that_still_wraps_with_the_old_key_shows() {
    let test = TestDb::new().await;
    let new = MasterKey::generate();
    let rotating = vault(&test, &MasterKeys::local(new.clone()).accepting([master_key()])).await;
    let late = vault(&test, &MasterKeys::local(master_key()).accepting([new])).await;
    rotating.rotate(&test.urls.admin, |_, _| ()).await.unwrap();
    late.seal(&test.ctx("late").await, place(), TOKEN).await.unwrap();
    let status = rotating.status().await.unwrap();
    assert_eq!(status.left(), 1, "{status:?}");
    let foreign = status.wrapped_by.iter().find(|by| by.key == master_key().id()).unwrap();
    assert!(foreign.opens && foreign.data_keys == 1, "{foreign:?}");
    assert_eq!(rotating.rotate(&test.urls.admin, |_, _| ()).await.unwrap().left, 0);
}

/// The columns that hold sealed values, each with the table it is of.
const SEALED: [(&str, &str); 4] = [
    ("credentials", "sealed"),
    ("idempotency_keys", "body"),
    ("webhook_subscriptions", "sealed"),
    ("write_intents", "outcome"),
];

/// Binary columns of tenants that hold no secret under a data key, with what they hold.
const NOT_SEALED: [(&str, &str, &str); 15] = [
    ("api_keys", "mac", "a digest under a key of the installation"),
    ("audit_heads", "hash", "a digest"),
    ("audit_heads", "seal", "a digest under a key of the installation"),
    ("audit_log", "arguments_digest", "a digest"),
    ("audit_log", "hash", "a digest"),
    ("comments", "content_hash", "a digest"),
    ("idempotency_keys", "fingerprint", "a digest"),
    ("invitations", "mac", "a digest under a key of the installation"),
    ("projects", "content_hash", "a digest"),
    ("sessions", "mac", "a digest under a key of the installation"),
    ("tenant_data_keys", "wrapped", "the data key itself, under the master key"),
    ("uploads", "content", "a file on its way to a tracker: data, as issues are"),
    ("webhook_subscriptions", "token_digest", "a digest"),
    ("work_items", "content_hash", "a digest"),
    ("write_intents", "fingerprint", "a digest"),
];

/// How many data keys the sealed values of a tenant are under; none of the columns is empty.
async fn data_keys_in_use(admin: &mut PgConnection, slug: &str) -> i64 {
    let mut keys = std::collections::BTreeSet::new();
    for (table, column) in SEALED {
        let statement = format!(
            "select distinct encode(substring({column} from 10 for 16), 'hex') from {table}
             where tenant_id = (select id from tenants where slug = '{slug}') and {column} is not null"
        );
        #[expect(clippy::disallowed_methods, reason = "a statement of the test's own making")]
        let statement = sqlx::AssertSqlSafe(statement);
        let found: Vec<String> = sqlx::query_scalar(statement).fetch_all(&mut *admin).await.unwrap();
        assert!(!found.is_empty(), "nothing is sealed in {table}.{column}: the test fills every such column");
        keys.extend(found);
    }
    i64::try_from(keys.len()).unwrap()
}

// Security requirement 55: a column that is new is either reached by rotations, or said here to need none.
#[tokio::test]
async fn every_binary_column_of_a_tenant_is_known_to_be_sealed_or_not() {
    let test = TestDb::new().await;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select c.relname::text, a.attname::text from pg_attribute a join pg_class c on c.oid = a.attrelid
         join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition and a.attnum > 0
           and not a.attisdropped and a.atttypid = 'bytea'::regtype
           and exists (select from pg_attribute t where t.attrelid = c.oid and t.attname = 'tenant_id')
         order by 1, 2",
    )
    .fetch_all(&mut test.admin().await)
    .await
    .unwrap();
    let known = |(table, column): &(String, String)| {
        let (table, column) = (table.as_str(), column.as_str());
        SEALED.contains(&(table, column)) || NOT_SEALED.iter().any(|(t, c, _)| (*t, *c) == (table, column))
    };
    let unknown: Vec<_> = columns.iter().filter(|column| !known(column)).collect();
    assert!(
        unknown.is_empty(),
        "{unknown:?}: a sealed column needs its line in vault/sealed_columns.rs, in the rotation and in `SEALED`"
    );
    for (table, column) in SEALED {
        assert!(columns.contains(&(table.to_owned(), column.to_owned())), "{table}.{column} is not there");
    }
}

/// A tenant with a sealed value in every column that has them.
struct Filled {
    keys: TenantKeys,
    ctx: Ctx,
    instance: InstanceId,
    intents: Vec<Uuid>,
    answer: (IdempotencyKey, StoredAnswer),
}

impl Filled {
    async fn new(test: &TestDb, slug: &str, vault: &Arc<PgVault>, intents: usize) -> Self {
        let ctx = test.ctx(slug).await;
        let instance = InstanceId::new(Uuid::now_v7());
        let mut admin = test.admin().await;
        let tenant = ctx.tenant;
        run(
            &mut admin,
            format!(
                "insert into source_instances (tenant_id, id, slug, source, name, base_url, settings, status, created_at,
                     updated_at)
                 values ('{tenant}', '{instance}', '{slug}', 'github', 'x', 'https://x', '{{}}', 'active', now(), now())"
            ),
        )
        .await;
        let mut filled = Self {
            keys: TenantKeys { tenant, slug: slug.to_owned() },
            ctx,
            instance,
            intents: Vec::new(),
            answer: (
                IdempotencyKey { key: "k-1".into(), route: "POST /x".into(), fingerprint: [1; 32] },
                StoredAnswer { status: 201, headers: Vec::new(), body: TOKEN.to_vec() },
            ),
        };
        filled.store_credential(&mut admin, vault).await;
        filled.store_webhook(&mut admin, vault).await;
        for _ in 0..intents {
            let id = Uuid::now_v7();
            let outcome = vault.seal(&filled.ctx, SecretRef::WriteOutcome(id), TOKEN).await.unwrap();
            sqlx::query(
                "insert into write_intents (tenant_id, id, instance_id, principal, operation, key, fingerprint, marker,
                     state, owner, lease_until, outcome)
                 values ($1, $2, $3, $2, 'x', 'x', $4, 'x', 'done', $2, now(), $5)",
            )
            .bind(tenant.as_uuid())
            .bind(id)
            .bind(instance.as_uuid())
            .bind([0u8; 32].as_slice())
            .bind(outcome.0)
            .execute(&mut admin)
            .await
            .unwrap();
            filled.intents.push(id);
        }
        let store = PgIdempotency::new(test.db.clone(), vault.clone());
        let Claimed::Fresh(unit) = store.claim(&filled.ctx, &filled.answer.0).await.unwrap() else {
            panic!("the key is taken");
        };
        store.finish(&filled.ctx, &filled.answer.0, &unit, &filled.answer.1).await.unwrap();
        filled
    }

    async fn store_credential(&self, admin: &mut PgConnection, vault: &PgVault) {
        let place = SecretRef::InstanceCredential(self.instance);
        let sealed = vault.seal(&self.ctx, place, TOKEN).await.unwrap();
        sqlx::query(
            "insert into credentials (tenant_id, instance_id, sealed) values ($1, $2, $3)
             on conflict (tenant_id, instance_id) do update set sealed = excluded.sealed",
        )
        .bind(self.ctx.tenant.as_uuid())
        .bind(self.instance.as_uuid())
        .bind(sealed.0)
        .execute(admin)
        .await
        .unwrap();
    }

    async fn store_webhook(&self, admin: &mut PgConnection, vault: &PgVault) {
        let sealed = vault.seal(&self.ctx, SecretRef::Webhook(self.instance), TOKEN).await.unwrap();
        sqlx::query(
            "insert into webhook_subscriptions (tenant_id, instance_id, token_digest, sealed, managed, state, created_at,
                 updated_at)
             values ($1, $2, $3, $4, false, 'pending', now(), now())
             on conflict (tenant_id, instance_id) do update set sealed = excluded.sealed",
        )
        .bind(self.ctx.tenant.as_uuid())
        .bind(self.instance.as_uuid())
        .bind([7u8; 32].as_slice())
        .bind(sealed.0)
        .execute(admin)
        .await
        .unwrap();
    }

    /// Opens everything that is stored, with this vault.
    async fn check(&self, test: &TestDb, vault: &Arc<PgVault>, when: &str) {
        let mut admin = test.admin().await;
        let tenant = self.ctx.tenant.as_uuid();
        let sealed: Vec<u8> = sqlx::query_scalar("select sealed from credentials where tenant_id = $1")
            .bind(tenant)
            .fetch_one(&mut admin)
            .await
            .unwrap();
        let place = SecretRef::InstanceCredential(self.instance);
        let opened = vault.open(&self.ctx, place, &Sealed(sealed)).await;
        assert_eq!(opened.unwrap_or_else(|error| panic!("{when}: {error:?}")).as_slice(), TOKEN);
        let sealed: Vec<u8> =
            sqlx::query_scalar("select sealed from webhook_subscriptions where tenant_id = $1")
                .bind(tenant)
                .fetch_one(&mut admin)
                .await
                .unwrap();
        let opened = vault.open(&self.ctx, SecretRef::Webhook(self.instance), &Sealed(sealed)).await;
        assert_eq!(opened.unwrap_or_else(|error| panic!("{when}: {error:?}")).as_slice(), TOKEN);
        let outcomes: Vec<(Uuid, Vec<u8>)> =
            sqlx::query_as("select id, outcome from write_intents where tenant_id = $1")
                .bind(tenant)
                .fetch_all(&mut admin)
                .await
                .unwrap();
        assert_eq!(outcomes.len(), self.intents.len());
        for (id, outcome) in outcomes {
            let opened = vault.open(&self.ctx, SecretRef::WriteOutcome(id), &Sealed(outcome)).await;
            assert_eq!(opened.unwrap_or_else(|error| panic!("{when}: {error:?}")).as_slice(), TOKEN);
        }
        let store = PgIdempotency::new(test.db.clone(), vault.clone());
        match store.claim(&self.ctx, &self.answer.0).await.unwrap() {
            Claimed::Done(answer) => assert_eq!(answer, self.answer.1, "{when}"),
            other => panic!("{when}: the answer is not there: {other:?}"),
        }
    }
}

const AGED: &str =
    "update tenant_data_keys set retired_at = retired_at - interval '6 minutes' where retired_at is not null";

// Security requirement 55.
#[tokio::test]
async fn a_new_data_key_reaches_every_sealed_value_and_the_old_one_goes_when_nothing_needs_it() {
    let test = TestDb::new().await;
    let (one, other) = (Arc::new(test.vault().await), Arc::new(test.vault().await));
    let filled = Filled::new(&test, "alpha", &one, 3).await;
    let untouched = Filled::new(&test, "beta", &one, 1).await;
    filled.check(&test, &other, "before").await;
    let mut admin = test.admin().await;
    let tenants = std::slice::from_ref(&filled.keys);

    let first = one.rotate_data_keys(tenants, false, |_, _| ()).await.unwrap();
    assert_eq!((first.new_keys, first.resealed, first.removed, first.waiting), (1, 6, 0, 1), "{first:?}");
    for vault in [&one, &other, &Arc::new(test.vault().await)] {
        filled.check(&test, vault, "after").await;
    }
    assert_eq!(data_keys_in_use(&mut admin, "alpha").await, 1, "all are under the new key");

    // Too young to be removed; and no third key while the second rotation is not finished.
    let second = one.rotate_data_keys(tenants, false, |_, _| ()).await.unwrap();
    assert_eq!(
        (second.new_keys, second.resealed, second.removed, second.waiting),
        (0, 0, 0, 1),
        "{second:?}"
    );

    // Another process remembers the old key and seals with it.
    filled.store_credential(&mut admin, &other).await;
    filled.store_webhook(&mut admin, &other).await;
    sqlx::query(AGED).execute(&mut admin).await.unwrap();
    let third = one.rotate_data_keys(tenants, false, |_, _| ()).await.unwrap();
    assert_eq!((third.resealed, third.removed, third.waiting), (2, 0, 1), "{third:?}");
    filled.check(&test, &Arc::new(test.vault().await), "after a late one").await;
    let fourth = one.rotate_data_keys(tenants, false, |_, _| ()).await.unwrap();
    assert_eq!(
        (fourth.new_keys, fourth.resealed, fourth.removed, fourth.waiting),
        (0, 0, 1, 0),
        "{fourth:?}"
    );
    filled.check(&test, &Arc::new(test.vault().await), "at the end").await;
    untouched.check(&test, &Arc::new(test.vault().await), "the other tenant").await;

    let actions: Vec<String> =
        sqlx::query_scalar("select action from audit_log where action like 'vault.%' order by seq")
            .fetch_all(&mut admin)
            .await
            .unwrap();
    assert_eq!(actions, ["vault.rotate_data_key", "vault.remove_data_key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_of_data_keys_at_once_make_one_new_key() {
    let test = TestDb::new().await;
    let one = Arc::new(test.vault().await);
    let filled = Filled::new(&test, "alpha", &one, 30).await;
    let others = [test.vault().await, test.vault().await, test.vault().await];
    let tenants = std::slice::from_ref(&filled.keys);
    let outcomes = futures::future::join_all(
        others.iter().map(|vault| vault.rotate_data_keys(tenants, false, |_, _| ())),
    )
    .await;
    let new_keys: u64 = outcomes.iter().map(|outcome| outcome.as_ref().unwrap().new_keys).sum();
    let resealed: u64 = outcomes.iter().map(|outcome| outcome.as_ref().unwrap().resealed).sum();
    assert_eq!((new_keys, resealed), (1, 33), "each value is sealed anew once: {outcomes:?}");
    filled.check(&test, &Arc::new(test.vault().await), "after").await;
}

// Security requirement 55.
#[tokio::test]
async fn a_rotation_of_a_data_key_cut_off_anywhere_loses_nothing_and_is_finished() {
    let test = TestDb::new().await;
    let one = Arc::new(test.vault().await);
    let filled = Filled::new(&test, "alpha", &one, 450).await;
    let tenants = std::slice::from_ref(&filled.keys);
    let (mut polls, mut interrupted, mut new_keys) = (3, 0, 0);
    loop {
        let rotated = cancel_after(polls, one.rotate_data_keys(tenants, false, |_, _| ())).await;
        filled.check(&test, &Arc::new(test.vault().await), &format!("cut off after {polls} polls")).await;
        match rotated {
            Some(rotated) => {
                new_keys += rotated.unwrap().new_keys;
                break;
            }
            None => interrupted += 1,
        }
        polls += 4;
    }
    assert!(interrupted >= 3, "it was interrupted {interrupted} times only");
    assert!(new_keys <= 1);
    let mut admin = test.admin().await;
    assert_eq!(
        count(&mut admin, "select count(*) from tenant_data_keys").await,
        2,
        "one rotation, one new key"
    );
    sqlx::query(AGED).execute(&mut admin).await.unwrap();
    let last = one.rotate_data_keys(tenants, false, |_, _| ()).await.unwrap();
    assert_eq!((last.removed, last.waiting), (1, 0), "{last:?}");
    filled.check(&test, &Arc::new(test.vault().await), "at the end").await;
}

// Security requirement 54: without its data keys nothing of a tenant opens, wherever the ciphertexts were copied to.
#[tokio::test]
async fn a_shredded_tenants_secrets_never_open_again_also_those_of_a_dump() {
    let test = TestDb::new().await;
    let (one, place) = (Arc::new(test.vault().await), place());
    let alpha = Filled::new(&test, "alpha", &one, 2).await;
    let beta = Filled::new(&test, "beta", &one, 2).await;
    one.rotate_data_keys(std::slice::from_ref(&alpha.keys), false, |_, _| ()).await.unwrap();
    let mut admin = test.admin().await;
    let dump: Vec<(Uuid, Vec<u8>)> =
        sqlx::query_as("select id, outcome from write_intents where tenant_id = $1")
            .bind(alpha.ctx.tenant.as_uuid())
            .fetch_all(&mut admin)
            .await
            .unwrap();

    assert_eq!(one.shred(&alpha.ctx).await.unwrap(), 2, "the current and the retired key");
    // A new key of the same tenant opens nothing of the old.
    let later = one.seal(&alpha.ctx, place, TOKEN).await.unwrap();
    one.open(&alpha.ctx, place, &later).await.unwrap();
    for vault in [&one, &Arc::new(test.vault().await)] {
        for (id, outcome) in &dump {
            let place = SecretRef::WriteOutcome(*id);
            let error = vault.open(&alpha.ctx, place, &Sealed(outcome.clone())).await.unwrap_err();
            assert!(format!("{error:?}").contains("NoDataKey"), "{error:?}");
            vault.open(&beta.ctx, place, &Sealed(outcome.clone())).await.unwrap_err();
        }
    }
    beta.check(&test, &Arc::new(test.vault().await), "the other tenant").await;
    let shredded = count(&mut admin, "select count(*) from audit_log where action = 'vault.shred'").await;
    assert_eq!(shredded, 1);
}
