//! Running a plan: each issue by itself and once, as many at a time as is decent, until all are done or something says that
//! the rest had better wait.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use domain::Scope;
use futures::stream::{self, StreamExt};
use serde::Serialize;
use tokio::time::Instant;
use tracing::warn;

use super::super::answer::{Draft, LiveAnswer};
use super::super::writes::{NOT_STORED, WriteAsk, told_change};
use super::super::{LiveService, Target, hide};
use super::{AT_ONCE, BYTES};
use crate::item_writes::{ItemWriteService, ItemWritten};
use crate::ports::{BulkPlan, PlannedItem, SourceErrorKind};
use crate::{Ctx, Error};

/// What became of an issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// Now.
    Done,
    /// By an earlier run.
    DoneBefore,
    /// It was changed by others since it was planned, and left alone.
    Conflict,
    /// The tracker does not take it.
    Refused,
    /// It is not known whether it was done; the next run finds out.
    Open,
    /// Nothing was sent; the next run goes on.
    NotDone,
}

const OUTCOMES: [Outcome; 6] = [
    Outcome::Done,
    Outcome::DoneBefore,
    Outcome::Conflict,
    Outcome::Refused,
    Outcome::Open,
    Outcome::NotDone,
];

#[derive(Debug, Serialize)]
struct Told {
    key: String,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Why the rest is left for another run.
#[derive(Debug, Clone)]
struct Stop {
    why: String,
    retry_after: Option<Duration>,
}

/// One run.
struct Run<'a> {
    ctx: &'a Ctx,
    writes: &'a Arc<ItemWriteService>,
    target: &'a Target,
    plan: &'a BulkPlan,
    until: Instant,
    stopped: OnceLock<Stop>,
}

