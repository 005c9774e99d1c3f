//! Requests to GitHub's API: headers, redirects of renamed repositories, links, and what a refusal is about.

use std::borrow::Cow;
use std::collections::HashSet;

use application::ports::{Connection, ProjectRef, SourceError, SourceErrorKind};
use domain::Credential;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::ExposeSecret;
use serde_json::value::RawValue;
use url::Url;

use super::super::sanitize::json_text;
use super::link::Links;
use super::settings::Settings;
use super::{errors, malformed};
use crate::egress::{EgressClient, Response};

/// Most pages of one list that are read in one go: 10,000 labels.
const MAX_PAGES: usize = 100;

/// One instance's API.
pub(super) struct Api<'a> {
    client: &'a EgressClient,
    connection: &'a Connection,
    headers: HeaderMap,
    pub(super) settings: Settings,
}

/// An answer with status 200, or 304 when a validator was sent.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    body: bytes::Bytes,
    pub(super) not_modified: bool,
    pub(super) links: Links,
}

impl Answer {
    /// The body, safe for PostgreSQL.
    pub(super) fn text(&self) -> Cow<'_, str> {
        json_text(&self.body)
    }

    pub(super) fn etag(&self) -> Option<&str> {
        self.headers.get(header::ETAG)?.to_str().ok()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The objects of a list, each as its own text.
pub(super) fn rows(text: &str) -> Result<Vec<&RawValue>, SourceError> {
    serde_json::from_str(text)
        .map_err(|error| malformed(format!("GitHub's answer is not a list of JSON objects ({error})")))
}

impl<'a> Api<'a> {
    pub(super) fn new(client: &'a EgressClient, connection: &'a Connection) -> Result<Self, SourceError> {
        if matches!(connection.base_url.host_str(), Some("github.com" | "www.github.com")) {
            return Err(SourceError {
                field: Some("/base_url".into()),
                ..SourceError::new(
                    SourceErrorKind::Rejected,
                    "github.com is the website: the base URL of its API is https://api.github.com",
                )
            });
        }
        let Credential::Token { token } = &connection.credential else {
            return Err(SourceError::new(
                SourceErrorKind::Unauthorized,
                "GitHub takes no credential of this kind: give the instance a token",
            ));
        };
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| {
                SourceError::new(
                    SourceErrorKind::Unauthorized,
                    "the token holds characters that no token has",
                )
            })?;
        authorization.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, authorization);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        headers.insert("x-github-api-version", HeaderValue::from_static("2022-11-28"));
        Ok(Self { client, connection, headers, settings: Settings::stored(&connection.settings) })
    }

    /// The absolute URL of a path below the base URL.
    pub(super) fn url(&self, path: &str) -> Result<Url, SourceError> {
        let base = self.connection.base_url.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{path}")).map_err(|error| {
            SourceError::new(SourceErrorKind::Rejected, format!("{path} is no address ({error})"))
        })
    }

    /// A URL that GitHub gave, when it leads to the same server; the token goes nowhere else.
    pub(super) fn follow(&self, link: &str) -> Result<Url, SourceError> {
        let url = self
            .connection
            .base_url
            .join(link)
            .map_err(|_| malformed("GitHub answered with a broken link"))?;
        if url.origin() != self.connection.base_url.origin() {
            return Err(SourceError {
                field: Some("/base_url".into()),
                ..malformed(format!(
                    "GitHub's answer leads to another server ({}): the base URL must be the one it calls itself by",
                    url.host_str().unwrap_or("unnamed")
                ))
            });
        }
        Ok(url)
    }

    /// One GET as it comes, redirects and refusals included.
    pub(super) async fn send(&self, url: &Url, etag: Option<&str>) -> Result<Response, SourceError> {
        let mut headers = self.headers.clone();
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            headers.insert(header::IF_NONE_MATCH, etag);
        }
        self.connection.count_request();
        let result = self.client.get(url, headers).await;
        let outcome = match &result {
            Ok(response) if response.status.is_success() => "ok",
            Ok(response) if response.status == StatusCode::NOT_MODIFIED => "not_modified",
            Ok(response) if response.status.is_server_error() => "failed",
            Ok(_) => "refused",
            Err(_) => "unreachable",
        };
        metrics::counter!("source_requests_total", "source" => "github", "outcome" => outcome).increment(1);
        result.map_err(|error| errors::from_egress(&error))
    }

    /// One GET that must succeed. A redirect, as a renamed repository gives, is followed once.
    pub(super) async fn get(&self, url: &Url, etag: Option<&str>, what: &str) -> Result<Answer, SourceError> {
        let response = self.send(url, etag).await?;
        match redirect(&response) {
            Some(location) => {
                let url = self.follow(location)?;
                answer(self.send(&url, etag).await?, what)
            }
            None => answer(response, what),
        }
    }

    /// All pages of a list, from an answer on. Calls `page` with each page's text.
    pub(super) async fn all_pages(
        &self,
        first: Answer,
        what: &str,
        mut page: impl FnMut(&str) -> Result<(), SourceError> + Send,
    ) -> Result<(), SourceError> {
        let mut seen = HashSet::new();
        let mut answer = first;
        loop {
            page(&answer.text())?;
            let Some(next) = answer.links.next.take() else { return Ok(()) };
            if seen.len() >= MAX_PAGES || !seen.insert(next.clone()) {
                return Err(malformed(format!("GitHub's list of {what} does not end")));
            }
            let url = self.follow(&next)?;
            answer = self.get(&url, None, what).await?;
        }
    }

    /// Says which setting a repository that is not found stands in.
    pub(super) fn blame_repository(&self, error: SourceError, project: &ProjectRef) -> SourceError {
        if error.kind != SourceErrorKind::NotFound {
            return error;
        }
        let position = self
            .settings
            .repositories
            .as_ref()
            .and_then(|names| names.iter().position(|name| name.eq_ignore_ascii_case(&project.key)));
        let field =
            position.map_or("/settings/repositories".to_owned(), |i| format!("/settings/repositories/{i}"));
        SourceError {
            field: Some(field),
            message: format!(
                "GitHub does not find the repository {}: check the spelling, and that the token may see it",
                project.key
            ),
            ..error
        }
    }
}

/// Where a redirect leads.
pub(super) fn redirect(response: &Response) -> Option<&str> {
    matches!(response.status.as_u16(), 301 | 302 | 307 | 308)
        .then(|| response.headers.get(header::LOCATION)?.to_str().ok())
        .flatten()
}

/// The answer, or what its status means.
pub(super) fn answer(response: Response, what: &str) -> Result<Answer, SourceError> {
    match response.status {
        StatusCode::OK | StatusCode::NOT_MODIFIED => Ok(Answer {
            links: Links::read(&response.headers),
            not_modified: response.status == StatusCode::NOT_MODIFIED,
            headers: response.headers,
            body: response.body,
        }),
        status => Err(errors::from_answer(status, &response.headers, &response.body, what)),
    }
}
