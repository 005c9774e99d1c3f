//! When the database breaks down: which connections are worth trying again, and whether it answers at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

/// How long a statement that opens a transaction may take, with the wait for a connection: a server that stands still
/// closes nothing, and a unix socket has no time-out of its own.
pub(super) const BEGIN_DEADLINE: Duration = Duration::from_secs(5);
/// How often the database is asked whether it is there.
const EVERY: Duration = Duration::from_millis(500);
/// How soon it is asked again when it is not.
const AGAIN: Duration = Duration::from_millis(200);
/// The silence after which waiting for it is no use.
const SILENCE: Duration = Duration::from_secs(3);

/// Remembers when connections last broke. A server that restarts breaks all of them, and each of those that are idle
/// would cost a request otherwise.
#[derive(Debug, Clone)]
pub(super) struct Breakdowns {
    begun: Instant,
    /// Milliseconds after `begun`; 0 when none ever broke.
    last: Arc<AtomicU64>,
}

impl Breakdowns {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), last: Arc::default() }
    }

    pub(super) fn note(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.fetch_max(now.max(1), Ordering::AcqRel);
    }

    /// Whether a connection of this age was made after the last breakdown.
    pub(super) fn outlived_by(&self, age: Duration) -> bool {
        let last = self.last.load(Ordering::Acquire);
        last == 0 || age < self.begun.elapsed().saturating_sub(Duration::from_millis(last))
    }
}

/// Whether the error says that the connection is gone, and not what it was asked.
pub(super) fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => true,
        // 57P01 to 57P05: the server ends the session; 08: the connection failed.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("08"))
        }
        _ => false,
    }
}

/// The result, or [`sqlx::Error::PoolTimedOut`] after [`BEGIN_DEADLINE`].
pub(super) async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(BEGIN_DEADLINE, work).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Asks the database all the time whether it is there, on a connection of its own, so that full pools are not taken for
/// an outage. The receiver holds whether it has answered within the last seconds; the asking ends with the last receiver.
pub(super) fn watch_over(
    options: impl Fn() -> Arc<PgConnectOptions> + Send + 'static,
) -> watch::Receiver<bool> {
    let (answers, receiver) = watch::channel(true);
    tokio::spawn(async move {
        let mut last = Instant::now();
        while !answers.is_closed() {
            let options = PgConnectOptions::clone(&options()).application_name("patchbay-pulse");
            if let Ok(Ok(mut connection)) = timeout(SILENCE, PgConnection::connect_with(&options)).await {
                while let Ok(Ok(())) = timeout(SILENCE, connection.ping()).await {
                    if answers.is_closed() {
                        return;
                    }
                    last = Instant::now();
                    if answers.send_if_modified(|up| !std::mem::replace(up, true)) {
                        info!("The database answers again");
                    }
                    tokio::time::sleep(EVERY).await;
                }
            }
            if last.elapsed() >= SILENCE && answers.send_if_modified(|up| std::mem::replace(up, false)) {
                warn!("The database does not answer; requests are turned away until it does");
            }
            tokio::time::sleep(AGAIN).await;
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_connections_made_after_the_last_breakdown_are_worth_a_try() {
        let breakdowns = Breakdowns::new();
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(breakdowns.outlived_by(Duration::from_secs(99)), "nothing ever broke");
        breakdowns.note();
        assert!(!breakdowns.outlived_by(Duration::from_secs(99)));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(breakdowns.outlived_by(Duration::from_secs(9)));
        assert!(!breakdowns.outlived_by(Duration::from_secs(11)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_comes_back_ends_in_time() {
        let error = in_time(std::future::pending::<Result<(), _>>()).await.unwrap_err();
        assert!(matches!(error, sqlx::Error::PoolTimedOut));
    }
}
