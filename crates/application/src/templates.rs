//! Running whitelisted SQL templates.

use std::sync::Arc;

use domain::template::Template;
use domain::{Scope, Toolset};
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
    pub fn list(&self, ctx: &Ctx) -> Result<Vec<Arc<Template>>, Error> {
        require_sql(ctx)?;
        let mine = |template: &&Arc<Template>| ctx.grant.templates.allows(template.name.as_str());
        Ok(self.catalog.list().iter().filter(mine).cloned().collect())
    }

    /// One template. The same answer whether it is unknown or not this caller's.
    pub fn get(&self, ctx: &Ctx, name: &str) -> Result<Arc<Template>, Error> {
        require_sql(ctx)?;
        let found = self.catalog.find(name).filter(|_| ctx.grant.templates.allows(name));
        found.cloned().ok_or_else(|| Error::not_found(format!("the template `{name}`")))
    }

    /// Whether there is a template of that name, whoever asks. Decides nothing: for the record.
    pub fn is_known(&self, name: &str) -> bool {
        self.catalog.find(name).is_some()
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
        require_sql(ctx)?;
        Ok(self.sync.freshness(ctx, None).await?)
    }

    /// How fresh each instance's data is; up to two seconds old, and at hand.
    pub async fn cached_freshness(&self, ctx: &Ctx) -> Result<Arc<Vec<Freshness>>, Error> {
        require_sql(ctx)?;
        Ok(self.sync.cached_freshness(ctx).await?)
    }
}

/// The scope, and the set of tools that all templates belong to.
fn require_sql(ctx: &Ctx) -> Result<(), Error> {
    ctx.require(Scope::McpSql)?;
    ctx.require_toolset(Toolset::Sql)
}

impl std::fmt::Debug for TemplateService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TemplateService")
    }
}
