//! How instances' words are read.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::{InstanceId, Mappings, RunId, RunKind, WorkItem};

use super::{Memory, State};
use crate::Ctx;
use crate::ports::{
    FoundWord, InstanceStore, MappingPreview, MappingStore, NewRun, NormChange, Replaced, StoreError,
    SyncStore, Vocabulary,
};

/// How many items have each word, and what it means.
fn words<'a>(
    items: impl Iterator<Item = &'a WorkItem>,
    of: impl Fn(&'a WorkItem) -> Option<(&'a str, &'static str)>,
) -> Vec<FoundWord> {
    let mut found: BTreeMap<&str, FoundWord> = BTreeMap::new();
    for (original, norm) in items.filter_map(of) {
        let word = found.entry(original).or_insert_with(|| FoundWord {
            original: original.into(),
            items: 0,
            defaults: vec![norm.into()],
        });
        word.items += 1;
    }
    let mut words: Vec<FoundWord> = found.into_values().collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.items));
    words
}

fn live<'a>(
    state: &'a State,
    ctx: &Ctx,
    instance: InstanceId,
) -> impl Iterator<Item = &'a WorkItem> + use<'a> {
    let tenant = ctx.tenant;
    state
        .items
        .iter()
        .filter(move |(of, item)| *of == tenant && item.instance_id == instance && item.deleted_at.is_none())
        .map(|(_, item)| item)
}

#[async_trait]
impl MappingStore for Memory {
    async fn find(&self, _: &Ctx, instance: InstanceId) -> Result<Mappings, StoreError> {
        self.reach("mappings.find").await?;
        Ok(self.state().mappings.get(&instance).map(|(mappings, _)| mappings.clone()).unwrap_or_default())
    }

    async fn versioned(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
    ) -> Result<Option<(Mappings, i32)>, StoreError> {
        self.reach("mappings.versioned").await?;
        if InstanceStore::find(self, ctx, instance).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(self.state().mappings.get(&instance).cloned().unwrap_or((Mappings::default(), 1))))
    }

    async fn vocabulary(&self, ctx: &Ctx, instance: InstanceId) -> Result<Vocabulary, StoreError> {
        self.reach("mappings.vocabulary").await?;
        let state = self.state();
        let items = || live(&state, ctx, instance);
        Ok(Vocabulary {
            status: words(items(), |i| Some((&i.status_original, i.status_norm.as_str()))),
            resolution: words(items(), |i| Some((i.resolution_original.as_deref()?, i.status_norm.as_str()))),
            item_type: words(items(), |i| Some((&i.type_original, i.type_norm.as_str()))),
            priority: words(items(), |i| Some((i.priority_original.as_deref()?, i.priority.as_str()))),
            fields: Vec::new(),
        })
    }

    async fn preview(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        mappings: &Mappings,
    ) -> Result<MappingPreview, StoreError> {
        self.reach("mappings.preview").await?;
        let state = self.state();
        let mut changes: BTreeMap<(&str, &str), NormChange> = BTreeMap::new();
        for item in live(&state, ctx, instance) {
            let Some(to) = mappings.status.get(&item.status_original) else { continue };
            if *to != item.status_norm {
                let change =
                    changes.entry((item.status_norm.as_str(), to.as_str())).or_insert_with(|| NormChange {
                        field: "status".into(),
                        from: item.status_norm.to_string(),
                        to: to.to_string(),
                        items: 0,
                        examples: Vec::new(),
                    });
                change.items += 1;
                change.examples.push(item.source_key.clone());
            }
        }
        let changes: Vec<NormChange> = changes.into_values().collect();
        let items = changes.iter().map(|change| change.items).sum();
        Ok(MappingPreview { items, changes, ..MappingPreview::default() })
    }

    async fn replace(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        mappings: &Mappings,
        if_version: Option<i32>,
        run: RunId,
    ) -> Result<Replaced, StoreError> {
        self.reach("mappings.replace").await?;
        let Some((_, version)) = self.versioned(ctx, instance).await? else { return Ok(Replaced::Unknown) };
        if if_version.is_some_and(|expected| expected != version) {
            return Ok(Replaced::Stale { version });
        }
        self.state().mappings.insert(instance, (mappings.clone(), version + 1));
        let new = NewRun { id: run, instance_id: instance, kind: RunKind::Remap, confirm_removals: false };
        let run = match self.start(ctx, &new).await {
            Ok(()) => Some(run),
            Err(StoreError::Conflict(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(Replaced::Stored { version: version + 1, run })
    }
}
