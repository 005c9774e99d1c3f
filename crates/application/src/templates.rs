//! Running whitelisted SQL templates.

mod cursor;
mod warnings;

use std::sync::Arc;

use domain::authored::is_visible;
use domain::template::{Claims, Template};
use domain::{Principal, Scope, Toolset};
use serde_json::{Map, Value};

use self::cursor::Cursors;
pub use self::warnings::warnings;
use crate::ports::{
    AuthoredTemplateStore, Clock, Estimate, Freshness, RowSet, StoredCounts, SyncStore, TemplateCatalog,
    TemplateRunner, Vault,
};
use crate::{Ctx, Error};

/// Rows with what a reader must know to trust them.
#[derive(Debug)]
pub struct TemplateAnswer {
    /// The template that was run.
    pub template: Arc<Template>,
    /// Its rows.
    pub rows: RowSet,
    /// What to give as `cursor` for the rows behind these; `None` when there are none, or the template has no pages.
    pub next_cursor: Option<String>,
    /// How fresh each instance's data is.
    pub freshness: Arc<Vec<Freshness>>,
}

/// What running a template would take.
#[derive(Debug)]
pub struct TemplateEstimate {
    /// The template.
    pub template: Arc<Template>,
    /// What the planner expects.
    pub estimate: Estimate,
}

impl TemplateEstimate {
    /// Whether the planner expects no more than the template may cost.
    pub fn is_within_guard(&self) -> bool {
        self.estimate.cost <= self.template.max_cost
    }
}

/// Use cases around templates.
pub struct TemplateService {
    catalog: Arc<dyn TemplateCatalog>,
    authored: Arc<dyn AuthoredTemplateStore>,
    runner: Arc<dyn TemplateRunner>,
    sync: Arc<dyn SyncStore>,
    cursors: Cursors,
    clock: Arc<dyn Clock>,
}

impl TemplateService {
    /// Puts the service together.
    pub fn new(
        catalog: Arc<dyn TemplateCatalog>,
        authored: Arc<dyn AuthoredTemplateStore>,
        runner: Arc<dyn TemplateRunner>,
        sync: Arc<dyn SyncStore>,
        vault: Arc<dyn Vault>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { catalog, authored, runner, sync, cursors: Cursors::new(vault), clock }
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
        let mine = |template: &&Arc<Template>| may_run(ctx, template);
        let mut all: Vec<Arc<Template>> = shipped.iter().chain(own).filter(mine).cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// One template. The same answer whether it is unknown or not this caller's.
    pub async fn get(&self, ctx: &Ctx, name: &str) -> Result<Arc<Template>, Error> {
        require_sql(ctx)?;
        let unknown = || Error::not_found(format!("the template `{name}`"));
        // What is shipped needs no look at the tenant's own, and no tenant can stand in its place.
        if let Some(shipped) = self.catalog.find(name) {
            return Some(shipped).filter(|template| may_run(ctx, template)).cloned().ok_or_else(unknown);
        }
        if !ctx.grant.templates.allows(name) {
            return Err(unknown());
        }
        let authored = self.authored.published(ctx).await?;
        let found = authored
            .iter()
            .find(|own| own.template.name == name && is_visible(&own.visible_to, &ctx.principal))
            .filter(|own| may_run(ctx, &own.template));
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

    /// Checks the arguments and runs the template for the caller's tenant; with a cursor among them, from there on.
    pub async fn run(
        &self,
        ctx: &Ctx,
        name: &str,
        arguments: &Map<String, Value>,
    ) -> Result<TemplateAnswer, Error> {
        self.run_this(ctx, self.get(ctx, name).await?, arguments).await
    }

    /// The same for one that [`Self::get`] gave this caller just now.
    pub async fn run_this(
        &self,
        ctx: &Ctx,
        template: Arc<Template>,
        arguments: &Map<String, Value>,
    ) -> Result<TemplateAnswer, Error> {
        let (bound, limit) = template.bind_for(arguments, &claims(ctx))?;
        let now = self.clock.now();
        let after = template
            .cursor(arguments)?
            .map(|cursor| self.cursors.open(ctx, &template, &bound, cursor, now))
            .transpose()?;
        let rows = self.runner.run_page(ctx, &template, &bound, limit, after.as_deref()).await?;
        let next = rows.next.as_deref();
        let next_cursor = next.and_then(|at| self.cursors.seal(ctx, &template, &bound, at, now));
        let freshness = self.sync.cached_freshness(ctx).await?;
        Ok(TemplateAnswer { template, rows, next_cursor, freshness })
    }

    /// What running it with these arguments would take. They are checked as for a run, and nothing is run.
    pub async fn explain(
        &self,
        ctx: &Ctx,
        name: &str,
        arguments: &Map<String, Value>,
    ) -> Result<TemplateEstimate, Error> {
        let template = self.get(ctx, name).await?;
        let (bound, limit) = template.bind_for(arguments, &claims(ctx))?;
        let estimate = self.runner.estimate(ctx, &template, &bound, limit).await?;
        Ok(TemplateEstimate { template, estimate })
    }

    /// Fails when the caller may not use templates at all.
    pub fn require(&self, ctx: &Ctx) -> Result<(), Error> {
        require_sql(ctx)
    }

    /// How fresh each instance's data is, at most some seconds ago.
    pub async fn cached_freshness(&self, ctx: &Ctx) -> Result<Arc<Vec<Freshness>>, Error> {
        require_sql(ctx)?;
        Ok(self.sync.cached_freshness(ctx).await?)
    }

    /// How fresh each instance's data is, and how much there is of it.
    pub async fn freshness(&self, ctx: &Ctx) -> Result<Vec<(Freshness, StoredCounts)>, Error> {
        require_sql(ctx)?;
        Ok(self.sync.freshness(ctx, None).await?)
    }
}

/// Whether the caller's grant and scopes reach this one.
fn may_run(ctx: &Ctx, template: &Template) -> bool {
    ctx.grant.templates.allows(template.name.as_str()) && ctx.scopes.allow(template.scope)
}

/// What templates may be told of the caller.
fn claims(ctx: &Ctx) -> Claims {
    Claims {
        principal: ctx.principal.id().map(|id| id.to_string()),
        user: match &ctx.principal {
            Principal::User { id, .. } => Some(id.to_string()),
            Principal::Key { .. } | Principal::System(_) => None,
        },
        instances: ctx.grant.instances.as_list().map(|list| list.iter().map(ToString::to_string).collect()),
        projects: ctx
            .grant
            .projects_read
            .as_list()
            .map(|list| list.iter().map(|key| key.as_str().to_owned()).collect()),
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
