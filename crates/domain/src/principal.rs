//! Who acts, and what they may do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Invalid, KeyId, UserId};

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
    /// See members and invitations.
    MembersRead,
    /// Invite, change and remove members.
    MembersWrite,
    /// See SQL templates, their versions and their runs.
    TemplatesRead,
    /// Write, try, publish and retire SQL templates. Trying one shows rows of the tenant.
    TemplatesWrite,
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
    pub const ALL: [Self; 14] = [
        Self::Admin,
        Self::InstancesRead,
        Self::InstancesWrite,
        Self::SyncRun,
        Self::ItemsRead,
        Self::KeysWrite,
        Self::MembersRead,
        Self::MembersWrite,
        Self::TemplatesRead,
        Self::TemplatesWrite,
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
            Self::MembersRead => "members:read",
            Self::MembersWrite => "members:write",
            Self::TemplatesRead => "templates:read",
            Self::TemplatesWrite => "templates:write",
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
            | (Self::MembersWrite, Self::MembersRead)
            | (Self::TemplatesWrite, Self::TemplatesRead)
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

    /// Whether everything `needed` allows is allowed here too.
    pub fn cover(&self, needed: &Self) -> bool {
        needed.iter().all(|scope| self.allow(scope))
    }

    /// What both allow: of a role and a token, for example. `None` when that is nothing.
    pub fn both(&self, other: &Self) -> Option<Self> {
        let common = Scope::ALL.into_iter().filter(|&scope| self.allow(scope) && other.allow(scope));
        Self::new(common).ok()
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
    /// A person's own scripts and commands.
    Person,
    /// An AI assistant.
    Assistant,
    /// A program that acts for nobody in particular.
    Service,
}

impl KeyKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Person, Self::Assistant, Self::Service];

    /// The stored and served name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Assistant => "assistant",
            Self::Service => "service",
        }
    }
}

impl FromStr for KeyKind {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Invalid::not_one_of("/kind", "is not a kind of key", Self::ALL.map(Self::as_str)))
    }
}

/// What a member of a tenant may do: a bundle of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees and uses data.
    Viewer,
    /// Also starts syncs and writes to trackers through an assistant.
    Member,
    /// Also connects trackers, hands out keys, invites members, writes SQL templates and reads the audit log.
    Admin,
    /// Everything, the tenant's settings, export and deletion included.
    Owner,
}

impl Role {
    /// All roles, least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Member, Self::Admin, Self::Owner];

    /// The stored and served name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The scopes it stands for.
    pub fn scopes(self) -> Scopes {
        let scopes: &[Scope] = match self {
            Self::Viewer => &[Scope::InstancesRead, Scope::ItemsRead, Scope::McpJiraRead, Scope::McpSql],
            Self::Member => &[
                Scope::InstancesRead,
                Scope::SyncRun,
                Scope::ItemsRead,
                Scope::MembersRead,
                Scope::TemplatesRead,
                Scope::McpJiraWrite,
                Scope::McpSql,
            ],
            Self::Admin => &[
                Scope::InstancesWrite,
                Scope::SyncRun,
                Scope::ItemsRead,
                Scope::KeysWrite,
                Scope::MembersWrite,
                Scope::TemplatesWrite,
                Scope::AuditRead,
                Scope::McpJiraWrite,
                Scope::McpSql,
            ],
            Self::Owner => &[Scope::Admin],
        };
        Scopes(scopes.iter().copied().collect())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| Invalid::not_one_of("/role", "is not a role", Self::ALL.map(Self::as_str)))
    }
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
    /// A person who signed in, by a session or by an access token of the authorization server.
    User {
        /// The person.
        id: UserId,
        /// Their name, or e-mail address when they have none.
        name: String,
    },
    /// Patchbay itself: a job, or an operator at the command line. The word says which.
    System(&'static str),
}

impl Principal {
    /// A short text for lists: the key's or person's name, or what part of the system acts.
    pub fn label(&self) -> &str {
        match self {
            Self::Key { name, .. } | Self::User { name, .. } => name,
            Self::System(part) => part,
        }
    }

    /// `key`, `user` or `system`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Key { .. } => "key",
            Self::User { .. } => "user",
            Self::System(_) => "system",
        }
    }

    /// The key's or person's id; the system has none.
    pub const fn id(&self) -> Option<uuid::Uuid> {
        match self {
            Self::Key { id, .. } => Some(id.as_uuid()),
            Self::User { id, .. } => Some(id.as_uuid()),
            Self::System(_) => None,
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
    fn each_role_may_do_what_the_lesser_ones_may() {
        for pair in Role::ALL.windows(2) {
            assert!(pair[1].scopes().cover(&pair[0].scopes()), "{} lacks something of {}", pair[1], pair[0]);
            assert!(!pair[0].scopes().cover(&pair[1].scopes()), "{} is no less than {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn a_token_and_a_role_allow_only_what_both_do() {
        let token = Scopes::parse(["mcp:sql", "instances:write"]).unwrap();
        let both = token.both(&Role::Viewer.scopes()).unwrap();
        assert_eq!(both.names(), ["instances:read", "mcp:sql"]);
        assert!(Scopes::parse(["audit:read"]).unwrap().both(&Role::Viewer.scopes()).is_none());
        assert!(Scopes::parse(["admin"]).unwrap().both(&Role::Owner.scopes()).unwrap().allow(Scope::Admin));
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
