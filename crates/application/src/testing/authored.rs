//! Templates that tenants write. The proof here is a look at a word: a text passes unless it says `refuse`.

use std::sync::Arc;

use async_trait::async_trait;
use domain::authored::{
    AuthoredTemplate, MOST_TEMPLATES, MOST_VERSIONS, ProbeRun, ProofFinding, ProofReport, VersionSummary,
};
use domain::template::{Column, ColumnType, DEFAULT_COST, MAX_BYTES, Template};
use domain::{Allowed, KeyId, Scope, TenantId};

use super::{Memory, moment};
use crate::Ctx;
use crate::ports::{
    Added, AuthoredTemplateStore, Proved, Publication, PublishedTemplate, StoreError, TemplateProver,
    TemplateVersion,
};

#[derive(Debug)]
pub(super) struct StoredTemplate {
    tenant: TenantId,
    template: AuthoredTemplate,
    versions: Vec<TemplateVersion>,
}

impl StoredTemplate {
    fn is(&self, ctx: &Ctx, name: &str) -> bool {
        self.tenant == ctx.tenant && self.template.name == name
    }

    fn version(&mut self, number: i32) -> Option<&mut TemplateVersion> {
        self.versions.iter_mut().find(|version| version.summary.number == number)
    }
}

fn template(name: &str) -> Template {
    Template {
        name: name.to_owned(),
        title: format!("The template {name}"),
        description: "Answers what the tenant's own admins have thought of, for the tests of templates."
            .into(),
        tags: vec!["own".into()],
        params: Vec::new(),
        default_limit: 50,
        max_limit: 500,
        timeout_ms: 5_000,
        max_bytes: MAX_BYTES,
        max_cost: DEFAULT_COST,
        scope: Scope::McpSql,
        page: None,
        columns: vec![Column { name: "title".into(), kind: ColumnType::Text }].into(),
        statement: "select 1".into(),
        version: "0123456789ab".into(),
        authored: true,
    }
}

#[async_trait]
impl AuthoredTemplateStore for Memory {
    async fn published(&self, ctx: &Ctx) -> Result<Arc<Vec<PublishedTemplate>>, StoreError> {
        self.reach("authored.published").await?;
        let state = self.state();
        let of_tenant = state.authored.iter().filter(|row| row.tenant == ctx.tenant);
        let mut published: Vec<PublishedTemplate> = of_tenant
            .filter_map(|row| {
                let number = row.template.published?;
                let version = row.versions.iter().find(|version| version.summary.number == number)?;
                let template = version.template.clone().filter(|_| version.summary.proved)?;
                let visible_to = row.template.visible_to.clone();
                Some(PublishedTemplate { template: Arc::new(template), visible_to })
            })
            .collect();
        published.sort_by(|a, b| a.template.name.cmp(&b.template.name));
        Ok(Arc::new(published))
    }

