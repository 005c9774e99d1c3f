//! Proving templates against the real schema before anybody can call them.

use std::collections::BTreeSet;
use std::sync::Arc;

use application::Ctx;
use application::ports::{StoreError, TemplateCatalog};
use domain::template::{Argument, Column, KeyType, KeyValue, ParamType, SortKey, Template};
use domain::{RequestId, TenantId};
use sqlx::postgres::{PgColumn, PgDatabaseError, PgErrorPosition, PgTypeInfo};
use sqlx::{Column as _, Executor, PgConnection, Postgres, SqlSafeStr, Statement, Type, TypeInfo};
use tokio_postgres::types::Type as PgType;
use uuid::Uuid;

use super::estimate::{cost, plan_of};
use super::rows::{column_type, key_type};
use super::{Asked, What, page};
use crate::postgres::Db;
use crate::postgres::db::store_error;
use crate::templates::{BUILT_IN, check};

/// The published templates, proved.
#[derive(Debug)]
pub struct PgTemplates {
    templates: Vec<Arc<Template>>,
}

/// A template that stops start-up.
#[derive(Debug, thiserror::Error)]
pub enum RefusedTemplate {
    /// The text does not pass the check.
    #[error("the template `{name}` {findings}: correct its file, `{name}.sql`")]
    Text {
        /// The template.
        name: String,
        /// Every reason, in one sentence.
        findings: String,
    },
    /// The database does not take it.
    #[error(
        "the template `{name}` does not fit the database: {reason}; run `patchbay migrate`, or correct the template"
    )]
    Schema {
        /// The template.
        name: String,
        /// Why.
        reason: String,
        /// The character of the template's statement, from one, that the database points at.
        character: Option<usize>,
    },
    /// The database cannot be asked.
    #[error("the templates cannot be checked")]
    Store(#[source] StoreError),
}

impl PgTemplates {
    /// Checks every built-in template, prepares and explains it as the reader role, and learns its columns.
    pub async fn load(db: &Db) -> Result<Self, RefusedTemplate> {
        Self::load_these(db, BUILT_IN).await
    }

    /// The same for other texts: pairs of name and file content.
    pub async fn load_these(db: &Db, files: &[(&str, &str)]) -> Result<Self, RefusedTemplate> {
        let mut templates = Vec::with_capacity(files.len());
        for (name, text) in files {
            let template = check(name, text).map_err(|findings| RefusedTemplate::Text {
                name: (*name).to_owned(),
                findings: findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            })?;
            let proof = prove(db, template).await?;
            if proof.is_too_expensive() {
                let Proof { template, cost } = &proof;
                tracing::warn!(
                    template.name = template.name,
                    cost,
                    max_cost = template.max_cost,
                    "The template {} is expected to cost more than it may: look at its plan",
                    template.name
                );
            }
            templates.push(Arc::new(proof.template));
        }
        templates.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { templates })
    }
}

impl TemplateCatalog for PgTemplates {
    fn list(&self) -> &[Arc<Template>] {
        &self.templates
    }
}

/// A template that fits the database, and what the database thinks of it.
#[derive(Debug)]
pub struct Proof {
    /// The template with its columns.
    pub template: Template,
    /// What the planner expects it to cost with the data that is there, in PostgreSQL's units of cost.
    pub cost: f64,
}

impl Proof {
    /// Whether the planner expects more than the template may cost. Of what is built in the operator is only warned:
    /// the figure grows with the data.
    pub fn is_too_expensive(&self) -> bool {
        self.cost > self.template.max_cost
    }
}

