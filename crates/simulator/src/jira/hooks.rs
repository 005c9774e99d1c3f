//! Webhooks: dynamic ones of apps, which end after 30 days, and those an administrator makes.
//! <https://developer.atlassian.com/cloud/jira/platform/webhooks/>

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};

use super::call::{Call, Kind};
use super::jql::{self, Scope};
use super::render::{Selection, View};
use super::reply::Reply;
use super::search::wrong;
use super::site::JiraSite;
use super::time;
use super::writes::Write;
use crate::timestamp::now_ms;
use crate::{Shared, delivery};

const THIRTY_DAYS: i64 = 30 * 86_400_000;
/// The only events a dynamic webhook may have.
const DYNAMIC: [&str; 8] = [
    "jira:issue_created",
    "jira:issue_updated",
    "jira:issue_deleted",
    "comment_created",
    "comment_updated",
    "comment_deleted",
    "issue_property_set",
    "issue_property_deleted",
];
const KEPT: usize = 10_000;

/// The webhooks of a site.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    hooks: Vec<Hook>,
    last_id: u64,
    last_delivery: u64,
    /// How long a dynamic webhook lives, in milliseconds; 0 is 30 days.
    pub(crate) lifetime_ms: i64,
    /// Signs the tokens of dynamic webhooks: the app's client secret.
    pub(crate) client_secret: String,
    /// Waited before a delivery is tried again, times the number of tries; 0 is a second.
    pub(crate) retry_ms: u64,
    /// Events are not delivered while set.
    pub(crate) silent: bool,
    sent: Vec<Sent>,
}

#[derive(Debug, Clone)]
struct Hook {
    id: u64,
    name: String,
    url: String,
    events: Vec<String>,
    jql: String,
    /// `None` is an administrator's.
    expires: Option<i64>,
    secret: Option<String>,
    enabled: bool,
}

/// One try of a delivery.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sent {
    id: String,
    event: String,
    attempt: u32,
    /// 0 where nobody answered.
    status: u16,
}

/// Something that happened, mostly to an issue.
#[derive(Debug)]
pub(crate) struct Event {
    name: &'static str,
    kind: &'static str,
    /// Filters of webhooks are about issues; what is about none passes them.
    issue: Option<u64>,
    items: Vec<Value>,
    comment: Option<Value>,
    /// What it is about in place of an issue, and its name in the payload.
    about: Option<(&'static str, Value)>,
    /// As it was, for what is deleted.
    gone: Option<Value>,
}

impl Event {
    pub(super) fn of(name: &'static str, kind: &'static str, issue: u64) -> Self {
        Self { name, kind, issue: Some(issue), items: Vec::new(), comment: None, about: None, gone: None }
    }

    /// Of a worklog, a link or a sprint, which only webhooks of administrators tell.
    pub(super) fn about(name: &'static str, issue: Option<u64>, what: &'static str, value: Value) -> Self {
        Self { issue, about: Some((what, value)), ..Self::of(name, name, 0) }
    }

    pub(super) fn updated(issue: u64, kind: &'static str, items: Vec<Value>) -> Self {
        Self { items, ..Self::of("jira:issue_updated", kind, issue) }
    }

    pub(super) fn comment(name: &'static str, issue: u64, comment: Value) -> Self {
        Self { comment: Some(comment), ..Self::of(name, name, issue) }
    }

    pub(super) fn deleted(issue: u64, gone: Value) -> Self {
        Self { gone: Some(gone), ..Self::of("jira:issue_deleted", "issue_deleted", issue) }
    }
}

/// A delivery that is to be sent.
#[derive(Debug)]
pub(crate) struct Delivery {
    id: String,
    event: String,
    url: String,
    body: String,
    headers: Vec<(String, String)>,
    retry_ms: u64,
    retries: u32,
}

impl Hooks {
    pub(crate) fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// Makes an administrator's webhook; answers its id.
    pub(crate) fn add_admin(
        &mut self,
        name: &str,
        url: &str,
        events: Vec<String>,
        secret: Option<String>,
    ) -> u64 {
        self.last_id += 1;
        self.hooks.push(Hook {
            id: self.last_id,
            name: name.to_owned(),
            url: url.to_owned(),
            events,
            jql: String::new(),
            expires: None,
            secret,
            enabled: true,
        });
        self.last_id
    }

    pub(crate) fn count(&self) -> usize {
        self.living(now_ms()).count()
    }

    /// Ends dynamic webhooks, as 30 days do.
    pub(crate) fn expire(&mut self) {
        self.hooks.retain(|hook| hook.expires.is_none());
    }

