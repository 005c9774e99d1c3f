//! What each shipped template answers on a few rows made by hand, exactly.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "statements of the tests' own making"
)]

mod calendar;
mod counts;
mod flow;
mod history;
mod relations;
mod sprints;
mod sync;

use application::Ctx;
use application::ports::{TemplateCatalog, TemplateRunner};
use chrono::NaiveDate;
use patchbay_infrastructure::postgres::{PgTemplateRunner, PgTemplates};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::support::{TestDb, run};
use crate::template_data::value;

/// A tenant whose rows the test writes one by one.
struct Hand {
    test: TestDb,
    ctx: Ctx,
    admin: PgConnection,
    templates: PgTemplates,
}

impl Hand {
    async fn new() -> Self {
        let test = TestDb::new().await;
        let ctx = test.ctx("alpha").await;
        let templates = PgTemplates::load(&test.db).await.unwrap_or_else(|error| panic!("{error}"));
        Self { admin: test.admin().await, templates, ctx, test }
    }

    /// A connection of the tenant to a tracker.
    async fn instance(&mut self, slug: &str) -> Uuid {
        let (tenant, id) = (self.ctx.tenant, Uuid::now_v7());
        self.sql(format!(
            "insert into source_instances (tenant_id, id, slug, source, name, base_url, settings, status, created_at,
                 updated_at)
             values ('{tenant}', '{id}', '{slug}', 'jira', '{slug}', 'https://example.org', '{{}}', 'active', now(), now())"
        ))
        .await;
        id
    }

    /// An item to do of the project before the key's last dash, made and updated a hundred days ago; `set` says what is
    /// different, as an UPDATE does. Other rows refer to it by `r` and its key.
    async fn item(&mut self, instance: Uuid, key: &str, set: &str) {
        let tenant = self.ctx.tenant;
        let project = key.rsplit_once('-').map_or(key, |(project, _)| project);
        self.sql(format!(
            "insert into work_items (tenant_id, id, instance_id, source, source_id, ref_key, source_key,
                 project_source_id, project_key, type_norm, type_original, status_norm, status_original, priority_norm,
                 title, url, created_at, updated_at, content_hash, synced_at)
             values ('{tenant}', gen_random_uuid(), '{instance}', 'jira', '{key}', 'r{key}', '{key}', '1', '{project}',
                 'task', 'Task', 'todo', 'Open', 'normal', 'Title of {key}', 'https://example.org/{key}',
                 now() - interval '100 days', now() - interval '100 days', '\\x00', now())"
        ))
        .await;
        if !set.is_empty() {
            self.sql(format!(
                "update work_items set {set} where instance_id = '{instance}' and source_key = '{key}'"
            ))
            .await;
        }
    }

    /// A move of an item's status. `at` is an expression.
    async fn moved(&mut self, instance: Uuid, key: &str, at: &str, from: &str, to: &str) {
        let tenant = self.ctx.tenant;
        self.sql(format!(
            "insert into work_item_transitions (tenant_id, instance_id, source_id, item_ref_key, at, actor,
                 from_original, from_norm, to_original, to_norm)
             values ('{tenant}', '{instance}', gen_random_uuid()::text, 'r{key}', {at}, 'ada', initcap('{from}'),
                 '{from}', initcap('{to}'), '{to}')"
        ))
        .await;
    }

    /// A link from one item to another, as the tracker of the first tells it. Without `stored`, what it points at is not
    /// of this instance.
    async fn link(&mut self, instance: Uuid, from: &str, kind: &str, to: &str, stored: bool) {
        let tenant = self.ctx.tenant;
        let reference = if stored { format!("'r{to}'") } else { "null".into() };
        self.sql(format!(
            "insert into links (tenant_id, instance_id, item_ref_key, type_norm, type_original, to_ref_key, to_key, to_url,
                 synced_at)
             values ('{tenant}', '{instance}', 'r{from}', '{kind}', 'is ' || '{kind}', {reference}, '{to}',
                 'https://example.org/{to}', now())"
        ))
        .await;
    }

    async fn sql(&mut self, statement: String) {
        run(&mut self.admin, statement).await;
    }

    /// A day that PostgreSQL works out.
    async fn day(&mut self, expression: &str) -> NaiveDate {
        sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select ({expression})::date")))
            .fetch_one(&mut self.admin)
            .await
            .unwrap()
    }

    /// These columns of the rows that the template answers with, in its order.
    async fn ask(&self, name: &str, columns: &[&str], arguments: Value) -> Value {
        let template = self.templates.find(name).unwrap().clone();
        let (bound, limit) = template.bind(arguments.as_object().unwrap()).unwrap();
        let runner = PgTemplateRunner::new(self.test.db.clone());
        let found = runner.run(&self.ctx, &template, &bound, limit).await.unwrap();
        (0..found.rows.len())
            .map(|row| columns.iter().map(|column| value(&found, row, column).clone()).collect::<Value>())
            .collect::<Value>()
    }
}
