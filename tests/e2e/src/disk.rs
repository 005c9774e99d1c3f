//! A disk that can be full.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// A file system in memory, of a few megabytes. Unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one, for the user who owns `like`. An error where this process may not mount.
    pub fn mount(folder: &Path, mebibytes: u32, like: &Path) -> anyhow::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let owner = like.metadata()?;
        std::fs::create_dir_all(folder)?;
        let options = format!("size={mebibytes}m,mode=700,uid={},gid={}", owner.uid(), owner.gid());
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).output()?;
        // Made only now, so that nothing is unmounted that was not mounted.
        ensure!(mount.status.success(), "no mount: {}", String::from_utf8_lossy(&mount.stderr));
        let disk = Self { folder: folder.to_owned() };
        std::fs::create_dir(disk.space())?;
        std::os::unix::fs::chown(disk.space(), Some(owner.uid()), Some(owner.gid()))?;
        Ok(disk)
    }

    /// An empty folder on it.
    pub fn space(&self) -> PathBuf {
        self.folder.join("space")
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Takes all that is left.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut file = File::create(self.filler())?;
        // In pages, as everybody else takes them.
        loop {
            match file.write_all(&[1; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).context("filling the disk"),
            }
        }
    }

    /// Gives back what was taken.
    pub fn free(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.filler())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, as the server may still have files open on it.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
        let _ = std::fs::remove_dir(&self.folder);
    }
}
