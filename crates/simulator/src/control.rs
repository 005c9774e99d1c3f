//! The simulator's own surface, in process and over HTTP under `/__control` (no token needed):
//!
//! | call | does |
//! |---|---|
//! | `POST /__control/faults` (a [`FaultRule`]) → `{"id"}`; `DELETE` | adds a fault; removes all |
//! | `GET /__control/requests`, `GET /__control/stats`; `DELETE /__control/requests` | what clients asked; forgets it |
//! | `POST /__control/touch {"repository","numbers"}` | items change now |
//! | `POST /__control/issues/delete {"repository","number"}` | it answers 410 |
//! | `POST /__control/issues/transfer {"repository","number","to"}` → `{"number"}` | it answers 301 |
//! | `POST /__control/repositories/rename {"repository","to"}` | the old name answers 301 |
//! | `POST /__control/tokens {"token","login","repositories"?}`, `DELETE /__control/tokens {"token"}` | grants, revokes |
//! | `POST /__control/jira/…` | see `jira/control.rs` |
//! | `POST /__control/asana/…` | see `asana/control.rs` |
//! | `POST /__control/rate_limit {"limit","window_s"}` | hourly budget per token; `"limit": null` for none |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::faults::FaultRule;
use crate::requests::{RequestRecord, Stats};
use crate::{App, Repository, Shared, TokenGrant};

/// Steers and observes a running simulator. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control(pub(crate) Arc<Shared>);

impl Control {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Puts a fault in force; answers its id.
    pub fn add_fault(&self, rule: FaultRule) -> u64 {
        self.0.faults().add(rule)
    }

    /// Removes all faults. Refusals that were announced go on until their time.
    pub fn clear_faults(&self) {
        self.0.faults().clear();
    }

    /// The requests since the start or the last reset, in order of arrival (at most the last 200,000).
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.0.requests().list()
    }

    /// Counters over the same time.
    pub fn stats(&self) -> Stats {
        let mut stats = self.0.requests().stats();
        stats.violations = self.0.limits().violations;
        stats
    }

    /// Forgets requests and counters.
    pub fn reset_requests(&self) {
        self.0.requests().reset();
        self.0.limits().violations = 0;
    }

    /// Changes items now, in this order, so that each is newer than everything before it.
    ///
    /// # Errors
    /// When the repository or an item is not there; items before it have changed.
    pub fn touch(&self, repository: &str, numbers: &[u64]) -> anyhow::Result<()> {
        self.0.world_mut().touch(repository, numbers)
    }

    /// The numbers of a repository's items, each with its last change in seconds since 1970.
    ///
    /// # Errors
    /// When the repository is not there.
    pub fn item_times(&self, repository: &str) -> anyhow::Result<BTreeMap<u64, i64>> {
        let mut world = self.0.world_mut();
        Ok(world.get_mut(repository)?.items.values().map(|item| (item.number, item.updated_at)).collect())
    }

    /// How many comments a repository's conversations have.
    ///
    /// # Errors
    /// When the repository is not there.
    pub fn comment_count(&self, repository: &str) -> anyhow::Result<usize> {
        let mut world = self.0.world_mut();
        Ok(world.get_mut(repository)?.items.values().map(|item| item.comments.len()).sum())
    }

    /// Deletes an item: 410 from now on, gone from every list.
    ///
    /// # Errors
    /// When the repository or item is not there.
    pub fn delete_issue(&self, repository: &str, number: u64) -> anyhow::Result<()> {
        self.0.world_mut().delete_issue(repository, number)
    }

    /// Moves an issue to another repository: 301 from now on; answers its number there.
    ///
    /// # Errors
    /// When one of them is not there, or the number is a pull request.
    pub fn transfer_issue(&self, repository: &str, number: u64, to: &str) -> anyhow::Result<u64> {
        self.0.world_mut().transfer_issue(repository, number, to)
    }

    /// Renames a repository: the old name answers 301 from now on. Grants follow.
    ///
    /// # Errors
    /// When it is not there, or the new name is taken or no `owner/name`.
    pub fn rename_repository(&self, repository: &str, to: &str) -> anyhow::Result<()> {
        self.0.world_mut().rename_repository(repository, to)
    }

    /// Serves one more repository.
    ///
    /// # Errors
    /// When its name or id is taken.
    pub fn add_repository(&self, repository: Repository) -> anyhow::Result<()> {
        self.0.world_mut().add(repository)
    }

    /// Makes a token good, or changes what it sees.
    pub fn grant(&self, grant: TokenGrant) {
        let mut world = self.0.world_mut();
        world.any_token = false;
        world.tokens.retain(|known| known.token != grant.token);
        world.tokens.push(grant);
    }

    /// Says whether a token may push. One that may not loses labels, assignees, milestones and types without a word, and
    /// sees no webhooks.
    pub fn allow_push(&self, token: &str, allowed: bool) {
        let read_only = &mut self.0.world_mut().extras.read_only;
        if allowed {
            read_only.remove(token);
        } else {
            read_only.insert(token.to_owned());
        }
    }

    /// Makes an app known; it signs in with its key.
    pub fn install_app(&self, app: App) {
        let apps = &mut self.0.world_mut().extras.apps;
        apps.retain(|known| known.app_id != app.app_id);
        apps.push(app);
    }

    /// Sets the address and secret of an app's own webhook, as its settings page does; `None` takes it away.
    pub fn set_app_webhook(&self, app: &str, target: Option<(&str, &str)>) {
        crate::github::hooks::set_of_app(&mut self.0.world_mut(), app, target);
    }

    /// How many webhooks there are at repositories and apps.
    pub fn webhook_count(&self) -> usize {
        self.0.world().extras.hooks.len()
    }

    /// How many tokens of installations were given out.
    pub fn app_tokens_issued(&self) -> u64 {
        self.0.world().extras.issued
    }

    /// Makes a token bad: 401 from now on.
    pub fn revoke(&self, token: &str) {
        let mut world = self.0.world_mut();
        world.any_token = false;
        world.tokens.retain(|known| known.token != token);
    }

    /// Gives every token this many requests per window; `None` lifts the limit.
    pub fn set_rate_limit(&self, limit: Option<u64>, window: Duration) {
        self.0.limits().set(limit, window);
    }
}

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/faults", post(add_fault).delete(clear_faults))
        .route("/requests", get(list_requests).delete(reset_requests))
        .route("/stats", get(stats))
        .route("/touch", post(touch))
        .route("/issues/delete", post(delete_issue))
        .route("/issues/transfer", post(transfer_issue))
        .route("/repositories/rename", post(rename_repository))
        .route("/tokens", post(grant).delete(revoke))
        .route("/rate_limit", post(rate_limit))
        .fallback(async || refusal(StatusCode::NOT_FOUND, "no such control call"))
}

