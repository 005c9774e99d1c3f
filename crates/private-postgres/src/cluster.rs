//! Starting, reaching and stopping the private cluster.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::binaries::Binaries;
use crate::data_dir::DataDir;
use crate::server_process::wait_for_orphans;
use crate::supervised::{self, Launch, Supervised};

/// Names the socket file; nothing listens on a TCP port.
const PORT: u16 = 5432;

/// What a part of a URL must not hold as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// Recovery after a crash can take a while; an empty cluster is ready in well under a second.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// How long the memory of a server that was killed may stand in the way of the next one.
const LEFTOVER_TIMEOUT: Duration = Duration::from_secs(15);

/// What a power cut may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: what was committed is on disk.
    Safe,
    /// Everything: nothing is forced to disk. For tests only.
    Fast,
}

/// How to run a private cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// A directory of the cluster's own; created when missing.
    pub data_dir: PathBuf,
    /// The server programs; their major version must be the one the cluster was made with.
    pub binaries: Binaries,
    /// What a power cut may cost.
    pub durability: Durability,
    /// The server's `max_connections`.
    pub max_connections: u16,
    /// More server settings, name and value.
    pub extra: Vec<(String, String)>,
}

/// A running private cluster. It stops when this is dropped or this process ends.
#[derive(Debug)]
pub struct Cluster {
    // Before the directory: the server must be gone when another process may take its place.
    server: Supervised,
    socket_dir: PathBuf,
    _data_dir: DataDir,
}

