//! Searches: `search/jql` with opaque tokens on Cloud, `search` with offsets on Data Center.

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::call::{Api, Call, Kind};
use super::issue::Issue;
use super::jql::{self, Query, SortKey};
use super::render::Selection;
use super::reply::Reply;
use super::site::JiraSite;
use crate::timestamp::now_ms;

const UNBOUNDED: &str =
    "Unbounded JQL queries are not allowed here. Please add a search restriction to your query.";
const BAD_TOKEN: &str =
    "The provided next page token is invalid. Please provide a valid token, or leave it out to start again.";
const SEVEN_DAYS: i64 = 7 * 86_400_000;
/// Where a page token of an empty page in the middle goes on.
const AFTER_EMPTY: &str = "e";

/// What a search asks for, from the query or the body.
struct Asked {
    jql: String,
    fields: Vec<String>,
    expand: Vec<String>,
    properties: Vec<String>,
    token: Option<String>,
    max_results: Option<i64>,
    start_at: i64,
    reconcile: Vec<i64>,
    /// Data Center: values that do not exist are refused.
    strict: bool,
}

impl Asked {
    fn of(call: &Call<'_>, cloud: bool) -> Result<Self, Reply> {
        if call.method == Method::POST {
            return Self::of_body(call, cloud);
        }
        let known: &[(&str, Kind)] = if cloud {
            &[
                ("jql", Kind::Text),
                ("nextPageToken", Kind::Text),
                ("maxResults", Kind::Integer),
                ("fields", Kind::List),
                ("expand", Kind::Text),
                ("properties", Kind::List),
                ("fieldsByKeys", Kind::Flag),
                ("failFast", Kind::Flag),
                ("reconcileIssues", Kind::Integers),
            ]
        } else {
            &[
                ("jql", Kind::Text),
                ("startAt", Kind::Integer),
                ("maxResults", Kind::Integer),
                ("validateQuery", Kind::Flag),
                ("fields", Kind::List),
                ("expand", Kind::Text),
            ]
        };
        call.allow(known)?;
        Ok(Self {
            jql: call.text("jql").unwrap_or_default().to_owned(),
            fields: call.list("fields"),
            expand: call.list("expand"),
            properties: call.list("properties"),
            token: call.text("nextPageToken").map(str::to_owned),
            max_results: call.integer("maxResults"),
            start_at: call.integer("startAt").unwrap_or(0),
            reconcile: call.list("reconcileIssues").iter().filter_map(|id| id.parse().ok()).collect(),
            strict: call.text("validateQuery") != Some("false"),
        })
    }

    fn of_body(call: &Call<'_>, cloud: bool) -> Result<Self, Reply> {
        let known: &[&str] = if cloud {
            &[
                "expand",
                "fields",
                "fieldsByKeys",
                "jql",
                "maxResults",
                "nextPageToken",
                "properties",
                "reconcileIssues",
            ]
        } else {
            &["expand", "fields", "jql", "maxResults", "startAt", "validateQuery"]
        };
        call.allow(&[])?;
        let body = call.object(Some(known))?;
        let expand = match body.get("expand") {
            Some(Value::String(text)) => text.split(',').map(|part| part.trim().to_owned()).collect(),
            // On Data Center an array.
            Some(Value::Array(_)) if !cloud => texts(&body, "expand")?,
            None | Some(Value::Null) => Vec::new(),
            Some(_) => return Err(wrong("expand")),
        };
        let text = |name: &str| match body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(wrong(name)),
        };
        let integer = |name: &str| match body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| wrong(name)),
        };
        let reconcile = match body.get("reconcileIssues") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(ids)) => ids
                .iter()
                .map(Value::as_i64)
                .collect::<Option<_>>()
                .ok_or_else(|| wrong("reconcileIssues"))?,
            Some(_) => return Err(wrong("reconcileIssues")),
        };
        Ok(Self {
            jql: text("jql")?.unwrap_or_default(),
            fields: texts(&body, "fields")?,
            expand,
            properties: texts(&body, "properties")?,
            token: text("nextPageToken")?,
            max_results: integer("maxResults")?,
            start_at: integer("startAt")?.unwrap_or(0),
            reconcile,
            strict: body.get("validateQuery") != Some(&Value::Bool(false)),
        })
    }
}

pub(super) fn wrong(name: &str) -> Reply {
    Reply::bad_request(&format!("Invalid request payload: '{name}' is not of the right type."))
}

