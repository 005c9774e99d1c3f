//! Connections. The pools are private to this file: the only way to tenant data is a transaction opened
//! with a [`Ctx`].
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the one place of pools; the only text put together is fixed words, a UUID and a number"
)]

use std::time::Duration;

use application::Ctx;
use application::ports::StoreError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgPool, Postgres, Transaction};

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
        Self { app: 16, reader: 16, queue: 4 }
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
                .connect_lazy_with(named(&urls.app, "patchbay").options(APP_SETTINGS)),
            // No hook: what is left of a transaction is closed with its connection, see `TemplateConnection`.
            reader: pool(sizes.reader)
                .connect_lazy_with(named(&urls.reader, "patchbay-templates").options(READER_SETTINGS)),
            queue: pool(sizes.queue)
                .after_release(rollback)
                .connect_lazy_with(named(&urls.queue, "patchbay-queue")),
        }
    }

    /// A transaction that sees and writes the rows of this tenant only. Commit it, or everything is undone.
    pub(crate) async fn tenant_tx(&self, ctx: &Ctx) -> Result<Tx, StoreError> {
        begin(&self.app, "BEGIN", ctx).await
    }

    /// A read-only transaction over this tenant's rows. Drop it when done: the rollback costs nobody a wait.
    pub(crate) async fn tenant_read(&self, ctx: &Ctx) -> Result<Tx, StoreError> {
        begin(&self.app, "BEGIN READ ONLY", ctx).await
    }

    /// A connection of the role that may read the published views only, to begin a template's transaction on.
    ///
    /// `tested` asks the server first and passes over connections that broke while idle.
    pub(crate) async fn template_connection(&self, tested: bool) -> Result<TemplateConnection, StoreError> {
        for _ in 0..=self.reader_slots() {
            let mut connection = self.reader.acquire().await.map_err(store_error)?;
            if !tested || connection.ping().await.is_ok() {
                return Ok(TemplateConnection { connection, finished: false });
            }
            connection.close_on_drop();
        }
        Err(StoreError::Unavailable("every connection of the template pool was broken".into()))
    }

    /// Most templates that run at once.
    pub(crate) fn reader_slots(&self) -> u32 {
        self.reader.options().get_max_connections()
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
        self.app.execute("select 1").await.map(drop).map_err(store_error)
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

/// A plan made while a table was small is kept for ever otherwise: a backfill's first pages would fix sequential
/// scans for all that follow.
const APP_SETTINGS: [(&str, &str); 1] = [("plan_cache_mode", "force_custom_plan")];

/// What every connection of the templates' pool begins with; the role has the same bounds, but those can be
/// changed by whoever administers roles.
///
/// Names resolve in `pg_catalog` only: statements carry their schemas. Custom plans, because a template's
/// optional parameters fold away in them. A query whose caller went away ends when the server looks for the
/// caller, half a second later at most.
const READER_SETTINGS: [(&str, &str); 7] = [
    ("search_path", "pg_catalog,pg_temp"),
    ("default_transaction_read_only", "on"),
    ("statement_timeout", TEMPLATE_TIMEOUT_TEXT),
    ("lock_timeout", "500"),
    ("idle_in_transaction_session_timeout", "10000"),
    ("client_connection_check_interval", "500"),
    ("plan_cache_mode", "force_custom_plan"),
];

/// How long a template's statement may take unless its header says otherwise, in milliseconds.
pub(crate) const TEMPLATE_TIMEOUT_MS: u64 = 5_000;
const TEMPLATE_TIMEOUT_TEXT: &str = "5000";

/// A connection for one template. Unless it is [finished](Self::finish), it is closed when dropped, so that a
/// statement does not go on for a caller who went away, and nothing of it meets the next user.
#[derive(Debug)]
pub(crate) struct TemplateConnection {
    connection: PoolConnection<Postgres>,
    finished: bool,
}

impl TemplateConnection {
    /// Begins a read-only transaction that sees this tenant's rows only. Nothing can be committed through it.
    pub(crate) async fn begin(
        &mut self,
        ctx: &Ctx,
        timeout_ms: u64,
    ) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
        let mut statement = context("BEGIN READ ONLY", ctx);
        if timeout_ms != TEMPLATE_TIMEOUT_MS {
            statement.push_str(&format!("; SET LOCAL statement_timeout = {timeout_ms}"));
        }
        self.connection.begin_with(AssertSqlSafe(statement)).await
    }

    /// Gives the connection back, with the transaction rolled back; nobody waits for that.
    pub(crate) fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for TemplateConnection {
    fn drop(&mut self) {
        if !self.finished {
            self.connection.close_on_drop();
        }
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
        // BEGIN first: a ROLLBACK outside a transaction writes a warning into the server's log, for each request.
        // In a failed transaction BEGIN is an error, and the connection is closed.
        connection.execute("BEGIN; ROLLBACK").await?;
        Ok(true)
    })
}

async fn begin(pool: &PgPool, begin: &str, ctx: &Ctx) -> Result<Tx, StoreError> {
    let statement = context(begin, ctx);
    pool.begin_with(AssertSqlSafe(statement)).await.map_err(store_error)
}

/// `BEGIN`, the tenant, and what the principal is narrowed to, for one round trip. A UUID's text cannot carry SQL, and
/// a project key holds no quote, backslash or control character.
fn context(begin: &str, ctx: &Ctx) -> String {
    let mut statement = format!("{begin}; SET LOCAL app.current_tenant_id = '{}'", ctx.tenant);
    if let Some(instances) = ctx.grant.instances.as_list() {
        let list: Vec<String> = instances.iter().map(ToString::to_string).collect();
        // Empty would read as not narrowed: the nil UUID names no instance.
        let list = if list.is_empty() { uuid::Uuid::nil().to_string() } else { list.join(",") };
        statement.push_str(&format!("; SET LOCAL app.allowed_instances = '{list}'"));
    }
    if let Some(projects) = ctx.grant.projects_read.as_list() {
        let list: Vec<&str> = projects.iter().map(domain::ProjectKey::as_str).collect();
        // No key begins with the separator, so that a separator alone names no project.
        let list = if list.is_empty() { "\u{1f}".to_owned() } else { list.join("\u{1f}") };
        statement.push_str(&format!("; SET LOCAL app.allowed_projects = '{list}'"));
    }
    statement
}

/// What a driver error means to a caller. A unique violation is told apart by its constraint with
/// [`unique_violation`] before this is used.
pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::Tls(_) => {
            StoreError::Unavailable(Box::new(error))
        }
        // 53: insufficient resources; 57P: shutting down or starting; 08: connection lost; 40: serialization, deadlock.
        sqlx::Error::Database(database)
            if database.code().is_some_and(|code| {
                ["53", "57P", "08", "40"].iter().any(|class| code.starts_with(class))
            }) =>
        {
            StoreError::Unavailable(Box::new(error))
        }
        _ => StoreError::Internal(Box::new(error)),
    }
}

/// Whether the error says that this unique constraint or index was violated.
pub(crate) fn unique_violation(error: &sqlx::Error, constraint: &str) -> bool {
    error
        .as_database_error()
        .is_some_and(|database| database.is_unique_violation() && database.constraint() == Some(constraint))
}
