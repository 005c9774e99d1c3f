//! Walking through a template's rows page by page.

#![allow(clippy::disallowed_methods, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};

use application::Ctx;
use application::ports::{TemplateCatalog, TemplateRunner};
use domain::template::{KeyValue, Nulls, Page, SortKey, Template};
use patchbay_infrastructure::postgres::{PgTemplateRunner, PgTemplates, template_statement};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::support::{self, TestDb};
use crate::template_data::{fill, raw, texts};

fn page(keys: &[&str], hidden: &[&str]) -> Page {
    Page {
        keys: keys.iter().map(|key| SortKey::parse(key).expect("a page key")).collect(),
        hidden: hidden.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// All rows of a walk in pages of `limit`, and whether it came to an end.
async fn walk(
    runner: &PgTemplateRunner,
    ctx: &Ctx,
    template: &Template,
    limit: i64,
) -> (Vec<Vec<Value>>, bool) {
    let (mut rows, mut after): (Vec<_>, Option<Vec<KeyValue>>) = (Vec::new(), None);
    for _ in 0..1_000 {
        let found = runner.run_page(ctx, template, &[], limit, after.as_deref()).await.unwrap();
        assert!(found.rows.len() <= usize::try_from(limit).unwrap());
        rows.extend(found.rows);
        match (found.truncated, found.next) {
            (true, Some(next)) => after = Some(next),
            (truncated, _) => return (rows, !truncated),
        }
    }
    panic!("the walk does not end");
}

/// What a sync does between two pages: new items, changed ones, gone ones. Those with odd numbers are left alone.
async fn write(admin: &mut PgConnection, tenant: Uuid, round: i32) {
    for statement in [
        "update work_items set updated_at = now(), title = 'changed' where tenant_id = $1 and source_id::int % 6 = 2 * ($2 % 3)",
        "update work_items set deleted_at = now() where tenant_id = $1 and source_id::int % 20 = 2 * ($2 % 10)",
        "insert into work_items (tenant_id, id, instance_id, source, source_id, ref_key, source_key, project_source_id,
            project_key, type_norm, type_original, status_norm, status_original, priority_norm, title, body, assignee,
            url, created_at, updated_at, resolved_at, content_hash, synced_at)
         select tenant_id, gen_random_uuid(), instance_id, source, (100000 + 10 * $2 + n)::text, 'n#' || $2 || n, 'new#' || $2 || n,
            project_source_id, project_key, type_norm, type_original, 'todo', status_original, priority_norm, 'new', body,
            assignee, url, created_at, timestamptz '2026-11-01T00:00:00Z' + ($2 * 3 + n) * interval '1 second', null,
            content_hash, synced_at
         from (select * from work_items where tenant_id = $1 order by id limit 1) w, generate_series(0, 2, 2) n",
    ] {
        sqlx::query(statement).bind(tenant).bind(round).execute(&mut *admin).await.unwrap();
    }
}

#[tokio::test]
async fn walking_while_a_sync_writes_returns_every_row_once_that_was_there_throughout() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    fill(&test, &alpha, 400, "x").await;
    let mut admin = test.admin().await;
    // Four of each moment, so that pages end between rows of one moment.
    sqlx::query(
        "update work_items set project_key = 'core/web',
            updated_at = timestamptz '2026-11-01T00:00:00Z' + (source_id::int / 4) * interval '1 second'
         where tenant_id = $1",
    )
    .bind(alpha.tenant.as_uuid())
    .execute(&mut admin)
    .await
    .unwrap();
    let stable: BTreeSet<String> =
        (1..=400).filter(|n| n % 2 == 1).map(|n| format!("core/web#{n}")).collect();
    let templates = PgTemplates::load(&test.db).await.unwrap();
    let runner = PgTemplateRunner::new(test.db.clone());
    let mut round = 0;
    for (name, arguments, expected) in [
        ("search_issues_by_project", json!({"project": "core/web"}), stable.clone()),
        // Oldest first: what changes goes to the end and is met again.
        (
            "list_stale_items",
            json!({"days": 1}),
            stable
                .iter()
                .filter(|key| key["core/web#".len()..].parse::<i32>().unwrap() % 3 != 0)
                .cloned()
                .collect(),
        ),
    ] {
        let template = templates.find(name).unwrap();
        let (bound, _) = template.bind(arguments.as_object().unwrap()).unwrap();
        let (mut seen, mut after, mut pages) = (BTreeMap::<String, usize>::new(), None::<Vec<KeyValue>>, 0);
        loop {
            let found = runner.run_page(&alpha, template, &bound, 7, after.as_deref()).await.unwrap();
            for key in texts(&found, "source_key") {
                *seen.entry(key).or_default() += 1;
            }
            pages += 1;
            round += 1;
            write(&mut admin, alpha.tenant.as_uuid(), round).await;
            assert_eq!(found.truncated, found.next.is_some());
            let Some(next) = found.next else { break };
            after = Some(next);
        }
        assert!(pages > 10, "{pages}");
        let once: BTreeSet<String> = seen
            .iter()
            .filter(|(key, n)| **n == 1 && expected.contains(*key))
            .map(|(key, _)| key.clone())
            .collect();
        assert_eq!(once, expected, "{name}");
        sqlx::query("delete from work_items where tenant_id = $1 and source_id::int >= 100000")
            .bind(alpha.tenant.as_uuid())
            .execute(&mut admin)
            .await
            .unwrap();
        sqlx::query("update work_items set deleted_at = null where tenant_id = $1")
            .bind(alpha.tenant.as_uuid())
            .execute(&mut admin)
            .await
            .unwrap();
    }
}

