//! The projects of a source and what is defined in them: people, labels, milestones, custom fields.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::value::RawValue;

/// A project, repository or workspace.
#[derive(Debug)]
pub struct ProjectRecord {
    /// The source's immutable id.
    pub source_id: String,
    /// The key people use: `owner/repo`.
    pub key: String,
    /// Display name.
    pub name: String,
    /// Its page in the tracker.
    pub url: String,
    /// When it was archived, as far as is known.
    pub archived: bool,
    /// The object as received.
    pub raw: Box<RawValue>,
}

/// A person or bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// The source's immutable id.
    pub source_id: String,
    /// Login.
    pub login: String,
    /// Display name, when told.
    pub name: Option<String>,
    /// `person`, `bot` or `group`.
    pub kind: &'static str,
    /// When this was so: the time of the object that mentions them, which may be old and hold a login they had then.
    /// `None` for what the source says of them now.
    pub as_of: Option<DateTime<Utc>>,
}

/// A label definition.
#[derive(Debug)]
pub struct LabelRecord {
    /// The project it belongs to.
    pub project_source_id: String,
    /// The source's immutable id.
    pub source_id: String,
    /// Its name.
    pub name: String,
    /// Its colour as hex digits.
    pub color: Option<String>,
    /// What it means.
    pub description: Option<String>,
}

/// A milestone or version.
#[derive(Debug)]
pub struct MilestoneRecord {
    /// The project it belongs to.
    pub project_source_id: String,
    /// The source's immutable id.
    pub source_id: String,
    /// Its title.
    pub title: String,
    /// Its description.
    pub description: Option<String>,
    /// `open` or `closed`.
    pub state: String,
    /// The day it is due.
    pub due_on: Option<NaiveDate>,
    /// Its page in the tracker.
    pub url: String,
    /// Creation.
    pub created_at: DateTime<Utc>,
    /// Last change.
    pub updated_at: DateTime<Utc>,
    /// When it was closed.
    pub closed_at: Option<DateTime<Utc>>,
}

/// The definition of a custom field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomFieldRecord {
    /// The source's immutable id: `customfield_10016`, a gid.
    pub source_id: String,
    /// Its name; unique in no tracker.
    pub name: String,
    /// The source's type: `number`, `array of option`, …
    pub field_type: String,
}
