//! Reading streams: pages are fetched while those before are written.

use chrono::{DateTime, Utc};
use domain::{Cursor, RunKind};

use super::engine::{Stop, SyncEngine, Work};
use super::failure;
use super::writing::Gathered;
use crate::ports::{Page, PageCommit, PageRequest, ProjectRef, StreamCommit, StreamSpec};

/// Most objects that wait while others are written: two pages.
const GATHERED: usize = 200;

impl SyncEngine {
    /// Reads a stream of a project, or of the instance, to its end, fetching the next pages while the last ones are
    /// written.
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
        let mut gathered = Gathered::new(self, work, GATHERED);
        loop {
            let fetch = self.fetch_stream(work, spec, project, cursor.as_ref(), since, validator);
            let mut page = match gathered.while_fetching(fetch).await {
                Ok(page) => page,
                Err(stop) => {
                    // What was read until here is not read again.
                    gathered.write_all().await?;
                    return Err(stop);
                }
            };
            *pages += 1;
            let next = page.next.take();
            let end_slice = self.share_done(work, *pages);
            let page = PageCommit {
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
            };
            // An object that moved while the list was read is on two pages.
            gathered.add(page, true).await?;
            if end_slice || next.is_none() {
                gathered.write_all().await?;
                return if end_slice { Err(Stop::ShareDone) } else { Ok(()) };
            }
            if next == cursor {
                gathered.write_all().await?;
                return Err(Stop::Source(failure::stuck(spec.name.as_str())));
            }
            gathered.write_some().await?;
            cursor = next;
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

    /// Fetches a page and maps the instance's own words in it.
    pub(super) async fn fetch(&self, work: &Work<'_>, request: PageRequest<'_>) -> Result<Page, Stop> {
        let mut page =
            self.patiently(work, |to| async move { work.adapter.fetch_page(&to, request).await }).await?;
        work.connection.current().mappings.apply(&mut page.records);
        Ok(page)
    }
}
