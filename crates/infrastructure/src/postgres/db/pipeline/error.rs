//! What can go wrong on a connection for templates.

use std::error::Error;

use application::ports::StoreError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipelineError {
    /// As the server said it, or the way there.
    #[error("the database did not answer the template")]
    Postgres(#[source] tokio_postgres::Error),
    /// The server, or a connection to it, did not come in time.
    #[error("the database did not answer in time")]
    TimedOut,
    /// The pool is closed: the process ends.
    #[error("the connections are closed")]
    Closed,
    /// What came is not what was asked for.
    #[error("an answer cannot be read")]
    Unreadable(#[source] Box<dyn Error + Send + Sync>),
    /// Tenants' own templates need the vault.
    #[error("the key of seals is not there: the vault is not open")]
    NoSealKey,
    /// The address of the database cannot be used.
    #[error("the database's address or certificates cannot be used")]
    Address(#[source] Box<dyn Error + Send + Sync>),
}

impl PipelineError {
    /// The server's code of the error, <https://www.postgresql.org/docs/current/errcodes-appendix.html>, and its words.
    pub(crate) fn said(&self) -> Option<(&str, &str)> {
        let Self::Postgres(error) = self else { return None };
        error.as_db_error().map(|error| (error.code().code(), error.message()))
    }

    /// The server's code of the error; empty when it gave none.
    pub(crate) fn code(&self) -> &str {
        self.said().map_or("", |(code, _)| code)
    }

    /// Whether the connection ended rather than the statement failed.
    pub(crate) fn is_broken(&self) -> bool {
        match self {
            // 57P01 to 57P05: the server ends the session; 08: the connection failed.
            Self::Postgres(_) => match self.said() {
                Some((code, _)) => code.starts_with("57P") || code.starts_with("08"),
                None => true,
            },
            Self::TimedOut | Self::Closed | Self::Unreadable(_) | Self::NoSealKey | Self::Address(_) => false,
        }
    }
}

impl From<PipelineError> for StoreError {
    fn from(error: PipelineError) -> Self {
        let away = match &error {
            PipelineError::TimedOut | PipelineError::Closed => true,
            // 53: insufficient resources; 40: serialization, deadlock.
            PipelineError::Postgres(_) => {
                error.is_broken() || ["53", "40"].iter().any(|class| error.code().starts_with(class))
            }
            PipelineError::Unreadable(_) | PipelineError::NoSealKey | PipelineError::Address(_) => false,
        };
        if away { Self::Unavailable(Box::new(error)) } else { Self::Internal(Box::new(error)) }
    }
}
