//! Runs: their states, fencing tokens and stream positions. Objects of pages are counted, not kept; of items read by
//! themselves the time of their last change is.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    InstanceId, ProjectId, Run, RunCounts, RunError, RunId, RunKind, RunState, StreamName, Tenant,
    TenantStatus, WorkItem, WorkItemId,
};

use super::instances::page_of;
use super::{INSTANCE, Memory, RUN, State, TENANT, moment};
use crate::Ctx;
use crate::ports::{
    CommitOutcome, Comparison, DeadLetter, Finish, Freshness, IdCommit, ItemAddress, KeptItem, ListCursor,
    ListPage, Listing, NewRun, PageCommit, PendingItems, ProjectRef, RunFilter, Slice, SliceKey, StoreError,
    StoredCounts, StreamState, SyncStore,
};

#[derive(Debug)]
pub(super) struct StoredRun {
    pub(super) run: Run,
    fence: i64,
    failures: i32,
    projects: Vec<ProjectRef>,
    streams: Vec<StreamState>,
}

fn queued(id: RunId, instance_id: InstanceId, kind: RunKind) -> StoredRun {
    let run = Run {
        id,
        instance_id,
        kind,
        state: RunState::Queued,
        done: 0,
        estimate: None,
        counts: RunCounts::default(),
        stream: None,
        error: None,
        resume_at: None,
        cancel_requested: false,
        created_at: moment(),
        started_at: None,
        finished_at: None,
    };
    StoredRun { run, fence: 0, failures: 0, projects: Vec::new(), streams: Vec::new() }
}

/// A run that is queued again after ten seconds of work and a quarter of its items.
pub(super) fn seed(state: &mut State) {
    let mut stored = queued(RUN, INSTANCE, RunKind::Backfill);
    stored.run.done = 250;
    stored.run.estimate = Some(1_000);
    stored.run.started_at = Some(moment());
    stored.run.finished_at = Some(moment() + TimeDelta::seconds(10));
    state.runs.push((TENANT, stored));
}

impl Memory {
    /// Moves a run on, as a worker would.
    pub fn set_run_state(&self, id: RunId, to: RunState) {
        for (_, stored) in &mut self.state().runs {
            if stored.run.id == id {
                stored.run.state = to;
            }
        }
    }

    /// Does something with a run of the tenant; `None` when there is none of that id.
    fn with_run<T>(&self, ctx: &Ctx, id: RunId, f: impl FnOnce(&mut StoredRun) -> T) -> Option<T> {
        let mut state = self.state();
        let found = state.runs.iter_mut().find(|(tenant, row)| *tenant == ctx.tenant && row.run.id == id);
        found.map(|(_, stored)| f(stored))
    }

    /// The same for who has the right to write for it.
    fn with_slice<T>(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        f: impl FnOnce(&mut StoredRun) -> T,
    ) -> Result<T, StoreError> {
        self.with_run(ctx, slice.run, |stored| {
            if stored.fence == slice.fence && !stored.run.state.is_final() {
                Ok(f(stored))
            } else {
                Err(StoreError::Fenced)
            }
        })
        .unwrap_or(Err(StoreError::Fenced))
    }
}

#[async_trait]
impl SyncStore for Memory {
    async fn start(&self, ctx: &Ctx, new: &NewRun) -> Result<(), StoreError> {
        self.reach("runs.start").await?;
        if self.active_run(ctx, new.instance_id).await?.is_some() {
            return Err(StoreError::Conflict("an unfinished run"));
        }
        self.state().runs.push((ctx.tenant, queued(new.id, new.instance_id, new.kind)));
        Ok(())
    }

    async fn active_run(&self, ctx: &Ctx, instance: InstanceId) -> Result<Option<RunId>, StoreError> {
        self.reach("runs.active").await?;
        let state = self.state();
        let mut mine = state.runs.iter().filter(|(tenant, _)| *tenant == ctx.tenant).map(|(_, row)| &row.run);
        Ok(mine.find(|run| run.instance_id == instance && !run.state.is_final()).map(|run| run.id))
    }

