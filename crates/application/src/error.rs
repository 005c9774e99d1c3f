//! What a use case can fail with. Knows no transport; `interfaces` decides status, code and text.

use std::time::Duration;

use domain::{Invalid, RunId, Scope};

use crate::ports::{LimitState, SourceError, StoreError};
use crate::sign_in::SignInError;

/// Why a use case did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No key, or one that is unknown, expired or revoked. The text says which of the first two the caller may know.
    #[error("not signed in: {0}")]
    Unauthenticated(&'static str),
    /// The principal lacks a scope.
    #[error("the scope {needed} is missing")]
    Forbidden {
        /// The scope that would do.
        needed: Scope,
    },
    /// It goes beyond what the principal holds itself: an instance outside its key, a role above its own.
    #[error("this goes beyond the caller's own rights: {what}")]
    Exceeds {
        /// What goes beyond, as a sentence: "the key is narrowed to certain instances".
        what: &'static str,
    },
    /// A person cannot be signed in.
    #[error("not signed in")]
    SignIn(#[source] SignInError),
    /// The input breaks rules.
    #[error("invalid input: {0}")]
    Invalid(#[from] Invalid),
    /// It does not exist for this tenant. Says what was looked for, never whether another tenant has it.
    #[error("{what} was not found")]
    NotFound {
        /// What was looked for: "the instance", "the template `x`".
        what: String,
    },
    /// It exists already, or is in a state that does not allow this.
    #[error("{what}")]
    Conflict {
        /// What is in the way.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// The instance has an unfinished run.
    #[error("the instance already has an unfinished run")]
    RunActive {
        /// That run.
        run: RunId,
    },
    /// The tracker failed or refused.
    #[error("the source failed")]
    Source(#[source] SourceError),
    /// A template took longer than it may.
    #[error("the query took longer than {limit_ms} ms")]
    QueryTimeout {
        /// Its time limit.
        limit_ms: u64,
    },
    /// A rate limit is used up.
    #[error("too many requests: the limit `{}` is used up", state.name)]
    RateLimited {
        /// The limit.
        state: LimitState,
        /// How long to wait.
        retry_after: Duration,
    },
    /// Requests of this kind cannot be counted at the moment and are not let through uncounted.
    #[error("requests of this kind are not taken at the moment")]
    Closed {
        /// How long to wait before another try.
        retry_after: Duration,
    },
    /// A request with the same idempotency key is being served.
    #[error("a request with this idempotency key is under way")]
    IdempotencyInFlight {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyMismatch,
    /// Too many at once, or the database is not there; worth another try.
    #[error("temporarily unavailable")]
    Unavailable(#[source] StoreError),
    /// A fault of ours.
    #[error("internal error")]
    Internal(#[source] StoreError),
}

impl Error {
    /// A `NotFound`.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_)
            | Self::RateLimited { .. }
            | Self::Closed { .. }
            | Self::IdempotencyInFlight { .. } => true,
            Self::Source(error) => error.kind.is_transient(),
            Self::SignIn(error) => matches!(error, SignInError::Unavailable(_)),
            Self::Unauthenticated(_)
            | Self::Forbidden { .. }
            | Self::Exceeds { .. }
            | Self::Invalid(_)
            | Self::NotFound { .. }
            | Self::Conflict { .. }
            | Self::RunActive { .. }
            | Self::QueryTimeout { .. }
            | Self::IdempotencyMismatch
            | Self::Internal(_) => false,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Unavailable(error),
            StoreError::Timeout { limit_ms } => Self::QueryTimeout { limit_ms },
            StoreError::Conflict(what) => Self::Conflict {
                what: format!("{what} already exists"),
                hint: "choose another name".to_owned(),
            },
            StoreError::Fenced | StoreError::Internal(_) => Self::Internal(error),
        }
    }
}

impl From<SourceError> for Error {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}
