//! The repository itself, its labels, milestones and assignable people.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::call::Call;
use super::reply::Reply;
use crate::dataset::Repository;

/// <https://docs.github.com/rest/repos/repos#get-a-repository>
pub(super) fn repository(repository: &Repository, may_push: bool) -> Reply {
    let text = repository.fragments.expand(&repository.object.to_string());
    if may_push {
        return Reply::ok(text);
    }
    let mut object = repository.value(&text);
    object["permissions"] =
        json!({"admin": false, "maintain": false, "push": false, "triage": false, "pull": true});
    Reply::json(&object)
}

/// <https://docs.github.com/rest/issues/assignees#check-if-a-user-can-be-assigned>
pub(super) fn may_be_assigned(repository: &Repository, login: &str) -> Result<Reply, Reply> {
    let same = |one: &Value| one["login"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(login));
    match repository.people.iter().any(same) {
        true => Ok(Reply::new(StatusCode::NO_CONTENT, String::new())),
        false => Err(Reply::not_found()),
    }
}

/// <https://docs.github.com/rest/issues/labels#list-labels-for-a-repository>
pub(super) fn labels(call: &Call<'_>, repository: &Repository) -> Reply {
    values(call, &repository.labels.iter().collect::<Vec<_>>())
}

/// <https://docs.github.com/rest/issues/assignees#list-assignees>
pub(super) fn assignees(call: &Call<'_>, repository: &Repository) -> Reply {
    values(call, &repository.people.iter().collect::<Vec<_>>())
}

/// <https://docs.github.com/rest/issues/milestones#list-milestones>
pub(super) fn milestones(call: &Call<'_>, repository: &Repository) -> Result<Reply, Reply> {
    let state = call.choice("Milestone", "state", &["open", "closed", "all"])?;
    let sort = call.choice("Milestone", "sort", &["due_on", "completeness"])?;
    let direction = call.choice("Milestone", "direction", &["asc", "desc"])?;
    let wanted = |milestone: &&Value| state == "all" || milestone["state"] == state;
    let mut milestones: Vec<&Value> = repository.milestones.iter().filter(wanted).collect();
    let count = |milestone: &Value, key: &str| milestone[key].as_u64().unwrap_or_default();
    milestones.sort_by_key(|milestone| count(milestone, "number"));
    if sort == "due_on" {
        // Those without a date come last, as on the site.
        milestones.sort_by_key(|milestone| milestone["due_on"].as_str().unwrap_or("9999").to_owned());
    } else {
        let done = |milestone: &Value| count(milestone, "closed_issues") * 1000;
        let all = |milestone: &Value| count(milestone, "closed_issues") + count(milestone, "open_issues");
        milestones.sort_by_key(|milestone| done(milestone) / all(milestone).max(1));
    }
    if direction == "desc" {
        milestones.reverse();
    }
    Ok(values(call, &milestones))
}

fn values(call: &Call<'_>, values: &[&Value]) -> Reply {
    call.page(values, |value, out| out.push_str(&value.to_string()))
}
