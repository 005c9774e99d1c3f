use std::sync::Arc;

use async_trait::async_trait;
use domain::template::{Argument, Column, KeyValue, Template};
use serde_json::{Map, Value};

use super::StoreError;
use crate::Ctx;

/// The published templates.
pub trait TemplateCatalog: Send + Sync {
    /// All of them, by name.
    fn list(&self) -> &[Arc<Template>];

    /// `None` when there is none of that name.
    fn find(&self, name: &str) -> Option<&Arc<Template>> {
        self.list().iter().find(|template| template.name == name)
    }
}

/// Rows of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct RowSet {
    /// The columns, in order.
    pub columns: Arc<[Column]>,
    /// Of each row, the values in the order of the columns.
    pub rows: Vec<Vec<Value>>,
    /// Bytes of the rows as JSON.
    pub bytes: usize,
    /// There were more rows than the limit, or more bytes than the cap.
    pub truncated: bool,
    /// What the next page comes after; `None` when there is none, or none that can be asked for.
    pub next: Option<Vec<KeyValue>>,
}

impl RowSet {
    /// The rows as objects keyed by column name.
    pub fn into_objects(self) -> impl Iterator<Item = Map<String, Value>> {
        let Self { columns, rows, .. } = self;
        rows.into_iter().map(move |row| columns.iter().map(|column| column.name.clone()).zip(row).collect())
    }
}

/// What the planner expects of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Rows of the answer.
    pub rows: f64,
    /// In PostgreSQL's units of cost.
    pub cost: f64,
    /// The indexes it would use, sorted.
    pub indexes: Vec<String>,
    /// The tables it would read from end to end, sorted.
    pub whole_tables: Vec<String>,
}

/// Runs templates.
#[async_trait]
pub trait TemplateRunner: Send + Sync {
    /// Runs one: as the reader role, one prepared statement in a read-only transaction that is always rolled
    /// back, with timeout, row and byte caps.
    async fn run(
        &self,
        ctx: &Ctx,
        template: &Template,
        arguments: &[Argument],
        limit: i64,
    ) -> Result<RowSet, StoreError> {
        self.run_page(ctx, template, arguments, limit, None).await
    }

    /// The same, but only the rows that come `after` these values of the template's page key.
    async fn run_page(
        &self,
        ctx: &Ctx,
        template: &Template,
        arguments: &[Argument],
        limit: i64,
        after: Option<&[KeyValue]>,
    ) -> Result<RowSet, StoreError>;

    /// What running it is expected to take. Runs nothing, and sees no more than a run would.
    async fn estimate(
        &self,
        ctx: &Ctx,
        template: &Template,
        arguments: &[Argument],
        limit: i64,
    ) -> Result<Estimate, StoreError>;
}
