//! The ready file: written in one step, once everything answers.

use std::path::Path;

use anyhow::Context;
use serde::Serialize;

/// What a program that started us needs to know.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Ready {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admin_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mcp_jira_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mcp_sql_url: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tenants: Vec<ReadyTenant>,
}

/// A tenant of the demonstration, with its keys.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ReadyTenant {
    pub(crate) slug: String,
    pub(crate) id: String,
    pub(crate) admin_key: String,
    pub(crate) assistant_key: String,
}

impl Ready {
    /// Writes a neighbour and renames it, so that a reader sees all or nothing. Only the owner can read it.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        write_private(path, &serde_json::to_vec_pretty(self)?)
    }
}

/// Writes a file that only its owner can read, in one step.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let neighbour = path.with_file_name(name);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&neighbour)
        .with_context(|| format!("cannot write {}", neighbour.display()))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&neighbour, path).with_context(|| format!("cannot write {}", path.display()))
}
