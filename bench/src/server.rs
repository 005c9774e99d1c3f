//! The PostgreSQL server the benchmarks use, by its own client programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Where it is and which process it is.
#[derive(Debug)]
pub(crate) struct Server {
    address: String,
    pub(crate) pid: u32,
    programs: Option<PathBuf>,
}

impl Server {
    pub(crate) fn new(address: String, pid: u32, programs: Option<PathBuf>) -> Result<Self> {
        if !address.contains("ROLE") || !address.contains("DATABASE") {
            bail!("the server's address has no place for ROLE and DATABASE: {address}");
        }
        Ok(Self { address, pid, programs })
    }

    /// A connection URL.
    pub(crate) fn url(&self, role: &str, database: &str) -> String {
        self.address.replace("ROLE", role).replace("DATABASE", database)
    }

    /// A client program of PostgreSQL: beside the server's, else on the path.
    pub(crate) fn program(&self, name: &str) -> Command {
        let beside = self.programs.as_deref().map(|directory: &Path| directory.join(name));
        Command::new(beside.filter(|program| program.is_file()).unwrap_or_else(|| name.into()))
    }

    /// `psql` as the administrator, silent but for errors and rows.
    pub(crate) fn psql(&self, database: &str) -> Command {
        let mut command = self.program("psql");
        command.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &self.url("postgres", database),
        ]);
        command.stdin(Stdio::null());
        command
    }

    /// Runs one statement; its rows, columns parted by `|`.
    pub(crate) fn query(&self, database: &str, sql: &str) -> Result<Vec<String>> {
        let text = output(self.psql(database).args(["-c", sql]))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    pub(crate) fn version(&self) -> Result<String> {
        let rows = self.query("postgres", "select 'PostgreSQL ' || current_setting('server_version')")?;
        rows.into_iter().next().context("the server tells no version")
    }

    /// An empty database of that name, whatever was there.
    pub(crate) fn recreate(&self, database: &str) -> Result<()> {
        self.drop(database)?;
        self.query("postgres", &format!("create database {database}")).map(drop)
    }

    pub(crate) fn drop(&self, database: &str) -> Result<()> {
        self.query("postgres", &format!("drop database if exists {database} with (force)")).map(drop)
    }

    /// So that what was written before is not written to disk while the next thing is measured.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        self.query("postgres", "checkpoint").map(drop)
    }
}

/// Runs a program to its end; what it printed, or an error with what it complained about.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let name = name.rsplit('/').next().unwrap_or_default().to_owned();
    let output = command.output().with_context(|| format!("cannot run {name}; is it installed?"))?;
    if !output.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8(output.stdout)?)
}
