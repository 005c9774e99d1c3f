//! Which user the server runs as: PostgreSQL refuses to run as root.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The user of a server process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunAs {
    CurrentUser,
    /// Only root can choose.
    Other {
        uid: u32,
        gid: u32,
    },
}

impl RunAs {
    /// The current user, or for root: who owns `cluster` already, else `postgres`, else `nobody`.
    pub(crate) fn for_cluster(cluster: &Path) -> Result<RunAs> {
        if !is_root()? {
            return Ok(RunAs::CurrentUser);
        }
        if let Ok(metadata) = fs::metadata(cluster)
            && metadata.uid() != 0
        {
            return Ok(RunAs::Other { uid: metadata.uid(), gid: metadata.gid() });
        }
        for user in ["postgres", "nobody"] {
            if let (Ok(uid), Ok(gid)) = (id(&["-u", user]), id(&["-g", user])) {
                return Ok(RunAs::Other { uid, gid });
            }
        }
        bail!("PostgreSQL does not run as root, and this machine has neither a user `postgres` nor `nobody`")
    }

    /// Makes `command` run as this user, with an almost empty environment, in `/`.
    pub(crate) fn apply(self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .current_dir("/");
        if let RunAs::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
    }

    /// Gives a file or directory to this user; not what is in it.
    pub(crate) fn own(self, path: &Path) -> Result<()> {
        if let RunAs::Other { uid, gid } = self {
            std::os::unix::fs::chown(path, Some(uid), Some(gid))
                .with_context(|| format!("cannot give {} to user {uid}", path.display()))?;
        }
        Ok(())
    }

    /// Fails when this user cannot enter `directory`, naming the directory that stops them.
    pub(crate) fn check_can_enter(self, directory: &Path) -> Result<()> {
        let RunAs::Other { uid, .. } = self else {
            return Ok(());
        };
        let mut ancestors: Vec<&OsStr> = directory.ancestors().map(Path::as_os_str).collect();
        ancestors.reverse();
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(r#"for d in "$@"; do test -x "$d" || { printf %s "$d"; exit 1; }; done"#)
            .arg("check")
            .args(ancestors)
            .stdin(Stdio::null());
        self.apply(&mut command);
        let output = command.output().context("cannot run /bin/sh")?;
        if !output.status.success() {
            bail!(
                "PostgreSQL runs as user {uid} here, because it refuses to run as root, and that user cannot \
                 enter {}.\nAllow it (`chmod o+x`), or choose a place outside of it for {}",
                String::from_utf8_lossy(&output.stdout),
                directory.display()
            );
        }
        Ok(())
    }
}

/// Whether this process may install packages and choose the user of a server.
pub fn is_root() -> Result<bool> {
    Ok(id(&["-u"])? == 0)
}

/// Asks `id`, which knows every user directory the machine is configured for.
fn id(arguments: &[&str]) -> Result<u32> {
    let output = Command::new("id").args(arguments).output().context("cannot run `id`")?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim().parse().with_context(|| format!("`id {}` did not print a number", arguments.join(" ")))
}
