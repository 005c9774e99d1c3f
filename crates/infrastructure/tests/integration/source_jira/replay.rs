//! A Jira that answers with recorded objects: as much of either dialect as reading needs.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What it holds, and how it behaves.
#[derive(Default)]
pub(crate) struct Site {
    pub(crate) cloud: bool,
    pub(crate) issues: Vec<Value>,
    pub(crate) projects: Vec<Value>,
    pub(crate) fields: Vec<Value>,
    pub(crate) statuses: Vec<Value>,
    pub(crate) boards: Vec<Value>,
    /// By board.
    pub(crate) sprints: BTreeMap<u64, Vec<Value>>,
    pub(crate) worklogs_deleted: Vec<i64>,
    /// Issues a page, at most.
    pub(crate) page: usize,
    /// Changes a page, at most.
    pub(crate) changes: usize,
    /// Comments and worklogs that an issue holds itself.
    pub(crate) inside: usize,
    /// Every page of the list of comments of any issue, as it is sent.
    pub(crate) comments: Option<Bytes>,
    /// Keys of projects that may not be seen.
    pub(crate) hidden: Vec<String>,
    /// Called with each path and body before it is answered; an answer of its own takes the place of the real one.
    pub(crate) fault: Option<Fault>,
    /// Method, path and body of each request.
    pub(crate) seen: Vec<(String, Value)>,
}

pub(crate) type Fault = Box<dyn FnMut(&mut Vec<Value>, &str, &Value) -> Option<(u16, Value)> + Send>;

#[derive(Clone)]
pub(crate) struct Replay {
    pub(crate) url: String,
    site: Arc<Mutex<Site>>,
}

impl Replay {
    pub(crate) async fn start(mut site: Site) -> Self {
        for limit in [&mut site.page, &mut site.changes, &mut site.inside] {
            if *limit == 0 {
                *limit = usize::MAX;
            }
        }
        let site = Arc::new(Mutex::new(site));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(serve).with_state(site.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, site }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Site)) {
        change(&mut self.site.lock().unwrap());
    }

    /// How many requests had this in their path.
    pub(crate) fn requests(&self, path: &str) -> usize {
        self.site.lock().unwrap().seen.iter().filter(|(seen, _)| seen.contains(path)).count()
    }

    /// The bodies of the requests that had this in their path.
    pub(crate) fn bodies(&self, path: &str) -> Vec<Value> {
        let site = self.site.lock().unwrap();
        site.seen.iter().filter(|(seen, _)| seen.contains(path)).map(|(_, body)| body.clone()).collect()
    }
}

async fn serve(State(site): State<Arc<Mutex<Site>>>, request: Request) -> Response {
    let uri = request.uri().clone();
    let authorized = request.headers().contains_key("authorization");
    let body: Bytes = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut site = site.lock().unwrap();
    if let Some(page) = site.comments.clone().filter(|_| uri.path().ends_with("/comment")) {
        site.seen.push((uri.to_string(), body));
        return ([("content-type", "application/json")], page).into_response();
    }
    let (status, answer) = answer(&mut site, uri.path(), uri.query().unwrap_or(""), &body, authorized);
    (StatusCode::from_u16(status).unwrap(), [("content-type", "application/json")], answer.to_string())
        .into_response()
}

