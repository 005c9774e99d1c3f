//! Who calls: basic and bearer credentials, and OAuth grants whose refresh tokens rotate.
//! <https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/>

use std::collections::HashMap;

use axum::http::{HeaderMap, StatusCode, header, request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::reply::Reply;
use super::site::{JiraLogin, JiraSite};
use crate::timestamp::now_ms;

/// The grants that a site gave.
#[derive(Debug, Default)]
pub(crate) struct OAuth {
    /// Client id and secret; without one, no grant is refreshed.
    pub(crate) client: Option<(String, String)>,
    /// Good refresh tokens, each with the login it belongs to.
    refresh: HashMap<String, JiraLogin>,
    /// Access tokens, with their login and end.
    access: HashMap<String, (JiraLogin, i64)>,
    /// How long an access token is good, in milliseconds.
    pub(crate) lifetime_ms: i64,
    /// Status with which an expired access token is answered at the gateway.
    pub(crate) expired_status: u16,
    /// How many of the next answers get lost after the pair was rotated.
    pub(crate) lost_answers: u32,
    /// How many of the next calls fail before anything happens, and how.
    pub(crate) failures: Vec<TokenFailure>,
    /// How many pairs were given.
    pub(crate) refreshes: u64,
    count: u64,
}

/// A refusal of the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TokenFailure {
    /// 403 `unauthorized_client`: the grant is over.
    InvalidGrant,
    /// 500: nothing is known.
    ServerError,
}

impl OAuth {
    /// Makes a grant; answers its access and refresh token.
    pub(crate) fn grant(&mut self, login: JiraLogin) -> (String, String) {
        self.count += 1;
        let stem = format!("{:x}-{:x}", self.count, now_ms());
        let (access, refresh) = (format!("sim-access-{stem}"), format!("sim-refresh-{stem}"));
        let lifetime = if self.lifetime_ms > 0 { self.lifetime_ms } else { 3_600_000 };
        self.access.insert(access.clone(), (login.clone(), now_ms() + lifetime));
        self.refresh.insert(refresh.clone(), login);
        (access, refresh)
    }

    pub(crate) fn expire_access_tokens(&mut self) {
        for (_, until) in self.access.values_mut() {
            *until = 0;
        }
    }

    pub(crate) fn revoke(&mut self) {
        self.access.clear();
        self.refresh.clear();
    }

    pub(crate) fn lose_answer(&mut self) -> bool {
        let lost = self.lost_answers > 0;
        self.lost_answers = self.lost_answers.saturating_sub(1);
        lost
    }
}

/// `POST /oauth/token`, JSON on Cloud, a form on Data Center.
pub(super) fn token(site: &mut JiraSite, parts: &request::Parts, rest: &str, body: &[u8]) -> Reply {
    if parts.method != "POST" {
        return Reply::no_resource();
    }
    if let Some(failure) = (!site.oauth.failures.is_empty()).then(|| site.oauth.failures.remove(0)) {
        return match failure {
            TokenFailure::InvalidGrant => refused("unauthorized_client", "refresh_token is invalid"),
            TokenFailure::ServerError => Reply::proxy_error(500),
        };
    }
    let form = rest.starts_with("/rest/oauth2/");
    let sent: HashMap<String, String> = match serde_json::from_slice::<HashMap<String, String>>(body) {
        Ok(object) if !form => object,
        _ => url::form_urlencoded::parse(body).into_owned().collect(),
    };
    let get = |name: &str| sent.get(name).map(String::as_str).unwrap_or_default();
    if get("grant_type") != "refresh_token" {
        return refused("unsupported_grant_type", "grant_type must be refresh_token");
    }
    if let Some((id, secret)) = &site.oauth.client
        && (get("client_id") != id || get("client_secret") != secret)
    {
        return refused("access_denied", "Unauthorized");
    }
    // Rotation: whoever comes second with the same token is refused.
    let Some(login) = site.oauth.refresh.remove(get("refresh_token")) else {
        return refused("unauthorized_client", "refresh_token is invalid");
    };
    let (access, refresh) = site.oauth.grant(login);
    site.oauth.refreshes += 1;
    let lifetime = if site.oauth.lifetime_ms > 0 { site.oauth.lifetime_ms } else { 3_600_000 };
    Reply::json(&json!({
        "access_token": access, "refresh_token": refresh, "expires_in": lifetime / 1000, "token_type": "Bearer",
        "scope": "offline_access read:jira-work write:jira-work read:jira-user manage:jira-webhook"
    }))
}

fn refused(error: &str, description: &str) -> Reply {
    let body: Value = json!({"error": error, "error_description": description});
    Reply::new(StatusCode::FORBIDDEN, body.to_string())
}

/// Who calls. `open` operations answer everybody.
pub(super) fn login(
    site: &JiraSite,
    headers: &HeaderMap,
    gateway: bool,
    open: bool,
) -> Result<JiraLogin, Reply> {
    let anonymous = || JiraLogin { projects: Some(Vec::new()), read_only: true, ..JiraLogin::new(None, "") };
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, secret) = sent.split_once(' ').unwrap_or((sent, ""));
    let found = if scheme.eq_ignore_ascii_case("bearer") {
        if let Some((login, until)) = site.oauth.access.get(secret) {
            return match now_ms() < *until {
                true => Ok(login.clone()),
                false if gateway => Err(Reply::gateway(match site.oauth.expired_status {
                    0 => 401,
                    status => status,
                })),
                false => Err(Reply::unauthorized()),
            };
        }
        site.logins.iter().find(|login| login.user.is_none() && login.token == secret)
    } else if scheme.eq_ignore_ascii_case("basic") && !gateway {
        let plain = STANDARD.decode(secret).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let plain = plain.unwrap_or_default();
        let pair = plain.split_once(':');
        site.logins
            .iter()
            .find(|login| pair == login.user.as_deref().map(|user| (user, login.token.as_str())))
    } else {
        None
    };
    match found {
        Some(login) => Ok(login.clone()),
        None if open => Ok(anonymous()),
        // Nobody was named: whoever signs in may do everything.
        None if site.logins.is_empty() && !secret.is_empty() => Ok(JiraLogin::new(None, "any")),
        None if gateway => Err(Reply::gateway(401)),
        None if site.switches.anonymous_reads && site.is_cloud() => Ok(anonymous()),
        None => Err(Reply::unauthorized()),
    }
}
