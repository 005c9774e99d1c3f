//! Doing a run, slice by slice.
//!
//! A slice reads pages until it has done its share, and commits each page together with the position behind
//! it. The last page of a slice also enqueues the continuation. So a process that dies repeats one page at
//! most, and no page is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{Cursor, InstanceStatus, Quota, RequestId, RunError, RunId, RunKind, RunState};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, warn};

use super::failure::{self, Verdict};
use crate::instances::open_connection;
use crate::limits::LimitService;
use crate::ports::{
    Clock, CommitOutcome, Connection, Finish, Ids, Job, JobHandler, JobOutcome, Page, PageCommit,
    PageRequest, PendingItem, ProjectRef, Slice, SourceAdapter, SourceError, Sources, StoreError,
    StreamCommit, StreamScope, StreamSpec, SyncStore, UpstreamUse, Vault,
};
use crate::{Ctx, Error};

/// How much a slice does before it makes room for others, and how it bears a failing source.
#[derive(Debug, Clone, Copy)]
pub struct SliceLimits {
    /// Most pages.
    pub pages: usize,
    /// Longest time.
    pub time: Duration,
    /// The first wait after a failure of the source; doubles with each failure in a row.
    pub first_wait: Duration,
    /// Failures in a row after which the run is given up.
    pub max_failures: i32,
}

impl Default for SliceLimits {
    fn default() -> Self {
        Self {
            pages: 20,
            time: Duration::from_secs(60),
            first_wait: Duration::from_secs(2),
            max_failures: 10,
        }
    }
}

/// How often a slice looks whether it should stop while it waits for the source.
const STOP_CHECK: Duration = Duration::from_secs(1);
/// The longest a run waits for more of its budget than the next request needs.
const LONGEST_BUDGET_SAVING: Duration = Duration::from_secs(60);
/// Items whose details are read from the store at once.
const PENDING_CHUNK: usize = 200;

/// Does runs.
pub struct SyncEngine {
    store: Arc<dyn SyncStore>,
    vault: Arc<dyn Vault>,
    sources: Sources,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    budgets: Arc<LimitService>,
    limits: SliceLimits,
}

/// Why a slice ends before its share is done.
enum Stop {
    /// The process is asked to end.
    Shutdown,
    /// The tenant is suspended; the store has noted that the run waits.
    Suspended,
    /// Someone asked to cancel the run, or it is no longer ours.
    Asked,
    /// The source failed.
    Source(SourceError),
    /// The instance's budget of requests is used up for now.
    Budget(Duration),
    /// The store failed.
    Store(StoreError),
    /// The share is done; the continuation is enqueued.
    ShareDone,
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What stays the same during a slice.
struct Work<'a> {
    ctx: &'a Ctx,
    slice: &'a Slice,
    adapter: &'a dyn SourceAdapter,
    connection: &'a Connection,
    budget: Quota,
    stop: &'a CancellationToken,
    began: Instant,
}

impl SyncEngine {
    /// Puts the engine together.
    pub fn new(
        store: Arc<dyn SyncStore>,
        vault: Arc<dyn Vault>,
        sources: Sources,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        budgets: Arc<LimitService>,
        limits: SliceLimits,
    ) -> Self {
        Self { store, vault, sources, clock, ids, budgets, limits }
    }

