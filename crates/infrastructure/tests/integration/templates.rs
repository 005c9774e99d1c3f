//! The built-in templates on real rows, and the bounds of running them (security requirement 20).

#![allow(clippy::disallowed_methods, reason = "helpers of tests")]

use crate::support;
use crate::template_data;

use std::time::{Duration, Instant};

use application::ports::{StoreError, TemplateCatalog, TemplateRunner};
use patchbay_infrastructure::postgres::{
    PgTemplateRunner, PgTemplates, PoolSizes, RefusedTemplate, template_statement,
};
use patchbay_infrastructure::templates::{BUILT_IN, RELATIONS};
use serde_json::json;
use support::TestDb;
use template_data::{fill, raw, run, texts, value};

/// Takes minutes when nobody stops it.
const SLOW: &str = "select a.title as x from published.work_items a, published.work_items b, \
    published.work_items c, published.work_items d where a.title || b.title || c.title || d.title = 'never'";

#[tokio::test]
async fn every_built_in_template_fits_the_schema_and_has_typed_columns() {
    let test = TestDb::new().await;
    let templates = PgTemplates::load(&test.db).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(templates.list().len(), BUILT_IN.len());
    let search = templates.find("search_issues_by_project").unwrap();
    let columns: Vec<String> =
        search.columns.iter().map(|c| format!("{} {}", c.name, c.kind.as_str())).collect();
    assert_eq!(
        columns.join(", "),
        "source_key text, title text, status text, status_original text, type text, priority text, assignee text, \
         updated_at timestamp, url text"
    );
    assert_eq!(search.version.len(), 12);
}

#[tokio::test]
async fn the_gate_knows_the_published_views_as_they_are() {
    let test = TestDb::new().await;
    let found: Vec<(String, String)> = sqlx::query_as(
        "select table_name::text, column_name::text from information_schema.columns
         where table_schema = 'published' order by table_name, ordinal_position",
    )
    .fetch_all(&mut test.admin().await)
    .await
    .unwrap();
    let known: Vec<(String, String)> = RELATIONS
        .iter()
        .flat_map(|(view, columns)| columns.iter().map(|column| ((*view).to_owned(), (*column).to_owned())))
        .collect();
    assert_eq!(found, known);
}

#[tokio::test]
async fn a_template_that_does_not_fit_the_schema_stops_the_start_with_its_name() {
    let test = TestDb::new().await;
    let head = "/*\ntitle = 'T'\ndescription = 'D'\n*/ ";
    let numeric = format!("{head} select sum(m.created) as n from metrics_daily m where m.tenant_id = $1");
    let refused = PgTemplates::load_these(&test.db, &[("totals", &numeric)]).await.unwrap_err().to_string();
    assert!(refused.contains("`totals`") && refused.contains("double precision"), "{refused}");
    let twice = format!("{head} select w.id as a, w.title as a from work_items w where w.tenant_id = $1");
    let refused = PgTemplates::load_these(&test.db, &[("twice", &twice)]).await.unwrap_err();
    assert!(matches!(refused, RefusedTemplate::Schema { .. }), "{refused}");
    let broken = format!("{head} select w.id from work_items w where w.tenant_id = $1 and w.id = w.title");
    let refused = PgTemplates::load_these(&test.db, &[("broken", &broken)]).await.unwrap_err().to_string();
    assert!(refused.contains("`broken`"), "{refused}");
}

#[tokio::test]
async fn search_finds_the_tenants_own_items_newest_first() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    fill(&test, &alpha, 60, "alpha").await;
    fill(&test, &beta, 40, "beta").await;
    let arguments = json!({"project": "core/web", "status": "done", "limit": 3});
    let found = run(&test, &alpha, "search_issues_by_project", arguments).await.unwrap();
    assert_eq!(texts(&found, "source_key"), ["core/web#60", "core/web#54", "core/web#48"]);
    assert!(found.truncated);
    assert_eq!(*value(&found, 0, "updated_at"), "2026-11-01T00:01:00Z");
    assert_eq!(*value(&found, 0, "title"), "alpha item 60");

    let all = run(&test, &alpha, "search_issues_by_project", json!({"project": "core/web"})).await.unwrap();
    assert_eq!((all.rows.len(), all.truncated), (30, false));
    let narrow = json!({"project": "core/web", "label": "urgent", "type": "bug", "assignee": "ana",
                        "updated_since": "2026-11-01T00:00:30Z"});
    let narrow = run(&test, &alpha, "search_issues_by_project", narrow).await.unwrap();
    assert_eq!(texts(&narrow, "source_key"), ["core/web#60", "core/web#40"]);
}

