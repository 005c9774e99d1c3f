//! Requests to Jira's API: addresses of both dialects, headers, and what a refusal is about.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use application::ports::{Connection, ProjectRef, SourceError, SourceErrorKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::Credential;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use super::super::sanitize::json_text;
use super::super::{exchange, refusals};
use super::dialect::{Dialect, ServerInfo, Site};
use super::known::{Known, KnownSites};
use super::settings::Settings;
use super::{errors, malformed};
use crate::egress::{EgressClient, EgressError, OpenResponse, Response};

/// One instance's API.
#[derive(Debug)]
pub(super) struct Api<'a> {
    client: &'a EgressClient,
    pub(super) connection: &'a Connection,
    headers: HeaderMap,
    pub(super) site: Arc<Site>,
    known: &'a KnownSites,
    pub(super) settings: Settings,
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer(Bytes);

impl Answer {
    /// The body, safe for PostgreSQL.
    pub(super) fn text(&self) -> Cow<'_, str> {
        json_text(&self.0)
    }

    /// The body as an object of its own.
    pub(super) fn json<T: DeserializeOwned>(&self, what: &str) -> Result<T, SourceError> {
        serde_json::from_str(&self.text()).map_err(|error| {
            malformed(format!("Jira's answer for {what} is not what it should be ({error})"))
        })
    }
}

/// An address below the base URL, with its query in safe form.
pub(super) fn address(base: &Url, path: &str, query: &[(&str, &str)]) -> Result<Url, SourceError> {
    let base = base.as_str().trim_end_matches('/');
    let mut url = Url::parse(&format!("{base}{path}")).map_err(|error| {
        SourceError::new(SourceErrorKind::Rejected, format!("{path} is no address ({error})"))
    })?;
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}

/// One part of a path: a key or id, in safe form.
pub(super) fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

fn headers(credential: &Credential) -> Result<HeaderMap, SourceError> {
    let text = match credential {
        Credential::Basic { email, token } => {
            format!("Basic {}", STANDARD.encode(format!("{email}:{}", token.expose_secret())))
        }
        Credential::Pat { token } | Credential::Token { token } => {
            format!("Bearer {}", token.expose_secret())
        }
        Credential::OAuth(grant) => format!("Bearer {}", grant.access_token.expose_secret()),
        Credential::GithubApp { .. } => {
            return Err(SourceError::new(
                SourceErrorKind::Unauthorized,
                "Jira takes no credential of this kind: give the instance an e-mail address with an API token, a \
                 personal access token, or connect it by OAuth",
            ));
        }
    };
    let mut authorization = HeaderValue::from_str(&text).map_err(|_| {
        SourceError::new(SourceErrorKind::Unauthorized, "the token holds characters that no token has")
    })?;
    authorization.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, authorization);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    // Without it Data Center takes a POST for one that a browser was tricked into.
    headers.insert("x-atlassian-token", HeaderValue::from_static("no-check"));
    Ok(headers)
}

/// Asks an instance what it is: as Cloud first, and as Data Center where that is not found, which has no version 3.
pub(super) async fn server_info(
    client: &EgressClient,
    connection: &Connection,
) -> Result<ServerInfo, SourceError> {
    let headers = headers(&connection.credential)?;
    for dialect in [Dialect::Cloud, Dialect::DataCenter] {
        let url = address(&connection.base_url, &format!("{}{SERVER_INFO}", dialect.rest()), &[])?;
        let response = send(client, connection, Method::GET, &url, headers.clone(), None).await?;
        if response.status != StatusCode::NOT_FOUND {
            return success(response, "the server's version").and_then(|answer| read_server_info(&answer));
        }
    }
    Err(not_jira())
}

const SERVER_INFO: &str = "/serverInfo";

fn read_server_info(answer: &Answer) -> Result<ServerInfo, SourceError> {
    match serde_json::from_str::<ServerInfo>(&answer.text()) {
        Ok(info) if info.is_jira() => Ok(info),
        _ => Err(not_jira()),
    }
}

fn not_jira() -> SourceError {
    SourceError {
        field: Some("/base_url".into()),
        ..SourceError::new(
            SourceErrorKind::Rejected,
            "the base URL is not that of a Jira: it answers neither /rest/api/3/serverInfo nor \
             /rest/api/2/serverInfo as Jira does. Use https://<site>.atlassian.net, \
             https://api.atlassian.com/ex/jira/<cloud id> with OAuth, or the address of your Jira Data Center with its \
             context path",
        )
    }
}

async fn send(
    client: &EgressClient,
    connection: &Connection,
    method: Method,
    url: &Url,
    headers: HeaderMap,
    body: Option<Bytes>,
) -> Result<Response, SourceError> {
    let answer = exchange::send("jira", client, connection, method, url, headers, body).await;
    answer.map_err(|error| {
        let mut mapped = unanswered(&error);
        if error == EgressError::TooLarge {
            mapped.field = Some(TOO_LARGE.to_owned());
        }
        mapped
    })
}

/// Why there is no answer, or no more of it.
pub(super) fn unanswered(error: &EgressError) -> SourceError {
    refusals::unanswered("Jira", error)
}

/// How long an answer that is read as it comes may take to begin.
const LONGEST_BEGINNING: Duration = Duration::from_secs(30);

/// Marks an answer that is larger than is read: asking for less helps.
const TOO_LARGE: &str = "/answer/size";

/// Whether the answer was larger than is read.
pub(super) fn is_too_large(error: &SourceError) -> bool {
    error.field.as_deref() == Some(TOO_LARGE)
}