    /// Does one slice of a run. An `Err` means that nothing could be noted and the job should be tried again.
    pub async fn run_slice(&self, ctx: &Ctx, run: RunId, stop: &CancellationToken) -> Result<(), Error> {
        let Some(slice) = self.store.begin_slice(ctx, run).await? else {
            return Ok(());
        };
        if slice.run.cancel_requested {
            return self.finish(ctx, &slice, RunState::Cancelled, None, None).await;
        }
        let Some(adapter) = self.sources.get(&slice.instance.source) else {
            let why = RunError {
                code: "source_unknown".into(),
                hint: format!(
                    "this installation has no adapter for {}; upgrade Patchbay",
                    slice.instance.source
                ),
            };
            return self.finish(ctx, &slice, RunState::Failed, Some(why), None).await;
        };
        let connection =
            open_connection(ctx, self.vault.as_ref(), &slice.instance, &slice.credential).await?;
        let work = Work {
            ctx,
            slice: &slice,
            adapter: adapter.as_ref(),
            connection: &connection,
            budget: self.budgets.budget(&adapter.capabilities()),
            stop,
            began: Instant::now(),
        };
        match self.work_through(&work).await {
            Ok(()) => self.finish(ctx, &slice, RunState::Succeeded, None, None).await,
            Err(Stop::ShareDone | Stop::Suspended) => Ok(()),
            Err(Stop::Shutdown) => self.suspend(&work, self.clock.now(), None).await,
            Err(Stop::Asked) => self.finish(ctx, &slice, RunState::Cancelled, None, None).await,
            Err(Stop::Source(error)) => self.source_failed(&work, &error).await,
            Err(Stop::Budget(wait)) => self.wait_for_budget(&work, wait).await,
            Err(Stop::Store(StoreError::Fenced)) => {
                info!(run.id = %run, "Slice of run {run} was overtaken by a later one");
                Ok(())
            }
            Err(Stop::Store(error @ StoreError::Internal(_))) => {
                error!(run.id = %run, error = failure::chain(&error), "Run {run} cannot be written");
                let why = RunError {
                    code: "internal".into(),
                    hint: format!(
                        "this is a fault of Patchbay; look for request id {} in its log",
                        ctx.request_id
                    ),
                };
                self.finish(ctx, &slice, RunState::Failed, Some(why), None).await
            }
            Err(Stop::Store(error)) => Err(error.into()),
        }
    }

    async fn work_through(&self, work: &Work<'_>) -> Result<(), Stop> {
        let mut pages = 0;
        let listed;
        let projects = if work.slice.projects.is_empty() {
            listed = self.patiently(work, || work.adapter.list_projects(work.connection)).await?;
            self.store.set_projects(work.ctx, &work.slice.key, &listed).await?;
            &listed
        } else {
            &work.slice.projects
        };
        for spec in work.adapter.streams(&work.slice.instance.settings) {
            match spec.scope {
                StreamScope::Instance => self.read_stream(work, &spec, None, &mut pages).await?,
                StreamScope::Project => {
                    for project in projects {
                        self.read_stream(work, &spec, Some(project), &mut pages).await?;
                    }
                }
                StreamScope::PendingItems { batch } => {
                    self.read_pending(work, &spec, batch, &mut pages).await?;
                }
            }
        }
        Ok(())
    }

    /// Reads a stream of a project, or of the instance, to its end, fetching the next page while the last one is written.
    async fn read_stream(
        &self,
        work: &Work<'_>,
        spec: &StreamSpec,
        project: Option<&ProjectRef>,
        pages: &mut usize,
    ) -> Result<(), Stop> {
        let project_id = project.map_or("", |project| project.source_id.as_str());
        let state = work.slice.streams.iter().find(|s| s.stream == spec.name && s.project == project_id);
        let pass = state.filter(|state| state.run == Some(work.slice.run.id));
        if pass.is_some_and(|pass| pass.complete) {
            return Ok(());
        }
        let incremental = work.slice.run.kind == RunKind::Incremental;
        let since = state.filter(|_| incremental && !spec.reload).and_then(|state| state.watermark);
        let validator = state.filter(|_| incremental).and_then(|state| state.validator.as_deref());
        let mut cursor = pass.and_then(|pass| pass.cursor.clone());
        let mut page = self.fetch_stream(work, spec, project, cursor.as_ref(), since, validator).await?;
        loop {
            *pages += 1;
            let next = page.next.take();
            let end_slice = self.share_done(work, *pages);
            let commit = self.store.commit_page(
                work.ctx,
                &work.slice.key,
                PageCommit {
                    stream: StreamCommit {
                        stream: spec.name.clone(),
                        project: project_id.to_owned(),
                        cursor: next.clone(),
                        complete: next.is_none(),
                        watermark: page.watermark,
                        validator: page.validator,
                        seen: i64::try_from(page.records.len()).unwrap_or(i64::MAX),
                        estimate: page.total_estimate,
                    },
                    records: page.records,
                    requests: work.connection.take_requests(),
                    fetched_at: self.clock.now(),
                    end_slice,
                },
            );
            let fetched = match &next {
                Some(next) if !end_slice => {
                    let (committed, fetched) = tokio::join!(
                        commit,
                        self.fetch_stream(work, spec, project, Some(next), since, None)
                    );
                    stop_if_asked(committed?)?;
                    Some(fetched?)
                }
                _ => {
                    stop_if_asked(commit.await?)?;
                    None
                }
            };
            if end_slice {
                return Err(Stop::ShareDone);
            }
            let Some(fetched) = fetched else {
                return Ok(());
            };
            if next == cursor && next.is_some() {
                return Err(Stop::Source(failure::stuck(spec.name.as_str())));
            }
            cursor = next;
            page = fetched;
        }
    }

