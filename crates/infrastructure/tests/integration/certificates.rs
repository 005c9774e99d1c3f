//! Certificates that last as long as a test: of an authority, of a server it vouches for, and of a stranger's authority.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// What openssl is told: authorities, and a server that is known by certain names.
const REQUESTS: &str = "[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
basicConstraints = CA:FALSE
subjectAltName = $ENV::NAMES
extendedKeyUsage = serverAuth
";

/// `authority.pem`, `stranger.pem`, `server.pem` and `server.key` in a folder.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    /// For a server of these names, as openssl writes them; `None`, with the reason printed, where openssl is missing.
    pub(crate) fn make(names: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let path = folder.path();
        std::fs::write(path.join("requests"), REQUESTS).unwrap();
        let made = certificate(path, "authority", "authority", None, names)
            && certificate(path, "stranger", "authority", None, names)
            && certificate(path, "server", "server", Some("authority"), names);
        if !made {
            println!("skipped: the program openssl is missing");
            return None;
        }
        Some(Self(folder))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.file(name)).unwrap()
    }
}

/// `false` when the program is not there.
fn certificate(folder: &Path, name: &str, kind: &str, signed_by: Option<&str>, names: &str) -> bool {
    let mut command = Command::new("openssl");
    command.current_dir(folder).env("NAMES", names).args([
        "req",
        "-x509",
        "-config",
        "requests",
        "-extensions",
        kind,
        "-nodes",
    ]);
    command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]);
    command.args(["-subj", &format!("/CN={name}"), "-keyout", &format!("{name}.key"), "-out"]);
    command.arg(format!("{name}.pem"));
    if let Some(by) = signed_by {
        command.args(["-CA", &format!("{by}.pem"), "-CAkey", &format!("{by}.key")]);
    }
    match command.stdin(Stdio::null()).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            true
        }
        Err(_) => false,
    }
}
