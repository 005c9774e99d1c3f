//! One request: its parameters checked as GitHub does, and the page it asks for.

use std::fmt::Write as _;

use axum::body::Bytes;
use axum::http::{Method, header, request};
use serde_json::{Value, json};

use super::apps::App;
use super::reply::Reply;
use crate::dataset::item::Item;
use crate::dataset::{Key, Repository};
use crate::faults::{Damage, Effects};
use crate::timestamp::parse_iso;
use crate::world::same;
use crate::{Shared, TokenGrant};

pub(super) struct Call<'a> {
    pub(super) shared: &'a Shared,
    pub(super) method: &'a Method,
    /// Without `/api/v3`.
    pub(super) path: &'a str,
    pub(super) raw_query: &'a str,
    pub(super) grant: &'a TokenGrant,
    /// Who calls as an app, not with a token.
    pub(super) app: Option<&'a App>,
    pub(super) body: &'a Bytes,
    effects: &'a Effects,
    query: Vec<(String, String)>,
    /// `http://host`, and `/api/v3` behind it where the client called so.
    pub(super) base: String,
}

/// Asks for the page behind an empty one; see [`crate::FaultKind::EmptyPageInMiddle`].
const AFTER_EMPTY: &str = "after=Y3Vyc29yOjE%3D";

impl<'a> Call<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        parts: &'a request::Parts,
        path: &'a str,
        (grant, app): (&'a TokenGrant, Option<&'a App>),
        body: &'a Bytes,
        effects: &'a Effects,
    ) -> Self {
        let raw_query = parts.uri.query().unwrap_or_default();
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or(parts.uri.host()).unwrap_or("localhost");
        let prefix = parts.uri.path().strip_suffix(path).unwrap_or_default();
        Self {
            shared,
            method: &parts.method,
            path,
            raw_query,
            grant,
            app,
            body,
            effects,
            query: url::form_urlencoded::parse(raw_query.as_bytes()).into_owned().collect(),
            base: format!("http://{host}{prefix}"),
        }
    }

    /// A parameter; an empty one counts as absent.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name)?;
        Some(found.1.as_str()).filter(|value| !value.is_empty())
    }

    /// A parameter with fixed values; the first is the default. Anything else is 422.
    pub(super) fn choice(
        &self,
        resource: &str,
        name: &str,
        values: &[&'static str],
    ) -> Result<&'static str, Reply> {
        let Some(asked) = self.text(name) else { return Ok(values.first().copied().unwrap_or_default()) };
        let found = values.iter().find(|value| **value == asked);
        found.copied().ok_or_else(|| Reply::invalid(resource, name, "invalid"))
    }

    /// `since`, in seconds since 1970.
    pub(super) fn since(&self, resource: &str) -> Result<Option<i64>, Reply> {
        let Some(asked) = self.text("since") else { return Ok(None) };
        parse_iso(asked).map(Some).ok_or_else(|| Reply::invalid(resource, "since", "invalid"))
    }

    /// The body as a JSON object.
    pub(super) fn object(&self) -> Result<Value, Reply> {
        let problem = || Reply::error(axum::http::StatusCode::BAD_REQUEST, "Problems parsing JSON");
        serde_json::from_slice(self.body).ok().filter(Value::is_object).ok_or_else(problem)
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.text(name).and_then(|text| text.parse().ok()).filter(|number| *number > 0).unwrap_or(default)
    }

    /// The page asked for as a JSON array, with its `Link` header.
    ///
    /// A `per_page` above 100 counts as 100; a page or size that is no number as if left out.
    pub(super) fn page<T: Copy>(&self, rows: &[T], mut write: impl FnMut(T, &mut String)) -> Reply {
        let per_page = self.number("per_page", 30).min(100);
        let page = self.number("page", 1);
        let last = rows.len().div_ceil(per_page).max(1);
        if self.effects.empty_page {
            let again = format!("<{}&{AFTER_EMPTY}>; rel=\"next\"", self.page_url(page));
            return Reply::ok("[]".to_owned()).header("link", again);
        }
        let mut body = String::from("[");
        for row in rows.iter().skip((page - 1).saturating_mul(per_page)).take(per_page) {
            if body.len() > 1 {
                body.push(',');
            }
            write(*row, &mut body);
        }
        body.push(']');
        let reply = Reply::ok(body);
        match self.link(page, last) {
            Some(link) => reply.header("link", link),
            None => reply,
        }
    }

    /// <https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api#using-link-headers>
    fn link(&self, page: usize, last: usize) -> Option<String> {
        let mut link = String::new();
        let mut add = |relation: &str, number: usize| {
            let separator = if link.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(link, "{separator}<{}>; rel=\"{relation}\"", self.page_url(number));
        };
        if page > 1 {
            add("prev", (page - 1).min(last));
        }
        if page < last {
            add("next", page + 1);
            add("last", last);
        }
        if page > 1 {
            add("first", 1);
        }
        Some(link).filter(|link| !link.is_empty())
    }

    fn page_url(&self, page: usize) -> String {
        let mut url = format!("{}{}?", self.base, self.path);
        for pair in self.raw_query.split('&') {
            let name = pair.split('=').next().unwrap_or_default();
            if !pair.is_empty() && name != "page" && pair != AFTER_EMPTY {
                url.push_str(pair);
                url.push('&');
            }
        }
        let _ = write!(url, "page={page}");
        url
    }

    /// Writes the issue form of an item, damaged where a fault says so.
    pub(super) fn write_issue(&self, repository: &Repository, item: &Item, out: &mut String) {
        let mine = |repository_name: &str, number| {
            number == item.number && same(repository_name, &repository.full_name)
        };
        let damage = self.effects.items.iter().find(|damaged| {
            mine(&damaged.repository, damaged.number) && self.shared.faults().on_item(damaged.rule)
        });
        let Some(damaged) = damage else { return repository.fragments.expand_into(&item.issue, out) };
        let mut issue = repository.value(&item.issue);
        match damaged.damage {
            Damage::Unmappable => {
                issue["number"] = json!("not-a-number");
                issue["updated_at"] = Value::Null;
                out.push_str(&issue.to_string());
            }
            Damage::NullCharacter => {
                issue["body"] = json!("@@");
                let body = r#""body":"zero \u0000 here, half a pair \ud800 there""#;
                out.push_str(&issue.to_string().replacen(r#""body":"@@""#, body, 1));
            }
            Damage::LargeText(bytes) => {
                let line = "A line of a log that somebody pasted as a whole.\n";
                issue["body"] = json!(line.repeat(bytes / line.len() + 1));
                out.push_str(&issue.to_string());
            }
        }
    }

    /// Whether the token sees the repository.
    pub(super) fn sees(&self, repository: &Repository) -> bool {
        let seen = self.grant.repositories.as_ref();
        seen.is_none_or(|names| names.iter().any(|name| same(name, &repository.full_name)))
    }
}

/// Keys sorted by `of` and then by id, backwards when `descending`: the same on every call.
pub(super) fn sorted(mut rows: Vec<(i64, u64, Key)>, descending: bool) -> Vec<Key> {
    rows.sort_unstable();
    if descending {
        rows.reverse();
    }
    rows.into_iter().map(|(_, _, key)| key).collect()
}
