//! Running whitelisted SQL templates.

use std::sync::Arc;

use domain::Scope;
use domain::template::Template;
use serde_json::{Map, Value};

use crate::ports::{Freshness, RowSet, StoredCounts, SyncStore, TemplateCatalog, TemplateRunner};
use crate::{Ctx, Error};

/// Rows with what a reader must know to trust them.
#[derive(Debug)]
pub struct TemplateAnswer {
    /// The template that was run.
    pub template: Arc<Template>,
    /// Its rows.
    pub rows: RowSet,
    /// How fresh each instance's data is.
    pub freshness: Arc<Vec<Freshness>>,
}

/// Use cases around templates.
pub struct TemplateService {
    catalog: Arc<dyn TemplateCatalog>,
    runner: Arc<dyn TemplateRunner>,
    sync: Arc<dyn SyncStore>,
}

impl TemplateService {
    /// Puts the service together.
    pub fn new(
        catalog: Arc<dyn TemplateCatalog>,
        runner: Arc<dyn TemplateRunner>,
        sync: Arc<dyn SyncStore>,
    ) -> Self {
        Self { catalog, runner, sync }
    }

    /// The templates this caller may run, by name.
    pub fn list(&self, ctx: &Ctx) -> Result<&[Arc<Template>], Error> {
        ctx.require(Scope::McpSql)?;
        Ok(self.catalog.list())
    }

    /// One template. The same answer whether it is unknown or not this caller's.
    pub fn get(&self, ctx: &Ctx, name: &str) -> Result<Arc<Template>, Error> {
        ctx.require(Scope::McpSql)?;
        self.catalog.find(name).cloned().ok_or_else(|| Error::not_found(format!("the template `{name}`")))
    }

    /// Checks the arguments and runs the template for the caller's tenant.
    pub async fn run(
        &self,
        ctx: &Ctx,
        name: &str,
        arguments: &Map<String, Value>,
    ) -> Result<TemplateAnswer, Error> {
        let template = self.get(ctx, name)?;
        let (bound, limit) = template.bind(arguments)?;
        let rows = self.runner.run(ctx, &template, &bound, limit).await?;
        let freshness = self.sync.cached_freshness(ctx).await?;
        Ok(TemplateAnswer { template, rows, freshness })
    }

    /// How fresh each instance's data is, and how much there is of it.
    pub async fn freshness(&self, ctx: &Ctx) -> Result<Vec<(Freshness, StoredCounts)>, Error> {
        ctx.require(Scope::McpSql)?;
        Ok(self.sync.freshness(ctx, None).await?)
    }
}

impl std::fmt::Debug for TemplateService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TemplateService")
    }
}
