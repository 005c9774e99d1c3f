//! Reads a project's tasks, and the tasks that are part of them.
//!
//! A change of a subtask does not touch the task it is part of, and no list of a project holds it: it is found by the
//! project's events. Where those are lost (a first pass, a token older than a day) the subtasks of every task are read
//! again. The token for the next pass is taken before anything is read, so that a change in between is told again; and it
//! is handed over with the last page, so that a pass which is given up changes nothing.

use std::collections::BTreeSet;

use application::ports::{Page, PageRequest, ProjectRef, SourceError, SourceErrorKind};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use domain::record::GoneRecord;
use domain::{Cursor, PageRecords};
use serde::{Deserialize, Serialize};

use super::api::{Api, Rows};
use super::model::TaskPlace;
use super::names::each;
use super::normalize::TASK_FIELDS;
use super::tasks::{Home, Homes, Row, home, map, place};
use super::{events, malformed};

/// What an incremental pass asks for again, because changes may show up late.
const OVERLAP: TimeDelta = TimeDelta::minutes(5);
/// Lists of subtasks read for one page.
const PARENTS_PER_PAGE: usize = 12;
/// Tasks read by themselves for one page.
const TOUCHED_PER_PAGE: usize = 24;
/// A list that is longer than this goes round in circles.
const MOST_PAGES: u32 = 20_000;
/// How often a list is begun anew because its position expired.
const MOST_RESTARTS: u32 = 3;

/// Which part of a pass is next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// The project's list.
    #[default]
    Tasks,
    /// The project's list again, for the tasks alone that have subtasks.
    Parents,
    /// Tasks that events told of and no list held.
    Touched,
}

/// Where a pass goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    step: Step,
    /// When the pass began, by Asana's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began: Option<DateTime<Utc>>,
    /// The token for the next pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<DateTime<Utc>>,
    /// Events are lost, so that every list of subtasks is to be read.
    #[serde(default)]
    lost: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<String>,
    /// Tasks of the lists read so far whose subtasks are to be read before the list goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parents: Vec<Parent>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    touched: BTreeSet<String>,
    #[serde(default)]
    pages: u32,
    #[serde(default)]
    restarts: u32,
    /// The first row of the last page: one that comes again leads nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_first: Option<String>,
    #[serde(default)]
    stalls: u32,
}

/// A list of subtasks to be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Parent {
    pub(super) gid: String,
    /// The project of those subtasks that are in none themselves.
    pub(super) project: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) offset: Option<String>,
    #[serde(default)]
    pub(super) level: u8,
}

/// One page of the stream of tasks.
pub(super) async fn fetch(
    api: &Api<'_>,
    project: &ProjectRef,
    request: &PageRequest<'_>,
) -> Result<Page, SourceError> {
    let mut position = match request.cursor {
        Some(Cursor(cursor)) => Position::deserialize(cursor)
            .map_err(|_| malformed("the stored position of the tasks has an unknown form"))?,
        None => begin(api, project, request).await?,
    };
    let estimate = request.cursor.is_none();
    let mut page = Page::default();
    let done = if position.parents.is_empty() {
        match position.step {
            Step::Tasks | Step::Parents => list(api, project, &mut position, &mut page).await?,
            Step::Touched => touched(api, &mut position, &mut page).await?,
        }
    } else {
        subtasks(api, &mut position, &mut page).await?;
        false
    };
    // What changed while the pass went on may have been passed already.
    page.watermark = position.began.and_then(|began| page.watermark.map(|seen| seen.min(began)));
    if estimate && position.offset.is_none() && position.parents.is_empty() {
        page.total_estimate = i64::try_from(page.records.items.len()).ok();
    }
    position.pages += 1;
    if position.pages > MOST_PAGES {
        return Err(malformed(format!("Asana's tasks of the project {} do not end", project.key)));
    }
    if done {
        page.validator = position.token;
    } else {
        page.next = Some(cursor(&position)?);
    }
    Ok(page)
}

fn cursor(position: &Position) -> Result<Cursor, SourceError> {
    serde_json::to_value(position)
        .map(Cursor)
        .map_err(|error| malformed(format!("the position cannot be written ({error})")))
}

/// Takes the token before anything is read.
async fn begin(
    api: &Api<'_>,
    project: &ProjectRef,
    request: &PageRequest<'_>,
) -> Result<Position, SourceError> {
    let token = request.validator.filter(|_| request.since.is_some());
    let told = events::since(api, &project.source_id, token).await?;
    Ok(Position {
        began: told.answered_at,
        token: told.token,
        since: request.since.map(|since| since - OVERLAP),
        lost: told.tasks.is_none(),
        touched: told.tasks.unwrap_or_default(),
        ..Position::default()
    })
}

