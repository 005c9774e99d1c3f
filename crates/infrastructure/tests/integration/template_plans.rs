//! That each shipped template reads what it answers from, by its indexes, on a database that is large enough for the planner
//! to care. What is compared is rows, not time.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "statements of the tests' own making"
)]

use std::collections::BTreeSet;

use application::ports::TemplateCatalog;
use domain::template::Argument;
use patchbay_infrastructure::postgres::{PgTemplates, template_statement};
use serde_json::{Value, json};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::support::{TestDb, run};

const TENANTS: i32 = 20;
/// Of each tenant; in twenty projects.
const ITEMS: i32 = 10_000;
/// What is read of tables that are not much larger than what is asked of them: instances, sprints, runs.
const SMALL: f64 = 500.0;

/// Twenty tenants with ten thousand items each, their histories, links, labels, comments and sprints.
async fn fill(admin: &mut PgConnection) {
    // Without the triggers of foreign keys, which would take most of the time.
    run(
        admin,
        format!(
            "set session_replication_role = replica;
             create temporary table t as select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid as tenant,
                 gen_random_uuid() as instance from generate_series(1, {TENANTS}) n;
             insert into source_instances (tenant_id, id, slug, source, name, base_url, settings, status, created_at,
                 updated_at)
             select tenant, instance, 'core', 'jira', 'core', 'https://example.org', '{{}}', 'active', now(), now() from t;
             insert into work_items (tenant_id, id, instance_id, source, source_id, ref_key, source_key,
                 project_source_id, project_key, type_norm, type_original, status_norm, status_original, priority_norm,
                 title, assignee, parent_ref_key, url, created_at, updated_at, resolved_at, content_hash, synced_at)
             select tenant, gen_random_uuid(), instance, 'jira', i::text, 'r' || i, 'P' || i % 20 || '-' || i,
                 (i % 20)::text, 'P' || i % 20, (array['bug', 'task', 'story'])[i % 3 + 1], 'X',
                 (array['done', 'done', 'done', 'done', 'done', 'done', 'todo', 'todo', 'in_progress', 'cancelled'])[i / 20 % 10 + 1],
                 'Open', 'normal', (array['login', 'invoice', 'export', 'search'])[i % 4 + 1] || ' number ' || i,
                 'user' || i % 37, case when i % 5 = 0 then 'r' || i - 1 end, 'https://example.org/' || i,
                 now() - i % 1500 * interval '1 day' - interval '30 hours',
                 now() - i % 1000 * interval '1 day' - interval '1 hour',
                 case when i / 20 % 10 not in (6, 7, 8) then now() - i % 1000 * interval '1 day' - interval '2 hours' end,
                 '\\x00', now()
             from t, generate_series(1, {ITEMS}) i;
             insert into work_item_labels select tenant_id, id, 'label' || source_id::int % 30 from work_items;
             insert into work_item_transitions (tenant_id, instance_id, source_id, item_ref_key, at, actor, from_original,
                 from_norm, to_original, to_norm)
             select tenant_id, instance_id, source_id || step, ref_key, updated_at - (3 - step) * interval '1 hour', 'ada',
                 'x', case step when 1 then 'todo' else 'in_progress' end, 'y',
                 case step when 1 then 'in_progress' else 'done' end
             from work_items, generate_series(1, 2) step;
             insert into work_item_changes (tenant_id, instance_id, source_id, item_ref_key, at, field)
             select tenant_id, instance_id, source_id, ref_key, updated_at, 'assignee' from work_items;
             insert into comments (tenant_id, id, instance_id, kind, source_id, item_ref_key, body, url, created_at,
                 updated_at, content_hash, synced_at)
             select tenant_id, gen_random_uuid(), instance_id, 'comment', source_id, ref_key, 'words', 'https://example.org',
                 updated_at, updated_at, '', now() from work_items;
             insert into links (tenant_id, instance_id, item_ref_key, type_norm, type_original, to_ref_key, to_key, to_url,
                 synced_at)
             select tenant_id, instance_id, ref_key,
                 (array['blocks', 'relates', 'mentions', 'relates', 'duplicates'])[source_id::int % 5 + 1], 'x',
                 'r' || source_id::int + 7, 'P-' || source_id::int + 7, 'https://example.org', now()
             from work_items where source_id::int % 4 = 0;
             insert into sprints (tenant_id, instance_id, source_id, name, state, start_at, end_at, completed_at, synced_at)
             select tenant, instance, 's' || n, 'Sprint ' || n, case when n > 98 then 'active' else 'closed' end,
                 now() - (100 - n) * interval '14 days', now() - (99 - n) * interval '14 days',
                 case when n <= 98 then now() - (99 - n) * interval '14 days' end, now()
             from t, generate_series(1, 100) n;
             insert into sprint_memberships (tenant_id, instance_id, item_ref_key, sprint_source_id, added_at, from_history)
             select tenant_id, instance_id, ref_key, 's' || (source_id::int % 100 + 1),
                 now() - (100 - source_id::int % 100) * interval '14 days', true from work_items;
             insert into sync_runs (tenant_id, id, instance_id, kind, state, created_at, finished_at)
             select tenant, gen_random_uuid(), instance, 'incremental', case when n % 50 = 0 then 'failed' else 'succeeded' end,
                 now() - n * interval '1 hour', now() - n * interval '1 hour' from t, generate_series(1, 2000) n;
             insert into sync_dead_letters (tenant_id, id, instance_id, run_id, stream, source_id, error, raw, created_at)
             select tenant, gen_random_uuid(), instance, gen_random_uuid(), 'issues', n::text, 'e', 'raw', now()
             from t, generate_series(1, 100) n;
             insert into work_item_metrics_daily (tenant_id, instance_id, project_key, day, created, completed, cancelled,
                 reopened, lead_time_hours, open_at_end)
             select tenant, instance, 'P' || p, current_date - n, 1, 1, 0, 0, 1, 1
             from t, generate_series(0, 19) p, generate_series(0, 99) n;
             set session_replication_role = origin;
             analyze"
        ),
    )
    .await;
}

