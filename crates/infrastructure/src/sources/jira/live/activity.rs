//! What happened to an issue: in one request where the issue holds all of it, and in a few more where it does not.

use application::ports::{
    Bounds, LiveActivities, LiveActivity, LiveActivityAsk, LiveActivityKind, LiveChange, SourceError,
    SourceErrorKind,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::api::{Api, segment};
use super::super::malformed;
use super::super::model::{self, Comment, Issue, Part, Worklog};
use super::super::text::markdown;
use super::issue::person;
use super::{is_hidden_key, no_issue};

/// Entries in one request, and requests for one kind: what is older is left to the synced copy.
const ROWS: usize = 100;
const MOST_PAGES: usize = 5;

/// The two lists that an issue holds a first part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    Comments,
    Worklogs,
}

impl Listed {
    const fn name(self) -> &'static str {
        match self {
            Self::Comments => "comment",
            Self::Worklogs => "worklog",
        }
    }

    const fn kind(self) -> LiveActivityKind {
        match self {
            Self::Comments => LiveActivityKind::Comment,
            Self::Worklogs => LiveActivityKind::Worklog,
        }
    }

    pub(super) fn rows<'a>(self, part: &Part<'a>) -> Vec<&'a RawValue> {
        match self {
            Self::Comments => part.comments.clone(),
            Self::Worklogs => part.worklogs.clone(),
        }
    }

    /// One of its rows; `None` for what is none.
    pub(super) fn entry(self, raw: &RawValue) -> Option<LiveActivity> {
        let (id, author, at, body, time_spent_s) = match self {
            Self::Comments => {
                let comment: Comment<'_> = serde_json::from_str(raw.get()).ok()?;
                (comment.id, comment.author, comment.created, markdown(comment.body), None)
            }
            Self::Worklogs => {
                let worklog: Worklog<'_> = serde_json::from_str(raw.get()).ok()?;
                let seconds = Some(worklog.time_spent_seconds);
                (worklog.id, worklog.author, worklog.started, markdown(worklog.comment), seconds)
            }
        };
        let kind = self.kind();
        Some(LiveActivity {
            id,
            kind,
            author: person(author),
            at: at.0,
            body,
            time_spent_s,
            changes: Vec::new(),
        })
    }
}

/// Changes that were read.
#[derive(Debug, Default)]
pub(super) struct History {
    rows: Vec<model::History>,
    /// How many there are.
    pub(super) total: usize,
}

impl History {
    /// Of an issue, or a page of its own. Cloud names the list by `values` there.
    pub(super) fn read(text: &str) -> Self {
        #[derive(Deserialize)]
        struct Page<'a> {
            #[serde(default, borrow, alias = "values")]
            histories: Vec<&'a RawValue>,
            #[serde(default)]
            total: Option<usize>,
        }
        let Ok(page) = serde_json::from_str::<Page<'_>>(text) else { return Self::default() };
        let total = page.total.unwrap_or(0).max(page.histories.len());
        let rows = page.histories.iter().filter_map(|raw| serde_json::from_str(raw.get()).ok());
        Self { rows: rows.collect(), total }
    }

    /// Without what tells of issues that may not be seen.
    pub(super) fn entries(self, within: &Bounds) -> Vec<LiveActivity> {
        let entry = |history: model::History| {
            let shown = |text: &Option<String>| text.as_ref().is_none_or(|text| !is_hidden_key(text, within));
            let changes: Vec<LiveChange> = history
                .items
                .into_iter()
                .filter(|item| {
                    [&item.from, &item.to, &item.from_string, &item.to_text].into_iter().all(shown)
                })
                .map(|item| LiveChange {
                    field: item.field,
                    field_id: item.field_id,
                    from: item.from_string.or(item.from).filter(|text| !text.is_empty()),
                    to: item.to_text.or(item.to).filter(|text| !text.is_empty()),
                })
                .collect();
            (!changes.is_empty()).then(|| LiveActivity {
                id: history.id,
                kind: LiveActivityKind::Change,
                author: person(history.author),
                at: history.created.0,
                body: None,
                time_spent_s: None,
                changes,
            })
        };
        self.rows.into_iter().filter_map(entry).collect()
    }
}

/// An entry where its kind is said already.
pub(super) fn in_section(entry: &LiveActivity) -> Option<Value> {
    let mut value = serde_json::to_value(entry).ok()?;
    value.as_object_mut()?.remove("kind");
    Some(value)
}

