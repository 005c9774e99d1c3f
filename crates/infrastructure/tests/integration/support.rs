//! A fresh, migrated database for each test.
//!
//! ```ignore
//! mod support;
//! use support::TestDb;
//!
//! let test = TestDb::new().await;         // a database of its own, dropped at the end
//! let alpha = test.ctx("alpha").await;    // a tenant, created, as a context with every scope
//! let store = PgInstances::new(test.db.clone(), test.audit());
//! ```
//!
//! `test.db` connects as the roles the product uses; `test.admin()` is the superuser, who sees everything and
//! proves nothing about row-level security; `test.connect("patchbay_app")` is a bare connection of a role.
//! The schema is made once in a template database named after its sources, and cloned.
#![allow(unreachable_pub, missing_debug_implementations, reason = "each test file uses its own part")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "statements of the tests' own making"
)]

use std::path::{Path, PathBuf};

use application::Ctx;
use application::ports::AccessStore;
use domain::{RequestId, Tenant, TenantId, TenantStatus};
use patchbay_infrastructure::postgres::{
    AuditChain, Db, DbUrls, PgAccess, PoolSizes, RolePasswords, migrate,
};
use patchbay_infrastructure::vault::{MasterKey, PgVault};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The master key of every test database. Worth nothing elsewhere.
pub const MASTER_KEY: &str = "q3sX0m9Yb1vK7cR2eWfJ5hTzL8nPdGuA4iOoVxEyMsk=";

/// Held while the template is made, in the database that `PATCHBAY_TEST_DATABASE_URL` names.
const TEMPLATE_LOCK: i64 = 0x7061_7463_7465_7374;

pub struct TestDb {
    /// As the product connects.
    pub db: Db,
    /// The addresses behind `db`.
    pub urls: DbUrls,
    name: String,
    server: PgConnectOptions,
}

impl TestDb {
    /// A fresh database with the pool sizes of the product.
    pub async fn new() -> Self {
        Self::with_pools(PoolSizes { app: 8, reader: 4, queue: 2 }).await
    }

    /// A fresh database with these pool sizes.
    pub async fn with_pools(sizes: PoolSizes) -> Self {
        let server = server();
        let template = template(&server).await;
        let name = format!("pb_test_{}", Uuid::new_v4().simple());
        let mut connection = connect(&server).await;
        run(&mut connection, format!("create database {name} template {template}")).await;
        // Rights on the database itself are not cloned.
        run(&mut connection, format!("revoke temporary on database {name} from public")).await;
        close(connection).await;

        let urls = DbUrls::derive(server.clone().database(&name), |_| None);
        Self { db: Db::connect(&urls, sizes), urls, name, server }
    }

    /// An empty database: not migrated.
    pub async fn empty() -> Self {
        let server = server();
        let name = format!("pb_test_{}", Uuid::new_v4().simple());
        let mut connection = connect(&server).await;
        run(&mut connection, format!("create database {name} template template0")).await;
        close(connection).await;
        let urls = DbUrls::derive(server.clone().database(&name), |_| None);
        Self { db: Db::connect(&urls, PoolSizes::default()), urls, name, server }
    }

    /// A connection of the superuser.
    pub async fn admin(&self) -> PgConnection {
        connect(&self.urls.admin).await
    }

    /// A connection of this role, with nothing set.
    pub async fn connect(&self, role: &str) -> PgConnection {
        connect(&self.urls.admin.clone().username(role)).await
    }

    /// A new tenant of this slug, as a context with every scope.
    pub async fn ctx(&self, slug: &str) -> Ctx {
        let tenant = Tenant {
            id: TenantId::new(Uuid::now_v7()),
            slug: slug.parse().expect("a slug"),
            status: TenantStatus::Active,
            strict_audit: false,
            created_at: chrono::DateTime::UNIX_EPOCH,
        };
        PgAccess::new(self.db.clone(), self.audit())
            .create_tenant(&tenant)
            .await
            .expect("the tenant is created");
        ctx(tenant.id)
    }

