//! Running whitelisted SQL templates.

use std::sync::Arc;

use domain::authored::is_visible;
use domain::template::Template;
use domain::{Scope, Toolset};
use serde_json::{Map, Value};

use crate::ports::{
    AuthoredTemplateStore, Freshness, RowSet, StoredCounts, SyncStore, TemplateCatalog, TemplateRunner,
};
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
    authored: Arc<dyn AuthoredTemplateStore>,
    runner: Arc<dyn TemplateRunner>,
    sync: Arc<dyn SyncStore>,
}

impl TemplateService {
    /// Puts the service together.
    pub fn new(
        catalog: Arc<dyn TemplateCatalog>,
        authored: Arc<dyn AuthoredTemplateStore>,
        runner: Arc<dyn TemplateRunner>,
        sync: Arc<dyn SyncStore>,
    ) -> Self {
        Self { catalog, authored, runner, sync }
    }

    /// The templates this caller may run, by name: the shipped ones, and those of the tenant that it is to have.
    pub async fn list(&self, ctx: &Ctx) -> Result<Vec<Arc<Template>>, Error> {
        require_sql(ctx)?;
        let shipped = self.catalog.list();
        let authored = self.authored.published(ctx).await?;
        let own = authored
            .iter()
            .filter(|own| is_visible(&own.visible_to, &ctx.principal) && !self.is_shipped(&own.template.name))
            .map(|own| &own.template);
        let mine = |template: &&Arc<Template>| ctx.grant.templates.allows(template.name.as_str());
        let mut all: Vec<Arc<Template>> = shipped.iter().chain(own).filter(mine).cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// One template. The same answer whether it is unknown or not this caller's.
    pub async fn get(&self, ctx: &Ctx, name: &str) -> Result<Arc<Template>, Error> {
        require_sql(ctx)?;
        let unknown = || Error::not_found(format!("the template `{name}`"));
        if !ctx.grant.templates.allows(name) {
            return Err(unknown());
        }
        // What is shipped needs no look at the tenant's own, and no tenant can stand in its place.
        if let Some(shipped) = self.catalog.find(name) {
            return Ok(shipped.clone());
        }
        let authored = self.authored.published(ctx).await?;
        let found = authored
            .iter()
            .find(|own| own.template.name == name && is_visible(&own.visible_to, &ctx.principal));
        found.map(|own| own.template.clone()).ok_or_else(unknown)
    }

    /// Whether a template of that name comes with the installation.
    fn is_shipped(&self, name: &str) -> bool {
        self.catalog.find(name).is_some()
    }

    /// Whether the tenant has a template of that name, whoever of it asks. Decides nothing: for the record.
    pub async fn is_known(&self, ctx: &Ctx, name: &str) -> bool {
        self.is_shipped(name)
            || (self.authored.published(ctx).await)
                .is_ok_and(|own| own.iter().any(|own| own.template.name == name))
    }

    /// Checks the arguments and runs the template for the caller's tenant.
    pub async fn run(
        &self,
        ctx: &Ctx,
        name: &str,
        arguments: &Map<String, Value>,
    ) -> Result<TemplateAnswer, Error> {
        let template = self.get(ctx, name).await?;
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
