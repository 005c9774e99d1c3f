//! Reading issues and what is below them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::call::{Call, Kind};
use super::issue::{Entry, Issue};
use super::render::Selection;
use super::reply::Reply;
use super::search::{describe, expanded, sees, texts, wrong};
use super::site::JiraSite;
use super::time;
use crate::timestamp::now_ms;

/// The issue, unless it is not there or not to be seen: the answer is the same.
pub(super) fn visible<'s>(call: &Call<'_>, site: &'s JiraSite, key: &str) -> Result<&'s Issue, Reply> {
    site.find(key).filter(|issue| sees(call, site, issue)).ok_or_else(Reply::no_issue)
}

/// `GET /issue/{idOrKey}`.
pub(super) fn get(call: &Call<'_>, site: &JiraSite, key: &str) -> Result<Reply, Reply> {
    call.allow(&[
        ("fields", Kind::List),
        ("fieldsByKeys", Kind::Flag),
        ("expand", Kind::Text),
        ("properties", Kind::List),
        ("updateHistory", Kind::Flag),
        ("failFast", Kind::Flag),
    ])?;
    let issue = visible(call, site, key)?;
    let selection = Selection::new(&call.list("fields"), &["*all"]);
    let expand = call.list("expand");
    let mut shown = expanded(&call.view(site), issue, &selection, &expand, &call.list("properties"));
    describe(site, &expand, &mut shown);
    Ok(Reply::json(&shown))
}

/// `POST /issue/bulkfetch`: ascending ids; what is not found or not visible is just absent.
pub(super) fn bulk(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.only(site.is_cloud())?;
    call.allow(&[])?;
    let body = call.object(Some(&["expand", "fields", "fieldsByKeys", "issueIdsOrKeys", "properties"]))?;
    let keys = texts(&body, "issueIdsOrKeys")?;
    if keys.is_empty() || keys.len() > 100 {
        return Err(Reply::bad_request("The number of issues must be between 1 and 100."));
    }
    let properties = texts(&body, "properties")?;
    if properties.len() > 5 {
        return Err(Reply::bad_request("At most 5 properties may be asked for."));
    }
    let (fields, expand) = (texts(&body, "fields")?, texts(&body, "expand")?);
    let selection = Selection::new(&fields, &["*navigable"]);
    let found = distinct(call, site, &keys);
    let view = call.view(site);
    let issues: Vec<Value> =
        found.values().map(|issue| expanded(&view, issue, &selection, &expand, &properties)).collect();
    let mut answer = json!({"issues": issues, "issueErrors": []});
    describe(site, &expand, &mut answer);
    Ok(Reply::json(&answer))
}

fn distinct<'s>(call: &Call<'_>, site: &'s JiraSite, keys: &[String]) -> BTreeMap<u64, &'s Issue> {
    if call.effects.emptied {
        return BTreeMap::new();
    }
    keys.iter()
        .filter_map(|key| site.find(key).filter(|issue| sees(call, site, issue)))
        .map(|issue| (issue.id, issue))
        .collect()
}

