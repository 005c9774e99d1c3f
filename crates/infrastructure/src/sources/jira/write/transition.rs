//! Taking an issue to another status.

use application::ports::{SourceError, SourceErrorKind};
use domain::{Transition, WrittenItem};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::super::nearest::nearest;
use super::super::super::refusals::{is_definite, midway};
use super::super::api::{Api, segment};
use super::super::model::Named;
use super::fields::Draft;
use super::form::{Field, Form};
use super::issue::{Issue, finish};
use super::look::marked::{self, Looked};
use super::people::Among;
use super::update::project_of;
use super::values::Place;
use super::{Mode, comment, property, rehearse, rejected, send, text};

#[derive(Deserialize)]
struct Transitions {
    #[serde(default)]
    transitions: Vec<Step>,
}

/// A transition the issue can take now.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    id: String,
    #[serde(default)]
    name: String,
    to: Named,
    #[serde(default)]
    is_available: Option<bool>,
    #[serde(default)]
    fields: std::collections::BTreeMap<String, Field>,
}

impl Step {
    fn status(&self) -> &str {
        self.to.name.as_deref().unwrap_or_default()
    }
}

/// Takes an issue to a status by the transition that leads there.
pub(super) async fn transition(
    api: &Api<'_>,
    key: &str,
    asked: &Transition,
    marker: &str,
    mode: Mode,
) -> Result<WrittenItem, SourceError> {
    let issue = Issue::read(api, key, &["status", "resolution", "project"]).await?;
    issue.require_selected(api)?;
    if is_at(&issue, &asked.to) && is_resolved(&issue, asked) && asked.fields.is_empty() {
        let mut warnings = vec![format!("{} is in this status already", issue.key)];
        let Some(text) = &asked.comment else {
            issue.require_unchanged(asked.if_unchanged_since)?;
            return Ok(WrittenItem { warnings, ..issue.written(api) });
        };
        if mode == Mode::Rehearse {
            return Ok(WrittenItem { warnings, ..issue.written(api) });
        }
        // What is left to do, also after an attempt that got as far as this. It undoes nobody's work.
        if let Looked::Marked(id) = marked::comment(api, &issue.key, None, marker).await? {
            return Ok(comment::with_comment(WrittenItem { warnings, ..issue.written(api) }, api, id));
        }
        let told =
            comment::post(api, &issue, text::new(api.dialect(), text), vec![property(marker)], "/comment")
                .await?;
        warnings.extend(told.warnings);
        return Ok(WrittenItem { warnings, ..told });
    }
    issue.require_unchanged(asked.if_unchanged_since)?;
    // Read just before: ids are of a workflow and a state.
    let step = choose(steps(api, &issue).await?, &issue, asked)?;
    let form = Form(step.fields.clone());
    let project = project_of(&issue);
    let place = Place { project: &project, people: Among::Issue(&issue.key), documents: false };
    let mut draft = Draft::new(api, &form, place, &issue.fields);
    if let Some(resolution) = &asked.resolution {
        if !form.0.contains_key("resolution") {
            return Err(rejected("/resolution", format!("the transition {} takes no resolution", step.name)));
        }
        draft.set_own("resolution", &Value::String(resolution.clone())).await?;
    }
    draft.set_named(&asked.fields).await?;
    let given = |id: &str| draft.has(id) || (id == "comment" && asked.comment.is_some());
    form.require_all(given, &format!("the transition {}", step.name))?;
    if mode == Mode::Rehearse {
        return Ok(rehearse::of_change(api, draft, &issue, Some(step.status())));
    }
    let mut body = draft.body();
    if let Some(comment) = &asked.comment {
        let written = text::new(api.dialect(), comment);
        draft.warnings.extend(written.warnings);
        let comment = json!({"body": written.value, "properties": [property(marker)]});
        body["update"]["comment"] = json!([{"add": comment}]);
    }
    body["transition"] = json!({"id": step.id});
    let what = format!("the transition {} of {}", step.name, issue.key);
    let path = path(api, &issue);
    send::change(api, Method::POST, &path, &body, &draft.pointers, &what).await?;
    let mut comment_id = None;
    if let Some(text) = asked.comment.as_ref().filter(|_| !form.0.contains_key("comment")) {
        comment_id = comment_anyway(api, &issue, text, marker, &mut draft.warnings).await.map_err(midway)?;
    }
    let mut watched = vec![("status".to_owned(), "status".to_owned())];
    if !draft.watched.iter().any(|(_, id)| id == "resolution") {
        watched.push(("resolution".to_owned(), "resolution".to_owned()));
    }
    watched.append(&mut draft.watched);
    let told = finish(api, &issue.key, &watched, Some(&issue), &issue.id, draft.warnings).await;
    Ok(match comment_id {
        Some(id) => comment::with_comment(told, api, id),
        None => told,
    })
}

