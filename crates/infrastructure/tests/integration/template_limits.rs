//! Each bound of a template is met, and no argument moves one (security requirement 20).

#![allow(clippy::disallowed_methods, reason = "helpers of tests")]

use application::ports::{StoreError, TemplateCatalog, TemplateRunner};
use domain::template::{Argument, Claims, MAX_BYTES, Template};
use patchbay_infrastructure::postgres::{PgTemplateRunner, PgTemplates, PoolSizes, prove};
use patchbay_infrastructure::templates::check;
use serde_json::json;

use crate::support::TestDb;
use crate::template_data::{fill, raw};

#[tokio::test]
async fn a_template_may_ask_for_fewer_bytes_than_all_may_have_and_not_for_more() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let runner = PgTemplateRunner::new(test.db.clone());
    let wide = raw("select repeat('y', 900) as x from generate_series(1, 400) n", &["x"], 5_000);
    for (max_bytes, most) in [(5_000, 5_000), (usize::MAX, MAX_BYTES)] {
        let found = runner.run(&alpha, &Template { max_bytes, ..wide.clone() }, &[], 400).await.unwrap();
        let bytes = serde_json::to_string(&found.rows).unwrap().len();
        assert_eq!(bytes, found.bytes);
        assert!(found.truncated && bytes <= most && bytes + 1_000 > most, "{bytes} of {most}");
    }
}

#[tokio::test]
async fn what_the_planner_expects_to_cost_too_much_is_told_before_anybody_can_call_it() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    fill(&test, &alpha, 2_000, "x").await;
    let text = |max_cost: &str| {
        format!(
            "/*\ntitle = 'T'\ndescription = 'D'\nmax_cost = {max_cost}\n*/
             select a.title as x from work_items a join work_items b on a.title < b.title
             where a.tenant_id = $1 and b.tenant_id = $1"
        )
    };
    let proof = prove(&test.db, check("t", &text("1.0")).unwrap()).await.unwrap();
    assert!(proof.is_too_expensive(), "{}", proof.cost);
    let proof = prove(&test.db, check("t", &text("20000000.0")).unwrap()).await.unwrap();
    assert!(!proof.is_too_expensive(), "{}", proof.cost);
    assert!(check("t", &text("20000001.0")).is_err(), "the guard has a ceiling");
}

#[tokio::test]
async fn an_estimate_names_indexes_and_runs_nothing() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    fill(&test, &alpha, 20_000, "x").await;
    let templates = PgTemplates::load(&test.db).await.unwrap();
    let template = templates.find("search_issues_by_project").unwrap();
    let runner = PgTemplateRunner::new(test.db.clone());
    let (bound, limit) = template.bind(json!({"project": "core/web"}).as_object().unwrap()).unwrap();
    let estimate = runner.estimate(&alpha, template, &bound, limit).await.unwrap();
    assert!(estimate.indexes.iter().any(|index| index.starts_with("work_items_")), "{estimate:?}");
    assert!(estimate.cost > 0.0 && estimate.rows >= 1.0, "{estimate:?}");
    // What would fail, or take for ever, when it was run.
    let never = raw("select (1 / (n - n))::text as x from generate_series(1, 100000000) n", &["x"], 300);
    assert!(runner.estimate(&alpha, &never, &[], 10).await.unwrap().rows >= 1.0);
}

#[tokio::test]
async fn an_estimate_is_no_way_round_the_rights_of_the_reader() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let runner = PgTemplateRunner::new(test.db.clone());
    for statement in [
        "select public_id as x from public.api_keys",
        "select title as x from public.work_items) q; select (1",
    ] {
        let refused = runner.estimate(&alpha, &raw(statement, &["x"], 300), &[], 10).await;
        assert!(matches!(refused, Err(StoreError::Internal(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn time_is_up_for_each_statement_by_itself_and_for_an_estimate_as_well() {
    let test = TestDb::with_pools(PoolSizes { app: 2, reader: 1, queue: 1 }).await;
    let alpha = test.ctx("alpha").await;
    let runner = PgTemplateRunner::new(test.db.clone());
    let series = |rows: i64| format!("select max(n)::text as x from generate_series(1, {rows}) n");
    let mut overruns = Vec::new();
    for _ in 0..5 {
        let begun = std::time::Instant::now();
        let result = runner.run(&alpha, &raw(&series(1_000_000_000), &["x"], 200), &[], 1).await;
        assert!(matches!(result, Err(StoreError::Timeout { limit_ms: 200 })), "{result:?}");
        overruns.push(begun.elapsed().as_millis().saturating_sub(200));
    }
    println!("limits of 200 ms were overrun by {overruns:?} ms");
    assert_eq!(runner.run(&alpha, &raw(&series(10), &["x"], 5_000), &[], 1).await.unwrap().rows[0][0], "10");
}

#[tokio::test]
async fn no_argument_raises_a_bound() {
    let test = TestDb::new().await;
    let templates = PgTemplates::load(&test.db).await.unwrap();
    for template in templates.list() {
        for name in ["max_limit", "max_bytes", "timeout_ms", "max_cost", "scope", "tenant_id", "page"] {
            let refused = template.bind(json!({name: 1_000_000}).as_object().unwrap()).unwrap_err();
            let told = refused.errors.iter().any(|error| error.pointer == format!("/{name}"));
            assert!(told, "{} took {name}", template.name);
        }
        for limit in
            [json!(0), json!(-1), json!(template.max_limit + 1), json!("9"), json!(1.5), json!(1e300)]
        {
            let refused = template.bind(json!({"limit": limit}).as_object().unwrap()).unwrap_err();
            let told = refused.errors.iter().any(|error| error.pointer == "/limit");
            assert!(told, "{} took the limit {limit}", template.name);
        }
    }
}

#[tokio::test]
async fn what_is_taken_from_the_grant_reaches_the_statement() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    fill(&test, &alpha, 10, "x").await;
    let text = "/*\ntitle = 'T'\ndescription = 'D'
[[params]]\nname = 'projects'\ntype = 'text_list'\ndescription = 'd'\nbinding = 'grant'\nclaim = 'projects'
[[params]]\nname = 'word'\ntype = 'text'\ndescription = 'd'\nbinding = 'constant'\nvalue = 'x'
*/ select w.project_key as project, count(*) as items from work_items w
   where w.tenant_id = $1 and ($2::text[] is null or w.project_key = any($2::text[])) and starts_with(w.title, $3::text)
   group by w.project_key order by w.project_key";
    let templates = PgTemplates::load_these(&test.db, &[("mine", text)]).await.unwrap();
    let template = templates.find("mine").unwrap();
    let runner = PgTemplateRunner::new(test.db.clone());
    for (projects, expected) in [(None, 2), (Some(vec!["core/web".to_owned()]), 1), (Some(Vec::new()), 0)] {
        let claims = Claims { projects: projects.clone(), ..Claims::default() };
        let (bound, limit) = template.bind_for(&serde_json::Map::new(), &claims).unwrap();
        assert_eq!(bound[0], Argument::TextList(projects));
        assert_eq!(runner.run(&alpha, template, &bound, limit).await.unwrap().rows.len(), expected);
    }
}
