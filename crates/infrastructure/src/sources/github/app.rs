//! Signing in as a GitHub App: a signed statement of who the app is gets a token for each of its installations.
//! <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app>
//!
//! An app is installed once at each account, so an owner's name leads to the installation whose token opens its
//! repositories. Tokens are kept in memory until shortly before they expire; of any number that need one, one asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use application::ports::{Clock, Connection, SourceError, SourceErrorKind};
use chrono::{DateTime, TimeDelta, Utc};
use domain::InstanceId;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use moka::future::Cache;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use url::Url;

use super::super::refusals;
use super::api::{base_headers, bearer, endpoint, transport};
use super::link::Links;
use super::{errors, malformed};
use crate::clock::SystemClock;
use crate::egress::EgressClient;

/// A token is not used any more when it has so long to live.
const SPARE: TimeDelta = TimeDelta::minutes(5);
/// How long the list of installations is believed.
const INSTALLATIONS_KEPT: Duration = Duration::from_secs(600);
/// Most pages of installations: 10,000 of them.
const MAX_PAGES: usize = 100;
/// Apps of many tenants share the caches.
const MAX_APPS: u64 = 10_000;
const MAX_TOKENS: u64 = 100_000;

/// Where an app is installed.
#[derive(Debug, Clone)]
pub(super) struct Installation {
    pub(super) id: u64,
    /// Login of the account.
    pub(super) owner: String,
    pub(super) suspended: bool,
    /// What it may do there: `issues` → `write`.
    pub(super) permissions: Map<String, Value>,
}

/// One app of one instance.
type AppKey = (InstanceId, [u8; 32]);

/// The tokens of all apps.
#[derive(Debug)]
pub(super) struct AppTokens {
    installations: Cache<AppKey, Arc<Vec<Installation>>>,
    tokens: Cache<(AppKey, u64), InstallationToken>,
}

#[derive(Debug, Clone)]
struct InstallationToken {
    authorization: HeaderValue,
    usable_for: Duration,
}

struct UntilExpiry;

impl<K> moka::Expiry<K, InstallationToken> for UntilExpiry {
    fn expire_after_create(&self, _: &K, token: &InstallationToken, _: Instant) -> Option<Duration> {
        Some(token.usable_for)
    }
}

impl Default for AppTokens {
    fn default() -> Self {
        Self {
            installations: Cache::builder().max_capacity(MAX_APPS).time_to_live(INSTALLATIONS_KEPT).build(),
            tokens: Cache::builder().max_capacity(MAX_TOKENS).expire_after(UntilExpiry).build(),
        }
    }
}

/// An app at one instance.
#[derive(Clone, Copy)]
pub(super) struct App<'a> {
    pub(super) tokens: &'a AppTokens,
    pub(super) client: &'a EgressClient,
    pub(super) connection: &'a Connection,
    pub(super) app_id: &'a str,
    pub(super) private_key: &'a SecretString,
}

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: SecretString,
    expires_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct InstallationAnswer {
    id: u64,
    account: Option<Account>,
    #[serde(default)]
    suspended_at: Option<DateTime<Utc>>,
    #[serde(default)]
    permissions: Map<String, Value>,
}

/// A user or organization has a `login`, an enterprise a `slug`.
#[derive(Deserialize)]
struct Account {
    #[serde(alias = "slug")]
    login: String,
}

/// Checks that a private key can sign.
pub(super) fn check_key(private_key: &SecretString) -> Result<(), String> {
    EncodingKey::from_rsa_pem(private_key.expose_secret().as_bytes())
        .map(drop)
        .map_err(|_| "is no RSA private key in PEM form, as GitHub hands it out as a .pem file".to_owned())
}

