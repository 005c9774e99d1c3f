//! Templates against the database: proving them at start-up, and running them.

mod authored;
mod estimate;
mod page;
mod page_end;
mod probes;
mod prove;
mod prover;
mod quick;
mod rows;
mod statements;
mod tenants;

use std::pin::pin;
use std::time::{Duration, Instant};

use application::Ctx;
use application::ports::{Estimate, RowSet, StoreError, TemplateRunner};
use async_trait::async_trait;
use domain::template::{Argument, KeyValue, MAX_BYTES, Template};
use sqlx::Arguments;
use sqlx::postgres::PgArguments;
use tokio_postgres::types::{ToSql, Type};

use super::Db;
use super::db::{PipelineError, Question, store_error};
pub use authored::PgAuthoredTemplates;
pub use prove::{PgTemplates, Proof, RefusedTemplate, prove};
pub use prover::PgTemplateProver;
use quick::QuickLane;
use rows::RowReader;
use statements::Statements;
pub use statements::template_statement;
use tenants::TenantSlots;

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
    quick: QuickLane,
    statements: Statements,
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
        Self {
            slots: slots(db.reader_slots()),
            author_slots: slots(db.author_slots()),
            quick: QuickLane::new(),
            statements: Statements::new(),
            db,
            max_bytes,
        }
    }

    /// The same with another number of short queries at once; more are worth it where each round trip takes long.
    pub fn with_short_queries(self, most: usize) -> Self {
        Self { quick: QuickLane::of(most), ..self }
    }

    async fn attempt(&self, ctx: &Ctx, asked: &Asked<'_>, tested: bool) -> Result<Given, Failure> {
        match asked.what {
            What::Rows => self.rows(ctx, asked, tested).await.map(Given::Rows),
            // Boxed, as it is rare and would make the others' future as large.
            What::Estimate => Box::pin(self.estimate(ctx, asked, tested)).await.map(Given::Estimate),
        }
    }

    async fn rows(&self, ctx: &Ctx, asked: &Asked<'_>, tested: bool) -> Result<RowSet, Failure> {
        let template = asked.template;
        let statement = self.statements.get(template, asked.arguments, asked.after);
        let (tenant, limit) = (ctx.tenant.as_uuid(), asked.most());
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&tenant];
        let mut types = vec![Type::UUID];
        for argument in asked.arguments {
            let (value, kind): (&(dyn ToSql + Sync), Type) = match argument {
                Argument::Text(value) => (value, Type::TEXT),
                Argument::Integer(value) => (value, Type::INT8),
                Argument::Boolean(value) => (value, Type::BOOL),
                Argument::Date(value) => (value, Type::DATE),
                Argument::Timestamp(value) => (value, Type::TIMESTAMPTZ),
                Argument::TextList(value) => (value, Type::TEXT_ARRAY),
            };
            values.push(value);
            types.push(kind);
        }
        values.push(&limit);
        types.push(Type::INT8);
        for value in asked.after.unwrap_or_default() {
            values.push(&value.text);
            types.push(Type::TEXT);
        }
        let question = Question {
            statement: &statement,
            values: &values,
            types: &types,
            timeout_ms: template.timeout_ms,
        };
        let limit = usize::try_from(asked.limit).unwrap_or(0);
        let max_bytes = self.max_bytes.min(template.max_bytes);
        let mut reader = RowReader::new(&template.columns, template.page.as_ref(), limit, max_bytes);
        let connection = self.db.pipeline(template.authored, tested).await;
        let connection = connection.map_err(|error| Failure::Final(error.into()))?;
        let read = connection.query(ctx, &question, |row| reader.push(row)).await;
        read.and_then(|()| reader.finish()).map_err(|error| match error.is_broken() && !tested {
            true => Failure::Broken(error.into()),
            false => Failure::Final(run_failed(error, template)),
        })
    }

    async fn estimate(&self, ctx: &Ctx, asked: &Asked<'_>, tested: bool) -> Result<Estimate, Failure> {
        let connection = match asked.template.authored {
            true => self.db.author_connection(tested).await,
            false => self.db.template_connection(tested).await,
        };
        let mut connection = connection.map_err(Failure::Final)?;
        match estimate::ask(&mut connection, ctx, asked).await {
            Ok(given) => {
                connection.finish();
                Ok(given)
            }
            Err(error) if is_broken(&error) && !tested => Err(Failure::Broken(store_error(error))),
            Err(error) => {
                // The server answered, so the connection is good for the next.
                if matches!(error, sqlx::Error::Database(_)) {
                    connection.finish();
                }
                Err(Failure::Final(estimate_failed(error, asked.template)))
            }
        }
    }

    /// Within the tenant's share, and once more when the connection turns out to be broken.
    async fn ask(&self, ctx: &Ctx, asked: &Asked<'_>) -> Result<Given, StoreError> {
        let slots = if asked.template.authored { &self.author_slots } else { &self.slots };
        let _slot = slots.take(ctx.tenant).await?;
        // Pinned here: handed on by value it would be copied.
        let attempts = pin!(async {
            match self.attempt(ctx, asked, false).await {
                Err(Failure::Broken(error)) => {
                    tracing::debug!(%error, "A template meets a broken connection and is run again");
                    Box::pin(self.attempt(ctx, asked, true)).await
                }
                result => result,
            }
        });
        let result = self.quick.run(attempts).await;
        result.map_err(|failure| match failure {
            Failure::Final(error) | Failure::Broken(error) => error,
        })
    }
}

