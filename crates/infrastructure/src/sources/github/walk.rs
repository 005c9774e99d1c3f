//! Reads what grows without bound, in the order of change: issues and comments.
//!
//! Pages are cut by time, not by number: the next request asks for what changed at or after the last change seen.
//! A row that changes meanwhile moves to the end and is met there; nothing moves into a gap. Only where a whole
//! page has one timestamp does that not lead on. From there the rest is read in the order of creation, by the
//! links GitHub gives: rows enter that order but never leave it, so again none can be missed.

use application::ports::{Page, PageRequest, ProjectRef, SourceError, SourceErrorKind};
use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta};
use domain::{Cursor, PageRecords};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::refusals;
use super::api::{Answer, Api, rows};
use super::model::{Comment, Issue, Time};
use super::people::People;
use super::settings::Stream;
use super::unmapped::unmapped;
use super::{malformed, model, normalize};

/// Rows of a full page.
const PAGE_ROWS: usize = 100;
/// What an incremental pass asks for again, because changes may show up late.
const OVERLAP: TimeDelta = TimeDelta::seconds(60);
/// A walk by links that is longer than this goes round in circles.
const MAX_LINKED_PAGES: u32 = 20_000;

/// Where a pass goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    /// What changed at or after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Time>,
    /// Path and query of a link to follow instead of asking by `since`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Set while reading in the order of creation: when that began, by GitHub's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by_creation: Option<Time>,
    /// The latest creation met in that order, and the last row's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_id: Option<u64>,
    /// Pages in a row that led nowhere.
    #[serde(default, skip_serializing_if = "is_zero")]
    stalls: u32,
    /// Links followed.
    #[serde(default, skip_serializing_if = "is_zero")]
    links: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What a page's rows tell about the order they are in.
#[derive(Debug, Default)]
struct Extent {
    updated: Option<Time>,
    created: Option<Time>,
    last_id: Option<u64>,
}

/// The part of a row that leads on, also when the rest cannot be mapped.
#[derive(Deserialize)]
struct Stamp {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    created_at: Option<Time>,
    #[serde(default)]
    updated_at: Option<Time>,
}

/// One page of a stream.
pub(super) async fn fetch(
    api: &Api<'_>,
    stream: Stream,
    project: &ProjectRef,
    request: &PageRequest<'_>,
) -> Result<Page, SourceError> {
    let first = request.cursor.is_none();
    let position = match request.cursor {
        Some(Cursor(cursor)) => Position::deserialize(cursor).map_err(|_| {
            malformed(format!("the stored position of {} has an unknown form", stream.name()))
        })?,
        None => Position { since: request.since.map(|since| since - OVERLAP), ..Position::default() },
    };
    let url = match &position.next {
        Some(next) => api.follow(next)?,
        None => api.url(&path(stream, project, &position))?,
    };
    let asked = path_and_query(&url);
    let what = format!("the {} of {}", stream.name().replace('_', " "), project.key);
    let validator = request.validator.filter(|_| first).and_then(|validator| etag_for(validator, &asked));
    let answer = match api.get(&url, validator, &what).await {
        Ok(answer) => answer,
        // A repository whose issues are switched off has none.
        Err(error) if error.kind == SourceErrorKind::Gone && error.message.contains("disabled") => {
            return Ok(Page::default());
        }
        Err(error) => return Err(error),
    };
    if answer.not_modified {
        return Ok(Page { not_modified: true, ..Page::default() });
    }
    let text = answer.text();
    let rows = rows(&text)?;
    let (records, extent) = map(api, stream, project, &rows);
    let next = go_on(api, &position, &answer, &extent, &asked)?;
    let only = first && next.is_none();
    let pages = answer.links.pages().map(|pages| pages.saturating_mul(100));
    let row_count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    Ok(Page {
        // A full page stays the same when a row is added behind it.
        validator: answer
            .etag()
            .filter(|_| only && rows.len() < PAGE_ROWS)
            .map(|etag| format!("{etag} {asked}")),
        total_estimate: if !first {
            None
        } else if next.is_none() {
            Some(row_count)
        } else {
            pages
        },
        next: next.map(|next| serde_json::to_value(next).map(Cursor)).transpose().map_err(|error| {
            SourceError::new(SourceErrorKind::Malformed, format!("the position cannot be written ({error})"))
        })?,
        // In the order of creation, what changed after its beginning may have been passed already.
        watermark: match position.by_creation {
            Some(began) => extent.updated.map(|updated| updated.min(began)),
            None => extent.updated,
        },
        not_modified: false,
        records,
    })
}

