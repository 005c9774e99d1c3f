//! Work items for tests of templates, and running them.

use application::Ctx;
use application::ports::{RowSet, StoreError, TemplateCatalog, TemplateRunner};
use domain::template::{Column, ColumnType, DEFAULT_COST, MAX_BYTES, Template};
use patchbay_infrastructure::postgres::{PgTemplateRunner, PgTemplates};
use serde_json::{Map, Value};
use sqlx::Executor;
use uuid::Uuid;

use crate::support::TestDb;

/// Fills the tenant with `items` items of the project `core/web`, one newer than the other, with this word in
/// their titles; each third is done, each third in progress. Returns the instance.
pub(crate) async fn fill(test: &TestDb, ctx: &Ctx, items: i32, word: &str) -> Uuid {
    let instance = Uuid::new_v4();
    let mut admin = test.admin().await;
    let tenant = ctx.tenant.as_uuid();
    sqlx::query(
        "insert into source_instances (tenant_id, id, slug, source, name, base_url, settings, status, created_at, updated_at)
         values ($1, $2, 'core', 'github', 'core', 'https://example.org', '{}', 'active', now(), now())",
    )
    .bind(tenant)
    .bind(instance)
    .execute(&mut admin)
    .await
    .unwrap();
    sqlx::query(
        "insert into work_items (tenant_id, id, instance_id, source, source_id, ref_key, source_key, project_source_id,
            project_key, type_norm, type_original, status_norm, status_original, priority_norm, title, body, assignee,
            url, created_at, updated_at, resolved_at, content_hash, synced_at)
         select $1, gen_random_uuid(), $2, 'github', n::text, 'r#' || n, 'core/web#' || n, '1',
            case when n % 2 = 0 then 'core/web' else 'core/api' end, case when n % 4 = 0 then 'bug' else 'task' end, 'Bug',
            case n % 3 when 0 then 'done' when 1 then 'todo' else 'in_progress' end, 'Open', 'normal',
            $4 || ' item ' || n, 'body', 'ana', 'https://example.org/' || n, now() - interval '2 days',
            timestamptz '2026-11-01T00:00:00Z' + n * interval '1 second',
            case when n % 3 = 0 then now() end, '\\x00', now()
         from generate_series(1, $3) n",
    )
    .bind(tenant)
    .bind(instance)
    .bind(items)
    .bind(word)
    .execute(&mut admin)
    .await
    .unwrap();
    sqlx::query(
        "insert into work_item_labels (tenant_id, work_item_id, label)
         select tenant_id, id, 'urgent' from work_items where tenant_id = $1 and source_id::int % 10 = 0",
    )
    .bind(tenant)
    .execute(&mut admin)
    .await
    .unwrap();
    sqlx::query(
        "insert into work_item_transitions (tenant_id, instance_id, source_id, item_ref_key, at, to_original, to_norm)
         select tenant_id, instance_id, 't' || source_id, ref_key, resolved_at - interval '10 hours', 'Doing', 'in_progress'
         from work_items where tenant_id = $1 and resolved_at is not null and source_id::int % 4 = 0",
    )
    .bind(tenant)
    .execute(&mut admin)
    .await
    .unwrap();
    sqlx::query(
        "insert into work_item_metrics_daily (tenant_id, instance_id, project_key, day, created, completed, cancelled,
            reopened, lead_time_hours, open_at_end)
         select $1, $2, 'core/web', (now() at time zone 'UTC')::date - n, 3, 2, 0, 1, 9, 40 + n
         from generate_series(0, 59) n",
    )
    .bind(tenant)
    .bind(instance)
    .execute(&mut admin)
    .await
    .unwrap();
    admin.execute("analyze").await.unwrap();
    instance
}

/// A template as no gate would let it pass: this text is the statement, with one text column.
pub(crate) fn raw(statement: &str, columns: &[&str], timeout_ms: u64) -> Template {
    Template {
        name: "raw".into(),
        title: "Raw".into(),
        description: "Not checked.".into(),
        tags: Vec::new(),
        params: Vec::new(),
        default_limit: 50,
        max_limit: 500,
        scope: domain::Scope::McpSql,
        max_bytes: MAX_BYTES,
        timeout_ms,
        max_cost: DEFAULT_COST,
        page: None,
        columns: columns.iter().map(|name| Column { name: (*name).into(), kind: ColumnType::Text }).collect(),
        statement: statement.into(),
        version: "raw".into(),
        authored: false,
    }
}

/// What stands in a row under a column.
pub(crate) fn value<'a>(found: &'a RowSet, row: usize, column: &str) -> &'a Value {
    let at = found.columns.iter().position(|of| of.name == column).expect("a column");
    &found.rows[row][at]
}

/// What stands under a column, row by row.
pub(crate) fn texts(found: &RowSet, column: &str) -> Vec<String> {
    let text = |row| value(found, row, column).as_str().unwrap_or("null").to_owned();
    (0..found.rows.len()).map(text).collect()
}

/// Loads the built-in templates and runs one.
pub(crate) async fn run(
    test: &TestDb,
    ctx: &Ctx,
    name: &str,
    arguments: Value,
) -> Result<RowSet, StoreError> {
    let templates = PgTemplates::load(&test.db).await.expect("the templates fit the schema");
    let template = templates.find(name).expect("the template").clone();
    let arguments: Map<String, Value> = arguments.as_object().cloned().unwrap_or_default();
    let (bound, limit) = template.bind(&arguments).expect("fit arguments");
    PgTemplateRunner::new(test.db.clone()).run(ctx, &template, &bound, limit).await
}
