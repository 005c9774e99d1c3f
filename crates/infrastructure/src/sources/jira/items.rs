//! Issues read by themselves: after a webhook, after a write, and to prove that they are gone.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use application::ports::{FetchedItems, ItemAddress, Page, PendingItem, SourceError, SourceErrorKind};
use domain::PageRecords;
use domain::record::GoneRecord;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::api::{Answer, Api, segment};
use super::changelogs::{self, Told, Waiting};
use super::full::{self, BATCH};
use super::model::{Issue, Project};
use super::normalize::{Mapper, distinct_records, unmapped};
use super::people::People;
use super::settings::Stream;
use super::walk::{Found, fields, last_rows};
use super::{account, epics, internal};

/// The details of items that changed.
pub(super) async fn details(api: &Api<'_>, items: &[PendingItem]) -> Result<Page, SourceError> {
    let mut unread = BTreeSet::new();
    let mut waiting = BTreeMap::new();
    for item in items.iter().filter(|item| is_address(&item.ref_key)) {
        let told =
            item.noted.as_ref().filter(|_| api.is_cloud()).and_then(|noted| Told::deserialize(noted).ok());
        match told {
            Some(told) => drop(waiting.insert(item.ref_key.clone(), (item.source_key.clone(), told))),
            None => drop(unread.insert(item.ref_key.clone())),
        }
    }
    let waiting =
        waiting.into_iter().map(|(id, (key, told))| Waiting { id, key, told, inside: None }).collect();
    let mut people = People::default();
    let mut records = changelogs::read(api, waiting, &mut people).await?;
    records.users = people.into_records();
    let unread: Vec<String> = unread.into_iter().collect();
    records.append(full::details(api, &unread).await?);
    distinct_records(&mut records);
    // Those that are gone meanwhile as well: the next comparison of ids finds out about them.
    records.details_done = items.iter().map(|item| item.ref_key.clone()).collect();
    Ok(Page { records, ..Page::default() })
}

/// Items with everything that hangs on them.
pub(super) async fn fetch(api: &Api<'_>, wanted: &[ItemAddress]) -> Result<FetchedItems, SourceError> {
    if wanted.len() > BATCH {
        return Err(internal(format!(
            "{} items are asked for at once, and Jira gives {BATCH}",
            wanted.len()
        )));
    }
    let mut fetched = FetchedItems::default();
    let mut asked: BTreeMap<String, &ItemAddress> = BTreeMap::new();
    for address in wanted {
        let name = [&address.source_id, &address.ref_key, &address.key].into_iter().flatten().next();
        match name.filter(|name| is_address(name)) {
            Some(name) => {
                asked.insert(name.clone(), address);
            }
            None => {
                fetched.invisible.push((address.clone(), "it has neither an id nor a key of Jira".into()));
            }
        }
    }
    let names: Vec<String> = asked.keys().cloned().collect();
    if names.is_empty() {
        return Ok(fetched);
    }
    let (mut records, found) = read(api, &names).await?;
    let ids: Vec<String> = records.items.iter().map(|item| item.ref_key.clone()).collect();
    let mut details = full::details(api, &ids).await?;
    details.details_done = ids;
    records.append(details);
    distinct_records(&mut records);
    fetched.records = records;
    let absent: Vec<&ItemAddress> =
        asked.iter().filter(|(name, _)| !found.contains(*name)).map(|(_, address)| *address).collect();
    prove(api, &absent, &mut fetched).await?;
    Ok(fetched)
}

/// Ids are numbers and keys are words with a hyphen; nothing else goes into a request.
fn is_address(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    !text.is_empty() && text.len() <= 300 && text.bytes().all(plain)
}

/// The issues themselves, and by which of the names they were found.
async fn read(api: &Api<'_>, names: &[String]) -> Result<(PageRecords, HashSet<String>), SourceError> {
    let what = "the issues";
    let mut open = vec![names];
    let mut answers: Vec<Answer> = Vec::new();
    while let Some(batch) = open.pop() {
        match full::issues(api, batch, fields(false), what).await {
            Ok(some) => answers.extend(some),
            Err(error) if super::api::is_too_large(&error) && batch.len() > 1 => {
                let (left, right) = batch.split_at(batch.len() / 2);
                open.extend([right, left]);
            }
            Err(error) => return Err(error),
        }
    }
    let texts: Vec<_> = answers.iter().map(Answer::text).collect();
    let mut rows: Vec<&RawValue> = Vec::new();
    for text in &texts {
        rows.extend(Found::read(text, what)?.issues);
    }
    let mut known = api.known().await?;
    let covered = |raw: &&&RawValue| {
        serde_json::from_str::<Issue<'_>>(raw.get()).is_ok_and(|issue| !known.fields.covers(&issue))
    };
    // A field that was made since they were asked for last.
    if rows.iter().any(|raw| covered(&raw)) {
        known = api.known_now().await?;
    }
    let mapper = Mapper {
        mappings: &api.connection.mappings,
        home: Some(&api.site.home),
        fields: Some(&known.fields),
        has_details: api.settings.reads(Stream::Details),
    };
    let (mut records, mut people) = (PageRecords::default(), People::default());
    let (mut mapped, mut found) = (Vec::new(), HashSet::new());
    let (rows, elsewhere) = by_selection(api, last_rows(&rows)).await?;
    for issue in elsewhere {
        records.gone.push(GoneRecord {
            item_ref_key: issue.id.clone(),
            reason: "transferred",
            proof: format!(
                "Jira answered that it is {} in a project that the instance's settings leave out",
                issue.key
            ),
        });
        found.extend([issue.id, issue.key]);
    }
    for raw in rows {
        match mapper.issue(raw, &mut records, &mut people) {
            Ok(new) => {
                let item = &records.items[new.index];
                found.extend([item.source_id.clone(), item.source_key.clone()]);
                mapped.push((new, raw));
            }
            Err(error) => {
                // It is there, though it cannot be read.
                let broken = unmapped(Stream::Issues, raw.get(), error);
                found.insert(broken.source_id.clone());
                if let Ok(issue) = serde_json::from_str::<Issue<'_>>(raw.get()) {
                    found.insert(issue.key);
                }
                records.unmapped.push(broken);
            }
        }
    }
    epics::resolve(api, &mapped, &mut records).await?;
    records.users = people.into_records();
    Ok((records, found))
}

