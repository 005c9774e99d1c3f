//! Reads what stands only at the item itself: its timeline, and a pull request's details and reviews.

use application::ports::{Page, PageRequest, PendingItem, SourceError, SourceErrorKind};
use domain::PageRecords;
use domain::record::GoneRecord;
use serde_json::value::RawValue;
use url::Url;

use super::api::{Answer, Api, answer, redirect, rows};
use super::model::{Comment, Pull, Repository, Review};
use super::normalize::{self, trailing_number};
use super::people::People;
use super::settings::Stream;
use super::timeline::Timeline;
use super::unmapped::unmapped;
use super::{internal, malformed, relations};

/// What became of the first request about an item.
pub(super) enum Found {
    Answer(Answer),
    Gone(GoneRecord),
    NotVisible,
}

/// The details of the items asked for. When GitHub fails on the way, those read before are handed over.
pub(super) async fn fetch(api: &Api<'_>, request: &PageRequest<'_>) -> Result<Page, SourceError> {
    let (mut records, mut people) = (PageRecords::default(), People::default());
    for item in request.items {
        let (mut own, mut own_people) = (PageRecords::default(), People::default());
        match read(api, item, &mut own, &mut own_people).await {
            Ok(()) => {}
            // Not after a limit: the caller's next call would come before the wait is over.
            Err(error)
                if error.kind == SourceErrorKind::Unavailable
                    && error.retry_after.is_none()
                    && !records.details_done.is_empty() =>
            {
                break;
            }
            Err(error) => return Err(error),
        }
        records.append(own);
        people.extend(own_people);
        records.details_done.push(item.ref_key.clone());
    }
    records.users = people.into_records();
    Ok(Page { records, ..Page::default() })
}

/// Everything that stands at the item itself. Its comments and links are complete with it, so that those deleted at
/// GitHub, of which no list tells, go here as well.
pub(super) async fn read(
    api: &Api<'_>,
    item: &PendingItem,
    records: &mut PageRecords,
    people: &mut People,
) -> Result<(), SourceError> {
    let number = item
        .source_key
        .rsplit_once('#')
        .and_then(|(_, number)| number.parse::<u64>().ok())
        .ok_or_else(|| internal(format!("{} is no key of a GitHub item", item.source_key)))?;
    let repository = &item.project.key;
    let what = &item.source_key;
    let url = api.url(&format!("/repos/{repository}/issues/{number}/timeline?per_page=100"))?;
    let first = match find(api, item, number, &url).await? {
        Found::Answer(answer) => answer,
        Found::Gone(gone) => {
            records.gone.push(gone);
            return Ok(());
        }
        Found::NotVisible => return Ok(()),
    };
    let mut timeline = Timeline::new(item, api.settings.reads(Stream::Comments));
    api.all_pages(first, what, |text| {
        timeline.read(&rows(text)?, records, people);
        Ok(())
    })
    .await?;
    let (relations, mut complete) = (timeline.relations(), timeline.has_all_comments());
    let mut links = timeline.finish(records);
    relations::read(api, item, number, relations, &mut links).await?;
    records.links.append(&mut links);
    records.links_of.push(item.ref_key.clone());
    if item.is_pull_request {
        let on_lines = read_pull_request(api, item, number, records, people).await?;
        if api.settings.reads(Stream::ReviewComments) && on_lines != Some(0) {
            complete &= read_review_comments(api, item, number, records, people).await?;
        }
    }
    if complete {
        records.comments_of.push(item.ref_key.clone());
    }
    Ok(())
}

/// Comments on lines of a pull request; answers whether all of them could be read.
async fn read_review_comments(
    api: &Api<'_>,
    item: &PendingItem,
    number: u64,
    records: &mut PageRecords,
    people: &mut People,
) -> Result<bool, SourceError> {
    let url = api.url(&format!("/repos/{}/pulls/{number}/comments?per_page=100", item.project.key))?;
    let first = api.get(&url, None, &item.source_key).await?;
    let mut complete = true;
    api.all_pages(first, &item.source_key, |text| {
        for raw in rows(text)? {
            let comment = serde_json::from_str::<Comment<'_>>(raw.get()).map_err(|error| error.to_string());
            let mapped = comment
                .and_then(|comment| normalize::comment(&item.project, &comment, "review_comment", people));
            match mapped {
                Ok(comment) => records.comments.push(comment),
                Err(error) => {
                    complete = false;
                    records.unmapped.push(unmapped(Stream::ReviewComments, raw.get(), &error));
                }
            }
        }
        Ok(())
    })
    .await?;
    Ok(complete)
}

