//! Templates against the database: proving them at start-up, and running them.

mod authored;
mod probes;
mod prove;
mod prover;
mod rows;
mod tenants;

use std::error::Error as _;
use std::time::{Duration, Instant};

use application::Ctx;
use application::ports::{RowSet, StoreError, TemplateRunner};
use async_trait::async_trait;
use domain::template::{Argument, Template};
use futures::TryStreamExt;
use sqlx::Arguments;
use sqlx::postgres::PgArguments;

use super::Db;
use super::db::{TemplateConnection, store_error};
pub use authored::PgAuthoredTemplates;
pub use prove::{PgTemplates, Proof, RefusedTemplate, prove};
pub use prover::PgTemplateProver;
use rows::RowReader;
use tenants::TenantSlots;

/// Most bytes of rows in one answer, as JSON.
pub const MAX_BYTES: usize = 256 * 1024;
/// The share of the reader's connections one tenant may hold, in percent.
const TENANT_SHARE: u32 = 40;
/// How long a call waits for its tenant's turn.
const TENANT_WAIT: Duration = Duration::from_secs(2);

/// Runs templates as the reader role.
#[derive(Debug)]
pub struct PgTemplateRunner {
    db: Db,
    slots: TenantSlots,
    /// Of templates that tenants write, which have connections of their own.
    author_slots: TenantSlots,
    max_bytes: usize,
}

impl PgTemplateRunner {
    /// Runs on the reader's pool of `db`.
    pub fn new(db: Db) -> Self {
        Self::with_max_bytes(db, MAX_BYTES)
    }

    /// The same with another cap on an answer's bytes.
    pub fn with_max_bytes(db: Db, max_bytes: usize) -> Self {
        let slots = |connections: u32| {
            TenantSlots::new((connections * TENANT_SHARE / 100).max(1) as usize, TENANT_WAIT)
        };
        Self { slots: slots(db.reader_slots()), author_slots: slots(db.author_slots()), db, max_bytes }
    }

    async fn attempt(
        &self,
        ctx: &Ctx,
        template: &Template,
        arguments: &[Argument],
        limit: i64,
        tested: bool,
    ) -> Result<RowSet, Failure> {
        let connection = match template.authored {
            true => self.db.author_connection(tested).await,
            false => self.db.template_connection(tested).await,
        };
        let mut connection = connection.map_err(Failure::Final)?;
        let result = fetch(&mut connection, ctx, template, arguments, limit, self.max_bytes).await;
        match result {
            Ok(rows) => {
                connection.finish();
                Ok(rows)
            }
            Err(error) if is_broken(&error) && !tested => Err(Failure::Broken(error)),
            Err(error) => {
                // The server answered, so the connection is good for the next.
                if matches!(error, sqlx::Error::Database(_)) {
                    connection.finish();
                }
                Err(Failure::Final(run_error(error, template)))
            }
        }
    }
}

#[async_trait]
impl TemplateRunner for PgTemplateRunner {
    async fn run(
        &self,
        ctx: &Ctx,
        template: &Template,
        arguments: &[Argument],
        limit: i64,
    ) -> Result<RowSet, StoreError> {
        let slots = if template.authored { &self.author_slots } else { &self.slots };
        let _slot = slots.take(ctx.tenant).await?;
        let begun = Instant::now();
        let result = match self.attempt(ctx, template, arguments, limit, false).await {
            Err(Failure::Broken(error)) => {
                tracing::debug!(%error, "A template meets a broken connection and is run again");
                self.attempt(ctx, template, arguments, limit, true).await
            }
            result => result,
        };
        metrics::histogram!("sql_query_duration_seconds", "template" => label(template))
            .record(begun.elapsed().as_secs_f64());
        result.map_err(|failure| match failure {
            Failure::Final(error) => error,
            Failure::Broken(error) => store_error(error),
        })
    }
}

/// A template's name in metrics. Names that tenants choose are as many as they like, and their own.
fn label(template: &Template) -> String {
    if template.authored { "authored".to_owned() } else { template.name.clone() }
}

/// Why an attempt did not give rows.
enum Failure {
    /// The connection broke: another one may do.
    Broken(sqlx::Error),
    Final(StoreError),
}

async fn fetch(
    connection: &mut TemplateConnection,
    ctx: &Ctx,
    template: &Template,
    arguments: &[Argument],
    limit: i64,
    max_bytes: usize,
) -> Result<RowSet, sqlx::Error> {
    let mut bound = bind(ctx, arguments)?;
    // One more than asked for tells whether there is more.
    bound.add(limit.saturating_add(1)).map_err(sqlx::Error::Encode)?;
    let mut tx = connection.begin(ctx, template.timeout_ms).await?;
    #[expect(clippy::disallowed_methods, reason = "a template's statement passed the gate; values are bound")]
    let statement = sqlx::AssertSqlSafe(limited(&template.statement, arguments.len()));
    let mut stream = sqlx::query_with(statement, bound).fetch(&mut *tx);
    let mut reader = RowReader::new(&template.columns, usize::try_from(limit).unwrap_or(0), max_bytes);
    while let Some(row) = stream.try_next().await? {
        if !reader.push(&row)? {
            break;
        }
    }
    Ok(reader.finish())
}

/// The tenant, then the arguments.
fn bind(ctx: &Ctx, arguments: &[Argument]) -> Result<PgArguments, sqlx::Error> {
    let mut bound = PgArguments::default();
    bound.add(ctx.tenant.as_uuid()).map_err(sqlx::Error::Encode)?;
    for argument in arguments {
        match argument {
            Argument::Text(value) => bound.add(value.as_deref()),
            Argument::Integer(value) => bound.add(value),
            Argument::Boolean(value) => bound.add(value),
            Argument::Date(value) => bound.add(value),
            Argument::Timestamp(value) => bound.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(bound)
}

/// The statement inside one that PostgreSQL only takes when the inner one is a plain query, and that ends after
/// as many rows as the last parameter says. On lines of its own, so that no comment swallows what follows.
fn limited(statement: &str, arguments: usize) -> String {
    format!("SELECT * FROM (\n{statement}\n) AS q LIMIT ${}", arguments + 2)
}

/// Whether the connection ended rather than the statement failed.
fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        // The server ends connections when it shuts down or restarts after a crash.
        sqlx::Error::Database(database) => {
            matches!(database.code().as_deref(), Some("57P01" | "57P02" | "08003" | "08006"))
        }
        _ => false,
    }
}

fn run_error(error: sqlx::Error, template: &Template) -> StoreError {
    let code = error.as_database_error().and_then(|database| database.code()).unwrap_or_default();
    match &*code {
        // Cancelled by its time limit, or waiting for a lock.
        "57014" | "55P03" => StoreError::Timeout { limit_ms: template.timeout_ms },
        _ => {
            tracing::warn!(
                template.name = template.name,
                error.code = &*code,
                error.source = error.source().is_some(),
                "A template failed"
            );
            store_error(error)
        }
    }
}
