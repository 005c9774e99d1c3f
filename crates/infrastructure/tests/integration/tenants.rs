//! The life of tenants, as the application role: suspended, exported, deleted.

use crate::support;
use crate::tenant_data;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use application::Ctx;
use application::ports::{
    JobQueue, PageCommit, StoreError, StreamCommit, SyncStore, TenantStore, TenantTable,
};
use application::tenants::{CarriedOutBy, TenantService};
use chrono::DateTime;
use domain::{Cursor, PageRecords, RunId, RunState, StreamName, TenantStatus};
use futures::StreamExt;
use patchbay_infrastructure::clock::{SystemClock, SystemIds};
use patchbay_infrastructure::postgres::{
    EXPORTED_BYTES, GraphileQueue, PgSync, PgTenants, QueueSettings, WITHHELD,
};
use serde_json::{Value, json};
use support::{TestDb, run};
use tenant_data::{CANARY, fill, items};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

fn store(test: &TestDb) -> PgTenants {
    PgTenants::new(test.db.clone(), test.audit())
}

fn service(test: &TestDb) -> TenantService {
    TenantService::new(Arc::new(store(test)), Arc::new(SystemClock), Arc::new(SystemIds))
}

fn runs(test: &TestDb) -> PgSync {
    PgSync::new(test.db.clone(), test.audit())
}

/// Rows of every table of tenants, as the superuser counts them.
async fn rows_of(test: &TestDb, ctx: &Ctx) -> BTreeMap<String, i64> {
    let mut admin = test.admin().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert!(tables.len() > 25, "{tables:?}");
    let mut rows = BTreeMap::new();
    for table in tables {
        let mut query = sqlx::QueryBuilder::new("select count(*) from ");
        query.push(&table).push(" where tenant_id = ").push_bind(ctx.tenant.as_uuid());
        rows.insert(table, query.build_query_scalar().fetch_one(&mut admin).await.unwrap());
    }
    rows
}

/// A tenant with something in every table. Whoever adds a table adds a row of it to `tenant_data`.
async fn full(test: &TestDb, slug: &str) -> (Ctx, Uuid, RunId) {
    let ctx = test.ctx(slug).await;
    let (instance, run) = fill(&mut test.admin().await, ctx.tenant).await;
    let empty: Vec<String> = rows_of(test, &ctx)
        .await
        .into_iter()
        .filter(|(_, rows)| *rows == 0)
        .map(|(table, _)| table)
        .collect();
    assert!(empty.is_empty(), "tests/tenant_data has no row of {empty:?}");
    (ctx, instance, RunId::new(run))
}

async fn jobs_of(test: &TestDb, ctx: &Ctx) -> i64 {
    sqlx::query_scalar("select count(*) from graphile_worker._private_jobs where payload ->> 'tenant' = $1")
        .bind(ctx.tenant.to_string())
        .fetch_one(&mut test.admin().await)
        .await
        .unwrap()
}

fn page(cursor: u32) -> PageCommit {
    PageCommit {
        stream: StreamCommit {
            stream: StreamName::new("issues"),
            project: "1".into(),
            cursor: Some(Cursor(json!(cursor))),
            complete: false,
            watermark: None,
            validator: None,
            seen: 1,
            estimate: None,
        },
        records: PageRecords::default(),
        requests: 1,
        fetched_at: DateTime::from_timestamp(1_780_000_000, 0).unwrap(),
        end_slice: false,
    }
}

#[tokio::test]
async fn a_run_of_a_suspended_tenant_waits_behind_its_page_and_goes_on_when_it_is_resumed() {
    let test = TestDb::new().await;
    let (ctx, _, run) = full(&test, "alpha").await;
    let (store, sync) = (store(&test), runs(&test));
    let slice = sync.begin_slice(&ctx, run).await.unwrap().unwrap();
    store.set_status(&ctx, TenantStatus::Suspended).await.unwrap();

    let outcome = sync.commit_page(&ctx, &slice.key, page(7)).await.unwrap();
    assert!(outcome.suspended);
    let waiting = sync.find(&ctx, run).await.unwrap().unwrap();
    assert_eq!((waiting.state, waiting.done), (RunState::Waiting, 1), "{waiting:?}");
    assert_eq!(waiting.error.unwrap().code, "tenant_suspended");
    assert!(matches!(sync.commit_page(&ctx, &slice.key, page(8)).await, Err(StoreError::Fenced)));
    // A job that comes all the same takes nothing over, and is not repeated.
    assert!(sync.begin_slice(&ctx, run).await.unwrap().is_none());
    assert_eq!(sync.find(&ctx, run).await.unwrap().unwrap().state, RunState::Waiting);

    run_sql(&test, "delete from graphile_worker._private_jobs").await;
    assert_eq!(
        store.set_status(&ctx, TenantStatus::Active).await.unwrap().unwrap().status,
        TenantStatus::Active
    );
    assert_eq!(jobs_of(&test, &ctx).await, 1, "the run has no job");
    let slice = sync.begin_slice(&ctx, run).await.unwrap().unwrap();
    assert_eq!(slice.failures, 0);
    assert!(
        slice.streams.iter().any(|stream| stream.cursor == Some(Cursor(json!(7)))),
        "{:?}",
        slice.streams
    );
    let actions: Vec<String> =
        sqlx::query_scalar("select action from audit_log where action like 'tenant.%' order by seq")
            .fetch_all(&mut test.admin().await)
            .await
            .unwrap();
    assert!(actions.ends_with(&["tenant.suspend".to_owned(), "tenant.resume".to_owned()]), "{actions:?}");
}