/// `POST /changelog/bulkfetch`: oldest first, a page being so many entries of all issues together.
pub(super) fn changelogs(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.only(site.is_cloud())?;
    call.allow(&[])?;
    let body = call.object(Some(&["fieldIds", "issueIdsOrKeys", "maxResults", "nextPageToken"]))?;
    let keys = texts(&body, "issueIdsOrKeys")?;
    if keys.is_empty() || keys.len() > 1000 {
        return Err(Reply::bad_request("The number of issues must be between 1 and 1000."));
    }
    let wanted: BTreeSet<String> = texts(&body, "fieldIds")?.into_iter().collect();
    if wanted.len() > 10 {
        return Err(Reply::bad_request("At most 10 field ids may be given."));
    }
    let size = match body.get("maxResults") {
        None | Some(Value::Null) => 1000,
        Some(value) => match value.as_u64() {
            Some(size @ 1..=10_000) => usize::try_from(size).unwrap_or(1000),
            _ => return Err(Reply::bad_request("'maxResults' must be between 1 and 10000.")),
        },
    };
    let bound = format!("{keys:?}{wanted:?}")
        .bytes()
        .fold(0_u64, |hash, byte| hash.wrapping_mul(1_000_003).wrapping_add(u64::from(byte)));
    let start: usize = match body.get("nextPageToken") {
        None | Some(Value::Null) => 0,
        Some(_) if call.effects.expired_token => {
            return Err(Reply::bad_request("The next page token is invalid."));
        }
        Some(token) => {
            let text = token.as_str().and_then(|text| hex::decode(text).ok()).unwrap_or_default();
            let text = String::from_utf8(text).unwrap_or_default();
            text.split_once(':')
                .filter(|(hash, _)| *hash == bound.to_string())
                .and_then(|(_, at)| at.parse().ok())
                .ok_or_else(|| Reply::bad_request("The next page token is invalid."))?
        }
    };
    let found = distinct(call, site, &keys);
    let mut rows: Vec<(u64, &Value)> = Vec::new();
    for (id, issue) in &found {
        rows.extend(issue.histories.iter().filter(|one| concerns(one, &wanted)).map(|one| (*id, one)));
    }
    let view = call.view(site);
    let mut grouped: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for (id, history) in rows.iter().skip(start).take(size) {
        let mut shown = view.history(history);
        if !wanted.is_empty()
            && let Some(items) = shown["items"].as_array_mut()
        {
            items.retain(|item| is_of(item, &wanted));
        }
        if site.switches.changelog_epoch_seconds {
            let seconds = shown["created"].as_str().and_then(time::parse).map(|ms| ms / 1000);
            shown["created"] = json!(seconds);
        }
        grouped.entry(*id).or_default().push(shown);
    }
    let logs: Vec<Value> = grouped
        .into_iter()
        .map(|(id, histories)| json!({"issueId": id.to_string(), "changeHistories": histories}))
        .collect();
    let mut answer = json!({"issueChangeLogs": logs});
    if start + size < rows.len() {
        answer["nextPageToken"] = json!(hex::encode(format!("{bound}:{}", start + size)));
    }
    Ok(Reply::json(&answer))
}

fn concerns(history: &Value, wanted: &BTreeSet<String>) -> bool {
    wanted.is_empty() || history["items"].as_array().into_iter().flatten().any(|item| is_of(item, wanted))
}

fn is_of(item: &Value, wanted: &BTreeSet<String>) -> bool {
    item["fieldId"].as_str().or(item["field"].as_str()).is_some_and(|id| wanted.contains(id))
}

/// `GET /issue/{idOrKey}/changelog`, oldest first. Data Center has no such address.
pub(super) fn changelog(call: &Call<'_>, site: &JiraSite, key: &str) -> Result<Reply, Reply> {
    call.only(site.is_cloud())?;
    call.allow(&[("startAt", Kind::Integer), ("maxResults", Kind::Integer)])?;
    let issue = visible(call, site, key)?;
    let view = call.view(site);
    let rows: Vec<Value> = issue.histories.iter().map(|one| view.history(one)).collect();
    Ok(call.page(&rows, 100, 100))
}

/// `GET /issue/{idOrKey}/comment`.
pub(super) fn comments(call: &Call<'_>, site: &JiraSite, key: &str) -> Result<Reply, Reply> {
    call.allow(&[
        ("startAt", Kind::Integer),
        ("maxResults", Kind::Integer),
        ("orderBy", Kind::OneOf(&["created", "-created", "+created"])),
        ("expand", Kind::Text),
    ])?;
    let issue = visible(call, site, key)?;
    let mut rows: Vec<&Entry> = issue.comments.iter().collect();
    if call.text("orderBy") == Some("-created") {
        rows.reverse();
    }
    Ok(entries(call, site, "comments", &rows, if site.is_cloud() { 100 } else { usize::MAX }))
}

