//! Secrets of the installation, each wrapped by the master key: the pepper under which secrets are hashed, and the key of
//! the audit chains.

use rand::Rng;
use sqlx::PgConnection;
use zeroize::Zeroizing;

use super::envelope::{unwrap, wrap};
use super::{MasterKey, VaultError};
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

impl Secret {
    /// What its wrapping is bound to.
    fn purpose(self) -> String {
        format!("deployment secret|{}", self.name)
    }
}

/// Makes what is missing, and proves that the master key opens what is there.
pub(crate) async fn create(connection: &mut PgConnection, master: &MasterKey) -> Result<(), VaultError> {
    for secret in [PEPPER, AUDIT_CHAIN] {
        let mut fresh = Zeroizing::new([0u8; 32]);
        rand::rng().fill_bytes(fresh.as_mut_slice());
        sqlx::query(
            "insert into public.deployment_secrets (name, sealed) values ($1, $2) on conflict (name) do nothing",
        )
        .bind(secret.name)
        .bind(wrap(master, &secret.purpose(), &fresh)?)
        .execute(&mut *connection)
        .await
        .map_err(store_error)?;
        read(connection, master, secret).await?;
    }
    Ok(())
}

/// Reads and unwraps one.
pub(super) async fn load(
    db: &Db,
    master: &MasterKey,
    secret: Secret,
) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let mut tx = db.system_tx().await?;
    read(&mut tx, master, secret).await
}

async fn read(
    connection: &mut PgConnection,
    master: &MasterKey,
    secret: Secret,
) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let sealed: Vec<u8> = sqlx::query_scalar("select sealed from public.deployment_secrets where name = $1")
        .bind(secret.name)
        .fetch_optional(connection)
        .await
        .map_err(store_error)?
        .ok_or(VaultError::NotPrepared)?;
    unwrap(master, &secret.purpose(), &sealed, secret.what)
}