async fn run_sql(test: &TestDb, sql: &str) {
    run(&mut test.admin().await, sql.to_owned()).await;
}

#[tokio::test]
async fn the_job_that_resuming_enqueues_is_one_that_a_worker_understands() {
    use application::ports::{Job, JobHandler, JobOutcome};
    struct Seen(tokio::sync::mpsc::UnboundedSender<Job>);
    #[async_trait::async_trait]
    impl JobHandler for Seen {
        async fn handle(&self, job: Job, _: CancellationToken) -> JobOutcome {
            let _ = self.0.send(job);
            JobOutcome::Done
        }
    }
    let test = TestDb::new().await;
    let (ctx, instance, run) = full(&test, "alpha").await;
    let store = store(&test);
    store.set_status(&ctx, TenantStatus::Suspended).await.unwrap();
    store.set_status(&ctx, TenantStatus::Active).await.unwrap();
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let queue = GraphileQueue::new(test.db.clone(), QueueSettings::default());
    let working = {
        let stop = stop.clone();
        tokio::spawn(async move {
            queue.run_worker(Arc::new(Seen(sender)), 1, std::time::Duration::from_secs(5), stop).await
        })
    };
    let job = seen.recv().await.unwrap();
    stop.cancel();
    working.await.unwrap().unwrap();
    let Job::SyncSlice { tenant, instance: of, run: what } = job else { panic!("{job:?}") };
    assert_eq!((tenant, of.as_uuid(), what), (ctx.tenant, instance, run));
}

#[tokio::test]
async fn suspending_twice_is_one_change_and_a_deletion_cannot_be_resumed() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let service = service(&test);
    let slug = "alpha".parse().unwrap();
    service.suspend(&slug).await.unwrap();
    service.suspend(&slug).await.unwrap();
    let records: i64 = sqlx::query_scalar("select count(*) from audit_log where action = 'tenant.suspend'")
        .fetch_one(&mut test.admin().await)
        .await
        .unwrap();
    assert_eq!(records, 1);
    service.delete(&ctx, "alpha", CarriedOutBy::Worker).await.unwrap();
    assert!(matches!(service.resume(&slug).await, Err(application::Error::Conflict { .. })));
    assert!(matches!(
        service.resume(&"beta".parse().unwrap()).await,
        Err(application::Error::NotFound { .. })
    ));
}

