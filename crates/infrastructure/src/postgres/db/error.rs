//! What errors of the driver mean to callers.

use application::ports::StoreError;

/// What a driver error means to a caller. A unique violation is told apart by its constraint with
/// [`unique_violation`] before this is used.
pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::Tls(_) => {
            StoreError::Unavailable(Box::new(error))
        }
        // 53: insufficient resources; 57P: shutting down or starting; 08: connection lost; 40: serialization, deadlock.
        sqlx::Error::Database(database)
            if database.code().is_some_and(|code| {
                ["53", "57P", "08", "40"].iter().any(|class| code.starts_with(class))
            }) =>
        {
            StoreError::Unavailable(Box::new(error))
        }
        _ => StoreError::Internal(Box::new(error)),
    }
}

/// Whether the error says that this unique constraint or index was violated.
pub(crate) fn unique_violation(error: &sqlx::Error, constraint: &str) -> bool {
    error
        .as_database_error()
        .is_some_and(|database| database.is_unique_violation() && database.constraint() == Some(constraint))
}