async fn add_fault(control: State<Arc<Shared>>, body: Bytes) -> Response {
    answer(&body, |rule: FaultRule| Ok(json!({"id": Control(control.0).add_fault(rule)})))
}

async fn clear_faults(control: State<Arc<Shared>>) -> StatusCode {
    Control(control.0).clear_faults();
    StatusCode::NO_CONTENT
}

async fn list_requests(control: State<Arc<Shared>>) -> Response {
    json_body(StatusCode::OK, &json!(Control(control.0).requests()))
}

async fn reset_requests(control: State<Arc<Shared>>) -> StatusCode {
    Control(control.0).reset_requests();
    StatusCode::NO_CONTENT
}

async fn stats(control: State<Arc<Shared>>) -> Response {
    json_body(StatusCode::OK, &json!(Control(control.0).stats()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Touch {
    repository: String,
    numbers: Vec<u64>,
}

async fn touch(control: State<Arc<Shared>>, body: Bytes) -> Response {
    answer(&body, |touch: Touch| Control(control.0).touch(&touch.repository, &touch.numbers))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    repository: String,
    number: u64,
}

async fn delete_issue(control: State<Arc<Shared>>, body: Bytes) -> Response {
    answer(&body, |delete: Delete| Control(control.0).delete_issue(&delete.repository, delete.number))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    repository: String,
    number: u64,
    to: String,
}

async fn transfer_issue(control: State<Arc<Shared>>, body: Bytes) -> Response {
    answer(&body, |Transfer { repository, number, to }: Transfer| {
        Ok(json!({"number": Control(control.0).transfer_issue(&repository, number, &to)?}))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rename {
    repository: String,
    to: String,
}

async fn rename_repository(control: State<Arc<Shared>>, body: Bytes) -> Response {
    answer(&body, |rename: Rename| Control(control.0).rename_repository(&rename.repository, &rename.to))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    token: String,
    #[serde(default)]
    login: String,
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

async fn grant(control: State<Arc<Shared>>, body: Bytes) -> Response {
    answer(&body, |Grant { token, login, repositories }: Grant| {
        Control(control.0).grant(TokenGrant { token, login, repositories });
        Ok(Value::Null)
    })
}

async fn revoke(control: State<Arc<Shared>>, body: Bytes) -> Response {
    answer(&body, |grant: Grant| {
        Control(control.0).revoke(&grant.token);
        Ok(Value::Null)
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateLimit {
    limit: Option<u64>,
    window_s: u64,
}

async fn rate_limit(control: State<Arc<Shared>>, body: Bytes) -> Response {
    answer(&body, |RateLimit { limit, window_s }: RateLimit| {
        Control(control.0).set_rate_limit(limit, Duration::from_secs(window_s));
        Ok(Value::Null)
    })
}

pub(crate) fn answer<T: DeserializeOwned, R: Serialize>(
    body: &[u8],
    act: impl FnOnce(T) -> anyhow::Result<R>,
) -> Response {
    match serde_json::from_slice(body) {
        Err(error) => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        Ok(input) => match act(input) {
            Err(error) => refusal(StatusCode::UNPROCESSABLE_ENTITY, &format!("{error:#}")),
            Ok(output) => json_body(StatusCode::OK, &json!(output)),
        },
    }
}

fn refusal(status: StatusCode, message: &str) -> Response {
    json_body(status, &json!({"message": message}))
}

fn json_body(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
