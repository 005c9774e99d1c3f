//! Steering Jira sites, in process and under `/__control/jira`:
//!
//! | call | does |
//! |---|---|
//! | `POST touch {"site"?,"keys"}` | issues change now |
//! | `POST delete {"site"?,"key"}` | an issue is gone |
//! | `POST move {"site"?,"key","to"}` → `{"key"}` | another project, another key, the same id |
//! | `POST switches {"site"?, …}` | index lag, epoch changelogs, page cap, token lifetimes |
//! | `POST project {"site"?,"project","hidden"?,"archived"?}` | lost permission, archived |
//! | `POST sprint {"site"?,"id","change"}` | a sprint changes, no issue with it |
//! | `POST grant {"site"?,"account"?}` → `{"access_token","refresh_token"}` | an OAuth grant |
//! | `POST oauth {"site"?,"expire"?,"revoke"?,"lose_answers"?,"fail"?,"expired_status"?}` | what goes wrong with it |
//! | `POST webhooks {"site"?,"expire"?,"retry_ms"?,"silent"?}` → deliveries sent | webhooks |

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Value, json};

use super::oauth::TokenFailure;
use super::site::{JiraLogin, JiraSite, JiraSwitches};
use crate::Shared;
use crate::control::{Control, answer};

impl Control {
    /// Serves one more Jira site. The first is also at `/`.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn add_jira(&self, site: JiraSite) -> anyhow::Result<()> {
        let mut sites = self.0.jira_mut();
        anyhow::ensure!(
            sites.iter().all(|known| known.name != site.name),
            "site {} is there already",
            site.name
        );
        sites.push(site);
        Ok(())
    }

    /// Looks at a site, or changes it.
    ///
    /// # Errors
    /// When there is no such site.
    pub fn with_jira<R>(&self, name: &str, act: impl FnOnce(&mut JiraSite) -> R) -> anyhow::Result<R> {
        let mut sites = self.0.jira_mut();
        let site = sites.iter_mut().find(|site| site.name == name);
        Ok(act(site.with_context(|| format!("there is no Jira site {name}"))?))
    }
}

impl JiraSite {
    /// Issues change now, in this order, so that each is newer than everything before it.
    ///
    /// # Errors
    /// When one is not there; those before it have changed.
    pub fn touch_issues(&mut self, keys: &[String]) -> anyhow::Result<()> {
        self.touch(keys)
    }

    /// Deletes an issue.
    ///
    /// # Errors
    /// When it is not there.
    pub fn remove_issue(&mut self, key: &str) -> anyhow::Result<()> {
        self.delete_issue(key).map(drop)
    }

    /// Moves an issue to another project; answers its new key.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn move_to_project(&mut self, key: &str, to: &str) -> anyhow::Result<String> {
        self.move_issue(key, to)
    }

    /// Hides a project from everybody, or shows it again.
    pub fn hide_project(&mut self, key: &str, hidden: bool) {
        if hidden {
            self.hidden_projects.insert(key.to_owned());
        } else {
            self.hidden_projects.remove(key);
        }
    }

    /// Makes a project one of Jira Service Management, whose comments may be internal.
    pub fn make_service_desk(&mut self, key: &str) {
        for project in self.projects.values_mut().filter(|project| project["key"] == key) {
            project["projectTypeKey"] = json!("service_desk");
        }
    }

    /// Ids and names of the sprints in a state.
    pub fn sprints_in(&self, state: &str) -> Vec<(u64, String)> {
        let named = self.sprints.iter().filter(|(_, sprint)| sprint["state"] == state);
        named.map(|(id, sprint)| (*id, sprint["name"].as_str().unwrap_or_default().to_owned())).collect()
    }

    /// How many webhooks of administrators and of apps there are.
    pub fn webhook_count(&self) -> usize {
        self.hooks.count()
    }

    /// How the site behaves.
    pub const fn switches_mut(&mut self) -> &mut JiraSwitches {
        &mut self.switches
    }

    /// The client whose grants this site refreshes, and which signs dynamic webhooks.
    pub fn set_client(&mut self, id: &str, secret: &str) {
        self.oauth.client = Some((id.to_owned(), secret.to_owned()));
    }

    /// Makes an OAuth grant; answers access and refresh token.
    pub fn grant(&mut self, account: Option<&str>) -> (String, String) {
        self.oauth.grant(JiraLogin { account: account.map(str::to_owned), ..JiraLogin::new(None, "oauth") })
    }

    /// Access tokens given so far are expired from now on.
    pub fn expire_access_tokens(&mut self) {
        self.oauth.expire_access_tokens();
    }

    /// How many times a grant was refreshed.
    pub const fn refreshes(&self) -> u64 {
        self.oauth.refreshes
    }

    /// So many of the next answers of the token endpoint get lost, after the pair was rotated.
    pub const fn lose_refresh_answers(&mut self, count: u32) {
        self.oauth.lost_answers = count;
    }
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    site: Option<String>,
    #[serde(flatten)]
    rest: Value,
}

fn on<T: for<'a> Deserialize<'a>>(
    shared: &Arc<Shared>,
    body: &Bytes,
    act: impl FnOnce(&mut JiraSite, T) -> anyhow::Result<Value>,
) -> Response {
    answer(body, |body: Body| {
        let input: T = serde_json::from_value(body.rest)?;
        let mut sites = shared.jira_mut();
        let site = match &body.site {
            Some(name) => sites.iter_mut().find(|site| site.name == *name),
            None => sites.first_mut(),
        };
        act(site.context("there is no such Jira site")?, input)
    })
}

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/jira/touch", post(touch))
        .route("/jira/delete", post(delete))
        .route("/jira/move", post(move_issue))
        .route("/jira/switches", post(switches))
        .route("/jira/project", post(project))
        .route("/jira/sprint", post(sprint))
        .route("/jira/grant", post(grant))
        .route("/jira/oauth", post(oauth))
        .route("/jira/webhooks", post(webhooks))
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
}