/// Completes the template with what the database says of it: prepared and explained as the reader role, for a tenant that
/// does not exist.
pub async fn prove(db: &Db, mut template: Template) -> Result<Proof, RefusedTemplate> {
    let nobody = nobody();
    let mut connection = db.template_connection(true).await.map_err(RefusedTemplate::Store)?;
    let result = match connection.begin(&nobody, template.timeout_ms).await {
        Ok(mut tx) => ask(&mut tx, &nobody, &template).await,
        Err(error) => Err(Refusal::Driver(error)),
    };
    connection.finish();
    match result {
        Ok((columns, cost)) => {
            template.columns = columns.into();
            Ok(Proof { template, cost })
        }
        Err(Refusal::Reason(reason, character)) => {
            Err(RefusedTemplate::Schema { name: template.name, reason, character })
        }
        Err(Refusal::Driver(error)) => Err(match of_the_text(&error) {
            // Read by the operator at start-up only: it may say what the database said.
            Some(reason) => {
                RefusedTemplate::Schema { name: template.name, reason: reason.to_owned(), character: None }
            }
            None => RefusedTemplate::Store(store_error(error)),
        }),
        Err(Refusal::Store(error)) => Err(RefusedTemplate::Store(error)),
    }
}

/// Why a template does not fit the database.
pub(super) enum Refusal {
    /// In words for its author, and where in the statement.
    Reason(String, Option<usize>),
    /// As the database said it, or the way there.
    Driver(sqlx::Error),
    /// The database cannot be asked.
    Store(StoreError),
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

/// What the database said, when the statement's own text is to blame: errors of syntax, access and names (42), of data
/// (22, 21), what is not supported (0A) and limits of statements (54). Everything else, as a server that shuts down or a
/// lock that does not come free, says nothing of the text.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
pub(super) fn of_the_text(error: &sqlx::Error) -> Option<&str> {
    let database = error.as_database_error()?;
    blames_the_text(&database.code()?).then(|| database.message())
}

/// As [`of_the_text`], of an error with this code.
pub(super) fn blames_the_text(code: &str) -> bool {
    ["42", "22", "21", "0A", "54"].iter().any(|class| code.starts_with(class))
}

/// What PostgreSQL says of a statement it does not prepare. It counts from the beginning of the statement around it.
fn unfit(error: sqlx::Error) -> Refusal {
    let (Some(reason), Some(database)) = (of_the_text(&error), error.as_database_error()) else {
        return Refusal::Driver(error);
    };
    let before = super::page::statement("", 0, None, None).find('\n').map_or(0, |end| end + 1);
    let position = database.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::position);
    let character = match position {
        Some(PgErrorPosition::Original(at)) => at.checked_sub(before),
        _ => None,
    };
    Refusal::Reason(reason.to_owned(), character)
}

async fn ask(
    connection: &mut PgConnection,
    nobody: &Ctx,
    template: &Template,
) -> Result<(Vec<Column>, f64), Refusal> {
    let arguments: Vec<Argument> = template.params.iter().map(|param| sample(&param.kind)).collect();
    let asked = Asked {
        what: What::Estimate,
        template,
        arguments: &arguments,
        limit: template.max_limit,
        after: None,
    };
    // Without its pages, so that a key that is no column is told in words of its own.
    let bare = page::statement(&template.statement, arguments.len(), None, None);
    let columns = columns(connection, &bare, template).await?;
    // Explaining checks the reader's rights on everything the statement touches; preparing does not.
    let plan = plan_of(connection, nobody, &asked).await?;
    tracing::debug!(template.name = template.name, %plan, "The template fits the schema");
    let cost = cost(&plan).ok_or_else(|| Refusal::Reason("PostgreSQL told no cost for it".into(), None))?;
    // A page from the middle is another statement: it must fit as well.
    if let Some(after) = &columns.middle {
        plan_of(connection, nobody, &Asked { after: Some(after), ..asked }).await?;
    }
    Ok((columns.shown, cost))
}

/// What the database says of the columns.
pub(super) struct Columns {
    /// Those that callers see.
    pub(super) shown: Vec<Column>,
    /// Some row's place in the order of pages, if there is one.
    pub(super) middle: Option<Vec<KeyValue>>,
}

