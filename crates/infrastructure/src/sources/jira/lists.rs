//! The two lists of an issue of which it holds a first part: comments and worklogs.

use std::fmt;
use std::pin::pin;

use application::ports::{SourceError, SourceErrorKind};
use domain::PageRecords;
use domain::record::CommentRecord;
use futures::{StreamExt, TryStreamExt, stream};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::api::{Api, segment};
use super::model::{Comment, Issue, Part};
use super::normalize::unmapped;
use super::people::People;
use super::settings::Stream;
use super::text::markdown;
use super::{malformed, worklogs};

/// Rows asked for in one page of an issue's comments or worklogs.
const ROWS: &str = "1000";
const MAX_ROW_PAGES: usize = 10_000;
/// Requests to an instance at one time.
const CONCURRENCY: usize = 4;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum List {
    Comments,
    Worklogs,
}

/// Adds the comments and worklogs that an issue holds itself; returns the lists of which there are more.
pub(super) fn add_inside(
    api: &Api<'_>,
    issue: &Issue<'_>,
    records: &mut PageRecords,
    people: &mut People,
) -> Vec<List> {
    let mut rest = Vec::new();
    for list in [List::Comments, List::Worklogs] {
        // Where a list is hidden, it says nothing: not that there is none.
        if !issue.fields.contains_key(list.name()) {
            continue;
        }
        let (rows, complete) = list.inside(issue);
        if complete {
            list.add(api, &issue.id, &issue.key, &rows, records, people);
        } else {
            rest.push(list);
        }
    }
    rest
}

/// An issue without its lists and its changelog: as Jira gives it when they are not asked for. What is in them is kept in
/// records of their own, and an issue is not another one for a comment.
pub(super) fn cut(raw: &RawValue) -> Box<RawValue> {
    let cut = || {
        let Entries(mut issue) = serde_json::from_str(raw.get()).ok()?;
        let (_, fields) = issue.iter_mut().find(|(name, _)| name == "fields")?;
        let Entries(mut kept) = serde_json::from_str(fields).ok()?;
        let all = kept.len();
        kept.retain(|(name, _)| !List::NAMES.contains(&name.as_str()));
        let mut is_cut = kept.len() < all;
        let kept = object(&kept)?;
        if is_cut {
            *fields = &kept;
        }
        let all = issue.len();
        issue.retain(|(name, _)| name != "changelog");
        is_cut |= issue.len() < all;
        is_cut.then(|| object(&issue).and_then(|issue| RawValue::from_string(issue).ok())).flatten()
    };
    cut().unwrap_or_else(|| raw.to_owned())
}

/// An object's entries in their order, values as they are written.
struct Entries<'a>(Vec<(String, &'a str)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    entries.push((name, value.get()));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

fn object(entries: &[(String, &str)]) -> Option<String> {
    let mut text = String::with_capacity(
        2 + entries.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>(),
    );
    for (name, value) in entries {
        text.push(if text.is_empty() { '{' } else { ',' });
        text.push_str(&serde_json::to_string(name).ok()?);
        text.push(':');
        text.push_str(value);
    }
    if text.is_empty() {
        text.push('{');
    }
    text.push('}');
    Some(text)
}

/// What a list brought.
#[derive(Default)]
struct Listed {
    records: PageRecords,
    people: People,
}

/// Reads lists by themselves, of issues by id and key. An answer is mapped when it comes and let go, so that no more of
/// them are held than are asked for at once, however many there are and however long.
pub(super) async fn read(
    api: &Api<'_>,
    wanted: Vec<(List, String, String)>,
    records: &mut PageRecords,
    people: &mut People,
) -> Result<(), SourceError> {
    // Not in an inner closure of `for`: at most so many requests at once, over all issues of the batch.
    let mut lists = pin!(
        stream::iter(wanted)
            .map(|(list, id, key)| async move { list.all(api, &id, &key).await })
            .buffered(CONCURRENCY)
    );
    while let Some(listed) = lists.try_next().await? {
        let Some(listed) = listed else { continue };
        records.append(listed.records);
        people.append(listed.people);
    }
    Ok(())
}

impl List {
    /// The fields that hold them.
    pub(super) const NAMES: [&str; 2] = [Self::Comments.name(), Self::Worklogs.name()];

