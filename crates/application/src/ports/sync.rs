use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    Cursor, Instance, InstanceId, InstanceStatus, Mappings, PageRecords, Run, RunCounts, RunError, RunId,
    RunKind, RunState, Slug, StreamName, WorkItemId,
};

use super::{
    ItemAddress, ListPage, ListedId, Listing, PendingItem, ProjectRef, RawObject, StoreError,
    StoredCredential,
};
use crate::Ctx;

/// A run to be started.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// The instance to read.
    pub instance_id: InstanceId,
    /// What to do.
    pub kind: RunKind,
    /// An admin knows that many items are gone: the guard against mass deletion lets this run mark them.
    pub confirm_removals: bool,
}

/// Which runs to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of one instance.
    pub instance: Option<InstanceId>,
    /// In one state.
    pub state: Option<RunState>,
}

/// The right to write for a run. A later slice of the same run makes it void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceKey {
    /// The run.
    pub run: RunId,
    /// The instance of the run.
    pub instance: InstanceId,
    /// The fencing token.
    pub fence: i64,
}

/// What a worker needs to go on with a run.
#[derive(Debug)]
pub struct Slice {
    /// The right to write.
    pub key: SliceKey,
    /// The run as it stands.
    pub run: Run,
    /// The instance it reads.
    pub instance: Instance,
    /// The instance's credential.
    pub credential: StoredCredential,
    /// The projects found at the beginning of this run, in order; empty before that.
    pub projects: Vec<ProjectRef>,
    /// Where each stream of each project stands.
    pub streams: Vec<StreamState>,
    /// How often in a row the source failed without a page in between.
    pub failures: i32,
    /// As in [`NewRun`].
    pub confirm_removals: bool,
    /// Projects that this run has given up, by their ids at the source.
    pub skipped: Vec<String>,
}

/// Where a stream of a project stands. `project` is empty for streams over pending items.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamState {
    /// The stream.
    pub stream: StreamName,
    /// The project's immutable id at the source.
    pub project: String,
    /// The run whose pass this is.
    pub run: Option<RunId>,
    /// Where that pass goes on.
    pub cursor: Option<Cursor>,
    /// Whether that pass is complete.
    pub complete: bool,
    /// The latest change seen in this pass.
    pub pass_watermark: Option<DateTime<Utc>>,
    /// The latest change seen in the last complete pass: where an incremental run begins.
    pub watermark: Option<DateTime<Utc>>,
    /// What the source gave to recognise an unchanged answer by.
    pub validator: Option<String>,
}

/// Moves a stream on.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamCommit {
    /// The stream.
    pub stream: StreamName,
    /// The project's immutable id at the source; empty for streams over pending items.
    pub project: String,
    /// Where it goes on; `None` completes the pass.
    pub cursor: Option<Cursor>,
    /// Whether the pass is complete.
    pub complete: bool,
    /// The latest change seen in this page.
    pub watermark: Option<DateTime<Utc>>,
    /// A new validator; what is stored stays when `None`.
    pub validator: Option<String>,
    /// Objects of the source in this page, for progress.
    pub seen: i64,
    /// Objects in the whole pass, when the source told.
    pub estimate: Option<i64>,
}

/// One page to be written, with everything that moves along with it.
#[derive(Debug)]
pub struct PageCommit {
    /// The objects.
    pub records: PageRecords,
    /// The stream's new position.
    pub stream: StreamCommit,
    /// Requests sent for it.
    pub requests: i64,
    /// When the page was fetched.
    pub fetched_at: DateTime<Utc>,
    /// Ends the slice: the continuation is enqueued in the same transaction.
    pub end_slice: bool,
}

impl PageCommit {
    /// Adds the next page of the same stream, so that both are written at once.
    pub fn join(&mut self, next: Self) {
        let Self { mut records, stream, requests, fetched_at, end_slice } = next;
        // Of what both say of one object, the later is true.
        records.append_earlier(std::mem::take(&mut self.records));
        self.records = records;
        self.stream = StreamCommit {
            watermark: self.stream.watermark.max(stream.watermark),
            validator: stream.validator.or_else(|| self.stream.validator.take()),
            seen: self.stream.seen.saturating_add(stream.seen),
            estimate: stream.estimate.or(self.stream.estimate),
            ..stream
        };
        self.requests = self.requests.saturating_add(requests);
        self.fetched_at = fetched_at;
        self.end_slice |= end_slice;
    }
}

/// Items whose details are to be read.
#[derive(Debug, Default)]
pub struct PendingItems {
    /// The items.
    pub items: Vec<PendingItem>,
    /// The last one; `None` when there is none.
    pub last: Option<WorkItemId>,
}