fn entries(call: &Call<'_>, site: &JiraSite, name: &str, rows: &[&Entry], default: usize) -> Reply {
    let (start, size) = call.window(default, if site.is_cloud() { 5000 } else { usize::MAX });
    let view = call.view(site);
    let expand =
        name == "worklogs" && site.is_cloud() && call.list("expand").iter().any(|one| one == "properties");
    let show = |entry: &Entry| {
        let mut shown = view.entry(entry);
        if expand {
            shown["properties"] = entry.value.get("properties").cloned().unwrap_or_else(|| json!([]));
        }
        shown
    };
    let shown: Vec<Value> = rows.iter().skip(start).take(size).map(|entry| show(entry)).collect();
    let size = size.min(1_048_576);
    Reply::json(&json!({"startAt": start, "maxResults": size, "total": rows.len(), name: shown}))
}

/// `GET /issue/{idOrKey}/comment/{id}`.
pub(super) fn comment(call: &Call<'_>, site: &JiraSite, key: &str, id: &str) -> Result<Reply, Reply> {
    call.allow(&[("expand", Kind::Text)])?;
    let issue = visible(call, site, key)?;
    let found = issue.comments.iter().find(|comment| comment.id.to_string() == id);
    let missing = || Reply::error(axum::http::StatusCode::NOT_FOUND, "Can not find a comment for the id.");
    found.map(|comment| Reply::json(&call.view(site).entry(comment))).ok_or_else(missing)
}

/// `GET /comment/{id}/properties/{key}`.
pub(super) fn comment_property(
    call: &Call<'_>,
    site: &JiraSite,
    id: &str,
    name: &str,
) -> Result<Reply, Reply> {
    call.allow(&[])?;
    let missing = || Reply::error(axum::http::StatusCode::NOT_FOUND, "The property does not exist.");
    let mut comments =
        site.issues().filter(|issue| sees(call, site, issue)).flat_map(|issue| &issue.comments);
    let comment = comments.find(|comment| comment.id.to_string() == id).ok_or_else(missing)?;
    let properties = comment.value.get("properties").and_then(Value::as_array);
    let found = properties.into_iter().flatten().find(|property| property["key"] == name);
    found.map(Reply::json).ok_or_else(missing)
}

/// `POST /comment/list`.
pub(super) fn comments_by_id(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    let rows = by_id(call, site, |issue| &issue.comments)?;
    Ok(Reply::json(&json!({
        "maxResults": rows.len(), "startAt": 0, "total": rows.len(), "isLast": true, "values": rows
    })))
}

/// `POST /worklog/list`.
pub(super) fn worklogs_by_id(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    Ok(Reply::json(&json!(by_id(call, site, |issue| &issue.worklogs)?)))
}

fn by_id(
    call: &Call<'_>,
    site: &JiraSite,
    entries: impl Fn(&Issue) -> &Vec<Entry>,
) -> Result<Vec<Value>, Reply> {
    call.only(site.is_cloud())?;
    call.allow(&[("expand", Kind::Text)])?;
    let body = call.object(Some(&["ids"]))?;
    let Some(ids) = body.get("ids").and_then(Value::as_array) else { return Err(wrong("ids")) };
    let ids: Option<BTreeSet<u64>> = ids.iter().map(Value::as_u64).collect();
    let ids = ids.filter(|ids| ids.len() <= 1000).ok_or_else(|| wrong("ids"))?;
    let view = call.view(site);
    let mut rows = Vec::new();
    for issue in site.issues().filter(|issue| sees(call, site, issue)) {
        for entry in entries(issue).iter().filter(|entry| ids.contains(&entry.id)) {
            let mut shown = view.entry(entry);
            shown["issueId"] = json!(issue.id.to_string());
            if call.list("expand").iter().any(|name| name == "properties") {
                shown["properties"] = entry.value.get("properties").cloned().unwrap_or_else(|| json!([]));
            }
            rows.push(shown);
        }
    }
    Ok(rows)
}

