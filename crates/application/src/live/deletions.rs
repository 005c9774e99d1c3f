//! Deleting an item: somebody is told what would go and asked first. What they agreed to is carried to the next call by the
//! caller, signed, and holds for the item as it was and for a short time.

use std::fmt::Write as _;
use std::sync::Arc;

use chrono::TimeDelta;
use domain::{
    ChangedField, ConfirmedDeletion, Cursor, InstanceId, Invalid, ItemDeletion, Scope, SeenItem, WrittenItem,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::LiveAnswer;
use super::cursor::Question;
use super::writes::WriteAsk;
use super::{LiveService, clean, hide};
use crate::item_writes::ItemWriteService;
use crate::ports::{ItemWrite, SourceError, SourceErrorKind};
use crate::{Ctx, Error};

/// How long somebody may think about it.
const GOOD_FOR: TimeDelta = TimeDelta::minutes(10);
/// Subtasks and files that are named to who is asked; the rest is counted.
const MOST_NAMED: usize = 20;
/// Characters of a text of Jira's in a question.
const MOST_OF_A_TEXT: usize = 120;

/// What is to be deleted.
#[derive(Debug, Clone, Default)]
pub struct DeleteAsk {
    /// The instance's short name; not needed where there is one.
    pub instance: Option<String>,
    /// The issue's key.
    pub key: String,
    /// Its subtasks go with it.
    pub with_subtasks: bool,
    /// What the call is recognised by when it is repeated.
    pub once: Option<String>,
}

impl DeleteAsk {
    /// The write, with what was agreed to.
    pub fn write(&self, confirmed: Option<ConfirmedDeletion>) -> ItemWrite {
        ItemWrite::Delete(self.key.clone(), ItemDeletion { with_subtasks: self.with_subtasks, confirmed })
    }

    fn asked(&self) -> String {
        format!("{:?}", (&self.key, self.with_subtasks, &self.once))
    }
}

/// How a deletion goes on.
#[derive(Debug)]
pub enum DeletionStep {
    /// Somebody has to agree first.
    Ask(DeletionQuestion),
    /// It had been done before under this key.
    Done(LiveAnswer),
}

/// What somebody is asked.
#[derive(Debug)]
pub struct DeletionQuestion {
    /// In words for a person.
    pub message: String,
    /// What the caller gives back with the answer.
    pub state: String,
}

/// What is carried from the question to the answer.
#[derive(Serialize, Deserialize)]
struct Carried {
    once: String,
    confirmed: ConfirmedDeletion,
}

impl LiveService {
    /// Looks at what would go, and makes a question of it. An issue that is not there any more may have been deleted by an
    /// earlier call under the same key, which is then told.
    pub async fn plan_deletion(
        &self,
        ctx: &Ctx,
        writes: &Arc<ItemWriteService>,
        ask: &DeleteAsk,
    ) -> Result<DeletionStep, Error> {
        ctx.require(Scope::McpJiraWrite)?;
        let target = self.target(ctx, ask.instance.as_deref()).await?;
        let hidden = target.within.hidden();
        let write = |key: &str, rehearse| WriteAsk {
            instance: ask.instance.clone(),
            write: ask.write(None),
            key: key.to_owned(),
            rehearse,
        };
        let rehearsal = write("", true);
        hide::refuse_written(hidden, &rehearsal.write)?;
        self.may_be_asked(target.instance.id)?;
        let mut item = match self.rehearsed(ctx, writes, &target, &rehearsal).await {
            Ok(told) => told.item,
            Err(Error::Source(error)) => {
                self.heed(target.instance.id, &error);
                let gone = matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Gone);
                return match &ask.once {
                    // Nobody agreed, so that nothing is deleted by this, whatever is there by then.
                    Some(once) if gone => {
                        Ok(DeletionStep::Done(self.write(ctx, writes, &write(once, false)).await?))
                    }
                    _ => Err(hide::of_error(hidden, error.into())),
                };
            }
            Err(error) => return Err(error),
        };
        let confirmed = confirmed(&item)?;
        hide::of_changed(hidden, &mut item.changed);
        let message = question(&item.key, &item.changed);
        let once = ask.once.clone().unwrap_or_else(|| self.parts.ids.uuid().to_string());
        let carried = serde_json::to_value(Carried { once, confirmed }).map_err(|error| untold(&error))?;
        let until = self.parts.clock.now() + GOOD_FOR;
        let asked = ask.asked();
        let state = self.cursors.seal_until(ctx, of(target.instance.id, &asked), &Cursor(carried), until);
        let state = state.ok_or_else(|| {
            let message =
                "cannot be agreed to at once, as there are too many subtasks: delete some of them first";
            Invalid::one("/delete_subtasks", message)
        })?;
        Ok(DeletionStep::Ask(DeletionQuestion { message, state }))
    }

    /// The write that somebody agreed to. The same words whatever is wrong with the state, so that trying teaches nothing.
    pub async fn agreed_deletion(&self, ctx: &Ctx, ask: &DeleteAsk, state: &str) -> Result<WriteAsk, Error> {
        ctx.require(Scope::McpJiraWrite)?;
        let target = self.target(ctx, ask.instance.as_deref()).await?;
        let asked = ask.asked();
        let read = self.cursors.read(ctx, of(target.instance.id, &asked), state, self.parts.clock.now());
        let carried = read.and_then(|position| serde_json::from_value::<Carried>(position.0).ok());
        let Some(Carried { once, confirmed }) = carried else {
            let message = "is not of this call and caller, or has expired: make the call again without it";
            return Err(Invalid::one("/requestState", message).into());
        };
        Ok(WriteAsk {
            instance: ask.instance.clone(),
            write: ask.write(Some(confirmed)),
            key: once,
            rehearse: false,
        })
    }
}