impl Cluster {
    /// Starts the cluster, making it first where there is none, and waits until it takes queries.
    ///
    /// Blocks; an existing cluster takes a fraction of a second. Fails when another process uses the
    /// directory, when the programs have another major version than the cluster, and when the server
    /// does not start, with the end of its log.
    pub fn start(options: Options) -> Result<Cluster> {
        let Options { data_dir, binaries, durability, max_connections, extra } = options;
        check_version(&data_dir.join("cluster"), &binaries)?;
        let data_dir = DataDir::open(&data_dir)?;
        data_dir.run_as().check_can_enter(&binaries.dir)?;
        let cluster = data_dir.cluster();
        wait_for_orphans(&cluster)?;
        if !cluster.exists() {
            initialise(&data_dir, &binaries, durability)?;
        }
        check_version(&cluster, &binaries)?;

        let settings = settings(durability, max_connections, extra);
        let started = Instant::now();
        loop {
            let (socket_dir, temporary) = data_dir.fresh_run_dir()?;
            let launch = Launch {
                program: binaries.dir.join("postgres"),
                arguments: arguments(&cluster, &socket_dir, &settings),
                log: data_dir.log(),
            };
            let scratch = temporary.then_some(socket_dir.as_path());
            let mut server = supervised::start(&launch, data_dir.run_as(), scratch)?;
            let Err(error) = wait_until_ready(&mut server, &socket_dir) else {
                return Ok(Cluster { server, socket_dir, _data_dir: data_dir });
            };
            if !in_the_way(&error.to_string()) || started.elapsed() > LEFTOVER_TIMEOUT {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// The directory of the unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The number in the socket file's name. There is no TCP port.
    pub fn port(&self) -> u16 {
        PORT
    }

    /// A connection URL that libpq and sqlx understand. Nobody is asked for a password: who can
    /// reach the socket is let in.
    pub fn url(&self, user: &str, database: &str) -> String {
        let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        // The host in the query replaces `localhost`, which URL parsers want to see there.
        format!(
            "postgres://{}@localhost:{PORT}/{}?host={}",
            encode(user),
            encode(database),
            encode(&self.socket_dir.to_string_lossy())
        )
    }

    /// Disconnects everybody, stops the server and waits until it is gone.
    pub fn stop(self) -> Result<()> {
        self.server.stop()
    }
}

/// A cluster can only be opened by programs of its own major version.
fn check_version(cluster: &Path, binaries: &Binaries) -> Result<()> {
    let Ok(made_with) = fs::read_to_string(cluster.join("PG_VERSION")) else {
        return Ok(());
    };
    let made_with = made_with.trim();
    if made_with != binaries.major() {
        bail!(
            "{} was made by PostgreSQL {made_with} and cannot be opened by {} ({}).\n\
             Set PATCHBAY_PG_BIN to the programs of version {made_with}, or upgrade the data with \
             pg_upgrade, or move the directory away to start empty",
            cluster.display(),
            binaries.version,
            binaries.dir.display()
        );
    }
    Ok(())
}

/// Makes the cluster beside its place and moves it there, so that a half-made one is never used.
fn initialise(data_dir: &DataDir, binaries: &Binaries, durability: Durability) -> Result<()> {
    let fresh = data_dir.fresh_cluster()?;
    let mut command = Command::new(binaries.dir.join("initdb"));
    command
        .args(["-U", "postgres", "-E", "UTF8", "--locale=C", "--data-checksums"])
        .args(["--auth-local=trust", "--auth-host=reject"])
        .arg("-D")
        .arg(&fresh)
        .stdin(Stdio::null());
    if durability == Durability::Fast {
        command.arg("--no-sync");
    }
    data_dir.run_as().apply(&mut command);
    let output = command.output().context("cannot run initdb")?;
    if !output.status.success() {
        bail!(
            "initdb could not make a cluster in {}:\n{}{}",
            data_dir.path().display(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    fs::rename(&fresh, data_dir.cluster()).context("cannot move the new cluster to its place")?;
    File::open(data_dir.path())?.sync_all()?;
    Ok(())
}

fn settings(
    durability: Durability,
    max_connections: u16,
    extra: Vec<(String, String)>,
) -> Vec<(String, String)> {
    let mut settings = vec![
        ("max_connections".to_owned(), max_connections.to_string()),
        ("timezone".to_owned(), "UTC".to_owned()),
        ("log_timezone".to_owned(), "UTC".to_owned()),
    ];
    if durability == Durability::Fast {
        for name in ["fsync", "synchronous_commit", "full_page_writes"] {
            settings.push((name.to_owned(), "off".to_owned()));
        }
    }
    settings.extend(extra);
    settings
}

fn arguments(cluster: &Path, socket_dir: &Path, settings: &[(String, String)]) -> Vec<OsString> {
    let mut arguments = vec![OsString::from("-D"), cluster.into()];
    // A list of directories in PostgreSQL's eyes, so quoted against commas and spaces in the name.
    let quoted = socket_dir.to_string_lossy().replace('"', "\"\"");
    let reach = [
        "listen_addresses=".to_owned(),
        format!("port={PORT}"),
        format!("unix_socket_directories=\"{quoted}\""),
        "unix_socket_permissions=0770".to_owned(),
    ];
    let settings = settings.iter().map(|(name, value)| format!("{name}={value}"));
    for setting in reach.into_iter().chain(settings) {
        arguments.push("-c".into());
        arguments.push(setting.into());
    }
    arguments
}

/// Whether the server gave up because a killed one before it has not quite gone.
fn in_the_way(log: &str) -> bool {
    log.contains("pre-existing shared memory block")
        || log.contains("lock file \"postmaster.pid\" already exists")
}

fn wait_until_ready(server: &mut Supervised, socket_dir: &Path) -> Result<()> {
    let socket = socket_dir.join(format!(".s.PGSQL.{PORT}"));
    let started = Instant::now();
    loop {
        if lets_in(&socket) {
            return Ok(());
        }
        if let Some(status) = server.exit_status()? {
            bail!("PostgreSQL did not start ({status}); its log ends with:\n{}", server.log_tail());
        }
        if started.elapsed() > READY_TIMEOUT {
            bail!(
                "PostgreSQL was not ready after {READY_TIMEOUT:?}; its log ends with:\n{}",
                server.log_tail()
            );
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Logs in by hand: while a server recovers it listens already, but turns everybody away.
fn lets_in(socket: &Path) -> bool {
    const PROTOCOL_3: [u8; 4] = [0, 3, 0, 0];
    const WHO: &[u8] = b"user\0postgres\0database\0postgres\0\0";
    let attempt = || -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let length = u32::try_from(4 + PROTOCOL_3.len() + WHO.len()).expect("a few dozen bytes");
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(&PROTOCOL_3)?;
        stream.write_all(WHO)?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        if answer != *b"R" {
            return Ok(false);
        }
        // Terminate, so that no line about a lost connection gets into the log.
        stream.write_all(b"X\0\0\0\x04")?;
        Ok(true)
    };
    attempt().unwrap_or(false)
}