/// What is to be found out.
#[derive(Debug, Clone, Copy)]
enum What {
    Rows,
    Estimate,
}

/// One question to the database.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    what: What,
    template: &'a Template,
    arguments: &'a [Argument],
    limit: i64,
    after: Option<&'a [KeyValue]>,
}

impl Asked<'_> {
    fn statement(&self) -> String {
        template_statement(self.template, self.arguments, self.after)
    }

    /// One more than asked for tells whether there is more.
    fn most(&self) -> i64 {
        self.limit.saturating_add(1)
    }

    /// The tenant, the arguments, the limit, and where to go on.
    fn bound(&self, ctx: &Ctx) -> Result<PgArguments, sqlx::Error> {
        let mut bound = bind(ctx, self.arguments)?;
        bound.add(self.most()).map_err(sqlx::Error::Encode)?;
        for value in self.after.unwrap_or_default() {
            bound.add(value.text.as_deref()).map_err(sqlx::Error::Encode)?;
        }
        Ok(bound)
    }
}

/// The answer to one.
#[derive(Debug)]
enum Given {
    Rows(RowSet),
    Estimate(Estimate),
}

#[async_trait]
impl TemplateRunner for PgTemplateRunner {
    async fn run_page(
        &self,
        ctx: &Ctx,
        template: &Template,
        arguments: &[Argument],
        limit: i64,
        after: Option<&[KeyValue]>,
    ) -> Result<RowSet, StoreError> {
        let begun = Instant::now();
        let asked = Asked { what: What::Rows, template, arguments, limit, after };
        let given = self.ask(ctx, &asked).await;
        metrics::histogram!("sql_query_duration_seconds", "template" => label(template))
            .record(begun.elapsed().as_secs_f64());
        match given? {
            Given::Rows(rows) => Ok(rows),
            Given::Estimate(_) => Err(StoreError::Internal("rows were asked for".into())),
        }
    }

    async fn estimate(
        &self,
        ctx: &Ctx,
        template: &Template,
        arguments: &[Argument],
        limit: i64,
    ) -> Result<Estimate, StoreError> {
        let asked = Asked { what: What::Estimate, template, arguments, limit, after: None };
        match self.ask(ctx, &asked).await? {
            Given::Estimate(estimate) => Ok(estimate),
            Given::Rows(_) => Err(StoreError::Internal("an estimate was asked for".into())),
        }
    }
}

/// A template's name in metrics. Names that tenants choose are as many as they like, and their own.
fn label(template: &Template) -> String {
    if template.authored { "authored".to_owned() } else { template.name.clone() }
}

/// Why an attempt did not give rows.
enum Failure {
    /// The connection broke: another one may do.
    Broken(StoreError),
    Final(StoreError),
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
            Argument::TextList(value) => bound.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(bound)
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

fn run_failed(error: PipelineError, template: &Template) -> StoreError {
    timed_out(error.code(), template).unwrap_or_else(|| error.into())
}

fn estimate_failed(error: sqlx::Error, template: &Template) -> StoreError {
    let code = error.as_database_error().and_then(|database| database.code());
    timed_out(code.as_deref().unwrap_or_default(), template).unwrap_or_else(|| store_error(error))
}

/// Whether this code says that the template was cancelled by its time limit, or waited for a lock.
fn timed_out(code: &str, template: &Template) -> Option<StoreError> {
    if matches!(code, "57014" | "55P03") {
        return Some(StoreError::Timeout { limit_ms: template.timeout_ms });
    }
    tracing::warn!(template.name = template.name, error.code = code, "A template failed");
    None
}
