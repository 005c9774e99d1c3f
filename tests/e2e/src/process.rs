//! The built binary as processes.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{Api, Database, template};

/// Limits that only their own tests are to meet; these set them again.
const WITHOUT_LIMITS: [&str; 8] = [
    "PATCHBAY_LIMIT_ADDRESS",
    "PATCHBAY_LIMIT_SIGN_IN",
    "PATCHBAY_LIMIT_KEY",
    "PATCHBAY_LIMIT_TENANT",
    "PATCHBAY_LIMIT_TOOL_READ",
    "PATCHBAY_LIMIT_TOOL_LIVE",
    "PATCHBAY_LIMIT_TOOL_WRITE",
    "PATCHBAY_LIMIT_UPSTREAM",
];

/// An installation: a migrated database and what its processes share.
#[derive(Debug)]
pub struct Patchbay {
    /// Its database.
    pub database: Database,
    master_key: String,
    folder: TempDir,
}

/// A running `patchbay serve`. Killed when dropped.
#[derive(Debug)]
pub struct Started {
    child: Child,
    /// Address of the admin API, when that part runs.
    pub admin_url: Option<String>,
    /// Address of the MCP server of Jira, when that part runs.
    pub mcp_jira_url: Option<String>,
    /// Address of the MCP server of SQL templates, when that part runs.
    pub mcp_sql_url: Option<String>,
}

impl Patchbay {
    /// A database as the binary has migrated it.
    pub async fn install() -> anyhow::Result<Self> {
        let database = template::clone().await?;
        Ok(Self { database, master_key: template::MASTER_KEY.to_owned(), folder: TempDir::new()? })
    }

    /// Migrates this database with the binary.
    pub async fn install_in(database: Database) -> anyhow::Result<Self> {
        // 32 bytes in hex, different for each installation.
        let master_key = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        Self::migrated(database, master_key).await
    }

    pub(crate) async fn migrated(database: Database, master_key: String) -> anyhow::Result<Self> {
        let installed = Self { database, master_key, folder: TempDir::new()? };
        installed.run(&["migrate"]).await?;
        Ok(installed)
    }

    fn command(&self, args: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(crate::setting("PATCHBAY_TEST_BIN")?);
        command
            .args(args)
            .env("PATCHBAY_DATABASE_URL", self.database.url()?)
            .env("PATCHBAY_MASTER_KEY", &self.master_key)
            .envs(WITHOUT_LIMITS.map(|limit| (limit, "1000000/60s:1000000")))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Runs a command to its end; its standard output. An error with what it printed when it fails.
    pub async fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.command(args)?.output().await?;
        if !output.status.success() {
            bail!("patchbay {} failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs a command that is expected to fail; its exit code and standard error.
    pub async fn fails(&self, args: &[&str], unset: &[&str]) -> anyhow::Result<(i32, String)> {
        let mut command = self.command(args)?;
        for name in unset {
            command.env_remove(name);
        }
        let output = command.output().await?;
        Ok((output.status.code().unwrap_or(-1), String::from_utf8(output.stderr)?))
    }

    /// Runs a command to its end, however that is; its standard output.
    pub async fn says(&self, args: &[&str]) -> anyhow::Result<String> {
        Ok(String::from_utf8(self.command(args)?.output().await?.stdout)?)
    }

    /// The master key it was set up with.
    pub fn master_key(&self) -> &str {
        &self.master_key
    }

    /// Starts a command with settings beside the usual ones; its output is read from the child.
    pub fn spawn(&self, args: &[&str], settings: &[(&str, &str)]) -> anyhow::Result<Child> {
        let mut command = self.command(args)?;
        command.envs(settings.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command.spawn()?)
    }

    /// Creates a tenant; its id.
    pub async fn tenant(&self, slug: &str) -> anyhow::Result<String> {
        let made: Value = serde_json::from_str(&self.run(&["tenant", "create", slug, "--json"]).await?)?;
        Ok(made["id"].as_str().context("no id")?.to_owned())
    }

    /// Creates a key of a tenant.
    pub async fn key(&self, tenant: &str, scope: &str) -> anyhow::Result<String> {
        let printed = self.run(&["key", "create", "--tenant", tenant, "--scope", scope, "--json"]).await?;
        let made: Value = serde_json::from_str(&printed)?;
        Ok(made["key"].as_str().context("no key")?.to_owned())
    }

    /// Starts these parts on free ports and waits until they answer.
    pub async fn serve(&self, parts: &str) -> anyhow::Result<Started> {
        self.serve_with(parts, &[]).await
    }

    /// The same with settings beside the usual ones: names and values of environment variables.
    pub async fn serve_with(&self, parts: &str, settings: &[(&str, &str)]) -> anyhow::Result<Started> {
        let ready = self.folder.path().join(format!("ready-{}.json", uuid::Uuid::new_v4().simple()));
        let log = std::fs::File::create(self.log(&ready))?;
        let ready_text = ready.to_str().context("temporary path")?.to_owned();
        let mut child = self
            .command(&[
                "serve",
                "--only",
                parts,
                "--admin-addr",
                "127.0.0.1:0",
                "--mcp-jira-addr",
                "127.0.0.1:0",
                "--mcp-sql-addr",
                "127.0.0.1:0",
                "--egress-allow",
                "127.0.0.0/8",
                "--job-dead-after-s",
                "1",
                "--shutdown-grace-s",
                "5",
                "--ready-file",
                &ready_text,
            ])?
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        for _ in 0..600 {
            if let Ok(text) = std::fs::read_to_string(&ready) {
                let told: Value = serde_json::from_str(&text)?;
                let url = |name: &str| told[name].as_str().map(str::to_owned);
                return Ok(Started {
                    child,
                    admin_url: url("admin_url"),
                    mcp_jira_url: url("mcp_jira_url"),
                    mcp_sql_url: url("mcp_sql_url"),
                });
            }
            if let Some(status) = child.try_wait()? {
                bail!("patchbay serve ended with {status}: {}", std::fs::read_to_string(self.log(&ready))?);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("patchbay serve was not ready within 30 s: {}", std::fs::read_to_string(self.log(&ready))?);
    }

    fn log(&self, ready: &std::path::Path) -> PathBuf {
        ready.with_extension("log")
    }

    /// Everything the processes have logged so far.
    pub fn logs(&self) -> anyhow::Result<String> {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                all.push_str(&std::fs::read_to_string(path)?);
            }
        }
        Ok(all)
    }
}

impl Started {
    /// The admin API with a key.
    pub fn api(&self, key: &str) -> anyhow::Result<Api> {
        Api::new(self.admin_url.as_deref().context("the admin part does not run")?, key)
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it as a crash does: SIGKILL, no chance to tidy up.
    pub async fn kill_9(mut self) -> anyhow::Result<()> {
        self.child.start_kill()?;
        self.child.wait().await?;
        Ok(())
    }

    /// Ends it as an operator does: SIGTERM; its exit code.
    pub async fn terminate(mut self) -> anyhow::Result<Option<i32>> {
        let pid = self.child.id().context("it has ended already")?;
        Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
        Ok(tokio::time::timeout(Duration::from_secs(15), self.child.wait()).await??.code())
    }
}
