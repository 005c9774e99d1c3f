//! What a live read gives: free of hidden characters, within a number of bytes, and with what was cut named.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::fit::{Cuts, fit};
use super::{Target, clean};
use crate::text::{json_len, json_object_len};

/// An answer, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveAnswer {
    /// What was asked for, where it comes from and when it was so.
    pub content: Map<String, Value>,
    /// How many issues, entries, projects, fields or people.
    pub count: usize,
    /// As JSON.
    pub bytes: usize,
    /// Whether there is more, or something was cut.
    pub truncated: bool,
    /// The instance it comes from.
    pub instance: String,
}

/// An answer in the making.
pub(super) struct Draft {
    content: Map<String, Value>,
    cuts: Cuts,
    said: Vec<String>,
    count: usize,
    hidden: bool,
}

impl Draft {
    pub(super) fn new() -> Self {
        Self { content: Map::new(), cuts: Cuts::default(), said: Vec::new(), count: 1, hidden: false }
    }

    /// Puts a list into the answer. All rows stay: each may take its share of `budget`.
    pub(super) fn rows<T: Serialize>(
        &mut self,
        name: &str,
        rows: &[T],
        budget: usize,
        label: impl Fn(&T) -> String,
    ) {
        self.count = rows.len();
        let share = budget / rows.len().max(1);
        let mut told = Vec::with_capacity(rows.len());
        for row in rows {
            let mut value = serde_json::to_value(row).unwrap_or_default();
            self.hidden |= clean::clean(&mut value);
            if json_len(&value) > share {
                fit(&mut value, &label(row), share.max(LEAST_ROW), &mut self.cuts);
            }
            told.push(value);
        }
        self.content.insert(name.to_owned(), told.into());
    }

    /// Puts one thing into the answer, with its properties at the top.
    pub(super) fn whole<T: Serialize>(&mut self, thing: &T, budget: usize) {
        let mut value = serde_json::to_value(thing).unwrap_or_default();
        self.hidden |= clean::clean(&mut value);
        if let Some(cut) = value.as_object_mut().and_then(|object| object.remove("cut")) {
            self.said
                .extend(cut.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
        }
        fit(&mut value, "", budget, &mut self.cuts);
        if let Value::Object(object) = value {
            self.content.extend(object);
        }
    }

    /// Says something more.
    pub(super) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.content.insert(name.to_owned(), value.into());
    }

    /// Says that something was not given.
    pub(super) fn cut(&mut self, what: impl Into<String>) {
        self.said.push(what.into());
    }

    /// Says where to go on; `None` on the last page.
    pub(super) fn next(&mut self, more: bool, cursor: Option<String>) {
        self.put("has_more", more);
        if more && cursor.is_none() {
            self.cut("what follows: its place cannot be kept; narrow the question");
        }
        if let Some(cursor) = cursor {
            self.put("next_cursor", cursor);
        }
    }

    pub(super) fn finish(mut self, target: &Target, now: DateTime<Utc>) -> LiveAnswer {
        let mut cut = self.said;
        cut.extend(self.cuts.lines());
        let more = self.content.get("has_more") == Some(&Value::Bool(true));
        let truncated = more || !cut.is_empty();
        let rest = cut.len().saturating_sub(MOST_CUTS);
        cut.truncate(MOST_CUTS);
        if rest > 0 {
            cut.push(format!("and {rest} more"));
        }
        if !cut.is_empty() {
            self.content.insert("cut".into(), cut.into());
        }
        if self.hidden {
            let warning = Value::from("invisible characters were taken out of texts");
            match self.content.get_mut("warnings").and_then(Value::as_array_mut) {
                Some(warnings) => warnings.push(warning),
                None => drop(self.content.insert("warnings".into(), Value::Array(vec![warning]))),
            }
        }
        let instance = target.instance.slug.to_string();
        self.content.insert("instance".into(), instance.clone().into());
        self.content.insert("source".into(), "live".into());
        self.content.insert("at".into(), now.to_rfc3339_opts(SecondsFormat::Secs, true).into());
        let bytes = json_object_len(&self.content);
        LiveAnswer { content: self.content, count: self.count, bytes, truncated, instance }
    }
}

/// However many rows there are, each has this.
const LEAST_ROW: usize = 250;
/// Lines about what was cut.
const MOST_CUTS: usize = 20;
