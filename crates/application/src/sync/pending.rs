//! Reading the details of items, which sources tell item by item.

use super::engine::{Stop, SyncEngine, Work};
use super::failure;
use super::writing::Gathered;
use crate::ports::{Page, PageCommit, PageRequest, PendingItem, StreamCommit, StreamSpec};

/// Items whose details are read from the store at once.
const PENDING_CHUNK: usize = 1_000;
/// Most objects that wait while others are written: the details of about thirty items. As many may be under way; a death
/// makes the next worker ask for both again.
const GATHERED: usize = 300;

impl SyncEngine {
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
            let mut gathered = Gathered::new(self, work, GATHERED);
            for items in pending.chunks(batch.max(1)) {
                let page = match self.fetch_details(work, spec, items).await {
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
            gathered.write_all().await?;
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
