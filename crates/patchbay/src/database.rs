//! Where the database comes from: the configured one, or a private cluster of our own.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use infrastructure::postgres::{
    ConnectOptions, Db, DbUrls, PoolSizes, RolePasswords, create_database, migrate, reachable, schema_state,
    set_passwords, unreachable,
};
use infrastructure::vault::MasterKeys;
use private_postgres::{Cluster, Durability, Options, default_data_dir, find_binaries};
use secrecy::ExposeSecret;

use crate::cli::DatabaseArgs;
use crate::config;

/// The name of the database in a private cluster.
const PRIVATE_DATABASE: &str = "patchbay";

/// A reachable database. A private cluster lives as long as this.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) urls: DbUrls,
    /// Whether it is ours alone, so that the schema may be upgraded without asking.
    pub(crate) private: bool,
    cluster: Option<Cluster>,
}

impl Database {
    /// The configured database, or the private cluster of the data directory.
    pub(crate) async fn open(args: &DatabaseArgs, master: &MasterKeys) -> anyhow::Result<Self> {
        if let Some(url) = config::database_url(args)? {
            let admin = ConnectOptions::from_str(url.expose_secret()).map_err(|_| {
                anyhow::anyhow!(
                    "PATCHBAY_DATABASE_URL is not of the form postgres://user:password@host/database"
                )
            })?;
            let urls = DbUrls::with_keys(admin, master)
                .await
                .context("the passwords of the database roles follow from the master key")?;
            if let Some(why) = unreachable(&urls.app).await {
                bail!(
                    "PostgreSQL at {} cannot be reached: {why}. Check that it runs and that PATCHBAY_DATABASE_URL \
                     names it",
                    urls.app.get_host()
                );
            }
            return Ok(Self { urls, private: false, cluster: None });
        }
        let data_dir = match &args.data_dir {
            Some(dir) => dir.clone(),
            None => default_data_dir("data")?,
        };
        Self::private(data_dir, args.pg_bin.as_deref(), Durability::Safe).await
    }

    /// The private cluster of this directory: the running one, or one that is started.
    pub(crate) async fn private(
        data_dir: PathBuf,
        pg_bin: Option<&Path>,
        durability: Durability,
    ) -> anyhow::Result<Self> {
        if let Some(socket_dir) = running_socket_dir(&data_dir) {
            let admin = private_options(&socket_dir).username("postgres").database(PRIVATE_DATABASE);
            if reachable(&admin, Duration::from_secs(2)).await {
                return Ok(Self { urls: DbUrls::derive(admin, |_| None), private: true, cluster: None });
            }
        }
        let binaries = find_binaries(pg_bin)?;
        let options = Options { data_dir, binaries, durability, max_connections: 100, extra: Vec::new() };
        // Starting waits for other processes; nothing else of this process runs yet.
        let cluster = tokio::task::spawn_blocking(move || Cluster::start(options)).await??;
        let admin = private_options(cluster.socket_dir()).username("postgres");
        create_database(&admin, PRIVATE_DATABASE)
            .await
            .context("the private PostgreSQL was started but its database could not be created")?;
        let urls = DbUrls::derive(admin.database(PRIVATE_DATABASE), |_| None);
        Ok(Self { urls, private: true, cluster: Some(cluster) })
    }

    /// Makes the pools.
    pub(crate) fn connect(&self, sizes: PoolSizes) -> Db {
        Db::connect(&self.urls, sizes)
    }

    /// Creates or upgrades the schema. Answers what the server did not allow, with what to do.
    pub(crate) async fn migrate(&self, master: &MasterKeys) -> anyhow::Result<Vec<String>> {
        let passwords = self.passwords(master).await?;
        let migrated = migrate(&self.urls.admin, &passwords, master).await?;
        Ok(migrated.warnings.iter().map(ToString::to_string).collect())
    }

    /// Gives the roles the passwords that follow from the wrapping key.
    pub(crate) async fn set_passwords(&self, master: &MasterKeys) -> anyhow::Result<()> {
        Ok(set_passwords(&self.urls.admin, &self.passwords(master).await?).await?)
    }

    /// A private server trusts its socket's folder; any other asks for passwords.
    async fn passwords(&self, master: &MasterKeys) -> anyhow::Result<RolePasswords> {
        if self.private { Ok(RolePasswords::default()) } else { Ok(RolePasswords::derived(master).await?) }
    }

    /// Fails unless the schema is one this version works with.
    pub(crate) async fn check_schema(&self, db: &Db) -> anyhow::Result<()> {
        let state = schema_state(db).await?;
        if state.is_usable() { Ok(()) } else { bail!("{state}") }
    }

    /// Stops a private cluster that was started here.
    pub(crate) async fn close(mut self) -> anyhow::Result<()> {
        match self.cluster.take() {
            Some(cluster) => tokio::task::spawn_blocking(move || cluster.stop()).await?,
            None => Ok(()),
        }
    }
}

fn private_options(socket_dir: &Path) -> ConnectOptions {
    ConnectOptions::new_without_pgpass().socket(socket_dir)
}

/// The socket directory that a running server notes in the fifth line of its lock file.
fn running_socket_dir(data_dir: &Path) -> Option<PathBuf> {
    let lock = std::fs::read_to_string(data_dir.join("cluster/postmaster.pid")).ok()?;
    lock.lines().nth(4).filter(|line| !line.is_empty()).map(PathBuf::from)
}
