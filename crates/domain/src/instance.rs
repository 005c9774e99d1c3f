//! A tenant's connection to one source.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{Credential, FieldError, InstanceId, Invalid, Slug};

/// The name of a source adapter: `github`, `jira`, …
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceKind(String);

impl SourceKind {
    /// Names a source; whether it is registered is for the registry to say.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether an instance can be synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceStatus {
    /// In use.
    Active,
    /// An admin stopped it: runs are refused.
    Paused,
    /// The tracker refused the credential: a new one is needed.
    ReconnectRequired,
}

impl InstanceStatus {
    /// The stored and served name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::ReconnectRequired => "reconnect_required",
        }
    }

    /// Reads a stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Paused, Self::ReconnectRequired]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

/// A configured connection, without its credential.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its short name, unique in the tenant; does not change.
    pub slug: Slug,
    /// Which adapter speaks to it.
    pub source: SourceKind,
    /// Its display name.
    pub name: String,
    /// Where the tracker's API is, without a trailing slash.
    pub base_url: Url,
    /// What to sync; its shape is the source's own.
    pub settings: serde_json::Value,
    /// Whether it can be synced.
    pub status: InstanceStatus,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed by an admin.
    pub updated_at: DateTime<Utc>,
}

/// Input of "connect an instance".
#[derive(Debug, Clone)]
pub struct NewInstance {
    /// Which adapter.
    pub source: SourceKind,
    /// Its display name.
    pub name: String,
    /// Where the tracker's API is; the source's public address when absent.
    pub base_url: Option<Url>,
    /// The credential.
    pub credentials: Credential,
    /// What to sync.
    pub settings: serde_json::Value,
}

/// Input of "change an instance"; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct InstancePatch {
    /// A new display name.
    pub name: Option<String>,
    /// A new address of the tracker's API. Needs new credentials, so that a key is never sent to a host it was not given for.
    pub base_url: Option<Url>,
    /// New credentials.
    pub credentials: Option<Credential>,
    /// New settings, replacing the old.
    pub settings: Option<serde_json::Value>,
    /// Pause or resume.
    pub paused: Option<bool>,
}

/// Checks a display name: 1 to 100 characters, none of them control characters.
pub fn check_name(name: &str) -> Result<(), Invalid> {
    let trimmed = name.trim();
    if trimmed.is_empty() || trimmed.chars().count() > 100 || trimmed.chars().any(char::is_control) {
        return Err(Invalid::one("/name", "must have 1 to 100 characters and no control characters"));
    }
    Ok(())
}

/// Checks the form of a base URL: http or https, a host, no user, query or fragment. Returns it without trailing slash.
///
/// Where it points to is checked by the egress guard at connection time.
pub fn check_base_url(url: &Url) -> Result<Url, Invalid> {
    let mut errors = Vec::new();
    let mut wrong = |message: &str| {
        errors.push(FieldError { pointer: "/base_url".into(), message: message.into(), allowed: Vec::new() });
    };
    if !matches!(url.scheme(), "http" | "https") {
        wrong("must begin with https:// (or http:// for a host the operator allows)");
    }
    if url.host_str().is_none_or(str::is_empty) {
        wrong("must name a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        wrong("must not hold a user name or password: put them into credentials");
    }
    if url.query().is_some() || url.fragment().is_some() {
        wrong("must not have a query or fragment");
    }
    Invalid::collect(errors)?;
    let mut url = url.clone();
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_with_anything_but_scheme_host_and_path_are_refused() {
        for bad in [
            "ftp://example.com",
            "https://user:pw@example.com",
            "https://example.com/?a=b",
            "https://example.com/#x",
        ] {
            assert!(check_base_url(&Url::parse(bad).unwrap()).is_err(), "{bad} was accepted");
        }
        let ok = check_base_url(&Url::parse("https://github.example.com/api/v3/").unwrap()).unwrap();
        assert_eq!(ok.as_str(), "https://github.example.com/api/v3");
    }
}