/// One page of ids to be noted for a comparison.
#[derive(Debug)]
pub struct IdCommit {
    /// The ids.
    pub ids: Vec<ListedId>,
    /// The first page of its project: what an earlier comparison noted is forgotten.
    pub first: bool,
    /// The stream's new position.
    pub stream: StreamCommit,
    /// Requests sent for it.
    pub requests: i64,
    /// When the page was fetched.
    pub fetched_at: DateTime<Utc>,
    /// Ends the slice, as in [`PageCommit`].
    pub end_slice: bool,
}

/// What a project holds here and at the source, once its ids are noted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Items the source lists.
    pub listed: i64,
    /// Live items stored here.
    pub stored: i64,
    /// Stored ones that the source does not list.
    pub unlisted: i64,
}

/// A stored item, with what was received of it last.
#[derive(Debug, Clone)]
pub struct KeptItem {
    /// The key other objects of the source refer to it by.
    pub ref_key: String,
    /// The object.
    pub raw: RawObject,
}

/// What a commit did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommitOutcome {
    /// What was written.
    pub counts: RunCounts,
    /// Someone asked to cancel the run.
    pub cancel_requested: bool,
    /// The tenant is suspended: the run waits behind this page until the tenant is resumed, which enqueues it again.
    pub suspended: bool,
}

/// How a run ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// `Succeeded` becomes `Partial` when there are dead letters of this run.
    pub state: RunState,
    /// Why, when it failed.
    pub error: Option<RunError>,
    /// A new status of the instance, when the tracker refused its credential.
    pub instance_status: Option<InstanceStatus>,
}

/// How fresh an instance's data is.
#[derive(Debug, Clone, PartialEq)]
pub struct Freshness {
    /// The instance.
    pub instance_id: InstanceId,
    /// Its short name.
    pub slug: Slug,
    /// Its source's name.
    pub source: String,
    /// Up to when changes at the source are known to be here: the beginning of the last successful run.
    pub synced_at: Option<DateTime<Utc>>,
    /// When a backfill last ended with success.
    pub backfilled_at: Option<DateTime<Utc>>,
    /// The unfinished run, if any, and its state.
    pub active_run: Option<(RunId, RunKind, RunState)>,
    /// Why the last run failed, if it did.
    pub last_error: Option<RunError>,
    /// How old the data may be while all is well; `None` when nothing syncs it by itself.
    pub target: Option<Duration>,
}

/// How much of an instance is stored. Counting takes time that grows with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoredCounts {
    /// Live work items.
    pub items: i64,
    /// Objects that could not be mapped and wait for somebody to look.
    pub dead_letters: i64,
}

/// An object that could not be mapped.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its id.
    pub id: uuid::Uuid,
    /// The run that met it last.
    pub run_id: RunId,
    /// The stream it came with.
    pub stream: String,
    /// Its id at the source, as far as it could be read.
    pub source_id: String,
    /// What is wrong with it.
    pub error: String,
    /// When it was first met.
    pub created_at: DateTime<Utc>,
}

/// Runs, the positions of their streams, and what they write.
#[async_trait]
pub trait SyncStore: Send + Sync {
    /// Saves a run and enqueues its first job in one transaction.
    ///
    /// [`StoreError::Conflict`] when the instance has an unfinished run.
    async fn start(&self, ctx: &Ctx, run: &NewRun) -> Result<(), StoreError>;

    /// The unfinished run of an instance.
    async fn active_run(&self, ctx: &Ctx, instance: InstanceId) -> Result<Option<RunId>, StoreError>;

    /// `None` when it does not exist for this tenant.
    async fn find(&self, ctx: &Ctx, run: RunId) -> Result<Option<Run>, StoreError>;

    /// Newest first.
    async fn list(&self, ctx: &Ctx, filter: &RunFilter, page: &ListPage) -> Result<Listing<Run>, StoreError>;

    /// Marks the run to be cancelled; one that no worker has taken ends at once, a waiting one is woken.
    /// Does nothing to a finished one. `None` when it does not exist for this tenant.
    async fn request_cancel(&self, ctx: &Ctx, run: RunId) -> Result<Option<Run>, StoreError>;

    /// Takes the run over: state `running`, a new fencing token. `None` when the run is finished or gone.
    async fn begin_slice(&self, ctx: &Ctx, run: RunId) -> Result<Option<Slice>, StoreError>;

    /// Notes the projects of this run and their keys. [`StoreError::Fenced`] as below.
    async fn set_projects(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        projects: &[ProjectRef],
    ) -> Result<(), StoreError>;