/// One page of the project's list; true when the pass is done.
async fn list(
    api: &Api<'_>,
    project: &ProjectRef,
    position: &mut Position,
    page: &mut Page,
) -> Result<bool, SourceError> {
    let gid = project.source_id.as_str();
    let what = format!("the tasks of the project {gid}");
    let since = position.since.map(|since| since.to_rfc3339_opts(SecondsFormat::Millis, true));
    let mut query = vec![("project", gid)];
    if position.step == Step::Tasks {
        query.extend(since.as_deref().map(|since| ("modified_since", since)));
        query.push(("opt_fields", TASK_FIELDS));
    } else {
        query.push(("opt_fields", "memberships,memberships.project,num_subtasks"));
    }
    let Some(rows) =
        restartable(api, "/tasks", &query, &mut position.offset, &mut position.restarts, &what).await?
    else {
        return Ok(false);
    };
    position.began = position.began.or(rows.answered_at);
    stall(position, &rows, &what)?;
    // Where events are lost, the second list holds every task with subtasks, those of the first among them.
    let follow = position.step == Step::Parents || !position.lost || position.since.is_none();
    let mut received = Vec::with_capacity(rows.rows.len());
    for raw in rows.rows {
        let place = place(&raw);
        let own = place.as_ref().and_then(|place| home(&place.memberships, &api.settings)).unwrap_or(gid);
        if let Some(place) = &place {
            if position.step == Step::Tasks {
                position.touched.remove(&place.gid);
                page.watermark = page.watermark.max(place.modified_at);
            }
            // A task in several projects is followed from the one it counts as its own.
            if place.num_subtasks > 0 && own == gid && follow {
                position.parents.push(parent(place, own, 0));
            }
        }
        let project = own.to_owned();
        received.push(Row { raw, project });
    }
    if position.step == Step::Tasks {
        map(api, &received, &mut page.records).await?;
    }
    position.offset = rows.next;
    if position.offset.is_some() {
        return Ok(false);
    }
    (position.last_first, position.stalls) = (None, 0);
    position.step = match position.step {
        Step::Tasks if position.lost && position.since.is_some() => Step::Parents,
        _ => Step::Touched,
    };
    Ok(position.step == Step::Touched && position.parents.is_empty() && position.touched.is_empty())
}

pub(super) fn parent(place: &TaskPlace, project: &str, level: u8) -> Parent {
    Parent { gid: place.gid.clone(), project: project.to_owned(), offset: None, level }
}