fn path(api: &Api<'_>, issue: &Issue) -> String {
    api.rest(&format!("/issue/{}/transitions", segment(&issue.key)))
}

async fn steps(api: &Api<'_>, issue: &Issue) -> Result<Vec<Step>, SourceError> {
    let what = format!("the transitions of {}", issue.key);
    let query = [("expand", "transitions.fields")];
    Ok(api.get(&path(api, issue), &query, &what).await?.json::<Transitions>(&what)?.transitions)
}

/// Whether an issue can take this transition now, named in any way.
pub(super) async fn is_open(api: &Api<'_>, issue: &Issue, to: &str) -> Result<bool, SourceError> {
    let steps = steps(api, issue).await?;
    Ok(steps
        .iter()
        .any(|step| [step.status(), &step.name, &step.id].into_iter().any(|name| is_same(name, to))))
}

pub(super) fn is_same(name: &str, wanted: &str) -> bool {
    name.trim().to_lowercase() == wanted.trim().to_lowercase()
}

/// Sees to it that the comment of a transition is there: where that has no screen for it, Jira takes the one and drops the
/// other without a word (<https://github.com/go-jira/jira/issues/45>).
async fn comment_anyway(
    api: &Api<'_>,
    issue: &Issue,
    text: &str,
    marker: &str,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, SourceError> {
    let written = match marked::comment(api, &issue.key, Some(text), marker).await {
        Ok(Looked::Marked(id)) => return Ok(Some(id)),
        // It may be there without its mark, or among too many others.
        Ok(Looked::Unsure) => {
            warnings
                .push(format!("look at {} whether the comment was written: Jira does not tell", issue.key));
            return Ok(None);
        }
        Ok(Looked::Absent) => {
            let written = text::new(api.dialect(), text);
            comment::post(api, issue, written, vec![property(marker)], "/comment").await
        }
        Err(error) => Err(error),
    };
    match written {
        Ok(written) => Ok(written.comment_id),
        Err(error) if is_definite(error.kind) => {
            warnings.push(format!("the status was changed, and the comment not written: {error}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether an issue has the resolution that is asked for, if one is.
fn is_resolved(issue: &Issue, asked: &Transition) -> bool {
    let name = issue.field("resolution").get("name").and_then(Value::as_str).unwrap_or_default();
    asked.resolution.as_ref().is_none_or(|asked| asked.trim().to_lowercase() == name.trim().to_lowercase())
}

/// Whether an issue is in the status of this name.
pub(super) fn is_at(issue: &Issue, status: &str) -> bool {
    let name = issue.field("status").get("name").and_then(Value::as_str).unwrap_or_default();
    is_same(name, status)
}

/// The transition that leads to the status, or is called so, or has this id. Of several, one that asks for nothing more
/// than is given.
fn choose(steps: Vec<Step>, issue: &Issue, asked: &Transition) -> Result<Step, SourceError> {
    let same = |name: &str| is_same(name, &asked.to);
    let open: Vec<Step> = steps.into_iter().filter(|step| step.is_available != Some(false)).collect();
    let leads = open.iter().any(|step| same(step.status()));
    let called = open.iter().any(|step| same(&step.name));
    let mut names: Vec<String> = open.iter().map(|step| step.status().to_owned()).collect();
    let fit = |step: &Step| match (leads, called) {
        (true, _) => same(step.status()),
        (false, true) => same(&step.name),
        (false, false) => same(&step.id),
    };
    let lacks = |step: &Step| {
        let needs = step.fields.iter().filter(|(_, field)| field.required && !field.has_default_value);
        needs.filter(|(id, field)| !is_given(id, field, asked)).count()
    };
    let resolves = |step: &Step| asked.resolution.is_some() && !step.fields.contains_key("resolution");
    let best = open.into_iter().filter(fit).min_by_key(|step| (resolves(step), lacks(step)));
    best.ok_or_else(|| {
        names.sort_unstable();
        names.dedup();
        let from = issue.field("status").get("name").and_then(Value::as_str).unwrap_or("its status");
        let allowed =
            if names.len() <= 20 { names } else { nearest(&asked.to, names.iter().map(String::as_str)) };
        SourceError {
            field: Some("/to".into()),
            allowed,
            ..SourceError::new(
                SourceErrorKind::Rejected,
                format!("no transition leads {} from {from} to `{}`", issue.key, asked.to),
            )
        }
    })
}

fn is_given(id: &str, field: &Field, asked: &Transition) -> bool {
    let named =
        |given: &String| given == id || given.trim().to_lowercase() == field.name.trim().to_lowercase();
    match id {
        "resolution" if asked.resolution.is_some() => true,
        "comment" if asked.comment.is_some() => true,
        _ => asked.fields.keys().any(named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Vec<Step> {
        let steps: Transitions = serde_json::from_value(json!({"transitions": [
            {"id": "11", "name": "Start", "to": {"name": "In Progress"}},
            {"id": "21", "name": "Resolve", "to": {"name": "Done"},
             "fields": {"resolution": {"required": true, "name": "Resolution", "schema": {"type": "resolution"}}}},
            {"id": "31", "name": "Skip", "to": {"name": "Done"}},
            {"id": "41", "name": "Hidden", "to": {"name": "Blocked"}, "isAvailable": false},
        ]}))
        .unwrap();
        steps.transitions
    }

    fn chosen(to: &str, resolution: Option<&str>) -> Result<String, SourceError> {
        let issue = serde_json::from_value(
            json!({"id": "1", "key": "ENG-1", "fields": {"status": {"name": "To Do"}}}),
        )
        .unwrap();
        let asked =
            Transition { to: to.into(), resolution: resolution.map(str::to_owned), ..Transition::default() };
        choose(steps(), &issue, &asked).map(|step| step.id)
    }

    #[test]
    fn a_transition_is_chosen_by_the_status_it_leads_to_and_what_it_asks_for() {
        assert_eq!(chosen("in progress", None).unwrap(), "11");
        assert_eq!(chosen("Done", None).unwrap(), "31", "one that asks for nothing more");
        assert_eq!(chosen("Done", Some("Fixed")).unwrap(), "21", "one that takes the resolution");
        assert_eq!(chosen("Start", None).unwrap(), "11", "by its own name where no status has it");
        assert_eq!(chosen(" 21 ", None).unwrap(), "21", "by its id, whatever it asks for");
        assert!(chosen("41", None).is_err(), "one that is not open to the issue");
    }

    #[test]
    fn a_status_that_cannot_be_reached_is_answered_with_those_that_can() {
        let error = chosen("Blocked", None).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("/to"));
        assert_eq!(error.allowed, ["Done", "In Progress"]);
        assert!(error.message.contains("To Do"), "{error}");
    }
}
