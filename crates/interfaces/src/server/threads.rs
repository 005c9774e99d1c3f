//! Threads that serve connections.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// How long what still runs on a thread may block its end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Threads that serve connections, each with a runtime of its own: a request begins and ends on one thread. Handed from one
/// to another, as a runtime of several threads does, a short call takes half as much again (docs/benchmarks.md).
///
/// They end when this is dropped, with whatever still runs on them.
#[derive(Debug)]
pub struct Threads {
    all: Vec<Arc<Thread>>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Thread {
    handle: Handle,
    connections: AtomicUsize,
}

/// A connection's hold on its thread.
#[derive(Debug)]
pub(super) struct Held(Arc<Thread>);

impl Threads {
    /// Starts as many as this process has cores.
    pub fn start() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(2, NonZeroUsize::get);
        let stop = CancellationToken::new();
        // Dropped with an error, it ends those that were started.
        let mut threads = Self { all: Vec::with_capacity(cores), stop: stop.clone() };
        for n in 0..cores {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            let stop = stop.clone();
            thread::Builder::new().name(format!("serve-{n}")).spawn(move || {
                runtime.block_on(stop.cancelled());
                runtime.shutdown_timeout(LAST_WORDS);
            })?;
            threads.all.push(Arc::new(Thread { handle, connections: AtomicUsize::new(0) }));
        }
        Ok(threads)
    }

    /// The thread with the fewest connections, for one more.
    pub(super) fn least_busy(&self) -> Held {
        let least = self.all.iter().min_by_key(|thread| thread.connections.load(Ordering::Relaxed));
        Held::new(least.expect("there is a core"))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Held {
    fn new(thread: &Arc<Thread>) -> Self {
        thread.connections.fetch_add(1, Ordering::Relaxed);
        Self(thread.clone())
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.0.handle
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_spread_and_a_thread_that_is_let_go_of_is_used_again() {
        let threads = Threads::start().unwrap();
        let held: Vec<_> = threads.all.iter().map(|_| threads.least_busy()).collect();
        let counts = || threads.all.iter().map(|thread| thread.connections.load(Ordering::Relaxed));
        assert!(counts().all(|count| count == 1), "{threads:?}");
        drop(held);
        assert!(counts().all(|count| count == 0), "{threads:?}");
    }

    #[test]
    fn what_runs_on_them_ends_with_them() {
        let threads = Threads::start().unwrap();
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let running = async move {
            let _tell = tell;
            std::future::pending::<()>().await;
        };
        let task = threads.least_busy().handle().spawn(running);
        drop(threads);
        assert_eq!(told.recv(), Err(std::sync::mpsc::RecvError), "the task's end drops what it holds");
        drop(task);
    }
}
