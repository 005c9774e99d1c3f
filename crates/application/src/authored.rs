//! SQL templates that a tenant's admins write: from draft over proof to published, and retired.
//!
//! A text is nobody's tool before it has passed the same deny-by-default check as the shipped ones, fits the database,
//! costs no more than it may, and has answered two tenants that exist for probing with their own rows only. What it
//! then reads is held by the database: see docs/adr/0005-second-lock-for-authored-templates.md.

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use domain::authored::{
    AuthoredTemplate, MOST_SOURCE, MOST_TEMPLATES, MOST_VERSIONS, VersionSummary, check_name,
};
use domain::template::Template;
use domain::{
    Allowed, AuditAction, AuditEntry, AuditOutcome, AuditRecord, FieldError, Invalid, KeyId, Scope,
};
use serde_json::{Map, Value};

use crate::audit::arguments_digest;
use crate::ports::{
    Added, AuditFilter, AuditLog, AuthoredTemplateStore, Clock, ListCursor, ListPage, Listing, Proved,
    Publication, RowSet, TemplateCatalog, TemplateProver, TemplateRunner, TemplateVersion,
};
use crate::{Ctx, Error};

const RAN: AuditAction = AuditAction::new("template.run");

/// Published templates of a tenant, unless the installation says otherwise.
pub const PUBLISHED_CEILING: u16 = 25;

/// How far back the runs of a template are looked for: the record is of everything the tenant does.
const RUNS_SHOWN: TimeDelta = TimeDelta::days(30);
/// The most keys that a template names.
const MOST_KEYS: usize = domain::grant::MOST_ENTRIES;

/// A template as a list shows it.
#[derive(Debug, Clone, PartialEq)]
pub enum ListedTemplate {
    /// One that comes with the installation.
    Shipped(Arc<Template>),
    /// One of the tenant's own.
    Authored(AuthoredTemplate),
}

impl ListedTemplate {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Shipped(template) => &template.name,
            Self::Authored(template) => &template.name,
        }
    }
}

/// A template with its versions, and one of these in full.
#[derive(Debug, Clone, PartialEq)]
pub enum TemplateDetail {
    /// One that comes with the installation.
    Shipped(Arc<Template>),
    /// One of the tenant's own.
    Authored {
        /// The template.
        template: AuthoredTemplate,
        /// Its versions, newest first.
        versions: Vec<VersionSummary>,
        /// The one that was asked for.
        version: Box<TemplateVersion>,
    },
}

/// Everything the service works over.
#[expect(missing_debug_implementations, reason = "ports have none")]
pub struct AuthoringParts {
    /// The tenants' own templates.
    pub store: Arc<dyn AuthoredTemplateStore>,
    /// Proves texts.
    pub prover: Arc<dyn TemplateProver>,
    /// The shipped templates.
    pub catalog: Arc<dyn TemplateCatalog>,
    /// Runs templates.
    pub runner: Arc<dyn TemplateRunner>,
    /// Where runs are on the record.
    pub audit: Arc<dyn AuditLog>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The most published templates of a tenant.
    pub ceiling: i64,
}

/// Use cases around a tenant's own templates. All of them concern the tenant as a whole, so none is for a narrowed key.
pub struct AuthoringService(AuthoringParts);

impl AuthoringService {
    /// Puts the service together.
    pub fn new(parts: AuthoringParts) -> Self {
        Self(parts)
    }

