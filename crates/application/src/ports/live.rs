//! Reading a tracker while somebody waits for the answer.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::Cursor;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Connection, FieldNames, HiddenFields, LiveAgile, LiveFiles, SourceError};

/// The projects that a caller may see at an instance, and the fields that nobody sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    projects: Option<BTreeSet<String>>,
    hidden: HiddenFields,
}

impl Bounds {
    /// These keys; `None` for every project that the instance's account sees.
    pub fn new(projects: Option<BTreeSet<String>>) -> Self {
        Self { projects, hidden: HiddenFields::default() }
    }

    /// The same without these fields.
    #[must_use]
    pub fn hiding(self, hidden: HiddenFields) -> Self {
        Self { hidden, ..self }
    }

    /// Whether this project may be seen.
    pub fn allows(&self, project: &str) -> bool {
        self.projects.as_ref().is_none_or(|keys| keys.contains(project))
    }

    /// Whether an issue of this key may be seen: `ENG-12` is of `ENG`.
    pub fn allows_issue(&self, key: &str) -> bool {
        self.projects.is_none() || key.rsplit_once('-').is_some_and(|(project, _)| self.allows(project))
    }

    /// The keys; `None` when there is no bound.
    pub fn as_list(&self) -> Option<&BTreeSet<String>> {
        self.projects.as_ref()
    }

    /// Fields that the tenant's policy hides.
    pub fn hidden(&self) -> &HiddenFields {
        &self.hidden
    }
}

/// What an instance says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSite {
    /// Where people open it.
    pub url: String,
    /// `cloud` or `data_center`.
    pub deployment: &'static str,
    /// Its version, where it tells one.
    pub version: Option<String>,
}

/// How much of each issue a search gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LiveView {
    /// The key.
    Key,
    /// What a list of issues shows.
    #[default]
    Summary,
    /// With description and every field that has a value.
    Full,
}

/// A part of an issue that is given when it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LiveSection {
    /// Its text.
    Description,
    /// What was said about it.
    Comments,
    /// What was changed.
    Changelog,
    /// Time booked.
    Worklogs,
    /// Links to other issues.
    Links,
    /// Its subtasks.
    Subtasks,
    /// Names and sizes of its files.
    Attachments,
    /// Where it can go from its status.
    Transitions,
    /// How many watch it.
    Watchers,
}

impl LiveSection {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Description,
        Self::Comments,
        Self::Changelog,
        Self::Worklogs,
        Self::Links,
        Self::Subtasks,
        Self::Attachments,
        Self::Transitions,
        Self::Watchers,
    ];

    /// Its name in arguments and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Description => "description",
            Self::Comments => "comments",
            Self::Changelog => "changelog",
            Self::Worklogs => "worklogs",
            Self::Links => "links",
            Self::Subtasks => "subtasks",
            Self::Attachments => "attachments",
            Self::Transitions => "transitions",
            Self::Watchers => "watchers",
        }
    }
}

/// A search in the tracker's own words.
#[derive(Debug, Clone, Copy)]
pub struct LiveSearch<'a> {
    /// JQL.
    pub jql: &'a str,
    /// How much of each issue.
    pub view: LiveView,
    /// Further fields, by id or by the name people see.
    pub fields: &'a [String],
    /// The most issues of one page.
    pub limit: usize,
    /// Where to go on.
    pub from: Option<&'a Cursor>,
    /// What may be seen.
    pub within: &'a Bounds,
}

/// An issue as the tracker has it now. What has no value is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LiveIssue {
    /// Its key.
    pub key: String,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Its type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub issue_type: Option<String>,
    /// Its status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `new`, `indeterminate` or `done`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_category: Option<String>,
    /// Who works on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// Its priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// Its last change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<DateTime<Utc>>,
    /// What is known of it beyond: its address, reporter, labels, and the sections that were asked for.
    #[serde(flatten)]
    pub more: Map<String, Value>,
    /// Further fields by the names people see.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

/// One page of a search.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LiveIssues {
    /// In the order of the search.
    pub issues: Vec<LiveIssue>,
    /// Where to go on; `None` on the last page.
    pub next: Option<Cursor>,
    /// About how many match, where the tracker tells.
    pub total: Option<i64>,
    /// Where people open an issue, with `{key}` in place of its key.
    pub url_template: String,
}

/// One issue.
#[derive(Debug, Clone, Copy)]
pub struct LiveIssueAsk<'a> {
    /// Its key.
    pub key: &'a str,
    /// What of it beside the properties that all issues have.
    pub sections: &'a BTreeSet<LiveSection>,
    /// Further fields, by id or by the name people see; `*all` for every one that has a value.
    pub fields: &'a [String],
    /// Texts as the tracker has them, where that is a document; otherwise Markdown.
    pub documents: bool,
    /// What may be seen.
    pub within: &'a Bounds,
}

/// What kind of thing happened to an issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveActivityKind {
    /// Somebody said something.
    Comment,
    /// Somebody changed something.
    Change,
    /// Somebody booked time.
    Worklog,
}

impl LiveActivityKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Comment, Self::Change, Self::Worklog];

    /// Its name in arguments and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Comment => "comment",
            Self::Change => "change",
            Self::Worklog => "worklog",
        }
    }
}

