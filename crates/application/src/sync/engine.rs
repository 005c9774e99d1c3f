//! Doing a run, slice by slice.
//!
//! A slice reads pages until it has done its share, and commits each page together with the position behind
//! it. The last page of a slice also enqueues the continuation. So a process that dies repeats one page at
//! most, and no page is lost.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{Cursor, InstanceStatus, Quota, RequestId, RunError, RunId, RunKind, RunState, StreamName};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, warn};

use super::failure::{self, Verdict};
use crate::connections::{Connections, LiveConnection};
use crate::limits::LimitService;
use crate::ports::{
    Clock, CommitOutcome, Connection, Finish, Ids, Job, JobHandler, JobOutcome, ProjectRef, Slice,
    SourceAdapter, SourceError, Sources, StoreError, StreamScope, SyncStore, UpstreamUse,
};
use crate::slots::Slots;
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
            pages: 100,
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

/// Does runs.
pub struct SyncEngine {
    pub(super) store: Arc<dyn SyncStore>,
    connections: Connections,
    sources: Sources,
    pub(super) clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    budgets: Arc<LimitService>,
    limits: SliceLimits,
    slots: Arc<Slots>,
}

/// Why a slice ends before its share is done.
pub(super) enum Stop {
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
pub(super) struct Work<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) slice: &'a Slice,
    pub(super) adapter: &'a dyn SourceAdapter,
    pub(super) connection: &'a LiveConnection,
    budget: Quota,
    stop: &'a CancellationToken,
    began: Instant,
    /// Projects given up in this run, by their ids at the source.
    skipped: Mutex<BTreeSet<String>>,
}

