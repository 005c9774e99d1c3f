//! Connections that templates are proved and explained on: read-only, under bounds of their own, and never used again
//! half-way. They are run on those of [`super::pipeline`].

use application::Ctx;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Postgres, Transaction};

use super::context::{context, narrowing};
use crate::postgres::outage::in_time;
use crate::postgres::seal::{SealKey, SealedContext};

/// How long a template's statement may take unless its header says otherwise, in milliseconds.
pub(super) const TEMPLATE_TIMEOUT_MS: u64 = 5_000;
pub(super) const TEMPLATE_TIMEOUT_TEXT: &str = "5000";
/// What of a transaction its seal is over: the session, and when it began.
pub(super) const SEALED_OVER: &str =
    "select pg_catalog.pg_backend_pid(), (extract(epoch from pg_catalog.now()) * 1000000)::bigint";

/// A connection for one template. Unless it is [finished](Self::finish), it is closed when dropped, so that a
/// statement does not go on for a caller who went away, and nothing of it meets the next user.
#[derive(Debug)]
pub(crate) struct TemplateConnection {
    pub(super) connection: PoolConnection<Postgres>,
    pub(super) finished: bool,
    /// For the role that sees no row without a seal.
    pub(super) seal_key: Option<SealKey>,
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
    let (backend, began_us): (i32, i64) = sqlx::query_as(SEALED_OVER).fetch_one(&mut *tx).await?;
    let Some(statement) = sealing(ctx, key, backend, began_us) else {
        return Err(sqlx::Error::Configuration(
            "the key of seals is not there: the vault is not open".into(),
        ));
    };
    tx.execute(AssertSqlSafe(statement)).await.map(drop)
}

/// The statement that seals the context of the transaction which this server process began then; `None` without a key.
pub(super) fn sealing(ctx: &Ctx, key: &SealKey, backend: i32, began_us: i64) -> Option<String> {
    let (instances, projects) = narrowing(ctx);
    let context = SealedContext {
        tenant: ctx.tenant,
        backend,
        began_us,
        instances: instances.as_deref().unwrap_or_default(),
        projects: projects.as_deref().unwrap_or_default(),
    };
    // Hexadecimal digits carry no SQL.
    key.seal(&context).map(|seal| format!("SET LOCAL app.tenant_seal = '{seal}'"))
}

impl Drop for TemplateConnection {
    fn drop(&mut self) {
        if !self.finished {
            self.connection.close_on_drop();
        }
    }
}
