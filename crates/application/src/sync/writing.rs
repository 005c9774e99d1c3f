//! Writing pages on a task of its own, so that the next ones are fetched and taken apart on another core meanwhile.
//!
//! A commit has a cost of its own whatever it holds. So what arrives while the store is busy is gathered and written
//! together, and a little that arrives soon after a commit began waits for more: as few at once as the store keeps up with,
//! and no fewer than are worth a commit unless the source is slow. What is worth one by the time the store is free is written
//! at once, also while a page is on its way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::engine::{Stop, SyncEngine, Work, stop_if_asked};
use crate::Ctx;
use crate::ports::{CommitOutcome, PageCommit, SliceKey, StoreError, SyncStore};

/// Most requests whose answers wait, however little is in them. As many may be under way: a death makes the next worker
/// send both again, from the tracker's budget.
const REQUESTS: i64 = 96;
/// How soon after a commit began less than half of the most that may wait does not begin the next one.
const SOON: Duration = Duration::from_millis(100);

/// How a commit ended.
type Ended = Result<Result<CommitOutcome, StoreError>, JoinError>;

/// Pages of one stream that wait to be written, and those that are being written.
///
/// Dropped, it gives up both; the store rolls back what it has begun.
pub(super) struct Gathered<'a> {
    store: &'a Arc<dyn SyncStore>,
    ctx: &'a Ctx,
    slice: SliceKey,
    /// Most objects that wait, for what they take of memory.
    most: usize,
    waiting: Option<PageCommit>,
    writing: Option<AbortOnDropHandle<Result<CommitOutcome, StoreError>>>,
    /// When the last commit began.
    begun: Instant,
}

impl<'a> Gathered<'a> {
    pub(super) fn new(engine: &'a SyncEngine, work: &'a Work<'a>, most: usize) -> Self {
        Self::of(&engine.store, work.ctx, work.slice.key, most)
    }

    fn of(store: &'a Arc<dyn SyncStore>, ctx: &'a Ctx, slice: SliceKey, most: usize) -> Self {
        Self { store, ctx, slice, most, waiting: None, writing: None, begun: Instant::now() }
    }

    /// Takes the next page. `apart` is for one whose objects may be those of pages before it.
    pub(super) async fn add(&mut self, page: PageCommit, apart: bool) -> Result<(), Stop> {
        let joins = |held: &PageCommit| !apart || held.records.may_join() && page.records.may_join();
        match &mut self.waiting {
            Some(held) if joins(held) => held.join(page),
            Some(_) => {
                self.begin().await?;
                self.waiting = Some(page);
            }
            // Nothing to be written first: what is being written need not be waited for.
            None => self.waiting = Some(page),
        }
        Ok(())
    }

    /// Begins to write what waits once the store is free and it is worth it; waits for the store when there is much.
    pub(super) async fn write_some(&mut self) -> Result<(), Stop> {
        let free = self.writing.as_ref().is_none_or(AbortOnDropHandle::is_finished);
        let late = self.waiting.is_some() && self.begun.elapsed() >= SOON;
        if self.waits_for(1) || free && (late || self.waits_for(2)) {
            self.begin().await?;
        }
        Ok(())
    }

    /// Fetches, and begins to write what waits as soon as the store is free, if it is worth it.
    pub(super) async fn while_fetching<T>(
        &mut self,
        fetch: impl Future<Output = Result<T, Stop>>,
    ) -> Result<T, Stop> {
        tokio::pin!(fetch);
        if self.waits_for(2)
            && let Some(writing) = &mut self.writing
        {
            let ended = tokio::select! {
                fetched = &mut fetch => return fetched,
                ended = writing => ended,
            };
            self.writing = None;
            self.note(ended)?;
            self.begin().await?;
        }
        fetch.await
    }

    /// Whether this part of the most that may wait does.
    fn waits_for(&self, part: u8) -> bool {
        self.waiting.as_ref().is_some_and(|page| {
            page.records.len() >= self.most / usize::from(part) || page.requests >= REQUESTS / i64::from(part)
        })
    }

    /// Writes everything, and waits for it.
    pub(super) async fn write_all(mut self) -> Result<(), Stop> {
        self.begin().await?;
        self.settle().await
    }

