//! Reading the details of items, which sources tell item by item.

use domain::WorkItemId;

use super::engine::{Stop, SyncEngine, Work};
use super::failure;
use super::writing::Gathered;
use crate::ports::{Page, PageCommit, PageRequest, PendingItem, PendingItems, StreamCommit, StreamSpec};

/// Items whose details are read from the store at once.
const PENDING_CHUNK: usize = 1_000;
/// Most objects that wait while others are written: the details of about a hundred items.
const GATHERED: usize = 1_000;

impl SyncEngine {
    /// Reads the details of every item that waits for it.
    pub(super) async fn read_pending(
        &self,
        work: &Work<'_>,
        spec: &StreamSpec,
        batch: usize,
        pages: &mut usize,
    ) -> Result<(), Stop> {
        // What the walk before began with.
        let mut before = Vec::new();
        loop {
            let first = self.pending_after(work, None).await?;
            if first.items.is_empty() {
                return Ok(());
            }
            if first.items == before {
                return Err(Stop::Source(failure::stuck(spec.name.as_str())));
            }
            before.clone_from(&first.items);
            self.walk_pending(work, spec, first, batch, pages).await?;
        }
    }

    /// Reads the details of the items that wait, once for each. Those read meanwhile are passed over by their ids, so that
    /// the next ones are asked for while these are written.
    async fn walk_pending(
        &self,
        work: &Work<'_>,
        spec: &StreamSpec,
        mut pending: PendingItems,
        batch: usize,
        pages: &mut usize,
    ) -> Result<(), Stop> {
        let mut gathered = Gathered::new(self, work, GATHERED);
        loop {
            for items in pending.items.chunks(batch.max(1)) {
                let page = match gathered.while_fetching(self.fetch_details(work, spec, items)).await {
                    Ok(page) => page,
                    Err(stop) => {
                        // What was read until here is not read again.
                        gathered.write_all().await?;
                        return Err(stop);
                    }
                };
                *pages += 1;
                let end_slice = self.share_done(work, *pages);
                // Each item is in one page only.
                gathered.add(self.details(work, spec, page, end_slice), false).await?;
                if end_slice {
                    gathered.write_all().await?;
                    return Err(Stop::ShareDone);
                }
                gathered.write_some().await?;
            }
            let next = match pending.last {
                Some(last) if pending.items.len() == PENDING_CHUNK => {
                    self.pending_after(work, Some(last)).await
                }
                _ => Ok(PendingItems::default()),
            };
            match next {
                Ok(next) if !next.items.is_empty() => pending = next,
                ended => {
                    gathered.write_all().await?;
                    return ended.map(drop);
                }
            }
        }
    }

    async fn pending_after(&self, work: &Work<'_>, after: Option<WorkItemId>) -> Result<PendingItems, Stop> {
        Ok(self.store.pending_items(work.ctx, work.slice.key.instance, after, PENDING_CHUNK).await?)
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