#[tokio::test]
async fn words_find_items_of_the_own_tenant_only() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    fill(&test, &alpha, 10, "login redirect").await;
    fill(&test, &beta, 10, "login export").await;
    let found = run(&test, &alpha, "find_work_items", json!({"query": "login", "project": "core/web"}))
        .await
        .unwrap();
    assert_eq!(found.rows.len(), 5);
    let none = run(&test, &alpha, "find_work_items", json!({"query": "export"})).await.unwrap();
    assert!(none.rows.is_empty());
}

#[tokio::test]
async fn metrics_come_a_row_a_day_oldest_first() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    fill(&test, &alpha, 1, "x").await;
    let found =
        run(&test, &alpha, "get_project_metrics", json!({"project": "core/web", "days": 7})).await.unwrap();
    assert_eq!(found.rows.len(), 7);
    assert!(texts(&found, "day").is_sorted());
    assert_eq!(*value(&found, 6, "open_at_end"), 40);
    assert_eq!(*value(&found, 6, "avg_lead_time_hours"), 4.5);
}

#[tokio::test]
async fn cycle_time_runs_from_in_progress_where_that_is_known_and_else_from_creation() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    fill(&test, &alpha, 24, "x").await;
    let arguments = json!({"project": "core/web", "type": "bug"});
    let bugs = run(&test, &alpha, "cycle_time_percentiles", arguments).await.unwrap();
    // 12 and 24 are done bugs, with a transition ten hours before.
    assert_eq!(bugs.rows.len(), 1);
    assert_eq!(
        (value(&bugs, 0, "completed_items"), value(&bugs, 0, "from_in_progress")),
        (&json!(2), &json!(2))
    );
    assert_eq!(*value(&bugs, 0, "p50_hours"), 10.0);
    let tasks = run(&test, &alpha, "cycle_time_percentiles", json!({"project": "core/web", "type": "task"}));
    assert_eq!(*value(&tasks.await.unwrap(), 0, "p95_hours"), 48.0);
}

#[tokio::test]
async fn a_large_project_is_searched_through_its_index() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    fill(&test, &alpha, 20_000, "x").await;
    let begun = Instant::now();
    for arguments in [
        json!({"project": "core/web", "status": "done"}),
        json!({"project": "core/web"}),
        json!({"project": "core/web", "label": "urgent"}),
    ] {
        let found = run(&test, &alpha, "search_issues_by_project", arguments).await.unwrap();
        assert_eq!(found.rows.len(), 50);
    }
    println!("three searches in 10,000 items, with loading the templates: {:?}", begun.elapsed());

    let templates = PgTemplates::load(&test.db).await.unwrap();
    let template = templates.find("search_issues_by_project").unwrap();
    let arguments = json!({"project": "core/web", "status": "done"});
    let (arguments, limit) = template.bind(arguments.as_object().unwrap()).unwrap();
    let statement = template_statement(template, &arguments, None);
    let mut reader = test.connect("patchbay_reader").await;
    let tenant = alpha.tenant;
    let explained = format!("begin; set local app.current_tenant_id = '{tenant}'");
    support::run(&mut reader, explained).await;
    let explain = format!("explain {statement}");
    let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(explain))
        .bind(tenant.as_uuid())
        .bind("core/web")
        .bind("done")
        .bind(None::<&str>)
        .bind(None::<&str>)
        .bind(None::<&str>)
        .bind(None::<chrono::DateTime<chrono::Utc>>)
        .bind(limit)
        .fetch_all(&mut reader)
        .await
        .unwrap();
    let plan = plan.join("\n");
    assert!(plan.contains("Index Scan") && !plan.contains("->  Sort"), "{plan}");
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_stopped() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    fill(&test, &alpha, 400, "x").await;
    let runner = PgTemplateRunner::new(test.db.clone());
    let begun = Instant::now();
    let result = runner.run(&alpha, &raw(SLOW, &["x"], 300), &[], 10).await;
    assert!(matches!(result, Err(StoreError::Timeout { limit_ms: 300 })), "{result:?}");
    println!(
        "a limit of 300 ms was overrun by {:?}",
        begun.elapsed().saturating_sub(Duration::from_millis(300))
    );
    // The next user of the connection is not bound by that limit.
    let fine = runner.run(&alpha, &raw("select 'ok'::text as x", &["x"], 5_000), &[], 1).await.unwrap();
    assert_eq!(fine.rows[0][0], "ok");
}