    async fn begin(&mut self) -> Result<(), Stop> {
        self.settle().await?;
        let Some(page) = self.waiting.take() else { return Ok(()) };
        self.begun = Instant::now();
        let (store, ctx, key) = (self.store.clone(), self.ctx.clone(), self.slice);
        let commit = async move { store.commit_page(&ctx, &key, page).await };
        self.writing = Some(AbortOnDropHandle::new(tokio::spawn(commit.in_current_span())));
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Stop> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        let ended = writing.await;
        self.note(ended)
    }

    /// What follows on a commit. Behind one that failed, or that says to stop, nothing more is written.
    fn note(&mut self, ended: Ended) -> Result<(), Stop> {
        let noted = match ended {
            Ok(committed) => committed.map_err(Stop::from).and_then(stop_if_asked),
            Err(died) => match died.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down.
                Err(_) => Err(Stop::Shutdown),
            },
        };
        if noted.is_err() {
            self.waiting = None;
        }
        noted
    }
}

#[cfg(test)]
mod tests {
    use domain::{PageRecords, RequestId, StreamName};
    use uuid::Uuid;

    use super::*;
    use crate::ports::StreamCommit;
    use crate::testing::{Fault, Memory, RUN, TENANT, moment};

    fn page(requests: i64) -> PageCommit {
        PageCommit {
            stream: StreamCommit {
                stream: StreamName::new("stories"),
                project: String::new(),
                cursor: None,
                complete: false,
                watermark: None,
                validator: None,
                seen: 1,
                estimate: None,
            },
            records: PageRecords::default(),
            requests,
            fetched_at: moment(),
            end_slice: false,
        }
    }

    fn ctx() -> Ctx {
        Ctx::system(TENANT, "test", RequestId::new(Uuid::nil()))
    }

    async fn written(memory: &Memory, ctx: &Ctx) -> i64 {
        SyncStore::find(memory, ctx, RUN).await.unwrap().unwrap().counts.requests
    }

    #[tokio::test]
    async fn what_waits_is_written_once_the_store_is_free_while_a_page_is_on_its_way() {
        let (memory, ctx) = (Memory::new(), ctx());
        let store: Arc<dyn SyncStore> = memory.clone();
        let slice = store.begin_slice(&ctx, RUN).await.unwrap().unwrap().key;
        let mut gathered = Gathered::of(&store, &ctx, slice, 1_000);
        assert!(gathered.add(page(REQUESTS), false).await.is_ok());
        assert!(gathered.write_some().await.is_ok());
        assert!(gathered.add(page(REQUESTS / 2), false).await.is_ok());
        // It comes only when the second page is stored.
        let fetch = async {
            while written(&memory, &ctx).await < REQUESTS + REQUESTS / 2 {
                tokio::task::yield_now().await;
            }
            Ok(())
        };
        assert!(gathered.while_fetching(fetch).await.is_ok());
        assert!(gathered.write_all().await.is_ok());
        assert_eq!(written(&memory, &ctx).await, REQUESTS + REQUESTS / 2);
    }

    #[tokio::test]
    async fn behind_a_commit_that_failed_nothing_is_written_and_no_page_is_waited_for() {
        let (memory, ctx) = (Memory::new(), ctx());
        let store: Arc<dyn SyncStore> = memory.clone();
        let slice = store.begin_slice(&ctx, RUN).await.unwrap().unwrap().key;
        let mut gathered = Gathered::of(&store, &ctx, slice, 1_000);
        memory.break_down("runs.commit_page", Fault::Unavailable);
        assert!(gathered.add(page(REQUESTS), false).await.is_ok());
        assert!(gathered.write_some().await.is_ok());
        assert!(gathered.add(page(REQUESTS / 2), false).await.is_ok());
        let never = std::future::pending::<Result<(), Stop>>();
        let stop = gathered.while_fetching(never).await;
        assert!(matches!(stop, Err(Stop::Store(StoreError::Unavailable(_)))));
        memory.repair();
        assert!(gathered.write_all().await.is_ok());
        assert_eq!(written(&memory, &ctx).await, 0, "its position would be beyond what was lost");
    }
}