    async fn list(&self, ctx: &Ctx) -> Result<Vec<AuthoredTemplate>, StoreError> {
        self.reach("authored.list").await?;
        let state = self.state();
        let of_tenant = state.authored.iter().filter(|row| row.tenant == ctx.tenant);
        let mut all: Vec<AuthoredTemplate> = of_tenant.map(|row| row.template.clone()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    async fn find(
        &self,
        ctx: &Ctx,
        name: &str,
    ) -> Result<Option<(AuthoredTemplate, Vec<VersionSummary>)>, StoreError> {
        self.reach("authored.find").await?;
        let state = self.state();
        let found = state.authored.iter().find(|row| row.is(ctx, name));
        Ok(found.map(|row| {
            (row.template.clone(), row.versions.iter().rev().map(|version| version.summary.clone()).collect())
        }))
    }

    async fn version(
        &self,
        ctx: &Ctx,
        name: &str,
        number: Option<i32>,
    ) -> Result<Option<TemplateVersion>, StoreError> {
        self.reach("authored.version").await?;
        let state = self.state();
        let Some(row) = state.authored.iter().find(|row| row.is(ctx, name)) else { return Ok(None) };
        let wanted =
            |version: &&TemplateVersion| number.is_none_or(|number| version.summary.number == number);
        Ok(row.versions.iter().rev().find(wanted).cloned())
    }

    async fn add(&self, ctx: &Ctx, name: &str, source: &str, proved: &Proved) -> Result<Added, StoreError> {
        self.reach("authored.add").await?;
        let mut state = self.state();
        let by = ctx.principal.label().to_owned();
        let place = match state.authored.iter().position(|row| row.is(ctx, name)) {
            Some(place) => place,
            None => {
                let own = state.authored.iter().filter(|row| row.tenant == ctx.tenant).count();
                if own >= usize::try_from(MOST_TEMPLATES).unwrap_or(0) {
                    return Ok(Added::TooManyTemplates);
                }
                let template = AuthoredTemplate {
                    name: name.to_owned(),
                    title: None,
                    newest: 0,
                    newest_proved: false,
                    published: None,
                    visible_to: Allowed::All,
                    retired_at: None,
                    created_at: moment(),
                    updated_at: moment(),
                    updated_by: by.clone(),
                };
                state.authored.push(StoredTemplate { tenant: ctx.tenant, template, versions: Vec::new() });
                state.authored.len() - 1
            }
        };
        let row = &mut state.authored[place];
        if row.template.newest >= MOST_VERSIONS {
            return Ok(Added::TooManyVersions);
        }
        let number = row.template.newest + 1;
        let passed = proved.report.passed();
        row.template.newest = number;
        row.template.newest_proved = passed;
        row.template.title = proved.template.as_ref().map(|template| template.title.clone());
        row.template.updated_by.clone_from(&by);
        row.versions.push(TemplateVersion {
            summary: VersionSummary { number, proved: passed, created_at: moment(), created_by: by },
            source: source.to_owned(),
            statement: proved.template.as_ref().map(|template| template.statement.clone()),
            report: proved.report.clone(),
            template: proved.template.clone(),
        });
        Ok(Added::Version(number))
    }

    async fn store_proof(
        &self,
        ctx: &Ctx,
        name: &str,
        number: i32,
        proved: &Proved,
    ) -> Result<bool, StoreError> {
        self.reach("authored.store_proof").await?;
        let mut state = self.state();
        let Some(row) = state.authored.iter_mut().find(|row| row.is(ctx, name)) else { return Ok(false) };
        let passed = proved.report.passed();
        let Some(version) = row.version(number) else { return Ok(false) };
        version.summary.proved = passed;
        version.report = proved.report.clone();
        if number == row.template.newest {
            row.template.newest_proved = passed;
        }
        Ok(true)
    }

    async fn publish(
        &self,
        ctx: &Ctx,
        name: &str,
        number: i32,
        visible_to: &Allowed<KeyId>,
        ceiling: i64,
    ) -> Result<Publication, StoreError> {
        self.reach("authored.publish").await?;
        let mut state = self.state();
        let known = |id: &KeyId| {
            state
                .keys
                .iter()
                .any(|row| row.tenant == ctx.tenant && row.key.id == *id && row.key.is_active(moment()))
        };
        let unknown: Vec<KeyId> =
            visible_to.as_list().into_iter().flatten().filter(|id| !known(id)).copied().collect();
        let others = state.authored.iter().filter(|row| {
            row.tenant == ctx.tenant && row.template.name != name && row.template.published.is_some()
        });
        let others = i64::try_from(others.count()).unwrap_or(i64::MAX);
        let Some(row) = state.authored.iter_mut().find(|row| row.is(ctx, name)) else {
            return Ok(Publication::NotFound);
        };
        match row.version(number).map(|version| version.summary.proved) {
            None => return Ok(Publication::NotFound),
            Some(false) => return Ok(Publication::NotProved),
            Some(true) => {}
        }
        if others >= ceiling {
            return Ok(Publication::TooMany);
        }
        if !unknown.is_empty() {
            return Ok(Publication::UnknownKeys(unknown));
        }
        row.template.published = Some(number);
        row.template.visible_to = visible_to.clone();
        row.template.retired_at = None;
        Ok(Publication::Done)
    }

    async fn retire(&self, ctx: &Ctx, name: &str) -> Result<bool, StoreError> {
        self.reach("authored.retire").await?;
        let mut state = self.state();
        let Some(row) = state.authored.iter_mut().find(|row| row.is(ctx, name)) else { return Ok(false) };
        row.template.published = None;
        row.template.visible_to = Allowed::All;
        row.template.retired_at.get_or_insert_with(moment);
        Ok(true)
    }
}

#[async_trait]
impl TemplateProver for Memory {
    async fn prove(&self, _: &Ctx, name: &str, source: &str) -> Result<Proved, StoreError> {
        self.reach("authored.prove").await?;
        let refused = source.contains("refuse");
        let finding = ProofFinding { line: Some(1), column: Some(1), message: "may not say that".into() };
        let report = ProofReport {
            at: moment(),
            findings: if refused { vec![finding] } else { Vec::new() },
            columns: if refused { Vec::new() } else { template(name).columns.to_vec() },
            cost: (!refused).then_some(12.0),
            max_cost: 1_000.0,
            probes: if refused { Vec::new() } else { vec![ProbeRun { rows: 1, marked: 1, foreign: 0 }; 2] },
        };
        Ok(Proved { template: (!refused).then(|| template(name)), report })
    }
}
