//! The installation's pepper: the key under which secrets of API keys are hashed. Wrapped by the master key.

use rand::Rng;
use sqlx::PgConnection;
use zeroize::Zeroizing;

use super::envelope::{unwrap, wrap};
use super::{MasterKey, VaultError};
use crate::postgres::{Db, store_error};

const NAME: &str = "api_key_pepper";
const PURPOSE: &str = "deployment secret|api_key_pepper";

/// Makes the pepper unless there is one, and proves that the master key opens it.
pub(crate) async fn create(connection: &mut PgConnection, master: &MasterKey) -> Result<(), VaultError> {
    let mut secret = Zeroizing::new([0u8; 32]);
    rand::rng().fill_bytes(secret.as_mut_slice());
    sqlx::query(
        "insert into public.deployment_secrets (name, sealed) values ($1, $2) on conflict (name) do nothing",
    )
    .bind(NAME)
    .bind(wrap(master, PURPOSE, &secret)?)
    .execute(&mut *connection)
    .await
    .map_err(store_error)?;
    read(connection, master).await.map(drop)
}

/// Reads and unwraps the pepper.
pub(super) async fn load(db: &Db, master: &MasterKey) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let mut tx = db.system_tx().await?;
    read(&mut tx, master).await
}

async fn read(connection: &mut PgConnection, master: &MasterKey) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let sealed: Vec<u8> = sqlx::query_scalar("select sealed from public.deployment_secrets where name = $1")
        .bind(NAME)
        .fetch_optional(connection)
        .await
        .map_err(store_error)?
        .ok_or(VaultError::NotPrepared)?;
    unwrap(master, PURPOSE, &sealed, "installation's pepper")
}