    fn living(&self, now: i64) -> impl Iterator<Item = &Hook> {
        self.hooks.iter().filter(move |hook| hook.enabled && hook.expires.is_none_or(|at| at > now))
    }
}

/// The deliveries that an event causes.
pub(crate) fn told(site: &mut JiraSite, base: &str, event: &Event) -> Vec<Delivery> {
    let now = now_ms();
    if site.hooks.silent {
        return Vec::new();
    }
    let meant: Vec<Hook> = site
        .hooks
        .living(now)
        .filter(|hook| hook.events.iter().any(|name| name == event.name))
        .filter(|hook| event.gone.is_some() || event.issue.is_none_or(|issue| matches(site, hook, issue)))
        .cloned()
        .collect();
    let mut deliveries = Vec::new();
    for hook in meant {
        site.hooks.last_delivery += 1;
        let id = format!("{:016x}", site.hooks.last_delivery.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let body = payload(site, base, event, &hook, now).to_string();
        let mut headers = vec![
            ("X-Atlassian-Webhook-Identifier".to_owned(), id.clone()),
            ("X-Atlassian-Webhook-Retry".to_owned(), "0".to_owned()),
            ("User-Agent".to_owned(), "Atlassian Webhook HTTP Client".to_owned()),
        ];
        match (&hook.expires, &hook.secret) {
            (Some(_), _) => {
                headers.push(("Authorization".to_owned(), format!("Bearer {}", token(site, now))));
            }
            (None, Some(secret)) => {
                let signature = delivery::signature(secret, body.as_bytes());
                headers.push(("X-Hub-Signature".to_owned(), format!("sha256={signature}")));
            }
            (None, None) => {}
        }
        let retry_ms = if site.hooks.retry_ms == 0 { 1000 } else { site.hooks.retry_ms };
        // Data Center tries once.
        let retries = if site.is_cloud() { 5 } else { 0 };
        deliveries.push(Delivery {
            id,
            event: event.name.to_owned(),
            url: hook.url,
            body,
            headers,
            retry_ms,
            retries,
        });
    }
    deliveries
}

fn matches(site: &JiraSite, hook: &Hook, issue: u64) -> bool {
    if hook.jql.is_empty() {
        return true;
    }
    let scope = Scope { site, account: "", now: now_ms(), zone_minutes: 0 };
    let query = jql::parse(&hook.jql);
    query
        .is_ok_and(|query| site.issue(issue).is_some_and(|issue| query.matches(issue, issue.updated, &scope)))
}

fn payload(site: &JiraSite, base: &str, event: &Event, hook: &Hook, now: i64) -> Value {
    if let Some((what, value)) = &event.about {
        return json!({"timestamp": now, "webhookEvent": event.name, *what: value});
    }
    let issue = event.issue.and_then(|id| site.issue(id));
    let view = View { site, base, adf: false, agile: false };
    let selection = Selection::new(&[], &["*all"]);
    let author = issue.and_then(|issue| issue.histories.last());
    let issue = event.gone.clone().or_else(|| issue.map(|issue| view.issue(issue, &selection)));
    let user = author.and_then(|one| one["author"].as_str()).map(|id| view.user(id));
    let mut body = json!({
        "timestamp": now, "webhookEvent": event.name, "issue": issue, "user": user
    });
    if event.comment.is_none() {
        body["issue_event_type_name"] = json!(event.kind);
    }
    if !event.items.is_empty() {
        body["changelog"] = json!({"id": now.to_string(), "items": event.items});
    }
    if let Some(comment) = &event.comment {
        body["comment"] = comment.clone();
    }
    if hook.expires.is_some() {
        body["matchedWebhookIds"] = json!([hook.id]);
    }
    body
}

/// A JSON Web Token, HS256 by the client secret.
fn token(site: &JiraSite, now: i64) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let client = site.oauth.client.as_ref().map_or("sim-client", |(id, _)| id.as_str());
    let secret = match (&site.oauth.client, site.hooks.client_secret.as_str()) {
        (Some((_, secret)), "") => secret,
        (_, secret) => secret,
    };
    let head = part(&json!({"alg": "HS256", "typ": "JWT"}));
    let claims = json!({"iss": client, "iat": now / 1000, "exp": now / 1000 + 180, "context": {}});
    let signed = format!("{head}.{}", part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(delivery::mac(secret, signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Sends, in the background; again where Jira would.
pub(crate) fn deliver(shared: &Arc<Shared>, site: usize, deliveries: Vec<Delivery>) {
    for mut one in deliveries {
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            for attempt in 0..=one.retries {
                if let Some(header) = one.headers.get_mut(1) {
                    header.1 = attempt.to_string();
                }
                let answered = delivery::post(&one.url, &one.headers, one.body.as_bytes()).await;
                let status = answered.unwrap_or(0);
                note(&shared, site, &one, attempt, status);
                if !matches!(status, 0 | 408 | 409 | 425 | 429 | 500..) {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(one.retry_ms * u64::from(attempt + 1))) => {}
                    () = shared.stop.cancelled() => return,
                }
            }
        });
    }
}

fn note(shared: &Shared, site: usize, delivery: &Delivery, attempt: u32, status: u16) {
    let mut sites = shared.jira_mut();
    let sent = &mut sites[site].hooks.sent;
    if sent.len() >= KEPT {
        sent.clear();
    }
    sent.push(Sent { id: delivery.id.clone(), event: delivery.event.clone(), attempt, status });
}

/// `POST /webhook`: an answer per webhook.
pub(super) fn register(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.only(write.site.is_cloud())?;
    write.call.allow(&[])?;
    only_apps(write.call)?;
    let body = write.call.object(Some(&["url", "webhooks"]))?;
    let url = body.get("url").and_then(Value::as_str).ok_or_else(|| wrong("url"))?.to_owned();
    let rows = body.get("webhooks").and_then(Value::as_array).ok_or_else(|| wrong("webhooks"))?;
    let known = write.site.hooks.hooks.iter().filter(|hook| hook.expires.is_some()).count();
    if known + rows.len() > 100 {
        return Err(Reply::bad_request("The number of registered webhooks would exceed 100."));
    }
    if write.site.hooks.hooks.iter().any(|hook| hook.expires.is_some() && hook.url != url) {
        return Err(Reply::bad_request(
            "Only a single URL per app is allowed to be registered via REST API.",
        ));
    }
    let lifetime = if write.site.hooks.lifetime_ms > 0 { write.site.hooks.lifetime_ms } else { THIRTY_DAYS };
    let mut results = Vec::new();
    for row in rows {
        match read(write.site, row) {
            Err(errors) => results.push(json!({"errors": errors})),
            Ok((events, jql)) => {
                let hooks = &mut write.site.hooks;
                hooks.last_id += 1;
                hooks.hooks.push(Hook {
                    id: hooks.last_id,
                    name: String::new(),
                    url: url.clone(),
                    events,
                    jql,
                    expires: Some(now_ms() + lifetime),
                    secret: None,
                    enabled: true,
                });
                results.push(json!({"createdWebhookId": hooks.last_id}));
            }
        }
    }
    Ok(Reply::json(&json!({"webhookRegistrationResult": results})))
}

fn only_apps(call: &Call<'_>) -> Result<(), Reply> {
    match call.login.user.is_none() {
        true => Ok(()),
        false => Err(Reply::forbidden("Only Connect and OAuth 2.0 apps can use this resource.")),
    }
}

fn read(site: &JiraSite, row: &Value) -> Result<(Vec<String>, String), Vec<String>> {
    let mut errors = Vec::new();
    let events = row["events"].as_array();
    let events: Vec<String> =
        events.into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect();
    if events.is_empty() {
        errors.push("At least one event must be given.".to_owned());
    }
    for name in events.iter().filter(|name| !DYNAMIC.contains(&name.as_str())) {
        errors.push(format!("The event '{name}' is not supported."));
    }
    let jql = row["jqlFilter"].as_str().unwrap_or_default().to_owned();
    let scope = Scope { site, account: "", now: now_ms(), zone_minutes: 0 };
    match jql::parse(&jql) {
        Err(message) => errors.push(message),
        Ok(query) if query.restriction.is_none() => {
            errors.push("The jqlFilter must not be empty.".to_owned());
        }
        Ok(query) => {
            let allowed = |field: &str| {
                matches!(
                    field,
                    "issuekey" | "key" | "project" | "issuetype" | "status" | "assignee" | "reporter"
                ) || field.starts_with("issue.property")
                    || field.starts_with("cf[")
            };
            if let Some(field) = query.fields().into_iter().find(|field| !allowed(field)) {
                errors.push(format!("The field '{field}' is not supported in a webhook's filter."));
            } else if let Err(message) = query.check(&scope) {
                errors.push(message);
            }
        }
    }
    if errors.is_empty() { Ok((events, jql)) } else { Err(errors) }
}

fn ids(write: &Write<'_>) -> Result<Vec<u64>, Reply> {
    write.call.only(write.site.is_cloud())?;
    write.call.allow(&[])?;
    only_apps(write.call)?;
    let body = write.call.object(Some(&["webhookIds"]))?;
    let ids = body.get("webhookIds").and_then(Value::as_array);
    ids.and_then(|ids| ids.iter().map(Value::as_u64).collect()).ok_or_else(|| wrong("webhookIds"))
}

/// `PUT /webhook/refresh`: another 30 days.
pub(super) fn refresh(write: &mut Write<'_>) -> Result<Reply, Reply> {
    let ids = ids(write)?;
    let hooks = &mut write.site.hooks;
    let until = now_ms() + if hooks.lifetime_ms > 0 { hooks.lifetime_ms } else { THIRTY_DAYS };
    for hook in hooks.hooks.iter_mut().filter(|hook| hook.expires.is_some() && ids.contains(&hook.id)) {
        hook.expires = Some(until);
    }
    Ok(Reply::json(&json!({"expirationDate": time::iso(until)})))
}

/// `DELETE /webhook`; unknown ids do not matter.
pub(super) fn remove(write: &mut Write<'_>) -> Result<Reply, Reply> {
    let ids = ids(write)?;
    write.site.hooks.hooks.retain(|hook| hook.expires.is_none() || !ids.contains(&hook.id));
    Ok(Reply::new(StatusCode::ACCEPTED, String::new()))
}

/// `GET /webhook`: the living ones.
pub(super) fn list(call: &Call<'_>, site: &JiraSite) -> Result<Reply, Reply> {
    call.only(site.is_cloud())?;
    call.allow(&[("startAt", Kind::Integer), ("maxResults", Kind::Integer)])?;
    only_apps(call)?;
    let shown = |hook: &Hook| {
        Some(json!({
            "id": hook.id, "jqlFilter": hook.jql, "events": hook.events, "url": hook.url,
            "expirationDate": time::iso(hook.expires?)
        }))
    };
    let rows: Vec<Value> = site.hooks.living(now_ms()).filter_map(shown).collect();
    Ok(call.page(&rows, 100, 100))
}

/// `/rest/webhooks/1.0/webhook`: an administrator's.
pub(super) fn admin(shared: &Shared, site: usize, call: &Call<'_>) -> Result<Reply, Reply> {
    call.may_write()?;
    let mut sites = shared.jira_mut();
    let hooks = &mut sites[site].hooks;
    let own = format!("{}/rest/webhooks/1.0/webhook", call.base);
    let shown = |hook: &Hook| {
        json!({
            "name": hook.name, "url": hook.url, "events": hook.events, "enabled": hook.enabled,
            "filters": {"issue-related-events-section": hook.jql}, "excludeBody": false,
            "isSigned": hook.secret.is_some(), "self": format!("{own}/{}", hook.id)
        })
    };
    let missing = || Reply::error(StatusCode::NOT_FOUND, "The webhook does not exist.");
    match (call.method, call.parts().as_slice()) {
        (&Method::GET, ["webhook"]) => {
            let rows: Vec<Value> =
                hooks.hooks.iter().filter(|hook| hook.expires.is_none()).map(shown).collect();
            Ok(Reply::json(&json!(rows)))
        }
        (&Method::POST, ["webhook"]) => {
            let body = call.object(None)?;
            let text = |name: &str| body.get(name).and_then(Value::as_str);
            let (Some(name), Some(url)) = (text("name"), text("url")) else {
                return Err(Reply::bad_request("The webhook needs a name and a URL."));
            };
            let events = body.get("events").and_then(Value::as_array).into_iter().flatten();
            let events = events.filter_map(|event| Some(event.as_str()?.to_owned())).collect();
            let id = hooks.add_admin(name, url, events, text("secret").map(str::to_owned));
            let made = hooks.hooks.iter_mut().find(|hook| hook.id == id).ok_or_else(missing)?;
            let filter =
                body.get("filters").and_then(|filters| filters["issue-related-events-section"].as_str());
            made.jql = filter.unwrap_or_default().to_owned();
            Ok(Reply::created(&shown(made)))
        }
        (&Method::GET, ["webhook", id]) => {
            let hook = hooks.hooks.iter().find(|hook| hook.expires.is_none() && hook.id.to_string() == *id);
            hook.map(|hook| Reply::json(&shown(hook))).ok_or_else(missing)
        }
        (&Method::DELETE, ["webhook", id]) => {
            let before = hooks.hooks.len();
            hooks.hooks.retain(|hook| hook.expires.is_some() || hook.id.to_string() != *id);
            if before == hooks.hooks.len() { Err(missing()) } else { Ok(Reply::no_content()) }
        }
        _ => Err(Reply::no_resource()),
    }
}