fn answer(site: &mut Site, path: &str, query: &str, body: &Value, authorized: bool) -> (u16, Value) {
    site.seen.push((format!("{path}?{query}"), body.clone()));
    if !authorized {
        return (401, json!({"message": "Unauthorized"}));
    }
    if let Some(mut fault) = site.fault.take() {
        let instead = fault(&mut site.issues, path, body);
        site.fault = Some(fault);
        if let Some(instead) = instead {
            return instead;
        }
    }
    let own = if site.cloud { "/rest/api/3" } else { "/rest/api/2" };
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    if path.strip_prefix(own) == Some("/serverInfo") {
        let kind = if site.cloud { "Cloud" } else { "Server" };
        return (
            200,
            json!({"version": "9.12.0", "deploymentType": kind, "serverTime": "2026-03-01T00:00:00.000+0000"}),
        );
    }
    if let Some(path) = path.strip_prefix("/rest/agile/1.0/board") {
        return agile(site, path, &query);
    }
    let Some(path) = path.strip_prefix(own) else { return (404, json!({"errorMessages": ["no such API"]})) };
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["myself"] => {
            (200, json!({"accountId": "a1", "displayName": "Ann", "emailAddress": "ann@example.com"}))
        }
        ["mypermissions"] => (
            200,
            json!({"permissions": {
            "BROWSE_PROJECTS": {"havePermission": true}, "ADMINISTER": {"havePermission": false}}}),
        ),
        ["field"] => (200, json!(site.fields)),
        ["status"] => (200, json!(site.statuses)),
        ["project", "search"] => {
            let wanted: Vec<&Value> =
                visible(site).filter(|p| query.get("keys").is_none_or(|_| asked(p, path, site))).collect();
            (200, json!({"values": wanted, "isLast": true}))
        }
        ["project"] => (200, json!(visible(site).collect::<Vec<_>>())),
        ["project", name] => match visible(site).find(|p| p["id"] == *name || p["key"] == *name) {
            Some(project) => (200, project.clone()),
            None => not_found(),
        },
        ["search", "jql"] if site.cloud => search(site, body),
        ["search", "approximate-count"] => (200, json!({"count": matching(site, &text(body, "jql")).len()})),
        ["search"] if !site.cloud => search(site, body),
        ["issue", "bulkfetch"] => {
            let wanted: Vec<String> = body["issueIdsOrKeys"]
                .as_array()
                .unwrap()
                .iter()
                .map(|id| id.as_str().unwrap().to_owned())
                .collect();
            assert!(wanted.len() <= 100, "Jira takes 100 at most");
            let found = shown(site)
                .filter(|i| named(i, &wanted))
                .map(|i| trim(site, i, body, false))
                .collect::<Vec<_>>();
            (200, json!({"issues": found, "issueErrors": []}))
        }
        ["changelog", "bulkfetch"] => changelog(site, body),
        ["issue", name] => match shown(site).find(|issue| named(issue, &[(*name).to_owned()])) {
            Some(issue) => (200, issue.clone()),
            None => not_found(),
        },
        ["issue", name, list @ ("comment" | "worklog")] => {
            let Some(issue) = shown(site).find(|issue| named(issue, &[(*name).to_owned()])) else {
                return not_found();
            };
            let rows = rows(issue, list);
            let start: usize = query["startAt"].parse().unwrap();
            let page: Vec<Value> =
                rows.iter().skip(start).take(site.inside.saturating_mul(2)).cloned().collect();
            (200, json!({format!("{list}s"): page, "total": rows.len(), "startAt": start}))
        }
        ["worklog", "deleted"] => {
            let values: Vec<Value> =
                site.worklogs_deleted.iter().map(|id| json!({"worklogId": id})).collect();
            (200, json!({"values": values, "until": 1_772_000_000_000_i64, "lastPage": true}))
        }
        ["worklog", "updated"] => {
            let values: Vec<Value> = all_worklogs(site)
                .map(|w| json!({"worklogId": w["id"].as_str().unwrap().parse::<i64>().unwrap()}))
                .collect();
            (200, json!({"values": values, "until": 1_771_000_000_000_i64, "lastPage": true}))
        }
        ["worklog", "list"] => (200, json!(all_worklogs(site).collect::<Vec<_>>())),
        _ => not_found(),
    }
}

/// Every project whose key is among the `keys` of the last request, which may come several times.
fn asked(project: &Value, _path: &str, site: &Site) -> bool {
    let (last, _) = site.seen.last().unwrap();
    let query = last.split_once('?').unwrap().1;
    url::form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| name == "keys" && project["key"] == *value)
}

fn not_found() -> (u16, Value) {
    (
        404,
        json!({"errorMessages": ["It does not exist or you do not have permission to see it."], "errors": {}}),
    )
}

fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_default().to_owned()
}

fn visible(site: &Site) -> impl Iterator<Item = &Value> {
    site.projects.iter().filter(|project| !site.hidden.iter().any(|key| project["key"] == **key))
}

