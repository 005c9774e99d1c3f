//! Flags of `patchbay key` and `patchbay invitation`.

use std::time::Duration;

use clap::{Args, Subcommand};
use domain::{InstanceId, KeyId, KeyKind, ProjectKey, Role, Toolset};
use url::Url;

use super::DatabaseArgs;

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Create an API key. It is shown once, now.
    Create(Box<KeyCreateArgs>),
    /// List the keys of a tenant, newest first.
    List(KeyListArgs),
    /// End a key; it is refused everywhere within 5 seconds.
    Revoke(KeyRevokeArgs),
    /// Make a successor of a key, with the same scopes and bounds; the older one ends after an overlap.
    Rotate(KeyRotateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct KeyCreateArgs {
    /// The tenant it belongs to.
    #[arg(long, value_name = "SLUG")]
    pub(crate) tenant: String,
    /// What it may do; may be repeated or separated by commas: admin, instances:read, instances:write, sync:run,
    /// items:read, keys:write, members:read, members:write, templates:read, templates:write,
    /// audit:read, mcp:jira:read, mcp:jira:write, mcp:sql.
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',')]
    pub(crate) scopes: Vec<String>,
    /// A name to recognise it by.
    #[arg(long, default_value = "key")]
    pub(crate) name: String,
    /// What it is meant for: person, assistant or service.
    #[arg(long, value_parser = parsed::<KeyKind>)]
    pub(crate) kind: Option<KeyKind>,
    /// How long it is good, such as 90d or 12h; without it, until it is revoked.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) expires_in: Option<Duration>,
    /// Narrow it to these instances, by slug or id; may be repeated.
    #[arg(long = "instance", value_name = "SLUG", value_delimiter = ',')]
    pub(crate) instances: Vec<String>,
    /// Narrow what it reads to these projects, such as owner/repo or ENG; may be repeated.
    #[arg(long = "project", value_name = "KEY", value_parser = parsed::<ProjectKey>)]
    pub(crate) projects: Vec<ProjectKey>,
    /// Narrow what it writes to these projects; may be repeated.
    #[arg(long = "write-project", value_name = "KEY", value_parser = parsed::<ProjectKey>)]
    pub(crate) write_projects: Vec<ProjectKey>,
    /// Narrow it to these SQL templates; may be repeated.
    #[arg(long = "template", value_name = "NAME", value_delimiter = ',')]
    pub(crate) templates: Vec<String>,
    /// Narrow it to these sets of tools: sql, jira_core, jira_agile, jira_work, jira_files, jira_bulk, jira_admin,
    /// jira_changes; may be repeated.
    #[arg(long = "toolset", value_name = "NAME", value_delimiter = ',', value_parser = parsed::<Toolset>)]
    pub(crate) toolsets: Vec<Toolset>,
    /// Print {"id","key"} as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct KeyListArgs {
    /// The tenant whose keys to list.
    #[arg(long, value_name = "SLUG")]
    pub(crate) tenant: String,
    /// Also those that are revoked or over.
    #[arg(long)]
    pub(crate) all: bool,
    /// Print a JSON object per line.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct KeyRevokeArgs {
    /// The key's id, as `patchbay key list` shows it.
    pub(crate) id: KeyId,
    /// The tenant it belongs to.
    #[arg(long, value_name = "SLUG")]
    pub(crate) tenant: String,
    /// Print {"id","revoked"} as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct KeyRotateArgs {
    /// The key's id, as `patchbay key list` shows it.
    pub(crate) id: KeyId,
    /// The tenant it belongs to.
    #[arg(long, value_name = "SLUG")]
    pub(crate) tenant: String,
    /// How long the older key goes on working, at most 30d.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub(crate) overlap: Duration,
    /// Print {"id","key"} as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InvitationArgs {
    #[command(subcommand)]
    pub(crate) command: InvitationCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InvitationCommand {
    /// Invite somebody to a tenant, its first owner above all. The token is shown once, now.
    Create(InvitationCreateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InvitationCreateArgs {
    /// The tenant.
    #[arg(long, value_name = "SLUG")]
    pub(crate) tenant: String,
    /// Their e-mail address, as their identity provider tells it.
    #[arg(long)]
    pub(crate) email: String,
    /// What they will be: viewer, member, admin or owner.
    #[arg(long, value_parser = parsed::<Role>)]
    pub(crate) role: Role,
    /// How long it is good, at most 30d.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
    pub(crate) expires_in: Duration,
    /// Where people reach this installation, for the link.
    #[arg(long, env = "PATCHBAY_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<Url>,
    /// Print {"id","token","link","expires_at"} as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

/// An instance as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InstanceName {
    Id(InstanceId),
    Slug(String),
}

impl From<&str> for InstanceName {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Slug(text.to_owned()), Self::Id)
    }
}

fn parsed<T: std::str::FromStr<Err = domain::Invalid>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: domain::Invalid| match error.errors.first() {
        Some(first) if !first.allowed.is_empty() => {
            format!("{}: known are {}", first.message, first.allowed.join(", "))
        }
        Some(first) => first.message.clone(),
        None => "is not known".to_owned(),
    })
}

/// A number with `d`, `h`, `m` or `s` behind it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time such as 90d, 24h, 30m or 0s");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let whole = Duration::from_secs(u64::from(count) * seconds);
    // Longer ones cannot be added to a date.
    if whole > Duration::from_secs(100 * 366 * 86_400) { Err(wrong()) } else { Ok(whole) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_a_unit() {
        assert_eq!(duration("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for bad in ["", "d", "90", "-1d", "1w", "1.5h", "99999999d", "1\u{e9}"] {
            assert!(duration(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn an_instance_is_named_by_slug_or_id() {
        assert_eq!(InstanceName::from("core"), InstanceName::Slug("core".into()));
        let id = "01900000-0000-7000-8000-000000000001";
        assert_eq!(InstanceName::from(id), InstanceName::Id(id.parse().expect("a UUID")));
    }
}
