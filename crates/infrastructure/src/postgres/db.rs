//! Connections. The pools are private to this file: the only way to tenant data is a transaction opened
//! with a [`Ctx`].
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the one place of pools; the only text put together is fixed words, a UUID and a number"
)]

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use application::Ctx;
use application::ports::StoreError;
use secrecy::ExposeSecret;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Postgres, Transaction};
use zeroize::Zeroizing;

use super::bootstrap::LOGINS;
use super::idempotency::LEASE;
use super::logins::Logins;
use super::outage::{self, BEGIN_DEADLINE, Breakdowns, in_time, is_broken};
use super::seal::{SealKey, SealedContext};
use super::unit::{PgUnit, Savepoint};
use crate::vault::{MasterKeys, VaultError};

/// One address per role of the database.
#[derive(Debug, Clone)]
pub struct DbUrls {
    /// May create roles and objects; used by `migrate` only.
    pub admin: PgConnectOptions,
    /// `patchbay_app`: API, MCP and worker.
    pub app: PgConnectOptions,
    /// `patchbay_reader`: SQL templates.
    pub reader: PgConnectOptions,
    /// `patchbay_author`: SQL templates that tenants write.
    pub author: PgConnectOptions,
    /// `patchbay_queue`: owns the job queue.
    pub queue: PgConnectOptions,
    /// What the roles' passwords follow, when the server asks for them: a rotation of the master key changes them.
    pub keys: Option<MasterKeys>,
}

