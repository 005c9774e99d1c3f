//! The private servers and tools that tests are told about.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use private_postgres::{Cluster, Durability, Launch, Options, Supervised, default_data_dir, is_root};

use super::{Node, node_program};
use crate::provision::{postgres, python, redis, schemathesis};
use crate::workspace::Workspace;

/// Running servers of one test run, and installed clients. They stop when this is dropped, or this
/// process is killed.
#[derive(Debug)]
pub(super) struct Services {
    cluster: Cluster,
    cluster_dir: PathBuf,
    redis: Supervised,
    redis_dir: PathBuf,
    redis_port: u16,
    /// `redis-server`.
    pub(super) redis_program: PathBuf,
    /// `st`; without it its test says so and does nothing.
    pub(super) schemathesis: Option<PathBuf>,
    /// Node.js itself.
    pub(super) node: PathBuf,
    /// The directory where Node.js finds the MCP client's packages.
    pub(super) mcp_client: PathBuf,
    /// The directory where Node.js finds the authorization server.
    pub(super) oidc_provider: PathBuf,
    /// The directory where Node.js finds Prism; without it its tests say so and do nothing.
    pub(super) prism: Option<PathBuf>,
    /// The directory where Node.js finds a GitHub written by others; without it its test says so and does nothing.
    pub(super) emulate: Option<PathBuf>,
    /// The directory where Node.js finds the conformance suite and further MCP clients; without it their tests say so
    /// and do nothing.
    pub(super) mcp_suite: Option<PathBuf>,
    /// A Python that has the official MCP client; without it its test says so and does nothing.
    pub(super) mcp_python: Option<PathBuf>,
    /// Where `initdb` and `postgres` are.
    pub(super) postgres_programs: PathBuf,
}

impl Services {
    pub(super) fn start(workspace: &Workspace) -> Result<Services> {
        let binaries = postgres::ensure(workspace)?;
        let redis_program = redis::ensure(workspace)?;
        let schemathesis = schemathesis::ensure(workspace)
            .inspect_err(|error| println!("requests are not generated from the description: {error:#}"))
            .ok();
        let node = Node::ensure(workspace)?;
        let mcp_client = node_program::install(workspace, &node, "mcp-client")?;
        let oidc_provider = node_program::install(workspace, &node, "oidc-provider")?;
        let prism = node_program::install(workspace, &node, "prism")
            .inspect_err(|error| println!("requests are not judged by the trackers' descriptions: {error:#}"))
            .ok();
        let emulate = node_program::install(workspace, &node, "emulate")
            .inspect_err(|error| {
                println!("GitHub's adapter does not meet a GitHub written by others: {error:#}");
            })
            .ok();
        let mcp_suite = node_program::install(workspace, &node, "mcp-suite")
            .inspect_err(|error| println!("the MCP conformance suite and inspector do not run: {error:#}"))
            .ok();
        let mcp_python = python::ensure(workspace, "mcp-python")
            .map(|programs| programs.join("python"))
            .inspect_err(|error| println!("the Python MCP client does not run: {error:#}"))
            .ok();

        let postgres_programs = binaries.dir.clone();
        let cluster_dir = own_directory(&cluster_parent(workspace)?)?;
        let cluster = Cluster::start(Options {
            data_dir: cluster_dir.clone(),
            binaries,
            durability: Durability::Fast,
            max_connections: 400,
            extra: Vec::new(),
        })?;
        let redis_dir = own_directory(&workspace.target.join("test-redis"))?;
        let (redis, redis_port) = start_redis(&redis_program, &redis_dir)?;
        Ok(Services {
            cluster,
            cluster_dir,
            redis,
            redis_dir,
            redis_port,
            redis_program,
            schemathesis,
            node: node.node,
            mcp_client,
            oidc_provider,
            prism,
            emulate,
            mcp_suite,
            mcp_python,
            postgres_programs,
        })
    }

    /// A superuser's.
    pub(super) fn database_url(&self) -> String {
        self.cluster.url("postgres", "postgres")
    }

    pub(super) fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.redis_port)
    }

    /// Stops the servers and removes what they stored.
    pub(super) fn stop(self) -> Result<()> {
        self.redis.stop()?;
        self.cluster.stop()?;
        for directory in [self.cluster_dir, self.redis_dir] {
            fs::remove_dir_all(&directory)
                .with_context(|| format!("cannot remove {}", directory.display()))?;
        }
        Ok(())
    }
}

/// As root the server runs as another user, who may not be able to enter the checkout.
fn cluster_parent(workspace: &Workspace) -> Result<PathBuf> {
    if is_root()? {
        return default_data_dir("test");
    }
    Ok(workspace.target.join("test-postgres"))
}

/// A new directory below `parent` for this run; those of runs that were killed are removed.
fn own_directory(parent: &Path) -> Result<PathBuf> {
    for entry in parent.read_dir().into_iter().flatten().flatten() {
        // A run that goes on holds the lock of its cluster.
        let lock = File::open(entry.path().join("lock"));
        let in_use = lock.is_ok_and(|file| file.try_lock().is_err());
        let owner = entry.file_name().to_string_lossy().into_owned();
        if !in_use && !Path::new("/proc").join(owner).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let directory = parent.join(process::id().to_string());
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    Ok(directory)
}

fn start_redis(program: &Path, directory: &Path) -> Result<(Supervised, u16)> {
    fs::create_dir_all(directory)?;
    // Somebody else may take the port between our look and the server's start.
    for _ in 0..3 {
        let port = free_port()?;
        let arguments = [
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            &directory.to_string_lossy(),
        ];
        let mut server = Supervised::start(&Launch {
            program: program.to_path_buf(),
            arguments: arguments.map(Into::into).to_vec(),
            log: directory.join("server.log"),
        })?;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) && server.exit_status()?.is_none() {
            if answers(port) {
                return Ok((server, port));
            }
            thread::sleep(Duration::from_millis(20));
        }
        let tail = server.log_tail();
        if !tail.contains("Address already in use") {
            bail!("{} did not start; its log ends with:\n{tail}", program.display());
        }
    }
    bail!("found no free port for Redis")
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn answers(port: u16) -> bool {
    let attempt = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"+PONG")
    };
    attempt().unwrap_or(false)
}
