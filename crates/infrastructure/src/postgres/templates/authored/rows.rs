//! Rows of the tables of authored templates.

use std::sync::Arc;

use application::ports::{PublishedTemplate, TemplateVersion};
use chrono::{DateTime, Utc};
use domain::authored::{AuthoredTemplate, ProofReport, VersionSummary};
use domain::template::Template;
use domain::{Allowed, KeyId};
use sqlx::types::Json;
use uuid::Uuid;

use crate::templates::check;

/// Reads a stored text as it is read today: a check that has become stricter counts for what was stored before. `None`
/// when it does not pass, or is rendered otherwise than what was proved: then it wants another proof.
fn read(name: &str, source: &str, statement: Option<&str>, report: &ProofReport) -> Option<Template> {
    let template = check(name, source).ok()?;
    if statement != Some(template.statement.as_str()) {
        return None;
    }
    Some(Template { columns: report.columns.as_slice().into(), authored: true, ..template })
}

fn visible_to(keys: Option<Vec<Uuid>>) -> Allowed<KeyId> {
    Allowed::from_list(keys.map(|keys| keys.into_iter().map(KeyId::new)))
}

#[derive(sqlx::FromRow)]
pub(super) struct PublishedRow {
    name: String,
    visible_to: Option<Vec<Uuid>>,
    source: String,
    statement: Option<String>,
    report: Json<ProofReport>,
}

impl PublishedRow {
    pub(super) fn read(self) -> Option<PublishedTemplate> {
        let template = read(&self.name, &self.source, self.statement.as_deref(), &self.report);
        if template.is_none() {
            tracing::warn!(
                template.name = self.name,
                "A published template does not pass the check of this release and is no tool: prove it again"
            );
        }
        Some(PublishedTemplate { template: Arc::new(template?), visible_to: visible_to(self.visible_to) })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct ListRow {
    name: String,
    published: Option<i32>,
    visible_to: Option<Vec<Uuid>>,
    retired_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    updated_by: String,
    number: i32,
    title: Option<String>,
    proved: bool,
}

impl From<ListRow> for AuthoredTemplate {
    fn from(row: ListRow) -> Self {
        Self {
            name: row.name,
            title: row.title,
            newest: row.number,
            newest_proved: row.proved,
            published: row.published,
            visible_to: visible_to(row.visible_to),
            retired_at: row.retired_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            updated_by: row.updated_by,
        }
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct VersionRow {
    number: i32,
    source: String,
    statement: Option<String>,
    proved: bool,
    report: Json<ProofReport>,
    created_at: DateTime<Utc>,
    created_by: String,
}

impl VersionRow {
    pub(super) fn read(self, name: &str) -> TemplateVersion {
        let template = read(name, &self.source, self.statement.as_deref(), &self.report);
        TemplateVersion {
            summary: VersionSummary {
                number: self.number,
                proved: self.proved,
                created_at: self.created_at,
                created_by: self.created_by,
            },
            source: self.source,
            statement: self.statement,
            report: self.report.0,
            template,
        }
    }
}
