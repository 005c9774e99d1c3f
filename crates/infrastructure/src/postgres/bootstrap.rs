//! Making and checking the schema: roles, migrations, the job queue's tables, the audited functions, and the
//! reader's hardening. Safe to repeat, and to run from several processes at once.

mod check;
mod error;
mod roles;
mod state;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection};
use tracing::info;

pub use self::check::{Finding, check_server};
pub use self::error::BootstrapError;
pub(crate) use self::roles::LOGINS;
pub use self::roles::{RolePasswords, set_passwords};
pub use self::state::{SchemaState, schema_state};
use crate::vault::{MasterKeys, create_deployment_secrets, store_seal_key};

/// The schema's history.
static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// Raised when functions.sql, author.sql or hardening.sql changes; kept in the database, so that a process can tell that they
/// are older than it needs.
const BOOTSTRAP_VERSION: u32 = 10;

/// One migration at a time in a database; an arbitrary number.
const LOCK: i64 = 0x7061_7463_6862_6179;

/// What [`migrate`] has to tell.
#[derive(Debug)]
pub struct Migrated {
    /// What the server or the administrator's rights did not allow, and what to do about it.
    pub warnings: Vec<Finding>,
}

/// Brings the database of `admin` up to this build: roles, schema, queue, functions, hardening, keys.
///
/// `admin` must be allowed to create roles that bypass row-level security, so usually a superuser. Refuses, before
/// it changes anything, a master key that does not open the keys already there.
pub async fn migrate(
    admin: &PgConnectOptions,
    passwords: &RolePasswords,
    master: impl Into<MasterKeys>,
) -> Result<Migrated, BootstrapError> {
    let master = master.into();
    let mut connection = PgConnection::connect_with(admin).await.map_err(BootstrapError::Connect)?;
    let version = check::server_version(&mut connection).await?;
    if version.major < check::OLDEST_MAJOR {
        return Err(BootstrapError::ServerTooOld { found: version.to_string() });
    }
    sqlx::query("select pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut connection)
        .await
        .map_err(BootstrapError::at("waiting for another migration"))?;
    let result = migrate_locked(&mut connection, admin, passwords, &master).await;
    // The lock ends with the connection, also when this fails.
    drop(connection.close().await);
    result
}

async fn migrate_locked(
    connection: &mut PgConnection,
    admin: &PgConnectOptions,
    passwords: &RolePasswords,
    master: &MasterKeys,
) -> Result<Migrated, BootstrapError> {
    if state::has_secrets(connection).await? {
        create_deployment_secrets(connection, master).await?;
    }
    roles::create(connection, passwords).await?;
    run(connection, "granting rights in the database", include_str!("bootstrap/database.sql")).await?;

    // Objects belong to the owner role, never to the administrator: a superuser's views and functions ignore policies.
    run(connection, "becoming patchbay_owner", "set role patchbay_owner").await?;
    let migrated = MIGRATIONS.run(&mut *connection).await.map_err(BootstrapError::from);
    run(connection, "becoming the administrator again", "reset role").await?;
    migrated?;

    migrate_queue(admin).await?;
    run(connection, "creating functions", include_str!("bootstrap/functions.sql")).await?;
    run(connection, "locking what tenants' templates read", include_str!("bootstrap/author.sql")).await?;
    if check::is_superuser(connection).await? {
        run(connection, "hardening", include_str!("bootstrap/hardening.sql")).await?;
    }
    create_deployment_secrets(connection, master).await?;
    store_seal_key(connection, master).await?;
    state::note_version(connection).await?;
    info!("The schema is up to date");
    Ok(Migrated { warnings: check::findings(connection).await? })
}

/// The queue's crate brings its own migrations. They run as the queue's owner.
async fn migrate_queue(admin: &PgConnectOptions) -> Result<(), BootstrapError> {
    #[expect(
        clippy::disallowed_types,
        reason = "the queue's crate takes a pool; it lives for these few statements"
    )]
    let pool: sqlx::PgPool = PgPoolOptions::new()
        .max_connections(1)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::query("set role patchbay_queue").execute(&mut *connection).await?;
                sqlx::query("set client_min_messages = warning").execute(connection).await.map(drop)
            })
        })
        .connect_with(admin.clone())
        .await
        .map_err(BootstrapError::Connect)?;
    let migrated = graphile_worker::WorkerUtils::new(pool.clone(), "graphile_worker").migrate().await;
    pool.close().await;
    migrated.map_err(|error| BootstrapError::Queue(Box::new(error)))
}

/// Runs a script of ours as one transaction.
async fn run(
    connection: &mut PgConnection,
    step: &'static str,
    script: &'static str,
) -> Result<(), BootstrapError> {
    sqlx::raw_sql(script).execute(connection).await.map(drop).map_err(BootstrapError::at(step))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    /// Whoever edits these files must raise `BOOTSTRAP_VERSION`, or running installations would not get them.
    #[test]
    fn the_bootstrap_version_was_raised_with_the_scripts() {
        let mut hash = Sha256::new();
        hash.update(super::BOOTSTRAP_VERSION.to_le_bytes());
        hash.update(include_str!("bootstrap/functions.sql"));
        hash.update(include_str!("bootstrap/author.sql"));
        hash.update(include_str!("bootstrap/hardening.sql"));
        let digest = hex::encode(&hash.finalize()[..8]);
        assert_eq!(
            digest, "1dd92cc5a1d5430e",
            "functions.sql, author.sql or hardening.sql changed: raise BOOTSTRAP_VERSION, then put this digest here"
        );
    }
}
