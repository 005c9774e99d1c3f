//! One request: its parameters and body checked as the official description has them.

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::jql::Scope;
use super::reply::Reply;
use super::site::{JiraLogin, JiraSite};
use super::{render, time};
use crate::faults::Effects;
use crate::timestamp::now_ms;

/// Which API was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    /// `/rest/api/2`: texts are wiki markup.
    Two,
    /// `/rest/api/3`: texts are documents. Cloud only.
    Three,
    /// `/rest/agile/1.0`.
    Agile,
    /// `/rest/webhooks/1.0`.
    Webhooks,
    /// `/secure`: what Data Center's pages refer to.
    Secure,
}

/// What a parameter must look like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Text,
    Integer,
    Flag,
    /// Integers, commas or repeated.
    Integers,
    /// May be repeated, or hold commas.
    List,
    OneOf(&'static [&'static str]),
}

pub(crate) struct Call<'a> {
    pub(crate) method: &'a Method,
    pub(crate) api: Api,
    /// Behind the API's own path, in parts, decoded.
    pub(crate) parts: Vec<String>,
    pub(crate) login: &'a JiraLogin,
    pub(crate) effects: &'a Effects,
    /// `http://host/jira/name`.
    pub(crate) base: String,
    pub(crate) body: &'a Bytes,
    pub(crate) headers: &'a HeaderMap,
    query: Vec<(String, String)>,
}

impl<'a> Call<'a> {
    #[expect(clippy::too_many_arguments, reason = "the parts of one request, put together in one place")]
    pub(crate) fn new(
        method: &'a Method,
        api: Api,
        path: &str,
        raw_query: &str,
        login: &'a JiraLogin,
        effects: &'a Effects,
        base: String,
        body: &'a Bytes,
        headers: &'a HeaderMap,
    ) -> Self {
        let decode = |part: &str| {
            // A plus is a plus in a path.
            let part = part.replace('+', "%2B");
            url::form_urlencoded::parse(format!("p={part}").as_bytes())
                .next()
                .map(|(_, text)| text.into_owned())
        };
        let parts = path.split('/').filter(|part| !part.is_empty()).filter_map(decode).collect();
        let query = url::form_urlencoded::parse(raw_query.as_bytes()).into_owned().collect();
        Self { method, api, parts, login, effects, base, body, headers, query }
    }

    /// Refuses parameters that the operation does not have, and values that are no such thing.
    pub(crate) fn allow(&self, known: &[(&str, Kind)]) -> Result<(), Reply> {
        for (name, value) in &self.query {
            // Data Center's clients may call with this against caches.
            let Some((_, kind)) = known.iter().find(|(one, _)| one == name) else {
                return Err(Reply::bad_request(&format!(
                    "The query parameter '{name}' is not one of this operation."
                )));
            };
            let integer = |text: &str| text.trim().parse::<i64>().is_ok();
            let right = match kind {
                Kind::Text | Kind::List => true,
                Kind::Integer => integer(value),
                Kind::Flag => matches!(value.as_str(), "true" | "false"),
                Kind::Integers => value.split(',').all(integer),
                Kind::OneOf(values) => values.contains(&value.as_str()),
            };
            if !right {
                return Err(Reply::bad_request(&format!(
                    "The value '{value}' of '{name}' is not of the right type."
                )));
            }
        }
        Ok(())
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name)?;
        Some(found.1.as_str()).filter(|value| !value.is_empty())
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        self.text(name)?.trim().parse().ok()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// Values of a repeated parameter, commas within them counting too.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let values = self.query.iter().filter(|(key, _)| key == name);
        let parts = values.flat_map(|(_, value)| value.split(','));
        parts.map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    pub(crate) fn parts(&self) -> Vec<&str> {
        self.parts.iter().map(String::as_str).collect()
    }

    /// The body as an object. `known` are its properties, when no others are allowed.
    pub(crate) fn object(&self, known: Option<&[&str]>) -> Result<Map<String, Value>, Reply> {
        let parsed = serde_json::from_slice(self.body);
        let Ok(Value::Object(object)) = parsed else {
            return Err(Reply::bad_request(
                "Invalid request payload. Refer to the REST API documentation and try again.",
            ));
        };
        if let Some(known) = known
            && let Some(name) = object.keys().find(|name| !known.contains(&name.as_str()))
        {
            return Err(Reply::bad_request(&format!(
                "Invalid request payload: the property '{name}' is not one of this operation."
            )));
        }
        Ok(object)
    }

    /// `startAt` and `maxResults` of a list, the latter within bounds.
    pub(crate) fn window(&self, default: usize, cap: usize) -> (usize, usize) {
        let whole = |name: &str| self.integer(name).map(|number| usize::try_from(number).unwrap_or(0));
        (whole("startAt").unwrap_or(0), whole("maxResults").unwrap_or(default).min(cap))
    }

    pub(crate) fn view<'s>(&'s self, site: &'s JiraSite) -> render::View<'s> {
        render::View { site, base: &self.base, adf: self.api == Api::Three, agile: self.api == Api::Agile }
    }

    pub(crate) fn scope<'s>(&self, site: &'s JiraSite) -> Scope<'s>
    where
        'a: 's,
    {
        Scope {
            site,
            account: site.account(self.login),
            now: now_ms(),
            zone_minutes: time::zone_minutes(&site.time_zone),
        }
    }

    /// A page of `values` with `startAt`, `total` and `isLast`.
    pub(crate) fn page(&self, rows: &[Value], default: usize, cap: usize) -> Reply {
        let (start, size) = self.window(default, cap);
        let (total, rows) = match self.effects.emptied {
            true => (0, &[][..]),
            false => (rows.len(), rows),
        };
        let shown: Vec<&Value> = rows.iter().skip(start).take(size).collect();
        let last = start + shown.len() >= total;
        Reply::json(&json!({
            "maxResults": size, "startAt": start, "total": total, "isLast": last, "values": shown
        }))
    }

    /// An address that the site has, but not this version or product of it.
    pub(crate) fn only(&self, holds: bool) -> Result<(), Reply> {
        if holds { Ok(()) } else { Err(Reply::no_resource()) }
    }

    pub(crate) fn may_write(&self) -> Result<(), Reply> {
        match self.login.read_only {
            false => Ok(()),
            true => Err(Reply::error(
                StatusCode::FORBIDDEN,
                "You do not have permission to do this in the project.",
            )),
        }
    }
}