    /// Items whose details are not read yet, by their id, from behind one on.
    async fn pending_items(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        after: Option<WorkItemId>,
        limit: usize,
    ) -> Result<PendingItems, StoreError>;

    /// Writes a page: objects, stream position, counts, progress, dead letters and, at the end of a slice, the
    /// continuation, all in one transaction. Rows that are as stored are not written. Safe to repeat.
    ///
    /// [`StoreError::Fenced`] when a later slice has begun; nothing is written then.
    async fn commit_page(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        page: PageCommit,
    ) -> Result<CommitOutcome, StoreError>;

    /// Notes ids of a project for a comparison, as [`Self::commit_page`] writes objects.
    async fn commit_ids(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        page: IdCommit,
    ) -> Result<CommitOutcome, StoreError>;

    /// Counts what differs between the noted ids of a project and what is stored.
    async fn compare(&self, ctx: &Ctx, slice: &SliceKey, project: &str) -> Result<Comparison, StoreError>;

    /// Items of a project to be read by themselves, in the order of their ids at the source, those behind `after`:
    /// listed and not stored, listed with a later change, and, when asked for, stored and not listed.
    async fn differences(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        project: &str,
        after: &str,
        unlisted: bool,
        limit: i64,
    ) -> Result<Vec<ItemAddress>, StoreError>;

    /// Gives up a project for the rest of the run, which will end as partial: its position in this stream is as it was
    /// after its last complete pass, and the reason is kept.
    async fn skip_project(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        stream: &StreamName,
        project: &ProjectRef,
        why: &RunError,
    ) -> Result<(), StoreError>;

    /// Writes items that were read outside a run, and marks the webhook deliveries as applied that asked for them, in one
    /// transaction. An older version than the stored one is left out.
    async fn commit_items(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        records: PageRecords,
        fetched_at: DateTime<Utc>,
        deliveries: &[uuid::Uuid],
    ) -> Result<RunCounts, StoreError>;

    /// Of items that were seen at the source, by key and last change, those that are stored as they were before that, as
    /// deleted, or not at all. `None` when nothing is to be stored: no run has read the instance to its end yet, or the
    /// tenant is suspended.
    async fn outdated_items(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        seen: &[(String, DateTime<Utc>)],
    ) -> Result<Option<Vec<ItemAddress>>, StoreError>;

    /// Live items behind `after` in the order of their ids at the source, each with what was received of it last: at
    /// most `limit`, and fewer where the objects are large. Empty when there are no more.
    async fn kept_items(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<KeptItem>, StoreError>;

    /// Writes what a page of stored items is mapped to now, and their status changes (`ref_keys`), with all that
    /// [`Self::commit_page`] moves along. Nothing else of them is touched, and no detail is to be read again.
    async fn commit_remapped(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        page: PageCommit,
        ref_keys: &[String],
        mappings: &Mappings,
    ) -> Result<CommitOutcome, StoreError>;

    /// Lets go of the run, with the continuation at `resume_at` enqueued in the same transaction: state `waiting`
    /// with the reason, or `queued` without one. A reason that is a failure of the source counts as one more in a row.
    async fn suspend(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        resume_at: DateTime<Utc>,
        why: Option<&RunError>,
        requests: i64,
    ) -> Result<(), StoreError>;

    /// Ends the run, brings the daily metrics of the instance up to date, and moves the freshness.
    async fn finish(&self, ctx: &Ctx, slice: &SliceKey, finish: &Finish) -> Result<(), StoreError>;

    /// Whether someone asked to cancel the run, or it is no longer ours to write.
    async fn should_stop(&self, ctx: &Ctx, slice: &SliceKey) -> Result<bool, StoreError>;

    /// Freshness of one instance or of all, by slug, and how much of each is stored.
    async fn freshness(
        &self,
        ctx: &Ctx,
        instance: Option<InstanceId>,
    ) -> Result<Vec<(Freshness, StoredCounts)>, StoreError>;

    /// Freshness of all instances, by slug; may be up to two seconds old, so that every answer can carry it.
    async fn cached_freshness(&self, ctx: &Ctx) -> Result<Arc<Vec<Freshness>>, StoreError>;

    /// Objects that could not be mapped, newest first.
    async fn dead_letters(
        &self,
        ctx: &Ctx,
        run: RunId,
        page: &ListPage,
    ) -> Result<Listing<DeadLetter>, StoreError>;

    /// The projects of an instance, by key.
    async fn projects(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
    ) -> Result<Vec<(domain::ProjectId, ProjectRef, String)>, StoreError>;
}
