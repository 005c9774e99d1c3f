//! One request: its parameters checked as Asana does, and the page it asks for.

use axum::body::Bytes;
use axum::http::{Method, StatusCode, header, request};
use serde_json::{Value, json};

use super::render::Fields;
use super::reply::Reply;
use super::world::{AsanaWorld, Offset};
use crate::TokenGrant;
use crate::faults::Effects;

/// Lists longer than this are refused without `limit`.
const MOST_WITHOUT_LIMIT: usize = 1_000;

#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) grant: &'a TokenGrant,
    /// `http://host`.
    pub(super) base: String,
    query: Vec<(String, String)>,
    body: &'a Bytes,
    effects: &'a Effects,
    limit: Option<usize>,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        parts: &'a request::Parts,
        path: &'a str,
        grant: &'a TokenGrant,
        body: &'a Bytes,
        effects: &'a Effects,
    ) -> Result<Self, Reply> {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let query: Vec<_> = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
        let limit = match query.iter().find(|(name, _)| name == "limit") {
            None => None,
            Some((_, text)) => match text.parse() {
                Ok(limit @ 1..=100) => Some(limit),
                Ok(_) => return Err(Reply::bad("limit: Must be between 1 and 100")),
                Err(_) => return Err(Reply::bad(&format!("limit: Not a Number: {text}"))),
            },
        };
        let base = format!("http://{host}");
        Ok(Self { method: parts.method.clone(), path, grant, base, query, body, effects, limit })
    }

    pub(super) fn parts(&self) -> Vec<&str> {
        self.path.trim_matches('/').split('/').collect()
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name)?;
        Some(found.1.as_str()).filter(|value| !value.is_empty())
    }

    /// A parameter that is a gid.
    pub(super) fn gid(&self, name: &str) -> Result<Option<&str>, Reply> {
        match self.text(name) {
            Some(gid) if gid.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(gid)),
            Some(other) => Err(Reply::bad(&format!("{name}: Not a recognized ID: {other}"))),
            None => Ok(None),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Reply> {
        match self.text(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(Reply::bad(&format!("{name}: Not a boolean: {other}"))),
        }
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, Reply> {
        let Some(text) = self.text(name) else { return Ok(None) };
        super::time::parse(text)
            .map(Some)
            .ok_or_else(|| Reply::bad(&format!("{name}: Invalid date-time: {text}")))
    }

    /// The `data` of the body.
    pub(super) fn body(&self) -> Result<Value, Reply> {
        let body: Value = serde_json::from_slice(self.body)
            .map_err(|_| Reply::bad("Could not parse request data, invalid JSON"))?;
        let data = body.get("data").filter(|data| data.is_object());
        data.cloned().ok_or_else(|| Reply::bad("data: Missing input"))
    }

    /// An object, whole or the part asked for.
    pub(super) fn shown(&self, value: &Value) -> Value {
        match self.text("opt_fields") {
            Some(fields) => Fields::parse(fields).of(value),
            None => value.clone(),
        }
    }

    /// The page of a list that is asked for. Without `opt_fields` each row is told by id and name.
    pub(super) fn page<T>(
        &self,
        world: &AsanaWorld,
        rows: &[T],
        gid: impl Fn(&T) -> &str,
        show: impl Fn(&T) -> Value,
    ) -> Result<Page, Reply> {
        if self.limit.is_none() && rows.len() > MOST_WITHOUT_LIMIT {
            return Err(Reply::bad(
                "The result is too large. You should use pagination (may require specifying a workspace)!",
            ));
        }
        let (_, query) = self.asked();
        if self.effects.emptied {
            return Ok(Page { data: Vec::new(), next: None });
        }
        let expired = || Reply::bad("offset: Your pagination token has expired.");
        let start = match self.text("offset") {
            Some(_) if self.effects.expired_token => return Err(expired()),
            None => 0,
            Some(token) => {
                let known = world.offsets.get(token).filter(|offset| offset.query == query);
                let offset = known.ok_or_else(expired)?;
                // Rows come and go before the position; it stays behind the row it was given for.
                let is_at = |index: usize| rows.get(index).is_some_and(|row| gid(row) == offset.after);
                if offset.index.checked_sub(1).is_some_and(is_at) {
                    offset.index
                } else {
                    rows.iter().position(|row| gid(row) == offset.after).map_or(offset.index, |at| at + 1)
                }
            }
        };
        let limit = self.limit.unwrap_or(usize::MAX);
        let end = if self.effects.empty_page { start } else { start.saturating_add(limit).min(rows.len()) };
        let fields = self.text("opt_fields").unwrap_or("name,resource_subtype");
        let fields = Fields::parse(fields);
        let page = rows.get(start..end).unwrap_or_default();
        let data: Vec<Value> = page.iter().map(|row| fields.of(&show(row))).collect();
        // Also behind the last row: such a list has no end.
        let repeats = self.effects.repeated_token && self.text("offset").is_some();
        let next = (end < rows.len() || repeats).then(|| {
            let after = end.checked_sub(1).and_then(|last| rows.get(last)).map(&gid).unwrap_or_default();
            Offset { after: after.to_owned(), index: end, query }
        });
        Ok(Page { data, next })
    }

    /// A page, with the token of the one behind it.
    pub(super) fn paged(&self, world: &mut AsanaWorld, page: Page) -> Reply {
        if self.limit.is_none() {
            return Reply::data(&json!(page.data));
        }
        let (asked, _) = self.asked();
        let next = page.next.map(|offset| {
            let fresh = format!("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.{}", world.next_gid());
            let repeated = self.text("offset").filter(|_| self.effects.repeated_token);
            let token = repeated.map_or(fresh, str::to_owned);
            world.offsets.insert(token.clone(), offset);
            let path = format!("{}?{asked}&offset={token}", self.path);
            json!({"offset": token, "path": path, "uri": format!("{}{}{path}", self.base, super::BASE)})
        });
        Reply::json(StatusCode::OK, &json!({"data": page.data, "next_page": next}))
    }

    /// The query without the offset, and with the path, what an offset belongs to.
    fn asked(&self) -> (String, String) {
        let asked = self.query.iter().filter(|(name, _)| name != "offset");
        let asked = asked.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let list = format!("{} {asked}", self.path);
        (asked, list)
    }
}

/// Rows of a list as they are shown, and where the next ones begin.
#[derive(Debug)]
pub(super) struct Page {
    data: Vec<Value>,
    next: Option<Offset>,
}
