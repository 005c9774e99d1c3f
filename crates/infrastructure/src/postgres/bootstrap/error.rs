//! Why the schema could not be made.

use sqlx::migrate::MigrateError;

use crate::vault::VaultError;

/// Why the schema could not be made or checked.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The server cannot be reached, or refuses the administrator.
    #[error(
        "cannot connect to PostgreSQL as the administrator: check PATCHBAY_DATABASE_URL and that the server runs"
    )]
    Connect(#[source] sqlx::Error),
    /// Older than what the schema needs.
    #[error("PostgreSQL {found} is too old: Patchbay needs 15 or newer; upgrade the server")]
    ServerTooOld {
        /// Its version.
        found: String,
    },
    /// The administrator lacks a right.
    #[error(
        "{step} failed: the administrator may not do it; connect as a superuser, or as a role that may create roles \
         with BYPASSRLS and owns the database"
    )]
    NotAllowed {
        /// What was being done.
        step: &'static str,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
    /// A step failed.
    #[error("{step} failed")]
    Step {
        /// What was being done.
        step: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The database was migrated by a newer build, or an applied migration was edited.
    #[error(
        "the database's schema does not fit this build: it was migrated by a newer or a changed one; run that one"
    )]
    Foreign(#[source] MigrateError),
    /// A migration failed.
    #[error("a migration failed; nothing of it was applied")]
    Migration(#[source] MigrateError),
    /// The queue's own migrations failed.
    #[error("the job queue's schema could not be made")]
    Queue(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The keys in the database.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl BootstrapError {
    /// For `map_err`: says what was being done.
    pub(super) fn at(step: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| {
            let code = source.as_database_error().and_then(|error| error.code());
            if code.as_deref() == Some("42501") {
                Self::NotAllowed { step, source }
            } else {
                Self::Step { step, source }
            }
        }
    }
}

impl From<MigrateError> for BootstrapError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) => Self::Foreign(error),
            other => Self::Migration(other),
        }
    }
}