pub(super) fn texts(body: &Map<String, Value>, name: &str) -> Result<Vec<String>, Reply> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(rows)) => rows
            .iter()
            .map(|row| row.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| wrong(name)),
        Some(_) => Err(wrong(name)),
    }
}

/// `GET|POST /rest/api/3/search/jql`.
pub(super) fn by_token(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.only(site.is_cloud())?;
    let asked = Asked::of(call, true)?;
    if asked.properties.len() > 5 {
        return Err(Reply::bad_request("At most 5 properties may be asked for."));
    }
    if asked.reconcile.len() > 50 {
        return Err(Reply::bad_request("At most 50 issues may be reconciled."));
    }
    let query = parse(call, site, &asked.jql)?;
    if query.restriction.is_none() {
        return Err(Reply::bad_request(UNBOUNDED));
    }
    let selection = Selection::new(&asked.fields, &["id"]);
    let ids_only = selection.is_ids() && asked.expand.is_empty() && asked.properties.is_empty();
    let size = match asked.max_results {
        Some(size) if size < 0 => return Err(Reply::bad_request("'maxResults' must not be negative.")),
        // Jira gives fewer where more than ids are asked for.
        size => usize::try_from(size.unwrap_or(50)).unwrap_or(0).min(if ids_only { 5000 } else { 100 }),
    };
    let size = if size == 0 { 50 } else { size }.min(site.switches.page_cap.unwrap_or(usize::MAX));
    let digest = digest(call, &asked);
    let after = match &asked.token {
        None => None,
        Some(_) if call.effects.expired_token => return Err(Reply::bad_request(BAD_TOKEN)),
        Some(token) => read_token(site, token, &digest)?,
    };
    if call.effects.emptied {
        return Ok(Reply::json(&json!({"issues": [], "isLast": true})));
    }
    if call.effects.empty_page {
        let token = write_token(&digest, after.as_ref(), AFTER_EMPTY);
        return Ok(Reply::json(&json!({"issues": [], "nextPageToken": token, "isLast": false})));
    }
    let (found, more) = find(call, site, &query, &asked.reconcile, after.as_ref(), size);
    let view = call.view(site);
    let issues: Vec<Value> = found
        .iter()
        .map(|(issue, _)| expanded(&view, issue, &selection, &asked.expand, &asked.properties))
        .collect();
    let mut answer = json!({"issues": issues, "isLast": !more});
    if let Some((_, last)) = found.last().filter(|_| more) {
        answer["nextPageToken"] = match (&asked.token, call.effects.repeated_token) {
            // What some clients have met: the token leads to the same page again and again.
            (Some(token), true) => json!(token),
            _ => json!(write_token(&digest, Some(last), "")),
        };
    }
    describe(site, &asked.expand, &mut answer);
    Ok(Reply::json(&answer))
}

/// `GET|POST /rest/api/2/search`; on Cloud it is gone.
pub(super) fn by_offset(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    if site.is_cloud() {
        return Err(Reply::error(
            StatusCode::GONE,
            "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API. A full migration guideline is available at https://developer.atlassian.com/changelog/#CHANGE-2046",
        ));
    }
    let asked = Asked::of(call, false)?;
    let query = match asked.strict {
        true => parse(call, site, &asked.jql)?,
        // Values that do not exist just find nothing.
        false => jql::parse(&asked.jql).map_err(|message| Reply::bad_request(&message))?,
    };
    let size = usize::try_from(asked.max_results.unwrap_or(50)).unwrap_or(0).min(1000);
    let size = size.min(site.switches.page_cap.unwrap_or(usize::MAX));
    let start = usize::try_from(asked.start_at).unwrap_or(0);
    if start >= 10_000 {
        return Err(Reply::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal server error: the result window is too large.",
        ));
    }
    let (found, total) = match call.effects.emptied {
        true => (Vec::new(), 0),
        false => offset(call, site, &query, start, size),
    };
    let selection = Selection::new(&asked.fields, &["*navigable"]);
    let view = call.view(site);
    let issues: Vec<Value> = match call.effects.empty_page {
        true => Vec::new(),
        false => found.iter().map(|issue| expanded(&view, issue, &selection, &asked.expand, &[])).collect(),
    };
    let mut answer = json!({
        "expand": "schema,names", "startAt": start, "maxResults": size, "total": total, "issues": issues
    });
    describe(site, &asked.expand, &mut answer);
    Ok(Reply::json(&answer))
}