    async fn find(&self, ctx: &Ctx, id: RunId) -> Result<Option<Run>, StoreError> {
        self.reach("runs.find").await?;
        Ok(self.with_run(ctx, id, |stored| stored.run.clone()))
    }

    async fn list(&self, ctx: &Ctx, filter: &RunFilter, page: &ListPage) -> Result<Listing<Run>, StoreError> {
        self.reach("runs.list").await?;
        let state = self.state();
        let mine =
            state.runs.iter().rev().filter(|(tenant, _)| *tenant == ctx.tenant).map(|(_, row)| &row.run);
        let wanted = mine.filter(|run| {
            filter.instance.is_none_or(|id| run.instance_id == id)
                && filter.state.is_none_or(|state| run.state == state)
        });
        let rows = wanted.cloned().collect();
        Ok(page_of(rows, page, |run: &Run| ListCursor {
            after: run.created_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            id: run.id.as_uuid(),
        }))
    }

    async fn request_cancel(&self, ctx: &Ctx, id: RunId) -> Result<Option<Run>, StoreError> {
        self.reach("runs.cancel").await?;
        Ok(self.with_run(ctx, id, |StoredRun { run, fence, .. }| {
            if !run.state.is_final() {
                run.cancel_requested = true;
                if *fence == 0 {
                    run.state = RunState::Cancelled;
                    run.finished_at = Some(moment());
                }
            }
            run.clone()
        }))
    }

    async fn begin_slice(&self, ctx: &Ctx, id: RunId) -> Result<Option<Slice>, StoreError> {
        self.reach("runs.begin_slice").await?;
        let mut state = self.state();
        let state = &mut *state;
        let Some((_, stored)) =
            state.runs.iter_mut().find(|(tenant, row)| *tenant == ctx.tenant && row.run.id == id)
        else {
            return Ok(None);
        };
        let of = stored.run.instance_id;
        let instance = state.instances.iter().find(|(tenant, row, _)| *tenant == ctx.tenant && row.id == of);
        let (false, Some((_, instance, credential))) = (stored.run.state.is_final(), instance) else {
            return Ok(None);
        };
        stored.fence += 1;
        stored.run.state = RunState::Running;
        stored.run.started_at.get_or_insert(moment());
        Ok(Some(Slice {
            key: SliceKey { run: id, instance: of, fence: stored.fence },
            run: stored.run.clone(),
            instance: instance.clone(),
            credential: super::instances::stored(credential),
            projects: stored.projects.clone(),
            streams: stored.streams.clone(),
            failures: stored.failures,
            confirm_removals: false,
            skipped: Vec::new(),
        }))
    }

    async fn set_projects(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        projects: &[ProjectRef],
    ) -> Result<(), StoreError> {
        self.reach("runs.set_projects").await?;
        self.with_slice(ctx, slice, |stored| stored.projects = projects.to_vec())
    }

    async fn pending_items(
        &self,
        _: &Ctx,
        _: InstanceId,
        _: Option<WorkItemId>,
        _: usize,
    ) -> Result<PendingItems, StoreError> {
        self.reach("runs.pending_items").await?;
        Ok(PendingItems::default())
    }

    async fn commit_page(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        page: PageCommit,
    ) -> Result<CommitOutcome, StoreError> {
        self.reach("runs.commit_page").await?;
        self.with_slice(ctx, slice, |stored| {
            let items = i64::try_from(page.records.items.len()).unwrap_or(i64::MAX);
            let counts = RunCounts { upserted: items, requests: page.requests, ..RunCounts::default() };
            let stream = page.stream;
            stored
                .streams
                .retain(|known| (&known.stream, &known.project) != (&stream.stream, &stream.project));
            stored.streams.push(StreamState {
                stream: stream.stream,
                project: stream.project,
                run: Some(slice.run),
                cursor: stream.cursor,
                complete: stream.complete,
                pass_watermark: stream.watermark,
                watermark: stream.watermark.filter(|_| stream.complete),
                validator: stream.validator,
            });
            stored.failures = 0;
            stored.run.done += stream.seen;
            stored.run.estimate = stream.estimate.or(stored.run.estimate);
            stored.run.counts.add(&counts);
            CommitOutcome { counts, cancel_requested: stored.run.cancel_requested, suspended: false }
        })
    }

