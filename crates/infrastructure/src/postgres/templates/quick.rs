//! How many short queries run at once: more of them than PostgreSQL has cores take its caches from one another, and all end
//! later (<https://wiki.postgresql.org/wiki/Number_Of_Database_Connections>).

use std::pin::pin;
use std::time::Duration;

use tokio::sync::Semaphore;

/// What takes longer is no short query, and makes room for those.
const SHORT: Duration = Duration::from_millis(50);

/// A bound on queries in their first [`SHORT`]. Nobody waits long for it, however slow the queries are.
#[derive(Debug)]
pub(super) struct QuickLane(Semaphore);

impl QuickLane {
    /// Twice as many as this process has cores, and one: it cannot ask faster than that, and how many the server has is not
    /// known here.
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self::of(2 * cores + 1)
    }

    pub(super) fn of(most: usize) -> Self {
        Self(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)))
    }

    /// Runs it when there is room.
    pub(super) async fn run<T>(&self, query: impl Future<Output = T>) -> T {
        // It is never closed.
        let place = self.0.acquire().await.ok();
        let mut query = pin!(query);
        match tokio::time::timeout(SHORT, &mut query).await {
            Ok(done) => done,
            Err(_) => {
                drop(place);
                query.await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slow_queries_make_room_for_short_ones() {
        let lane = Arc::new(QuickLane::of(2));
        let slow: Vec<_> = (0..2)
            .map(|_| {
                let lane = lane.clone();
                tokio::spawn(async move { lane.run(pending::<()>()).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(lane.0.available_permits(), 0, "both run");
        // The clock of the test goes on by itself while everybody waits.
        assert_eq!(lane.run(ready(7)).await, 7);
        assert!(slow.iter().all(|query| !query.is_finished()));
        assert_eq!(lane.0.available_permits(), 2);
        slow.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn what_is_given_up_frees_its_place() {
        let lane = QuickLane::of(1);
        let given_up = tokio::time::timeout(Duration::ZERO, lane.run(pending::<()>())).await;
        assert!(given_up.is_err());
        assert_eq!(lane.run(ready(7)).await, 7);
    }
}
