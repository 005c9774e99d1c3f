//! What issues refer to, as lists.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::call::{Call, Kind};
use super::catalog;
use super::issue::id_of;
use super::reply::Reply;
use super::site::JiraSite;

/// `GET /field`: an array of all.
pub(super) fn fields(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.allow(&[])?;
    Ok(Reply::json(&json!(site.catalog.fields)))
}

/// `GET /field/search`.
pub(super) fn fields_page(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.only(site.is_cloud())?;
    call.allow(&[
        ("startAt", Kind::Integer),
        ("maxResults", Kind::Integer),
        ("type", Kind::List),
        ("id", Kind::List),
        ("query", Kind::Text),
        ("orderBy", Kind::Text),
        ("expand", Kind::Text),
        ("projectIds", Kind::Integers),
    ])?;
    let (kinds, ids) = (call.list("type"), call.list("id"));
    let query = call.text("query").unwrap_or_default().to_lowercase();
    let wanted = |field: &&Value| {
        let kind = if field["custom"] == true { "custom" } else { "system" };
        (kinds.is_empty() || kinds.iter().any(|one| one == kind))
            && (ids.is_empty() || ids.iter().any(|id| field["id"] == id.as_str()))
            && field["name"].as_str().is_some_and(|name| name.to_lowercase().contains(&query))
    };
    let shown = |field: &Value| json!({"id": field["id"], "name": field["name"], "schema": field["schema"], "description": ""});
    let rows: Vec<Value> = site.catalog.fields.iter().filter(wanted).map(shown).collect();
    Ok(call.page(&rows, 50, 50))
}

fn all(call: &Call<'_>, site: &JiraSite, kind: &str) -> Vec<Value> {
    let view = call.view(site);
    let objects = site.catalog.of(kind).into_iter().flatten();
    objects.map(|(id, object)| view.reference(kind, id, object)).collect()
}

/// `GET /status`, `/priority`, `/issuetype`, `/resolution`: an array of all.
pub(super) fn objects(call: &Call<'_>, site: &JiraSite, kind: &str) -> Result<Reply, Reply> {
    call.allow(&[])?;
    Ok(Reply::json(&json!(all(call, site, kind))))
}

/// `GET /priority/search`, `/resolution/search`.
pub(super) fn page(call: &Call<'_>, site: &JiraSite, kind: &str) -> Result<Reply, Reply> {
    call.only(site.is_cloud())?;
    call.allow(&[
        ("startAt", Kind::Integer),
        ("maxResults", Kind::Integer),
        ("id", Kind::List),
        ("projectId", Kind::List),
        ("priorityName", Kind::Text),
        ("onlyDefault", Kind::Flag),
        ("expand", Kind::Text),
    ])?;
    Ok(call.page(&all(call, site, kind), 50, 50))
}

/// `GET /statuses/search`.
pub(super) fn statuses_page(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.only(site.is_cloud())?;
    call.allow(&[
        ("projectId", Kind::Text),
        ("startAt", Kind::Integer),
        ("maxResults", Kind::Integer),
        ("searchString", Kind::Text),
        ("statusCategory", Kind::OneOf(&["TODO", "IN_PROGRESS", "DONE"])),
    ])?;
    let category = |key: &Value| match key.as_str() {
        Some("done") => "DONE",
        Some("indeterminate") => "IN_PROGRESS",
        _ => "TODO",
    };
    let rows: Vec<Value> = all(call, site, "status")
        .into_iter()
        .map(|one| {
            let kind = category(&one["statusCategory"]["key"]);
            json!({"id": one["id"], "name": one["name"], "statusCategory": kind, "scope": {"type": "GLOBAL"}, "description": ""})
        })
        .filter(|one| call.text("statusCategory").is_none_or(|wanted| one["statusCategory"] == wanted))
        .collect();
    Ok(call.page(&rows, 200, 200))
}

/// `GET /statuscategory`.
pub(super) fn categories(call: &Call<'_>) -> Result<Reply, Reply> {
    call.allow(&[])?;
    Ok(Reply::json(&json!(catalog::categories())))
}

