//! New issues.

use application::ports::{SourceError, SourceErrorKind};
use domain::{ListChange, NewItem, WrittenItem};
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::super::nearest::nearest;
use super::super::api::Api;
use super::super::malformed;
use super::fields::Draft;
use super::form::{Form, IssueType, issue_types};
use super::issue::{finish, is_selected};
use super::people::Among;
use super::values::Place;
use super::{Mode, property, rehearse, rejected, send};

/// The type that is taken where none is given and the project has it.
const DEFAULT_TYPE: &str = "task";

#[derive(Deserialize)]
struct Created {
    id: String,
    key: String,
}

/// Makes an issue with the marker on it, in one request.
pub(super) async fn create(
    api: &Api<'_>,
    new: &NewItem,
    marker: &str,
    mode: Mode,
) -> Result<WrittenItem, SourceError> {
    let project = new.project.trim();
    if let Some(keys) = api.settings.projects.as_ref().filter(|_| !is_selected(api, project)) {
        return Err(SourceError::unknown_value(
            "/project",
            format!("{project} is none of the instance's projects: an admin can add it to its settings"),
            nearest(project, keys.iter().map(String::as_str)),
        ));
    }
    let types = match issue_types(api, project).await {
        Ok(types) => types,
        Err(error) => return Err(unknown_project(api, project, error).await),
    };
    let issue_type = choose_type(&types, new)?;
    let type_id = issue_type.id.clone().ok_or_else(|| malformed("Jira's type of issue has no id"))?;
    let form = Form::of_new(api, project, &type_id).await?;
    let nothing = Map::new();
    let place = Place { project, people: Among::Project(project), documents: new.documents };
    let mut draft = Draft::new(api, &form, place, &nothing);
    draft.set("project", "project", by_key_or_id(project));
    draft.set("type", "issuetype", json!({"id": type_id}));
    if new.title.trim().is_empty() {
        return Err(rejected("/title", "an issue needs a title"));
    }
    draft.set("title", "summary", Value::String(new.title.clone()));
    fill(&mut draft, new).await?;
    let what = format!("a new {} in {project}", issue_type.name);
    form.require_all(|id| draft.has(id) || id == "reporter", &what)?;
    if mode == Mode::Rehearse {
        return Ok(rehearse::of_new(draft));
    }

    let mut body = draft.body();
    body["properties"] = json!([property(marker)]);
    let answer = send::change(api, Method::POST, &api.rest("/issue"), &body, &draft.pointers, &what).await?;
    let created: Created = serde_json::from_slice(&answer.body).map_err(|error| {
        malformed(format!("Jira's answer for a new issue is not what it should be ({error})"))
    })?;
    let watched: Vec<_> = draft.watched.iter().filter(|(name, _)| name != "project").cloned().collect();
    Ok(finish(api, &created.key, &watched, None, &created.id, draft.warnings).await)
}

async fn fill(draft: &mut Draft<'_, '_>, new: &NewItem) -> Result<(), SourceError> {
    if let Some(body) = &new.body {
        draft.set_body(Some(body))?;
    }
    if !new.assignees.is_empty() {
        draft.set_assignee(&new.assignees).await?;
    }
    if !new.labels.is_empty() {
        draft.set_labels(&ListChange::Set(new.labels.clone()))?;
    }
    if let Some(priority) = &new.priority {
        draft.set_own("priority", &Value::String(priority.clone())).await?;
    }
    if let Some(parent) = &new.parent {
        draft.set_parent(Some(parent)).await?;
    }
    if let Some(milestone) = &new.milestone {
        draft.set_milestone(Some(milestone)).await?;
    }
    if let Some(due_on) = new.due_on {
        draft.set_own("due_on", &Value::String(due_on.to_string())).await?;
    }
    if let Some(sprint) = &new.sprint {
        draft.set_sprint(Some(sprint)).await?;
    }
    if new.section.is_some() {
        return Err(no_sections());
    }
    draft.set_named(&new.fields).await
}

pub(super) fn no_sections() -> SourceError {
    rejected(
        "/section",
        "Jira has no sections: an issue's column follows from its status, which a transition changes",
    )
}

fn choose_type<'t>(types: &'t [IssueType], new: &NewItem) -> Result<&'t IssueType, SourceError> {
    let names = || types.iter().map(|found| found.name.as_str());
    let Some(given) = &new.item_type else {
        let default = types.iter().find(|found| found.name.to_lowercase() == DEFAULT_TYPE);
        return default.or_else(|| types.iter().find(|found| !found.subtask)).ok_or_else(|| {
            SourceError::unknown_value(
                "/type",
                format!("the project {} has no type that could be taken for granted: name one", new.project),
                nearest("", names()),
            )
        });
    };
    let wanted = given.trim().to_lowercase();
    let by_name = types.iter().find(|found| found.name.trim().to_lowercase() == wanted);
    by_name.or_else(|| types.iter().find(|found| found.id.as_deref() == Some(given.trim()))).ok_or_else(
        || {
            SourceError::unknown_value(
                "/type",
                format!(
                    "the project {} has no type of issue called `{given}` that may be created",
                    new.project
                ),
                nearest(given, names()),
            )
        },
    )
}

fn by_key_or_id(project: &str) -> Value {
    if project.bytes().all(|byte| byte.is_ascii_digit()) {
        json!({"id": project})
    } else {
        json!({"key": project})
    }
}

#[derive(Deserialize)]
struct Projects {
    #[serde(default)]
    values: Vec<Project>,
}

#[derive(Deserialize)]
struct Project {
    #[serde(default)]
    key: String,
}

/// Names the projects there are, when this one is not.
async fn unknown_project(api: &Api<'_>, project: &str, error: SourceError) -> SourceError {
    if !matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Rejected) {
        return error;
    }
    let keys = visible(api).await.unwrap_or_default();
    SourceError {
        allowed: nearest(project, keys.iter().map(String::as_str)),
        upstream_status: error.upstream_status,
        ..rejected(
            "/project",
            format!("Jira shows no project `{project}` in which this account may create issues"),
        )
    }
}

async fn visible(api: &Api<'_>) -> Result<Vec<String>, SourceError> {
    let what = "the projects";
    let projects = if api.is_cloud() {
        let query = [("maxResults", "100")];
        api.get(&api.rest("/project/search"), &query, what).await?.json::<Projects>(what)?.values
    } else {
        api.get(&api.rest("/project"), &[], what).await?.json(what)?
    };
    Ok(projects.into_iter().map(|project| project.key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types() -> Vec<IssueType> {
        serde_json::from_value(json!([
            {"id": "1", "name": "Sub-task", "subtask": true}, {"id": "2", "name": "Bug"}, {"id": 3, "name": "Task"},
        ]))
        .unwrap()
    }

    #[test]
    fn a_type_is_chosen_by_name_and_a_task_where_none_is_given() {
        let chosen = |item_type: Option<&str>| {
            let new = NewItem { item_type: item_type.map(str::to_owned), ..NewItem::default() };
            choose_type(&types(), &new).map(|found| found.name.clone())
        };
        assert_eq!(chosen(None).unwrap(), "Task");
        assert_eq!(chosen(Some("bug")).unwrap(), "Bug");
        assert_eq!(chosen(Some("3")).unwrap(), "Task");
        let error = chosen(Some("Bugg")).unwrap_err();
        assert_eq!((error.field.as_deref(), error.allowed[0].as_str()), (Some("/type"), "Bug"));
    }
}
