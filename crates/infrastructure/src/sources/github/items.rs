//! Items by themselves: their ids, one after another as they are asked for, and kept ones mapped anew.

use std::collections::HashMap;

use application::ports::{
    FetchedItems, IdPage, ItemAddress, ListedId, PageRequest, PendingItem, ProjectRef, RawObject,
    SourceError, SourceErrorKind,
};
use domain::record::GoneRecord;
use domain::{Cursor, PageRecords, StreamName};
use serde_json::value::RawValue;

use super::api::{Api, rows};
use super::details::{self, Found};
use super::model::{Issue, Repository};
use super::people::People;
use super::settings::{Settings, Stream};
use super::unmapped::unmapped;
use super::{account, malformed, model, normalize, walk};

/// The ids of a repository's items, pull requests among them. It walks as the sync does, because a list by number would
/// pass over what moves.
pub(super) async fn list_ids(
    api: &Api<'_>,
    project: &ProjectRef,
    cursor: Option<&Cursor>,
) -> Result<IdPage, SourceError> {
    let stream = StreamName::new(Stream::Issues.name());
    let request = PageRequest {
        stream: &stream,
        project: Some(project),
        items: &[],
        cursor,
        since: None,
        validator: None,
    };
    let page = walk::fetch(api, Stream::Issues, project, &request).await?;
    let mut ids: Vec<ListedId> = page
        .records
        .items
        .into_iter()
        .map(|item| ListedId {
            source_id: item.source_id,
            key: Some(item.source_key),
            updated_at: Some(item.updated_at),
        })
        .collect();
    // What cannot be mapped is there all the same.
    ids.extend(page.records.unmapped.into_iter().map(|broken| ListedId {
        source_id: broken.source_id,
        key: None,
        updated_at: None,
    }));
    Ok(IdPage { ids, next: page.next })
}

/// What is known of repositories while items are read.
struct Repositories<'a> {
    api: &'a Api<'a>,
    by_name: HashMap<String, ProjectRef>,
    listed: Option<Vec<ProjectRef>>,
    readable: HashMap<String, bool>,
}

/// Reads items one after another, each with its comments and history.
pub(super) async fn fetch(api: &Api<'_>, addresses: &[ItemAddress]) -> Result<FetchedItems, SourceError> {
    let mut repositories =
        Repositories { api, by_name: HashMap::new(), listed: None, readable: HashMap::new() };
    let (mut fetched, mut people) = (FetchedItems::default(), People::default());
    for address in addresses {
        let (mut own, mut own_people) = (PageRecords::default(), People::default());
        match read(&mut repositories, address, &mut own, &mut own_people).await {
            Ok(None) => {}
            Ok(Some(why)) => fetched.invisible.push((address.clone(), why)),
            // One repository that is hidden keeps the others from nothing.
            Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Forbidden) => {
                fetched.invisible.push((address.clone(), error.message));
                continue;
            }
            Err(error) => return Err(error),
        }
        fetched.records.append(own);
        people.extend(own_people);
    }
    fetched.records.users = people.into_records();
    Ok(fetched)
}

/// Reads one item; answers why it cannot be seen.
async fn read(
    repositories: &mut Repositories<'_>,
    address: &ItemAddress,
    records: &mut PageRecords,
    people: &mut People,
) -> Result<Option<String>, SourceError> {
    let api = repositories.api;
    let Some((project, number)) = repositories.locate(address).await? else {
        return Ok(Some("GitHub finds an item by its repository and number only".to_owned()));
    };
    let item = PendingItem {
        ref_key: normalize::ref_key(&project, number),
        source_key: format!("{}#{number}", project.key),
        is_pull_request: false,
        source_id: address.source_id.clone().unwrap_or_default(),
        noted: None,
        project,
    };
    let url = api.url(&format!("/repos/{}/issues/{number}", item.project.key))?;
    let answer = match details::find(api, &item, number, &url).await? {
        Found::Answer(answer) => answer,
        Found::Gone(gone) => {
            records.gone.push(gone);
            return Ok(None);
        }
        Found::NotVisible => {
            if !repositories.shows_issues(&item.project).await? {
                return Ok(Some(format!("GitHub shows no issues of {}", item.project.key)));
            }
            records.gone.push(GoneRecord {
                item_ref_key: item.ref_key,
                reason: "deleted",
                proof: "404, while the repository and its other issues can be read".to_owned(),
            });
            return Ok(None);
        }
    };
    let text = answer.text();
    let raw: &RawValue = serde_json::from_str(&text).map_err(|error| {
        malformed(format!("GitHub's answer for {} is no JSON ({error})", item.source_key))
    })?;
    let mut scratch = String::new();
    let issue: Issue<'_> = match model::read(raw.get(), &mut scratch) {
        Ok(issue) => issue,
        Err(error) => {
            records.unmapped.push(unmapped(Stream::Issues, raw.get(), &error.to_string()));
            return Ok(None);
        }
    };
    if address.source_id.as_ref().is_some_and(|id| *id != issue.id.to_string()) {
        return Ok(Some(format!("{} is another item now", item.source_key)));
    }
    let item = PendingItem { is_pull_request: issue.pull_request.is_some(), ..item };
    let has_details = api.settings.reads(Stream::Details);
    records.items.push(normalize::item(&item.project, &issue, raw, has_details, people));
    if has_details {
        details::read(api, &item, records, people).await?;
        records.details_done.push(item.ref_key);
    }
    Ok(None)
}

