//! What is asked of a tracker: new items, changes, transitions and comments. Texts are Markdown; each adapter turns them
//! into what its tracker keeps. Values are the names people use; an adapter looks them up and refuses an unknown one
//! with near matches.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::SprintState;

/// A work item to be made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewItem {
    /// The project's key: `ENG`, `owner/repo`, a gid.
    pub project: String,
    /// The tracker's type of item; its default where absent.
    #[serde(rename = "type")]
    pub item_type: Option<String>,
    /// Title.
    pub title: String,
    /// Description.
    pub body: Option<String>,
    /// Who it is assigned to: login, e-mail address, display name or the source's id.
    pub assignees: Vec<String>,
    /// Labels or tags by name.
    pub labels: Vec<String>,
    /// The tracker's priority.
    pub priority: Option<String>,
    /// The item it is a part of, by key.
    pub parent: Option<String>,
    /// Milestone or version by name.
    pub milestone: Option<String>,
    /// The day it is due.
    pub due_on: Option<NaiveDate>,
    /// Sprint by name or id.
    pub sprint: Option<String>,
    /// Section or column by name.
    pub section: Option<String>,
    /// Custom fields by name or id.
    pub fields: BTreeMap<String, Value>,
    /// Texts are documents of the tracker's own, as JSON, instead of Markdown.
    #[serde(skip_serializing_if = "is_false")]
    pub documents: bool,
}

/// Left out where it says nothing, so that a write is recognised by what it was recognised by before there were documents.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// A new value for something that may also be taken away: `Some(None)` takes it away, `None` leaves it.
pub type Change<T> = Option<Option<T>>;

/// A change of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListChange {
    /// Exactly these.
    Set(Vec<String>),
    /// These come and go, the rest stays.
    Edit {
        /// Added unless there.
        #[serde(default)]
        add: Vec<String>,
        /// Removed where there.
        #[serde(default)]
        remove: Vec<String>,
    },
}

impl ListChange {
    /// The list after the change: order kept, nothing twice.
    pub fn apply(&self, before: &[String]) -> Vec<String> {
        let mut after: Vec<String> = Vec::new();
        let mut push = |value: &String| {
            if !after.contains(value) {
                after.push(value.clone());
            }
        };
        match self {
            Self::Set(all) => all.iter().for_each(&mut push),
            Self::Edit { add, remove } => {
                before.iter().filter(|value| !remove.contains(value)).for_each(&mut push);
                add.iter().for_each(&mut push);
            }
        }
        after
    }
}

/// A change of an item; what is absent stays as it is. Status is changed by a [`Transition`].
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ItemPatch {
    /// A new title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A new description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Change<String>,
    /// A new type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_type: Option<String>,
    /// Who it is assigned to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignees: Option<ListChange>,
    /// Labels or tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<ListChange>,
    /// The tracker's priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Change<String>,
    /// The item it is a part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Change<String>,
    /// Milestone or version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milestone: Change<String>,
    /// The day it is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_on: Change<NaiveDate>,
    /// Sprint by name or id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sprint: Change<String>,
    /// Section or column by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Change<String>,
    /// Custom fields by name or id; `null` takes a value away.
    pub fields: BTreeMap<String, Value>,
    /// As in [`NewItem`].
    #[serde(skip_serializing_if = "is_false")]
    pub documents: bool,
    /// Refuse with a conflict when the item was changed after this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_unchanged_since: Option<DateTime<Utc>>,
}

/// A change of status.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Transition {
    /// The status to get to, by name; at Jira also a transition's name or id. GitHub and Asana: `open` or `closed` (`completed`), and the names of mapped sections.
    pub to: String,
    /// The reason for closing.
    pub resolution: Option<String>,
    /// A comment to go with it.
    pub comment: Option<String>,
    /// Fields that the transition asks for.
    pub fields: BTreeMap<String, Value>,
    /// As in [`ItemPatch`].
    pub if_unchanged_since: Option<DateTime<Utc>>,
}

/// A comment to be added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewComment {
    /// Its text.
    pub body: String,
    /// Not for the tracker's customers (Jira Service Management).
    #[serde(default)]
    pub internal: bool,
    /// As in [`NewItem`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub documents: bool,
}

/// A link from an item to another, to be made or taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ItemLink {
    /// The other item's key.
    pub to: String,
    /// What the item is to the other: a type of link by its name, or by its words for either direction.
    pub kind: String,
    /// Take it away instead.
    pub remove: bool,
}

/// Time that was spent on an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewWorklog {
    /// How long.
    pub spent: TimeSpent,
    /// When the work began; when it was told where absent.
    pub started: Option<DateTime<Utc>>,
    /// What was done.
    pub comment: Option<String>,
}

/// A span as people tell it: `1h 30m`. How many hours a day and a week have is the tracker's to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct TimeSpent(String);

impl TimeSpent {
    const UNITS: [char; 4] = ['w', 'd', 'h', 'm'];

    /// Reads weeks, days, hours and minutes, each at most once and the longest first: `2d 4h 30m`. `None` for anything
    /// else, and for nothing at all.
    pub fn parse(text: &str) -> Option<Self> {
        let mut units = Self::UNITS.iter();
        let (mut told, mut any) = (Vec::new(), false);
        let mut rest = text.trim();
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let count: u32 = rest.get(..digits)?.parse().ok().filter(|count| *count < 100_000)?;
            let unit = rest.get(digits..)?.chars().next()?.to_ascii_lowercase();
            units.find(|known| **known == unit)?;
            any |= count > 0;
            told.push(format!("{count}{unit}"));
            rest = rest.get(digits + 1..)?.trim_start();
        }
        any.then(|| Self(told.join(" ")))
    }

    /// As trackers take it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A file to be attached to an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewAttachment {
    /// The upload that it is, by id.
    pub upload: Uuid,
    /// Its name.
    pub filename: String,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of its content, in hexadecimal digits.
    pub digest: String,
    /// Its content; `None` once it was attached. What the write is recognised by holds the digest in its place.
    #[serde(skip)]
    pub content: Option<FileContent>,
}

