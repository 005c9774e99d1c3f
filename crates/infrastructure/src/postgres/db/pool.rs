//! How connections are opened, kept and given back.

use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::template_connection::TEMPLATE_TIMEOUT_TEXT;
use crate::postgres::outage::{BEGIN_DEADLINE, Breakdowns, in_time};

/// A plan made while a table was small is kept for ever otherwise: a backfill's first pages would fix sequential
/// scans for all that follow.
pub(super) const APP_SETTINGS: [(&str, &str); 1] = [("plan_cache_mode", "force_custom_plan")];

/// What every connection of the templates' pool begins with; the role has the same bounds, but those can be
/// changed by whoever administers roles.
///
/// Names resolve in `pg_catalog` only: statements carry their schemas. Plans are kept once PostgreSQL has found, in five calls,
/// that one for all values is no worse: making a plan takes longer than most templates run. A query whose caller went away
/// ends when the server looks for the caller, half a second later at most.
pub(super) const READER_SETTINGS: [(&str, &str); 7] = [
    ("search_path", "pg_catalog,pg_temp"),
    ("default_transaction_read_only", "on"),
    ("statement_timeout", TEMPLATE_TIMEOUT_TEXT),
    ("lock_timeout", "500"),
    ("idle_in_transaction_session_timeout", "10000"),
    ("client_connection_check_interval", "500"),
    ("plan_cache_mode", "auto"),
];

/// On top of these for what tenants write: their optional parameters fold away in a plan that is made for the call.
pub(super) const AUTHOR_SETTINGS: [(&str, &str); 1] = [("plan_cache_mode", "force_custom_plan")];

/// Connections for tenants' own templates that nobody has needed for this long are closed: most installations need none.
pub(super) const AUTHOR_IDLE: Duration = Duration::from_secs(60);

/// Shipped templates' connections, more of which are open after a busy time than are needed.
pub(super) const READER_IDLE: Duration = Duration::from_secs(10 * 60);
/// Server processes grow with what they have seen.
pub(super) const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);

pub(super) fn named(options: &PgConnectOptions, name: &str) -> PgConnectOptions {
    options.clone().application_name(name)
}

pub(super) fn pool(size: u32, breakdowns: Breakdowns) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(BEGIN_DEADLINE)
        .before_acquire(move |_, connection| {
            let sound = breakdowns.outlived_by(connection.age);
            Box::pin(async move { Ok(sound) })
        })
        .max_lifetime(MAX_LIFETIME)
        // Saves a round trip; a broken connection shows as an error that callers may repeat.
        .test_before_acquire(false)
}

/// Ends whatever transaction a connection is still in before somebody else gets it.
///
/// In sqlx 0.9 a cancelled `begin` can leave the server in a transaction the client does not know of; the next
/// user's acknowledged writes would vanish with its rollback (`tests/integration/postgres_cancelled_begin.rs` shows it).
pub(super) fn rollback(
    connection: &mut sqlx::PgConnection,
    _: sqlx::pool::PoolConnectionMetadata,
) -> futures::future::BoxFuture<'_, Result<bool, sqlx::Error>> {
    Box::pin(async move {
        // BEGIN first: a ROLLBACK outside a transaction writes a warning into the server's log, for each request.
        // In a failed transaction BEGIN is an error, and the connection is closed.
        // In time: a server that stands still would keep the place in the pool.
        in_time(connection.execute("BEGIN; ROLLBACK")).await?;
        Ok(true)
    })
}
