//! Reads a project's tasks, and the tasks that are part of them.
//!
//! A change of a subtask does not touch the task it is part of, and no list of a project holds it: it is found by the
//! project's events. Where those are lost (a first pass, a token older than a day) the subtasks of every task are read
//! again. The token for the next pass is taken before anything is read, so that a change in between is told again; and it
//! is handed over with the last page, so that a pass which is given up changes nothing.

use std::collections::BTreeSet;

use application::ports::{Page, PageRequest, ProjectRef, SourceError};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use domain::Cursor;
use serde::{Deserialize, Serialize};

use super::super::circle::Circle;
use super::api::{Api, Rows};
use super::normalize::TASK_FIELDS;
use super::singles::Read;
use super::subtasks::{Parent, parent};
use super::tasks::{Homes, Row, home, map, place};
use super::{events, malformed, singles, subtasks};

/// What an incremental pass asks for again, because changes may show up late.
const OVERLAP: TimeDelta = TimeDelta::minutes(5);
/// Lists of subtasks read for one page.
const PARENTS_PER_PAGE: usize = 12;
/// Tasks read by themselves for one page.
const TOUCHED_PER_PAGE: usize = 24;
/// A list that is longer than this goes round in circles.
const MOST_PAGES: u32 = 20_000;
/// Rounds of lists below a task that left; each goes a page or a level further.
const MOST_ROUNDS: u32 = 1_000;
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
    /// The positions and first rows of a list's pages.
    #[serde(default)]
    circle: Circle,
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
        follow_parents(api, &mut position, &mut page).await?;
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
    if position.offset.is_none() {
        position.circle = Circle::default();
    }
    going_on(&mut position.circle, rows.next.as_deref(), &what)?;
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
    (position.last_first, position.stalls, position.circle) = (None, 0, Circle::default());
    position.step = match position.step {
        Step::Tasks if position.lost && position.since.is_some() => Step::Parents,
        _ => Step::Touched,
    };
    Ok(position.step == Step::Touched && position.parents.is_empty() && position.touched.is_empty())
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

/// Fails when the next position of a list was one of it before.
pub(super) fn going_on(circle: &mut Circle, next: Option<&str>, what: &str) -> Result<(), SourceError> {
    match next {
        Some(next) if circle.closes_at(next) => {
            Err(malformed(format!("Asana's list of {what} does not move on: its next page was read before")))
        }
        _ => Ok(()),
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
async fn follow_parents(api: &Api<'_>, position: &mut Position, page: &mut Page) -> Result<(), SourceError> {
    let count = position.parents.len().min(PARENTS_PER_PAGE);
    // From the end: what they bring is read before the rest, so that the queue stays short.
    let batch = position.parents.split_off(position.parents.len() - count);
    let (found, mut rest, vanished) = subtasks::read(api, batch, TASK_FIELDS).await?;
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

/// Reads tasks that events told of; true when the pass is done.
async fn touched(api: &Api<'_>, position: &mut Position, page: &mut Page) -> Result<bool, SourceError> {
    let batch: Vec<String> = position.touched.iter().take(TOUCHED_PER_PAGE).cloned().collect();
    let mut homes = Homes::default();
    let Read { places, strayed } = singles::read(api, batch.clone(), &mut homes, &mut page.records).await?;
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
    let mut rounds = 0;
    while !lists.is_empty() {
        rounds += 1;
        if rounds > MOST_ROUNDS {
            return Err(malformed(
                "Asana's lists of subtasks do not end: it gave the same position again and again",
            ));
        }
        let (found, rest, _) = subtasks::read(api, lists, TASK_FIELDS).await?;
        position.touched.extend(found.into_iter().filter_map(|(place, _)| Some(place?.gid)));
        lists = rest;
    }
    Ok(position.touched.is_empty() && position.parents.is_empty())
}