    /// The shipped templates and the tenant's own, by name.
    pub async fn list(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<ListedTemplate>, Error> {
        may_read(ctx)?;
        let own = self.0.store.list(ctx).await?.into_iter().filter(|own| self.shipped(&own.name).is_none());
        let mut all: Vec<ListedTemplate> = own.map(ListedTemplate::Authored).collect();
        all.extend(self.0.catalog.list().iter().cloned().map(ListedTemplate::Shipped));
        all.sort_by(|a, b| a.name().cmp(b.name()));
        if let Some(cursor) = &page.cursor {
            all.retain(|listed| listed.name() > cursor.after.as_str());
        }
        let limit = usize::try_from(page.limit).unwrap_or(0);
        let more = all.len() > limit;
        all.truncate(limit);
        let next = all
            .last()
            .filter(|_| more)
            .map(|last| ListCursor { after: last.name().to_owned(), id: uuid::Uuid::nil() });
        Ok(Listing { items: all, next })
    }

    /// One template and one of its versions, the newest when none is named.
    pub async fn get(&self, ctx: &Ctx, name: &str, version: Option<i32>) -> Result<TemplateDetail, Error> {
        may_read(ctx)?;
        match self.shipped(name) {
            Some(shipped) if version.is_none() => Ok(TemplateDetail::Shipped(shipped.clone())),
            Some(_) => Err(no_version(name, version)),
            None => self.detail(ctx, name, version).await,
        }
    }

    /// Adds a version of a template, which may be its first, and proves it. What is refused is kept with its findings.
    pub async fn create(&self, ctx: &Ctx, name: &str, source: &str) -> Result<TemplateDetail, Error> {
        may_write(ctx)?;
        check_name(name)?;
        if self.shipped(name).is_some() {
            return Err(Error::Conflict {
                what: format!("the template `{name}` comes with the installation"),
                hint: "choose another name; GET /api/v1/templates lists those in use".into(),
            });
        }
        if source.len() > MOST_SOURCE || source.contains('\0') {
            let message = format!("must have at most {} KiB and no NUL", MOST_SOURCE / 1024);
            return Err(Invalid::one("/source", message).into());
        }
        let proved = self.0.prover.prove(ctx, name, source).await?;
        match self.0.store.add(ctx, name, source, &proved).await? {
            Added::Version(number) => self.detail(ctx, name, Some(number)).await,
            Added::TooManyVersions => Err(Error::Conflict {
                what: format!("the template `{name}` has {MOST_VERSIONS} versions, which is the most"),
                hint: "go on under another name".into(),
            }),
            Added::TooManyTemplates => Err(Error::Conflict {
                what: format!("the tenant has {MOST_TEMPLATES} templates, which is the most"),
                hint: "add versions to those that are no longer used".into(),
            }),
        }
    }

    /// Proves a version again, the newest when none is named: the database may have changed since.
    pub async fn prove(&self, ctx: &Ctx, name: &str, version: Option<i32>) -> Result<TemplateDetail, Error> {
        may_write(ctx)?;
        let (number, _) = self.prove_again(ctx, name, version).await?;
        self.detail(ctx, name, Some(number)).await
    }

    /// Makes a version a tool of these keys, in the place of any other of the template, after proving it once more. An
    /// earlier version that is published rolls back.
    pub async fn publish(
        &self,
        ctx: &Ctx,
        name: &str,
        version: i32,
        visible_to: &Allowed<KeyId>,
    ) -> Result<TemplateDetail, Error> {
        may_write(ctx)?;
        if visible_to.as_list().is_some_and(|keys| keys.is_empty() || keys.len() > MOST_KEYS) {
            let message =
                format!("must have 1 to {MOST_KEYS} ids of keys; all_keys makes it a tool of every key");
            return Err(Invalid::one("/visible_to", message).into());
        }
        let before = self.own_version(ctx, name, Some(version)).await?;
        let proved = self.0.prover.prove(ctx, name, &before.source).await?;
        if !proved.report.passed() {
            self.0.store.store_proof(ctx, name, version, &proved).await?;
            return Err(not_proved(&proved));
        }
        // A version that passed goes on with what it passed with, unless the database has changed.
        if proved.template.as_ref().map(|template| &template.statement) != before.statement.as_ref()
            || proved.report.columns != before.report.columns
            || !before.summary.proved
        {
            self.0.store.store_proof(ctx, name, version, &proved).await?;
        }
        match self.0.store.publish(ctx, name, version, visible_to, self.0.ceiling).await? {
            Publication::Done => self.detail(ctx, name, Some(version)).await,
            Publication::NotFound => Err(no_version(name, Some(version))),
            Publication::NotProved => Err(not_proved(&proved)),
            Publication::TooMany => Err(Error::Conflict {
                what: format!("the tenant has {} published templates, which is the most", self.0.ceiling),
                hint: "retire one with POST /api/v1/templates/{name}/retire".into(),
            }),
            Publication::UnknownKeys(keys) => {
                let named: Vec<String> = keys.iter().map(ToString::to_string).collect();
                let message = format!("names {}, which is no key of this tenant in use", named.join(", "));
                Err(Invalid::one("/visible_to", message).into())
            }
        }
    }

    /// Makes a template no tool any more; within five seconds nobody runs it. Safe to repeat.
    pub async fn retire(&self, ctx: &Ctx, name: &str) -> Result<TemplateDetail, Error> {
        may_write(ctx)?;
        self.refuse_shipped(name)?;
        if !self.0.store.retire(ctx, name).await? {
            return Err(unknown(name));
        }
        self.detail(ctx, name, None).await
    }

    /// Runs a version that has passed its proof, published or not, for the caller's tenant. Counts as a run of it.
    pub async fn attempt(
        &self,
        ctx: &Ctx,
        name: &str,
        version: Option<i32>,
        arguments: &Map<String, Value>,
    ) -> Result<RowSet, Error> {
        may_write(ctx)?;
        let template = match self.shipped(name) {
            Some(shipped) => Template::clone(shipped),
            None => {
                let version = self.own_version(ctx, name, version).await?;
                let passed = version.template.filter(|_| version.summary.proved);
                passed.ok_or_else(|| Error::Conflict {
                    what: format!("version {} of `{name}` has not passed its proof", version.summary.number),
                    hint: "GET /api/v1/templates/{name} has its findings; correct them in a new version"
                        .into(),
                })?
            }
        };
        let (bound, limit) = template.bind(arguments).map_err(within_arguments)?;
        let begun = Instant::now();
        let outcome = self.0.runner.run(ctx, &template, &bound, limit).await;
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let entry = AuditEntry::ok(RAN)
            .to("template", name)
            .asked(arguments_digest(arguments))
            .with("trial", true)
            .with("duration_ms", took);
        let entry = match &outcome {
            Ok(rows) => entry
                .with("rows", rows.rows.len())
                .with("bytes", rows.bytes)
                .with("truncated", rows.truncated),
            Err(_) => entry.ended(AuditOutcome::Failed),
        };
        self.0.audit.note(ctx, entry).await?;
        Ok(outcome?)
    }

    /// Who ran it and how that ended, newest first, of the last 30 days.
    pub async fn runs(&self, ctx: &Ctx, name: &str, page: &ListPage) -> Result<Listing<AuditRecord>, Error> {
        may_read(ctx)?;
        if self.shipped(name).is_none() && self.0.store.find(ctx, name).await?.is_none() {
            return Err(unknown(name));
        }
        let filter = AuditFilter {
            action: Some("template.run".into()),
            target_kind: Some("template".into()),
            target_id: Some(name.to_owned()),
            since: Some(self.now() - RUNS_SHOWN),
            ..AuditFilter::default()
        };
        Ok(self.0.audit.list(ctx, &filter, page).await?)
    }

    fn now(&self) -> DateTime<Utc> {
        self.0.clock.now()
    }

    fn shipped(&self, name: &str) -> Option<&Arc<Template>> {
        self.0.catalog.find(name)
    }

    fn refuse_shipped(&self, name: &str) -> Result<(), Error> {
        match self.shipped(name) {
            None => Ok(()),
            Some(_) => Err(Error::Conflict {
                what: format!("the template `{name}` comes with the installation and cannot be changed"),
                hint: "narrow the grants of keys that are not to have it".into(),
            }),
        }
    }

    async fn own_version(
        &self,
        ctx: &Ctx,
        name: &str,
        version: Option<i32>,
    ) -> Result<TemplateVersion, Error> {
        self.refuse_shipped(name)?;
        let found = self.0.store.version(ctx, name, version).await?;
        found.ok_or_else(|| no_version(name, version))
    }

    async fn prove_again(&self, ctx: &Ctx, name: &str, version: Option<i32>) -> Result<(i32, Proved), Error> {
        let before = self.own_version(ctx, name, version).await?;
        let number = before.summary.number;
        let proved = self.0.prover.prove(ctx, name, &before.source).await?;
        if !self.0.store.store_proof(ctx, name, number, &proved).await? {
            return Err(no_version(name, Some(number)));
        }
        Ok((number, proved))
    }

    async fn detail(&self, ctx: &Ctx, name: &str, version: Option<i32>) -> Result<TemplateDetail, Error> {
        let (template, versions) = self.0.store.find(ctx, name).await?.ok_or_else(|| unknown(name))?;
        let found = self.0.store.version(ctx, name, version).await?;
        let version = Box::new(found.ok_or_else(|| no_version(name, version))?);
        Ok(TemplateDetail::Authored { template, versions, version })
    }
}

impl std::fmt::Debug for AuthoringService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthoringService")
    }
}