    const fn name(self) -> &'static str {
        match self {
            Self::Comments => "comment",
            Self::Worklogs => "worklog",
        }
    }

    /// What the issue itself holds, and whether that is all.
    fn inside<'a>(self, issue: &Issue<'a>) -> (Vec<&'a RawValue>, bool) {
        let Some(raw) = issue.raw(self.name()) else { return (Vec::new(), true) };
        self.rows(raw.get()).map_or((Vec::new(), false), |(rows, total)| {
            let complete =
                total.is_some_and(|total| i64::try_from(rows.len()).is_ok_and(|rows| rows >= total));
            (rows, complete)
        })
    }

    fn rows(self, text: &str) -> Result<(Vec<&RawValue>, Option<i64>), SourceError> {
        let part: Part<'_> = serde_json::from_str(text).map_err(|error| {
            malformed(format!("Jira's list of {}s is not what it should be ({error})", self.name()))
        })?;
        let rows = match self {
            Self::Comments => part.comments,
            Self::Worklogs => part.worklogs,
        };
        Ok((rows, part.total))
    }

    /// All pages of an issue's list; `None` when the issue is gone meanwhile.
    async fn all(self, api: &Api<'_>, id: &str, key: &str) -> Result<Option<Listed>, SourceError> {
        let path = api.rest(&format!("/issue/{}/{}", segment(id), self.name()));
        let what = format!("the {}s of {key}", self.name());
        let (mut listed, mut whole) = (Listed::default(), true);
        let mut start: usize = 0;
        for _ in 0..MAX_ROW_PAGES {
            let from = start.to_string();
            let answer = match api.get(&path, &[("startAt", &from), ("maxResults", ROWS)], &what).await {
                Err(error) if error.kind == SourceErrorKind::NotFound => return Ok(None),
                answer => answer?,
            };
            let text = answer.text();
            let (rows, total) = self.rows(&text)?;
            whole &= self.map(api, id, key, &rows, &mut listed.records, &mut listed.people);
            start += rows.len();
            let more = total.is_none_or(|total| i64::try_from(start).is_ok_and(|start| start < total));
            if rows.is_empty() || !more {
                self.conclude(whole, id, &mut listed.records);
                return Ok(Some(listed));
            }
        }
        Err(malformed(format!("Jira's list of {what} does not end")))
    }

    /// Maps all of a list's rows.
    fn add(
        self,
        api: &Api<'_>,
        id: &str,
        key: &str,
        rows: &[&RawValue],
        records: &mut PageRecords,
        people: &mut People,
    ) {
        let whole = self.map(api, id, key, rows, records, people);
        self.conclude(whole, id, records);
    }

    /// Maps some rows; whether all of them could be.
    fn map(
        self,
        api: &Api<'_>,
        id: &str,
        key: &str,
        rows: &[&RawValue],
        records: &mut PageRecords,
        people: &mut People,
    ) -> bool {
        let mut whole = true;
        for raw in rows {
            let result = match self {
                Self::Comments => {
                    comment(api, raw, id, key, people).map(|comment| records.comments.push(comment))
                }
                Self::Worklogs => {
                    worklogs::record(raw, Some(id), people).map(|worklog| records.worklogs.push(worklog))
                }
            };
            if let Err(error) = result {
                whole = false;
                records.unmapped.push(unmapped(Stream::Details, raw.get(), error));
            }
        }
        whole
    }

    /// Says that these are all there are. With one missing, those that are stored stay.
    fn conclude(self, whole: bool, id: &str, records: &mut PageRecords) {
        if whole && matches!(self, Self::Comments) {
            records.comments_of.push(id.to_owned());
        }
    }
}

fn comment(
    api: &Api<'_>,
    raw: &RawValue,
    id: &str,
    key: &str,
    people: &mut People,
) -> Result<CommentRecord, String> {
    let comment: Comment<'_> =
        serde_json::from_str(raw.get()).map_err(|error| format!("it is no comment ({error})"))?;
    Ok(CommentRecord {
        url: format!("{}?focusedCommentId={}", api.browse(key), comment.id),
        source_id: comment.id,
        kind: "comment",
        item_ref_key: id.to_owned(),
        author: people.meet(comment.author.as_ref()),
        body: markdown(comment.body).unwrap_or_default(),
        path: None,
        created_at: comment.created.0,
        updated_at: comment.updated.unwrap_or(comment.created).0,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn without(issue: &Value) -> Value {
        let raw = RawValue::from_string(issue.to_string()).unwrap();
        serde_json::from_str(cut(&raw).get()).unwrap()
    }

    #[test]
    fn an_issue_without_its_lists_is_written_as_it_was() {
        let text = r#"{"id":"1","fields":{"z":[1, 2],"comment":{"comments":[]},"a":"\u00e4","worklog":null,"b":{}},"key":"E-1"}"#;
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        assert_eq!(cut(&raw).get(), r#"{"id":"1","fields":{"z":[1, 2],"a":"\u00e4","b":{}},"key":"E-1"}"#);
        let bare = RawValue::from_string(r#"{ "fields" : { "z":1 } }"#.to_owned()).unwrap();
        assert_eq!(cut(&bare).get(), bare.get());
        let told = r#"{"id":"1","changelog":{"histories":[]},"fields":{ "z":1 }}"#;
        let raw = RawValue::from_string(told.to_owned()).unwrap();
        assert_eq!(cut(&raw).get(), r#"{"id":"1","fields":{ "z":1 }}"#);
    }

    proptest! {
        #[test]
        fn only_the_lists_are_cut(
            names in prop::collection::btree_set("[a-z\"\\\\\u{e4}]{1,6}", 0..6),
            lists in prop::collection::btree_set(prop::sample::select(&List::NAMES), 0..3),
        ) {
            let kept: Map<String, Value> = names.iter().map(|name| (name.clone(), json!([name, {"n": 1}]))).collect();
            let mut fields = kept.clone();
            fields.extend(lists.iter().map(|name| ((*name).to_owned(), json!({"total": 2}))));
            prop_assert_eq!(without(&json!({"id": "1", "fields": fields})), json!({"id": "1", "fields": kept}));
        }

        #[test]
        fn what_is_no_issue_stays_as_it_is(text in "[\\[{][ a-z0-9\":,{}\\[\\]]{0,40}") {
            if let Ok(raw) = RawValue::from_string(text)
                && !raw.get().contains("fields")
            {
                let kept = cut(&raw);
                prop_assert_eq!(kept.get(), raw.get());
            }
        }
    }
}