/// A page of a list; `None` when its position expired and the list is to be begun anew.
pub(super) async fn restartable(
    api: &Api<'_>,
    path: &str,
    query: &[(&str, &str)],
    offset: &mut Option<String>,
    restarts: &mut u32,
    what: &str,
) -> Result<Option<Rows>, SourceError> {
    match api.list(path, query, offset.as_deref(), what).await {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if error.upstream_status == Some(400) && offset.is_some() && *restarts < MOST_RESTARTS => {
            *offset = None;
            *restarts += 1;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn stall(position: &mut Position, rows: &Rows, what: &str) -> Result<(), SourceError> {
    let first =
        rows.rows.first().map(|row| row.get().get(..200.min(row.get().len())).unwrap_or_default().to_owned());
    if first.is_some() && first == position.last_first {
        position.stalls += 1;
    } else {
        position.stalls = 0;
    }
    if position.stalls >= 2 {
        return Err(malformed(format!(
            "Asana's list of {what} does not move on: its next page was read before"
        )));
    }
    position.last_first = first;
    Ok(())
}

/// Reads a page of several lists of subtasks.
async fn subtasks(api: &Api<'_>, position: &mut Position, page: &mut Page) -> Result<(), SourceError> {
    let count = position.parents.len().min(PARENTS_PER_PAGE);
    // From the end: what they bring is read before the rest, so that the queue stays short.
    let batch = position.parents.split_off(position.parents.len() - count);
    let (found, mut rest, vanished) = read_subtasks(api, batch, TASK_FIELDS).await?;
    for place in found.iter().filter_map(|(place, _)| place.as_ref()) {
        position.touched.remove(&place.gid);
    }
    let rows: Vec<Row> = found.into_iter().map(|(_, row)| row).collect();
    map(api, &rows, &mut page.records).await?;
    position.parents.append(&mut rest);
    // Read by itself, such a task proves to be gone or comes back.
    position.touched.extend(vanished);
    Ok(())
}

/// One page each of several lists of subtasks: the rows with their project, lists that go on or were found below, and
/// tasks that are not there any more.
pub(super) async fn read_subtasks(
    api: &Api<'_>,
    batch: Vec<Parent>,
    fields: &str,
) -> Result<(Vec<(Option<TaskPlace>, Row)>, Vec<Parent>, Vec<String>), SourceError> {
    let list = |parent: Parent| async move {
        let what = format!("the subtasks of the task {}", parent.gid);
        let path = format!("/tasks/{}/subtasks", parent.gid);
        match api.list(&path, &[("opt_fields", fields)], parent.offset.as_deref(), &what).await {
            Ok(rows) => Ok((parent, Some(rows))),
            Err(error) if matches!(error.upstream_status, Some(403 | 404)) => Ok((parent, None)),
            // The position expired: this list is short and is read from its beginning.
            Err(error) if error.upstream_status == Some(400) && parent.offset.is_some() => {
                let rows = api.list(&path, &[("opt_fields", fields)], None, &what).await?;
                Ok((parent, Some(rows)))
            }
            Err(error) => Err(error),
        }
    };
    let (lists, failed) = each(batch.into_iter().map(list).collect()).await;
    if let Some(error) = failed {
        return Err(error);
    }
    let (mut found, mut rest, mut vanished) = (Vec::new(), Vec::new(), Vec::new());
    for (parent_of, rows) in lists {
        let Some(rows) = rows else {
            vanished.push(parent_of.gid);
            continue;
        };
        for raw in rows.rows {
            let place = place(&raw);
            let own = place.as_ref().and_then(|place| home(&place.memberships, &api.settings));
            let project = own.unwrap_or(&parent_of.project).to_owned();
            if let Some(place) = place.as_ref().filter(|place| place.num_subtasks > 0 && parent_of.level < 10)
            {
                rest.push(parent(place, &project, parent_of.level + 1));
            }
            found.push((place, Row { raw, project }));
        }
        if rows.next.is_some() {
            rest.push(Parent { offset: rows.next, ..parent_of });
        }
    }
    Ok((found, rest, vanished))
}

/// Reads tasks that events told of; true when the pass is done.
async fn touched(api: &Api<'_>, position: &mut Position, page: &mut Page) -> Result<bool, SourceError> {
    let batch: Vec<String> = position.touched.iter().take(TOUCHED_PER_PAGE).cloned().collect();
    let mut homes = Homes::default();
    let Read { places, strayed } = read(api, batch.clone(), &mut homes, &mut page.records).await?;
    for place in places {
        // A task that came back from the trash brings its subtasks with it.
        if let Some((place, project)) = place.filter(|(place, _)| place.num_subtasks > 0) {
            position.parents.push(parent(&place, &project, 0));
        }
    }
    for gid in &batch {
        position.touched.remove(gid);
    }
    // A task that left takes its subtasks along; each is looked at by itself.
    let mut lists: Vec<Parent> = strayed.iter().map(|place| parent(place, "", 0)).collect();
    while !lists.is_empty() {
        let (found, rest, _) = read_subtasks(api, lists, TASK_FIELDS).await?;
        position.touched.extend(found.into_iter().filter_map(|(place, _)| Some(place?.gid)));
        lists = rest;
    }
    Ok(position.touched.is_empty() && position.parents.is_empty())
}

/// Tasks that were read by themselves.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Where each belongs, in the order asked for; `None` for those that are not there.
    pub(super) places: Vec<Option<(TaskPlace, String)>>,
    /// Those with subtasks that are in no project that is read any more.
    pub(super) strayed: Vec<TaskPlace>,
}

/// Reads tasks by themselves. Answers where those belong that are there; what is gone is noted with its proof.
pub(super) async fn read(
    api: &Api<'_>,
    gids: Vec<String>,
    homes: &mut Homes,
    records: &mut PageRecords,
) -> Result<Read, SourceError> {
    let get = |gid: String| async move {
        let what = format!("the task {gid}");
        match api.object(&format!("/tasks/{gid}"), &[("opt_fields", TASK_FIELDS)], &what).await {
            Ok(raw) => Ok((gid, Ok(raw))),
            Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Gone) => {
                Ok((gid, Err(true)))
            }
            Err(error) if error.upstream_status == Some(403) => Ok((gid, Err(false))),
            Err(error) => Err(error),
        }
    };
    let (answers, failed) = each(gids.into_iter().map(get).collect()).await;
    if let Some(error) = failed {
        return Err(error);
    }
    let (mut rows, mut places, mut strayed) = (Vec::new(), Vec::new(), Vec::new());
    for (gid, answer) in answers {
        let raw = match answer {
            Ok(raw) => raw,
            Err(gone) => {
                if gone {
                    records.gone.push(deleted(&gid));
                }
                places.push(None);
                continue;
            }
        };
        let Some(place) = place(&raw) else {
            rows.push(Row { raw, project: String::new() });
            places.push(None);
            continue;
        };
        let project = match homes.find(api, &place).await? {
            Home::Project(project) => project,
            nowhere => {
                // What it is a part of may be hidden from this token, which proves nothing.
                if nowhere == Home::Nowhere {
                    records.gone.push(moved_away(&gid));
                    if place.num_subtasks > 0 {
                        strayed.push(place);
                    }
                }
                places.push(None);
                continue;
            }
        };
        rows.push(Row { raw, project: project.clone() });
        places.push(Some((place, project)));
    }
    map(api, &rows, records).await?;
    Ok(Read { places, strayed })
}

pub(super) fn deleted(gid: &str) -> GoneRecord {
    GoneRecord {
        item_ref_key: gid.to_owned(),
        reason: "deleted",
        proof: format!("GET /tasks/{gid} answered 404"),
    }
}

fn moved_away(gid: &str) -> GoneRecord {
    GoneRecord {
        item_ref_key: gid.to_owned(),
        reason: "transferred",
        proof: format!("GET /tasks/{gid} answered that it is in none of the projects that are read"),
    }
}