/// A row of the model: a number and a text, either of which may be missing, and what tells it from the others.
type Row = (Option<i16>, Option<char>, i32);

/// As PostgreSQL is asked to order it.
fn compare(a: &Row, b: &Row, keys: &[SortKey]) -> std::cmp::Ordering {
    use std::cmp::Ordering;
    fn column<T: Ord>(a: Option<T>, b: Option<T>, key: &SortKey) -> Ordering {
        match (a, b) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) if key.nulls == Nulls::First => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) if key.nulls == Nulls::First => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) if key.descending => b.cmp(&a),
            (Some(a), Some(b)) => a.cmp(&b),
        }
    }
    keys.iter()
        .map(|key| match key.column.as_str() {
            "a" => column(a.0, b.0, key),
            "b" => column(a.1, b.1, key),
            _ => column(Some(a.2), Some(b.2), key),
        })
        .find(|order| *order != Ordering::Equal)
        .unwrap_or(Ordering::Equal)
}

fn keys() -> impl Strategy<Value = Vec<SortKey>> {
    let directions = proptest::collection::vec((any::<bool>(), any::<bool>()), 3);
    (Just(vec!["a", "b", "id"]).prop_shuffle(), directions).prop_map(|(columns, directions)| {
        let one = |(column, (descending, first)): (&str, (bool, bool))| SortKey {
            column: column.to_owned(),
            descending,
            nulls: match (column, first) {
                ("id", _) => Nulls::Never,
                (_, true) => Nulls::First,
                (_, false) => Nulls::Last,
            },
        };
        columns.into_iter().zip(directions).map(one).collect()
    })
}

#[tokio::test]
async fn pages_put_together_are_the_rows_in_order_whatever_the_directions_nulls_and_duplicates() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let runner = PgTemplateRunner::new(test.db.clone());
    let row =
        (proptest::option::of(0i16..3), proptest::option::of(prop_oneof![Just('a'), Just('b'), Just('c')]));
    let cases = (proptest::collection::vec(row, 1..25), keys(), 1i64..6);
    let mut proptest = TestRunner::deterministic();
    for case in 0..60 {
        let (rows, keys, limit) = cases.new_tree(&mut proptest).unwrap().current();
        let mut rows: Vec<Row> = (0..).zip(rows).map(|(id, (a, b))| (a, b, id)).collect();
        let values: Vec<String> = rows
            .iter()
            .map(|(a, b, id)| {
                let a = a.map_or("null".into(), |a| a.to_string());
                let b = b.map_or("null".into(), |b| format!("'{b}'"));
                format!("({a}::smallint, {b}::text, {id}::integer)")
            })
            .collect();
        let statement = format!(
            "select t.id::text as x, t.a, t.b, t.id from (values {}) as t(a, b, id)",
            values.join(", ")
        );
        let hidden = ["a".into(), "b".into(), "id".into()].into();
        let template =
            Template { page: Some(Page { keys: keys.clone(), hidden }), ..raw(&statement, &["x"], 5_000) };
        let (found, whole) = walk(&runner, &alpha, &template, limit).await;
        rows.sort_by(|a, b| compare(a, b, &keys));
        let expected: Vec<String> = rows.iter().map(|row| row.2.to_string()).collect();
        let found: Vec<&str> = found.iter().map(|row| row[0].as_str().unwrap()).collect();
        assert!(whole, "case {case}");
        assert_eq!(found, expected, "case {case}: {keys:?}, pages of {limit}, {values:?}");
    }
}

