//! The directory a private cluster lives in: who may use it, and by which process it is used.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result, bail};

use crate::run_as::{self, RunAs};

/// Room for the socket's name and the shortest limit among systems (104 bytes on macOS).
const LONGEST_RUN_DIR: usize = 103 - "/.s.PGSQL.5432".len();

/// Where a cluster called `name` lives unless somebody says otherwise.
///
/// `/var/lib/patchbay/<name>` for root, whose home the server's user could not enter; else
/// `patchbay/<name>` in the user's data directory.
pub fn default_data_dir(name: &str) -> Result<PathBuf> {
    if run_as::is_root()? {
        return Ok(Path::new("/var/lib/patchbay").join(name));
    }
    let absolute = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .context("neither XDG_DATA_HOME nor HOME is set, so there is no place for a data directory")?;
    Ok(base.join("patchbay").join(name))
}

/// A data directory, held by this process alone.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    run_as: RunAs,
    // Released by the kernel when this process ends.
    _lock: File,
}

impl DataDir {
    /// Creates the directory where needed and takes it; fails when another process has it.
    pub(crate) fn open(path: &Path) -> Result<DataDir> {
        let path = std::path::absolute(path)?;
        let run_as = RunAs::for_cluster(&path.join("cluster"))?;
        create(&path, run_as)?;
        let path = fs::canonicalize(&path)?;
        if !path.join("lock").exists() && holds_something(&path)? {
            bail!("{} holds something else: a private cluster needs a directory of its own", path.display());
        }
        let lock = take_lock(&path)?;
        run_as.own(&path)?;
        Ok(DataDir { path, run_as, _lock: lock })
    }

    pub(crate) fn run_as(&self) -> RunAs {
        self.run_as
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What PostgreSQL calls its data directory. It exists once `initdb` has finished.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.path.join("cluster")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("server.log")
    }

    /// A new, empty place for `initdb` to work in; what a killed one left behind is removed.
    pub(crate) fn fresh_cluster(&self) -> Result<PathBuf> {
        for entry in fs::read_dir(&self.path)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("initializing-") {
                // An orphaned initdb may still be writing there; it fails, and the next start tidies.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(self.path.join(format!("initializing-{}", process::id())))
    }

    /// A new directory for the socket, short enough, and whether it is a temporary one elsewhere.
    pub(crate) fn fresh_run_dir(&self) -> Result<(PathBuf, bool)> {
        let near = self.path.join("run");
        // libpq reads a comma in a host as the end of it.
        let reachable = |path: &str| path.len() <= LONGEST_RUN_DIR && !path.contains(',');
        if near.to_str().is_some_and(reachable) {
            if near.exists() {
                fs::remove_dir_all(&near).with_context(|| format!("cannot clear {}", near.display()))?;
            }
            self.create_private(&near)?;
            return Ok((near, false));
        }
        for attempt in 0..100 {
            let short = PathBuf::from(format!("/tmp/patchbay-{}-{attempt}", process::id()));
            // Never an existing directory: somebody else may have put it there.
            if !short.exists() && self.create_private(&short).is_ok() {
                return Ok((short, true));
            }
        }
        bail!("cannot create a directory for the socket in /tmp")
    }

    fn create_private(&self, directory: &Path) -> Result<()> {
        DirBuilder::new()
            .mode(0o700)
            .create(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        self.run_as.own(directory)
    }
}

/// Creates the directory closed to others, and its parents so that the server's user can pass.
fn create(path: &Path, run_as: RunAs) -> Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    for directory in missing.into_iter().rev() {
        let created = fs::create_dir(directory);
        if let Err(error) = created
            && !directory.is_dir()
        {
            return Err(error).with_context(|| format!("cannot create {}", directory.display()));
        }
        let mode = if directory == path { 0o700 } else { 0o755 };
        if directory == path || run_as != RunAs::CurrentUser {
            fs::set_permissions(directory, Permissions::from_mode(mode))?;
        }
    }
    run_as.check_can_enter(path.parent().unwrap_or(path))
}

/// Whether somebody else's files are in `directory`; a mounted volume comes with `lost+found`.
fn holds_something(directory: &Path) -> Result<bool> {
    let names = fs::read_dir(directory)?.flatten().map(|entry| entry.file_name());
    Ok(names.into_iter().any(|name| name != "lost+found"))
}

fn take_lock(path: &Path) -> Result<File> {
    let file = path.join("lock");
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&file)
        .with_context(|| format!("cannot open {}; does another user own it?", file.display()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            lock.read_to_string(&mut holder)?;
            bail!("the data directory {} is already used by process {}", path.display(), holder.trim());
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", file.display()));
        }
    }
    lock.set_len(0)?;
    writeln!(lock, "{}", process::id())?;
    Ok(lock)
}
