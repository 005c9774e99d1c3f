//! Debian's packages.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use super::announce;
use crate::process::run_quietly;
use crate::workspace::on_path;

/// Installs packages without starting their services.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    if !private_postgres::is_root()? {
        bail!("needs root");
    }
    if on_path("apt-get").is_none() {
        bail!("there is no apt-get");
    }
    update()?;
    announce(&packages.join(", "), "apt");
    let _no_services = NoServices::declare()?;
    run_quietly(apt_get().args(["install", "-y", "--no-install-recommends"]).args(packages))
}

/// Refreshes the package lists once per run: on a new machine they are old or missing.
fn update() -> Result<()> {
    static UPDATED: OnceLock<()> = OnceLock::new();
    if UPDATED.get().is_none() {
        run_quietly(apt_get().arg("update"))?;
        UPDATED.get_or_init(|| ());
    }
    Ok(())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-qq", "-o", "DPkg::Lock::Timeout=300"]).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// While it lives, packages being installed start no service: the tests bring servers of their own.
struct NoServices {
    file: Option<&'static Path>,
}

impl NoServices {
    fn declare() -> Result<NoServices> {
        let file = Path::new("/usr/sbin/policy-rc.d");
        if file.exists() {
            return Ok(NoServices { file: None });
        }
        // 101 means "not allowed" to those who ask.
        fs::write(file, "#!/bin/sh\nexit 101\n").context("cannot keep services from starting")?;
        let guard = NoServices { file: Some(file) };
        fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
        Ok(guard)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(file) = self.file {
            let _ = fs::remove_file(file);
        }
    }
}
