//! Python environments of their own, for programs of others that the end-to-end tests run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use super::{Attempts, announce, apt};
use crate::process::run_quietly;
use crate::workspace::{Workspace, on_path};

/// Makes `target/<name>` from the versions in `tests/e2e/<name>.txt`, and returns its folder of programs. Installed
/// again only when the versions have changed.
pub(crate) fn ensure(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let list = workspace.root.join("tests/e2e").join(name).with_extension("txt");
    let wanted = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let environment = workspace.target.join(name);
    let (programs, installed) = (environment.join("bin"), environment.join("installed.txt"));
    if programs.is_dir() && fs::read_to_string(&installed).is_ok_and(|had| had == wanted) {
        return Ok(programs);
    }
    let mut attempts = Attempts::default();
    let made = attempts.note("python3 -m venv", make(&environment)).or_else(|| {
        let by_apt = apt::install(&["python3", "python3-venv"]).and_then(|()| make(&environment));
        attempts.note("apt", by_apt)
    });
    if made.is_none() {
        return Err(anyhow!(
            "Python 3.10 or later with venv is needed, such as from `apt-get install python3-venv`{}",
            attempts.told()
        ));
    }
    announce(name, "PyPI");
    run_quietly(
        Command::new(environment.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--only-binary=:all:", "--requirement"])
            .arg(&list),
    )?;
    fs::write(installed, wanted)?;
    Ok(programs)
}

fn make(environment: &Path) -> Result<()> {
    if on_path("python3").is_none() {
        bail!("there is no python3");
    }
    run_quietly(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment))
}