/// Adds the fields' names and types, where they were asked for.
pub(super) fn describe(site: &JiraSite, expand: &[String], answer: &mut Value) {
    for (asked, property) in [("names", "name"), ("schema", "schema")] {
        if expand.iter().any(|one| one == asked) {
            let fields = site.catalog.fields.iter();
            let rows =
                fields.filter_map(|field| Some((field["id"].as_str()?.to_owned(), field[property].clone())));
            answer[asked] = Value::Object(rows.collect());
        }
    }
}

/// `POST /search/approximate-count`.
pub(super) fn count(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.only(site.is_cloud())?;
    call.allow(&[])?;
    let body = call.object(Some(&["jql"]))?;
    let query = parse(call, site, body.get("jql").and_then(Value::as_str).unwrap_or_default())?;
    if query.restriction.is_none() {
        return Err(Reply::bad_request(UNBOUNDED));
    }
    let scope = call.scope(site);
    let found = visible(call, site).filter(|issue| {
        indexed(site, issue, scope.now, &[]).is_some_and(|updated| query.matches(issue, updated, &scope))
    });
    Ok(Reply::json(&json!({"count": found.count()})))
}

/// Agile lists: offsets over what a board or sprint holds, narrowed by JQL.
pub(super) fn narrowed(
    call: &Call<'_>,
    site: &JiraSite,
    default_order: &str,
    holds: impl Fn(&Issue) -> bool,
) -> Result<Reply, Reply> {
    call.allow(&[
        ("startAt", Kind::Integer),
        ("maxResults", Kind::Integer),
        ("jql", Kind::Text),
        ("validateQuery", Kind::Flag),
        ("fields", Kind::List),
        ("expand", Kind::Text),
    ])?;
    let jql = call.text("jql").unwrap_or_default();
    let jql = if jql.to_uppercase().contains("ORDER BY") {
        jql.to_owned()
    } else {
        format!("{jql} {default_order}")
    };
    let query = parse(call, site, &jql)?;
    let (start, size) = call.window(50, 100);
    let (all, _) = offset(call, site, &query, 0, usize::MAX);
    let held: Vec<&Issue> = all.into_iter().filter(|issue| holds(issue)).collect();
    let selection = Selection::new(&call.list("fields"), &["*navigable"]);
    let (view, expand) = (call.view(site), call.list("expand"));
    let shown = held.iter().skip(start).take(size);
    let issues: Vec<Value> = shown.map(|issue| expanded(&view, issue, &selection, &expand, &[])).collect();
    Ok(Reply::json(&json!({
        "expand": "schema,names", "startAt": start, "maxResults": size, "total": held.len(), "issues": issues
    })))
}

pub(super) fn expanded(
    view: &super::render::View<'_>,
    issue: &Issue,
    selection: &Selection,
    expand: &[String],
    properties: &[String],
) -> Value {
    let mut shown = view.issue(issue, selection);
    if expand.iter().any(|name| name == "changelog") {
        // Data Center gives all, oldest first; Cloud the newest hundred at most, newest first.
        let all = issue.histories.iter().map(|one| view.history(one));
        let histories: Vec<Value> = match view.site.is_cloud() {
            true => all.rev().take(100).collect(),
            false => all.collect(),
        };
        shown["changelog"] = json!({
            "startAt": 0, "maxResults": histories.len(), "total": issue.histories.len(), "histories": histories
        });
    }
    if !properties.is_empty() {
        let wanted = |name: &String| properties.iter().any(|one| one == name || one == "*all");
        let held: Map<String, Value> = issue
            .properties
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        shown["properties"] = Value::Object(held);
    }
    shown
}

fn parse(call: &Call<'_>, site: &JiraSite, text: &str) -> Result<Query, Reply> {
    let query = jql::parse(text).map_err(|message| Reply::bad_request(&message))?;
    query.check(&call.scope(site)).map_err(|message| Reply::bad_request(&message))?;
    Ok(query)
}

fn visible<'s>(call: &'s Call<'_>, site: &'s JiraSite) -> impl Iterator<Item = &'s Issue> {
    site.issues().filter(|issue| sees(call, site, issue))
}

pub(super) fn sees(call: &Call<'_>, site: &JiraSite, issue: &Issue) -> bool {
    // Quick for the usual case, in which everything may be seen.
    (call.login.projects.is_none() && site.hidden_projects.is_empty())
        || issue.reference("project").is_some_and(|project| site.sees(call.login, &project))
}

