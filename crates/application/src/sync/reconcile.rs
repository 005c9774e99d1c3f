//! Comparing everything with the source: the ids of each project are listed and noted, then what is missing or older here
//! is read, and what the source does not list any more is looked at by itself. An item is marked deleted only by such a
//! look, and not when suspiciously many are unlisted: a credential that lost its access sees empty lists.

use domain::{Cursor, RunError, StreamName};
use serde_json::json;

use super::engine::{Stop, SyncEngine, Work, stop_if_asked};
use super::failure;
use crate::ports::{Comparison, IdCommit, ItemAddress, PageCommit, ProjectRef, StreamCommit};

/// Listing ids.
const IDS: &str = "reconcile_ids";
/// Reading what differs.
const DIFFERENCES: &str = "reconcile_differences";
/// Items read by themselves at once: what [`crate::ports::SourceAdapter::fetch_items`] takes.
const CHUNK: i64 = 100;
/// Fewer stored items than this may vanish all at once.
const GUARDED_FROM: i64 = 50;
/// More than this part of the stored items may not vanish at once, in percent.
const GUARDED_PERCENT: i64 = 10;

impl SyncEngine {
    /// Compares a project.
    pub(super) async fn reconcile_project(
        &self,
        work: &Work<'_>,
        project: &ProjectRef,
        pages: &mut usize,
    ) -> Result<(), Stop> {
        self.list_ids(work, project, pages).await?;
        self.read_differences(work, project, pages).await
    }

    async fn list_ids(&self, work: &Work<'_>, project: &ProjectRef, pages: &mut usize) -> Result<(), Stop> {
        let Some(mut cursor) = work.position(IDS, project) else { return Ok(()) };
        loop {
            let page = self
                .patiently(work, |to| {
                    let cursor = cursor.as_ref();
                    async move { work.adapter.list_ids(&to, project, cursor).await }
                })
                .await?;
            *pages += 1;
            let end_slice = self.share_done(work, *pages);
            if page.next.is_some() && page.next == cursor {
                return Err(Stop::Source(failure::stuck(IDS)));
            }
            let commit = IdCommit {
                stream: position(IDS, project, page.next.clone(), page.ids.len()),
                first: cursor.is_none(),
                ids: page.ids,
                requests: work.connection.take_requests(),
                fetched_at: self.clock.now(),
                end_slice,
            };
            stop_if_asked(self.store.commit_ids(work.ctx, &work.slice.key, commit).await?)?;
            if end_slice {
                return Err(Stop::ShareDone);
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn read_differences(
        &self,
        work: &Work<'_>,
        project: &ProjectRef,
        pages: &mut usize,
    ) -> Result<(), Stop> {
        let Some(cursor) = work.position(DIFFERENCES, project) else { return Ok(()) };
        let place =
            |cursor: &Cursor| cursor.0.get("after").and_then(|after| Some(after.as_str()?.to_owned()));
        let mut after = cursor.as_ref().and_then(place).unwrap_or_default();
        let found = self.store.compare(work.ctx, &work.slice.key, &project.source_id).await?;
        let unlisted = work.slice.confirm_removals || !is_suspicious(&found);
        loop {
            let items = self
                .store
                .differences(work.ctx, &work.slice.key, &project.source_id, &after, unlisted, CHUNK)
                .await?;
            let last = items.last().and_then(|item| item.source_id.clone());
            let (records, next) = match last {
                Some(last) => {
                    let mut fetched = self
                        .patiently(work, |to| {
                            let items = &items;
                            async move { work.adapter.fetch_items(&to, items).await }
                        })
                        .await?;
                    note_invisible(&fetched.invisible);
                    work.connection.current().mappings.apply(&mut fetched.records);
                    after = last;
                    (fetched.records, Some(Cursor(json!({"after": after}))))
                }
                None => Default::default(),
            };
            *pages += 1;
            let (ended, end_slice) = (next.is_none(), self.share_done(work, *pages));
            let commit = PageCommit {
                stream: position(DIFFERENCES, project, next, 0),
                records,
                requests: work.connection.take_requests(),
                fetched_at: self.clock.now(),
                end_slice,
            };
            if ended && !unlisted {
                // Before the project counts as compared, so that it is not forgotten if we end here.
                let why = guarded(project, &found);
                self.store
                    .skip_project(work.ctx, &work.slice.key, &commit.stream.stream, project, &why)
                    .await?;
            }
            stop_if_asked(self.store.commit_page(work.ctx, &work.slice.key, commit).await?)?;
            if end_slice {
                return Err(Stop::ShareDone);
            }
            if ended {
                return Ok(());
            }
        }
    }
}

fn position(stream: &str, project: &ProjectRef, next: Option<Cursor>, seen: usize) -> StreamCommit {
    StreamCommit {
        stream: StreamName::new(stream),
        project: project.source_id.clone(),
        complete: next.is_none(),
        cursor: next,
        watermark: None,
        validator: None,
        seen: i64::try_from(seen).unwrap_or(i64::MAX),
        estimate: None,
    }
}

/// What cannot be seen may be there: it stays as it is.
fn note_invisible(invisible: &[(ItemAddress, String)]) {
    if let Some((_, why)) = invisible.first() {
        tracing::warn!(
            items = invisible.len(),
            why,
            "Items cannot be seen at the source and stay as they are"
        );
    }
}

/// Whether so many are unlisted that the list is to be doubted.
fn is_suspicious(found: &Comparison) -> bool {
    found.stored > GUARDED_FROM && found.unlisted * 100 > found.stored * GUARDED_PERCENT
}

fn guarded(project: &ProjectRef, found: &Comparison) -> RunError {
    RunError {
        code: "mass_deletion_guard".into(),
        hint: format!(
            "the source does not list {} of the {} items of {} any more, so none was marked as deleted. Check what the \
             instance's credentials may see; if they are really gone, POST to /reconcile of the instance with \
             {{\"confirm_removals\": true}}",
            found.unlisted, found.stored, project.key
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_tenth_of_more_than_fifty_is_suspicious() {
        let found = |stored, unlisted| Comparison { listed: stored - unlisted, stored, unlisted };
        assert!(!is_suspicious(&found(50, 50)));
        assert!(is_suspicious(&found(51, 6)));
        assert!(!is_suspicious(&found(1_000, 100)));
        assert!(is_suspicious(&found(1_000, 101)));
    }
}
