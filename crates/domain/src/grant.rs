//! What a key is narrowed to, beside its scopes: instances, projects, templates, toolsets.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{InstanceId, Invalid};

/// The most entries of one list of a grant.
pub const MOST_ENTRIES: usize = 200;

/// All of something, or only what is listed. An empty list allows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Allowed<T: Ord> {
    /// No bound.
    #[default]
    All,
    /// Only these.
    Only(BTreeSet<T>),
}

impl<T: Ord> Allowed<T> {
    /// `None` stands for all.
    pub fn from_list(list: Option<impl IntoIterator<Item = T>>) -> Self {
        list.map_or(Self::All, |list| Self::Only(list.into_iter().collect()))
    }

    /// `None` stands for all.
    pub fn as_list(&self) -> Option<&BTreeSet<T>> {
        match self {
            Self::All => None,
            Self::Only(list) => Some(list),
        }
    }

    /// Whether this one is allowed.
    pub fn allows<Q: Ord + ?Sized>(&self, one: &Q) -> bool
    where
        T: std::borrow::Borrow<Q>,
    {
        self.as_list().is_none_or(|list| list.contains(one))
    }

    /// Whether everything that `other` allows is allowed here.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(mine), Self::Only(theirs)) => theirs.is_subset(mine),
        }
    }
}

/// The key of a project as the tracker shows it: `PROJ`, `owner/repo`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ProjectKey(String);

impl ProjectKey {
    /// The text. Holds no quote, backslash or control character.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for ProjectKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProjectKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let fits = (1..=200).contains(&text.chars().count());
        if fits && !text.chars().any(|c| c.is_control() || matches!(c, '\'' | '"' | '\\')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::one(
                "/projects",
                "must be keys of projects: 1 to 200 characters without quotes, backslashes and control characters",
            ))
        }
    }
}

/// A set of MCP tools that is handed out together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Toolset {
    /// Every tool of the SQL server.
    Sql,
    /// The core tools of the Jira server.
    JiraCore,
    /// Boards and sprints.
    JiraAgile,
    /// Worklogs, watchers, votes.
    JiraWork,
    /// Attachments.
    JiraFiles,
    /// Many issues at once.
    JiraBulk,
    /// Projects, versions, components.
    JiraAdmin,
    /// What changed.
    JiraChanges,
}

impl Toolset {
    /// All toolsets.
    pub const ALL: [Self; 8] = [
        Self::Sql,
        Self::JiraCore,
        Self::JiraAgile,
        Self::JiraWork,
        Self::JiraFiles,
        Self::JiraBulk,
        Self::JiraAdmin,
        Self::JiraChanges,
    ];

    /// Those of the Jira server.
    pub const JIRA: [Self; 7] = [
        Self::JiraCore,
        Self::JiraAgile,
        Self::JiraWork,
        Self::JiraFiles,
        Self::JiraBulk,
        Self::JiraAdmin,
        Self::JiraChanges,
    ];

    /// A set of the Jira server by its name, or by its name without the server's: `jira_agile`, `agile`.
    pub fn of_jira(name: &str) -> Option<Self> {
        let name = name.strip_prefix("jira_").unwrap_or(name);
        Self::JIRA.into_iter().find(|set| set.as_str().strip_prefix("jira_") == Some(name))
    }

    /// The stored and served name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::JiraCore => "jira_core",
            Self::JiraAgile => "jira_agile",
            Self::JiraWork => "jira_work",
            Self::JiraFiles => "jira_files",
            Self::JiraBulk => "jira_bulk",
            Self::JiraAdmin => "jira_admin",
            Self::JiraChanges => "jira_changes",
        }
    }
}

impl fmt::Display for Toolset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Toolset {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|set| set.as_str() == text).ok_or_else(|| {
            Invalid::not_one_of("/toolsets", "has an unknown toolset", Self::ALL.map(Self::as_str))
        })
    }
}

/// What a principal is narrowed to. The default narrows nothing.
///
/// Instances and projects to read are enforced by row-level security: the transaction carries them, so no
/// statement can forget them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// Instances that may be seen and used.
    pub instances: Allowed<InstanceId>,
    /// Projects whose items may be read.
    pub projects_read: Allowed<ProjectKey>,
    /// Projects whose items may be written at the tracker.
    pub projects_write: Allowed<ProjectKey>,
    /// SQL templates that may be run, by name.
    pub templates: Allowed<String>,
    /// MCP toolsets that may be used.
    pub toolsets: Allowed<Toolset>,
}

impl Grant {
    /// Whether everything that `other` allows is allowed here: nobody hands out more than they have.
    pub fn covers(&self, other: &Self) -> bool {
        self.instances.covers(&other.instances)
            && self.projects_read.covers(&other.projects_read)
            && self.projects_write.covers(&other.projects_write)
            && self.templates.covers(&other.templates)
            && self.toolsets.covers(&other.toolsets)
    }

    /// Whether items of this project may be written: it must be readable, too.
    pub fn may_write(&self, project: &str) -> bool {
        self.projects_read.allows(project) && self.projects_write.allows(project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_covers_what_is_narrower_and_not_what_is_wider() {
        let only = |keys: &[&str]| {
            Allowed::from_list(Some(keys.iter().map(|key| key.parse::<ProjectKey>().unwrap())))
        };
        let wide = Grant { projects_read: only(&["A", "B"]), ..Grant::default() };
        let narrow = Grant { projects_read: only(&["A"]), ..Grant::default() };
        assert!(Grant::default().covers(&wide) && wide.covers(&narrow));
        assert!(!wide.covers(&Grant::default()) && !narrow.covers(&wide));
        assert!(wide.may_write("B") && !narrow.may_write("B"));
        assert!(!Allowed::<String>::Only(BTreeSet::new()).allows("x"), "an empty list allows nothing");
    }

    #[test]
    fn project_keys_cannot_carry_sql() {
        for bad in ["", "a'b", "a\\b", "a\u{1f}b", "a\"b"] {
            assert!(bad.parse::<ProjectKey>().is_err(), "{bad:?} was accepted");
        }
        assert_eq!("bitcoin-core/gui".parse::<ProjectKey>().unwrap().as_str(), "bitcoin-core/gui");
    }
}