// Security requirement 68.
#[tokio::test]
async fn an_export_holds_every_row_of_the_tenant_and_no_secret_and_nothing_of_others() {
    let test = TestDb::new().await;
    let (alpha, instance, _) = full(&test, "alpha").await;
    let (beta, _, _) = full(&test, "beta").await;
    run(&mut test.admin().await, items(alpha.tenant, instance, 2, 300)).await;
    let lines: Vec<String> =
        store(&test).export(&alpha).await.unwrap().map(|line| line.unwrap()).collect().await;
    // The record of the export itself is in it.
    let mut expected = rows_of(&test, &alpha).await;
    expected.insert("tenants".into(), 1);

    let mut found: BTreeMap<String, i64> = BTreeMap::new();
    let (last, rows) = lines.split_last().unwrap();
    for line in rows {
        assert!(!line.contains('\n') && !line.contains('\r'), "{line}");
        let line: Value = serde_json::from_str(line).unwrap();
        *found.entry(line["table"].as_str().unwrap().to_owned()).or_default() += 1;
        let tenant = line["row"].get("tenant_id").or_else(|| line["row"].get("id")).unwrap();
        assert_eq!(tenant, &json!(alpha.tenant), "{line}");
    }
    assert_eq!(found, expected);
    assert_eq!(serde_json::from_str::<Value>(last).unwrap()["counts"], json!(expected));
    let all = lines.join("\n");
    assert!(!all.contains(CANARY), "a secret was exported");
    assert!(!all.contains(&beta.tenant.to_string()));
    assert!(all.contains(r#""table":"raw_objects""#) && all.contains(r"\u0000"));
    for (table, column) in WITHHELD {
        let line = rows.iter().find(|line| line.contains(&format!("\"table\":\"{table}\""))).unwrap();
        assert!(!line.contains(&format!("\"{column}\":")), "{line}");
    }
}

#[tokio::test]
async fn every_column_of_bytes_is_either_exported_or_withheld() {
    let test = TestDb::new().await;
    let columns: BTreeSet<(String, String)> = sqlx::query_as(
        "select c.relname::text, a.attname::text from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.atttypid = 'bytea'::regtype
           and exists (select from pg_attribute t where t.attrelid = c.oid and t.attname = 'tenant_id')",
    )
    .fetch_all(&mut test.admin().await)
    .await
    .unwrap()
    .into_iter()
    .collect();
    let listed: BTreeSet<(String, String)> = EXPORTED_BYTES
        .iter()
        .chain(&WITHHELD)
        .map(|(table, column)| ((*table).to_owned(), (*column).to_owned()))
        .collect();
    assert_eq!(columns, listed, "postgres/tenants/catalog.rs must say of each whether an export holds it");
}

#[tokio::test]
async fn an_export_that_nobody_reads_gives_its_place_back() {
    let test = TestDb::new().await;
    let (ctx, instance, _) = full(&test, "alpha").await;
    run(&mut test.admin().await, items(ctx.tenant, instance, 2, 500)).await;
    let store = store(&test);
    let held = [store.export(&ctx).await.unwrap(), store.export(&ctx).await.unwrap()];
    assert!(matches!(store.export(&ctx).await.map(drop), Err(StoreError::Unavailable(_))));
    drop(held);
    let mut tries = 0;
    while let Err(error) = store.export(&ctx).await.map(drop) {
        tries += 1;
        assert!(tries < 200, "{error}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

// Security requirements 54 and 68.
#[tokio::test]
async fn a_deleted_tenant_leaves_nothing_behind_and_takes_nothing_of_others_along() {
    let test = TestDb::new().await;
    let (alpha, instance, _) = full(&test, "alpha").await;
    let (beta, _, _) = full(&test, "beta").await;
    run(&mut test.admin().await, items(alpha.tenant, instance, 2, 12_001)).await;
    run_sql(&test, "insert into sign_in_states (mac, browser_mac, issuer, nonce, pkce_verifier, tenant_slug, return_to,
        expires_at) select sha256(s::bytea), sha256(s::bytea), 'i', 'n', 'p', s, '/', now() from unnest(array['alpha', 'beta']) s").await;
    let before = rows_of(&test, &beta).await;
    let service = service(&test);
    let deletion = service.delete(&alpha, "alpha", CarriedOutBy::Caller).await.unwrap();
    assert!(deletion.finished_at.is_none());
    let done = service.carry_out(deletion.id, &CancellationToken::new()).await.unwrap();

    assert!(done.finished_at.is_some(), "{done:?}");
    assert_eq!(done.removed["work_items"], 12_001);
    assert_eq!(done.removed["work_item_labels"], 24_002);
    assert_eq!((done.removed["tenants"], done.removed["users"], done.removed["sign_in_states"]), (1, 1, 1));
    let residue = done.residue.unwrap();
    for table in before.keys().map(String::as_str).chain(["tenants", "job_queue", "sign_in_states"]) {
        assert_eq!(residue.get(table), Some(&0), "{table} was not looked at, or holds something");
    }
    assert!(rows_of(&test, &alpha).await.values().all(|&rows| rows == 0));
    assert_eq!(rows_of(&test, &beta).await, before);
    assert_eq!((jobs_of(&test, &alpha).await, jobs_of(&test, &beta).await), (0, 1));
    let jobs: i64 = sqlx::query_scalar("select count(*) from graphile_worker._private_jobs")
        .fetch_one(&mut test.admin().await)
        .await
        .unwrap();
    assert_eq!(jobs, 1, "the deletion's own job is left");
    let people: i64 =
        sqlx::query_scalar("select count(*) from users").fetch_one(&mut test.admin().await).await.unwrap();
    assert_eq!(people, 1, "only the other tenant's person is left");
    // The name is free again, and its next tenant is another.
    let again = test.ctx("alpha").await;
    assert_ne!(again.tenant, alpha.tenant);
    let shown = service.deletion_of(&"alpha".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((shown.id, shown.tenant), (done.id, alpha.tenant));
}

#[tokio::test]
async fn a_person_who_is_a_member_elsewhere_stays() {
    let test = TestDb::new().await;
    let (alpha, _, _) = full(&test, "alpha").await;
    let beta = test.ctx("beta").await;
    run_sql(
        &test,
        &format!("insert into memberships (tenant_id, user_id, role, email) select '{}', id, 'viewer', email from users", beta.tenant),
    )
    .await;
    let service = service(&test);
    let deletion = service.delete(&alpha, "alpha", CarriedOutBy::Caller).await.unwrap();
    service.carry_out(deletion.id, &CancellationToken::new()).await.unwrap();
    let people: i64 =
        sqlx::query_scalar("select count(*) from users").fetch_one(&mut test.admin().await).await.unwrap();
    assert_eq!(people, 1);
}

#[tokio::test]
async fn nothing_is_removed_of_a_tenant_whose_deletion_nobody_asked_for() {
    let test = TestDb::new().await;
    let (alpha, _, _) = full(&test, "alpha").await;
    let (beta, _, _) = full(&test, "beta").await;
    let service = service(&test);
    let error = service.delete(&alpha, "alpah", CarriedOutBy::Worker).await.unwrap_err();
    assert!(matches!(error, application::Error::Invalid(_)), "{error}");
    let mut asked = service.delete(&alpha, "alpha", CarriedOutBy::Worker).await.unwrap();
    // A proof that names another tenant removes neither.
    asked.tenant = beta.tenant;
    let before = rows_of(&test, &beta).await;
    let store = store(&test);
    store.begin_removal(&asked).await.unwrap();
    for table in store.tables().await.unwrap() {
        assert_eq!(store.remove_rows(&asked, &table, 10).await.unwrap(), 0, "{table:?}");
    }
    store.remove_tenant(&asked).await.unwrap();
    assert!(store.look_for_residue(&asked).await.unwrap().finished_at.is_none());
    assert_eq!(rows_of(&test, &beta).await, before);
}

#[tokio::test]
async fn a_deletion_goes_on_where_it_was_and_may_be_done_by_two_at_once() {
    let test = TestDb::new().await;
    let (ctx, instance, _) = full(&test, "alpha").await;
    run(&mut test.admin().await, items(ctx.tenant, instance, 2, 12_000)).await;
    let service = service(&test);
    let deletion = service.delete(&ctx, "alpha", CarriedOutBy::Worker).await.unwrap();
    // Asked again, it is the same.
    assert_eq!(service.delete(&ctx, "alpha", CarriedOutBy::Worker).await.unwrap().id, deletion.id);
    // Somebody began and died.
    let store = store(&test);
    store.begin_removal(&deletion).await.unwrap();
    assert_eq!(store.remove_rows(&deletion, &TenantTable("work_items".into()), 500).await.unwrap(), 500);
    // A page that was being written in the meantime is written to nobody's run.
    let stop = CancellationToken::new();
    let (one, other) =
        tokio::join!(service.carry_out(deletion.id, &stop), service.carry_out(deletion.id, &stop));
    for done in [one.unwrap(), other.unwrap()] {
        assert!(done.finished_at.is_some(), "{done:?}");
        assert_eq!(done.removed["work_items"], 12_000);
    }
}

#[tokio::test]
async fn a_worker_that_still_writes_for_a_deleted_tenant_is_fenced_off() {
    let test = TestDb::new().await;
    let (ctx, _, run) = full(&test, "alpha").await;
    let sync = runs(&test);
    let slice = sync.begin_slice(&ctx, run).await.unwrap().unwrap();
    let service = service(&test);
    let deletion = service.delete(&ctx, "alpha", CarriedOutBy::Worker).await.unwrap();
    store(&test).begin_removal(&deletion).await.unwrap();
    assert!(matches!(sync.commit_page(&ctx, &slice.key, page(1)).await, Err(StoreError::Fenced)));
    assert!(sync.begin_slice(&ctx, run).await.unwrap().is_none());
}

#[tokio::test]
async fn a_batch_reads_only_its_own_rows_whatever_the_statistics_say() {
    let test = TestDb::new().await;
    let (ctx, instance, _) = full(&test, "alpha").await;
    run(&mut test.admin().await, items(ctx.tenant, instance, 2, 20_000)).await;
    run_sql(&test, "analyze").await;
    let mut app = test.connect("patchbay_app").await;
    run(&mut app, format!("begin; set local app.current_tenant_id = '{}'", ctx.tenant)).await;
    let plan: Vec<String> = sqlx::query_scalar(
        "explain delete from public.work_items where tenant_id = current_setting('app.current_tenant_id')::uuid
             and ctid = any (array(select ctid from public.work_items
                 where tenant_id = current_setting('app.current_tenant_id')::uuid order by tenant_id, id limit 500))",
    )
    .fetch_all(&mut app)
    .await
    .unwrap();
    let plan = plan.join("\n");
    assert!(plan.contains("Tid Scan") && plan.contains("work_items_pkey"), "{plan}");
}
