//! Who acts, and what they may do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Invalid, KeyId};

/// One permission. The text forms are part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Everything of the tenant.
    Admin,
    /// See instances, projects, freshness and runs.
    InstancesRead,
    /// Connect, change and remove instances.
    InstancesWrite,
    /// Start and cancel backfills and syncs.
    SyncRun,
    /// Read work items.
    ItemsRead,
    /// Create and revoke keys.
    KeysWrite,
    /// Read the audit log.
    AuditRead,
    /// Read tools of the Jira MCP server.
    McpJiraRead,
    /// Write tools of the Jira MCP server.
    McpJiraWrite,
    /// The SQL MCP server.
    McpSql,
}

impl Scope {
    /// All scopes, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Admin,
        Self::InstancesRead,
        Self::InstancesWrite,
        Self::SyncRun,
        Self::ItemsRead,
        Self::KeysWrite,
        Self::AuditRead,
        Self::McpJiraRead,
        Self::McpJiraWrite,
        Self::McpSql,
    ];

    /// The name used in keys, tokens and errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::InstancesRead => "instances:read",
            Self::InstancesWrite => "instances:write",
            Self::SyncRun => "sync:run",
            Self::ItemsRead => "items:read",
            Self::KeysWrite => "keys:write",
            Self::AuditRead => "audit:read",
            Self::McpJiraRead => "mcp:jira:read",
            Self::McpJiraWrite => "mcp:jira:write",
            Self::McpSql => "mcp:sql",
        }
    }

    /// Whether holding `self` is enough where `needed` is asked: `admin` implies all, write implies read.
    pub const fn implies(self, needed: Self) -> bool {
        match (self, needed) {
            (Self::Admin, _)
            | (Self::InstancesWrite, Self::InstancesRead)
            | (Self::McpJiraWrite, Self::McpJiraRead) => true,
            _ => self as u8 == needed as u8,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| {
            Invalid::not_one_of(
                "/scopes",
                format!("has the unknown scope `{text}`"),
                Self::ALL.map(Self::as_str),
            )
        })
    }
}

/// A set of scopes, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// `Invalid` when empty.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, Invalid> {
        let set: BTreeSet<Scope> = scopes.into_iter().collect();
        if set.is_empty() {
            return Err(Invalid::not_one_of(
                "/scopes",
                "needs at least one scope",
                Scope::ALL.map(Scope::as_str),
            ));
        }
        Ok(Self(set))
    }

    /// Parses names; unknown ones are an error that lists the known.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, Invalid> {
        Self::new(names.into_iter().map(str::parse).collect::<Result<Vec<_>, _>>()?)
    }

    /// Whether one of the held scopes implies `needed`.
    pub fn allow(&self, needed: Scope) -> bool {
        self.0.iter().any(|held| held.implies(needed))
    }

    /// The held scopes, sorted.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }

    /// The names of the held scopes, sorted.
    pub fn names(&self) -> Vec<String> {
        self.iter().map(|scope| scope.as_str().to_owned()).collect()
    }
}

/// What a key is meant for; shown in lists and in the audit log, never decides access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// A person or script that administers the tenant.
    Admin,
    /// An AI assistant.
    Assistant,
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The holder of an API key.
    Key {
        /// The key that was presented.
        id: KeyId,
        /// Its name, as its creator wrote it.
        name: String,
    },
    /// Patchbay itself: a job, or an operator at the command line. The word says which.
    System(&'static str),
}

impl Principal {
    /// A short text for logs and lists: the key's name, or what part of the system acts.
    pub fn label(&self) -> &str {
        match self {
            Self::Key { name, .. } => name,
            Self::System(part) => part,
        }
    }
}

/// A short name for URLs and commands: `[a-z0-9]` and inner hyphens, 1 to 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Slug(String);

impl Slug {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes a slug of any text: lower case, runs of other characters become one hyphen; "instance" when nothing is left.
    pub fn of(text: &str) -> Self {
        let mut slug = String::with_capacity(text.len().min(63));
        for c in text.chars().flat_map(char::to_lowercase) {
            if slug.len() >= 63 {
                break;
            }
            if c.is_ascii_alphanumeric() {
                slug.push(c);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        let slug = slug.trim_end_matches('-');
        Self(if slug.is_empty() { "instance".to_owned() } else { slug.to_owned() })
    }

    /// The slug with a number behind it, for when the plain one is taken.
    #[must_use]
    pub fn numbered(&self, n: u32) -> Self {
        let suffix = format!("-{n}");
        let keep = self.0.len().min(63 - suffix.len());
        Self(format!("{}{suffix}", self.0[..keep].trim_end_matches('-')))
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Slug {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let ok = !text.is_empty()
            && text.len() <= 63
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::one(
                "/slug",
                "must be 1 to 63 characters of a-z, 0-9 and hyphens, and begin and end with a letter or digit",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_implies_every_scope_and_write_implies_read() {
        let admin = Scopes::new([Scope::Admin]).unwrap();
        assert!(Scope::ALL.into_iter().all(|scope| admin.allow(scope)));
        let write = Scopes::new([Scope::InstancesWrite]).unwrap();
        assert!(write.allow(Scope::InstancesRead));
        assert!(!write.allow(Scope::ItemsRead));
        assert!(!Scopes::new([Scope::InstancesRead]).unwrap().allow(Scope::InstancesWrite));
    }

    #[test]
    fn scope_names_round_trip() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse::<Scope>().unwrap(), scope);
        }
        assert_eq!("items".parse::<Scope>().unwrap_err().errors[0].allowed.len(), Scope::ALL.len());
    }

    #[test]
    fn slugs_are_made_of_any_name() {
        assert_eq!(Slug::of("Core & Web — Team").as_str(), "core-web-team");
        assert_eq!(Slug::of("日本").as_str(), "instance");
        assert_eq!(Slug::of("core").numbered(2).as_str(), "core-2");
        assert_eq!(Slug::of(&"x".repeat(80)).numbered(12).as_str().len(), 63);
        assert!("Core".parse::<Slug>().is_err());
        assert!("-a".parse::<Slug>().is_err());
    }
}
