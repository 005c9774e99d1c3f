//! Starts a private cluster in the directory given, prints its URL and waits to be killed.

use std::path::PathBuf;
use std::{env, thread};

use patchbay_private_postgres::{Cluster, Durability, Options, find_binaries};

fn main() -> anyhow::Result<()> {
    let data_dir = env::args().nth(1).expect("usage: hold DATA_DIR");
    let cluster = Cluster::start(Options {
        data_dir: PathBuf::from(data_dir),
        binaries: find_binaries(None)?,
        durability: Durability::Fast,
        max_connections: 10,
        extra: Vec::new(),
    })?;
    println!("{}", cluster.url("postgres", "postgres"));
    loop {
        thread::park();
    }
}