pub(super) async fn columns(
    connection: &mut PgConnection,
    statement: &str,
    template: &Template,
) -> Result<Columns, Refusal> {
    let types: Vec<PgTypeInfo> = std::iter::once(Uuid::type_info())
        .chain(template.params.iter().map(|param| database_type(&param.kind)))
        .chain(std::iter::once(<i64 as Type<Postgres>>::type_info()))
        .collect();
    #[expect(clippy::disallowed_methods, reason = "a template's statement passed the gate")]
    let statement = sqlx::AssertSqlSafe(statement.to_owned()).into_sql_str();
    let prepared = connection.prepare_with(statement, &types).await.map_err(unfit)?;
    let mut names = BTreeSet::new();
    let mut shown = Vec::new();
    let hidden = template.page.iter().flat_map(|page| &page.hidden).collect::<Vec<_>>();
    let found = prepared.columns();
    for (i, column) in found.iter().enumerate() {
        let name = column.name().to_owned();
        if name.starts_with('?') || !names.insert(name.clone()) {
            let reason = format!("a column is called `{name}`: give each a name of its own");
            return Err(Refusal::Reason(reason, None));
        }
        if hidden.contains(&&name) {
            if i + hidden.len() < found.len() {
                let reason = format!("the hidden column `{name}` must stand behind all others");
                return Err(Refusal::Reason(reason, None));
            }
            continue;
        }
        let Some(kind) = column_type(&type_of(column)) else {
            let reason = format!(
                "the column `{name}` has the type {}, which callers cannot be given: cast it to text, bigint, \
                 double precision, boolean, date, timestamptz or text[]",
                column.type_info().name()
            );
            return Err(Refusal::Reason(reason, None));
        };
        shown.push(Column { name, kind });
    }
    let middle = template.page.as_ref().map(|page| page.keys.iter().map(|key| middle(key, found)).collect());
    Ok(Columns { shown, middle: middle.transpose()? })
}

/// A value the column of a page key may have.
fn middle(key: &SortKey, columns: &[PgColumn]) -> Result<KeyValue, Refusal> {
    let Some(column) = columns.iter().find(|column| column.name() == key.column) else {
        let reason = format!("the page key names `{}`, which is no column of it", key.column);
        return Err(Refusal::Reason(reason, None));
    };
    let kind = key_type(&type_of(column)).ok_or_else(|| {
        let kind = column.type_info().name();
        let reason = format!("rows cannot be paged by `{}`, whose type is {kind}", key.column);
        Refusal::Reason(reason, None)
    })?;
    let text = match kind {
        KeyType::Text => "a",
        KeyType::Uuid => "00000000-0000-0000-0000-000000000000",
        KeyType::Integer | KeyType::Number => "1",
        KeyType::Boolean => "true",
        KeyType::Date => "1970-01-01",
        KeyType::Timestamp => "1970-01-01T00:00:00Z",
    };
    Ok(KeyValue { kind, text: Some(text.into()) })
}

/// What rows of it are read as.
fn type_of(column: &PgColumn) -> PgType {
    column.type_info().oid().and_then(|oid| PgType::from_oid(oid.0)).unwrap_or(PgType::UNKNOWN)
}

fn database_type(kind: &ParamType) -> PgTypeInfo {
    match kind {
        ParamType::Text { .. } => <str as Type<Postgres>>::type_info(),
        ParamType::Integer { .. } => <i64 as Type<Postgres>>::type_info(),
        ParamType::Boolean => <bool as Type<Postgres>>::type_info(),
        ParamType::Date => <chrono::NaiveDate as Type<Postgres>>::type_info(),
        ParamType::Timestamp => <chrono::DateTime<chrono::Utc> as Type<Postgres>>::type_info(),
        ParamType::TextList => <Vec<String> as Type<Postgres>>::type_info(),
    }
}

/// A value the parameter takes, so that nothing folds away.
fn sample(kind: &ParamType) -> Argument {
    match kind {
        ParamType::Text { allowed, .. } => {
            Argument::Text(Some(allowed.first().cloned().unwrap_or_else(|| "a".into())))
        }
        ParamType::Integer { min, .. } => Argument::Integer(Some(*min)),
        ParamType::Boolean => Argument::Boolean(Some(true)),
        ParamType::Date => Argument::Date(Some(chrono::NaiveDate::default())),
        ParamType::Timestamp => Argument::Timestamp(Some(chrono::DateTime::default())),
        ParamType::TextList => Argument::TextList(Some(vec!["a".into()])),
    }
}

/// A tenant that does not exist: proving shows nobody's rows.
fn nobody() -> Ctx {
    Ctx::system(TenantId::new(Uuid::nil()), "templates", RequestId::new(Uuid::nil()))
}