fn may_read(ctx: &Ctx) -> Result<(), Error> {
    ctx.require(Scope::TemplatesRead)?;
    ctx.require_unnarrowed()
}

fn may_write(ctx: &Ctx) -> Result<(), Error> {
    ctx.require(Scope::TemplatesWrite)?;
    ctx.require_unnarrowed()
}

fn unknown(name: &str) -> Error {
    Error::not_found(format!("the template `{name}`"))
}

fn no_version(name: &str, version: Option<i32>) -> Error {
    match version {
        Some(version) => Error::not_found(format!("version {version} of the template `{name}`")),
        None => unknown(name),
    }
}

/// The findings at the version that cannot be published.
fn not_proved(proved: &Proved) -> Error {
    let said = |line: Option<u64>, column: Option<u64>, message: &str| match (line, column) {
        (Some(line), Some(column)) => format!("{message} (line {line}, column {column})"),
        _ => message.to_owned(),
    };
    let error = |message: String| FieldError { pointer: "/version".into(), message, allowed: Vec::new() };
    let findings = &proved.report.findings;
    let mut errors: Vec<FieldError> =
        findings.iter().map(|found| error(said(found.line, found.column, &found.message))).collect();
    if errors.is_empty() {
        errors.push(error("has not passed its proof: POST /api/v1/templates/{name}/prove".into()));
    }
    Invalid { errors }.into()
}

/// Points at the arguments where the body has them.
fn within_arguments(mut invalid: Invalid) -> Invalid {
    for error in &mut invalid.errors {
        error.pointer.insert_str(0, "/arguments");
    }
    invalid
}