async fn touch(shared: State<Arc<Shared>>, body: Bytes) -> Response {
    on(&shared, &body, |site, input: Keys| site.touch(&input.keys).map(|()| Value::Null))
}

#[derive(Deserialize)]
struct Key {
    key: String,
    #[serde(default)]
    to: String,
}

async fn delete(shared: State<Arc<Shared>>, body: Bytes) -> Response {
    on(&shared, &body, |site, input: Key| site.remove_issue(&input.key).map(|()| Value::Null))
}

async fn move_issue(shared: State<Arc<Shared>>, body: Bytes) -> Response {
    on(&shared, &body, |site, input: Key| Ok(json!({"key": site.move_issue(&input.key, &input.to)?})))
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Switches {
    index_lag_ms: Option<i64>,
    changelog_epoch_seconds: Option<bool>,
    anonymous_reads: Option<bool>,
    page_cap: Option<usize>,
    issue_writes_per_minute: Option<usize>,
    page_token_ms: Option<i64>,
    time_zone: Option<String>,
}

async fn switches(shared: State<Arc<Shared>>, body: Bytes) -> Response {
    on(&shared, &body, |site, input: Switches| {
        let switches = &mut site.switches;
        switches.index_lag_ms = input.index_lag_ms.unwrap_or(switches.index_lag_ms);
        switches.changelog_epoch_seconds =
            input.changelog_epoch_seconds.unwrap_or(switches.changelog_epoch_seconds);
        switches.anonymous_reads = input.anonymous_reads.unwrap_or(switches.anonymous_reads);
        switches.page_cap = input.page_cap.or(switches.page_cap);
        switches.issue_writes_per_minute = input.issue_writes_per_minute.or(switches.issue_writes_per_minute);
        switches.page_token_ms = input.page_token_ms.or(switches.page_token_ms);
        site.time_zone = input.time_zone.unwrap_or_else(|| site.time_zone.clone());
        Ok(Value::Null)
    })
}

#[derive(Deserialize)]
struct Project {
    project: String,
    hidden: Option<bool>,
    archived: Option<bool>,
}

async fn project(shared: State<Arc<Shared>>, body: Bytes) -> Response {
    on(&shared, &body, |site, input: Project| {
        anyhow::ensure!(site.project(&input.project).is_some(), "there is no project {}", input.project);
        if let Some(hidden) = input.hidden {
            site.hide_project(&input.project, hidden);
        }
        match input.archived {
            Some(true) => drop(site.archived_projects.insert(input.project)),
            Some(false) => drop(site.archived_projects.remove(&input.project)),
            None => {}
        }
        Ok(Value::Null)
    })
}

#[derive(Deserialize)]
struct Sprint {
    id: u64,
    change: Value,
}

async fn sprint(shared: State<Arc<Shared>>, body: Bytes) -> Response {
    on(&shared, &body, |site, input: Sprint| site.edit_sprint(input.id, &input.change).map(|()| Value::Null))
}

#[derive(Deserialize)]
struct Grant {
    account: Option<String>,
}

async fn grant(shared: State<Arc<Shared>>, body: Bytes) -> Response {
    on(&shared, &body, |site, input: Grant| {
        let (access, refresh) = site.grant(input.account.as_deref());
        Ok(json!({"access_token": access, "refresh_token": refresh, "cloud_id": site.cloud_id}))
    })
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct OAuth {
    expire: bool,
    revoke: bool,
    lose_answers: u32,
    fail: Vec<TokenFailure>,
    expired_status: Option<u16>,
    lifetime_ms: Option<i64>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

async fn oauth(shared: State<Arc<Shared>>, body: Bytes) -> Response {
    on(&shared, &body, |site, input: OAuth| {
        if input.expire {
            site.oauth.expire_access_tokens();
        }
        if input.revoke {
            site.oauth.revoke();
        }
        site.oauth.lost_answers += input.lose_answers;
        site.oauth.failures.extend(input.fail);
        site.oauth.expired_status = input.expired_status.unwrap_or(site.oauth.expired_status);
        site.oauth.lifetime_ms = input.lifetime_ms.unwrap_or(site.oauth.lifetime_ms);
        if let (Some(id), Some(secret)) = (input.client_id, input.client_secret) {
            site.set_client(&id, &secret);
        }
        Ok(json!({"refreshes": site.oauth.refreshes}))
    })
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Webhooks {
    expire: bool,
    retry_ms: Option<u64>,
    silent: Option<bool>,
    lifetime_ms: Option<i64>,
}

async fn webhooks(shared: State<Arc<Shared>>, body: Bytes) -> Response {
    on(&shared, &body, |site, input: Webhooks| {
        if input.expire {
            site.hooks.expire();
        }
        site.hooks.retry_ms = input.retry_ms.unwrap_or(site.hooks.retry_ms);
        site.hooks.silent = input.silent.unwrap_or(site.hooks.silent);
        site.hooks.lifetime_ms = input.lifetime_ms.unwrap_or(site.hooks.lifetime_ms);
        Ok(json!({"sent": site.hooks.sent()}))
    })
}
