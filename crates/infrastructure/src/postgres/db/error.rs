//! What errors of the driver mean to callers.

use std::sync::Arc;

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

/// The same error for one of several callers that waited for one answer.
pub(crate) fn shared_error(error: Arc<StoreError>) -> StoreError {
    match &*error {
        StoreError::Conflict(what) => StoreError::Conflict(what),
        StoreError::Fenced => StoreError::Fenced,
        StoreError::Timeout { limit_ms } => StoreError::Timeout { limit_ms: *limit_ms },
        StoreError::Unavailable(_) => StoreError::Unavailable(Box::new(error)),
        StoreError::Internal(_) => StoreError::Internal(Box::new(error)),
    }
}

/// Whether the error says that this unique constraint or index was violated.
pub(crate) fn unique_violation(error: &sqlx::Error, constraint: &str) -> bool {
    error
        .as_database_error()
        .is_some_and(|database| database.is_unique_violation() && database.constraint() == Some(constraint))
}
