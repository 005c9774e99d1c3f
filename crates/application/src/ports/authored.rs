use std::sync::Arc;

use async_trait::async_trait;
use domain::authored::{AuthoredTemplate, ProofReport, VersionSummary};
use domain::template::Template;
use domain::{Allowed, KeyId};

use super::StoreError;
use crate::Ctx;

/// A published template of a tenant, and who has it as a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedTemplate {
    /// The template.
    pub template: Arc<Template>,
    /// The keys that have it as a tool.
    pub visible_to: Allowed<KeyId>,
}

/// A version with its text.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateVersion {
    /// Its number, and who made it when.
    pub summary: VersionSummary,
    /// The text as it was written.
    pub source: String,
    /// The statement that is run: re-rendered from the text. `None` when the text was refused.
    pub statement: Option<String>,
    /// What proving it found.
    pub report: ProofReport,
    /// What it is to a caller; `None` when its text does not pass the check, which may have become stricter since.
    pub template: Option<Template>,
}

/// What proving a text gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Proved {
    /// The template, as far as it could be read; with its columns when the report says that it passed.
    pub template: Option<Template>,
    /// What was found.
    pub report: ProofReport,
}

/// What came of adding a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It has this number.
    Version(i32),
    /// The template has as many versions as it may.
    TooManyVersions,
    /// The tenant has as many templates as it may.
    TooManyTemplates,
}

/// What came of publishing a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publication {
    /// It is a tool, within five seconds on every replica.
    Done,
    /// The tenant has no such template, or that no such version.
    NotFound,
    /// That version has not passed its proof.
    NotProved,
    /// The tenant has as many published templates as it may.
    TooMany,
    /// These are no keys of the tenant that open anything.
    UnknownKeys(Vec<KeyId>),
}

/// Templates that a tenant's admins write.
#[async_trait]
pub trait AuthoredTemplateStore: Send + Sync {
    /// The tenant's published templates, by name. At most four seconds old, so that they cost a call nothing.
    async fn published(&self, ctx: &Ctx) -> Result<Arc<Vec<PublishedTemplate>>, StoreError>;

    /// All of the tenant, by name; there are at most [`MOST_TEMPLATES`](domain::authored::MOST_TEMPLATES).
    async fn list(&self, ctx: &Ctx) -> Result<Vec<AuthoredTemplate>, StoreError>;

    /// One with its versions, newest first. `None` when the tenant has none of that name.
    async fn find(
        &self,
        ctx: &Ctx,
        name: &str,
    ) -> Result<Option<(AuthoredTemplate, Vec<VersionSummary>)>, StoreError>;

    /// One version, the newest when no number is given.
    async fn version(
        &self,
        ctx: &Ctx,
        name: &str,
        number: Option<i32>,
    ) -> Result<Option<TemplateVersion>, StoreError>;

    /// Adds a version, and the template with the first one, with their audit record.
    async fn add(&self, ctx: &Ctx, name: &str, source: &str, proved: &Proved) -> Result<Added, StoreError>;

    /// Replaces the report of a version. A published version that does not pass any more is no tool any more. `false`
    /// when there is none.
    async fn store_proof(
        &self,
        ctx: &Ctx,
        name: &str,
        number: i32,
        proved: &Proved,
    ) -> Result<bool, StoreError>;

    /// Makes a version the one that is a tool, in the place of any other of the template.
    async fn publish(
        &self,
        ctx: &Ctx,
        name: &str,
        number: i32,
        visible_to: &Allowed<KeyId>,
        ceiling: i64,
    ) -> Result<Publication, StoreError>;

    /// Makes a template no tool any more. Safe to repeat. `false` when the tenant has none of that name.
    async fn retire(&self, ctx: &Ctx, name: &str) -> Result<bool, StoreError>;
}

/// Proves texts.
#[async_trait]
pub trait TemplateProver: Send + Sync {
    /// Checks a text, prepares and explains its statement for the tenant, and runs it for the two tenants that exist
    /// for probing. Never shows the caller anything of another tenant.
    async fn prove(&self, ctx: &Ctx, name: &str, source: &str) -> Result<Proved, StoreError>;
}
