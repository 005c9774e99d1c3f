//! Templates as JSON.

use application::authored::{ListedTemplate, TemplateDetail};
use application::ports::{RowSet, TemplateVersion};
use chrono::{DateTime, Utc};
use domain::authored::{AuthoredTemplate, ProofReport, VersionSummary};
use domain::template::{Column, Template};
use domain::{AuditRecord, KeyId};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::names::{AuditOutcomeName, ColumnTypeName, TemplateOriginName, TemplateStateName};

/// A SQL template.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Template)]
pub(in super::super) struct TemplateBody {
    /// Its name, also the tool's.
    #[schema(example = "open_bugs")]
    name: String,
    /// A title for people; null while no version could be read.
    title: Option<String>,
    /// Whether it comes with the installation or is the tenant's own.
    #[schema(value_type = TemplateOriginName)]
    origin: &'static str,
    #[schema(value_type = TemplateStateName)]
    state: &'static str,
    /// The number of its newest version; null for one that comes with the installation.
    version: Option<i32>,
    /// The version that is a tool.
    published_version: Option<i32>,
    /// The keys that have it as a tool; null stands for all.
    visible_to: Option<Vec<Uuid>>,
    retired_at: Option<DateTime<Utc>>,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    /// Who changed it last.
    updated_by: Option<String>,
}

impl From<ListedTemplate> for TemplateBody {
    fn from(listed: ListedTemplate) -> Self {
        match listed {
            ListedTemplate::Shipped(template) => Self::shipped(&template),
            ListedTemplate::Authored(template) => template.into(),
        }
    }
}

impl TemplateBody {
    fn shipped(template: &Template) -> Self {
        Self {
            name: template.name.clone(),
            title: Some(template.title.clone()),
            origin: "shipped",
            state: "published",
            version: None,
            published_version: None,
            visible_to: None,
            retired_at: None,
            created_at: None,
            updated_at: None,
            updated_by: None,
        }
    }
}

impl From<AuthoredTemplate> for TemplateBody {
    fn from(template: AuthoredTemplate) -> Self {
        Self {
            state: template.state().as_str(),
            name: template.name,
            title: template.title,
            origin: "tenant",
            version: Some(template.newest),
            published_version: template.published,
            visible_to: template
                .visible_to
                .as_list()
                .map(|keys| keys.iter().copied().map(KeyId::as_uuid).collect()),
            retired_at: template.retired_at,
            created_at: Some(template.created_at),
            updated_at: Some(template.updated_at),
            updated_by: Some(template.updated_by),
        }
    }
}

/// A template with its versions, and one of these in full.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateDetail)]
pub(in super::super) struct DetailBody {
    #[serde(flatten)]
    template: TemplateBody,
    /// What it answers, for the assistant; null while the version cannot be read.
    description: Option<String>,
    tags: Vec<String>,
    /// JSON Schema of the tool's arguments; null while the version cannot be read.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Map<String, Value>>,
    /// What it answers with.
    columns: Vec<ColumnBody>,
    /// Its versions, newest first.
    versions: Vec<VersionBody>,
    /// The version that was asked for.
    shown: Option<ShownBody>,
}

/// A column of an answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateColumn)]
struct ColumnBody {
    name: String,
    #[serde(rename = "type")]
    #[schema(value_type = ColumnTypeName)]
    kind: &'static str,
}

/// A version without its text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateVersion)]
struct VersionBody {
    #[schema(minimum = 1)]
    number: i32,
    /// Whether it has passed its proof, so that it may be published.
    proved: bool,
    created_at: DateTime<Utc>,
    created_by: String,
}

/// A version with its text and its proof.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShownTemplateVersion)]
struct ShownBody {
    #[serde(flatten)]
    version: VersionBody,
    /// The text as it was written.
    source: String,
    /// The statement that is run: re-rendered from the text. Null when the text was refused.
    statement: Option<String>,
    report: ReportBody,
}

/// What proving a version found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateProof)]
struct ReportBody {
    at: DateTime<Utc>,
    passed: bool,
    /// Why it is refused.
    findings: Vec<FindingBody>,
    /// What the planner expects it to cost at worst with the tenant's data, to two digits.
    cost: Option<f64>,
    /// The most it may cost.
    max_cost: f64,
    /// Its answers for the two tenants that exist for probing; none when it did not come so far.
    probes: Vec<ProbeBody>,
}