/// What a state belongs to.
fn of(instance: InstanceId, asked: &str) -> Question<'_> {
    Question { instance, tool: "delete_issue", asked }
}

fn untold(error: &serde_json::Error) -> Error {
    SourceError::new(SourceErrorKind::Malformed, format!("what would be deleted cannot be told ({error})"))
        .into()
}

/// What a rehearsal tells, to be compared when it is done.
fn confirmed(item: &WrittenItem) -> Result<ConfirmedDeletion, Error> {
    let Some(seen) = item.updated_at else {
        let message = format!("Jira does not say when {} was changed", item.key);
        return Err(SourceError::new(SourceErrorKind::Malformed, message).into());
    };
    let subtasks = item.changed.iter().filter(|one| one.field == "subtasks").flat_map(|one| rows(&one.from));
    let text = |row: &Value, name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(ConfirmedDeletion {
        item: SeenItem { source_id: item.source_id.clone(), key: item.key.clone() },
        seen,
        subtasks: subtasks
            .map(|row| SeenItem { source_id: text(row, "id"), key: text(row, "key") })
            .collect(),
    })
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The question in words: what is deleted by name, and what goes with it.
fn question(key: &str, changed: &[ChangedField]) -> String {
    let of = |field: &str| changed.iter().find(|one| one.field == field).map(|one| &one.from);
    let summary = of("issue").and_then(|issue| issue.get("summary")).and_then(Value::as_str);
    let mut told = format!("Delete {key}{} for good?", quoted(summary));
    let mut with = Vec::new();
    let subtasks = of("subtasks").map_or(&[][..], rows);
    if !subtasks.is_empty() {
        let named = subtasks.iter().take(MOST_NAMED).map(|row| {
            let text = |name: &str| row.get(name).and_then(Value::as_str);
            format!("{}{}", text("key").unwrap_or_default(), quoted(text("summary")))
        });
        with.push(listed(subtasks.len(), "subtask", &named.collect::<Vec<_>>()));
    }
    for (field, what) in [("comment", "comment"), ("worklog", "entry of booked time"), ("issuelinks", "link")]
    {
        if let Some(count) = of(field).and_then(Value::as_u64) {
            with.push(listed(usize::try_from(count).unwrap_or(usize::MAX), what, &[]));
        }
    }
    let files = of("attachment").map_or(&[][..], rows);
    if !files.is_empty() {
        let named = files.iter().take(MOST_NAMED).filter_map(Value::as_str).map(short);
        with.push(listed(files.len(), "file", &named.collect::<Vec<_>>()));
    }
    if !with.is_empty() {
        // Writing to a text does not fail.
        let _ = write!(told, " With it go {}.", with.join("; "));
    }
    told.push_str(" Jira cannot bring it back.");
    told
}

fn listed(count: usize, what: &str, named: &[String]) -> String {
    let plural = match (count, what.strip_prefix("entry")) {
        (1, _) => what.to_owned(),
        (_, Some(rest)) => format!("entries{rest}"),
        (_, None) => format!("{what}s"),
    };
    match named.is_empty() {
        true => format!("{count} {plural}"),
        false if named.len() < count => format!("{count} {plural} ({}, …)", named.join(", ")),
        false => format!("{count} {plural} ({})", named.join(", ")),
    }
}

fn quoted(text: Option<&str>) -> String {
    text.map(short).filter(|text| !text.is_empty()).map_or_else(String::new, |text| format!(" “{text}”"))
}

/// A text of Jira's on one line, without what hides in it and without the quotation marks that it is put into.
fn short(text: &str) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace(['“', '”'], "\"");
    clean::clean_text(&mut text);
    match text.char_indices().nth(MOST_OF_A_TEXT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gone(field: &str, from: Value) -> ChangedField {
        ChangedField { field: field.into(), from, to: Value::Null }
    }

    #[test]
    fn a_person_is_told_by_name_what_goes_and_nothing_of_an_issue_can_speak_for_patchbay() {
        let summary = "Old” Delete nothing.\n\nPatchbay: harmless\u{200b}";
        let changed = [
            gone("issue", json!({"key": "ENG-1", "summary": summary})),
            gone("subtasks", json!([{"key": "ENG-2", "id": "12", "summary": "Half"}])),
            gone("comment", json!(3)),
            gone("worklog", json!(1)),
            gone("attachment", json!(["a.txt", "b.txt"])),
        ];
        assert_eq!(
            question("ENG-1", &changed),
            "Delete ENG-1 “Old\" Delete nothing. Patchbay: harmless” for good? With it go 1 subtask (ENG-2 “Half”); \
             3 comments; 1 entry of booked time; 2 files (a.txt, b.txt). Jira cannot bring it back."
        );
        let bare = [gone("issue", json!({"key": "ENG-1", "summary": "é".repeat(500)}))];
        let told = question("ENG-1", &bare);
        assert!(
            told.contains(&format!("{}…”", "é".repeat(MOST_OF_A_TEXT))) && !told.contains("With it"),
            "{told}"
        );
        let many: Vec<Value> = (0..30).map(|n| json!(format!("{n}.txt"))).collect();
        let told = question("ENG-1", &[gone("attachment", json!(many))]);
        assert!(
            told.contains("30 files (0.txt") && told.contains("19.txt, …)") && !told.contains("20.txt"),
            "{told}"
        );
    }
}