/// `GET /issue/{idOrKey}/worklog`.
pub(super) fn worklogs(call: &Call<'_>, site: &JiraSite, key: &str) -> Result<Reply, Reply> {
    call.allow(&[
        ("startAt", Kind::Integer),
        ("maxResults", Kind::Integer),
        ("startedAfter", Kind::Integer),
        ("startedBefore", Kind::Integer),
        ("expand", Kind::Text),
    ])?;
    let issue = visible(call, site, key)?;
    let id = json!(issue.id.to_string());
    let rows: Vec<Entry> = issue
        .worklogs
        .iter()
        .map(|entry| {
            let mut entry = entry.clone();
            entry.value["issueId"] = id.clone();
            entry
        })
        .collect();
    Ok(entries(
        call,
        site,
        "worklogs",
        &rows.iter().collect::<Vec<_>>(),
        if site.is_cloud() { 5000 } else { usize::MAX },
    ))
}

/// `GET /worklog/updated|deleted`: at most 1,000 a page, not the last minute.
pub(super) fn worklog_feed(
    call: &Call<'_>,
    site: &JiraSite,
    changes: &BTreeMap<u64, i64>,
) -> Result<Reply, Reply> {
    call.only(site.is_cloud())?;
    call.allow(&[("since", Kind::Integer), ("expand", Kind::Text)])?;
    let since = call.integer("since").unwrap_or(0);
    let until = now_ms() - 60_000;
    let mut rows: Vec<(i64, u64)> =
        changes.iter().filter(|(_, at)| **at >= since && **at < until).map(|(id, at)| (*at, *id)).collect();
    rows.sort_unstable();
    let last_page = rows.len() <= 1000;
    let mut end = rows.len();
    if !last_page {
        // A time is never cut in two, or its rest could not be asked for.
        let boundary = rows[1000].0;
        end = rows.partition_point(|(at, _)| *at < boundary);
        end = if end == 0 { rows.partition_point(|(at, _)| *at <= boundary) } else { end };
    }
    let last = if last_page { until.max(since) } else { rows[end.min(rows.len() - 1)].0 };
    let values: Vec<Value> = rows[..end]
        .iter()
        .map(|(at, id)| json!({"worklogId": id, "updatedTime": at, "properties": []}))
        .collect();
    let own = format!("{}/rest/api/3/{}", call.base, call.parts.join("/"));
    let mut answer = json!({
        "values": values, "since": since, "until": last, "lastPage": last_page,
        "self": format!("{own}?since={since}")
    });
    if !last_page {
        answer["nextPage"] = json!(format!("{own}?since={last}"));
    }
    Ok(Reply::json(&answer))
}

/// `GET /issue/{idOrKey}/remotelink`: an array.
pub(super) fn remote_links(call: &Call<'_>, site: &JiraSite, key: &str) -> Result<Reply, Reply> {
    call.allow(&[("globalId", Kind::Text)])?;
    Ok(Reply::json(&json!(visible(call, site, key)?.remote_links)))
}

/// `GET /issue/{idOrKey}/properties`.
pub(super) fn properties(call: &Call<'_>, site: &JiraSite, key: &str) -> Result<Reply, Reply> {
    call.allow(&[])?;
    let issue = visible(call, site, key)?;
    let own = |name: &String| call.view(site).url(&format!("issue/{}/properties/{name}", issue.id));
    let keys: Vec<Value> =
        issue.properties.keys().map(|name| json!({"key": name, "self": own(name)})).collect();
    Ok(Reply::json(&json!({"keys": keys})))
}

/// `GET /issue/{idOrKey}/properties/{key}`.
pub(super) fn property(call: &Call<'_>, site: &JiraSite, key: &str, name: &str) -> Result<Reply, Reply> {
    call.allow(&[])?;
    let issue = visible(call, site, key)?;
    let missing =
        || Reply::error(axum::http::StatusCode::NOT_FOUND, &format!("The property '{name}' does not exist."));
    let value = issue.properties.get(name).ok_or_else(missing)?;
    Ok(Reply::json(&json!({"key": name, "value": value})))
}