    async fn fetch_stream(
        &self,
        work: &Work<'_>,
        spec: &StreamSpec,
        project: Option<&ProjectRef>,
        cursor: Option<&Cursor>,
        since: Option<DateTime<Utc>>,
        validator: Option<&str>,
    ) -> Result<Page, Stop> {
        let request = PageRequest {
            stream: &spec.name,
            project,
            items: &[],
            cursor,
            since,
            validator: validator.filter(|_| cursor.is_none()),
        };
        self.patiently(work, || work.adapter.fetch_page(work.connection, request)).await
    }

    /// Reads the details of every item that waits for it.
    async fn read_pending(
        &self,
        work: &Work<'_>,
        spec: &StreamSpec,
        batch: usize,
        pages: &mut usize,
    ) -> Result<(), Stop> {
        let mut before: Vec<PendingItem> = Vec::new();
        loop {
            let pending = self.store.pending_items(work.ctx, work.slice.key.instance, PENDING_CHUNK).await?;
            if pending.is_empty() {
                return Ok(());
            }
            if pending == before {
                return Err(Stop::Source(failure::stuck(spec.name.as_str())));
            }
            let mut batches = pending.chunks(batch.max(1));
            let mut fetched = match batches.next() {
                Some(items) => Some(self.fetch_details(work, spec, items).await?),
                None => None,
            };
            while let Some(page) = fetched.take() {
                *pages += 1;
                let end_slice = self.share_done(work, *pages);
                let commit = self.store.commit_page(
                    work.ctx,
                    &work.slice.key,
                    self.details(work, spec, page, end_slice),
                );
                fetched = match batches.next() {
                    Some(items) if !end_slice => {
                        let (committed, next) = tokio::join!(commit, self.fetch_details(work, spec, items));
                        stop_if_asked(committed?)?;
                        Some(next?)
                    }
                    _ => {
                        stop_if_asked(commit.await?)?;
                        None
                    }
                };
                if end_slice {
                    return Err(Stop::ShareDone);
                }
            }
            before = pending;
        }
    }

    async fn fetch_details(
        &self,
        work: &Work<'_>,
        spec: &StreamSpec,
        items: &[PendingItem],
    ) -> Result<Page, Stop> {
        let request = PageRequest {
            stream: &spec.name,
            project: None,
            items,
            cursor: None,
            since: None,
            validator: None,
        };
        self.patiently(work, || work.adapter.fetch_page(work.connection, request)).await
    }

    fn details(&self, work: &Work<'_>, spec: &StreamSpec, page: Page, end_slice: bool) -> PageCommit {
        PageCommit {
            stream: StreamCommit {
                stream: spec.name.clone(),
                project: String::new(),
                cursor: None,
                complete: false,
                watermark: None,
                validator: None,
                seen: i64::try_from(page.records.len()).unwrap_or(i64::MAX),
                estimate: None,
            },
            records: page.records,
            requests: work.connection.take_requests(),
            fetched_at: self.clock.now(),
            end_slice,
        }
    }

    fn share_done(&self, work: &Work<'_>, pages: usize) -> bool {
        pages >= self.limits.pages || work.began.elapsed() >= self.limits.time || work.stop.is_cancelled()
    }