    async fn commit_ids(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        page: IdCommit,
    ) -> Result<CommitOutcome, StoreError> {
        let IdCommit { stream, requests, fetched_at, end_slice, .. } = page;
        let records = domain::PageRecords::default();
        self.commit_page(ctx, slice, PageCommit { records, stream, requests, fetched_at, end_slice }).await
    }

    async fn compare(&self, _: &Ctx, _: &SliceKey, _: &str) -> Result<Comparison, StoreError> {
        self.reach("runs.compare").await?;
        Ok(Comparison::default())
    }

    async fn differences(
        &self,
        _: &Ctx,
        _: &SliceKey,
        _: &str,
        _: &str,
        _: bool,
        _: i64,
    ) -> Result<Vec<ItemAddress>, StoreError> {
        self.reach("runs.differences").await?;
        Ok(Vec::new())
    }

    async fn skip_project(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        _: &StreamName,
        _: &ProjectRef,
        why: &RunError,
    ) -> Result<(), StoreError> {
        self.reach("runs.skip_project").await?;
        self.with_slice(ctx, slice, |stored| stored.run.error = Some(why.clone()))
    }

    async fn commit_items(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        records: domain::PageRecords,
        _: DateTime<Utc>,
        _: &[uuid::Uuid],
    ) -> Result<RunCounts, StoreError> {
        self.reach("runs.commit_items").await?;
        let mut state = self.state();
        for record in &records.items {
            let same = |item: &WorkItem| item.instance_id == instance && item.source_key == record.source_key;
            let stored = state.items.iter_mut().find(|(tenant, item)| *tenant == ctx.tenant && same(item));
            if let Some((_, item)) = stored {
                item.updated_at = item.updated_at.max(record.updated_at);
            }
        }
        let upserted = i64::try_from(records.items.len()).unwrap_or(i64::MAX);
        Ok(RunCounts { upserted, ..RunCounts::default() })
    }

    async fn outdated_items(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        seen: &[(String, DateTime<Utc>)],
    ) -> Result<Option<Vec<ItemAddress>>, StoreError> {
        self.reach("runs.outdated_items").await?;
        let state = self.state();
        let active = |tenant: &Tenant| tenant.id == ctx.tenant && tenant.status == TenantStatus::Active;
        if !state.synced.contains_key(&instance) || !state.tenants.iter().any(active) {
            return Ok(None);
        }
        let current = |key: &String, updated_at: &DateTime<Utc>| {
            state.items.iter().any(|(tenant, item)| {
                *tenant == ctx.tenant
                    && item.instance_id == instance
                    && item.source_key == *key
                    && item.deleted_at.is_none()
                    && item.updated_at >= *updated_at
            })
        };
        let outdated = seen.iter().filter(|(key, updated_at)| !current(key, updated_at));
        let address =
            |(key, _): &(String, _)| ItemAddress { key: Some(key.clone()), ..ItemAddress::default() };
        Ok(Some(outdated.map(address).collect()))
    }

    async fn kept_items(&self, _: &Ctx, _: InstanceId, _: &str, _: i64) -> Result<Vec<KeptItem>, StoreError> {
        self.reach("runs.kept_items").await?;
        Ok(Vec::new())
    }

    async fn commit_remapped(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        page: PageCommit,
        _: &[String],
        _: &domain::Mappings,
    ) -> Result<CommitOutcome, StoreError> {
        self.commit_page(ctx, slice, page).await
    }