fn shown(site: &Site) -> impl Iterator<Item = &Value> {
    site.issues
        .iter()
        .filter(|issue| !site.hidden.iter().any(|key| issue["fields"]["project"]["key"] == **key))
}

fn named(issue: &Value, names: &[String]) -> bool {
    names.iter().any(|name| issue["id"] == **name || issue["key"] == **name)
}

fn rows(issue: &Value, list: &str) -> Vec<Value> {
    issue["fields"][list][format!("{list}s")].as_array().cloned().unwrap_or_default()
}

fn all_worklogs(site: &Site) -> impl Iterator<Item = Value> {
    site.issues.iter().flat_map(|issue| {
        let id = issue["id"].clone();
        rows(issue, "worklog").into_iter().map(move |mut worklog| {
            worklog["issueId"] = id.clone();
            worklog
        })
    })
}

/// Jira's index knows whole seconds.
fn time(issue: &Value, field: &str) -> i64 {
    let text = issue["fields"][field].as_str().unwrap();
    let time: DateTime<Utc> = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z").unwrap().into();
    time.timestamp()
}

/// The issues that a search finds, in its order. It knows the searches that reading sends, and no others.
fn matching<'s>(site: &'s Site, jql: &str) -> Vec<&'s Value> {
    let (restriction, order) = jql.split_once(" ORDER BY ").unwrap_or((jql, "id ASC"));
    let mut found: Vec<&Value> = shown(site).collect();
    for part in restriction.split(" AND ") {
        let (field, rest) = part.split_once(' ').unwrap();
        let (operator, value) = rest.split_once(' ').unwrap();
        let list: Vec<String> = value.trim_matches(['(', ')']).split(", ").map(str::to_owned).collect();
        match (field, operator) {
            ("project", "=" | "in") => {
                found.retain(|issue| list.iter().any(|id| issue["fields"]["project"]["id"] == **id));
            }
            ("issue" | "key", "in") => found.retain(|issue| named(issue, &list)),
            ("updated" | "created", ">=") => {
                let from: i64 = value.parse().unwrap();
                found.retain(|issue| time(issue, field) >= from.div_euclid(1000));
            }
            _ => panic!("the search {jql} is none that is expected"),
        }
    }
    let number =
        |issue: &Value| issue["key"].as_str().unwrap().rsplit('-').next().unwrap().parse::<u64>().unwrap();
    match order {
        "updated ASC, key ASC" => found.sort_by_key(|issue| (time(issue, "updated"), number(issue))),
        "created ASC, key ASC" => found.sort_by_key(|issue| (time(issue, "created"), number(issue))),
        "id ASC" | "key ASC" => {
            found.sort_by_key(|issue| issue["id"].as_str().unwrap().parse::<u64>().unwrap());
        }
        _ => panic!("the order {order} is none that is expected"),
    }
    found
}

fn search(site: &Site, body: &Value) -> (u16, Value) {
    let jql = text(body, "jql");
    let found = matching(site, &jql);
    let size = usize::try_from(body["maxResults"].as_u64().unwrap()).unwrap().min(site.page);
    let names: BTreeMap<&str, &Value> =
        site.fields.iter().map(|f| (f["id"].as_str().unwrap(), &f["name"])).collect();
    let schema: BTreeMap<&str, &Value> =
        site.fields.iter().map(|f| (f["id"].as_str().unwrap(), &f["schema"])).collect();
    if !site.cloud {
        let start = usize::try_from(body["startAt"].as_u64().unwrap_or(0)).unwrap();
        let expanded = body["expand"].as_array().is_some_and(|e| e.contains(&json!("changelog")));
        let page: Vec<Value> =
            found.iter().skip(start).take(size).map(|issue| trim(site, issue, body, expanded)).collect();
        return (
            200,
            json!({
                "startAt": start, "maxResults": size, "total": found.len(), "issues": page, "names": names, "schema": schema,
            }),
        );
    }
    // The token is where the last row of the page before stood: the order goes on behind it.
    let after: Option<(i64, u64)> = body["nextPageToken"].as_str().map(|token| {
        let (time, number) = token.split_once('/').unwrap();
        (time.parse().unwrap(), number.parse().unwrap())
    });
    let by_id = jql.ends_with("id ASC");
    let place = |issue: &Value| {
        let id: u64 = issue["id"].as_str().unwrap().parse().unwrap();
        let number: u64 = issue["key"].as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
        if by_id { (0, id) } else { (time(issue, "updated"), number) }
    };
    let left: Vec<&&Value> =
        found.iter().filter(|issue| after.is_none_or(|after| place(issue) > after)).collect();
    let page: Vec<Value> = left.iter().take(size).map(|issue| trim(site, issue, body, false)).collect();
    let last = left.len() <= size;
    let mut answer = json!({"issues": page, "isLast": last, "names": names, "schema": schema});
    if !last {
        let (time, number) = place(left[size - 1]);
        answer["nextPageToken"] = json!(format!("{time}/{number}"));
    }
    (200, answer)
}

