//! Reading streams: each page is fetched while the one before is written.

use chrono::{DateTime, Utc};
use domain::{Cursor, RunKind};

use super::engine::{Stop, SyncEngine, Work, stop_if_asked};
use super::failure;
use crate::ports::{Page, PageCommit, PageRequest, PendingItem, ProjectRef, StreamCommit, StreamSpec};

/// Items whose details are read from the store at once.
const PENDING_CHUNK: usize = 200;

impl SyncEngine {
    /// Reads a stream of a project, or of the instance, to its end, fetching the next page while the last one is written.
    pub(super) async fn read_stream(
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
                    let (committed, fetched) =
                        tokio::join!(commit, self.fetch_stream(work, spec, project, Some(next), since, None));
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
        self.fetch(work, request).await
    }

    /// Reads the details of every item that waits for it.
    pub(super) async fn read_pending(
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
        self.fetch(work, request).await
    }

    /// Fetches a page and maps the instance's own words in it.
    async fn fetch(&self, work: &Work<'_>, request: PageRequest<'_>) -> Result<Page, Stop> {
        let mut page =
            self.patiently(work, |to| async move { work.adapter.fetch_page(&to, request).await }).await?;
        work.connection.current().mappings.apply(&mut page.records);
        Ok(page)
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
}