#[tokio::test]
async fn rows_and_bytes_are_capped_and_the_answer_says_so() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let runner = PgTemplateRunner::with_max_bytes(test.db.clone(), 10_000);
    let many = raw("select 'x' || n as x from generate_series(1, 100000) n", &["x"], 5_000);
    let rows = runner.run(&alpha, &many, &[], 500).await.unwrap();
    assert_eq!((rows.rows.len(), rows.truncated), (500, true));
    let exact = raw("select 'x' || n as x from generate_series(1, 20) n", &["x"], 5_000);
    assert!(!runner.run(&alpha, &exact, &[], 20).await.unwrap().truncated);
    let wide = raw("select repeat('y', 900) as x from generate_series(1, 400) n", &["x"], 5_000);
    let rows = runner.run(&alpha, &wide, &[], 400).await.unwrap();
    assert_eq!((rows.rows.len(), rows.truncated), (11, true));
    assert_eq!(rows.bytes, serde_json::to_string(&rows.rows).unwrap().len());
    assert!(rows.bytes <= 10_000 && rows.bytes + 905 > 10_000, "{}", rows.bytes);
}

#[tokio::test]
async fn one_tenant_leaves_connections_to_the_others() {
    let test = TestDb::with_pools(PoolSizes { app: 4, reader: 5, queue: 1 }).await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    fill(&test, &alpha, 400, "x").await;
    let runner = PgTemplateRunner::new(test.db.clone());
    // 40 % of 5 are 2: the third waits two seconds and is sent away, a stranger is served meanwhile.
    let slow = raw(SLOW, &["x"], 4_000);
    let waiting = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let fine = raw("select 'ok'::text as x", &["x"], 5_000);
        let stranger = runner.run(&beta, &fine, &[], 1).await;
        assert!(stranger.is_ok(), "{stranger:?}");
        runner.run(&alpha, &fine, &[], 1).await
    };
    let (first, second, third) =
        tokio::join!(runner.run(&alpha, &slow, &[], 1), runner.run(&alpha, &slow, &[], 1), waiting);
    assert!(
        matches!(first, Err(StoreError::Timeout { .. })) && matches!(second, Err(StoreError::Timeout { .. }))
    );
    assert!(matches!(third, Err(StoreError::Unavailable(_))), "{third:?}");
}

#[tokio::test]
async fn a_statement_ends_soon_after_its_caller_went_away() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    fill(&test, &alpha, 400, "x").await;
    let runner = PgTemplateRunner::new(test.db.clone());
    let slow = raw(SLOW, &["x"], 15_000);
    let gone = tokio::time::timeout(Duration::from_millis(300), runner.run(&alpha, &slow, &[], 1)).await;
    assert!(gone.is_err());
    let mut admin = test.admin().await;
    let begun = Instant::now();
    loop {
        let running: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and usename = 'patchbay_reader' and state = 'active'",
        )
        .fetch_one(&mut admin)
        .await
        .unwrap();
        if running == 0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "the statement still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("the statement ended {:?} after its caller", begun.elapsed());
}

#[tokio::test]
async fn connections_that_broke_while_idle_are_not_the_callers_trouble() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let runner = PgTemplateRunner::new(test.db.clone());
    let fine = raw("select 'ok'::text as x", &["x"], 5_000);
    let both = futures::future::join_all((0..1).map(|_| runner.run(&alpha, &fine, &[], 1))).await;
    assert!(both.iter().all(Result::is_ok));
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'patchbay_reader' and datname = current_database()")
        .execute(&mut test.admin().await)
        .await
        .unwrap();
    let again = runner.run(&alpha, &fine, &[], 1).await;
    assert!(again.is_ok(), "{again:?}");
}

#[tokio::test]
async fn control_characters_in_items_do_not_reach_the_caller() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    fill(&test, &alpha, 2, "a\u{1b}[2J\u{7}b").await;
    let found = run(&test, &alpha, "search_issues_by_project", json!({"project": "core/web"})).await.unwrap();
    assert_eq!(*value(&found, 0, "title"), "a[2Jb item 2");
}
