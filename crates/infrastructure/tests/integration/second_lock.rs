//! The second lock of templates that tenants write: a seal on the context of each transaction. What the first lock, the
//! setting of the tenant, opens by itself is nothing.

use crate::support;
use crate::template_data;

use application::ports::TemplateRunner;
use domain::template::Template;
use domain::{Allowed, Grant, TenantId};
use patchbay_infrastructure::postgres::PgTemplateRunner;
use sqlx::PgConnection;
use std::sync::Arc;
use support::{TestDb, run};
use template_data::{fill, raw};

/// Reads every item it can see, of whatever tenant.
const EVERYTHING: &str = "select w.title as x from published.work_items w";

fn authored(statement: &str) -> Template {
    Template { authored: true, ..raw(statement, &["x"], 5_000) }
}

/// The seal that the server would make for this tenant in the transaction of `author`, whose settings of narrowing are
/// these.
async fn seal(test: &TestDb, author: &mut PgConnection, tenant: TenantId, projects: &str) -> String {
    let (backend, began): (i32, i64) =
        sqlx::query_as("select pg_backend_pid(), (extract(epoch from now()) * 1000000)::bigint")
            .fetch_one(author)
            .await
            .unwrap();
    sqlx::query_scalar(
        "select encode(sha256(key || sha256(key || convert_to($1, 'UTF8'))), 'hex') from template_seal",
    )
    .bind(format!("{tenant}|{backend}|{began}||{projects}"))
    .fetch_one(&mut test.admin().await)
    .await
    .unwrap()
}

async fn begin(author: &mut PgConnection, tenant: TenantId, seal: &str) {
    run(
        author,
        format!("begin read only; set local app.current_tenant_id = '{tenant}'; set local app.tenant_seal = '{seal}'"),
    )
    .await;
}

async fn set(author: &mut PgConnection, setting: &str, value: &str) {
    run(author, format!("set local {setting} = '{value}'")).await;
}

/// Rows in all views that are of a tenant, and hits of the full text search.
#[expect(clippy::disallowed_methods, reason = "names from the catalog")]
async fn rows(author: &mut PgConnection) -> i64 {
    let views: Vec<String> = sqlx::query_scalar(
        "select c.oid::regclass::text from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
         where c.relnamespace = 'published'::regnamespace and c.relkind = 'v'",
    )
    .fetch_all(&mut *author)
    .await
    .unwrap();
    assert!(views.len() >= 9, "{views:?}");
    let mut rows = 0;
    for view in views {
        let statement = sqlx::AssertSqlSafe(format!("select count(*) from {view}"));
        let count: i64 = sqlx::query_scalar(statement).fetch_one(&mut *author).await.unwrap();
        rows += count;
    }
    let found: i64 = sqlx::query_scalar("select count(*) from public.search_work_item_ids('item', 100)")
        .fetch_one(author)
        .await
        .unwrap();
    rows + found
}

// Security requirement 3.4: the lock that template text cannot touch.
#[tokio::test]
async fn a_tenant_set_without_its_seal_opens_nothing() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    fill(&test, &alpha, 20, "alpha").await;
    fill(&test, &beta, 20, "beta").await;
    let _vault = test.vault().await;
    let mut author = test.connect("patchbay_author").await;

    begin(&mut author, alpha.tenant, "").await;
    assert_eq!(rows(&mut author).await, 0, "without a seal");
    let good = seal(&test, &mut author, alpha.tenant, "").await;
    set(&mut author, "app.tenant_seal", &good).await;
    let own = rows(&mut author).await;
    assert!(own >= 40, "with its seal: {own}");

    // As somebody who could change the first lock would.
    set(&mut author, "app.current_tenant_id", &beta.tenant.to_string()).await;
    assert_eq!(rows(&mut author).await, 0, "another tenant under the seal of the first");
    set(&mut author, "app.current_tenant_id", "").await;
    assert_eq!(rows(&mut author).await, 0, "no tenant");
    set(&mut author, "app.current_tenant_id", &alpha.tenant.to_string()).await;
    set(&mut author, "app.allowed_projects", "core/web").await;
    assert_eq!(rows(&mut author).await, 0, "another narrowing than was sealed");
    let narrowed = seal(&test, &mut author, alpha.tenant, "core/web").await;
    set(&mut author, "app.tenant_seal", &narrowed).await;
    let some = rows(&mut author).await;
    assert!(some > 0 && some < own, "{some} of {own}");
    set(&mut author, "app.allowed_projects", "").await;
    assert_eq!(rows(&mut author).await, 0, "the narrowing taken away");
    run(&mut author, "rollback".into()).await;
}

#[tokio::test]
async fn a_seal_is_worth_nothing_in_another_transaction_or_session() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    fill(&test, &alpha, 20, "alpha").await;
    let _vault = test.vault().await;
    let mut author = test.connect("patchbay_author").await;
    let mut other = test.connect("patchbay_author").await;
    begin(&mut author, alpha.tenant, "").await;
    let good = seal(&test, &mut author, alpha.tenant, "").await;
    set(&mut author, "app.tenant_seal", &good).await;
    assert!(rows(&mut author).await > 0);

    begin(&mut other, alpha.tenant, &good).await;
    assert_eq!(rows(&mut other).await, 0, "in another session");
    run(&mut author, "rollback".into()).await;
    begin(&mut author, alpha.tenant, &good).await;
    assert_eq!(rows(&mut author).await, 0, "in the next transaction of the same session");
}

#[tokio::test]
async fn with_the_first_lock_gone_the_second_holds() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    fill(&test, &alpha, 7, "alpha").await;
    fill(&test, &beta, 9, "beta").await;
    let _vault = test.vault().await;
    let runner = PgTemplateRunner::new(test.db.clone());
    let before = runner.run(&alpha, &authored(EVERYTHING), &[], 100).await.unwrap();
    assert_eq!(before.rows.len(), 7);

    let mut admin = test.admin().await;
    run(&mut admin, "alter policy tenant_isolation on work_items using (true)".into()).await;
    let reader = runner.run(&alpha, &raw(EVERYTHING, &["x"], 5_000), &[], 100).await.unwrap();
    assert_eq!(reader.rows.len(), 16, "the reader has the first lock only");
    let author = runner.run(&alpha, &authored(EVERYTHING), &[], 100).await.unwrap();
    assert_eq!(author.rows, before.rows);
}

#[tokio::test]
async fn a_narrowed_key_sees_its_part_through_both_locks() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    fill(&test, &alpha, 20, "alpha").await;
    let _vault = test.vault().await;
    let runner = PgTemplateRunner::new(test.db.clone());
    let with = |keys: &[&str]| {
        let projects = Allowed::Only(keys.iter().map(|key| key.parse().unwrap()).collect());
        let grant = Grant { projects_read: projects, ..Grant::default() };
        application::Ctx { grant: Arc::new(grant), ..alpha.clone() }
    };
    for (keys, expected) in [(&["core/web"][..], 10), (&["core/web", "core/api"], 20), (&[], 0)] {
        let seen = runner.run(&with(keys), &authored(EVERYTHING), &[], 100).await.unwrap();
        assert_eq!(seen.rows.len(), expected, "{keys:?}");
    }
}

#[tokio::test]
async fn what_no_vault_was_opened_for_is_refused_and_not_run() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    fill(&test, &alpha, 5, "alpha").await;
    let refused = PgTemplateRunner::new(test.db.clone()).run(&alpha, &authored(EVERYTHING), &[], 100).await;
    assert!(refused.is_err());
}
