//! Secrets of the installation, each wrapped by the master key: the pepper under which secrets are hashed, and the key of
//! the audit chains.

use rand::Rng;
use sqlx::PgConnection;
use zeroize::Zeroizing;

use super::envelope::wrapped_by;
use super::{MasterKeys, VaultError};
use crate::postgres::{Db, store_error};

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Secret {
    name: &'static str,
    /// In the words of an error.
    what: &'static str,
}

pub(super) const PEPPER: Secret = Secret { name: "api_key_pepper", what: "installation's pepper" };
pub(super) const AUDIT_CHAIN: Secret =
    Secret { name: "audit_chain", what: "installation's key of the audit log" };

const ALL: [Secret; 2] = [PEPPER, AUDIT_CHAIN];

impl Secret {
    /// What its wrapping is bound to.
    fn purpose(self) -> String {
        format!("deployment secret|{}", self.name)
    }
}

/// Makes what is missing, and proves that the master keys open what is there.
pub(crate) async fn create(connection: &mut PgConnection, master: &MasterKeys) -> Result<(), VaultError> {
    for secret in ALL {
        if read(connection, secret).await?.is_none() {
            let mut fresh = Zeroizing::new([0u8; 32]);
            rand::rng().fill_bytes(fresh.as_mut_slice());
            let wrapped = master.wrap(&secret.purpose(), &fresh).await?;
            sqlx::query(
                "insert into public.deployment_secrets (name, sealed) values ($1, $2) on conflict (name) do nothing",
            )
            .bind(secret.name)
            .bind(wrapped)
            .execute(&mut *connection)
            .await
            .map_err(store_error)?;
        }
        let wrapped = read(connection, secret).await?.ok_or(VaultError::NotPrepared)?;
        master.unwrap(&secret.purpose(), &wrapped, secret.what).await?;
    }
    Ok(())
}

/// Gives the database what it checks the seals of tenants' templates with. It follows from the pepper, so that there is
/// one secret less to keep and to rotate.
pub(crate) async fn store_seal_key(
    connection: &mut PgConnection,
    master: &MasterKeys,
) -> Result<(), VaultError> {
    let wrapped = read(connection, PEPPER).await?.ok_or(VaultError::NotPrepared)?;
    let pepper = master.unwrap(&PEPPER.purpose(), &wrapped, PEPPER.what).await?;
    let key = super::seal_key(&pepper);
    sqlx::query(
        "insert into public.template_seal (key) values ($1)
         on conflict (one) do update set key = excluded.key where template_seal.key <> excluded.key",
    )
    .bind(key.as_slice())
    .execute(connection)
    .await
    .map(drop)
    .map_err(|error| store_error(error).into())
}

/// Reads and unwraps one.
pub(super) async fn load(
    db: &Db,
    master: &MasterKeys,
    secret: Secret,
) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let mut tx = db.system_tx().await?;
    let wrapped = read(&mut tx, secret).await?.ok_or(VaultError::NotPrepared)?;
    drop(tx);
    master.unwrap(&secret.purpose(), &wrapped, secret.what).await
}

/// What wraps each of them.
pub(super) async fn wrapped_with(db: &Db) -> Result<Vec<(&'static str, String)>, VaultError> {
    let mut tx = db.system_tx().await?;
    let mut all = Vec::new();
    for secret in ALL {
        let wrapped = read(&mut tx, secret).await?.ok_or(VaultError::NotPrepared)?;
        all.push((secret.name, wrapped_by(&wrapped)?));
    }
    Ok(all)
}

/// Wraps what is under another key than `current` under that; the number of those. As the administrator: the
/// application may not write this table.
pub(super) async fn rewrap(
    connection: &mut PgConnection,
    master: &MasterKeys,
    current: &str,
) -> Result<u64, VaultError> {
    let mut rewrapped = 0;
    for secret in ALL {
        let wrapped = read(connection, secret).await?.ok_or(VaultError::NotPrepared)?;
        if wrapped_by(&wrapped)? == current {
            continue;
        }
        let key = master.unwrap(&secret.purpose(), &wrapped, secret.what).await?;
        let fresh = master.wrap(&secret.purpose(), &key).await?;
        // Another rotation may have been here first; then its wrapping stands.
        rewrapped +=
            sqlx::query("update public.deployment_secrets set sealed = $3 where name = $1 and sealed = $2")
                .bind(secret.name)
                .bind(&wrapped)
                .bind(fresh)
                .execute(&mut *connection)
                .await
                .map_err(store_error)?
                .rows_affected();
    }
    Ok(rewrapped)
}

async fn read(connection: &mut PgConnection, secret: Secret) -> Result<Option<Vec<u8>>, VaultError> {
    sqlx::query_scalar("select sealed from public.deployment_secrets where name = $1")
        .bind(secret.name)
        .fetch_optional(connection)
        .await
        .map_err(|error| store_error(error).into())
}
