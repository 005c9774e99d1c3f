//! How many short queries run at once: more of them than PostgreSQL has cores take its caches from one another, and all end
//! later (<https://wiki.postgresql.org/wiki/Number_Of_Database_Connections>).

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::sync::Semaphore;

/// What takes longer is no short query, and makes room for those.
const SHORT: Duration = Duration::from_millis(50);

/// A bound on queries in their first [`SHORT`]. Nobody waits long for it, however slow the queries are. Each runtime has
/// its share, so that no thread has to be woken by another.
#[derive(Debug)]
pub(super) struct QuickLane {
    share: usize,
    lanes: Mutex<Vec<(Id, Arc<Semaphore>)>>,
}

impl QuickLane {
    /// Twice as many as this process has cores, and one: it cannot ask faster than that, and how many the server has is not
    /// known here.
    pub(super) fn new() -> Self {
        Self::of(2 * cores() + 1)
    }

    /// This many on all threads that serve.
    pub(super) fn of(most: usize) -> Self {
        Self::shared(most, cores())
    }

    fn shared(most: usize, threads: usize) -> Self {
        let share = most.div_ceil(threads).clamp(1, Semaphore::MAX_PERMITS);
        Self { share, lanes: Mutex::default() }
    }

    /// The lane of this runtime.
    fn lane(&self) -> Arc<Semaphore> {
        let here = Handle::current().id();
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, lane)) = lanes.iter().find(|(id, _)| *id == here) {
            return lane.clone();
        }
        let lane = Arc::new(Semaphore::new(self.share));
        lanes.push((here, lane.clone()));
        lane
    }

    /// Runs it when there is room.
    pub(super) async fn run<T>(&self, query: impl Future<Output = T>) -> T {
        // It is never closed.
        let place = self.lane().acquire_owned().await.ok();
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

/// As many threads serve, see `interfaces::server::Threads`.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test(start_paused = true)]
    async fn slow_queries_make_room_for_short_ones() {
        let lane = Arc::new(QuickLane::shared(2, 1));
        let slow: Vec<_> = (0..2)
            .map(|_| {
                let lane = lane.clone();
                tokio::spawn(async move { lane.run(pending::<()>()).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(lane.lane().available_permits(), 0, "both run");
        // The clock of the test goes on by itself while everybody waits.
        assert_eq!(lane.run(ready(7)).await, 7);
        assert!(slow.iter().all(|query| !query.is_finished()));
        assert_eq!(lane.lane().available_permits(), 2);
        slow.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn what_is_given_up_frees_its_place() {
        let lane = QuickLane::shared(1, 1);
        let given_up = tokio::time::timeout(Duration::ZERO, lane.run(pending::<()>())).await;
        assert!(given_up.is_err());
        assert_eq!(lane.run(ready(7)).await, 7);
    }

    #[test]
    fn each_runtime_has_its_share() {
        let lane = QuickLane::shared(5, 2);
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (one, other) = (runtime(), runtime());
        let all = one.block_on(async { lane.lane().acquire_many_owned(3).await.unwrap() });
        assert_eq!(one.block_on(async { lane.lane().available_permits() }), 0);
        assert_eq!(other.block_on(async { lane.lane().available_permits() }), 3);
        drop(all);
    }
}