fn success(response: Response, what: &str) -> Result<Answer, SourceError> {
    if response.status.is_success() {
        return Ok(Answer(response.body));
    }
    Err(errors::from_answer(response.status, &response.headers, &response.body, what))
}

impl<'a> Api<'a> {
    pub(super) fn new(
        client: &'a EgressClient,
        connection: &'a Connection,
        site: Arc<Site>,
        known: &'a KnownSites,
    ) -> Result<Self, SourceError> {
        Ok(Self {
            client,
            connection,
            headers: headers(&connection.credential)?,
            site,
            known,
            settings: Settings::stored(&connection.settings),
        })
    }

    /// The site's statuses and fields, as of a few minutes ago.
    pub(super) async fn known(&self) -> Result<Arc<Known>, SourceError> {
        self.known.find(self).await
    }

    /// As [`Self::known`], asked for now.
    pub(super) async fn known_now(&self) -> Result<Arc<Known>, SourceError> {
        self.known.renew(self).await
    }

    /// What the server says of itself now.
    pub(super) async fn server_info(&self) -> Result<ServerInfo, SourceError> {
        read_server_info(&self.get(&self.rest(SERVER_INFO), &[], "the server's version").await?)
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.site.dialect
    }

    pub(super) fn is_cloud(&self) -> bool {
        self.site.dialect == Dialect::Cloud
    }

    /// A path of the platform's API in this dialect: `rest("/issue/10001")`.
    pub(super) fn rest(&self, path: &str) -> String {
        format!("{}{path}", self.dialect().rest())
    }

    /// An issue's page for people.
    pub(super) fn browse(&self, key: &str) -> String {
        format!("{}/browse/{key}", self.site.home)
    }

    /// One request as it comes, refusals included.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Response, SourceError> {
        let url = address(&self.connection.base_url, path, query)?;
        let mut headers = self.headers.clone();
        let body = body.map(|body| {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Bytes::from(body.to_string())
        });
        send(self.client, self.connection, method, &url, headers, body).await
    }

    /// A POST of something else than JSON, as it comes, refusals included.
    pub(super) async fn send_form(
        &self,
        path: &str,
        content_type: HeaderValue,
        body: Bytes,
    ) -> Result<Response, SourceError> {
        let url = address(&self.connection.base_url, path, &[])?;
        let mut headers = self.headers.clone();
        headers.insert(header::CONTENT_TYPE, content_type);
        send(self.client, self.connection, Method::POST, &url, headers, Some(body)).await
    }

    /// A GET that must succeed, and whose answer, of whatever kind, is read as it comes. Redirections are refused: what is
    /// behind them is not Jira, or is its page for signing in.
    pub(super) async fn open(
        &self,
        path: &str,
        query: &[(&str, &str)],
        what: &str,
    ) -> Result<OpenResponse, SourceError> {
        let url = address(&self.connection.base_url, path, query)?;
        let mut headers = self.headers.clone();
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let opened = exchange::open("jira", self.client, self.connection, &url, headers);
        // It may go on for long once it has begun.
        let Ok(opened) = timeout(LONGEST_BEGINNING, opened).await else {
            return Err(unanswered(&EgressError::Timeout));
        };
        let response = opened.map_err(|error| unanswered(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.is_redirection() {
            return Err(SourceError::new(
                SourceErrorKind::Unsupported,
                format!("Jira leads elsewhere for {what}, where Patchbay does not follow: open it in Jira"),
            ));
        }
        let headers = response.headers().clone();
        let Ok(body) = timeout(LONGEST_BEGINNING, response.rest()).await else {
            return Err(unanswered(&EgressError::Timeout));
        };
        let body = body.map_err(|error| unanswered(&error))?;
        Err(errors::from_answer(status, &headers, &body, what))
    }

    /// One request that must succeed. Atlassian's gateway answers an expired access token with 403 or 404 too, so that
    /// under OAuth these are believed only while the account itself can be read.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
        what: &str,
    ) -> Result<Answer, SourceError> {
        let response = self.send(method, path, query, body).await?;
        let doubtful = matches!(response.status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
            && matches!(self.connection.credential, Credential::OAuth(_))
            && !path.ends_with("/myself");
        if doubtful {
            let account = self.send(Method::GET, &self.rest("/myself"), &[], None).await?;
            if matches!(account.status.as_u16(), 401 | 403 | 404) {
                return Err(errors::from_answer(
                    StatusCode::UNAUTHORIZED,
                    &account.headers,
                    &account.body,
                    what,
                ));
            }
        }
        success(response, what)
    }

    /// One GET that must succeed.
    pub(super) async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
        what: &str,
    ) -> Result<Answer, SourceError> {
        self.ask(Method::GET, path, query, None, what).await
    }

    /// One POST that must succeed.
    pub(super) async fn post(&self, path: &str, body: &Value, what: &str) -> Result<Answer, SourceError> {
        self.ask(Method::POST, path, &[], Some(body), what).await
    }

    /// Says which setting a project that is not found stands in.
    pub(super) fn blame_project(&self, error: SourceError, project: &ProjectRef) -> SourceError {
        let unknown = error.kind == SourceErrorKind::NotFound
            || (error.upstream_status == Some(400) && error.message.contains("'project'"));
        if !unknown {
            return error;
        }
        let position = self
            .settings
            .projects
            .as_ref()
            .and_then(|keys| keys.iter().position(|key| key.eq_ignore_ascii_case(&project.key)));
        SourceError {
            kind: SourceErrorKind::NotFound,
            field: Some(
                position.map_or("/settings/projects".to_owned(), |i| format!("/settings/projects/{i}")),
            ),
            message: format!(
                "Jira does not show the project {}: check the key, and that the account may browse it",
                project.key
            ),
            ..error
        }
    }
}