    /// Asks the source, tries again shortly when it is down for a moment, and gives up when told to stop.
    async fn patiently<T, F>(&self, work: &Work<'_>, mut call: impl FnMut() -> F) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        let trying = async {
            for wait in failure::SHORT_WAITS {
                match self.within_budget(work, &mut call).await {
                    Err(Stop::Source(error)) if failure::worth_a_short_wait(&error) => {
                        warn!(source.error = %error, "The source failed, trying again in {wait:?}");
                        tokio::time::sleep(wait).await;
                    }
                    other => return other,
                }
            }
            self.within_budget(work, &mut call).await
        };
        tokio::pin!(trying);
        loop {
            tokio::select! {
                result = &mut trying => return result,
                () = work.stop.cancelled() => return Err(Stop::Shutdown),
                () = tokio::time::sleep(STOP_CHECK) => {
                    if self.store.should_stop(work.ctx, &work.slice.key).await? {
                        return Err(Stop::Asked);
                    }
                }
            }
        }
    }

    /// Asks the source once, when its budget allows; what it took beyond one request is counted afterwards.
    async fn within_budget<T, F>(&self, work: &Work<'_>, call: &mut impl FnMut() -> F) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        let instance = work.slice.key.instance;
        if let Err(Error::RateLimited { retry_after, .. } | Error::Closed { retry_after }) =
            self.budgets.count_upstream(instance, work.budget, UpstreamUse::Sync).await
        {
            return Err(Stop::Budget(retry_after));
        }
        let before = work.connection.requests();
        let result = call().await;
        let made = work.connection.requests() - before;
        self.budgets.debit_upstream(instance, work.budget, made).await;
        result.map_err(Stop::Source)
    }

    /// Not a failure of the source: the run goes on when a slice's worth of requests is there again.
    async fn wait_for_budget(&self, work: &Work<'_>, until_one: Duration) -> Result<(), Error> {
        let share = u32::try_from(self.limits.pages).unwrap_or(u32::MAX);
        let worthwhile = work.budget.interval().saturating_mul(share).min(LONGEST_BUDGET_SAVING);
        let wait = TimeDelta::from_std(until_one.max(worthwhile)).unwrap_or(TimeDelta::MAX);
        let why = RunError {
            code: "budget_wait".into(),
            hint: format!(
                "the instance's budget of {} requests in {} s is used up but for what is kept for people; the run goes \
                 on by itself",
                work.budget.count,
                work.budget.window.as_secs()
            ),
        };
        info!(run.id = %work.slice.run.id, code = why.code, wait_s = wait.num_seconds(), "Run waits for its budget");
        self.suspend(work, self.clock.now() + wait, Some(&why)).await
    }

    async fn source_failed(&self, work: &Work<'_>, error: &SourceError) -> Result<(), Error> {
        let slice = work.slice;
        match failure::judge(error, slice.failures, &self.limits) {
            Verdict::Wait { wait, why } => {
                let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
                info!(run.id = %slice.run.id, code = why.code, wait_s = wait.num_seconds(), "Run waits for the source");
                self.suspend(work, self.clock.now() + wait, Some(&why)).await
            }
            Verdict::GiveUp { why, reconnect } => {
                let status = reconnect.then_some(InstanceStatus::ReconnectRequired);
                self.finish(work.ctx, slice, RunState::Failed, Some(why), status).await
            }
        }
    }

    async fn suspend(
        &self,
        work: &Work<'_>,
        resume_at: DateTime<Utc>,
        why: Option<&RunError>,
    ) -> Result<(), Error> {
        let requests = work.connection.take_requests();
        ours(self.store.suspend(work.ctx, &work.slice.key, resume_at, why, requests).await)
    }

    async fn finish(
        &self,
        ctx: &Ctx,
        slice: &Slice,
        state: RunState,
        error: Option<RunError>,
        instance_status: Option<InstanceStatus>,
    ) -> Result<(), Error> {
        let run = slice.run.id;
        info!(run.id = %run, state = state.as_str(), "Run {run} ended");
        ours(self.store.finish(ctx, &slice.key, &Finish { state, error, instance_status }).await)
    }
}

#[async_trait]
impl JobHandler for SyncEngine {
    async fn handle(&self, job: Job, stop: CancellationToken) -> JobOutcome {
        let Job::SyncSlice { tenant, instance, run } = job else {
            return JobOutcome::Retry("the sync engine does slices of runs only".to_owned());
        };
        let ctx = Ctx::system(tenant, "worker", RequestId::new(self.ids.uuid()));
        let span = tracing::info_span!(
            "job.sync_slice", tenant.id = %tenant, instance.id = %instance, run.id = %run, request.id = %ctx.request_id
        );
        match self.run_slice(&ctx, run, &stop).instrument(span).await {
            Ok(()) => JobOutcome::Done,
            Err(error) => JobOutcome::Retry(failure::chain(&error)),
        }
    }
}

impl std::fmt::Debug for SyncEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncEngine").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn stop_if_asked(committed: CommitOutcome) -> Result<(), Stop> {
    if committed.cancel_requested {
        Err(Stop::Asked)
    } else if committed.suspended {
        Err(Stop::Suspended)
    } else {
        Ok(())
    }
}

/// A run that somebody else has taken over is theirs to end.
fn ours(result: Result<(), StoreError>) -> Result<(), Error> {
    match result {
        Err(StoreError::Fenced) => Ok(()),
        other => Ok(other?),
    }
}
