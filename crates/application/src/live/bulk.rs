//! The same change for several issues: planned first, then run.

mod run;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use domain::{ChangedField, Cursor, InstanceId, Invalid, Scope};
use futures::stream::{self, StreamExt};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::answer::{Draft, LiveAnswer};
use super::cursor::Question;
use super::writes::{ToldChange, WriteAsk, told_change};
use super::{LiveService, Target, hide};
use crate::item_writes::ItemWriteService;
use crate::ports::{BulkChange, BulkPlan, LiveIssue, LiveSearch, LiveView, PlannedItem};
use crate::{Ctx, Error};

/// Issues of a plan.
const MOST: usize = 200;
const PAGE: usize = 100;
/// How long a plan can be run. Longer, and nobody remembers what they agreed to.
const GOOD_FOR: TimeDelta = TimeDelta::minutes(15);
/// Issues of which the change is tried out.
const SAMPLE: usize = 5;
/// Issues that are at work at the same time: Jira counts writes by the second, and syncs want their share.
const AT_ONCE: usize = 4;
/// Bytes of each list of an answer.
const BYTES: usize = 24 * 1024;

/// What is to be planned.
#[derive(Debug, Clone, Default)]
pub struct BulkAsk {
    /// The instance's short name; not needed where there is one.
    pub instance: Option<String>,
    /// Which issues.
    pub jql: String,
    /// What is to be done to each.
    pub change: BulkChange,
}

/// What would change of an issue.
#[derive(Serialize)]
struct Sampled<'a> {
    key: &'a str,
    changed: Vec<ToldChange<'a>>,
}

/// An issue that is left out, and why.
#[derive(Debug, Serialize)]
struct LeftOut {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    message: String,
}