/// Takes out the issues of projects that are not selected. A webhook that was set up by hand may tell of every project, and
/// an issue may have been moved to another.
async fn by_selection<'a>(
    api: &Api<'_>,
    rows: Vec<&'a RawValue>,
) -> Result<(Vec<&'a RawValue>, Vec<Issue<'a>>), SourceError> {
    let Some(keys) = &api.settings.projects else { return Ok((rows, Vec::new())) };
    let project =
        |raw: &RawValue| serde_json::from_str::<Issue<'_>>(raw.get()).ok()?.get::<Project>("project");
    let projects: Vec<Option<Project>> = rows.iter().map(|raw| project(raw)).collect();
    let is_named = |project: &Project| keys.iter().any(|key| key.eq_ignore_ascii_case(&project.key));
    if projects.iter().flatten().all(is_named) {
        return Ok((rows, Vec::new()));
    }
    // Another key may be the new one of a project that was selected by its old one.
    let selected = account::selected_ids(api, keys).await?;
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    for (raw, project) in rows.into_iter().zip(projects) {
        let is_here = project.is_none_or(|project| is_named(&project) || selected.contains(&project.id));
        match serde_json::from_str(raw.get()) {
            Ok(issue) if !is_here => elsewhere.push(issue),
            // One that cannot be read is told by the mapper.
            _ => here.push(raw),
        }
    }
    Ok((here, elsewhere))
}

/// What became of issues that Jira left out. It leaves out alike what is deleted and what may not be seen: an issue is
/// proved to be deleted by a direct read of it that finds nothing, in a project that can be seen.
async fn prove(
    api: &Api<'_>,
    absent: &[&ItemAddress],
    fetched: &mut FetchedItems,
) -> Result<(), SourceError> {
    let projects: BTreeSet<&str> = absent.iter().filter_map(|address| project_of(address)).collect();
    let mut visible = HashSet::new();
    for key in projects {
        match api
            .get(&api.rest(&format!("/project/{}", segment(key))), &[], &format!("the project {key}"))
            .await
        {
            Ok(_) => {
                visible.insert(key);
            }
            Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Forbidden) => {}
            Err(error) => return Err(error),
        }
    }
    for address in absent {
        let mut invisible = |why: String| fetched.invisible.push(((*address).clone(), why));
        let Some(project) = project_of(address) else {
            invisible("Jira does not show it, and without its key its project is not known".into());
            continue;
        };
        if !visible.contains(project) {
            invisible(format!("the account may not browse the project {project}, or it is gone"));
            continue;
        }
        let Some(name) = [&address.source_id, &address.ref_key, &address.key].into_iter().flatten().next()
        else {
            continue;
        };
        let path = api.rest(&format!("/issue/{}", segment(name)));
        match api.get(&path, &[("fields", "created")], &format!("the issue {name}")).await {
            Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Gone) => {
                let ref_key = address.ref_key.clone().or_else(|| address.source_id.clone());
                match ref_key {
                    Some(item_ref_key) => fetched.records.gone.push(GoneRecord {
                        item_ref_key,
                        reason: "deleted",
                        proof: format!(
                            "Jira answered {} for the issue, and shows its project {project}",
                            error.upstream_status.unwrap_or(404)
                        ),
                    }),
                    None => invisible("Jira does not show it, and its id is not known".into()),
                }
            }
            Err(error) if error.kind == SourceErrorKind::Forbidden => invisible(error.message),
            Err(error) => return Err(error),
            // It is there again, or the index lags: the next look finds it.
            Ok(_) => invisible("Jira shows it by itself, but leaves it out of lists".into()),
        }
    }
    Ok(())
}

fn project_of(address: &ItemAddress) -> Option<&str> {
    let (project, number) = address.key.as_deref()?.rsplit_once('-')?;
    (!project.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(project)
}
