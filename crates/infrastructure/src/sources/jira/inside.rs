//! What hangs on issues and comes with them on a page of the search.

use application::ports::SourceError;
use domain::PageRecords;
use serde_json::value::RawValue;

use super::api::Api;
use super::changelogs::{self, Told, Waiting};
use super::model::Issue;
use super::people::People;
use super::settings::Stream;
use super::{lists, malformed};

/// Adds it to the page, and says what is left to be read of each issue.
pub(super) async fn add(
    api: &Api<'_>,
    issues: &[&RawValue],
    records: &mut PageRecords,
    people: &mut People,
) -> Result<(), SourceError> {
    if issues.is_empty() || !api.settings.reads(Stream::Details) {
        return Ok(());
    }
    match api.is_cloud() {
        true => some(api, issues, records, people).await,
        false => all(api, issues, records, people).await,
    }
}

/// Cloud's first comments and worklogs; notes what is needed when their changelogs are read.
async fn some(
    api: &Api<'_>,
    issues: &[&RawValue],
    records: &mut PageRecords,
    people: &mut People,
) -> Result<(), SourceError> {
    let sprint_fields = api.known().await?.sprint_fields(&api.connection.mappings);
    for raw in issues {
        let Ok(issue) = serde_json::from_str::<Issue<'_>>(raw.get()) else { continue };
        let rest = lists::add_inside(api, &issue, records, people);
        let told = Told::of(&issue, &sprint_fields, rest);
        let noted = serde_json::to_value(told).map_err(|error| malformed(error.to_string()))?;
        records.details_noted.insert(issue.id, noted);
    }
    Ok(())
}

/// Data Center's whole lists and changelogs. An issue of which there is more waits to be read by itself.
async fn all(
    api: &Api<'_>,
    issues: &[&RawValue],
    records: &mut PageRecords,
    people: &mut People,
) -> Result<(), SourceError> {
    let sprint_fields = api.known().await?.sprint_fields(&api.connection.mappings);
    let (mut whole, mut done) = (Vec::new(), Vec::new());
    for raw in issues {
        let Ok(issue) = serde_json::from_str::<Issue<'_>>(raw.get()) else { continue };
        let Some(changes) = changelogs::whole(&issue, records) else { continue };
        let rest = lists::add_inside(api, &issue, records, people);
        if !rest.is_empty() {
            continue;
        }
        let told = Told::of(&issue, &sprint_fields, rest);
        done.push(issue.id.clone());
        whole.push(Waiting { id: issue.id, key: issue.key, told, inside: Some(changes) });
    }
    records.append(changelogs::read(api, whole, people).await?);
    records.details_done.append(&mut done);
    Ok(())
}
