//! Runs, the positions of their streams, and writing what they read.

pub(super) use metrics::refresh as refresh_metrics;
pub(super) use pages::hold;

mod columns;
mod comments;
mod custom_fields;
mod details;
mod digest;
mod holdings;
mod items;
mod links;
mod live;
mod metrics;
mod outdated;
mod pages;
mod pending;
mod reference;
mod remap;
mod seen;
mod sprints;
mod text;
mod worklogs;

use std::sync::Arc;
use std::time::Duration;

use application::Ctx;
use application::ports::{
    CommitOutcome, Comparison, DeadLetter, Finish, Freshness, IdCommit, ItemAddress, KeptItem, ListPage,
    Listing, NewRun, PageCommit, PendingItems, ProjectRef, RunFilter, Slice, SliceKey, StoreError,
    StoredCounts, SyncStore,
};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{
    InstanceId, Mappings, PageRecords, ProjectId, Run, RunCounts, RunError, RunId, StreamName, TenantId,
    WorkItemId,
};
use moka::future::Cache;

use super::audit::AuditChain;
use super::db::{Db, shared_error};
use super::{freshness, runs};

/// The tenant, and the instances that the caller is narrowed to.
type Seen = (TenantId, Option<Vec<InstanceId>>);

/// [`SyncStore`] on PostgreSQL.
pub struct PgSync {
    db: Db,
    audit: AuditChain,
    recent: Cache<Seen, Arc<Vec<Freshness>>>,
}

impl PgSync {
    /// Uses these connections, and puts changes on this record.
    pub fn new(db: Db, audit: AuditChain) -> Self {
        let recent = Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(2)).build();
        Self { db, audit, recent }
    }
}

impl std::fmt::Debug for PgSync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PgSync")
    }
}

#[async_trait]
impl SyncStore for PgSync {
    async fn start(&self, ctx: &Ctx, run: &NewRun) -> Result<(), StoreError> {
        runs::start(&self.db, &self.audit, ctx, run).await
    }

    async fn active_run(&self, ctx: &Ctx, instance: InstanceId) -> Result<Option<RunId>, StoreError> {
        runs::active_run(&self.db, ctx, instance).await
    }

    async fn find(&self, ctx: &Ctx, run: RunId) -> Result<Option<Run>, StoreError> {
        runs::find(&self.db, ctx, run).await
    }

    async fn list(&self, ctx: &Ctx, filter: &RunFilter, page: &ListPage) -> Result<Listing<Run>, StoreError> {
        runs::list(&self.db, ctx, filter, page).await
    }

    async fn request_cancel(&self, ctx: &Ctx, run: RunId) -> Result<Option<Run>, StoreError> {
        runs::request_cancel(&self.db, &self.audit, ctx, run).await
    }

    async fn begin_slice(&self, ctx: &Ctx, run: RunId) -> Result<Option<Slice>, StoreError> {
        runs::begin_slice(&self.db, &self.audit, ctx, run).await
    }

    async fn set_projects(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        projects: &[ProjectRef],
    ) -> Result<(), StoreError> {
        runs::set_projects(&self.db, ctx, slice, projects).await
    }

    async fn pending_items(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        after: Option<WorkItemId>,
        limit: usize,
    ) -> Result<PendingItems, StoreError> {
        pending::list(&self.db, ctx, instance, after, limit).await
    }

    async fn commit_page(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        page: PageCommit,
    ) -> Result<CommitOutcome, StoreError> {
        pages::commit(&self.db, ctx, slice, page).await
    }

    async fn commit_ids(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        page: IdCommit,
    ) -> Result<CommitOutcome, StoreError> {
        seen::commit(&self.db, ctx, slice, page).await
    }

    async fn compare(&self, ctx: &Ctx, slice: &SliceKey, project: &str) -> Result<Comparison, StoreError> {
        seen::compare(&self.db, ctx, slice, project).await
    }

    async fn differences(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        project: &str,
        after: &str,
        unlisted: bool,
        limit: i64,
    ) -> Result<Vec<ItemAddress>, StoreError> {
        seen::differences(&self.db, ctx, slice, project, after, unlisted, limit).await
    }

    async fn skip_project(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        stream: &StreamName,
        project: &ProjectRef,
        why: &RunError,
    ) -> Result<(), StoreError> {
        seen::skip_project(&self.db, ctx, slice, stream, project, why).await
    }

    async fn commit_items(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        records: PageRecords,
        fetched_at: DateTime<Utc>,
        deliveries: &[uuid::Uuid],
    ) -> Result<RunCounts, StoreError> {
        live::commit(&self.db, ctx, instance, records, fetched_at, deliveries).await
    }

    async fn outdated_items(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        seen: &[(String, DateTime<Utc>)],
    ) -> Result<Option<Vec<ItemAddress>>, StoreError> {
        outdated::find(&self.db, ctx, instance, seen).await
    }

    async fn kept_items(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<KeptItem>, StoreError> {
        remap::kept(&self.db, ctx, instance, after, limit).await
    }

    async fn commit_remapped(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        page: PageCommit,
        ref_keys: &[String],
        mappings: &Mappings,
    ) -> Result<CommitOutcome, StoreError> {
        remap::commit(&self.db, ctx, slice, page, ref_keys, mappings).await
    }

    async fn suspend(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        resume_at: DateTime<Utc>,
        why: Option<&RunError>,
        requests: i64,
    ) -> Result<(), StoreError> {
        runs::suspend(&self.db, ctx, slice, resume_at, why, requests).await
    }

    async fn finish(&self, ctx: &Ctx, slice: &SliceKey, finish: &Finish) -> Result<(), StoreError> {
        runs::finish(&self.db, &self.audit, ctx, slice, finish).await?;
        // What narrowed callers are told may be two seconds older.
        self.recent.invalidate(&(ctx.tenant, None)).await;
        Ok(())
    }

    async fn should_stop(&self, ctx: &Ctx, slice: &SliceKey) -> Result<bool, StoreError> {
        runs::should_stop(&self.db, ctx, slice).await
    }

    async fn freshness(
        &self,
        ctx: &Ctx,
        instance: Option<InstanceId>,
    ) -> Result<Vec<(Freshness, StoredCounts)>, StoreError> {
        freshness::read_counted(&self.db, ctx, instance).await
    }

    async fn cached_freshness(&self, ctx: &Ctx) -> Result<Arc<Vec<Freshness>>, StoreError> {
        let narrowed = ctx.grant.instances.as_list().map(|list| list.iter().copied().collect());
        // try_get_with: many callers at once cause one query. Boxed, as it is rare and would be copied for each of them.
        self.recent
            .try_get_with((ctx.tenant, narrowed), async {
                Box::pin(freshness::read(&self.db, ctx)).await.map(Arc::new)
            })
            .await
            .map_err(shared_error)
    }

    async fn dead_letters(
        &self,
        ctx: &Ctx,
        run: RunId,
        page: &ListPage,
    ) -> Result<Listing<DeadLetter>, StoreError> {
        runs::dead_letters(&self.db, ctx, run, page).await
    }

    async fn projects(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
    ) -> Result<Vec<(ProjectId, ProjectRef, String)>, StoreError> {
        reference::projects(&self.db, ctx, instance).await
    }
}
