//! Finding the PostgreSQL server programs.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest major version that Patchbay's schema runs on.
pub const OLDEST_MAJOR: u32 = 15;

/// A directory with `initdb` and `postgres`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The directory itself, with symbolic links resolved.
    pub dir: PathBuf,
    /// What `postgres --version` says, such as `15.18`.
    pub version: String,
}

impl Binaries {
    /// The part of the version that decides which data directories can be opened.
    pub fn major(&self) -> &str {
        let end = self.version.find(|c: char| !c.is_ascii_digit());
        &self.version[..end.unwrap_or(self.version.len())]
    }
}

/// No usable server programs were found; the text says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFound {
    rejected: Vec<String>,
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "found no PostgreSQL server programs (`initdb` and `postgres`, version {OLDEST_MAJOR} or newer)."
        )?;
        for reason in &self.rejected {
            writeln!(f, "  {reason}")?;
        }
        write!(
            f,
            "Do one of these:\n  \
             - install the distribution's server package, such as `apt-get install postgresql`\n  \
             - unpack a binary package and set PATCHBAY_PG_BIN to its bin directory\n  \
             - set PATCHBAY_DATABASE_URL to a PostgreSQL that already runs"
        )
    }
}

impl std::error::Error for NotFound {}

/// Finds the server programs.
///
/// `explicit`, and then the directory in `PATCHBAY_PG_BIN`, is used or refused: there is no falling
/// back from a directory that somebody chose. Without either: `PATH`, the places of Debian and Red
/// Hat (newest version first), Homebrew and Postgres.app.
pub fn find_binaries(explicit: Option<&Path>) -> Result<Binaries, NotFound> {
    let chosen = explicit
        .map(Path::to_path_buf)
        .or_else(|| env::var_os("PATCHBAY_PG_BIN").filter(|value| !value.is_empty()).map(PathBuf::from));
    if let Some(dir) = chosen {
        return inspect(&dir).map_err(|reason| NotFound { rejected: vec![reason] });
    }
    let mut candidates = on_path(env::var_os("PATH"));
    candidates.extend(well_known_places());
    first_usable(&candidates)
}

fn first_usable(candidates: &[PathBuf]) -> Result<Binaries, NotFound> {
    let mut rejected = Vec::new();
    for dir in candidates {
        match inspect(dir) {
            Ok(binaries) => return Ok(binaries),
            Err(reason) => rejected.push(reason),
        }
    }
    Err(NotFound { rejected })
}

/// Directories of `PATH` that hold a `postgres`, after following the link that `postgres` may be.
fn on_path(path: Option<OsString>) -> Vec<PathBuf> {
    let path = path.unwrap_or_default();
    env::split_paths(&path)
        .filter_map(|dir| fs::canonicalize(dir.join("postgres")).ok())
        .filter_map(|program| program.parent().map(Path::to_path_buf))
        .collect()
}

fn well_known_places() -> Vec<PathBuf> {
    let mut places = newest_first("/usr/lib/postgresql", "", "bin");
    places.extend(newest_first("/usr", "pgsql-", "bin"));
    for homebrew in ["/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"] {
        places.extend(newest_first(homebrew, "postgresql@", "bin"));
    }
    places.extend(newest_first("/Applications/Postgres.app/Contents/Versions", "", "bin"));
    places
}

/// `<parent>/<prefix><number>/<below>` for every directory of that form, highest number first.
fn newest_first(parent: &str, prefix: &str, below: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let number = name.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path().join(below)))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, dir)| dir).collect()
}

/// Accepts a directory, or says why not.
fn inspect(dir: &Path) -> Result<Binaries, String> {
    let shown = dir.display();
    for program in ["initdb", "postgres"] {
        if !dir.join(program).is_file() {
            return Err(format!("{shown} has no `{program}`"));
        }
    }
    let dir = fs::canonicalize(dir).map_err(|error| format!("{shown}: {error}"))?;
    let output = Command::new(dir.join("postgres"))
        .arg("--version")
        .output()
        .map_err(|error| format!("{shown}/postgres does not run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let Some(version) = version_in(&said).filter(|_| output.status.success()) else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{shown}/postgres does not run: {}", complaint.trim()));
    };
    let binaries = Binaries { dir, version };
    match binaries.major().parse::<u32>() {
        Ok(major) if major >= OLDEST_MAJOR => Ok(binaries),
        _ => Err(format!("{shown} is PostgreSQL {}, which is too old", binaries.version)),
    }
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` → `15.18`
fn version_in(said: &str) -> Option<String> {
    let version = said.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A directory whose `postgres` is a script that claims to be `version`.
    fn fake_binaries(parent: &Path, name: &str, version: &str) -> PathBuf {
        let dir = parent.join(name);
        fs::create_dir_all(&dir).unwrap();
        for program in ["initdb", "postgres"] {
            let script = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version} (Fake)'\n");
            fs::write(dir.join(program), script).unwrap();
            fs::set_permissions(dir.join(program), fs::Permissions::from_mode(0o755)).unwrap();
        }
        dir
    }

    #[test]
    fn a_version_that_is_too_old_is_passed_over() {
        let temp = tempfile::tempdir().unwrap();
        let old = fake_binaries(temp.path(), "old", "13.4");
        let new = fake_binaries(temp.path(), "new", "17.6");
        let found = first_usable(&[old, new.clone()]).unwrap();
        assert_eq!(found.version, "17.6");
        assert_eq!(found.major(), "17");
        assert_eq!(found.dir, fs::canonicalize(new).unwrap());
    }

    #[test]
    fn a_link_on_the_path_leads_to_the_directory_with_all_programs() {
        let temp = tempfile::tempdir().unwrap();
        let real = fake_binaries(temp.path(), "real", "16.1");
        let linked = temp.path().join("linked");
        fs::create_dir(&linked).unwrap();
        symlink(real.join("postgres"), linked.join("postgres")).unwrap();
        let candidates = on_path(Some(linked.into_os_string()));
        assert_eq!(candidates, [fs::canonicalize(real).unwrap()]);
    }

    #[test]
    fn a_chosen_directory_without_the_programs_is_refused_with_the_remedies() {
        let temp = tempfile::tempdir().unwrap();
        let error = find_binaries(Some(temp.path())).unwrap_err().to_string();
        for part in
            ["has no `initdb`", "apt-get install postgresql", "PATCHBAY_PG_BIN", "PATCHBAY_DATABASE_URL"]
        {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
    }

    #[test]
    fn a_program_that_does_not_run_is_refused_with_its_complaint() {
        let temp = tempfile::tempdir().unwrap();
        let dir = fake_binaries(temp.path(), "broken", "16.1");
        fs::write(dir.join("postgres"), "#!/bin/sh\necho 'no libicu' >&2; exit 127\n").unwrap();
        let error = first_usable(&[dir]).unwrap_err().to_string();
        assert!(error.contains("does not run: no libicu"), "{error}");
    }

    #[test]
    fn a_beta_has_a_major_version_too() {
        let version = version_in("postgres (PostgreSQL) 19beta1\n").unwrap();
        let binaries = Binaries { dir: PathBuf::new(), version };
        assert_eq!(binaries.major(), "19");
    }
}