/// What a plan did: rows that its scans looked at, and tables it read from end to end.
#[derive(Default)]
struct Work {
    touched: f64,
    whole: BTreeSet<String>,
}

impl Work {
    fn add(&mut self, node: &Value) {
        let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
        let loops = number("Actual Loops");
        for child in node["Plans"].as_array().into_iter().flatten() {
            self.add(child);
        }
        // Rows are counted where they are read; what a bitmap finds, its heap scan reads. Sub-plans of policies for narrowed
        // keys are there and never run.
        let kind = node["Node Type"].as_str().unwrap_or_default();
        let reads = kind == "Bitmap Heap Scan" || kind != "Bitmap Index Scan" && !node["Plans"].is_array();
        if loops == 0.0 || !reads {
            return;
        }
        self.touched += loops
            * (number("Actual Rows")
                + number("Rows Removed by Filter")
                + number("Rows Removed by Index Recheck"));
        if kind == "Seq Scan" {
            self.whole.insert(node["Relation Name"].as_str().unwrap_or("?").to_owned());
        }
    }
}

#[tokio::test]
async fn every_template_reads_what_it_answers_from_by_an_index() {
    let test = TestDb::new().await;
    fill(&mut test.admin().await).await;
    let small: Vec<String> =
        sqlx::query_scalar("select relname::text from pg_class where relkind = 'r' and relpages <= 8")
            .fetch_all(&mut test.admin().await)
            .await
            .unwrap();
    let templates = PgTemplates::load(&test.db).await.unwrap();
    let tenant: Uuid = "00000000-0000-7000-8000-000000000007".parse().unwrap();
    let mut reader = test.connect("patchbay_reader").await;
    run(&mut reader, format!("begin; set local app.current_tenant_id = '{tenant}'")).await;
    let items = f64::from(ITEMS);
    let of_project = items / 20.0;
    let mut wrong = Vec::new();
    // The bound is on rows of all tables together: what is asked about, with its histories.
    let cases = [
        ("search_issues_by_project", json!({"project": "P3"}), of_project + SMALL),
        ("search_issues_by_project", json!({"project": "P3", "status": "todo"}), of_project + SMALL),
        (
            "search_issues_by_project",
            json!({"project": "P3", "type": "bug", "limit": 10}),
            of_project + SMALL,
        ),
        ("search_issues_by_project", json!({"project": "P3", "label": "label3"}), 2.0 * of_project),
        ("find_work_items", json!({"query": "invoice", "limit": 25}), 4.0 * 1000.0),
        ("count_items_by", json!({"by": "status"}), items + SMALL),
        // At this size the tenant's labels read at once cost the planner as much as a look for each item of the project:
        // what ANALYZE happened to sample decides.
        ("count_items_by", json!({"by": "label", "project": "P3"}), items + of_project + SMALL),
        ("cycle_time_percentiles", json!({"project": "P3"}), 3.0 * of_project),
        ("find_related_items", json!({"key": "P4-4"}), SMALL),
        ("get_project_metrics", json!({"project": "P3"}), 100.0 + 1900.0 + SMALL),
        ("get_work_item_history", json!({"key": "P4-4"}), SMALL),
        // The links of the tenant that block, each with its two items.
        ("list_blocked_items", json!({}), items / 20.0 * 6.0 + SMALL),
        ("list_blocked_items", json!({"project": "P7"}), items / 20.0 * 6.0 + SMALL),
        ("list_recent_changes", json!({}), SMALL),
        ("list_recent_changes", json!({"hours": 744, "project": "P3"}), items / 1000.0 * 31.0 * 8.0),
        ("list_stale_items", json!({}), SMALL),
        ("list_stale_items", json!({"project": "P6", "days": 400}), items / 10.0 * 3.0),
        ("sprint_progress", json!({}), 100.0 * 2.0 * 3.0 + SMALL),
        ("sprint_progress", json!({"sprint": "Sprint 40"}), 100.0 * 4.0 + SMALL),
        ("sprint_progress", json!({"state": "closed", "limit": 200}), 98.0 * 100.0 * 4.0 + SMALL),
        ("sync_errors", json!({}), 2000.0 + 100.0 + SMALL),
        // Twelve weeks of the tenant, and a calendar of five years.
        ("throughput_by_week", json!({}), items / 1000.0 * 90.0 * 8.0 + 2000.0),
        ("throughput_by_week", json!({"project": "P3"}), items / 1000.0 * 90.0 * 8.0 + 2000.0),
        ("wip_by_assignee", json!({}), items / 10.0 * 3.0),
        ("wip_by_assignee", json!({"project": "P0"}), items / 10.0 * 3.0),
    ];
    // PostgreSQL makes the first five plans for the values of the call, and may keep one for all values after that.
    for ((name, arguments, bound), calls) in cases.iter().flat_map(|case| [0, 5].map(|calls| (case, calls))) {
        let template = templates.find(name).unwrap();
        let (bound_arguments, limit) = template.bind(arguments.as_object().unwrap()).unwrap();
        let statement = template_statement(template, &bound_arguments, None);
        let (types, values): (Vec<_>, Vec<_>) = bound_arguments.iter().map(of_sql).unzip();
        let (types, values) = (types.concat(), values.concat());
        run(
            &mut reader,
            format!(
                "deallocate all; set plan_cache_mode = auto;
                 prepare template (uuid{types}, bigint) as {statement}"
            ),
        )
        .await;
        let execute = format!("execute template ('{tenant}'{values}, {})", limit + 1);
        for _ in 0..calls {
            run(&mut reader, execute.clone()).await;
        }
        let explain = format!("explain (analyze, timing off, format json) {execute}");
        let row = sqlx::query(sqlx::AssertSqlSafe(explain))
            .persistent(false)
            .fetch_one(&mut reader)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let plan: Value = row.get(0);
        let mut work = Work::default();
        work.add(&plan[0]["Plan"]);
        let whole: Vec<&String> = work.whole.iter().filter(|table| !small.contains(table)).collect();
        let rows = plan[0]["Plan"]["Actual Rows"].as_f64().unwrap_or(0.0);
        let cost = plan[0]["Plan"]["Total Cost"].as_f64().unwrap_or(0.0);
        println!(
            "{name} {arguments} after {calls} calls: {rows} rows from {} touched, cost {cost:.0}, {:.1} ms",
            work.touched,
            plan[0]["Execution Time"].as_f64().unwrap_or(0.0)
        );
        assert!(
            rows > 0.0,
            "{name} {arguments} after {calls} calls answers nothing, so its plan says nothing"
        );
        if work.touched > *bound || !whole.is_empty() {
            wrong.push(format!(
                "{name} {arguments} after {calls} calls touches {} rows of at most {bound}, and reads {whole:?} whole: {}",
                work.touched,
                serde_json::to_string_pretty(&plan[0]["Plan"]).unwrap()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The type of an argument, and its value, as SQL; each after a comma.
fn of_sql(argument: &Argument) -> (String, String) {
    let (kind, value) = match argument {
        Argument::Text(value) => ("text", value.clone()),
        Argument::Integer(value) => ("bigint", value.as_ref().map(ToString::to_string)),
        Argument::Boolean(value) => ("boolean", value.as_ref().map(ToString::to_string)),
        Argument::Date(value) => ("date", value.as_ref().map(ToString::to_string)),
        Argument::Timestamp(value) => ("timestamptz", value.as_ref().map(ToString::to_string)),
        Argument::TextList(value) => ("text[]", value.as_ref().map(|list| format!("{{{}}}", list.join(",")))),
    };
    (format!(", {kind}"), value.map_or(", null".into(), |value| format!(", '{value}'")))
}