fn path(stream: Stream, project: &ProjectRef, position: &Position) -> String {
    let list = match stream {
        Stream::Comments => "issues/comments?",
        Stream::ReviewComments => "pulls/comments?",
        _ => "issues?state=all&",
    };
    let sort = if position.by_creation.is_some() { "created" } else { "updated" };
    let since = position.since.map_or(String::new(), |since| {
        format!("&since={}", since.to_rfc3339_opts(SecondsFormat::Secs, true))
    });
    format!("/repos/{}/{list}sort={sort}&direction=asc&per_page={PAGE_ROWS}{since}", project.key)
}

/// The ETag of a stored validator, when it belongs to this very request.
fn etag_for<'v>(validator: &'v str, asked: &str) -> Option<&'v str> {
    validator.rsplit_once(' ').filter(|(_, path)| *path == asked).map(|(etag, _)| etag)
}

fn path_and_query(url: &url::Url) -> String {
    url[url::Position::BeforePath..url::Position::AfterQuery].to_owned()
}

/// Where to go on; `None` when GitHub names no next page.
fn go_on(
    api: &Api<'_>,
    position: &Position,
    answer: &Answer,
    extent: &Extent,
    asked: &str,
) -> Result<Option<Position>, SourceError> {
    let Some(next) = &answer.links.next else { return Ok(None) };
    // `since` has whole seconds: a fraction would make the same second look like progress for ever.
    let updated = extent.updated.map(|updated| updated.trunc_subsecs(0));
    if position.by_creation.is_none()
        && let Some(updated) = updated
    {
        let advances = position.since.is_none_or(|since| updated > since);
        if advances {
            return Ok(Some(Position { since: Some(updated), ..Position::default() }));
        }
        let now = refusals::answered_at(&answer.headers).unwrap_or(DateTime::UNIX_EPOCH).max(updated);
        return Ok(Some(Position { since: position.since, by_creation: Some(now), ..Position::default() }));
    }
    let next = path_and_query(&api.follow(next)?);
    let new = extent.created > position.created;
    let stalled = extent.last_id.is_none()
        || extent.last_id == position.last_id
        || extent.created < position.created
        || next == asked;
    let stalls = if stalled {
        position.stalls + 1
    } else if new {
        0
    } else {
        position.stalls
    };
    let links = position.links + 1;
    if stalls >= 2 || links > MAX_LINKED_PAGES {
        return Err(malformed("GitHub's list does not move on: its next page leads back to what was read"));
    }
    Ok(Some(Position {
        since: position.since,
        next: Some(next),
        by_creation: position.by_creation,
        created: extent.created.max(position.created),
        last_id: extent.last_id.or(position.last_id),
        stalls,
        links,
    }))
}

fn map(api: &Api<'_>, stream: Stream, project: &ProjectRef, rows: &[&RawValue]) -> (PageRecords, Extent) {
    let has_details = api.settings.reads(Stream::Details);
    let (mut records, mut people, mut extent) =
        (PageRecords::default(), People::default(), Extent::default());
    for raw in rows {
        let stamp = match map_row(stream, project, raw, has_details, &mut records, &mut people) {
            Ok(stamp) => Some(stamp),
            Err(error) => {
                records.unmapped.push(unmapped(stream, raw.get(), &error));
                serde_json::from_str(raw.get()).ok()
            }
        };
        let Some(stamp) = stamp else { continue };
        extent.updated = extent.updated.max(stamp.updated_at);
        extent.created = extent.created.max(stamp.created_at);
        extent.last_id = stamp.id.or(extent.last_id);
    }
    records.users = people.into_records();
    (records, extent)
}

fn map_row(
    stream: Stream,
    project: &ProjectRef,
    raw: &RawValue,
    has_details: bool,
    records: &mut PageRecords,
    people: &mut People,
) -> Result<Stamp, String> {
    let wrong = |error: serde_json::Error| error.to_string();
    let mut scratch = String::new();
    match stream {
        Stream::Issues => {
            let issue: Issue<'_> = model::read(raw.get(), &mut scratch).map_err(wrong)?;
            records.items.push(normalize::item(project, &issue, raw, has_details, people));
            Ok(Stamp {
                id: Some(issue.id),
                created_at: Some(issue.created_at),
                updated_at: Some(issue.updated_at),
            })
        }
        _ => {
            let comment: Comment<'_> = model::read(raw.get(), &mut scratch).map_err(wrong)?;
            let kind = if stream == Stream::ReviewComments { "review_comment" } else { "comment" };
            records.comments.push(normalize::comment(project, &comment, kind, people)?);
            Ok(Stamp {
                id: Some(comment.id),
                created_at: Some(comment.created_at),
                updated_at: Some(comment.updated_at),
            })
        }
    }
}