/// A reason to refuse a version.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateFinding)]
struct FindingBody {
    /// The line in its text, from one.
    line: Option<u64>,
    /// The character in that line, from one.
    column: Option<u64>,
    message: String,
}

/// What a version answered for a tenant that exists for probing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateProbe)]
struct ProbeBody {
    rows: u64,
    /// Values that name the tenant they are of.
    marked: u64,
    /// Values that name another tenant: anything but 0 refuses the version.
    foreign: u64,
}

fn columns(columns: &[Column]) -> Vec<ColumnBody> {
    columns
        .iter()
        .map(|column| ColumnBody { name: column.name.clone(), kind: column.kind.as_str() })
        .collect()
}

impl From<VersionSummary> for VersionBody {
    fn from(version: VersionSummary) -> Self {
        let VersionSummary { number, proved, created_at, created_by } = version;
        Self { number, proved, created_at, created_by }
    }
}

impl From<ProofReport> for ReportBody {
    fn from(report: ProofReport) -> Self {
        Self {
            passed: report.passed(),
            at: report.at,
            findings: report
                .findings
                .into_iter()
                .map(|found| FindingBody { line: found.line, column: found.column, message: found.message })
                .collect(),
            cost: report.cost,
            max_cost: report.max_cost,
            probes: report
                .probes
                .into_iter()
                .map(|probe| ProbeBody { rows: probe.rows, marked: probe.marked, foreign: probe.foreign })
                .collect(),
        }
    }
}

impl From<TemplateDetail> for DetailBody {
    fn from(detail: TemplateDetail) -> Self {
        match detail {
            TemplateDetail::Shipped(template) => Self {
                description: Some(template.description.clone()),
                tags: template.tags.clone(),
                parameters: Some(template.input_schema()),
                columns: columns(&template.columns),
                template: TemplateBody::shipped(&template),
                versions: Vec::new(),
                shown: None,
            },
            TemplateDetail::Authored { template, versions, version } => {
                let TemplateVersion { summary, source, statement, report, template: read } = *version;
                Self {
                    template: template.into(),
                    description: read.as_ref().map(|read| read.description.clone()),
                    tags: read.as_ref().map(|read| read.tags.clone()).unwrap_or_default(),
                    parameters: read.as_ref().map(Template::input_schema),
                    columns: columns(&report.columns),
                    versions: versions.into_iter().map(VersionBody::from).collect(),
                    shown: Some(ShownBody {
                        version: summary.into(),
                        source,
                        statement,
                        report: report.into(),
                    }),
                }
            }
        }
    }
}

/// What a trial answered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateTrial)]
pub(in super::super) struct TrialBody {
    columns: Vec<ColumnBody>,
    /// The rows as objects keyed by column name.
    #[schema(value_type = Vec<Object>)]
    rows: Value,
    /// There were more rows than the limit, or more bytes than an answer may have.
    truncated: bool,
}

impl From<RowSet> for TrialBody {
    fn from(rows: RowSet) -> Self {
        Self {
            columns: columns(&rows.columns),
            truncated: rows.truncated,
            rows: rows.into_objects().map(Value::Object).collect(),
        }
    }
}

/// A run of a template.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateRun)]
pub(in super::super) struct RunBody {
    /// Its place on the record of the tenant.
    seq: i64,
    at: DateTime<Utc>,
    /// The key's or person's name at that time.
    principal: String,
    /// The key's or person's id.
    principal_id: Option<Uuid>,
    #[schema(value_type = AuditOutcomeName)]
    outcome: String,
    /// Why it did not end well.
    code: Option<String>,
    rows: Option<u64>,
    bytes: Option<u64>,
    duration_ms: Option<u64>,
    /// Whether it was a trial by an admin.
    trial: bool,
}

impl From<AuditRecord> for RunBody {
    fn from(record: AuditRecord) -> Self {
        let count = |name: &str| record.details.get(name).and_then(Value::as_u64);
        Self {
            seq: record.seq,
            at: record.at,
            rows: count("rows"),
            bytes: count("bytes"),
            duration_ms: count("duration_ms"),
            code: record.details.get("code").and_then(Value::as_str).map(str::to_owned),
            trial: record.details.get("trial").and_then(Value::as_bool).unwrap_or(false),
            principal: record.principal_name,
            principal_id: record.principal_id,
            outcome: record.outcome,
        }
    }
}
