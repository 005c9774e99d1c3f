//! History: timeline and events.
//! <https://docs.github.com/rest/issues/timeline>, <https://docs.github.com/rest/issues/events>

use super::call::{Call, sorted};
use super::reply::Reply;
use crate::dataset::Repository;
use crate::dataset::item::{Item, Row};

/// Entries of the timeline that the events endpoints do not have.
const TIMELINE_ONLY: [&str; 5] = ["commented", "committed", "cross-referenced", "reviewed", "line-commented"];

/// `GET /repos/{owner}/{repo}/issues/{number}/timeline`, oldest first.
pub(super) fn timeline(call: &Call<'_>, repository: &Repository, item: &Item) -> Reply {
    let rows: Vec<&Row> = item.timeline.iter().collect();
    call.page(&rows, |row, out| repository.fragments.expand_into(&row.text, out))
}

/// `GET /repos/{owner}/{repo}/issues/{number}/events`, oldest first.
pub(super) fn of_issue(call: &Call<'_>, repository: &Repository, item: &Item) -> Reply {
    let rows: Vec<&Row> = item.timeline.iter().filter(|row| is_event(row)).collect();
    call.page(&rows, |row, out| repository.fragments.expand_into(&row.text, out))
}

/// `GET /repos/{owner}/{repo}/issues/events`, newest first. Unlike GitHub's, without the `issue` of each event.
pub(super) fn of_repository(call: &Call<'_>, repository: &Repository) -> Reply {
    let keys = repository.list("events", || {
        let rows = repository.items.values().flat_map(|item| {
            let events = item.timeline.iter().enumerate().filter(|(_, row)| is_event(row));
            events.map(|(index, row)| (row.created_at, row.id, (item.number, index)))
        });
        sorted(rows.collect(), true)
    });
    call.page(&keys, |(number, index), out| {
        if let Some(row) = repository.items.get(&number).and_then(|item| item.timeline.get(index)) {
            repository.fragments.expand_into(&row.text, out);
        }
    })
}

fn is_event(row: &Row) -> bool {
    !TIMELINE_ONLY.contains(&&*row.event)
}
