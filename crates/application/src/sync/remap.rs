//! Mapping anew what is stored, from the objects as they were received. The tracker is not asked.

use domain::{Cursor, Mappings, StreamName};
use serde_json::json;

use super::engine::{Stop, SyncEngine, Work, stop_if_asked};
use crate::ports::{KeptItem, PageCommit, ProjectRef, RawObject, StreamCommit};

/// The run's position is kept under this name.
const STREAM: &str = "remap";
/// Items mapped at once.
const CHUNK: i64 = 500;

impl SyncEngine {
    /// Maps all stored items of the instance anew.
    pub(super) async fn remap(&self, work: &Work<'_>, pages: &mut usize) -> Result<(), Stop> {
        // Of no project; its position stands like that of a stream of the instance as a whole.
        let whole = ProjectRef { source_id: String::new(), key: String::new() };
        let Some(cursor) = work.position(STREAM, &whole) else { return Ok(()) };
        let place =
            |cursor: &Cursor| cursor.0.get("after").and_then(|after| Some(after.as_str()?.to_owned()));
        let mut after = cursor.as_ref().and_then(place).unwrap_or_default();
        let (ctx, instance) = (work.ctx, work.slice.key.instance);
        let mappings = work.connection.current().mappings.clone();
        let stored = self.store.freshness(ctx, Some(instance)).await?.into_iter().next();
        let estimate = stored.map(|(_, counts)| counts.items);
        loop {
            let kept = self.store.kept_items(ctx, instance, &after, CHUNK).await?;
            let last = kept.last().map(|item| item.raw.source_id.clone());
            *pages += 1;
            let end_slice = last.is_some() && self.share_done(work, *pages);
            let next = last.as_ref().map(|after| Cursor(json!({ "after": after })));
            let ref_keys: Vec<String> = kept.iter().map(|item| item.ref_key.clone()).collect();
            let page = PageCommit {
                stream: StreamCommit {
                    stream: StreamName::new(STREAM),
                    project: String::new(),
                    complete: next.is_none(),
                    cursor: next,
                    watermark: None,
                    validator: None,
                    seen: i64::try_from(kept.len()).unwrap_or(i64::MAX),
                    estimate,
                },
                records: self.map(work, &mappings, kept),
                requests: 0,
                fetched_at: self.clock.now(),
                end_slice,
            };
            let committed =
                self.store.commit_remapped(ctx, &work.slice.key, page, &ref_keys, &mappings).await?;
            stop_if_asked(committed)?;
            match last {
                Some(_) if end_slice => return Err(Stop::ShareDone),
                Some(last) => after = last,
                None => return Ok(()),
            }
        }
    }

    fn map(&self, work: &Work<'_>, mappings: &Mappings, kept: Vec<KeptItem>) -> domain::PageRecords {
        let raw: Vec<RawObject> = kept.into_iter().map(|item| item.raw).collect();
        let mut records = work.adapter.map_raw(&work.slice.instance.settings, mappings, &raw);
        mappings.apply(&mut records);
        records
    }
}
