//! The vault over the database: what opens, for whom, and what is left in sight.

use crate::support;

use application::Ctx;
use application::ports::{MacPurpose, Sealed, SecretRef, Vault};
use domain::InstanceId;
use patchbay_infrastructure::vault::{MasterKey, PgVault, VaultError};
use secrecy::SecretString;
use support::TestDb;
use uuid::Uuid;

const TOKEN: &[u8] = b"ghp_canary-0123456789";

fn place() -> SecretRef {
    SecretRef::InstanceCredential(InstanceId::new(Uuid::now_v7()))
}

#[tokio::test]
async fn a_secret_opens_for_its_tenant_and_place_also_in_another_process() {
    let test = TestDb::new().await;
    let (alpha, place) = (test.ctx("alpha").await, place());
    let sealed = test.vault().await.seal(&alpha, place, TOKEN).await.unwrap();
    let opened = test.vault().await.open(&alpha, place, &sealed).await.unwrap();
    assert_eq!(opened.as_slice(), TOKEN);
}

// Security requirement 53: swapping tenant, row or key id fails; field and table are fixed by the place's kind.
#[tokio::test]
async fn a_secret_moved_to_another_tenant_row_or_key_does_not_open() {
    let test = TestDb::new().await;
    let vault = test.vault().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let (here, there) = (place(), place());
    let of_alpha = vault.seal(&alpha, here, TOKEN).await.unwrap();
    let of_beta = vault.seal(&beta, here, TOKEN).await.unwrap();

    let refused = async |ctx: &Ctx, place, sealed: &Sealed, what: &str| {
        assert!(vault.open(ctx, place, sealed).await.is_err(), "opened with another {what}");
    };
    refused(&beta, here, &of_alpha, "tenant").await;
    refused(&alpha, there, &of_alpha, "row").await;
    let with = |range: std::ops::Range<usize>, other: &Sealed| {
        let mut bytes = of_alpha.0.clone();
        bytes[range.clone()].copy_from_slice(&other.0[range]);
        Sealed(bytes)
    };
    refused(&alpha, here, &with(9..25, &of_beta), "data key id").await;
    refused(&alpha, here, &with(1..9, &Sealed(vec![1; 25])), "master key id").await;
    refused(&alpha, here, &with(25..37, &of_beta), "nonce").await;
    refused(&alpha, here, &Sealed(Vec::new()), "length").await;
    // A key row copied to the other tenant, as an attacker with write access to the database would.
    sqlx::query(
        "insert into tenant_data_keys (tenant_id, id, kek_id, wrapped, retired_at)
                 select $1, id, kek_id, wrapped, now() from tenant_data_keys where tenant_id = $2",
    )
    .bind(beta.tenant.as_uuid())
    .bind(alpha.tenant.as_uuid())
    .execute(&mut test.admin().await)
    .await
    .unwrap();
    refused(&beta, here, &of_alpha, "tenant, with its key copied there").await;
}

// Security requirement 54.
#[tokio::test]
async fn each_tenant_has_one_data_key_and_its_removal_shreds_its_secrets_only() {
    let test = TestDb::new().await;
    let (alpha, beta, place) = (test.ctx("alpha").await, test.ctx("beta").await, place());
    let vaults = [test.vault().await, test.vault().await, test.vault().await, test.vault().await];
    let sealed = futures::future::join_all(vaults.iter().map(|vault| vault.seal(&alpha, place, TOKEN))).await;
    let of_beta = vaults[0].seal(&beta, place, TOKEN).await.unwrap();
    let mut admin = test.admin().await;
    let keys: i64 = sqlx::query_scalar("select count(*) from tenant_data_keys where tenant_id = $1")
        .bind(alpha.tenant.as_uuid())
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(keys, 1, "four that seal at once made {keys} keys");
    for sealed in &sealed {
        vaults[0]
            .open(&alpha, place, sealed.as_ref().unwrap())
            .await
            .expect("any process opens any other's secret");
    }

    sqlx::query("delete from tenant_data_keys where tenant_id = $1")
        .bind(alpha.tenant.as_uuid())
        .execute(&mut admin)
        .await
        .unwrap();
    let fresh = test.vault().await;
    assert!(fresh.open(&alpha, place, sealed[0].as_ref().unwrap()).await.is_err());
    fresh.open(&beta, place, &of_beta).await.expect("the other tenant's secret still opens");
}

// Security requirement 56.
#[tokio::test]
async fn the_vault_does_not_open_with_another_master_key() {
    let test = TestDb::new().await;
    let other = MasterKey::generate();
    let error = PgVault::open(test.db.clone(), other.clone()).await.unwrap_err();
    assert!(matches!(error, VaultError::WrongMasterKey { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("the master key does not open this database's keys"), "{text}");
    assert!(text.contains(&other.id()), "{text}");
}

// Security requirements 57, 58 and 59.
#[tokio::test]
async fn nothing_prints_a_secret_and_the_database_holds_none_in_clear() {
    let test = TestDb::new().await;
    let (alpha, place) = (test.ctx("alpha").await, place());
    let vault = test.vault().await;
    let sealed = vault.seal(&alpha, place, TOKEN).await.unwrap();
    assert_eq!(format!("{vault:?}"), "PgVault");
    assert_eq!(format!("{sealed:?}"), format!("Sealed({} bytes)", sealed.0.len()));
    assert!(!sealed.0.windows(8).any(|window| TOKEN.windows(8).any(|part| part == window)));
    let error = vault.open(&alpha, self::place(), &sealed).await.unwrap_err();
    assert!(!format!("{error:?}").contains("canary"));
}

// Security requirement 59: a keyed hash, the same in every process of an installation and in no other.
#[tokio::test]
async fn the_hash_of_a_key_depends_on_the_installation() {
    let (test, other) = (TestDb::empty().await, TestDb::empty().await);
    let secret = SecretString::from("A".repeat(32));
    let mut macs = Vec::new();
    for database in [&test, &test, &other] {
        patchbay_infrastructure::postgres::migrate(
            &database.urls.admin,
            &patchbay_infrastructure::postgres::RolePasswords::default(),
            &support::master_key(),
        )
        .await
        .unwrap();
        macs.push(database.vault().await.mac(MacPurpose::ApiKey, &secret));
    }
    assert_eq!(macs[0], macs[1]);
    assert_ne!(macs[0], macs[2]);
}
