//! The private cluster, with real servers.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what the tests share may give up as they do")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use patchbay_private_postgres::{Binaries, Cluster, Durability, Options, find_binaries};
use tempfile::TempDir;

/// A directory that the server's user can enter too.
fn temp_dir() -> TempDir {
    tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .expect("the temporary directory is writable")
}

fn binaries() -> Binaries {
    find_binaries(None).unwrap_or_else(|hint| panic!("these tests need a PostgreSQL server: {hint}"))
}

fn options(data_dir: &Path) -> Options {
    Options {
        data_dir: data_dir.to_path_buf(),
        binaries: binaries(),
        durability: Durability::Fast,
        max_connections: 10,
        extra: vec![("application_name".to_owned(), "from the options".to_owned())],
    }
}

fn psql() -> Command {
    let beside_the_server = binaries().dir.join("psql");
    if beside_the_server.exists() {
        return Command::new(beside_the_server);
    }
    Command::new("psql")
}

/// Runs one statement over the cluster's URL, as any client would, and returns what it printed.
fn query(url: &str, statement: &str) -> String {
    let output = psql()
        .args([url, "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement])
        .output()
        .expect("psql comes with most packages of the server");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn server_process(data_dir: &Path) -> u32 {
    let file = fs::read_to_string(data_dir.join("cluster/postmaster.pid")).unwrap();
    file.lines().next().unwrap().trim().parse().unwrap()
}

fn is_alive(process: u32) -> bool {
    signal("-0", process)
}

fn signal(signal: &str, process: u32) -> bool {
    Command::new("/bin/sh")
        .args(["-c", "kill \"$1\" \"$2\" 2>/dev/null", "kill", signal, &process.to_string()])
        .status()
        .unwrap()
        .success()
}

fn wait_until_gone(process: u32) {
    let started = Instant::now();
    while is_alive(process) {
        assert!(started.elapsed() < Duration::from_secs(10), "process {process} is still there");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Another process that holds a cluster in `data_dir`, and its URL.
fn holder(data_dir: &Path) -> (Child, String) {
    let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/hold");
    let mut child = Command::new(program)
        .arg(data_dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("cargo builds examples along with tests");
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    assert!(!url.is_empty(), "the holder could not start its cluster");
    (child, url.trim().to_owned())
}

#[test]
fn data_survives_a_stop_and_a_start() {
    let temp = temp_dir();
    let data_dir = temp.path().join("a name, with 'quotes'");
    let cluster = Cluster::start(options(&data_dir)).unwrap();
    let url = cluster.url("postgres", "postgres");
    query(&url, "create table kept (x int); insert into kept values (42)");
    let process = server_process(&data_dir);
    cluster.stop().unwrap();
    assert!(!is_alive(process), "stop waits until the server is gone");

    let started = Instant::now();
    let cluster = Cluster::start(options(&data_dir)).unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
    assert_eq!(query(&url, "select x from kept"), "42");
    assert_eq!(query(&url, "show data_checksums"), "on");
    assert_eq!(query(&url, "show listen_addresses"), "");
    assert_eq!(query(&url, "show max_connections"), "10");
    assert_eq!(query(&url, "show fsync"), "off");
    cluster.stop().unwrap();
}

#[test]
fn safe_durability_leaves_the_servers_own_settings() {
    let temp = temp_dir();
    let data_dir = temp.path().join("data");
    let options = Options { durability: Durability::Safe, ..options(&data_dir) };
    let cluster = Cluster::start(options).unwrap();
    let url = cluster.url("postgres", "postgres");
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        assert_eq!(query(&url, &format!("show {setting}")), "on");
    }
}

#[test]
fn a_long_path_gets_a_short_socket_directory_that_is_removed_at_the_end() {
    let temp = temp_dir();
    let data_dir = temp.path().join("deep".repeat(30));
    let cluster = Cluster::start(options(&data_dir)).unwrap();
    let socket_dir = cluster.socket_dir().to_path_buf();
    assert!(socket_dir.as_os_str().len() < 80, "{}", socket_dir.display());
    assert_eq!(query(&cluster.url("postgres", "postgres"), "select 1"), "1");
    cluster.stop().unwrap();
    assert!(!socket_dir.exists(), "{} is left behind", socket_dir.display());
}

#[test]
fn the_server_goes_when_its_owner_is_killed_and_the_next_start_finds_the_data() {
    let temp = temp_dir();
    let data_dir = temp.path().join("data");
    let (mut owner, url) = holder(&data_dir);
    query(&url, "create table kept (x int); insert into kept values (42)");
    let process = server_process(&data_dir);
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until_gone(process);

    let cluster = Cluster::start(options(&data_dir)).unwrap();
    let url = cluster.url("postgres", "postgres");
    assert_eq!(query(&url, "select x from kept"), "42");
    let log = fs::read_to_string(data_dir.join("server.log")).unwrap();
    assert!(!log.contains("not properly shut down"), "{log}");
}

#[test]
fn a_start_right_after_the_owner_was_killed_waits_for_the_old_server() {
    let temp = temp_dir();
    let data_dir = temp.path().join("data");
    let (mut owner, _) = holder(&data_dir);
    owner.kill().unwrap();
    owner.wait().unwrap();
    let cluster = Cluster::start(options(&data_dir)).unwrap();
    assert_eq!(query(&cluster.url("postgres", "postgres"), "select 1"), "1");
}

#[test]
fn a_second_process_is_told_who_uses_the_directory() {
    let temp = temp_dir();
    let data_dir = temp.path().join("data");
    let (mut owner, url) = holder(&data_dir);
    let error = Cluster::start(options(&data_dir)).unwrap_err().to_string();
    assert!(error.contains(&format!("already used by process {}", owner.id())), "{error}");
    assert_eq!(query(&url, "select 1"), "1", "the first is not disturbed");
    let process = server_process(&data_dir);
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_until_gone(process);
}

#[test]
fn a_killed_server_can_be_started_again() {
    let temp = temp_dir();
    let data_dir = temp.path().join("data");
    let options = Options { durability: Durability::Safe, ..options(&data_dir) };
    let cluster = Cluster::start(options.clone()).unwrap();
    let url = cluster.url("postgres", "postgres");
    query(&url, "create table kept (x int); insert into kept values (42)");
    let process = server_process(&data_dir);
    assert!(signal("-KILL", process));
    wait_until_gone(process);
    drop(cluster);

    let cluster = Cluster::start(options).unwrap();
    assert_eq!(query(&cluster.url("postgres", "postgres"), "select x from kept"), "42");
}

#[test]
fn a_lock_file_with_the_number_of_another_live_process_is_survived() {
    let temp = temp_dir();
    let data_dir = temp.path().join("data");
    Cluster::start(options(&data_dir)).unwrap().stop().unwrap();
    // As after a restart of a container: the number now belongs to somebody else.
    let stale = format!("{}\n/nowhere\n0\n5432\n", std::process::id());
    fs::write(data_dir.join("cluster/postmaster.pid"), stale).unwrap();
    Cluster::start(options(&data_dir)).unwrap();
}

#[test]
fn what_a_killed_initdb_left_behind_is_replaced() {
    let temp = temp_dir();
    let data_dir = temp.path().join("data");
    let half_made = data_dir.join("initializing-1");
    fs::create_dir_all(&half_made).unwrap();
    fs::write(data_dir.join("lock"), "1\n").unwrap();
    fs::write(half_made.join("PG_VERSION"), "").unwrap();
    fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o755)).unwrap();
    Cluster::start(options(&data_dir)).unwrap();
    assert!(!half_made.exists());
}

#[test]
fn a_cluster_of_another_major_version_is_refused_before_anything_is_touched() {
    let temp = temp_dir();
    let data_dir = temp.path().join("data");
    fs::create_dir_all(data_dir.join("cluster")).unwrap();
    fs::write(data_dir.join("cluster/PG_VERSION"), "9\n").unwrap();
    let error = Cluster::start(options(&data_dir)).unwrap_err().to_string();
    assert!(error.contains("was made by PostgreSQL 9 and cannot be opened by"), "{error}");
    assert!(!data_dir.join("lock").exists());
}

#[test]
fn a_directory_with_something_else_in_it_is_refused() {
    let temp = temp_dir();
    fs::write(temp.path().join("letter.txt"), "dear reader").unwrap();
    let error = Cluster::start(options(temp.path())).unwrap_err().to_string();
    assert!(error.contains("holds something else"), "{error}");
}

#[test]
fn a_server_that_does_not_start_shows_its_log() {
    let temp = temp_dir();
    let data_dir = temp.path().join("data");
    let mut options = options(&data_dir);
    options.extra = vec![("shared_buffers".to_owned(), "a lot".to_owned())];
    let error = Cluster::start(options).unwrap_err().to_string();
    assert!(error.contains("did not start"), "{error}");
    assert!(error.contains("shared_buffers"), "{error}");
}

#[test]
fn root_is_told_which_directory_the_servers_user_cannot_enter() {
    let temp = temp_dir();
    let closed = temp.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let result = Cluster::start(options(&closed.join("data")));
    if !running_as_root() {
        result.expect("without root the server runs as ourselves");
        return;
    }
    let error = result.unwrap_err().to_string();
    let cannot = format!("cannot enter {}", fs::canonicalize(&closed).unwrap().display());
    assert!(error.contains(&cannot), "{error}");
}

#[test]
fn the_server_never_runs_as_root() {
    let temp = temp_dir();
    let data_dir = temp.path().join("data");
    let _cluster = Cluster::start(options(&data_dir)).unwrap();
    let process = PathBuf::from(format!("/proc/{}", server_process(&data_dir)));
    if process.exists() {
        let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(process).unwrap());
        assert_ne!(owner, 0);
    }
}

fn running_as_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("every system has id");
    output.stdout == b"0\n"
}
