//! Requests to Asana's API: paths, pages, names of people, and what a refusal is about.

use application::ports::{Connection, SourceError, SourceErrorKind};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::{Credential, InstanceId, Mappings};
use http::{HeaderMap, HeaderValue, Method, header};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use url::Url;

use super::super::sanitize::json_text;
use super::super::{exchange, refusals};
use super::names::Names;
use super::settings::Settings;
use super::{errors, malformed};
use crate::egress::{EgressClient, Response};

/// Rows of a page; Asana allows no more, and refuses large lists when none is given.
pub(super) const PAGE_ROWS: &str = "100";
/// Requests under way at once. Asana allows fifty reads.
pub(super) const CONCURRENCY: usize = 6;
/// Most pages of one list that are read in one go: 20,000 tags.
const MAX_PAGES: usize = 200;

/// One instance's API.
pub(super) struct Api<'a> {
    client: &'a EgressClient,
    connection: &'a Connection,
    headers: HeaderMap,
    names: &'a Names,
    pub(super) settings: Settings,
}

/// A part of a list: its objects, each as its own text.
pub(super) struct Rows {
    pub(super) rows: Vec<Box<RawValue>>,
    /// Asks for the next part.
    pub(super) next: Option<String>,
    /// When Asana answered, by its own clock.
    pub(super) answered_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct ListBody {
    data: Vec<Box<RawValue>>,
    #[serde(default)]
    next_page: Option<NextPage>,
}

#[derive(Deserialize)]
struct NextPage {
    #[serde(default)]
    offset: Option<String>,
}

#[derive(Deserialize)]
struct ObjectBody {
    data: Box<RawValue>,
}

impl<'a> Api<'a> {
    pub(super) fn new(
        client: &'a EgressClient,
        names: &'a Names,
        connection: &'a Connection,
    ) -> Result<Self, SourceError> {
        let token = match &connection.credential {
            Credential::Token { token } => token,
            Credential::OAuth(grant) => &grant.access_token,
            _ => {
                return Err(SourceError::new(
                    SourceErrorKind::Unauthorized,
                    "Asana takes no credential of this kind: give the instance a token or an OAuth grant",
                ));
            }
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
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        Ok(Self { client, connection, headers, names, settings: Settings::stored(&connection.settings) })
    }

    pub(super) fn mappings(&self) -> &Mappings {
        &self.connection.mappings
    }

    pub(super) fn instance(&self) -> InstanceId {
        self.connection.instance
    }

    pub(super) fn names(&self) -> &Names {
        self.names
    }

    /// Whether the token belongs to an app, which alone may set a task's external id.
    pub(super) fn is_app(&self) -> bool {
        matches!(self.connection.credential, Credential::OAuth(_))
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<Url, SourceError> {
        let base = self.connection.base_url.as_str().trim_end_matches('/');
        let mut url = Url::parse(&format!("{base}{path}")).map_err(|error| {
            SourceError::new(SourceErrorKind::Rejected, format!("{path} is no address ({error})"))
        })?;
        if !query.is_empty() {
            let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
            // Lists of fields stay legible.
            url.set_query(Some(&text.replace("%2C", ",")));
        }
        Ok(url)
    }

    /// One request as it is answered, refusals included.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Response, SourceError> {
        let url = self.url(path, query)?;
        let mut headers = self.headers.clone();
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let body = body.map(|body| Bytes::from(body.to_string()));
        let answer = exchange::send("asana", self.client, self.connection, method, &url, headers, body).await;
        answer.map_err(|error| refusals::unanswered("Asana", &error))
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
        what: &str,
    ) -> Result<Response, SourceError> {
        let response = self.send(method, path, query, body).await?;
        match response.status {
            // One without a body is told by what reads it.
            status if status.is_success() => Ok(response),
            status => Err(errors::from_answer(status, &response.headers, &response.body, what)),
        }
    }

    /// One object as it is received.
    pub(super) async fn object(
        &self,
        path: &str,
        query: &[(&str, &str)],
        what: &str,
    ) -> Result<Box<RawValue>, SourceError> {
        let response = self.answer(Method::GET, path, query, None, what).await?;
        let body: ObjectBody = serde_json::from_str(&json_text(&response.body))
            .map_err(|error| malformed(format!("Asana's answer for {what} holds no `data` ({error})")))?;
        Ok(body.data)
    }

    /// One object.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        what: &str,
    ) -> Result<T, SourceError> {
        parse(&self.object(path, query, what).await?, what)
    }

    /// A part of a list.
    pub(super) async fn list(
        &self,
        path: &str,
        query: &[(&str, &str)],
        offset: Option<&str>,
        what: &str,
    ) -> Result<Rows, SourceError> {
        let mut query = query.to_vec();
        query.push(("limit", PAGE_ROWS));
        query.extend(offset.map(|offset| ("offset", offset)));
        let response = self.answer(Method::GET, path, &query, None, what).await?;
        let body: ListBody = serde_json::from_str(&json_text(&response.body))
            .map_err(|error| malformed(format!("Asana's answer for {what} is no list ({error})")))?;
        let next = body.next_page.and_then(|next| next.offset).filter(|next| !next.is_empty());
        if next.is_some() && next.as_deref() == offset {
            return Err(malformed(format!(
                "Asana's list of {what} does not move on: its next page is the same"
            )));
        }
        Ok(Rows { rows: body.data, next, answered_at: refusals::answered_at(&response.headers) })
    }

    /// A whole list. What cannot be read as `T` is left out.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        what: &str,
    ) -> Result<Vec<T>, SourceError> {
        let (mut all, mut offset) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let page = self.list(path, query, offset.as_deref(), what).await?;
            all.extend(page.rows.iter().filter_map(|row| serde_json::from_str(row.get()).ok()));
            offset = page.next;
            if offset.is_none() {
                return Ok(all);
            }
        }
        Err(malformed(format!("Asana's list of {what} does not end")))
    }

    /// Sends a change and answers the object as it is then.
    pub(super) async fn write<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        data: Value,
        what: &str,
    ) -> Result<T, SourceError> {
        let body = json!({"data": data});
        let response = self.answer(method, path, query, Some(&body), what).await?;
        let body: ObjectBody = serde_json::from_str(&json_text(&response.body))
            .map_err(|error| malformed(format!("Asana's answer for {what} holds no `data` ({error})")))?;
        parse(&body.data, what)
    }

    /// Says which setting a project that is not found stands in.
    pub(super) fn blame_project(&self, error: SourceError, project: &str) -> SourceError {
        if !matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Forbidden) {
            return error;
        }
        let selected = self.settings.projects.as_ref();
        let position = selected.and_then(|gids| gids.iter().position(|gid| gid == project));
        let field = position.map_or("/settings/projects".to_owned(), |i| format!("/settings/projects/{i}"));
        SourceError { field: Some(field), ..error }
    }
}

fn parse<T: DeserializeOwned>(raw: &RawValue, what: &str) -> Result<T, SourceError> {
    serde_json::from_str(raw.get())
        .map_err(|error| malformed(format!("Asana's answer for {what} has an unknown form ({error})")))
}