/// `GET /issueLinkType`.
pub(super) fn link_types(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.allow(&[])?;
    let kinds: Vec<&Value> = site.catalog.link_types.values().collect();
    Ok(Reply::json(&json!({"issueLinkTypes": kinds})))
}

/// `GET /label`.
pub(super) fn labels(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.only(site.is_cloud())?;
    call.allow(&[("startAt", Kind::Integer), ("maxResults", Kind::Integer)])?;
    let labels: BTreeSet<&str> =
        site.issues().flat_map(|issue| issue.array("labels")).filter_map(Value::as_str).collect();
    let rows: Vec<Value> = labels.into_iter().map(|label| json!(label)).collect();
    Ok(call.page(&rows, 1000, 1000))
}

fn seen<'s>(call: &'s Call<'_>, site: &'s JiraSite) -> impl Iterator<Item = &'s Value> {
    site.projects.values().filter(|project| {
        project["key"]
            .as_str()
            .is_some_and(|key| site.sees(call.login, key) && !site.archived_projects.contains(key))
    })
}

/// A project in full, or as lists show it.
fn shown(call: &Call<'_>, site: &JiraSite, project: &Value, full: bool) -> Value {
    let mut shown = project.clone();
    let id = project["id"].as_str().unwrap_or_default();
    let view = call.view(site);
    if let Some(object) = shown.as_object_mut() {
        object.insert("self".into(), json!(view.url(&format!("project/{id}"))));
        object.insert(
            "archived".into(),
            json!(project["key"].as_str().is_some_and(|key| site.archived_projects.contains(key))),
        );
        let lead = object.remove("lead");
        let expand = call.list("expand");
        let wanted = |name: &str| full || expand.iter().any(|one| one == name);
        if wanted("lead")
            && let Some(lead) = lead
        {
            object.insert("lead".into(), lead.as_str().map_or_else(|| lead.clone(), |id| view.user(id)));
        }
        if !wanted("description") {
            object.remove("description");
        }
        if wanted("issueTypes") || full {
            let own = object.get("issueTypes").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
            if !own {
                object.insert("issueTypes".into(), json!(all(call, site, "issuetype")));
            }
        } else {
            object.remove("issueTypes");
        }
        if !full {
            object.remove("versions");
            object.remove("components");
        }
    }
    shown
}

/// `GET /project/search`.
pub(super) fn projects(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.only(site.is_cloud())?;
    call.allow(&[
        ("startAt", Kind::Integer),
        ("maxResults", Kind::Integer),
        ("orderBy", Kind::Text),
        ("id", Kind::Integers),
        ("keys", Kind::List),
        ("query", Kind::Text),
        ("typeKey", Kind::Text),
        ("categoryId", Kind::Integer),
        ("action", Kind::OneOf(&["view", "browse", "edit", "create"])),
        ("expand", Kind::Text),
        ("status", Kind::List),
        ("properties", Kind::List),
        ("propertyQuery", Kind::Text),
    ])?;
    let order = call.text("orderBy").unwrap_or("key");
    if ![
        "category",
        "issueCount",
        "key",
        "lastIssueUpdatedTime",
        "name",
        "owner",
        "archivedDate",
        "deletedDate",
    ]
    .contains(&order.trim_start_matches(['-', '+']))
    {
        return Err(Reply::bad_request(&format!("Unable to sort projects by '{order}'.")));
    }
    let statuses = call.list("status");
    if let Some(status) = statuses.iter().find(|one| !["live", "archived", "deleted"].contains(&one.as_str()))
    {
        return Err(Reply::bad_request(&format!("'{status}' is no status of projects.")));
    }
    let (keys, ids) = (call.list("keys"), call.list("id"));
    let query = call.text("query").unwrap_or_default().to_lowercase();
    let archived = statuses.iter().any(|status| status == "archived");
    let live = statuses.is_empty() || statuses.iter().any(|status| status == "live");
    let mut found: Vec<&Value> = site
        .projects
        .values()
        .filter(|project| {
            let text = |name: &str| project[name].as_str().unwrap_or_default();
            let is_archived = site.archived_projects.contains(text("key"));
            site.sees(call.login, text("key"))
                && (if is_archived { archived } else { live })
                && (keys.is_empty() || keys.iter().any(|key| key.eq_ignore_ascii_case(text("key"))))
                && (ids.is_empty() || ids.iter().any(|id| id == text("id")))
                && ["key", "name"].iter().any(|name| text(name).to_lowercase().contains(&query))
        })
        .collect();
    found.sort_by_key(|project| {
        let name = if order.ends_with("name") { "name" } else { "key" };
        project[name].as_str().unwrap_or_default().to_owned()
    });
    if order.starts_with('-') {
        found.reverse();
    }
    let rows: Vec<Value> = found.into_iter().map(|project| shown(call, site, project, false)).collect();
    Ok(call.page(&rows, 50, 100))
}