    /// A chain for stores that put changes on the record, under a key of the tests' own.
    pub fn audit(&self) -> AuditChain {
        AuditChain::new(Zeroizing::new([9; 32]))
    }

    /// The vault under [`MASTER_KEY`].
    pub async fn vault(&self) -> PgVault {
        PgVault::open(self.db.clone(), master_key()).await.expect("the vault opens")
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect_with(&server).await?;
                let statement = format!("drop database if exists {name} with (force)");
                connection.execute(AssertSqlSafe(statement)).await
            })?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        })
        .join();
        if !matches!(dropped, Ok(Ok(()))) {
            eprintln!("the test database {} stays behind", self.name);
        }
    }
}

/// A context of this tenant with every scope, without creating it.
pub fn ctx(tenant: TenantId) -> Ctx {
    Ctx::system(tenant, "test", RequestId::new(Uuid::now_v7()))
}

pub fn master_key() -> MasterKey {
    MasterKey::parse(MASTER_KEY).expect("a fit master key")
}

/// Runs a statement whose text the test has put together.
pub async fn run(connection: &mut PgConnection, statement: String) {
    connection
        .execute(AssertSqlSafe(statement.clone()))
        .await
        .unwrap_or_else(|error| panic!("{statement} failed: {error}"));
}

fn server() -> PgConnectOptions {
    let url = std::env::var("PATCHBAY_TEST_DATABASE_URL").unwrap_or_else(|_| {
        panic!(
            "PATCHBAY_TEST_DATABASE_URL is not set: run `cargo xtask test`, which starts a PostgreSQL for the \
             tests, or set it to the address of a superuser on a server that may be filled with test databases"
        )
    });
    url.parse().unwrap_or_else(|error| panic!("PATCHBAY_TEST_DATABASE_URL is no PostgreSQL address: {error}"))
}

async fn connect(options: &PgConnectOptions) -> PgConnection {
    PgConnection::connect_with(options)
        .await
        .unwrap_or_else(|error| panic!("cannot connect to the test server: {error}"))
}

async fn close(connection: PgConnection) {
    connection.close().await.expect("the connection closes");
}

/// The name of a migrated database to clone. The first caller of the server makes it; others wait.
async fn template(server: &PgConnectOptions) -> String {
    let name = format!("pb_template_{}", schema_digest());
    let mut connection = connect(server).await;
    sqlx::query("select pg_advisory_lock($1)")
        .bind(TEMPLATE_LOCK)
        .execute(&mut connection)
        .await
        .expect("the lock");
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(&name)
        .fetch_one(&mut connection)
        .await
        .expect("the catalog answers");
    if !exists {
        let unfinished = format!("{name}_unfinished");
        run(&mut connection, format!("drop database if exists {unfinished} with (force)")).await;
        run(&mut connection, format!("create database {unfinished} template template0")).await;
        migrate(&server.clone().database(&unfinished), &RolePasswords::default(), &master_key())
            .await
            .unwrap_or_else(|error| panic!("the migration failed: {error}: {error:?}"));
        run(&mut connection, format!("alter database {unfinished} rename to {name}")).await;
    }
    // The lock ends with the connection.
    close(connection).await;
    name
}

/// Names the schema by what it is made of, so that a changed one gets its own template.
fn schema_digest() -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["../../migrations", "src/postgres/bootstrap"] {
        collect(&here.join(folder), &mut files);
    }
    files.extend([here.join("src/postgres/bootstrap.rs"), here.join("src/vault/envelope.rs")]);
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(
            std::fs::read(&file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display())),
        );
        hash.update([0]);
    }
    hex::encode(&hash.finalize()[..6])
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder of the sources") {
        files.push(entry.expect("an entry").path());
    }
}

/// Polls a future up to this many times and drops it unless it is done: a request whose caller went away.
pub async fn cancel_after<F: Future>(polls: u32, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    for _ in 0..polls {
        if let std::task::Poll::Ready(output) = futures::poll!(future.as_mut()) {
            return Some(output);
        }
        tokio::time::sleep(std::time::Duration::from_micros(200)).await;
    }
    None
}
