//! Epics of sites that tell only their key (Data Center's Epic Link): looked up, all of a page at once.

use std::collections::{BTreeSet, HashMap};

use application::ports::SourceError;
use domain::PageRecords;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::api::Api;
use super::full;
use super::normalize::Mapped;
use super::walk::Found;

/// Makes the epics the parents of the items that name them by key.
pub(super) async fn resolve(
    api: &Api<'_>,
    mapped: &[(Mapped, &RawValue)],
    records: &mut PageRecords,
) -> Result<(), SourceError> {
    let wanted: BTreeSet<&str> = mapped.iter().filter_map(|(mapped, _)| mapped.epic_key.as_deref()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let mut ids: HashMap<String, String> = records
        .items
        .iter()
        .filter(|item| wanted.contains(item.source_key.as_str()))
        .map(|item| (item.source_key.clone(), item.ref_key.clone()))
        .collect();
    let unknown: Vec<&str> =
        wanted.into_iter().filter(|key| !ids.contains_key(*key) && is_key(key)).collect();
    if !unknown.is_empty() {
        look_up(api, &unknown, &mut ids).await?;
    }
    for (mapped, raw) in mapped {
        let Some(epic_id) = mapped.epic_key.as_ref().and_then(|key| ids.get(key)) else { continue };
        let item = &mut records.items[mapped.index];
        let mut noted = mapped.noted.clone();
        noted.epic_id = Some(epic_id.clone());
        item.parent_ref_key = Some(epic_id.clone());
        item.raw = noted.keep_with(raw);
    }
    Ok(())
}

/// Whether the text is an issue's key and nothing that could end a list of JQL.
fn is_key(text: &str) -> bool {
    text.len() <= 300 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

async fn look_up(api: &Api<'_>, keys: &[&str], ids: &mut HashMap<String, String>) -> Result<(), SourceError> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
        key: String,
    }
    let what = "the epics of issues";
    let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
    for answer in full::issues(api, &keys, &["created"], what).await? {
        let text = answer.text();
        for raw in Found::read(&text, what)?.issues {
            if let Ok(named) = serde_json::from_str::<Named>(raw.get()) {
                ids.insert(named.key, named.id);
            }
        }
    }
    Ok(())
}