impl Repositories<'_> {
    /// The repository and number of an address.
    async fn locate(&mut self, address: &ItemAddress) -> Result<Option<(ProjectRef, u64)>, SourceError> {
        let split = |key: &str| {
            let (place, number) = key.rsplit_once('#')?;
            Some((place.to_owned(), number.parse::<u64>().ok()?))
        };
        let by_ref = address.ref_key.as_deref().and_then(split);
        let by_key = address.key.as_deref().and_then(split);
        match (by_ref, by_key) {
            (Some((id, number)), Some((name, same))) if number == same => {
                Ok(Some((ProjectRef { source_id: id, key: name }, number)))
            }
            (_, Some((name, number))) => Ok(Some((self.named(&name).await?, number))),
            (Some((id, number)), None) => {
                if self.listed.is_none() {
                    self.listed = Some(account::list_projects(self.api).await?);
                }
                let found = self.listed.iter().flatten().find(|project| project.source_id == id).cloned();
                Ok(found.map(|project| (project, number)))
            }
            (None, None) => Ok(None),
        }
    }

    async fn named(&mut self, name: &str) -> Result<ProjectRef, SourceError> {
        if let Some(known) = self.by_name.get(name) {
            return Ok(known.clone());
        }
        let found = account::repository(self.api, name).await?;
        self.by_name.insert(name.to_owned(), found.project.clone());
        Ok(found.project)
    }

    /// Whether any issue of the repository can be read, so that one that cannot is not there.
    async fn shows_issues(&mut self, project: &ProjectRef) -> Result<bool, SourceError> {
        if let Some(known) = self.readable.get(&project.key) {
            return Ok(*known);
        }
        let url = self.api.url(&format!("/repos/{}/issues?state=all&per_page=1", project.key))?;
        let shows = match self.api.get(&url, None, &project.key).await {
            Ok(answer) => !rows(&answer.text())?.is_empty(),
            Err(error)
                if matches!(
                    error.kind,
                    SourceErrorKind::NotFound | SourceErrorKind::Forbidden | SourceErrorKind::Gone
                ) =>
            {
                false
            }
            Err(error) => return Err(error),
        };
        self.readable.insert(project.key.clone(), shows);
        Ok(shows)
    }
}

/// Maps kept issues anew. A kept issue names its repository; the repository's id is known when the repository comes
/// along, and empty otherwise.
pub(super) fn map_raw(settings: &Settings, raw: &[RawObject]) -> PageRecords {
    let (mut records, mut people) = (PageRecords::default(), People::default());
    let of = |stream: Stream| raw.iter().filter(move |object| object.stream.as_str() == stream.name());
    let ids: HashMap<String, String> = of(Stream::Repository)
        .filter_map(|object| serde_json::from_str::<Repository<'_>>(object.payload.get()).ok())
        .map(|repository| (repository.full_name.to_string(), repository.id.to_string()))
        .collect();
    // Items that were read by themselves came with a stream of another name.
    for object in raw.iter().filter(|object| object.stream.as_str() != Stream::Repository.name()) {
        let text = object.payload.get();
        let mut scratch = String::new();
        match model::read::<Issue<'_>>(text, &mut scratch) {
            Ok(issue) => {
                let key = normalize::repository_of(&issue).unwrap_or_default();
                let project = ProjectRef { source_id: ids.get(&key).cloned().unwrap_or_default(), key };
                let has_details = settings.reads(Stream::Details);
                records.items.push(normalize::item(
                    &project,
                    &issue,
                    &object.payload,
                    has_details,
                    &mut people,
                ));
            }
            Err(error) => records.unmapped.push(unmapped(Stream::Issues, text, &error.to_string())),
        }
    }
    records.users = people.into_records();
    records
}