impl LiveService {
    /// Finds the issues, tries the change on a few of them without making it, and keeps both for a quarter of an hour
    /// under a token that is good for this caller.
    ///
    /// [`Error::Invalid`] when there are too many issues, or none; the tracker's refusal when all that were tried are
    /// refused.
    pub async fn plan_bulk_change(
        &self,
        ctx: &Ctx,
        writes: &Arc<ItemWriteService>,
        ask: &BulkAsk,
    ) -> Result<LiveAnswer, Error> {
        ctx.require(Scope::McpJiraWrite)?;
        let target = self.target(ctx, ask.instance.as_deref()).await?;
        let hidden = target.within.hidden();
        let any = PlannedItem { key: String::new(), seen: DateTime::UNIX_EPOCH };
        hide::refuse_written(hidden, &ask.change.of(&any))?;
        let found = self.planned(ctx, &target, &ask.jql).await?;
        let (mut items, mut left_out) = (Vec::new(), Vec::new());
        for item in found {
            let project = item.key.rsplit_once('-').map_or(item.key.as_str(), |(project, _)| project);
            match ctx.grant.may_write(project) {
                true => items.push(item),
                false => left_out.push(LeftOut {
                    key: item.key,
                    field: None,
                    message: "the key may not write to this project".to_owned(),
                }),
            }
        }
        let tried = items.get(..SAMPLE.min(items.len())).unwrap_or_default();
        let tries: Vec<_> =
            tried.iter().map(|item| self.tried(ctx, writes, &target, &ask.change, item)).collect();
        let tried: Vec<_> = stream::iter(tries).buffered(AT_ONCE).collect().await;
        let (mut sample, mut refused) = (Vec::new(), None);
        for (key, outcome) in tried {
            match outcome {
                Ok(mut changed) => {
                    hide::of_changed(hidden, &mut changed);
                    sample.push((key, changed));
                }
                Err(Error::Source(error)) if !error.kind.is_transient() => {
                    items.retain(|item| item.key != key);
                    let (field, message) = (error.field.clone(), error.message.clone());
                    left_out.push(LeftOut { key, field, message });
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let (Some(error), true) = (refused, sample.is_empty()) {
            return Err(hide::of_error(hidden, error.into()));
        }
        let now = self.parts.clock.now();
        let plan = BulkPlan {
            id: self.parts.ids.uuid(),
            instance: target.instance.id,
            change: ask.change.clone(),
            items,
            done: BTreeSet::new(),
            expires_at: now + GOOD_FOR,
        };
        let mut draft = Draft::new();
        draft.rows("conflicts", &left_out, BYTES, |row| row.key.clone());
        let rows: Vec<Sampled<'_>> = sample
            .iter()
            .map(|(key, changed)| Sampled { key, changed: changed.iter().map(told_change).collect() })
            .collect();
        draft.rows("sample", &rows, BYTES, |row| row.key.to_owned());
        draft.put("count", plan.items.len());
        if !plan.items.is_empty() {
            let token = self.cursors.seal_until(ctx, question(), &position(plan.id), plan.expires_at);
            self.parts.plans.insert(ctx, &plan).await?;
            draft.put("plan_token", token.map_or(Value::Null, Value::String));
            draft.put("expires_at", plan.expires_at.to_rfc3339_opts(SecondsFormat::Secs, true));
        }
        Ok(draft.finish(&target, now))
    }

    /// The issues of a query, each once, in its order.
    async fn planned(&self, ctx: &Ctx, target: &Target, jql: &str) -> Result<Vec<PlannedItem>, Error> {
        let (mut found, mut seen, mut from) = (Vec::new(), BTreeSet::new(), None::<Cursor>);
        loop {
            let search = LiveSearch {
                jql,
                view: LiveView::Summary,
                fields: &[],
                limit: PAGE,
                from: from.as_ref(),
                within: &target.within,
            };
            let (reader, search) = (target.reader()?, &search);
            let page = self.ask(ctx, target, |c| async move { reader.search(&c, search).await }).await?;
            self.noticed.add(ctx.tenant, target.instance.id, &page.issues);
            for LiveIssue { key, updated, .. } in page.issues {
                let Some(updated) = updated else { continue };
                if seen.insert(key.clone()) {
                    found.push(PlannedItem { key, seen: updated });
                }
            }
            from = page.next;
            if found.len() > MOST || (from.is_some() && found.len() == MOST) {
                let message = format!("finds more than {MOST} issues, the most of a plan: narrow it");
                return Err(Invalid::one("/jql", message).into());
            }
            if from.is_none() {
                break;
            }
        }
        match found.is_empty() {
            true => Err(Invalid::one("/jql", "finds no issue that you may read").into()),
            false => Ok(found),
        }
    }

    async fn tried(
        &self,
        ctx: &Ctx,
        writes: &Arc<ItemWriteService>,
        target: &Target,
        change: &BulkChange,
        item: &PlannedItem,
    ) -> (String, Result<Vec<ChangedField>, Error>) {
        let ask = WriteAsk { instance: None, write: change.of(item), key: String::new(), rehearse: true };
        let told = self.rehearsed(ctx, writes, target, &ask).await;
        if let Err(Error::Source(error)) = &told {
            self.heed(target.instance.id, error);
        }
        (item.key.clone(), told.map(|told| told.item.changed))
    }

    /// The caller's plan behind a token. The same words whatever is wrong with it, so that trying teaches nothing.
    async fn plan(&self, ctx: &Ctx, token: &str, now: DateTime<Utc>) -> Result<BulkPlan, Error> {
        let unknown = || {
            let message = "is not of this caller, or has expired: plan again with jira_plan_bulk_change";
            Error::from(Invalid::one("/plan_token", message))
        };
        let position = self.cursors.read(ctx, question(), token, now).ok_or_else(unknown)?;
        let id = position.0.as_str().and_then(|id| Uuid::try_parse(id).ok()).ok_or_else(unknown)?;
        let plan = self.parts.plans.find(ctx, id).await?;
        plan.filter(|plan| plan.expires_at > now).ok_or_else(unknown)
    }
}

/// What a token belongs to. The plan knows its instance.
fn question() -> Question<'static> {
    Question { instance: InstanceId::new(Uuid::nil()), tool: "bulk_plan", asked: "" }
}

fn position(plan: Uuid) -> Cursor {
    Cursor(Value::String(plan.to_string()))
}
