//! Accounts, what they may do, and the server itself.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::call::{Call, Kind};
use super::issues::visible;
use super::reply::Reply;
use super::site::JiraSite;
use super::time;
use crate::timestamp::now_ms;

/// `GET /serverInfo`, for everybody.
pub(super) fn server_info(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.allow(&[("doHealthCheck", Kind::Flag)])?;
    Ok(Reply::json(&match site.is_cloud() {
        true => json!({
            "baseUrl": call.base, "version": "1001.0.0-SNAPSHOT", "versionNumbers": [1001, 0, 0],
            "deploymentType": "Cloud", "buildNumber": 100_290, "buildDate": "2026-11-02T13:00:00.000+0000",
            "serverTime": time::iso(now_ms()), "scmInfo": "5a17c0de", "serverTitle": "Jira",
            "defaultLocale": {"locale": "en_US"}, "serverTimeZone": site.time_zone
        }),
        false => json!({
            "baseUrl": call.base, "version": "9.12.15", "versionNumbers": [9, 12, 15],
            "deploymentType": "Server", "buildNumber": 9_120_015, "buildDate": "2025-01-20T00:00:00.000+0000",
            "databaseBuildNumber": 9_120_015, "serverTime": time::iso(now_ms()), "scmInfo": "5a17c0de",
            "serverTitle": "Jira"
        }),
    }))
}

/// `GET /myself`.
pub(super) fn myself(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.allow(&[("expand", Kind::Text)])?;
    if call.login.token.is_empty() {
        return Err(Reply::unauthorized());
    }
    let mut user = call.view(site).user(site.account(call.login));
    if user.is_null() {
        user = json!({"displayName": "Automation", "active": true});
        user[if site.is_cloud() { "accountId" } else { "key" }] = json!("automation");
    }
    user["timeZone"] = json!(site.time_zone);
    user["locale"] = json!("en_US");
    user["groups"] = json!({"size": 1, "items": []});
    user["applicationRoles"] = json!({"size": 1, "items": []});
    Ok(Reply::json(&user))
}

const PERMISSIONS: [(&str, &str, bool); 10] = [
    ("BROWSE_PROJECTS", "Browse Projects", false),
    ("CREATE_ISSUES", "Create Issues", true),
    ("EDIT_ISSUES", "Edit Issues", true),
    ("TRANSITION_ISSUES", "Transition Issues", true),
    ("ASSIGN_ISSUES", "Assign Issues", true),
    ("ADD_COMMENTS", "Add Comments", true),
    ("DELETE_ISSUES", "Delete Issues", true),
    ("WORK_ON_ISSUES", "Work On Issues", true),
    ("LINK_ISSUES", "Link Issues", true),
    ("ADMINISTER", "Administer Jira", true),
];

/// `GET /mypermissions`; on Cloud `permissions` must be given.
pub(super) fn permissions(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.allow(&[
        ("projectKey", Kind::Text),
        ("projectId", Kind::Text),
        ("issueKey", Kind::Text),
        ("issueId", Kind::Text),
        ("permissions", Kind::Text),
        ("projectUuid", Kind::Text),
        ("projectConfigurationUuid", Kind::Text),
        ("commentId", Kind::Text),
    ])?;
    let asked = call.list("permissions");
    if asked.is_empty() && site.is_cloud() {
        return Err(Reply::bad_request("The 'permissions' query parameter is required."));
    }
    let mut seen = true;
    if let Some(project) = call.text("projectKey").or(call.text("projectId")) {
        if site.project(project).is_none() {
            return Err(Reply::no_project(project));
        }
        seen = site.sees(call.login, project);
    }
    if let Some(issue) = call.text("issueKey").or(call.text("issueId")) {
        visible(call, site, issue)?;
    }
    if let Some(name) = asked.iter().find(|name| PERMISSIONS.iter().all(|(known, ..)| known != name)) {
        return Err(Reply::bad_request(&format!("Unrecognized permission: {name}")));
    }
    let shown: Map<String, Value> = PERMISSIONS
        .iter()
        .zip(1..)
        .filter(|((key, ..), _)| asked.is_empty() || asked.iter().any(|name| name == key))
        .map(|((key, name, writes), id)| {
            let have = seen && !(*writes && call.login.read_only);
            let kind = if *key == "ADMINISTER" { "GLOBAL" } else { "PROJECT" };
            let body = json!({"id": id.to_string(), "key": key, "name": name, "type": kind, "description": "", "havePermission": have});
            ((*key).to_owned(), body)
        })
        .collect();
    Ok(Reply::json(&json!({"permissions": shown})))
}

/// `GET /user`.
pub(super) fn user(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.allow(&[
        ("accountId", Kind::Text),
        ("username", Kind::Text),
        ("key", Kind::Text),
        ("expand", Kind::Text),
    ])?;
    let wanted = call.text("accountId").or(call.text("key")).or(call.text("username"));
    let wanted =
        wanted.ok_or_else(|| Reply::bad_request("Either the 'accountId' or the 'key' must be given."))?;
    let id = match site.is_cloud() {
        true => Some(wanted.to_owned()),
        false => site
            .catalog
            .users
            .iter()
            .find(|(id, user)| *id == wanted || user["name"] == wanted)
            .map(|(id, _)| id.clone()),
    };
    let user = id.map_or(Value::Null, |id| call.view(site).user(&id));
    match user.is_null() {
        true => Err(Reply::error(
            StatusCode::NOT_FOUND,
            "Specified user does not exist or you do not have required permissions",
        )),
        false => Ok(Reply::json(&user)),
    }
}

