//! Who watches an issue.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Write;
use crate::jira::call::Call;
use crate::jira::issues::visible;
use crate::jira::reply::Reply;
use crate::jira::site::JiraSite;

/// `GET /issue/{idOrKey}/watchers`.
pub(in super::super) fn watchers(call: &Call<'_>, site: &JiraSite, key: &str) -> Result<Reply, Reply> {
    call.allow(&[])?;
    let issue = visible(call, site, key)?;
    let view = call.view(site);
    let people: Vec<Value> = issue.watchers.iter().map(|id| view.user(id)).collect();
    Ok(Reply::json(&json!({
        "self": view.url(&format!("issue/{}/watchers", issue.id)), "watchCount": people.len(),
        "isWatching": issue.watchers.contains(site.account(call.login)), "watchers": people
    })))
}

/// `POST /issue/{idOrKey}/watchers`: the body is the id, as JSON text; without one it is who asks.
pub(super) fn watch(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[])?;
    let id = write.target()?;
    let person = match write.call.body.is_empty() {
        true => write.account.clone(),
        false => match serde_json::from_slice(write.call.body) {
            Ok(Value::String(given)) => person(write.site, &given)?,
            _ => return Err(Reply::bad_request("The account ID of the user must be given as a string.")),
        },
    };
    write.site.edit_silently(id, |issue| {
        issue.watchers.insert(person);
    });
    Ok(Reply::no_content())
}

/// `DELETE /issue/{idOrKey}/watchers`, with `accountId` on Cloud and `username` on Data Center.
pub(super) fn unwatch(write: &mut Write<'_>) -> Result<Reply, Reply> {
    let name = if write.site.is_cloud() { "accountId" } else { "username" };
    write.call.allow(&[(name, crate::jira::call::Kind::Text)])?;
    let id = write.target()?;
    let given = write.call.text(name);
    let given = given.ok_or_else(|| Reply::bad_request(&format!("The parameter '{name}' is required.")))?;
    let person = person(write.site, given)?;
    write.site.edit_silently(id, |issue| {
        issue.watchers.remove(&person);
    });
    Ok(Reply::no_content())
}

/// Cloud knows people by account id alone, Data Center by login.
fn person(site: &JiraSite, given: &str) -> Result<String, Reply> {
    let is = |id: &str, user: &Value| if site.is_cloud() { id == given } else { user["name"] == given };
    let found = site.catalog.users.iter().find(|(id, user)| is(id, user));
    found.map(|(id, _)| id.clone()).ok_or_else(|| {
        Reply::error(
            StatusCode::NOT_FOUND,
            &format!("The user '{given}' does not exist or you do not have permission to see it."),
        )
    })
}
