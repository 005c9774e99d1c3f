//! Which Jira it is: Cloud (REST v3, Atlassian Document Format) or Data Center (REST v2, wiki markup).

use chrono::{DateTime, Utc};
use serde::Deserialize;
use url::Url;

use super::time::jira_time;

/// How the tracker speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Jira Cloud.
    Cloud,
    /// Jira Data Center or Server.
    DataCenter,
}

impl Dialect {
    /// The path of the platform's API.
    pub(super) const fn rest(self) -> &'static str {
        match self {
            Self::Cloud => "/rest/api/3",
            Self::DataCenter => "/rest/api/2",
        }
    }

    /// Whether texts are Atlassian Document Format rather than wiki markup.
    pub(super) const fn has_adf(self) -> bool {
        matches!(self, Self::Cloud)
    }
}

/// What an instance tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) dialect: Dialect,
    /// Where people open it, without trailing slash; not the API's gateway.
    pub(super) home: String,
    /// Its version.
    pub(super) version: Option<String>,
}

/// `serverInfo`, which both dialects have below the path of their API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerInfo {
    #[serde(default)]
    base_url: Option<String>,
    #[serde(default)]
    version: Option<String>,
    /// `Cloud` or `Server`; old servers leave it out.
    #[serde(default)]
    deployment_type: Option<String>,
    #[serde(default)]
    build_number: Option<serde_json::Value>,
    #[serde(default)]
    server_time: Option<String>,
}

impl ServerInfo {
    /// Whether this is Jira's answer at all.
    pub(super) fn is_jira(&self) -> bool {
        self.version.is_some() || self.build_number.is_some() || self.deployment_type.is_some()
    }

    /// The tracker's clock.
    pub(super) fn time(&self) -> Option<DateTime<Utc>> {
        jira_time(self.server_time.as_deref()?).ok()
    }

    /// What it says of the site. A site without an address of its own is where the API is.
    pub(super) fn into_site(self, api: &Url) -> Site {
        let dialect = match self.deployment_type.as_deref() {
            Some(kind) if kind.eq_ignore_ascii_case("cloud") => Dialect::Cloud,
            _ => Dialect::DataCenter,
        };
        let home = self
            .base_url
            .filter(|url| matches!(Url::parse(url), Ok(url) if matches!(url.scheme(), "http" | "https")))
            .unwrap_or_else(|| api.to_string());
        Site { dialect, home: home.trim_end_matches('/').to_owned(), version: self.version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(json: &str) -> Site {
        let info: ServerInfo = serde_json::from_str(json).unwrap();
        assert!(info.is_jira());
        info.into_site(&Url::parse("https://api.atlassian.com/ex/jira/c1d/").unwrap())
    }

    #[test]
    fn the_deployment_type_decides_and_is_missing_on_old_servers() {
        let cloud = site(
            r#"{"baseUrl":"https://acme.atlassian.net/","version":"1001.0.0-SNAPSHOT","deploymentType":"Cloud"}"#,
        );
        assert_eq!((cloud.dialect, cloud.home.as_str()), (Dialect::Cloud, "https://acme.atlassian.net"));
        let server =
            site(r#"{"baseUrl":"https://jira.acme.test/jira","version":"9.12.2","deploymentType":"Server"}"#);
        assert_eq!((server.dialect, server.dialect.rest()), (Dialect::DataCenter, "/rest/api/2"));
        let old = site(r#"{"baseUrl":"javascript:alert(1)","version":"7.0.0","buildNumber":70107}"#);
        assert_eq!(old.dialect, Dialect::DataCenter);
        assert_eq!(old.home, "https://api.atlassian.com/ex/jira/c1d");
    }
}