impl Work<'_> {
    /// Where this run's pass over a stream of a project goes on; `None` when it is complete.
    pub(super) fn position(&self, stream: &str, project: &ProjectRef) -> Option<Option<Cursor>> {
        let mut states = self.slice.streams.iter();
        let state = states.find(|s| s.stream.as_str() == stream && s.project == project.source_id);
        match state.filter(|state| state.run == Some(self.slice.run.id)) {
            Some(state) if state.complete => None,
            Some(state) => Some(state.cursor.clone()),
            None => Some(None),
        }
    }

    fn skipped(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SyncEngine {
    /// Puts the engine together.
    pub fn new(
        store: Arc<dyn SyncStore>,
        connections: Connections,
        sources: Sources,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        budgets: Arc<LimitService>,
        limits: SliceLimits,
    ) -> Self {
        let slots = Arc::new(Slots::new(usize::MAX));
        Self { store, connections, sources, clock, ids, budgets, limits, slots }
    }

    /// Ends slices early when these are wanted by others; without it nobody else is there.
    #[must_use]
    pub fn in_slots(mut self, slots: Arc<Slots>) -> Self {
        self.slots = slots;
        self
    }

    /// Does one slice of a run. An `Err` means that nothing could be noted and the job should be tried again.
    pub async fn run_slice(&self, ctx: &Ctx, run: RunId, stop: &CancellationToken) -> Result<(), Error> {
        let Some(slice) = self.store.begin_slice(ctx, run).await? else {
            return Ok(());
        };
        let _reading = self.slots.read(slice.run.kind);
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
        let opened = if slice.run.kind == RunKind::Remap {
            self.connections.open_idle(ctx, &slice.instance, &slice.credential).await
        } else {
            self.connections.open_with(ctx, &slice.instance, &slice.credential).await
        };
        let connection = match opened {
            Ok(connection) => LiveConnection::from(connection),
            Err(Error::Source(error)) => return self.source_failed(ctx, &slice, &error, 0).await,
            Err(error) => return Err(error),
        };
        let work = Work {
            ctx,
            slice: &slice,
            adapter: adapter.as_ref(),
            connection: &connection,
            budget: self.budgets.budget(&adapter.capabilities()),
            stop,
            began: Instant::now(),
            skipped: Mutex::new(slice.skipped.iter().cloned().collect()),
        };
        match self.work_through(&work).await {
            Ok(()) => self.finish(ctx, &slice, RunState::Succeeded, None, None).await,
            Err(Stop::ShareDone | Stop::Suspended) => Ok(()),
            Err(Stop::Shutdown) => self.suspend(&work, self.clock.now(), None).await,
            Err(Stop::Asked) => self.finish(ctx, &slice, RunState::Cancelled, None, None).await,
            Err(Stop::Source(error)) => {
                self.source_failed(ctx, &slice, &error, connection.take_requests()).await
            }
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
        if work.slice.run.kind == RunKind::Remap {
            return self.remap(work, &mut pages).await;
        }
        let listed;
        let projects = if work.slice.projects.is_empty() {
            listed = self.patiently(work, |to| async move { work.adapter.list_projects(&to).await }).await?;
            self.store.set_projects(work.ctx, &work.slice.key, &listed).await?;
            &listed
        } else {
            &work.slice.projects
        };
        let reconcile = work.slice.run.kind == RunKind::Reconcile;
        if reconcile {
            for project in projects.iter().filter(|project| !work.skipped().contains(&project.source_id)) {
                let compared = self.reconcile_project(work, project, &mut pages).await;
                self.or_skip(work, &StreamName::new("reconcile"), project, projects, pages, compared).await?;
            }
        }
        for spec in work.adapter.streams(&work.slice.instance.settings) {
            match spec.scope {
                StreamScope::Instance | StreamScope::Project if reconcile => {}
                StreamScope::Instance => self.read_stream(work, &spec, None, &mut pages).await?,
                StreamScope::Project => {
                    for project in projects {
                        if work.skipped().contains(&project.source_id) {
                            continue;
                        }
                        let read = self.read_stream(work, &spec, Some(project), &mut pages).await;
                        self.or_skip(work, &spec.name, project, projects, pages, read).await?;
                    }
                }
                StreamScope::PendingItems { batch } => {
                    self.read_pending(work, &spec, batch, &mut pages).await?;
                }
            }
        }
        Ok(())
    }

    /// A project that is not there, or not for this credential, keeps the others from nothing: it is given up and named
    /// at the end, and what is stored of it stays. A run that has nothing else fails.
    async fn or_skip(
        &self,
        work: &Work<'_>,
        stream: &StreamName,
        project: &ProjectRef,
        projects: &[ProjectRef],
        pages: usize,
        read: Result<(), Stop>,
    ) -> Result<(), Stop> {
        let error = match read {
            Err(Stop::Source(error)) if failure::is_about_a_project(&error) => error,
            other => return other,
        };
        let anything_else = projects.len() > 1 || pages > 0 || work.slice.run.done > 0;
        let Verdict::GiveUp { why, .. } = failure::judge(&error, work.slice.failures, &self.limits) else {
            return Err(Stop::Source(error));
        };
        if !anything_else {
            return Err(Stop::Source(error));
        }
        warn!(project = project.key, code = why.code, "A project cannot be read and is left as it is");
        self.store.skip_project(work.ctx, &work.slice.key, stream, project, &why).await?;
        work.skipped().insert(project.source_id.clone());
        Ok(())
    }

    pub(super) fn share_done(&self, work: &Work<'_>, pages: usize) -> bool {
        let went_on = work.began.elapsed();
        pages >= self.limits.pages
            || went_on >= self.limits.time
            || work.stop.is_cancelled()
            || self.slots.wanted(work.slice.run.kind, went_on)
    }

    /// Asks the source, tries again shortly when it is down for a moment, and gives up when told to stop.
    pub(super) async fn patiently<T, F>(
        &self,
        work: &Work<'_>,
        mut call: impl FnMut(Arc<Connection>) -> F,
    ) -> Result<T, Stop>
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
    async fn within_budget<T, F>(
        &self,
        work: &Work<'_>,
        call: &mut impl FnMut(Arc<Connection>) -> F,
    ) -> Result<T, Stop>
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
        let result = self.connections.call(work.ctx, &work.slice.instance, work.connection, call).await;
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

    async fn source_failed(
        &self,
        ctx: &Ctx,
        slice: &Slice,
        error: &SourceError,
        requests: i64,
    ) -> Result<(), Error> {
        match failure::judge(error, slice.failures, &self.limits) {
            Verdict::Wait { wait, why } => {
                let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
                info!(run.id = %slice.run.id, code = why.code, wait_s = wait.num_seconds(), "Run waits for the source");
                let resume_at = self.clock.now() + wait;
                ours(self.store.suspend(ctx, &slice.key, resume_at, Some(&why), requests).await)
            }
            Verdict::GiveUp { why, reconnect } => {
                let status = reconnect.then_some(InstanceStatus::ReconnectRequired);
                self.finish(ctx, slice, RunState::Failed, Some(why), status).await
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

pub(super) fn stop_if_asked(committed: CommitOutcome) -> Result<(), Stop> {
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