/// One thing that happened to an issue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LiveActivity {
    /// Its id at the tracker, unique among its kind.
    pub id: String,
    /// What kind.
    pub kind: LiveActivityKind,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
    /// What was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Time booked, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_spent_s: Option<i64>,
    /// What was changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<LiveChange>,
}

/// A field's old and new value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveChange {
    /// The field, by the name people see.
    pub field: String,
    /// Its id, where the tracker tells it.
    #[serde(skip)]
    pub field_id: Option<String>,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What happened to one issue.
#[derive(Debug, Clone, Copy)]
pub struct LiveActivityAsk<'a> {
    /// Its key.
    pub key: &'a str,
    /// What kinds.
    pub kinds: &'a BTreeSet<LiveActivityKind>,
    /// What may be seen.
    pub within: &'a Bounds,
}

/// What happened to an issue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LiveActivities {
    /// The issue's key now.
    pub key: String,
    /// In no particular order.
    pub entries: Vec<LiveActivity>,
    /// Kinds of which there are older ones that were not read.
    pub unread: Vec<LiveActivityKind>,
}

/// Projects of an instance.
#[derive(Debug, Clone, Copy)]
pub struct LiveProjectsAsk<'a> {
    /// A part of a key or name.
    pub query: Option<&'a str>,
    /// The most of one page.
    pub limit: usize,
    /// Where to go on.
    pub from: Option<&'a Cursor>,
    /// What may be seen.
    pub within: &'a Bounds,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveProject {
    /// Its key.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Names of its types of issue.
    pub issue_types: Vec<String>,
}

/// One page of projects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LiveProjects {
    /// By key.
    pub projects: Vec<LiveProject>,
    /// Where to go on; `None` on the last page.
    pub next: Option<Cursor>,
}

/// What fields are to be used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LivePurpose {
    /// Making an issue.
    #[default]
    Create,
    /// Changing one.
    Edit,
    /// Finding issues.
    Search,
}

/// Fields of a project.
#[derive(Debug, Clone, Copy)]
pub struct LiveFieldsAsk<'a> {
    /// The project's key.
    pub project: &'a str,
    /// Of issues of this type; needed for making and changing when the project has several.
    pub issue_type: Option<&'a str>,
    /// A part of a name or id.
    pub query: Option<&'a str>,
    /// What for.
    pub purpose: LivePurpose,
}

/// A field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveField {
    /// Its id.
    pub id: String,
    /// The name people see.
    pub name: String,
    /// Its type in words.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether an issue cannot be made or kept without it.
    pub required: bool,
    /// The values it takes, the first of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// How many more it takes.
    #[serde(skip_serializing_if = "is_zero")]
    pub allowed_more: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// People of an instance.
#[derive(Debug, Clone, Copy)]
pub struct LiveUsersAsk<'a> {
    /// A part of a name or e-mail address.
    pub query: &'a str,
    /// Only who issues of this project can be given to.
    pub project: Option<&'a str>,
    /// The most of them.
    pub limit: usize,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveUser {
    /// What the tracker knows them by.
    pub id: String,
    /// Their name.
    pub name: String,
    /// Whether they can still sign in.
    pub active: bool,
}

/// Reads a tracker for somebody who waits. Sends each request once, and nothing once the call is dropped; retrying,
/// deadlines and budgets are the caller's business. What lies outside of the bounds is told like what does not exist.
#[async_trait]
pub trait LiveReader: Send + Sync {
    /// The projects that the instance's settings select, by key; `None` for all.
    fn selected_projects(&self, settings: &Value) -> Option<BTreeSet<String>>;

    /// Boards and sprints, where the tracker has them.
    fn agile(&self) -> Option<&dyn LiveAgile> {
        None
    }

    /// Files of issues, where the tracker gives them.
    fn files(&self) -> Option<&dyn LiveFiles> {
        None
    }

    /// What the instance is.
    async fn site(&self, connection: &Connection) -> Result<LiveSite, SourceError>;

    /// One page of a search. No query brings anything from outside the bounds, and none that names a hidden field is sent.
    async fn search(&self, connection: &Connection, ask: &LiveSearch<'_>) -> Result<LiveIssues, SourceError>;

    /// One issue.
    async fn issue(&self, connection: &Connection, ask: &LiveIssueAsk<'_>) -> Result<LiveIssue, SourceError>;

    /// What happened to an issue.
    async fn activity(
        &self,
        connection: &Connection,
        ask: &LiveActivityAsk<'_>,
    ) -> Result<LiveActivities, SourceError>;

    /// One page of projects.
    async fn projects(
        &self,
        connection: &Connection,
        ask: &LiveProjectsAsk<'_>,
    ) -> Result<LiveProjects, SourceError>;

    /// Fields by name. The project has been checked.
    async fn fields(
        &self,
        connection: &Connection,
        ask: &LiveFieldsAsk<'_>,
    ) -> Result<Vec<LiveField>, SourceError>;

    /// Every field of the instance, by all its names.
    async fn field_names(&self, connection: &Connection) -> Result<Vec<FieldNames>, SourceError>;

    /// People. The project has been checked.
    async fn users(
        &self,
        connection: &Connection,
        ask: &LiveUsersAsk<'_>,
    ) -> Result<Vec<LiveUser>, SourceError>;
}
