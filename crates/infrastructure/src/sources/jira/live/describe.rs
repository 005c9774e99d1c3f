//! Fields of a project: for making and changing issues as the screens have them, for searches as the site has them.

use application::ports::{LiveField, LiveFieldsAsk, LivePurpose, SourceError};
use serde_json::json;

use super::super::api::Api;
use super::super::model::Issue;
use super::super::walk::Found;
use super::super::write::form::{Form, IssueType, issue_types};
use super::super::write::pick::label;

/// Values of a field that are named; the others are counted.
const MOST_VALUES: usize = 25;

/// By name.
pub(super) async fn fields(api: &Api<'_>, ask: &LiveFieldsAsk<'_>) -> Result<Vec<LiveField>, SourceError> {
    let mut fields = match ask.purpose {
        LivePurpose::Search => of_site(api).await?,
        LivePurpose::Create => {
            let kind = issue_type(api, ask).await?;
            of_form(&Form::of_new(api, ask.project, kind.id.as_deref().unwrap_or(&kind.name)).await?)
        }
        LivePurpose::Edit => of_form(&Form::of_edit(api, &an_issue(api, ask).await?).await?),
    };
    if let Some(query) = ask.query.map(str::to_lowercase) {
        fields.retain(|field| {
            field.name.to_lowercase().contains(&query) || field.id.to_lowercase().contains(&query)
        });
    }
    fields.sort_by(|a, b| (!a.required, &a.name, &a.id).cmp(&(!b.required, &b.name, &b.id)));
    Ok(fields)
}

async fn of_site(api: &Api<'_>) -> Result<Vec<LiveField>, SourceError> {
    let known = api.known().await?;
    let field = |definition: &super::super::fields::Definition| LiveField {
        id: definition.id.clone(),
        name: definition.name.trim().to_owned(),
        kind: definition.field_type(),
        required: false,
        allowed: Vec::new(),
        allowed_more: 0,
    };
    Ok(known.definitions.iter().map(field).collect())
}

fn of_form(form: &Form) -> Vec<LiveField> {
    let field = |(id, field): (&String, &super::super::write::form::Field)| {
        let kind = match &field.schema.items {
            Some(items) => format!("{} of {items}", field.schema.kind),
            None => field.schema.kind.clone(),
        };
        LiveField {
            id: id.clone(),
            name: field.name.trim().to_owned(),
            kind,
            required: field.required && !field.has_default_value,
            allowed: field.allowed_values.iter().filter_map(label).take(MOST_VALUES).collect(),
            allowed_more: field.allowed_values.len().saturating_sub(MOST_VALUES),
        }
    };
    form.0.iter().map(field).collect()
}

/// The type that was named, or the only one.
async fn issue_type(api: &Api<'_>, ask: &LiveFieldsAsk<'_>) -> Result<IssueType, SourceError> {
    let mut kinds = issue_types(api, ask.project).await?;
    let names = || kinds.iter().map(|kind| kind.name.clone()).collect();
    let Some(wanted) = ask.issue_type else {
        if let [_] = kinds.as_slice() {
            return Ok(kinds.remove(0));
        }
        return Err(SourceError::unknown_value(
            "/issue_type",
            format!("issues of {} are of several types: name one", ask.project),
            names(),
        ));
    };
    let wanted = wanted.trim();
    let is = |kind: &IssueType| kind.name.eq_ignore_ascii_case(wanted) || kind.id.as_deref() == Some(wanted);
    match kinds.iter().position(is) {
        Some(at) => Ok(kinds.swap_remove(at)),
        None => Err(SourceError::unknown_value(
            "/issue_type",
            format!("{} has no type of issue `{wanted}`", ask.project),
            names(),
        )),
    }
}

/// Jira tells the fields of an edit by issue only: the project's last one of that type.
async fn an_issue(api: &Api<'_>, ask: &LiveFieldsAsk<'_>) -> Result<String, SourceError> {
    let kind = issue_type(api, ask).await?;
    let mut jql = format!("project = \"{}\"", ask.project);
    if let Some(id) = kind.id.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit())) {
        jql.push_str(&format!(" AND issuetype = {id}"));
    }
    let body = json!({"jql": format!("{jql} ORDER BY updated DESC"), "maxResults": 1, "fields": ["key"]});
    let path = if api.is_cloud() { "/search/jql" } else { "/search" };
    let what = "an issue of the project";
    let answer = api.post(&api.rest(path), &body, what).await?;
    let text = answer.text();
    let found = Found::read(&text, what)?;
    let key = found.issues.first().and_then(|raw| serde_json::from_str::<Issue<'_>>(raw.get()).ok());
    key.map(|issue| issue.key).ok_or_else(|| {
        SourceError::unknown_value(
            "/for",
            format!("{} has no issue of that type to look at: ask with for = create", ask.project),
            vec!["create".into(), "search".into()],
        )
    })
}
