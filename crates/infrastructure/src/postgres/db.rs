//! Connections. The pools are private to this file: the only way to tenant data is a transaction opened
//! with a [`Ctx`].

use std::time::Duration;

use application::Ctx;
use application::ports::StoreError;
use domain::TenantId;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor, PgPool, Postgres, Transaction};

/// One address per role of the database.
#[derive(Debug, Clone)]
pub struct DbUrls {
    /// May create roles and objects; used by `migrate` only.
    pub admin: PgConnectOptions,
    /// `patchbay_app`: API, MCP and worker.
    pub app: PgConnectOptions,
    /// `patchbay_reader`: SQL templates.
    pub reader: PgConnectOptions,
    /// `patchbay_queue`: owns the job queue.
    pub queue: PgConnectOptions,
}

impl DbUrls {
    /// Derives the addresses of the three roles from the administrator's: same server and database, the role's own
    /// name, and its password from `password_of`.
    pub fn derive(admin: PgConnectOptions, password_of: impl Fn(&str) -> Option<String>) -> Self {
        let role = |name: &str| {
            let options = admin.clone().username(name);
            match password_of(name) {
                Some(password) => options.password(&password),
                None => options,
            }
        };
        Self {
            app: role("patchbay_app"),
            reader: role("patchbay_reader"),
            queue: role("patchbay_queue"),
            admin,
        }
    }
}

/// Most connections of each pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolSizes {
    /// For API, MCP and worker.
    pub app: u32,
    /// For SQL templates.
    pub reader: u32,
    /// For the job queue.
    pub queue: u32,
}

impl Default for PoolSizes {
    fn default() -> Self {
        Self {
            app: 16,
            reader: 16,
            queue: 4,
        }
    }
}

/// Connections of a process.
#[derive(Debug, Clone)]
pub struct Db {
    app: PgPool,
    reader: PgPool,
    queue: PgPool,
}

/// A transaction.
pub(crate) type Tx = Transaction<'static, Postgres>;

impl Db {
    /// Makes the pools. Connections are opened when needed, so this does not fail when the database is away.
    pub fn connect(urls: &DbUrls, sizes: PoolSizes) -> Self {
        Self {
            app: pool(sizes.app)
                .after_release(rollback)
                .connect_lazy_with(named(&urls.app, "patchbay")),
            // No hook: this pool writes nothing, and every use begins with its own context.
            reader: pool(sizes.reader).connect_lazy_with(named(&urls.reader, "patchbay-templates")),
            queue: pool(sizes.queue)
                .after_release(rollback)
                .connect_lazy_with(named(&urls.queue, "patchbay-queue")),
        }
    }

    /// A transaction that sees and writes the rows of this tenant only. Commit it, or everything is undone.
    pub(crate) async fn tenant_tx(&self, ctx: &Ctx) -> Result<Tx, StoreError> {
        begin(&self.app, "BEGIN", ctx.tenant).await
    }

    /// A read-only transaction over this tenant's rows. Drop it when done: the rollback costs nobody a wait.
    pub(crate) async fn tenant_read(&self, ctx: &Ctx) -> Result<Tx, StoreError> {
        begin(&self.app, "BEGIN READ ONLY", ctx.tenant).await
    }

    /// The same as the role that may read the published views only.
    pub(crate) async fn template_tx(&self, ctx: &Ctx) -> Result<Tx, StoreError> {
        begin(&self.reader, "BEGIN READ ONLY", ctx.tenant).await
    }

    /// A transaction without a tenant: it sees no tenant's rows, only what the functions of the schema give.
    pub(crate) async fn system_tx(&self) -> Result<Tx, StoreError> {
        self.app.begin().await.map_err(store_error)
    }

    /// The pool of the job queue's owner, for the queue's own crate.
    pub(super) fn queue_pool(&self) -> &PgPool {
        &self.queue
    }

    /// Answers when the database does.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.app
            .execute("select 1")
            .await
            .map(drop)
            .map_err(store_error)
    }

    /// Open and idle connections: app, then reader.
    pub fn pool_usage(&self) -> [(u32, usize); 2] {
        [&self.app, &self.reader].map(|pool| (pool.size(), pool.num_idle()))
    }

    /// Closes every connection; waits for those in use.
    pub async fn close(&self) {
        self.app.close().await;
        self.reader.close().await;
        self.queue.close().await;
    }
}

fn named(options: &PgConnectOptions, name: &str) -> PgConnectOptions {
    options.clone().application_name(name)
}

fn pool(size: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(Duration::from_secs(5))
        .max_lifetime(Duration::from_secs(30 * 60))
        // Saves a round trip; a broken connection shows as an error that callers may repeat.
        .test_before_acquire(false)
}

/// Ends whatever transaction a connection is still in before somebody else gets it.
///
/// In sqlx 0.9 a cancelled `begin` can leave the server in a transaction the client does not know of; the next
/// user's acknowledged writes would vanish with its rollback (`tests/postgres_cancelled_begin.rs` shows it).
fn rollback(
    connection: &mut sqlx::PgConnection,
    _: sqlx::pool::PoolConnectionMetadata,
) -> futures::future::BoxFuture<'_, Result<bool, sqlx::Error>> {
    Box::pin(async move {
        connection.execute("ROLLBACK").await?;
        Ok(true)
    })
}

async fn begin(pool: &PgPool, begin: &str, tenant: TenantId) -> Result<Tx, StoreError> {
    // The context travels with BEGIN in one round trip. A UUID's text cannot carry SQL.
    let statement = format!("{begin}; SET LOCAL app.current_tenant_id = '{tenant}'");
    #[expect(clippy::disallowed_types, reason = "fixed text and a UUID")]
    pool.begin_with(AssertSqlSafe(statement))
        .await
        .map_err(store_error)
}

/// What a driver error means to a caller. A unique violation is told apart by its constraint with
/// [`unique_violation`] before this is used.
pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Io(_)
        | sqlx::Error::Tls(_) => StoreError::Unavailable(Box::new(error)),
        // 53: insufficient resources; 57P: shutting down or starting; 08: connection lost; 40: serialization, deadlock.
        sqlx::Error::Database(database)
            if database.code().is_some_and(|code| {
                ["53", "57P", "08", "40"]
                    .iter()
                    .any(|class| code.starts_with(class))
            }) =>
        {
            StoreError::Unavailable(Box::new(error))
        }
        _ => StoreError::Internal(Box::new(error)),
    }
}

/// Whether the error says that this unique constraint or index was violated.
pub(crate) fn unique_violation(error: &sqlx::Error, constraint: &str) -> bool {
    error.as_database_error().is_some_and(|database| {
        database.is_unique_violation() && database.constraint() == Some(constraint)
    })
}
