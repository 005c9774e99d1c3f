//! What an admin may choose, as all sources take it: an object of known names that holds lists, every mistake of which is
//! named by its pointer.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use domain::{FieldError, Invalid};
use serde_json::{Map, Value};

/// Settings that are being read.
pub(super) struct Form<'a> {
    source: &'static str,
    fields: Option<&'a Map<String, Value>>,
    errors: Vec<FieldError>,
}

/// A list of texts.
pub(super) struct List {
    /// The setting's name.
    pub(super) name: &'static str,
    /// How long it may be.
    pub(super) length: RangeInclusive<usize>,
    /// What it must be, for an admin.
    pub(super) must: &'static str,
    /// What each of its entries must be.
    pub(super) entry_must: &'static str,
}

impl<'a> Form<'a> {
    /// Begins to read the settings of a source, which has settings of these names.
    pub(super) fn read(
        source: &'static str,
        settings: &'a Value,
        names: &[&'static str],
    ) -> Result<Self, Invalid> {
        let fields = match settings {
            Value::Null => None,
            Value::Object(fields) => Some(fields),
            _ => return Err(Invalid::one("/settings", "must be an object")),
        };
        let mut form = Self { source, fields, errors: Vec::new() };
        for name in fields.into_iter().flat_map(Map::keys).filter(|name| !names.contains(&name.as_str())) {
            let name = name.replace('~', "~0").replace('/', "~1");
            let message = format!("is not a setting of {source}");
            form.wrong(format!("/settings/{name}"), message, names);
        }
        Ok(form)
    }

    /// The entries without doubles, which are those of the same `key`; `None` when the list is absent or is none.
    pub(super) fn list<T>(
        &mut self,
        list: &List,
        parse: impl Fn(&str) -> Option<T>,
        key: impl Fn(&T) -> String,
    ) -> Option<Vec<T>> {
        let given = self.given(list.name)?;
        let Some(given) = given.as_array().filter(|entries| list.length.contains(&entries.len())) else {
            self.wrong(format!("/settings/{}", list.name), list.must, &[]);
            return None;
        };
        let mut seen = HashSet::new();
        let mut entries = Vec::with_capacity(given.len());
        for (i, entry) in given.iter().enumerate() {
            match entry.as_str().and_then(|text| parse(text.trim())) {
                Some(entry) if seen.insert(key(&entry)) => entries.push(entry),
                Some(_) => {}
                None => self.wrong(format!("/settings/{}/{i}", list.name), list.entry_must, &[]),
            }
        }
        Some(entries)
    }

    /// The chosen streams in the order of all of them; `None` when the list is absent or is none.
    pub(super) fn streams<S: Copy + PartialEq>(
        &mut self,
        all: &[S],
        name: fn(S) -> &'static str,
    ) -> Option<Vec<S>> {
        let given = self.given("streams")?;
        let names: Vec<&str> = all.iter().map(|stream| name(*stream)).collect();
        let Some(given) = given.as_array().filter(|entries| !entries.is_empty()) else {
            let message = "must be a list of streams; leave it out for all of them";
            self.wrong("/settings/streams".into(), message, &names);
            return None;
        };
        for (i, entry) in given.iter().enumerate() {
            if !entry.as_str().is_some_and(|entry| names.contains(&entry)) {
                let message = format!("is not a stream of {}", self.source);
                self.wrong(format!("/settings/streams/{i}"), message, &names);
            }
        }
        let chosen = |stream: &S| given.iter().any(|entry| entry.as_str() == Some(name(*stream)));
        Some(all.iter().copied().filter(chosen).collect())
    }

    /// Fails with all that was wrong.
    pub(super) fn finish(self) -> Result<(), Invalid> {
        Invalid::collect(self.errors)
    }

    fn given(&self, name: &str) -> Option<&'a Value> {
        self.fields?.get(name).filter(|given| !given.is_null())
    }

    fn wrong(&mut self, pointer: String, message: impl Into<String>, allowed: &[&str]) {
        let allowed = allowed.iter().map(ToString::to_string).collect();
        self.errors.push(FieldError { pointer, message: message.into(), allowed });
    }
}