#[tokio::test]
async fn rows_that_the_key_does_not_tell_apart_stand_on_one_page() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let runner = PgTemplateRunner::new(test.db.clone());
    let numbers = raw("select (n / 3)::text as x, n / 3 as k from generate_series(0, 11) n", &["x"], 5_000);
    let template = Template { page: Some(page(&["k"], &["k"])), ..numbers };
    let lengths = async |limit: i64| {
        let (mut lengths, mut after) = (Vec::new(), None::<Vec<KeyValue>>);
        loop {
            let found = runner.run_page(&alpha, &template, &[], limit, after.as_deref()).await.unwrap();
            lengths.push(found.rows.len());
            let Some(next) = found.next else { return (lengths, found.truncated) };
            after = Some(next);
        }
    };
    assert_eq!(lengths(4).await, (vec![3, 3, 3, 3], false));
    assert_eq!(lengths(7).await, (vec![6, 6], false));
    // More than a page of them: no cursor could say where to go on, so there is none, and the answer says it is cut.
    assert_eq!(lengths(2).await, (vec![2], true));
}

#[tokio::test]
async fn a_page_that_is_cut_for_its_bytes_goes_on_where_it_was_cut() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let runner = PgTemplateRunner::with_max_bytes(test.db.clone(), 4_000);
    let wide = raw("select repeat('y', 900) || n as x, n as k from generate_series(1, 10) n", &["x"], 5_000);
    let template = Template { page: Some(page(&["k desc"], &["k"])), ..wide };
    let (rows, whole) = walk(&runner, &alpha, &template, 10).await;
    assert!(whole);
    let ends: Vec<String> = rows.iter().map(|row| row[0].as_str().unwrap().replace('y', "")).collect();
    assert_eq!(ends, (1..=10).rev().map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_page_from_the_middle_is_read_from_its_index() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    fill(&test, &alpha, 20_000, "x").await;
    let templates = PgTemplates::load(&test.db).await.unwrap();
    let template = templates.find("search_issues_by_project").unwrap();
    let runner = PgTemplateRunner::new(test.db.clone());
    let (bound, limit) = template.bind(json!({"project": "core/web"}).as_object().unwrap()).unwrap();
    let first = runner.run(&alpha, template, &bound, limit).await.unwrap();
    let next = first.next.expect("there is more");
    let mut reader = test.connect("patchbay_reader").await;
    support::run(&mut reader, format!("begin; set local app.current_tenant_id = '{}'", alpha.tenant)).await;
    for after in [None, Some(next.as_slice())] {
        let statement = template_statement(template, &bound, after);
        let mut query = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(format!("explain {statement}")))
            .bind(alpha.tenant.as_uuid())
            .bind("core/web")
            .bind(None::<&str>)
            .bind(None::<&str>)
            .bind(None::<&str>)
            .bind(None::<&str>)
            .bind(None::<chrono::DateTime<chrono::Utc>>)
            .bind(51_i64);
        for value in after.unwrap_or_default() {
            query = query.bind(value.text.clone());
        }
        let plan = query.fetch_all(&mut reader).await.unwrap().join("\n");
        // Sorting the rows of one moment by their id is fine; sorting all that are left is not.
        let bounded = after.is_none() || plan.contains("updated_at <= ");
        assert!(plan.contains("Index Scan") && !plan.contains("->  Sort") && bounded, "{plan}");
    }
}

#[tokio::test]
async fn a_page_key_that_does_not_fit_the_columns_is_refused() {
    let test = TestDb::new().await;
    for (page, columns, expected) in [
        ("key = ['at']", "w.title as a, w.id", "names `at`, which is no column"),
        ("key = ['labels']", "w.title as a, w.labels", "cannot be paged by `labels`, whose type is TEXT[]"),
        ("key = ['id']\nhidden = ['id']", "w.id, w.title as a", "`id` must stand behind all others"),
    ] {
        let text = format!(
            "/*\ntitle = 'T'\ndescription = 'D'\n[page]\n{page}\n*/ select {columns} from work_items w where w.tenant_id = $1"
        );
        let refused = PgTemplates::load_these(&test.db, &[("t", &text)]).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}
