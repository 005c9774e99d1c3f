//! What changed in the synced copy, by webhooks, syncs and writes: from a place on, in order, and nothing twice.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use domain::{Cursor, Invalid};
use serde_json::json;

use super::LiveService;
use super::answer::{Draft, LiveAnswer};
use super::cursor::{MOST, Question};
use super::reads::{LIST_BYTES, require_project};
use crate::ports::{ChangePage, ChangePosition};
use crate::{Ctx, Error};

/// How long somebody may stay away and still go on.
const LASTS: TimeDelta = TimeDelta::days(30);

/// What changed since.
#[derive(Debug, Clone, Default)]
pub struct ChangesAsk {
    /// The instance's short name; not needed where there is one.
    pub instance: Option<String>,
    /// The cursor of the answer before; without one, the place that is now.
    pub since: Option<String>,
    /// Only of these projects.
    pub projects: BTreeSet<String>,
    /// The most changes, 1 to 100.
    pub limit: usize,
}

impl LiveService {
    /// What changed in the synced copy since a cursor; without one, nothing yet and the cursor to begin with. The tracker
    /// is not asked.
    pub async fn changes(&self, ctx: &Ctx, ask: &ChangesAsk) -> Result<LiveAnswer, Error> {
        let target = self.stored_target(ctx, ask.instance.as_deref()).await?;
        for project in &ask.projects {
            require_project(&target, project)?;
        }
        let asked = format!("{:?}", &ask.projects);
        let question = Question { instance: target.instance.id, tool: "changes", asked: &asked };
        let now = self.parts.clock.now();
        let since = match &ask.since {
            Some(since) => Some(self.place(ctx, question, since)?),
            None => None,
        };
        let projects = match (ask.projects.is_empty(), target.within.as_list()) {
            (false, _) => Some(&ask.projects),
            (true, all) => all,
        };
        let store = &self.parts.changes;
        let page = match since {
            Some(since) => {
                store.since(ctx, target.instance.id, projects, since, ask.limit).await?.ok_or_else(gone)?
            }
            None => ChangePage { changes: Vec::new(), next: store.now(ctx).await?, more: false },
        };
        let mut draft = Draft::new();
        draft.rows("changes", &page.changes, LIST_BYTES, |change| change.key.clone());
        draft.put("has_more", page.more);
        let next = Cursor(json!(page.next));
        if let Some(cursor) = self.cursors.seal_until(ctx, question, &next, now + LASTS) {
            draft.put("next_cursor", cursor);
        }
        let mut answer = draft.finish(&target, now);
        answer.content.insert("source".into(), "synced".into());
        Ok(answer)
    }

    fn place(&self, ctx: &Ctx, question: Question<'_>, since: &str) -> Result<ChangePosition, Error> {
        let short = since.get(..MOST.min(since.len())).unwrap_or_default();
        let read = self.cursors.read(ctx, question, short, self.parts.clock.now());
        let place = read.and_then(|Cursor(cursor)| serde_json::from_value(cursor).ok());
        place.ok_or_else(|| {
            let message = "is not a cursor of these projects and this caller, or is older than 30 days: begin without it, \
                           and read what you need with jira_search_issues";
            Invalid::one("/since", message).into()
        })
    }
}

fn gone() -> Error {
    let message = "lies ahead of the synced copy, which was put back: begin without it, and read what you need with \
                   jira_search_issues";
    Invalid::one("/since", message).into()
}