/// What the index knows as the issue's `updated`; `None` while it does not know the issue.
fn indexed(site: &JiraSite, issue: &Issue, now: i64, reconciled: &[i64]) -> Option<i64> {
    let lag = site.switches.index_lag_ms;
    let behind = lag > 0 && issue.changed != 0 && now < issue.changed + lag;
    let reconciled = || i64::try_from(issue.id).is_ok_and(|id| reconciled.contains(&id));
    if !behind || reconciled() { Some(issue.updated) } else { issue.before }
}

/// The page after a place, and whether there is more.
fn find<'s>(
    call: &'s Call<'_>,
    site: &'s JiraSite,
    query: &Query,
    reconcile: &[i64],
    after: Option<&SortKey>,
    size: usize,
) -> (Vec<(&'s Issue, SortKey)>, bool) {
    let scope = call.scope(site);
    let first = query.order.first().map(|(field, descending)| (field.as_str(), *descending));
    let by_updated =
        matches!(first, Some(("updated" | "updateddate", false))) && site.switches.index_lag_ms == 0;
    let by_id = matches!(first, None | Some(("id", false)));
    let fits = |issue: &'s Issue| {
        let updated = indexed(site, issue, scope.now, reconcile)?;
        if !sees(call, site, issue) || !query.matches(issue, updated, &scope) {
            return None;
        }
        let place = query.place(issue, updated);
        after.is_none_or(|after| query.compare(&place, after).is_gt()).then_some((issue, place))
    };
    let mut found: Vec<(&Issue, SortKey)> = if by_updated {
        let from = query.updated_from(&scope).unwrap_or(i64::MIN);
        let from = from.max(after.and_then(SortKey::first_number).unwrap_or(i64::MIN));
        take_runs(site.by_updated(from).filter_map(fits), size)
    } else if by_id {
        let from = after.map_or(0, SortKey::id);
        site.issues_from(from).filter_map(fits).take(size + 1).collect()
    } else {
        site.issues().filter_map(fits).collect()
    };
    found.sort_unstable_by(|left, right| query.compare(&left.1, &right.1));
    let more = found.len() > size;
    found.truncate(size);
    (found, more)
}

/// At least one more than `size`, and whole runs of one time, so that they can be ordered by what comes next.
fn take_runs<'s>(rows: impl Iterator<Item = (&'s Issue, SortKey)>, size: usize) -> Vec<(&'s Issue, SortKey)> {
    let mut taken: Vec<(&Issue, SortKey)> = Vec::with_capacity(size + 1);
    for row in rows {
        if taken.len() > size && taken.last().is_some_and(|last| last.0.updated != row.0.updated) {
            break;
        }
        taken.push(row);
    }
    taken
}

fn offset<'s>(
    call: &'s Call<'_>,
    site: &'s JiraSite,
    query: &Query,
    start: usize,
    size: usize,
) -> (Vec<&'s Issue>, usize) {
    let scope = call.scope(site);
    let mut all: Vec<(&Issue, SortKey)> = visible(call, site)
        .filter_map(|issue| {
            let updated = indexed(site, issue, scope.now, &[])?;
            query.matches(issue, updated, &scope).then(|| (issue, query.place(issue, updated)))
        })
        .collect();
    all.sort_unstable_by(|left, right| query.compare(&left.1, &right.1));
    let total = all.len();
    (all.into_iter().skip(start).take(size).map(|(issue, _)| issue).collect(), total)
}

/// What a token is bound to: everything asked but the page itself.
fn digest(call: &Call<'_>, asked: &Asked) -> String {
    let mut hash = Sha256::new();
    for part in std::iter::once(&asked.jql).chain(&asked.fields).chain(&asked.expand).chain(&asked.properties)
    {
        hash.update(part);
        hash.update([0]);
    }
    hash.update(if call.api == Api::Three { "3" } else { "2" });
    let mut text = hex::encode(hash.finalize());
    text.truncate(16);
    text
}

fn write_token(digest: &str, after: Option<&SortKey>, mark: &str) -> String {
    hex::encode(json!({"d": digest, "t": now_ms(), "a": after, "m": mark}).to_string())
}

fn read_token(site: &JiraSite, token: &str, digest: &str) -> Result<Option<SortKey>, Reply> {
    let refused = || Reply::bad_request(BAD_TOKEN);
    let text = hex::decode(token).map_err(|_| refused())?;
    let token: Value = serde_json::from_slice(&text).map_err(|_| refused())?;
    let age = now_ms() - token["t"].as_i64().unwrap_or(0);
    if token["d"] != digest || age > site.switches.page_token_ms.unwrap_or(SEVEN_DAYS) {
        return Err(refused());
    }
    serde_json::from_value(token["a"].clone()).map_err(|_| refused())
}