impl DbUrls {
    /// Derives the addresses of the four roles from the administrator's: same server and database, the role's own
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
            author: role("patchbay_author"),
            queue: role("patchbay_queue"),
            admin,
            keys: None,
        }
    }

    /// As [`Self::derive`], with the passwords that follow from the master keys.
    pub async fn with_keys(admin: PgConnectOptions, keys: &MasterKeys) -> Result<Self, VaultError> {
        let passwords = keys.passwords_to_set(LOGINS).await?;
        let password_of = |role: &str| {
            let at = LOGINS.iter().position(|login| *login == role)?;
            Some(passwords[at].expose_secret().to_owned())
        };
        Ok(Self { keys: Some(keys.clone()), ..Self::derive(admin, password_of) })
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

impl PoolSizes {
    /// For the templates that tenants write: fewer, so that these never crowd out the shipped ones.
    fn author(&self) -> u32 {
        (self.reader / 4).max(1)
    }
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
    author: PgPool,
    queue: PgPool,
    seal_key: SealKey,
    logins: Arc<Logins>,
    breakdowns: Breakdowns,
}

/// A transaction: one of its own, or a part of the request's [unit of work](PgUnit). Commit it, or everything done in it
/// is undone.
#[derive(Debug)]
pub(crate) struct Tx(Inner);

#[derive(Debug)]
enum Inner {
    Own(Transaction<'static, Postgres>),
    Part(Savepoint),
}

impl Tx {
    /// Keeps what was done; a part is stored when its unit is.
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self.0 {
            Inner::Own(tx) => tx.commit().await,
            Inner::Part(part) => part.commit().await,
        }
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match &self.0 {
            Inner::Own(tx) => tx,
            Inner::Part(part) => part,
        }
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match &mut self.0 {
            Inner::Own(tx) => tx,
            Inner::Part(part) => part,
        }
    }
}

impl Db {
    /// Makes the pools. Connections are opened when needed, so this does not fail when the database is away.
    pub fn connect(urls: &DbUrls, sizes: PoolSizes) -> Self {
        let app = named(&urls.app, "patchbay").options(APP_SETTINGS);
        let reader = named(&urls.reader, "patchbay-templates").options(READER_SETTINGS);
        let author = named(&urls.author, "patchbay-authored").options(READER_SETTINGS);
        let queue = named(&urls.queue, "patchbay-queue");
        let breakdowns = Breakdowns::new();
        let pool = |size| pool(size, breakdowns.clone());
        let pools = [
            (pool(sizes.app).after_release(rollback).connect_lazy_with(app.clone()), app),
            // No hook: what is left of a transaction is closed with its connection, see `TemplateConnection`.
            (pool(sizes.reader).connect_lazy_with(reader.clone()), reader),
            (pool(sizes.queue).after_release(rollback).connect_lazy_with(queue.clone()), queue),
            (pool(sizes.author()).idle_timeout(AUTHOR_IDLE).connect_lazy_with(author.clone()), author),
        ];
        let [app, reader, queue, author] = [0, 1, 2, 3].map(|at| pools[at].0.clone());
        let seal_key = SealKey::default();
        Self {
            app,
            reader,
            author,
            queue,
            seal_key,
            logins: Arc::new(Logins::new(urls.keys.clone(), pools)),
            breakdowns,
        }
    }

    /// A transaction that sees and writes the rows of this tenant only. Commit it, or everything is undone.
    ///
    /// When the context has a unit of work it is a part of that. While it is held, ask for no second one.
    pub(crate) async fn tenant_tx(&self, ctx: &Ctx) -> Result<Tx, StoreError> {
        match PgUnit::of(ctx)? {
            Some(unit) => Ok(Tx(Inner::Part(unit.part(self, ctx).await?))),
            None => self.own_tx(ctx).await,
        }
    }

    /// A read-only transaction over this tenant's rows. Drop it when done: the rollback costs nobody a wait.
    ///
    /// Within a unit of work that has written something it sees what was written.
    pub(crate) async fn tenant_read(&self, ctx: &Ctx) -> Result<Tx, StoreError> {
        if let Some(unit) = PgUnit::of(ctx)?
            && let Some(part) = unit.part_if_open(self, ctx).await?
        {
            return Ok(Tx(Inner::Part(part)));
        }
        self.begin(context("BEGIN READ ONLY", ctx)).await.map(|tx| Tx(Inner::Own(tx)))
    }

    /// As [`Self::tenant_tx`], but committed on its own even within a unit of work: for what must stay when the request
    /// is undone, and for what comes before a call to somebody else, which no open transaction may wait for.
    ///
    /// A unit that has written something already may hold the locks this needs, so it is a part of that one.
    pub(crate) async fn apart_tx(&self, ctx: &Ctx) -> Result<Tx, StoreError> {
        if let Some(unit) = PgUnit::of(ctx)?
            && let Some(part) = unit.part_if_open(self, ctx).await?
        {
            return Ok(Tx(Inner::Part(part)));
        }
        self.own_tx(ctx).await
    }

    /// As [`Self::tenant_tx`], but never a part of the context's unit of work.
    pub(crate) async fn own_tx(&self, ctx: &Ctx) -> Result<Tx, StoreError> {
        self.begin(context("BEGIN", ctx)).await.map(|tx| Tx(Inner::Own(tx)))
    }

    /// A read-only transaction over this tenant's rows as they are at its first statement, however long it lasts.
    pub(crate) async fn tenant_snapshot(&self, ctx: &Ctx) -> Result<Tx, StoreError> {
        let opened = self.begin(context("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ctx)).await;
        opened.map(|tx| Tx(Inner::Own(tx)))
    }

    /// The transaction of a unit of work, with its first savepoint. Only for [`PgUnit`].
    ///
    /// The server ends it when nothing comes for as long as its claim lasts: a process that stands still must not keep
    /// its locks from whoever takes over.
    pub(super) async fn begin_unit(&self, ctx: &Ctx) -> Result<Transaction<'static, Postgres>, StoreError> {
        let statement = format!(
            "{}; SET LOCAL idle_in_transaction_session_timeout = {}; SAVEPOINT part",
            context("BEGIN", ctx),
            LEASE.as_millis()
        );
        self.begin(statement).await
    }

    /// Begins a transaction of the application. When the server refuses the password, with the one it has now; when the
    /// connection turns out to be broken, on a new one: nothing has been done on it yet.
    async fn begin(&self, statement: String) -> Result<Transaction<'static, Postgres>, StoreError> {
        let begin = || in_time(self.app.begin_with(AssertSqlSafe(statement.clone())));
        let mut before = self.logins.changes();
        let mut begun = begin().await;
        for _ in 0..2 {
            let Err(error) = &begun else { break };
            if is_broken(error) {
                self.breakdowns.note();
            } else if !self.logins.renewed(before, error).await {
                break;
            }
            before = self.logins.changes();
            begun = begin().await;
        }
        begun.map_err(store_error)
    }

    /// Whether the database answers, as found out all the time from now on: false after three seconds of silence. Asked
    /// on a connection of its own, so that full pools do not count.
    pub fn watch(&self) -> tokio::sync::watch::Receiver<bool> {
        let pool = self.app.clone();
        outage::watch_over(move || pool.connect_options())
    }

    /// How often the pools have changed over to other passwords; for [`Self::check_passwords`].
    pub fn password_changes(&self) -> u64 {
        self.logins.changes()
    }

    /// Looks whether the server still takes the passwords of the pools, and changes them if not. Whether they have been
    /// changed since `before`. A process calls it every few seconds: the job queue's crate takes connections itself and
    /// cannot try again with another password.
    pub async fn check_passwords(&self, before: u64) -> bool {
        self.logins.check().await;
        self.logins.changes() != before
    }

    /// A connection of the role that may read the published views only, to begin a template's transaction on.
    ///
    /// `tested` asks the server first and passes over connections that broke while idle.
    pub(crate) async fn template_connection(&self, tested: bool) -> Result<TemplateConnection, StoreError> {
        self.reading_connection(&self.reader, None, tested).await
    }

    /// The same for a template that a tenant has written: of a role that also needs a seal on each transaction.
    pub(crate) async fn author_connection(&self, tested: bool) -> Result<TemplateConnection, StoreError> {
        self.reading_connection(&self.author, Some(&self.seal_key), tested).await
    }

    async fn reading_connection(
        &self,
        pool: &PgPool,
        seal_key: Option<&SealKey>,
        tested: bool,
    ) -> Result<TemplateConnection, StoreError> {
        for _ in 0..=pool.options().get_max_connections() {
            let before = self.logins.changes();
            let mut connection = match in_time(pool.acquire()).await {
                Err(error) if self.logins.renewed(before, &error).await => {
                    pool.acquire().await.map_err(store_error)?
                }
                other => other.map_err(store_error)?,
            };
            if !tested || in_time(connection.ping()).await.is_ok() {
                let seal_key = seal_key.cloned();
                return Ok(TemplateConnection { connection, finished: false, seal_key });
            }
            connection.close_on_drop();
        }
        Err(StoreError::Unavailable("every connection of the template pool was broken".into()))
    }

    /// Most templates that run at once.
    pub(crate) fn reader_slots(&self) -> u32 {
        self.reader.options().get_max_connections()
    }

    /// Most templates of tenants that run at once.
    pub(crate) fn author_slots(&self) -> u32 {
        self.author.options().get_max_connections()
    }

    /// What the contexts of tenants' own templates are sealed with; the vault knows it.
    pub(crate) fn seal_with(&self, key: Zeroizing<[u8; 32]>) {
        self.seal_key.set(key);
    }

    /// A transaction without a tenant: it sees no tenant's rows, only what the functions of the schema give.
    pub(crate) async fn system_tx(&self) -> Result<Tx, StoreError> {
        self.begin("BEGIN".to_owned()).await.map(|tx| Tx(Inner::Own(tx)))
    }

    /// The pool of the job queue's owner, for the queue's own crate.
    pub(super) fn queue_pool(&self) -> &PgPool {
        &self.queue
    }

    /// Answers when the database does.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let before = self.logins.changes();
        let asked = match in_time(self.app.execute("select 1")).await {
            Err(error) if self.logins.renewed(before, &error).await => {
                in_time(self.app.execute("select 1")).await
            }
            asked => asked,
        };
        asked.map(drop).map_err(store_error)
    }

    /// Open and idle connections: app, then reader.
    pub fn pool_usage(&self) -> [(u32, usize); 2] {
        [&self.app, &self.reader].map(|pool| (pool.size(), pool.num_idle()))
    }

    /// Closes every connection; waits for those in use.
    pub async fn close(&self) {
        self.app.close().await;
        self.reader.close().await;
        self.author.close().await;
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

/// Connections for tenants' own templates that nobody has needed for this long are closed: most installations need none.
const AUTHOR_IDLE: Duration = Duration::from_secs(60);

/// How long a template's statement may take unless its header says otherwise, in milliseconds.
pub(crate) const TEMPLATE_TIMEOUT_MS: u64 = 5_000;
const TEMPLATE_TIMEOUT_TEXT: &str = "5000";

/// A connection for one template. Unless it is [finished](Self::finish), it is closed when dropped, so that a
/// statement does not go on for a caller who went away, and nothing of it meets the next user.
#[derive(Debug)]
pub(crate) struct TemplateConnection {
    connection: PoolConnection<Postgres>,
    finished: bool,
    /// For the role that sees no row without a seal.
    seal_key: Option<SealKey>,
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
        let mut tx = in_time(self.connection.begin_with(AssertSqlSafe(statement))).await?;
        if let Some(key) = &self.seal_key {
            in_time(seal(&mut tx, key, ctx)).await?;
        }
        Ok(tx)
    }

    /// Gives the connection back, with the transaction rolled back; nobody waits for that.
    pub(crate) fn finish(mut self) {
        self.finished = true;
    }
}

/// Seals the context of a transaction, for this session and this transaction only.
async fn seal(tx: &mut PgConnection, key: &SealKey, ctx: &Ctx) -> Result<(), sqlx::Error> {
    let (backend, began_us): (i32, i64) = sqlx::query_as(
        "select pg_catalog.pg_backend_pid(), (extract(epoch from pg_catalog.now()) * 1000000)::bigint",
    )
    .fetch_one(&mut *tx)
    .await?;
    let (instances, projects) = narrowing(ctx);
    let context = SealedContext {
        tenant: ctx.tenant,
        backend,
        began_us,
        instances: instances.as_deref().unwrap_or_default(),
        projects: projects.as_deref().unwrap_or_default(),
    };
    let Some(seal) = key.seal(&context) else {
        return Err(sqlx::Error::Configuration(
            "the key of seals is not there: the vault is not open".into(),
        ));
    };
    // Hexadecimal digits carry no SQL.
    tx.execute(AssertSqlSafe(format!("SET LOCAL app.tenant_seal = '{seal}'"))).await.map(drop)
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

fn pool(size: u32, breakdowns: Breakdowns) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(BEGIN_DEADLINE)
        .before_acquire(move |_, connection| {
            let sound = breakdowns.outlived_by(connection.age);
            Box::pin(async move { Ok(sound) })
        })
        .max_lifetime(Duration::from_secs(30 * 60))
        // Saves a round trip; a broken connection shows as an error that callers may repeat.
        .test_before_acquire(false)
}

/// Ends whatever transaction a connection is still in before somebody else gets it.
///
/// In sqlx 0.9 a cancelled `begin` can leave the server in a transaction the client does not know of; the next
/// user's acknowledged writes would vanish with its rollback (`tests/integration/postgres_cancelled_begin.rs` shows it).
fn rollback(
    connection: &mut sqlx::PgConnection,
    _: sqlx::pool::PoolConnectionMetadata,
) -> futures::future::BoxFuture<'_, Result<bool, sqlx::Error>> {
    Box::pin(async move {
        // BEGIN first: a ROLLBACK outside a transaction writes a warning into the server's log, for each request.
        // In a failed transaction BEGIN is an error, and the connection is closed.
        // In time: a server that stands still would keep the place in the pool.
        in_time(connection.execute("BEGIN; ROLLBACK")).await?;
        Ok(true)
    })
}

