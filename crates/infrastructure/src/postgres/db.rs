//! Connections. The pools are private to this module: the only way to tenant data is a transaction opened
//! with a [`Ctx`].
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the one place of pools; the only text put together is fixed words, a UUID and a number"
)]

mod context;
mod error;
mod pipeline;
mod pool;
mod template_connection;
mod tx;
mod urls;

use std::sync::Arc;

use application::Ctx;
use application::ports::StoreError;
use sqlx::{AssertSqlSafe, Connection, Executor, PgPool, Postgres, Transaction};
use zeroize::Zeroizing;

use self::context::context;
pub(super) use self::context::narrowing;
pub(crate) use self::error::{shared_error, store_error, unique_violation};
use self::pipeline::PipelinePool;
pub(crate) use self::pipeline::{PipelineError, PooledPipeline, Question};
use self::pool::{
    APP_SETTINGS, AUTHOR_IDLE, AUTHOR_SETTINGS, READER_IDLE, READER_SETTINGS, named, pool, rollback,
};
pub(crate) use self::template_connection::TemplateConnection;
use self::tx::Inner;
pub(crate) use self::tx::Tx;
pub use self::urls::{DbUrls, PoolSizes};
use super::idempotency::LEASE;
use super::logins::Logins;
use super::outage::{self, Breakdowns, in_time, is_broken};
use super::seal::SealKey;
use super::unit::PgUnit;

/// Connections that templates are proved and explained on, for each role.
const PROOFS: u32 = 2;

/// Connections of a process.
#[derive(Debug, Clone)]
pub struct Db {
    app: PgPool,
    /// Templates are run on these.
    reader_runs: PipelinePool,
    author_runs: PipelinePool,
    /// They are proved and explained on these.
    reader: PgPool,
    author: PgPool,
    queue: PgPool,
    seal_key: SealKey,
    logins: Arc<Logins>,
    breakdowns: Breakdowns,
}

impl Db {
    /// Makes the pools. Connections are opened when needed, so this does not fail when the database is away.
    pub fn connect(urls: &DbUrls, sizes: PoolSizes) -> Self {
        let app = named(&urls.app, "patchbay").options(APP_SETTINGS);
        let reader = named(&urls.reader, "patchbay-templates").options(READER_SETTINGS);
        let author =
            named(&urls.author, "patchbay-authored").options(READER_SETTINGS).options(AUTHOR_SETTINGS);
        let queue = named(&urls.queue, "patchbay-queue");
        let breakdowns = Breakdowns::new();
        let pool = |size| pool(size, breakdowns.clone());
        let pools = [
            (pool(sizes.app).after_release(rollback).connect_lazy_with(app.clone()), app),
            // No hook: what is left of a transaction is closed with its connection, see `TemplateConnection`.
            (pool(PROOFS).idle_timeout(AUTHOR_IDLE).connect_lazy_with(reader.clone()), reader),
            (pool(sizes.queue).after_release(rollback).connect_lazy_with(queue.clone()), queue),
            (pool(PROOFS).idle_timeout(AUTHOR_IDLE).connect_lazy_with(author.clone()), author),
        ];
        let [app, reader, queue, author] = [0, 1, 2, 3].map(|at| pools[at].0.clone());
        let seal_key = SealKey::default();
        let runs =
            |like: &PgPool, size, idle| PipelinePool::new(like.clone(), breakdowns.clone(), size, idle);
        Self {
            reader_runs: runs(&reader, sizes.reader, READER_IDLE),
            author_runs: runs(&author, sizes.author(), AUTHOR_IDLE),
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

    /// As [`Self::tenant_read`], for a look-up of many tables and few rows that calls wait for: a session plans it once and
    /// not for each tenant, which takes several times as long as asking.
    pub(crate) async fn tenant_lookup(&self, ctx: &Ctx) -> Result<Tx, StoreError> {
        if PgUnit::of(ctx)?.is_some() {
            return self.tenant_read(ctx).await;
        }
        let begin = "BEGIN READ ONLY; SET LOCAL plan_cache_mode = force_generic_plan";
        self.begin(context(begin, ctx)).await.map(|tx| Tx(Inner::Own(tx)))
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

    /// As [`Self::own_tx`], for many rows: whether the instances they refer to exist is checked once all are written, right
    /// before the commit. Where one does not, nothing is stored, as ever.
    ///
    /// Its role writes what syncs have read and nothing else, and is not under what keys are narrowed to: planning these
    /// policies for each statement took longer than most of the statements. So a narrowed principal gets none.
    pub(crate) async fn bulk_tx(&self, ctx: &Ctx) -> Result<Tx, StoreError> {
        if narrowing(ctx) != (None, None) {
            return Err(StoreError::Internal(
                "whoever is narrowed to instances or projects writes no pages".into(),
            ));
        }
        let begin = "BEGIN; SET LOCAL ROLE patchbay_sync; SET CONSTRAINTS ALL DEFERRED";
        let opened = self.begin(context(begin, ctx)).await;
        opened.map(|tx| Tx(Inner::Deferred(tx)))
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

    /// A connection of the role that may read the published views only, to run a template on; for one that a tenant has
    /// written, of the role that also needs a seal on each transaction.
    ///
    /// `tested` asks the server first and passes over connections that broke while idle.
    pub(crate) async fn pipeline(
        &self,
        authored: bool,
        tested: bool,
    ) -> Result<PooledPipeline, PipelineError> {
        let pool = if authored { &self.author_runs } else { &self.reader_runs };
        let before = self.logins.changes();
        let mut pipeline = match pool.get(tested).await {
            Err(error) if self.logins.renewed_after(before, error.code()).await => pool.get(tested).await?,
            other => other?,
        };
        pipeline.key = authored.then(|| self.seal_key.clone());
        Ok(pipeline)
    }

    /// A connection of the role that may read the published views only, to explain a template on.
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
        self.reader_runs.slots()
    }

    /// Most templates of tenants that run at once.
    pub(crate) fn author_slots(&self) -> u32 {
        self.author_runs.slots()
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
        [(self.app.size(), self.app.num_idle()), self.reader_runs.usage()]
    }

    /// Closes every connection; waits for those in use.
    pub async fn close(&self) {
        self.reader_runs.close();
        self.author_runs.close();
        self.app.close().await;
        self.reader.close().await;
        self.author.close().await;
        self.queue.close().await;
    }
}