impl LiveService {
    /// Makes the change of a plan, each issue's under a key of its own: run again, it goes on with what is left and does
    /// nothing twice. What goes wrong with an issue is told of that issue.
    pub async fn run_bulk_plan(
        &self,
        ctx: &Ctx,
        writes: &Arc<ItemWriteService>,
        token: &str,
    ) -> Result<LiveAnswer, Error> {
        ctx.require(Scope::McpJiraWrite)?;
        let plan = self.plan(ctx, token, self.parts.clock.now()).await?;
        let target = self.target_of(ctx, plan.instance).await?;
        if let Some(item) = plan.items.first() {
            hide::refuse_written(target.within.hidden(), &plan.change.of(item))?;
        }
        self.may_be_asked(target.instance.id)?;
        let until = Instant::now() + self.parts.bounds.deadline;
        let run = Run { ctx, writes, target: &target, plan: &plan, until, stopped: OnceLock::new() };
        let items: Vec<_> = plan.items.iter().map(|item| self.run_item(&run, item)).collect();
        let results: Vec<Told> = stream::iter(items).buffered(AT_ONCE).collect().await;
        let done = results.iter().filter(|told| told.outcome == Outcome::Done);
        let done: Vec<String> = done.map(|told| told.key.clone()).collect();
        if !done.is_empty()
            && let Err(error) = self.parts.plans.note_done(ctx, plan.id, &done).await
        {
            // The writes themselves are kept: the next run asks for each.
            warn!(instance.id = %plan.instance, %error, "What a plan has done is not noted");
        }
        let mut draft = Draft::new();
        draft.rows("results", &results, 2 * BYTES, |row| row.key.clone());
        let count = |wanted: Outcome| results.iter().filter(|told| told.outcome == wanted).count();
        let mut counts = serde_json::Map::new();
        for outcome in OUTCOMES {
            if let Ok(serde_json::Value::String(name)) = serde_json::to_value(outcome) {
                counts.insert(name, count(outcome).into());
            }
        }
        draft.put("counts", counts);
        let left = count(Outcome::Open) + count(Outcome::NotDone);
        draft.put("complete", left == 0);
        if left > 0 {
            let stop = run.stopped.get();
            let why = stop.map_or("their outcome is not known yet", |stop| stop.why.as_str());
            draft.put(
                "hint",
                format!(
                    "{left} issues are left: {why}. Run the same plan_token again to go on; nothing is done twice"
                ),
            );
            if let Some(wait) = stop.and_then(|stop| stop.retry_after) {
                draft.put("retry_after_ms", u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            }
        }
        Ok(draft.finish(&target, self.parts.clock.now()))
    }

    async fn run_item(&self, run: &Run<'_>, item: &PlannedItem) -> Told {
        let told = |outcome| Told {
            key: item.key.clone(),
            outcome,
            changed: Vec::new(),
            field: None,
            message: None,
            warnings: Vec::new(),
        };
        if run.plan.done.contains(&item.key) {
            return told(Outcome::DoneBefore);
        }
        if Instant::now() >= run.until {
            let why = "there was no time for more in one call".to_owned();
            run.stopped.get_or_init(|| Stop { why, retry_after: None });
        }
        if run.stopped.get().is_some() {
            return told(Outcome::NotDone);
        }
        let ask = WriteAsk {
            instance: None,
            write: run.plan.change.of(item),
            key: format!("bulk-{}-{}", run.plan.id.simple(), item.key),
            rehearse: false,
        };
        match self.written(run.ctx, run.writes, run.target, &ask, run.until).await {
            Ok(ItemWritten { item: mut written, replayed, stored }) => {
                if !stored {
                    written.warnings.push(NOT_STORED.to_owned());
                }
                hide::of_changed(run.target.within.hidden(), &mut written.changed);
                Told {
                    changed: written
                        .changed
                        .iter()
                        .map(|change| told_change(change).field.to_owned())
                        .collect(),
                    warnings: written.warnings,
                    ..told(if replayed { Outcome::DoneBefore } else { Outcome::Done })
                }
            }
            Err(error) => {
                let (outcome, stop) = verdict(&error);
                if let Some(stop) = stop {
                    run.stopped.get_or_init(|| stop);
                }
                let (field, message) = match error {
                    Error::Source(error) => {
                        self.heed(run.target.instance.id, &error);
                        (error.field, error.message)
                    }
                    error => (None, error.to_string()),
                };
                Told { field, message: Some(message), ..told(outcome) }
            }
        }
    }
}

/// What an error says of its issue, and of those that come after it.
fn verdict(error: &Error) -> (Outcome, Option<Stop>) {
    let stop = |why: &str, retry_after| Some(Stop { why: why.to_owned(), retry_after });
    match error {
        Error::Source(error) => match error.kind {
            SourceErrorKind::Conflict => (Outcome::Conflict, None),
            SourceErrorKind::RateLimited => (Outcome::NotDone, stop("Jira asks to wait", error.retry_after)),
            SourceErrorKind::Unavailable | SourceErrorKind::Malformed => {
                (Outcome::Open, stop("Jira does not answer as it should", error.retry_after))
            }
            SourceErrorKind::Unauthorized => {
                (Outcome::Refused, stop("Jira refuses the instance's credentials: tell an admin", None))
            }
            SourceErrorKind::Blocked => {
                (Outcome::NotDone, stop("Jira cannot be reached: tell an admin", None))
            }
            SourceErrorKind::Forbidden
            | SourceErrorKind::NotFound
            | SourceErrorKind::Gone
            | SourceErrorKind::Unsupported
            | SourceErrorKind::Rejected => (Outcome::Refused, None),
        },
        Error::IdempotencyInFlight { .. } => (Outcome::Open, None),
        Error::RateLimited { retry_after, .. } | Error::Closed { retry_after } => {
            (Outcome::NotDone, stop("the instance's budget of requests is used up", Some(*retry_after)))
        }
        Error::Exceeds { .. } | Error::Forbidden { .. } | Error::NotFound { .. } | Error::Invalid(_) => {
            (Outcome::Refused, None)
        }
        Error::Conflict { .. } => (Outcome::Refused, stop("the instance is not as it should be", None)),
        Error::Unauthenticated(_)
        | Error::SignIn(_)
        | Error::RunActive { .. }
        | Error::QueryTimeout { .. }
        | Error::IdempotencyMismatch
        | Error::Unavailable(_)
        | Error::Internal(_) => (Outcome::Open, stop("Patchbay itself is not well", None)),
    }
}
