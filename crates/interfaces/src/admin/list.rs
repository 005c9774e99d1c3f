//! Pages of lists: `limit` and `cursor` in, `items` and `next_cursor` out.

use std::str::FromStr;

use application::ports::{ListCursor, ListPage, Listing};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{FieldError, Invalid};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 200;
const MAX_CURSOR: usize = 200;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListBody<T> {
    /// The page, in the list's order.
    pub(super) items: Vec<T>,
    /// Give it as `cursor` to read the next page; null on the last.
    pub(super) next_cursor: Option<String>,
}

impl<T> ListBody<T> {
    pub(super) fn of<U>(list: &str, listing: Listing<U>, body: impl Fn(U) -> T) -> Self {
        Self {
            items: listing.items.into_iter().map(body).collect(),
            next_cursor: listing.next.map(|cursor| encode(list, &cursor)),
        }
    }
}

/// Reads parameters of a query string one by one and collects what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Params {
    errors: Vec<FieldError>,
}

impl Params {
    /// A text; given but empty is an error, since a filter nobody notices is missing shows too much.
    pub(super) fn text(&mut self, name: &str, value: Option<String>) -> Option<String> {
        let value = value?;
        if value.trim().is_empty() || value.contains('\0') {
            self.wrong(name, "must not be empty; leave the parameter out instead");
            return None;
        }
        Some(value)
    }

    /// A UUID.
    pub(super) fn id<T: FromStr>(&mut self, name: &str, value: Option<String>) -> Option<T> {
        self.parsed(name, value, "must be a UUID")
    }

    /// A value of a type that says in its own words what is wrong.
    pub(super) fn named<T: FromStr<Err = Invalid>>(
        &mut self,
        name: &str,
        value: Option<String>,
    ) -> Option<T> {
        match value?.parse() {
            Ok(value) => Some(value),
            Err(Invalid { errors }) => {
                self.errors.extend(errors.into_iter().map(|error| FieldError {
                    pointer: format!("/{name}"),
                    // The value itself is not repeated.
                    message: "has an unknown value".into(),
                    allowed: error.allowed,
                }));
                None
            }
        }
    }

    /// A value that any [`FromStr`] reads.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, value: Option<String>, rule: &str) -> Option<T> {
        let parsed = value?.parse().ok();
        if parsed.is_none() {
            self.wrong(name, rule);
        }
        parsed
    }

    /// One of few words.
    pub(super) fn one_of<T>(
        &mut self,
        name: &str,
        value: Option<String>,
        read: impl Fn(&str) -> Option<T>,
        allowed: impl IntoIterator<Item = &'static str>,
    ) -> Option<T> {
        let parsed = read(&value?);
        if parsed.is_none() {
            self.errors.push(FieldError {
                pointer: format!("/{name}"),
                message: "has an unknown value".into(),
                allowed: allowed.into_iter().map(str::to_owned).collect(),
            });
        }
        parsed
    }

    /// `limit` and `cursor` of a list.
    pub(super) fn page(&mut self, list: &str, limit: Option<&str>, cursor: Option<&str>) -> ListPage {
        let limit = match limit.map(str::parse::<i64>) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
            Some(_) => {
                self.wrong("limit", &format!("must be a number between 1 and {MAX_LIMIT}"));
                DEFAULT_LIMIT
            }
        };
        let cursor = cursor.and_then(|text| {
            let cursor = decode(list, text);
            if cursor.is_none() {
                self.wrong("cursor", "must be a next_cursor of this list; leave it out to begin anew");
            }
            cursor
        });
        ListPage { limit, cursor }
    }

    /// Fails when anything was wrong.
    pub(super) fn finish(self) -> Result<(), Invalid> {
        Invalid::collect(self.errors)
    }

    fn wrong(&mut self, name: &str, message: &str) {
        self.errors.push(FieldError {
            pointer: format!("/{name}"),
            message: message.to_owned(),
            allowed: Vec::new(),
        });
    }
}

/// The list's name is part of it, so that a cursor of another list is noticed.
fn encode(list: &str, cursor: &ListCursor) -> String {
    let mut bytes = Vec::with_capacity(list.len() + 18 + cursor.after.len());
    bytes.extend_from_slice(list.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(cursor.id.as_bytes());
    bytes.extend_from_slice(cursor.after.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(list: &str, text: &str) -> Option<ListCursor> {
    if text.len() > MAX_CURSOR {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let rest = bytes.strip_prefix(list.as_bytes())?.strip_prefix(&[0])?;
    let (id, after) = rest.split_first_chunk::<16>()?;
    let after = std::str::from_utf8(after).ok()?;
    if after.chars().any(char::is_control) {
        return None;
    }
    Some(ListCursor { after: after.to_owned(), id: Uuid::from_bytes(*id) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor() -> ListCursor {
        ListCursor { after: "2026-01-02T03:04:05.678901Z".into(), id: Uuid::from_u128(0x1234_5678_9abc) }
    }

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        assert_eq!(decode("runs", &encode("runs", &cursor())), Some(cursor()));
        let empty = ListCursor { after: String::new(), ..cursor() };
        assert_eq!(decode("runs", &encode("runs", &empty)), Some(empty));
    }

    #[test]
    fn a_changed_or_foreign_cursor_is_refused() {
        let text = encode("runs", &cursor());
        for bad in ["", "%%%", "abc", &text[..20], &"a".repeat(500)] {
            assert_eq!(decode("runs", bad), None, "{bad} was accepted");
        }
        assert_eq!(decode("work_items", &text), None);
        assert_eq!(decode("run", &text), None);
    }

    #[test]
    fn every_wrong_parameter_is_told_at_once() {
        let mut params = Params::default();
        let page = params.page("runs", Some("201"), Some("x"));
        assert_eq!(page.cursor, None);
        assert!(params.id::<Uuid>("instance", Some("core".into())).is_none());
        assert!(params.text("project", Some(String::new())).is_none());
        let pointers: Vec<_> = params.finish().unwrap_err().errors.into_iter().map(|e| e.pointer).collect();
        assert_eq!(pointers, ["/limit", "/cursor", "/instance", "/project"]);
    }
}