    async fn suspend(
        &self,
        ctx: &Ctx,
        slice: &SliceKey,
        resume_at: DateTime<Utc>,
        why: Option<&RunError>,
        requests: i64,
    ) -> Result<(), StoreError> {
        self.reach("runs.suspend").await?;
        self.with_slice(ctx, slice, |stored| {
            stored.run.state = if why.is_some() { RunState::Waiting } else { RunState::Queued };
            stored.failures += i32::from(why.is_some());
            stored.run.error = why.cloned();
            stored.run.resume_at = Some(resume_at);
            stored.run.counts.requests += requests;
        })
    }

    async fn finish(&self, ctx: &Ctx, slice: &SliceKey, finish: &Finish) -> Result<(), StoreError> {
        self.reach("runs.finish").await?;
        self.with_slice(ctx, slice, |stored| {
            stored.run.state = finish.state;
            stored.run.error = finish.error.clone();
            stored.run.finished_at = Some(moment());
        })?;
        let mut state = self.state();
        if finish.state == RunState::Succeeded {
            state.synced.insert(slice.instance, moment());
        }
        if let Some(status) = finish.instance_status {
            for (_, instance, _) in state.instances.iter_mut().filter(|row| row.1.id == slice.instance) {
                instance.status = status;
            }
        }
        Ok(())
    }

    async fn should_stop(&self, ctx: &Ctx, slice: &SliceKey) -> Result<bool, StoreError> {
        self.reach("runs.should_stop").await?;
        Ok(self.with_slice(ctx, slice, |stored| stored.run.cancel_requested).unwrap_or(true))
    }

    async fn freshness(
        &self,
        ctx: &Ctx,
        instance: Option<InstanceId>,
    ) -> Result<Vec<(Freshness, StoredCounts)>, StoreError> {
        self.reach("runs.freshness").await?;
        let state = self.state();
        let mine = state.instances.iter().filter(|(tenant, ..)| *tenant == ctx.tenant).map(|(_, row, _)| row);
        let mut all: Vec<_> = mine
            .filter(|row| instance.is_none_or(|id| row.id == id))
            .map(|row| {
                let run = state.runs.iter().map(|(_, stored)| &stored.run);
                let active = run.clone().find(|run| run.instance_id == row.id && !run.state.is_final());
                let items = state.items.iter().filter(|(_, item)| item.instance_id == row.id).count();
                let freshness = Freshness {
                    instance_id: row.id,
                    slug: row.slug.clone(),
                    source: row.source.to_string(),
                    synced_at: state.synced.get(&row.id).copied(),
                    backfilled_at: None,
                    active_run: active.map(|run| (run.id, run.kind, run.state)),
                    last_error: None,
                    target: Some(std::time::Duration::from_secs(630)),
                };
                let items = i64::try_from(items).unwrap_or(i64::MAX);
                (freshness, StoredCounts { items, dead_letters: 0 })
            })
            .collect();
        all.sort_by(|a, b| a.0.slug.cmp(&b.0.slug));
        Ok(all)
    }

    async fn cached_freshness(&self, ctx: &Ctx) -> Result<Arc<Vec<Freshness>>, StoreError> {
        Ok(Arc::new(self.freshness(ctx, None).await?.into_iter().map(|(of, _)| of).collect()))
    }

    async fn dead_letters(&self, _: &Ctx, _: RunId, _: &ListPage) -> Result<Listing<DeadLetter>, StoreError> {
        self.reach("runs.dead_letters").await?;
        Ok(Listing { items: Vec::new(), next: None })
    }

    async fn projects(
        &self,
        _: &Ctx,
        _: InstanceId,
    ) -> Result<Vec<(ProjectId, ProjectRef, String)>, StoreError> {
        self.reach("runs.projects").await?;
        Ok(Vec::new())
    }
}