/// `GET /project`: an array of all.
pub(super) fn all_projects(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.allow(&[
        ("expand", Kind::Text),
        ("recent", Kind::Integer),
        ("properties", Kind::List),
        ("includeArchived", Kind::Flag),
        ("browseArchive", Kind::Flag),
    ])?;
    if call.effects.emptied {
        return Ok(Reply::json(&json!([])));
    }
    let rows: Vec<Value> = seen(call, site).map(|project| shown(call, site, project, false)).collect();
    Ok(Reply::json(&json!(rows)))
}

fn visible<'s>(call: &Call<'_>, site: &'s JiraSite, key: &str) -> Result<&'s Value, Reply> {
    site.project(key).filter(|_| site.sees(call.login, key)).ok_or_else(|| Reply::no_project(key))
}

/// `GET /project/{idOrKey}`.
pub(super) fn project(call: &Call<'_>, site: &JiraSite, key: &str) -> Result<Reply, Reply> {
    call.allow(&[("expand", Kind::Text), ("properties", Kind::List)])?;
    Ok(Reply::json(&shown(call, site, visible(call, site, key)?, true)))
}

fn of_project(call: &Call<'_>, site: &JiraSite, key: &str, list: &str) -> Result<Vec<Value>, Reply> {
    let project = visible(call, site, key)?;
    let path = if list == "versions" { "version" } else { "component" };
    let number = project["id"].as_str().and_then(|id| id.parse::<u64>().ok());
    let rows = project[list].as_array().into_iter().flatten().map(|row| {
        let mut row = row.clone();
        row["self"] = json!(call.view(site).url(&format!("{path}/{}", id_of(&row).unwrap_or_default())));
        row["projectId"] = json!(number);
        row
    });
    Ok(rows.collect())
}

/// `GET /project/{idOrKey}/versions|components`: an array.
pub(super) fn list_of(call: &Call<'_>, site: &JiraSite, key: &str, list: &str) -> Result<Reply, Reply> {
    call.allow(&[("expand", Kind::Text), ("componentSource", Kind::OneOf(&["jira", "compass", "auto"]))])?;
    Ok(Reply::json(&json!(of_project(call, site, key, list)?)))
}

/// `GET /project/{idOrKey}/version|component`: pages.
pub(super) fn page_of(call: &Call<'_>, site: &JiraSite, key: &str, list: &str) -> Result<Reply, Reply> {
    call.allow(&[
        ("startAt", Kind::Integer),
        ("maxResults", Kind::Integer),
        ("orderBy", Kind::Text),
        ("query", Kind::Text),
        ("status", Kind::Text),
        ("expand", Kind::Text),
        ("componentSource", Kind::OneOf(&["jira", "compass", "auto"])),
    ])?;
    Ok(call.page(&of_project(call, site, key, list)?, 50, 50))
}

/// `GET /project/{idOrKey}/statuses`: by issue type.
pub(super) fn project_statuses(call: &Call<'_>, site: &JiraSite, key: &str) -> Result<Reply, Reply> {
    call.allow(&[])?;
    visible(call, site, key)?;
    let statuses = all(call, site, "status");
    let kinds: Vec<Value> = all(call, site, "issuetype")
        .into_iter()
        .map(|mut kind| {
            kind["statuses"] = json!(statuses);
            kind
        })
        .collect();
    Ok(Reply::json(&json!(kinds)))
}