/// Everything of these kinds, up to some hundreds of each, the newest.
pub(super) async fn read(api: &Api<'_>, ask: &LiveActivityAsk<'_>) -> Result<LiveActivities, SourceError> {
    if !ask.within.allows_issue(ask.key) {
        return Err(no_issue(ask.key));
    }
    let wants = |kind| ask.kinds.contains(&kind);
    let mut fields = vec!["project"];
    fields.extend(wants(LiveActivityKind::Comment).then_some("comment"));
    fields.extend(wants(LiveActivityKind::Worklog).then_some("worklog"));
    let fields = fields.join(",");
    let mut query = vec![("fields", fields.as_str())];
    query.extend(wants(LiveActivityKind::Change).then_some(("expand", "changelog")));
    let what = format!("the issue {}", ask.key);
    let answer = api.get(&api.rest(&format!("/issue/{}", segment(ask.key))), &query, &what).await;
    let answer = answer.map_err(|error| match error.kind {
        SourceErrorKind::NotFound => no_issue(ask.key),
        _ => error,
    })?;
    let text = answer.text();
    let issue: Issue<'_> = serde_json::from_str(&text)
        .map_err(|error| malformed(format!("Jira's answer for {} is no issue ({error})", ask.key)))?;
    // An issue that moved answers to its old key.
    if !ask.within.allows_issue(&issue.key) {
        return Err(no_issue(ask.key));
    }
    let mut told = LiveActivities { key: issue.key.clone(), ..LiveActivities::default() };
    for listed in [Listed::Comments, Listed::Worklogs] {
        if wants(listed.kind()) {
            lists(api, &issue, listed, &mut told).await?;
        }
    }
    if wants(LiveActivityKind::Change) {
        changes(api, &issue, ask.within, &mut told).await?;
    }
    Ok(told)
}

async fn lists(
    api: &Api<'_>,
    issue: &Issue<'_>,
    listed: Listed,
    told: &mut LiveActivities,
) -> Result<(), SourceError> {
    let inside: Option<Part<'_>> =
        issue.raw(listed.name()).and_then(|raw| serde_json::from_str(raw.get()).ok());
    let Some(part) = inside else { return Ok(()) };
    let (rows, total) = (listed.rows(&part), size(part.total));
    if rows.len() >= total {
        told.entries.extend(rows.into_iter().filter_map(|raw| listed.entry(raw)));
        return Ok(());
    }
    let path = api.rest(&format!("/issue/{}/{}", segment(&issue.id), listed.name()));
    let what = format!("the {}s of {}", listed.name(), issue.key);
    // Comments can be had with the newest first; of worklogs the last pages are the newest.
    let newest_first = listed == Listed::Comments;
    let mut start = if newest_first { 0 } else { total.saturating_sub(ROWS * MOST_PAGES) };
    if total > ROWS * MOST_PAGES {
        told.unread.push(listed.kind());
    }
    for _ in 0..MOST_PAGES {
        let (from, size_of_page) = (start.to_string(), ROWS.to_string());
        let mut query = vec![("startAt", from.as_str()), ("maxResults", size_of_page.as_str())];
        query.extend(newest_first.then_some(("orderBy", "-created")));
        let answer = api.get(&path, &query, &what).await?;
        let text = answer.text();
        let part: Part<'_> = serde_json::from_str(&text)
            .map_err(|error| malformed(format!("Jira's answer for {what} is no list ({error})")))?;
        let rows = listed.rows(&part);
        let given = rows.len();
        told.entries.extend(rows.into_iter().filter_map(|raw| listed.entry(raw)));
        start += given;
        if given == 0 || start >= size(part.total) {
            return Ok(());
        }
    }
    Ok(())
}

fn size(total: Option<i64>) -> usize {
    usize::try_from(total.unwrap_or(0)).unwrap_or(0)
}

async fn changes(
    api: &Api<'_>,
    issue: &Issue<'_>,
    within: &Bounds,
    told: &mut LiveActivities,
) -> Result<(), SourceError> {
    let inside = issue.changelog.map(|raw| History::read(raw.get())).unwrap_or_default();
    let (given, total) = (inside.rows.len(), inside.total);
    if given >= total || !api.is_cloud() {
        told.entries.extend(inside.entries(within));
        return Ok(());
    }
    // Oldest first: the last pages are the newest.
    let path = api.rest(&format!("/issue/{}/changelog", segment(&issue.id)));
    let what = format!("the changes of {}", issue.key);
    let mut start = total.saturating_sub(ROWS * MOST_PAGES);
    if start > 0 {
        told.unread.push(LiveActivityKind::Change);
    }
    for _ in 0..MOST_PAGES {
        let (from, size_of_page) = (start.to_string(), ROWS.to_string());
        let query = [("startAt", from.as_str()), ("maxResults", size_of_page.as_str())];
        let page = History::read(&api.get(&path, &query, &what).await?.text());
        let given = page.rows.len();
        let total = page.total;
        told.entries.extend(page.entries(within));
        start += given;
        if given == 0 || start >= total {
            break;
        }
    }
    Ok(())
}
