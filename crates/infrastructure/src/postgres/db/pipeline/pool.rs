//! The connections that templates are run on, kept and given back. Who comes gets the one that was used last on its own
//! runtime: its server process still has everything in its caches, and nobody else's thread has to be woken for it. Pools
//! of other crates know nothing of runtimes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use application::Ctx;
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_postgres::Row;

use super::{Pipeline, PipelineError, Question};
use crate::postgres::db::pool::MAX_LIFETIME;
use crate::postgres::outage::{BEGIN_DEADLINE, Breakdowns};
use crate::postgres::seal::SealKey;

/// How often it is looked for connections that nobody has needed for long.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Some connections of one role.
#[derive(Clone)]
pub(in crate::postgres::db) struct PipelinePool(Arc<Shared>);

struct Shared {
    /// They are opened as this pool would, with the password it has by now.
    like: PgPool,
    breakdowns: Breakdowns,
    size: u32,
    /// One for each connection that can be in use.
    places: Arc<Semaphore>,
    /// The last was used last.
    idle: Mutex<VecDeque<Idle>>,
}

struct Idle {
    pipeline: Box<Pipeline>,
    since: Instant,
}

impl PipelinePool {
    /// At most `size` of them, opened when needed with the options of `like`, and closed when nobody has needed them for
    /// as long as `idle`.
    pub(in crate::postgres::db) fn new(
        like: PgPool,
        breakdowns: Breakdowns,
        size: u32,
        idle: Duration,
    ) -> Self {
        let places = Arc::new(Semaphore::new(size as usize));
        let shared = Arc::new(Shared { like, breakdowns, size, places, idle: Mutex::default() });
        tokio::spawn(close_idle(Arc::downgrade(&shared), idle));
        Self(shared)
    }

    /// A connection, within [`BEGIN_DEADLINE`]. One that is `tested` has just answered.
    pub(in crate::postgres::db) async fn get(&self, tested: bool) -> Result<PooledPipeline, PipelineError> {
        let shared = &self.0;
        let found = async {
            let place = shared.places.clone().acquire_owned().await.map_err(|_| PipelineError::Closed)?;
            while let Some(mut pipeline) = shared.own() {
                // What is not good any more is closed here.
                if shared.is_good(&mut pipeline).await && (!tested || pipeline.ping().await.is_ok()) {
                    return Ok((place, pipeline));
                }
            }
            // Boxed, as it is rare and would make every caller's future as large.
            let pipeline = Box::pin(Pipeline::open(&shared.like.connect_options())).await?;
            Ok((place, Box::new(pipeline)))
        };
        let (place, pipeline) =
            timeout(BEGIN_DEADLINE, found).await.unwrap_or(Err(PipelineError::TimedOut))?;
        Ok(PooledPipeline { pipeline, key: None, pool: shared.clone(), _place: place })
    }

    /// Most connections there can be.
    pub(in crate::postgres::db) fn slots(&self) -> u32 {
        self.0.size
    }

    /// Open and idle connections.
    pub(in crate::postgres::db) fn usage(&self) -> (u32, usize) {
        let idle = self.0.idle().len();
        (self.0.in_use() + u32::try_from(idle).unwrap_or(u32::MAX), idle)
    }

    /// Closes those that are idle now, and the others when they are given back.
    pub(in crate::postgres::db) fn close(&self) {
        self.0.places.close();
        self.0.idle().clear();
    }
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_use(&self) -> u32 {
        self.size.saturating_sub(u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX))
    }

    /// The one that was last used on this runtime. Where there is none, one of another runtime makes room for a new one
    /// if it must.
    fn own(&self) -> Option<Box<Pipeline>> {
        let here = Handle::current().id();
        let mut idle = self.idle();
        if let Some(at) = idle.iter().rposition(|idle| idle.pipeline.home() == here) {
            return idle.remove(at).map(|idle| idle.pipeline);
        }
        // The caller's own place counts among those in use.
        let too_many = idle.len() + self.in_use() as usize > self.size as usize;
        let _closed = too_many.then(|| idle.pop_front());
        None
    }

    async fn is_good(&self, pipeline: &mut Pipeline) -> bool {
        let age = pipeline.age();
        age < MAX_LIFETIME && self.breakdowns.outlived_by(age) && pipeline.is_open().await
    }

    fn take_back(&self, pipeline: Box<Pipeline>) {
        let mut idle = self.idle();
        if !self.places.is_closed() {
            idle.push_back(Idle { pipeline, since: Instant::now() });
        }
    }
}

/// Ends with the pool.
async fn close_idle(pool: Weak<Shared>, after: Duration) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.idle().retain(|idle| idle.since.elapsed() < after);
    }
}

/// A connection for one template. Unless its answer was read it is closed, so that a statement does not go on for a caller
/// who went away, and nothing of it meets the next user.
pub(crate) struct PooledPipeline {
    /// Boxed, as it is some kilobytes and changes hands often.
    pipeline: Box<Pipeline>,
    /// For the role that sees no row without a seal.
    pub(in crate::postgres::db) key: Option<SealKey>,
    pool: Arc<Shared>,
    _place: OwnedSemaphorePermit,
}

impl PooledPipeline {
    /// Runs a statement; gives the connection back when that is good for another.
    pub(crate) async fn query(
        mut self,
        ctx: &Ctx,
        question: &Question<'_>,
        take: impl FnMut(Row) -> Result<bool, PipelineError>,
    ) -> Result<(), PipelineError> {
        let result = self.pipeline.query(ctx, question, self.key.as_ref(), take).await;
        match &result {
            Ok(true) => self.give_back(),
            // Rows that nobody wants are on their way; somebody has to read them.
            Ok(false) => {
                tokio::spawn(async move {
                    if self.pipeline.ping().await.is_ok() {
                        self.give_back();
                    }
                });
            }
            // The server answered, and has rolled back.
            Err(error) if error.said().is_some() && !error.is_broken() => self.give_back(),
            Err(_) => {}
        }
        result.map(drop)
    }

    fn give_back(mut self) {
        self.pipeline.rest();
        self.pool.take_back(self.pipeline);
    }
}

impl fmt::Debug for PooledPipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledPipeline").field("sealed", &self.key.is_some()).finish_non_exhaustive()
    }
}

impl fmt::Debug for PipelinePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelinePool").field("usage", &self.usage()).finish_non_exhaustive()
    }
}
