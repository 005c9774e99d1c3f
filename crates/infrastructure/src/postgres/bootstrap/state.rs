//! Whether the schema is the one this build needs.

use application::ports::StoreError;
use sqlx::PgConnection;

use super::{BOOTSTRAP_VERSION, BootstrapError, MIGRATIONS};
use crate::postgres::db::{Db, store_error};

/// Whether the schema is the one this build needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaState {
    /// It is.
    UpToDate,
    /// There is none: `patchbay migrate` has not run on this database.
    Missing,
    /// The server refuses the application's role: it has no such role, or another master key's password.
    LoginRefused,
    /// Older: `patchbay migrate` must run first.
    Behind {
        /// What is not applied.
        pending: Vec<String>,
    },
    /// A newer build has migrated it. This build still works on it: migrations only expand until contracted later.
    Ahead,
}

impl SchemaState {
    /// Whether this build can work on it.
    pub fn is_usable(&self) -> bool {
        matches!(self, Self::UpToDate | Self::Ahead)
    }
}

impl std::fmt::Display for SchemaState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UpToDate => f.write_str("the schema is up to date"),
            Self::Missing => f.write_str("the database has no schema: run `patchbay migrate`"),
            Self::LoginRefused => f.write_str(
                "the server refuses the role patchbay_app: run `patchbay migrate` with the master key of this process",
            ),
            Self::Behind { pending } => {
                write!(f, "the schema is older than this build: run `patchbay migrate` ({} pending)", pending.join(", "))
            }
            Self::Ahead => f.write_str("the schema is newer than this build: upgrade this process when convenient"),
        }
    }
}

/// Compares the database with this build, as the application's role.
pub async fn schema_state(db: &Db) -> Result<SchemaState, StoreError> {
    let mut tx = match db.system_tx().await {
        Err(StoreError::Internal(error)) => return refused(error),
        other => other?,
    };
    let applied: Vec<i64> =
        match sqlx::query_scalar("select version from public._sqlx_migrations where success")
            .fetch_all(&mut *tx)
            .await
        {
            // No table, no schema or no right to them.
            Err(sqlx::Error::Database(error))
                if error.code().is_some_and(|code| ["42P01", "3F000", "42501"].contains(&code.as_ref())) =>
            {
                return Ok(SchemaState::Missing);
            }
            other => other.map_err(store_error)?,
        };
    let bootstrapped = sqlx::query_scalar(VERSION).fetch_one(&mut *tx).await.map_err(store_error)?;
    Ok(compare(&applied, bootstrapped))
}

const VERSION: &str = "select coalesce(substring(pg_catalog.obj_description(n.oid, 'pg_namespace')
         from 'patchbay bootstrap ([0-9]{1,9})')::integer, 0)
     from (values (1)) one left join pg_catalog.pg_namespace n on n.nspname = 'published'";

fn compare(applied: &[i64], bootstrapped: i32) -> SchemaState {
    let mut pending: Vec<String> = MIGRATIONS
        .iter()
        .filter(|migration| !applied.contains(&migration.version))
        .map(|migration| format!("{} {}", migration.version, migration.description))
        .collect();
    let bootstrapped = u32::try_from(bootstrapped).unwrap_or(0);
    if bootstrapped < BOOTSTRAP_VERSION {
        pending.push("functions and hardening".to_owned());
    }
    let known = |version: &i64| MIGRATIONS.iter().any(|migration| migration.version == *version);
    if !pending.is_empty() {
        SchemaState::Behind { pending }
    } else if bootstrapped > BOOTSTRAP_VERSION || !applied.iter().all(known) {
        SchemaState::Ahead
    } else {
        SchemaState::UpToDate
    }
}

/// Tells "no such role or database" and "wrong password" from faults.
fn refused(error: Box<dyn std::error::Error + Send + Sync>) -> Result<SchemaState, StoreError> {
    let code = error
        .downcast_ref::<sqlx::Error>()
        .and_then(|error| error.as_database_error())
        .and_then(|error| error.code())
        .map(|code| code.into_owned());
    match code.as_deref() {
        Some("3D000") => Ok(SchemaState::Missing),
        Some("28000" | "28P01") => Ok(SchemaState::LoginRefused),
        _ => Err(StoreError::Internal(error)),
    }
}

/// Writes down which scripts this database has. Never lowers it: an older build may migrate after a newer one.
pub(super) async fn note_version(connection: &mut PgConnection) -> Result<(), BootstrapError> {
    let step = "noting the version";
    let noted: i32 =
        sqlx::query_scalar(VERSION).fetch_one(&mut *connection).await.map_err(BootstrapError::at(step))?;
    if u32::try_from(noted).unwrap_or(0) >= BOOTSTRAP_VERSION {
        return Ok(());
    }
    let statement = format!("comment on schema published is 'patchbay bootstrap {BOOTSTRAP_VERSION}'");
    #[expect(clippy::disallowed_methods, reason = "a number")]
    let statement = sqlx::AssertSqlSafe(statement);
    sqlx::raw_sql(statement).execute(connection).await.map(drop).map_err(BootstrapError::at(step))
}

/// Whether an earlier migration has made the table of the installation's keys.
pub(super) async fn has_secrets(connection: &mut PgConnection) -> Result<bool, BootstrapError> {
    sqlx::query_scalar("select pg_catalog.to_regclass('public.deployment_secrets') is not null")
        .fetch_one(connection)
        .await
        .map_err(BootstrapError::at("looking for an earlier schema"))
}
