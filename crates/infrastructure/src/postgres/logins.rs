//! The passwords of the pools. They follow the master key, so they change when it is rotated; a process that holds both
//! keys changes over when the server refuses the one it has used so far.
#![expect(
    clippy::disallowed_types,
    reason = "tells the pools of db.rs another password; takes no connection from them"
)]

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::bootstrap::LOGINS;
use crate::vault::MasterKeys;

/// Spares the server a flood of wrong passwords when it takes none.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);
/// "Password authentication failed", <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const REFUSED: &str = "28P01";

/// A pool and how its connections are opened, but for the password.
pub(super) type Login = (PgPool, PgConnectOptions);

/// What the pools log in with.
pub(super) struct Logins {
    /// `None` when passwords are not of our making.
    keys: Option<MasterKeys>,
    /// In the order of [`LOGINS`].
    pools: [Login; 4],
    /// How often the passwords were changed.
    changes: AtomicU64,
    /// One changes them at a time; when it found none that the server takes.
    refused: Mutex<Option<Instant>>,
}

impl Logins {
    pub(super) fn new(keys: Option<MasterKeys>, pools: [Login; 4]) -> Self {
        Self { keys, pools, changes: AtomicU64::new(0), refused: Mutex::new(None) }
    }

    /// To be asked before an attempt, for [`Self::renewed`].
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether the pools have other passwords now than when `before` was asked, so that a login which failed with this
    /// error is worth another try. Looks for passwords that the server takes when it refused the present ones.
    pub(super) async fn renewed(&self, before: u64, error: &sqlx::Error) -> bool {
        let code = error.as_database_error().and_then(|error| error.code());
        self.renewed_after(before, code.as_deref().unwrap_or_default()).await
    }

    /// As [`Self::renewed`], of an error with this code.
    pub(super) async fn renewed_after(&self, before: u64, code: &str) -> bool {
        let Some(keys) = self.keys.as_ref().filter(|_| code == REFUSED) else { return false };
        let mut refused = self.refused.lock().await;
        if self.changes() != before {
            return true;
        }
        if refused.is_some_and(|at| at.elapsed() < AGAIN_AFTER) {
            return false;
        }
        let Some(passwords) = self.find(keys).await else {
            *refused = Some(Instant::now());
            return false;
        };
        for ((pool, options), password) in self.pools.iter().zip(&passwords) {
            pool.set_connect_options(options.clone().password(password.expose_secret()));
        }
        *refused = None;
        self.changes.fetch_add(1, Ordering::Release);
        info!("The database roles have other passwords now; the pools use them");
        true
    }

    /// Looks whether the server still takes the passwords, and changes them if not. For the pool that others take
    /// connections from.
    pub(super) async fn check(&self) {
        if self.keys.is_none() {
            return;
        }
        let before = self.changes();
        if let Err(error) = log_in(&self.pools[0].0.connect_options()).await {
            self.renewed(before, &error).await;
        }
    }

    /// The first set of passwords that the server takes.
    async fn find(&self, keys: &MasterKeys) -> Option<[SecretString; 4]> {
        let candidates = match keys.passwords_to_try(LOGINS).await {
            Ok(candidates) => candidates,
            Err(error) => {
                warn!(%error, "The database refuses the login, and the keys give no other passwords");
                return None;
            }
        };
        // Twice: they may be changed from one to another that was tried already.
        for passwords in candidates.iter().chain(&candidates) {
            match log_in(&self.pools[0].1.clone().password(passwords[0].expose_secret())).await {
                Ok(()) => return Some(passwords.clone()),
                Err(error) if is_refusal(&error) => {}
                // Away, not refusing: that is for whoever asked for a connection to say.
                Err(_) => return None,
            }
        }
        None
    }
}

async fn log_in(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let connected = tokio::time::timeout(PATIENCE, PgConnection::connect_with(options)).await;
    connected.map_err(|_| sqlx::Error::PoolTimedOut)??.close().await
}

fn is_refusal(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some(REFUSED))
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logins")
    }
}