/// `GET /user/bulk`.
pub(super) fn bulk(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.only(site.is_cloud())?;
    call.allow(&[
        ("startAt", Kind::Integer),
        ("maxResults", Kind::Integer),
        ("username", Kind::List),
        ("key", Kind::List),
        ("accountId", Kind::List),
    ])?;
    let ids = call.list("accountId");
    if ids.is_empty() || ids.len() > 200 {
        return Err(Reply::bad_request("Between 1 and 200 account ids must be given."));
    }
    let view = call.view(site);
    let rows: Vec<Value> = ids.iter().map(|id| view.user(id)).filter(|user| !user.is_null()).collect();
    Ok(call.page(&rows, 10, 200))
}

/// `GET /users/search`: everybody, inactive accounts too, as an array.
pub(super) fn all(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.only(site.is_cloud())?;
    call.allow(&[("startAt", Kind::Integer), ("maxResults", Kind::Integer)])?;
    Ok(listed(call, site, |_| true, 1000))
}

/// `GET /user/search`: by name or e-mail address.
pub(super) fn search(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    let known = [
        ("query", Kind::Text),
        ("username", Kind::Text),
        ("accountId", Kind::Text),
        ("startAt", Kind::Integer),
        ("maxResults", Kind::Integer),
        ("property", Kind::Text),
        ("includeActive", Kind::Flag),
        ("includeInactive", Kind::Flag),
    ];
    call.allow(&known)?;
    let name = if site.is_cloud() { "query" } else { "username" };
    if call.text(name).is_none() && call.text("accountId").is_none() {
        return Err(Reply::bad_request(&format!("The '{name}' query parameter was not provided.")));
    }
    let inactive = call.flag("includeInactive") && !site.is_cloud();
    Ok(listed(call, site, |user| (inactive || user["active"] != false) && is_meant(call, user), 1000))
}

/// `GET /user/assignable/search`.
pub(super) fn assignable(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.allow(&[
        ("query", Kind::Text),
        ("sessionId", Kind::Text),
        ("username", Kind::Text),
        ("accountId", Kind::Text),
        ("project", Kind::Text),
        ("issueKey", Kind::Text),
        ("issueId", Kind::Text),
        ("startAt", Kind::Integer),
        ("maxResults", Kind::Integer),
        ("actionDescriptorId", Kind::Integer),
        ("recommend", Kind::Flag),
    ])?;
    match (call.text("project"), call.text("issueKey").or(call.text("issueId"))) {
        (Some(project), _) if !site.sees(call.login, project) => return Err(Reply::no_project(project)),
        (None, None) => return Err(Reply::bad_request("The project or the issue must be given.")),
        (_, Some(issue)) => drop(visible(call, site, issue)?),
        _ => {}
    }
    Ok(listed(call, site, |user| user["active"] != false && is_meant(call, user), 1000))
}

/// `GET /user/viewissue/search`: who may see an issue.
pub(super) fn viewers(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.allow(&[
        ("query", Kind::Text),
        ("username", Kind::Text),
        ("accountId", Kind::Text),
        ("issueKey", Kind::Text),
        ("projectKey", Kind::Text),
        ("startAt", Kind::Integer),
        ("maxResults", Kind::Integer),
    ])?;
    match (call.text("issueKey"), call.text("projectKey")) {
        (Some(issue), _) => drop(visible(call, site, issue)?),
        (None, Some(project)) if !site.sees(call.login, project) => return Err(Reply::no_project(project)),
        (None, Some(_)) => {}
        (None, None) => return Err(Reply::bad_request("The project or the issue must be given.")),
    }
    let name = if site.is_cloud() { "query" } else { "username" };
    if call.text(name).is_none() && call.text("accountId").is_none() {
        return Err(Reply::bad_request(&format!("The '{name}' query parameter was not provided.")));
    }
    Ok(listed(call, site, |user| user["active"] != false && is_meant(call, user), 1000))
}

fn is_meant(call: &Call<'_>, user: &Value) -> bool {
    let id = call.text("accountId").is_none_or(|id| user["accountId"] == id);
    let text = call
        .text("query")
        .or(call.text("username"))
        .filter(|text| *text != ".")
        .unwrap_or_default()
        .to_lowercase();
    let names = ["displayName", "emailAddress", "name", "key"];
    id && names.iter().any(|name| {
        let name = user[*name].as_str().unwrap_or_default().to_lowercase();
        name.starts_with(&text) || name.split(' ').any(|word| word.starts_with(&text))
    })
}

fn listed(call: &Call<'_>, site: &JiraSite, wanted: impl Fn(&Value) -> bool, cap: usize) -> Reply {
    let (start, size) = call.window(50, cap);
    let users = site.catalog.users.iter().filter(|(_, user)| wanted(user));
    let view = call.view(site);
    let shown: Vec<Value> = users.skip(start).take(size).map(|(id, _)| view.user(id)).collect();
    Reply::json(&json!(shown))
}
