//! The product and the simulator as processes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::server::{Server, output};

/// Of databases that hold nothing worth hiding, on a server that only this user reaches.
const MASTER_KEY: &str = "3b7e1f8a90c2d45566e1a7f0b98c3d2e4f50617283941a5b6c7d8e9f00112233";

/// The built programs.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(crate) patchbay: PathBuf,
    pub(crate) simulator: PathBuf,
}

/// Counted all the same, but never reached: what is measured is how fast it goes.
const WITHOUT_LIMITS: [&str; 7] = [
    "PATCHBAY_LIMIT_ADDRESS",
    "PATCHBAY_LIMIT_KEY",
    "PATCHBAY_LIMIT_TENANT",
    "PATCHBAY_LIMIT_TOOL_LIVE",
    "PATCHBAY_LIMIT_TOOL_READ",
    "PATCHBAY_LIMIT_UPSTREAM",
    "PATCHBAY_LIMIT_WEBHOOK",
];

/// Where trackers would be told to send deliveries; nothing is there.
const PUBLIC_URL: &str = "https://patchbay.invalid/";

/// Patchbay on one database.
#[derive(Debug)]
pub(crate) struct Installation<'a> {
    program: &'a Path,
    database_url: String,
    folder: TempDir,
}

impl<'a> Installation<'a> {
    pub(crate) fn new(binaries: &'a Binaries, server: &Server, database: &str) -> Result<Self> {
        let database_url = server.url("postgres", database);
        Ok(Self { program: &binaries.patchbay, database_url, folder: TempDir::new()? })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command
            .args(arguments)
            .env("PATCHBAY_DATABASE_URL", &self.database_url)
            .env("PATCHBAY_MASTER_KEY", MASTER_KEY)
            .env("PATCHBAY_PUBLIC_URL", PUBLIC_URL)
            .envs(WITHOUT_LIMITS.map(|limit| (limit, "1000000000/60s:1000000000")))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn migrate(&self) -> Result<()> {
        output(&mut self.command(&["migrate"])).map(drop)
    }

    pub(crate) fn create_tenant(&self, slug: &str) -> Result<()> {
        output(&mut self.command(&["tenant", "create", slug])).map(drop)
    }

    pub(crate) fn create_key(&self, tenant: &str, scope: &str) -> Result<String> {
        let arguments = ["key", "create", "--tenant", tenant, "--scope", scope, "--json"];
        let printed: Value = serde_json::from_str(&output(&mut self.command(&arguments))?)?;
        Ok(printed["key"].as_str().context("no key was printed")?.to_owned())
    }

    /// Starts these parts and waits until they answer.
    pub(crate) fn serve(&self, parts: &str) -> Result<Process> {
        self.serve_with(parts, &[])
    }

    /// The same with more arguments; beside others that run already.
    pub(crate) fn serve_with(&self, parts: &str, arguments: &[&str]) -> Result<Process> {
        // A file's name: arguments may hold addresses.
        let words = arguments.concat().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let name = format!("ready-{words}.json");
        let ready = self.folder.path().join(name);
        let mut command = self.command(&["serve", "--only", parts, "--egress-allow", "127.0.0.0/8"]);
        command.args(["--admin-addr", "127.0.0.1:0", "--mcp-sql-addr", "127.0.0.1:0"]);
        command.args(["--mcp-jira-addr", "127.0.0.1:0"]);
        Process::start(command.args(arguments).arg("--ready-file").arg(&ready), &ready)
    }
}

/// A running program that told when it was ready. It ends with this.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// What it wrote once it answered.
    pub(crate) told: Value,
    log: PathBuf,
    pub(crate) time_to_ready: Duration,
}

impl Process {
    fn start(command: &mut Command, ready: &Path) -> Result<Self> {
        if ready.exists() {
            fs::remove_file(ready)?;
        }
        let log = ready.with_extension("log");
        let begun = Instant::now();
        let mut child = command
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        while begun.elapsed() < Duration::from_secs(120) {
            if let Ok(text) = fs::read_to_string(ready) {
                let time_to_ready = begun.elapsed();
                let told = serde_json::from_str(&text)?;
                return Ok(Self { child, told, log, time_to_ready });
            }
            if let Some(status) = child.try_wait()? {
                bail!("the program ended with {status}: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            thread::sleep(Duration::from_millis(1));
        }
        child.kill()?;
        bail!(
            "the program was not ready within two minutes: {}",
            fs::read_to_string(&log).unwrap_or_default()
        );
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> Result<String> {
        fs::read_to_string(&self.log).with_context(|| format!("cannot read {}", self.log.display()))
    }

    /// One of the addresses it told.
    pub(crate) fn url(&self, name: &str) -> Result<&str> {
        self.told[name].as_str().with_context(|| format!("the program told no {name}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing is kept for later, so there is nothing to wait for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Simulated trackers that serve these worlds.
pub(crate) fn simulator(binaries: &Binaries, worlds: &[String], folder: &Path) -> Result<Process> {
    let mut command = Command::new(&binaries.simulator);
    command.args(worlds).stdin(Stdio::null());
    let ready = folder.join("simulator.json");
    Process::start(command.arg("--ready-file").arg(&ready), &ready)
}
