//! Requests to GitHub's API: headers, redirects of renamed repositories, links, and what a refusal is about.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use application::ports::{Connection, ProjectRef, SourceError, SourceErrorKind};
use bytes::Bytes;
use domain::Credential;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use super::super::sanitize::json_text;
use super::super::{exchange, refusals};
use super::app::App;
use super::link::Links;
use super::settings::Settings;
use super::{GitHub, errors, malformed};
use crate::egress::{EgressClient, Response};

/// Most pages of one list that are read in one go: 10,000 labels.
const MAX_PAGES: usize = 100;

/// One instance's API.
pub(super) struct Api<'a> {
    client: &'a EgressClient,
    connection: &'a Connection,
    authorization: Authorization<'a>,
    pub(super) settings: Settings,
    last_owner: Mutex<Option<String>>,
}

enum Authorization<'a> {
    Token(HeaderValue),
    App(App<'a>),
}

/// An answer with status 200, 201, 204, or 304 when a validator was sent.
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

/// What every request says.
pub(super) fn base_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
    headers.insert("x-github-api-version", HeaderValue::from_static("2022-11-28"));
    headers
}

/// The header of a token.
pub(super) fn bearer(token: &SecretString) -> Result<HeaderValue, SourceError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| {
        SourceError::new(SourceErrorKind::Unauthorized, "the token holds characters that no token has")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The absolute URL of a path below the base URL.
pub(super) fn endpoint(connection: &Connection, path: &str) -> Result<Url, SourceError> {
    let base = connection.base_url.as_str().trim_end_matches('/');
    Url::parse(&format!("{base}{path}")).map_err(|error| {
        SourceError::new(SourceErrorKind::Rejected, format!("{path} is no address ({error})"))
    })
}

/// One request as it comes, counted.
pub(super) async fn transport(
    client: &EgressClient,
    connection: &Connection,
    method: Method,
    url: &Url,
    headers: HeaderMap,
    body: Option<Bytes>,
) -> Result<Response, SourceError> {
    let answer = exchange::send("github", client, connection, method, url, headers, body).await;
    answer.map_err(|error| refusals::unanswered("GitHub", &error))
}

/// The objects of a list, each as its own text.
pub(super) fn rows(text: &str) -> Result<Vec<&RawValue>, SourceError> {
    serde_json::from_str(text)
        .map_err(|error| malformed(format!("GitHub's answer is not a list of JSON objects ({error})")))
}

impl<'a> Api<'a> {
    pub(super) fn new(source: &'a GitHub, connection: &'a Connection) -> Result<Self, SourceError> {
        if matches!(connection.base_url.host_str(), Some("github.com" | "www.github.com")) {
            return Err(SourceError {
                field: Some("/base_url".into()),
                ..SourceError::new(
                    SourceErrorKind::Rejected,
                    "github.com is the website: the base URL of its API is https://api.github.com",
                )
            });
        }
        let authorization = match &connection.credential {
            Credential::Token { token } => Authorization::Token(bearer(token)?),
            Credential::GithubApp { app_id, private_key } => Authorization::App(App {
                tokens: &source.tokens,
                client: &source.client,
                connection,
                app_id,
                private_key,
            }),
            _ => {
                return Err(SourceError::new(
                    SourceErrorKind::Unauthorized,
                    "GitHub takes no credential of this kind: give the instance a token, or an app's key",
                ));
            }
        };
        let settings = Settings::stored(&connection.settings);
        let client = &source.client;
        Ok(Self { client, connection, authorization, settings, last_owner: Mutex::default() })
    }

    /// The app that signs in; `None` with a token.
    pub(super) fn app(&self) -> Option<&App<'a>> {
        match &self.authorization {
            Authorization::App(app) => Some(app),
            Authorization::Token(_) => None,
        }
    }

    /// Where requests go to.
    pub(super) fn connection(&self) -> &Connection {
        self.connection
    }

    /// Whose things a URL is about. A redirect by id names nobody: it is about whom the request before it was about.
    fn owner(&self, url: &Url) -> Option<String> {
        let path = url.path().strip_prefix(self.connection.base_url.path().trim_end_matches('/'));
        let mut parts = path.unwrap_or_else(|| url.path()).trim_start_matches('/').split('/');
        let mut last = self.last_owner.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some("repos" | "orgs"), Some(owner)) = (parts.next(), parts.next()) {
            *last = Some(owner.to_owned());
        }
        last.clone()
    }

    async fn authorization(&self, owner: Option<&str>) -> Result<HeaderValue, SourceError> {
        match (&self.authorization, owner) {
            (Authorization::Token(token), _) => Ok(token.clone()),
            (Authorization::App(app), Some(owner)) => app.authorization(owner).await,
            (Authorization::App(_), None) => Err(SourceError::new(
                SourceErrorKind::Unsupported,
                "an app reads what belongs to an owner it is installed at, and this belongs to none",
            )),
        }
    }

    /// One request with the token that opens what belongs to `owner`. An installation's token that is refused was taken
    /// back, which has no effect at GitHub: it is asked for once more.
    async fn exchange(
        &self,
        owner: Option<&str>,
        method: Method,
        url: &Url,
        etag: Option<&str>,
        body: Option<Bytes>,
    ) -> Result<Response, SourceError> {
        let mut headers = base_headers();
        headers.insert(header::AUTHORIZATION, self.authorization(owner).await?);
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            headers.insert(header::IF_NONE_MATCH, etag);
        }
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let send =
            |headers| transport(self.client, self.connection, method.clone(), url, headers, body.clone());
        let response = send(headers.clone()).await?;
        let (Authorization::App(app), Some(owner)) = (&self.authorization, owner) else {
            return Ok(response);
        };
        if response.status != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        app.forget(owner).await;
        headers.insert(header::AUTHORIZATION, app.authorization(owner).await?);
        send(headers).await
    }

    /// One request that changes something, as it comes. A redirect, as a renamed repository gives, is followed once with
    /// the same method: what was redirected had no effect.
    pub(super) async fn change(
        &self,
        method: Method,
        url: &Url,
        body: Option<&Value>,
        what: &str,
    ) -> Result<Answer, SourceError> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        let owner = self.owner(url);
        let response = self.exchange(owner.as_deref(), method.clone(), url, None, body.clone()).await?;
        let response = match redirect(&response) {
            Some(location) => {
                let url = self.follow(location)?;
                self.exchange(owner.as_deref(), method, &url, None, body).await?
            }
            None => response,
        };
        answer(response, what).map_err(|error| SourceError {
            message: error.message.replacen("may not read", "may not change", 1),
            ..error
        })
    }

    /// One GET about an owner whose name is not in the URL.
    pub(super) async fn get_of(&self, owner: &str, url: &Url, what: &str) -> Result<Answer, SourceError> {
        // The pages behind it are this owner's, too.
        *self.last_owner.lock().unwrap_or_else(PoisonError::into_inner) = Some(owner.to_owned());
        answer(self.exchange(Some(owner), Method::GET, url, None, None).await?, what)
    }

    /// One GraphQL query, as it comes.
    pub(super) async fn post_of(
        &self,
        owner: &str,
        url: &Url,
        body: &Value,
    ) -> Result<Response, SourceError> {
        self.exchange(Some(owner), Method::POST, url, None, Some(Bytes::from(body.to_string()))).await
    }

    /// The absolute URL of a path below the base URL.
    pub(super) fn url(&self, path: &str) -> Result<Url, SourceError> {
        endpoint(self.connection, path)
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
        self.exchange(self.owner(url).as_deref(), Method::GET, url, etag, None).await
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
        StatusCode::OK
        | StatusCode::CREATED
        | StatusCode::ACCEPTED
        | StatusCode::NO_CONTENT
        | StatusCode::NOT_MODIFIED => Ok(Answer {
            links: Links::read(&response.headers),
            not_modified: response.status == StatusCode::NOT_MODIFIED,
            headers: response.headers,
            body: response.body,
        }),
        status => Err(errors::from_answer(status, &response.headers, &response.body, what)),
    }
}