/// What a file holds. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct FileContent(Arc<Vec<u8>>);

impl FileContent {
    /// These bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileContent({} bytes)", self.0.len())
    }
}

/// Who is to be told of an item's changes, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Watching {
    /// Login, e-mail address, display name or the source's id.
    pub user: String,
    /// Whether they are told.
    pub watching: bool,
}

/// A sprint to be made, or what is to change of one. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SprintWrite {
    /// The board that a new one is made on, by id.
    pub board: Option<String>,
    /// The one to change, by id; `None` makes one.
    pub sprint: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its beginning.
    pub start: Option<DateTime<Utc>>,
    /// Its planned end.
    pub end: Option<DateTime<Utc>>,
    /// What it is for.
    pub goal: Option<String>,
    /// Starts or closes it.
    pub state: Option<SprintState>,
}

/// An item to be deleted for good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ItemDeletion {
    /// Its subtasks go with it.
    pub with_subtasks: bool,
    /// What somebody agreed to; nothing is deleted without. The write is recognised without it, so that one whose answer
    /// got lost can be asked for again when there is nothing left to agree to.
    #[serde(skip)]
    pub confirmed: Option<ConfirmedDeletion>,
}

/// What was shown to who agreed to a deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmedDeletion {
    /// The item as it was.
    pub item: SeenItem,
    /// When it had been changed last.
    pub seen: DateTime<Utc>,
    /// Its subtasks.
    pub subtasks: Vec<SeenItem>,
}

/// An item by its names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeenItem {
    /// The source's immutable id.
    pub source_id: String,
    /// The key people use.
    pub key: String,
}

/// Where an item is to be moved to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ItemMove {
    /// The project's key.
    pub project: String,
    /// What it is there; the type of the same name where absent.
    pub item_type: Option<String>,
}

/// A project's version to be made, or what is to change of one. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VersionWrite {
    /// The project's key.
    pub project: String,
    /// Its name.
    pub name: String,
    /// It is a new one.
    pub create: bool,
    /// Another name for it.
    pub rename_to: Option<String>,
    /// What it is about.
    pub description: Option<String>,
    /// The day work on it begins.
    pub start: Option<NaiveDate>,
    /// The day it is released.
    pub release: Option<NaiveDate>,
    /// Releases it, or takes that back.
    pub released: Option<bool>,
    /// Archives it, or takes that back.
    pub archived: Option<bool>,
}

/// What a write did. By default nothing, to no item: what is of none, such as a version, fills in the rest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WrittenItem {
    /// The source's immutable id of the item.
    pub source_id: String,
    /// The key people use.
    pub key: String,
    /// Its page in the tracker.
    pub url: String,
    /// The comment's id, when one was added.
    pub comment_id: Option<String>,
    /// The id of the time that was booked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worklog_id: Option<String>,
    /// The id of the file that was attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment_id: Option<String>,
    /// What changed, and only that.
    pub changed: Vec<ChangedField>,
    /// Last change by the tracker's clock, as far as it tells.
    pub updated_at: Option<DateTime<Utc>>,
    /// What could not be said in the tracker's form, or was done otherwise than asked.
    pub warnings: Vec<String>,
}

/// One field before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangedField {
    /// Which: `title`, `status`, `labels`, …; a custom one by its name.
    pub field: String,
    /// Before.
    pub from: Value,
    /// After.
    pub to: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_edited_in_place_and_holds_nothing_twice() {
        let list = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let edit = ListChange::Edit { add: list(&["c", "a"]), remove: list(&["b", "x"]) };
        assert_eq!(edit.apply(&list(&["a", "b"])), ["a", "c"]);
        assert_eq!(ListChange::Set(list(&["z", "z"])).apply(&list(&["a"])), ["z"]);
    }

    #[test]
    fn a_span_is_told_in_weeks_days_hours_and_minutes() {
        let read = |text: &str| TimeSpent::parse(text).map(|spent| spent.as_str().to_owned());
        assert_eq!(read(" 1h 30m ").as_deref(), Some("1h 30m"));
        assert_eq!(read("2D4h").as_deref(), Some("2d 4h"));
        assert_eq!(read("90m").as_deref(), Some("90m"));
        for wrong in
            ["", "0m", "1.5h", "90", "30m 1h", "1h 1h", "1y", "-1h", "1h soon", "999999999999m", "1é"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_deletion_is_the_same_write_whatever_was_confirmed_of_it() {
        let item = SeenItem { source_id: "1".into(), key: "ENG-1".into() };
        let confirmed = ConfirmedDeletion { item, seen: DateTime::UNIX_EPOCH, subtasks: Vec::new() };
        let deletion = ItemDeletion { with_subtasks: true, confirmed: Some(confirmed) };
        assert_eq!(serde_json::to_value(&deletion).unwrap(), serde_json::json!({"with_subtasks": true}));
    }

    #[test]
    fn what_is_taken_away_differs_from_what_is_left() {
        let taken = ItemPatch { body: Some(None), ..ItemPatch::default() };
        assert_eq!(serde_json::to_value(&taken).unwrap(), serde_json::json!({"body": null, "fields": {}}));
        assert_eq!(serde_json::to_value(ItemPatch::default()).unwrap(), serde_json::json!({"fields": {}}));
    }
}
