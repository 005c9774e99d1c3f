//! Drives the built binary from outside: a database of its own, processes of its own, real HTTP.
//!
//! `cargo xtask test` provides PostgreSQL, Node and the binaries and names them in the environment.

mod api;
mod database;
mod disk;
mod identity;
mod process;
mod proxy;
mod redis;
mod relay;
mod server;
mod template;
mod wiretap;

use std::path::PathBuf;

use anyhow::Context;

pub use api::{Answer, Api, Fetched};
pub use database::Database;
pub use disk::SmallDisk;
pub use identity::{Browser, IdentityServer, signed_in};
pub use process::{Patchbay, Started};
pub use proxy::Proxy;
pub use redis::Redis;
pub use relay::Relay;
pub use server::Postgres;
pub use wiretap::{Statement, Wiretap};

/// A setting that `cargo xtask test` gives.
pub fn setting(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set; run the tests with `cargo xtask test`"))
}

/// The folder of real data beside the repository, when it is there.
pub fn real_data() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    folder.join("github").is_dir().then_some(folder)
}
