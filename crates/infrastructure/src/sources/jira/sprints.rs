//! Sprints as issues tell of them, and when an issue was in which.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use domain::SprintState;
use domain::record::{SprintMembershipRecord, SprintRecord};
use serde::Deserialize;
use serde_json::Value;

use super::model::text_or_number;
use super::time::{Time, jira_time};

/// A sprint, from the agile API or out of an issue's field.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sprint {
    #[serde(default, deserialize_with = "text_or_number")]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    goal: Option<String>,
    #[serde(default, deserialize_with = "text_or_number")]
    board_id: Option<String>,
    #[serde(default, deserialize_with = "text_or_number")]
    origin_board_id: Option<String>,
    #[serde(default)]
    start_date: Option<Time>,
    #[serde(default)]
    end_date: Option<Time>,
    #[serde(default)]
    complete_date: Option<Time>,
}

impl Sprint {
    /// `None` without an id or in an unknown state.
    pub(super) fn into_record(self) -> Option<SprintRecord> {
        let source_id = self.id.filter(|id| !id.is_empty())?;
        let state = match self.state.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("future") => SprintState::Future,
            Some("active") => SprintState::Active,
            Some("closed") => SprintState::Closed,
            _ => return None,
        };
        Some(SprintRecord {
            name: self.name.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("Sprint {source_id}")),
            board_source_id: self.origin_board_id.or(self.board_id),
            goal: self.goal.filter(|goal| !goal.is_empty()),
            state,
            start_at: self.start_date.map(|time| time.0),
            end_at: self.end_date.map(|time| time.0),
            completed_at: self.complete_date.map(|time| time.0),
            source_id,
        })
    }
}

/// The sprints in the value of an issue's field: objects, or Data Center's printed form of them.
pub(super) fn in_field(value: &Value) -> Vec<Sprint> {
    let one = |value: &Value| match value {
        Value::Object(_) => serde_json::from_value(value.clone()).ok(),
        Value::String(text) => printed(text),
        _ => None,
    };
    match value {
        Value::Array(values) => values.iter().filter_map(one).collect(),
        other => one(other).into_iter().collect(),
    }
}

/// The names of the sprints in the value of an issue's field.
pub(super) fn names(value: &Value) -> Value {
    let names: Vec<Value> =
        in_field(value).into_iter().filter_map(|sprint| sprint.name.map(Value::String)).collect();
    if names.is_empty() { Value::Null } else { Value::Array(names) }
}

/// The ids of the sprints in the value of an issue's field.
pub(super) fn ids(value: &Value) -> BTreeSet<String> {
    in_field(value).into_iter().filter_map(|sprint| sprint.id).collect()
}

/// `com.atlassian.greenhopper.service.sprint.Sprint@1f39706[id=11,rapidViewId=8,state=CLOSED,name=S, 1,startDate=…]`.
/// Names may hold commas, so that a part begins only where a known name of an attribute does.
fn printed(text: &str) -> Option<Sprint> {
    const PARTS: [&str; 12] = [
        "id",
        "rapidViewId",
        "state",
        "name",
        "startDate",
        "endDate",
        "completeDate",
        "activatedDate",
        "sequence",
        "goal",
        "autoStartStop",
        "synced",
    ];
    let inner = text.split_once('[')?.1.strip_suffix(']')?;
    let mut found: Vec<(&str, String)> = Vec::new();
    for part in inner.split(',') {
        match part.split_once('=').filter(|(name, _)| PARTS.contains(name)) {
            Some((name, value)) => found.push((name, value.to_owned())),
            None => {
                let (_, value) = found.last_mut()?;
                value.push(',');
                value.push_str(part);
            }
        }
    }
    let get = |wanted: &str| {
        let value = found.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
        value.filter(|value| !matches!(*value, "" | "<null>")).map(str::to_owned)
    };
    let time = |wanted: &str| get(wanted).and_then(|text| jira_time(&text).ok()).map(Time);
    Some(Sprint {
        id: get("id"),
        name: get("name"),
        state: get("state"),
        goal: get("goal"),
        board_id: get("rapidViewId"),
        origin_board_id: None,
        start_date: time("startDate"),
        end_date: time("endDate"),
        complete_date: time("completeDate"),
    })
}

/// A change of an issue's sprint field.
#[derive(Debug, Clone)]
pub(super) struct Move {
    pub(super) at: DateTime<Utc>,
    pub(super) from: BTreeSet<String>,
    pub(super) to: BTreeSet<String>,
}

/// The ids in a change of the sprint field: `11, 12`.
pub(super) fn id_list(text: Option<&str>) -> BTreeSet<String> {
    let ids = text.unwrap_or_default().split(',').map(str::trim);
    ids.filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

/// When an issue was in which sprint: the moves, oldest first, joined with what the field says now.
///
/// What an issue is made with has no move. What is in the field without a move that says so, or has left it without one
/// (as when a sprint is deleted), is told as a guess.
pub(super) fn memberships(
    item: &str,
    created: DateTime<Utc>,
    updated: DateTime<Utc>,
    moves: &[Move],
    now: &BTreeSet<String>,
) -> Vec<SprintMembershipRecord> {
    let mut intervals = Intervals { item, all: Vec::new() };
    let start = moves.first().map_or(now, |first| &first.from);
    let mut inside: BTreeSet<String> = start.clone();
    for sprint in start {
        intervals.begin(sprint, created, true);
    }
    let mut last = created;
    for change in moves {
        for sprint in change.from.difference(&inside) {
            intervals.begin(sprint, last, false);
        }
        inside.extend(change.from.iter().cloned());
        for sprint in inside.difference(&change.to) {
            intervals.end(sprint, change.at, change.from.contains(sprint));
        }
        for sprint in change.to.difference(&inside) {
            intervals.begin(sprint, change.at, true);
        }
        inside.clone_from(&change.to);
        last = change.at;
    }
    for sprint in now.difference(&inside) {
        intervals.begin(sprint, updated.max(last), false);
    }
    for sprint in inside.difference(now) {
        intervals.end(sprint, updated.max(last), false);
    }
    intervals.all
}

struct Intervals<'a> {
    item: &'a str,
    all: Vec<SprintMembershipRecord>,
}

impl Intervals<'_> {
    fn begin(&mut self, sprint: &str, at: DateTime<Utc>, from_history: bool) {
        // Taken out and put back at once: it never left.
        let same = |known: &&mut SprintMembershipRecord| {
            known.sprint_source_id == sprint && (known.added_at == at || known.removed_at == Some(at))
        };
        if let Some(known) = self.all.iter_mut().find(same) {
            known.removed_at = None;
            return;
        }
        self.all.push(SprintMembershipRecord {
            item_ref_key: self.item.to_owned(),
            sprint_source_id: sprint.to_owned(),
            added_at: at,
            removed_at: None,
            from_history,
        });
    }

    fn end(&mut self, sprint: &str, at: DateTime<Utc>, known: bool) {
        let open = self.all.iter_mut().find(|i| i.sprint_source_id == sprint && i.removed_at.is_none());
        if let Some(open) = open {
            open.removed_at = Some(at.max(open.added_at));
            open.from_history &= known;
        }
    }
}

#[cfg(test)]
mod tests;