/// `BEGIN`, the tenant, and what the principal is narrowed to, for one round trip. A UUID's text cannot carry SQL, and
/// a project key holds no quote, backslash or control character.
fn context(begin: &str, ctx: &Ctx) -> String {
    let mut statement = format!("{begin}; SET LOCAL app.current_tenant_id = '{}'", ctx.tenant);
    let (instances, projects) = narrowing(ctx);
    if let Some(list) = instances {
        statement.push_str(&format!("; SET LOCAL app.allowed_instances = '{list}'"));
    }
    if let Some(list) = projects {
        statement.push_str(&format!("; SET LOCAL app.allowed_projects = '{list}'"));
    }
    statement
}

/// What the principal is narrowed to, instances and projects, as the settings hold it. `None` for all.
fn narrowing(ctx: &Ctx) -> (Option<String>, Option<String>) {
    let instances = ctx.grant.instances.as_list().map(|instances| {
        let list: Vec<String> = instances.iter().map(ToString::to_string).collect();
        // Empty would read as not narrowed: the nil UUID names no instance.
        if list.is_empty() { uuid::Uuid::nil().to_string() } else { list.join(",") }
    });
    let projects = ctx.grant.projects_read.as_list().map(|projects| {
        let list: Vec<&str> = projects.iter().map(domain::ProjectKey::as_str).collect();
        // No key begins with the separator, so that a separator alone names no project.
        if list.is_empty() { "\u{1f}".to_owned() } else { list.join("\u{1f}") }
    });
    (instances, projects)
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
