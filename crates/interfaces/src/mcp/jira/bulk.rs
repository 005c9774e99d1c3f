//! The set `bulk`: the same change for several issues, planned first and then run.

use application::Ctx;
use application::live::{BulkAsk, LiveAnswer};
use application::ports::BulkChange;
use serde_json::{Map, Value};

use super::super::outcome::{Answer, Failure, Size};
use super::arguments::{fields, needed, only, owned, texts};
use super::schemas::bulk::{PLAN_BULK_CHANGE, RUN_BULK_PLAN};
use super::tools::{CURSOR, FIELD, FIELDS, JQL, JiraTools, failure, instance};
use super::writes::LABELS;

type Arguments = Map<String, Value>;

impl JiraTools {
    pub(super) async fn bulk(&self, ctx: &Ctx, name: &str, given: &Arguments) -> Result<Answer, Failure> {
        match name {
            PLAN_BULK_CHANGE => self.plan_bulk_change(ctx, given).await,
            RUN_BULK_PLAN => self.run_bulk_plan(ctx, given).await,
            _ => Err(Failure::UnknownTool(name.to_owned())),
        }
    }

    async fn plan_bulk_change(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(given, &["jql", "change", "instance"])?;
        let change = match given.get("change") {
            Some(Value::Object(change)) => {
                change_of(change).map_err(|failure| named(failure, |field| format!("/change{field}")))?
            }
            None | Some(Value::Null) => return Err(Failure::invalid("/change", "is required")),
            Some(_) => return Err(Failure::invalid("/change", "must be an object")),
        };
        let ask = BulkAsk { instance: instance(given)?, jql: needed(given, "jql", JQL)?, change };
        let planned = self.services.live.plan_bulk_change(ctx, &self.services.item_writes, &ask).await;
        let planned = planned.map_err(|error| named(failure(error), in_change))?;
        let count = planned.content.get("count").and_then(Value::as_u64).unwrap_or_default();
        let line = format!("planned for {count} issues of {}; nothing is changed yet", planned.instance);
        Ok(told(planned, line))
    }

    async fn run_bulk_plan(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(given, &["plan_token", "instance"])?;
        let token = needed(given, "plan_token", CURSOR)?;
        let run = self.services.live.run_bulk_plan(ctx, &self.services.item_writes, &token).await;
        let run = run.map_err(failure)?;
        let counts = run.content.get("counts");
        let count = |outcome: &str| {
            counts.and_then(|counts| counts.get(outcome)).and_then(Value::as_u64).unwrap_or_default()
        };
        let line = format!(
            "{} issues of {} are done, {} were before, {} are left; see results",
            count("done"),
            run.instance,
            count("done_before"),
            count("open") + count("not_done"),
        );
        Ok(told(run, line))
    }
}

fn change_of(given: &Arguments) -> Result<BulkChange, Failure> {
    only(given, &["fields", "add_labels", "remove_labels", "to"])?;
    let change = BulkChange {
        fields: fields(given, FIELDS, FIELD)?,
        add_labels: texts(given, "add_labels", LABELS, FIELD)?,
        remove_labels: texts(given, "remove_labels", LABELS, FIELD)?,
        to: owned(given, "to", FIELD)?,
    };
    let labels = !change.add_labels.is_empty() || !change.remove_labels.is_empty();
    if change.to.is_some() && labels {
        return Err(Failure::invalid("/to", "cannot go along with labels: make two plans"));
    }
    if change.to.is_none() && change.fields.is_empty() && !labels {
        return Err(Failure::invalid("", "must hold fields, labels to add or remove, or a status"));
    }
    Ok(change)
}

/// Says where in the tool's arguments it stands what is wrong.
fn named(failure: Failure, as_argument: impl FnOnce(String) -> String) -> Failure {
    match failure {
        Failure::Tool(mut told) => {
            told.body.field = told.body.field.map(as_argument);
            Failure::Tool(told)
        }
        other => other,
    }
}

/// Where the change has what a write of one issue has elsewhere.
fn in_change(pointer: String) -> String {
    for (own, argument) in [
        ("/labels/add", "/change/add_labels"),
        ("/labels/remove", "/change/remove_labels"),
        ("/labels", "/change/add_labels"),
        ("/fields", "/change/fields"),
        ("/to", "/change/to"),
    ] {
        if let Some(rest) = pointer.strip_prefix(own) {
            return format!("{argument}{rest}");
        }
    }
    pointer
}

fn told(answer: LiveAnswer, mut line: String) -> Answer {
    if answer.content.contains_key("cut") {
        line.push_str("; shortened: see cut");
    }
    let size = Some(Size { rows: answer.count, bytes: answer.bytes, truncated: answer.truncated });
    Answer { content: Value::Object(answer.content), line, size, picture: None }
}