/// An issue with the fields that were asked for.
fn trim(site: &Site, issue: &Value, body: &Value, changelog: bool) -> Value {
    let asked: Vec<&str> =
        body["fields"].as_array().unwrap().iter().map(|field| field.as_str().unwrap()).collect();
    let all = asked.contains(&"*all");
    let mut fields = issue["fields"].as_object().unwrap().clone();
    fields.retain(|name, _| {
        if all { !asked.contains(&format!("-{name}").as_str()) } else { asked.contains(&name.as_str()) }
    });
    for list in ["comment", "worklog"] {
        if fields.contains_key(list) {
            let rows = rows(issue, list);
            let inside: Vec<&Value> = rows.iter().take(site.inside).collect();
            fields.insert(
                list.to_owned(),
                json!({format!("{list}s"): inside, "total": rows.len(), "startAt": 0}),
            );
        }
    }
    let mut trimmed =
        json!({"id": issue["id"], "key": issue["key"], "self": issue["self"], "fields": fields});
    if changelog {
        trimmed["changelog"] = issue["changelog"].clone();
    }
    trimmed
}

/// All changes of the issues that were asked for, cut into pages across issues.
fn changelog(site: &Site, body: &Value) -> (u16, Value) {
    let wanted: Vec<String> =
        body["issueIdsOrKeys"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    let mut all: Vec<(String, Value)> = Vec::new();
    for issue in shown(site).filter(|issue| named(issue, &wanted)) {
        for history in issue["changelog"]["histories"].as_array().into_iter().flatten() {
            all.push((issue["id"].as_str().unwrap().to_owned(), history.clone()));
        }
    }
    let start: usize = body["nextPageToken"].as_str().map_or(0, |token| token.parse().unwrap());
    let size = usize::try_from(body["maxResults"].as_u64().unwrap()).unwrap().min(site.changes);
    let mut logs: Vec<Value> = Vec::new();
    for (id, history) in all.iter().skip(start).take(size) {
        match logs.last_mut().filter(|log| log["issueId"] == **id) {
            Some(log) => log["changeHistories"].as_array_mut().unwrap().push(history.clone()),
            None => logs.push(json!({"issueId": id, "changeHistories": [history]})),
        }
    }
    let mut answer = json!({"issueChangeLogs": logs});
    if start.saturating_add(size) < all.len() {
        answer["nextPageToken"] = json!((start + size).to_string());
    }
    (200, answer)
}

fn agile(site: &Site, path: &str, query: &BTreeMap<String, String>) -> (u16, Value) {
    let start: usize = query.get("startAt").map_or(0, |start| start.parse().unwrap());
    let rows: Vec<Value> = match path.trim_matches('/').split('/').collect::<Vec<_>>().as_slice() {
        [""] => site.boards.clone(),
        [board, "sprint"] => {
            let board: u64 = board.parse().unwrap();
            if site.boards.iter().any(|b| b["id"] == board && b["type"] == "kanban") {
                return (400, json!({"errorMessages": ["The board does not support sprints"]}));
            }
            site.sprints.get(&board).cloned().unwrap_or_default()
        }
        _ => return not_found(),
    };
    let page: Vec<&Value> = rows.iter().skip(start).take(10).collect();
    (
        200,
        json!({"startAt": start, "maxResults": 10, "isLast": start + page.len() >= rows.len(), "values": page}),
    )
}