/// Answers how many comments on its lines it has, where it tells.
async fn read_pull_request(
    api: &Api<'_>,
    item: &PendingItem,
    number: u64,
    records: &mut PageRecords,
    people: &mut People,
) -> Result<Option<u64>, SourceError> {
    let repository = &item.project.key;
    let what = &item.source_key;
    let pull = api.get(&api.url(&format!("/repos/{repository}/pulls/{number}"))?, None, what).await?;
    let text = pull.text();
    let raw: &RawValue = serde_json::from_str(&text)
        .map_err(|error| malformed(format!("GitHub's answer for {what} is no JSON ({error})")))?;
    let mut on_lines = None;
    match serde_json::from_str::<Pull<'_>>(raw.get()) {
        Ok(pull) => {
            on_lines = pull.review_comments;
            records.pull_requests.push(normalize::pull_request(&item.ref_key, &pull, people));
        }
        Err(error) => records.unmapped.push(broken(item, "pull", raw, &error)),
    }
    let url = api.url(&format!("/repos/{repository}/pulls/{number}/reviews?per_page=100"))?;
    let first = api.get(&url, None, what).await?;
    api.all_pages(first, what, |text| {
        for raw in rows(text)? {
            match serde_json::from_str::<Review<'_>>(raw.get()) {
                Ok(review) => records.reviews.push(normalize::review(&item.ref_key, &review, people)),
                Err(error) => records.unmapped.push(broken(item, "review", raw, &error)),
            }
        }
        Ok(())
    })
    .await?;
    Ok(on_lines)
}

fn broken(item: &PendingItem, part: &str, raw: &RawValue, error: &serde_json::Error) -> domain::Unmapped {
    let mut broken = unmapped(Stream::Details, raw.get(), &error.to_string());
    broken.source_id = format!("{}/{part}/{}", item.ref_key, broken.source_id);
    broken
}

/// The first request about an item, which also tells whether it is still there.
pub(super) async fn find(
    api: &Api<'_>,
    item: &PendingItem,
    number: u64,
    url: &Url,
) -> Result<Found, SourceError> {
    let response = api.send(url, None).await?;
    let gone =
        |reason, proof: String| Found::Gone(GoneRecord { item_ref_key: item.ref_key.clone(), reason, proof });
    if let Some(location) = redirect(&response) {
        let target = api.follow(location)?;
        if !leads_to_same_item(api, item, number, &target).await? {
            return Ok(gone("transferred", format!("{} redirects elsewhere", response.status.as_u16())));
        }
        return answer(api.send(&target, None).await?, &item.source_key).map(Found::Answer);
    }
    match answer(response, &item.source_key) {
        Ok(answer) => Ok(Found::Answer(answer)),
        // 410 is also said of all issues where a repository has them switched off.
        Err(error) if error.kind == SourceErrorKind::Gone && error.message.contains("disabled") => {
            Ok(Found::NotVisible)
        }
        Err(error) if error.kind == SourceErrorKind::Gone => Ok(gone("deleted", error.message)),
        Err(error) if error.kind == SourceErrorKind::NotFound => {
            // One item may be hidden; when the repository is, reading on would pass over all of them.
            let repository = api.url(&format!("/repos/{}", item.project.key))?;
            match api.get(&repository, None, &item.project.key).await {
                Ok(_) => Ok(Found::NotVisible),
                Err(error) => Err(api.blame_repository(error, &item.project)),
            }
        }
        Err(error) => Err(error),
    }
}

/// Tells a renamed repository, whose items stay what they are, from a transferred item.
async fn leads_to_same_item(
    api: &Api<'_>,
    item: &PendingItem,
    number: u64,
    target: &Url,
) -> Result<bool, SourceError> {
    let path = target.path().trim_end_matches('/').trim_end_matches("/timeline");
    if trailing_number(path) != Some(number) {
        return Ok(false);
    }
    if let Some((_, rest)) = path.split_once("/repositories/") {
        return Ok(rest.split('/').next() == Some(item.project.source_id.as_str()));
    }
    // It names a repository: the same one when the id is.
    let Some((repository, _)) = path.split_once("/issues/") else { return Ok(false) };
    let mut url = target.clone();
    url.set_path(repository);
    url.set_query(None);
    match api.get(&url, None, &item.source_key).await {
        Ok(answer) => Ok(serde_json::from_str::<Repository<'_>>(&answer.text())
            .is_ok_and(|repository| repository.id.to_string() == item.project.source_id)),
        Err(error) if error.kind == SourceErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