impl App<'_> {
    fn key(&self) -> AppKey {
        let mut digest = Sha256::new();
        for part in [self.connection.base_url.as_str(), self.app_id, self.private_key.expose_secret()] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        (self.connection.instance, digest.finalize().into())
    }

    /// The header that opens what belongs to an owner.
    pub(super) async fn authorization(&self, owner: &str) -> Result<HeaderValue, SourceError> {
        let installation = self.installation(owner).await?;
        let token = self
            .tokens
            .tokens
            .try_get_with((self.key(), installation.id), self.ask_for_token(&installation))
            .await
            .map_err(|error: Arc<SourceError>| (*error).clone())?;
        Ok(token.authorization)
    }

    /// Forgets an owner's token, which was refused.
    pub(super) async fn forget(&self, owner: &str) {
        if let Ok(installation) = self.installation(owner).await {
            self.tokens.tokens.invalidate(&(self.key(), installation.id)).await;
        }
        self.tokens.installations.invalidate(&self.key()).await;
    }

    async fn installation(&self, owner: &str) -> Result<Installation, SourceError> {
        let find =
            |all: &[Installation]| all.iter().find(|one| one.owner.eq_ignore_ascii_case(owner)).cloned();
        let all = self.installations().await?;
        let found = find(&all).ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|one| one.owner.as_str()).collect();
            SourceError {
                allowed: super::super::nearest::nearest(owner, known),
                ..SourceError::new(
                    SourceErrorKind::NotFound,
                    format!(
                        "the app is not installed at {owner}: install it there, or leave its repositories out"
                    ),
                )
            }
        })?;
        if found.suspended {
            return Err(SourceError::new(
                SourceErrorKind::Forbidden,
                format!("the app's installation at {owner} is suspended: an owner there can unsuspend it"),
            ));
        }
        Ok(found)
    }

    /// Everywhere the app is installed.
    pub(super) async fn installations(&self) -> Result<Arc<Vec<Installation>>, SourceError> {
        self.tokens
            .installations
            .try_get_with(self.key(), self.list_installations())
            .await
            .map_err(|error: Arc<SourceError>| (*error).clone())
    }

    async fn list_installations(&self) -> Result<Arc<Vec<Installation>>, SourceError> {
        let what = "the app's installations";
        let mut url = endpoint(self.connection, "/app/installations?per_page=100")?;
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let response = self.as_app(Method::GET, &url, what).await?;
            let page: Vec<InstallationAnswer> = serde_json::from_slice(&response.body).map_err(|error| {
                malformed(format!("GitHub's answer for {what} is not a list of them ({error})"))
            })?;
            found.extend(page.into_iter().filter_map(|one| {
                let owner = one.account?.login;
                let suspended = one.suspended_at.is_some();
                Some(Installation { id: one.id, owner, suspended, permissions: one.permissions })
            }));
            let Some(next) = Links::read(&response.headers).next else { return Ok(Arc::new(found)) };
            let next = self
                .connection
                .base_url
                .join(&next)
                .map_err(|_| malformed("GitHub answered with a broken link"))?;
            if next.origin() != url.origin() || next == url {
                return Err(malformed("GitHub's list of installations leads elsewhere"));
            }
            url = next;
        }
        Err(malformed("GitHub's list of the app's installations does not end"))
    }

    /// What the app is called, as GitHub says.
    pub(super) async fn describe(&self) -> Result<(Value, HeaderMap), SourceError> {
        let what = "the app";
        let response = self.as_app(Method::GET, &endpoint(self.connection, "/app")?, what).await?;
        let app = serde_json::from_slice(&response.body)
            .map_err(|error| malformed(format!("GitHub's answer for {what} is no JSON ({error})")))?;
        Ok((app, response.headers))
    }

    async fn ask_for_token(&self, installation: &Installation) -> Result<InstallationToken, SourceError> {
        let what = format!("a token of the app's installation at {}", installation.owner);
        let path = format!("/app/installations/{}/access_tokens", installation.id);
        let response = self.as_app(Method::POST, &endpoint(self.connection, &path)?, &what).await?;
        let answer: TokenAnswer = serde_json::from_slice(&response.body)
            .map_err(|_| malformed("GitHub's answer for the app's token holds no token"))?;
        let now = refusals::answered_at(&response.headers).unwrap_or_else(|| SystemClock.now());
        let usable_for = (answer.expires_at - now - SPARE).to_std().unwrap_or_default();
        Ok(InstallationToken { authorization: bearer(&answer.token)?, usable_for })
    }

    /// One request as the app itself.
    async fn as_app(
        &self,
        method: Method,
        url: &Url,
        what: &str,
    ) -> Result<crate::egress::Response, SourceError> {
        let response = self.as_app_at(method.clone(), url, SystemClock.now()).await?;
        let response = match refusals::answered_at(&response.headers) {
            // Our clock is off: the statement looks expired, or made in the future.
            Some(theirs) if response.status == StatusCode::UNAUTHORIZED => {
                if (theirs - SystemClock.now()).abs() < TimeDelta::seconds(30) {
                    response
                } else {
                    self.as_app_at(method, url, theirs).await?
                }
            }
            _ => response,
        };
        if response.status.is_success() {
            return Ok(response);
        }
        let error = errors::from_answer(response.status, &response.headers, &response.body, what);
        Err(match error.kind {
            SourceErrorKind::Unauthorized => SourceError {
                message: format!(
                    "GitHub refused the app's signature ({}): check the app's id and that the private key is one of its \
                     own",
                    errors::said(&response.body).unwrap_or_else(|| "Unauthorized".into())
                ),
                ..error
            },
            _ => error,
        })
    }

    async fn as_app_at(
        &self,
        method: Method,
        url: &Url,
        now: DateTime<Utc>,
    ) -> Result<crate::egress::Response, SourceError> {
        let mut headers = base_headers();
        headers.insert(header::AUTHORIZATION, self.signed(now)?);
        transport(self.client, self.connection, method, url, headers, None).await
    }

    /// A minute back against clocks that are behind, and for less than the ten minutes that GitHub allows.
    fn signed(&self, now: DateTime<Utc>) -> Result<HeaderValue, SourceError> {
        let unusable = |why: String| SourceError {
            field: Some("/credentials/private_key".into()),
            ..SourceError::new(SourceErrorKind::Unauthorized, format!("the app's private key {why}"))
        };
        let key = EncodingKey::from_rsa_pem(self.private_key.expose_secret().as_bytes())
            .map_err(|_| unusable("is no RSA private key in PEM form".into()))?;
        let now = now.timestamp();
        let claims = Claims { iat: now - 60, exp: now + 540, iss: self.app_id };
        let token = encode(&Header::new(Algorithm::RS256), &claims, &key)
            .map_err(|_| unusable("cannot sign".into()))?;
        bearer(&SecretString::from(token))
    }
}
