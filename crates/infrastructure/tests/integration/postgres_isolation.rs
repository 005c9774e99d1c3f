//! Row-level security as the application's and the reader's role: what a tenant sees, may write, and can find out.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "statements of the tests' own making"
)]

use crate::support;

use application::Ctx;
use application::ports::{AccessStore, InstanceStore, ListPage, Sealed, WorkItemStore};
use chrono::{DateTime, Utc};
use domain::{Instance, InstanceId, InstanceStatus, SourceKind, StatusNorm, WorkItemFilter, WorkItemId};
use patchbay_infrastructure::postgres::{PgAccess, PgInstances, PgWorkItems, PoolSizes};
use rand::RngExt;
use sqlx::{Connection, PgConnection};
use support::{TestDb, cancel_after, run};
use uuid::Uuid;

fn at() -> DateTime<Utc> {
    "2026-11-01T10:00:00Z".parse().unwrap()
}

fn instance(slug: &str) -> Instance {
    Instance {
        id: InstanceId::new(Uuid::now_v7()),
        slug: slug.parse().unwrap(),
        source: SourceKind::new("github"),
        name: slug.into(),
        base_url: "https://api.github.com".parse().unwrap(),
        settings: serde_json::json!({}),
        status: InstanceStatus::Active,
        created_at: at(),
        updated_at: at(),
    }
}

/// An instance with a project, items, labels, comments and a run of this tenant, written as the superuser.
async fn fill(test: &TestDb, ctx: &Ctx, items: i32) -> InstanceId {
    let one = instance("core");
    PgInstances::new(test.db.clone(), test.audit()).insert(ctx, &one, &Sealed(vec![1])).await.unwrap();
    let (tenant, id) = (ctx.tenant, one.id);
    let mut admin = test.admin().await;
    run(
        &mut admin,
        format!(
            "insert into work_items (tenant_id, id, instance_id, source, source_id, ref_key, source_key,
                 project_source_id, project_key, type_norm, type_original, status_norm, status_original, priority_norm,
                 title, body, assignees, labels, url, created_at, updated_at, content_hash, synced_at)
             select '{tenant}', gen_random_uuid(), '{id}', 'github', n::text, '1#' || n, 'o/r#' || n, '1', 'o/r', 'bug',
                 'Bug', case n % 2 when 0 then 'done' else 'todo' end, 'open', 'none',
                 'Crash number ' || n, 'secret-merger', array['ada'], array['ui'], 'https://example.com', now(),
                 timestamptz '2026-01-01' + (n / 3) * interval '1 hour', '', now()
             from generate_series(1, {items}) n;",
        ),
    )
    .await;
    for statement in [
        "insert into work_item_labels select tenant_id, id, 'ui' from work_items where instance_id = $1",
        "insert into comments (tenant_id, id, instance_id, kind, source_id, item_ref_key, body, url, created_at, updated_at,
             content_hash, synced_at)
         select tenant_id, gen_random_uuid(), instance_id, 'comment', source_id, ref_key, 'x', 'https://example.com', now(),
             now(), '', now() from work_items where instance_id = $1",
        "insert into projects (tenant_id, id, instance_id, source_id, key, name, url, content_hash, synced_at)
         select tenant_id, gen_random_uuid(), id, '1', 'o/r', 'r', 'https://example.com', '', now()
         from source_instances where id = $1",
        "insert into sync_runs (tenant_id, id, instance_id, kind, state)
         select tenant_id, gen_random_uuid(), id, 'backfill', 'succeeded' from source_instances where id = $1",
    ] {
        sqlx::query(statement).bind(id.as_uuid()).execute(&mut admin).await.unwrap();
    }
    id
}

async fn tenant_tables(test: &TestDb, role: &str) -> Vec<String> {
    sqlx::query_scalar(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
         where n.nspname in ('public', 'published') and c.relkind in ('r', 'v')
           and has_column_privilege($1, c.oid, a.attnum, 'select')
           and has_schema_privilege($1, n.oid, 'usage') order by 1",
    )
    .bind(role)
    .fetch_all(&mut test.admin().await)
    .await
    .unwrap()
}

async fn count(connection: &mut PgConnection, table: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(tenant_id) from {table}")))
        .fetch_one(connection)
        .await
        .unwrap_or_else(|error| panic!("{table}: {error}"))
}

async fn context(connection: &mut PgConnection, ctx: &Ctx) {
    run(connection, format!("begin; set local app.current_tenant_id = '{}'", ctx.tenant)).await;
}

async fn refusal(connection: &mut PgConnection, statement: String) -> (String, Option<String>) {
    run(connection, "savepoint s".into()).await;
    let error = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()))
        .execute(&mut *connection)
        .await
        .expect_err(&statement);
    run(connection, "rollback to s".into()).await;
    let error = error.into_database_error().expect("the server's refusal");
    (error.code().expect("a code").into_owned(), error.constraint().map(str::to_owned))
}

// Security requirement 6.
#[tokio::test]
async fn without_a_tenant_every_table_is_empty_and_takes_nothing() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let instance = fill(&test, &alpha, 3).await;
    for (login, role) in [
        ("patchbay_app", "patchbay_app"),
        ("patchbay_reader", "patchbay_reader"),
        ("patchbay_app", "patchbay_sync"),
    ] {
        let tables = tenant_tables(&test, role).await;
        assert!(tables.len() >= 6, "{role} reads {tables:?}");
        let mut connection = test.connect(login).await;
        run(&mut connection, format!("set role {role}")).await;
        for round in ["never set", "after a transaction"] {
            for table in &tables {
                assert_eq!(count(&mut connection, table).await, 0, "{role} sees {table}, {round}");
            }
            context(&mut connection, &alpha).await;
            assert_eq!(count(&mut connection, "public.work_items").await, 3);
            run(&mut connection, "commit".into()).await;
        }
    }
    let mut app = test.connect("patchbay_app").await;
    run(&mut app, "begin".into()).await;
    let tenant = alpha.tenant;
    for statement in [
        format!("insert into work_item_labels select '{tenant}', id, 'x' from work_items limit 0; insert into sync_runs
                 (tenant_id, id, instance_id, kind, state) values ('{tenant}', gen_random_uuid(), '{instance}', 'backfill', 'queued')"),
        format!("insert into tenants (id, slug) values ('{}', 'x')", Uuid::now_v7()),
    ] {
        assert_eq!(refusal(&mut app, statement).await.0, "42501");
    }
    let changed = sqlx::query("update source_instances set name = 'x'").execute(&mut app).await.unwrap();
    assert_eq!(changed.rows_affected(), 0);
}

// What a key is narrowed to does not hold for this role, so it has nothing but what syncs write.
#[tokio::test]
async fn who_writes_what_a_sync_has_read_is_held_to_its_tenant_and_has_no_secrets() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    fill(&test, &alpha, 3).await;
    let theirs = fill(&test, &beta, 5).await;
    let mut app = test.connect("patchbay_app").await;
    context(&mut app, &alpha).await;
    run(&mut app, format!("set local app.allowed_instances = '{}'", Uuid::nil())).await;
    assert_eq!(count(&mut app, "work_items").await, 0, "the application is narrowed");
    run(&mut app, "set local role patchbay_sync".into()).await;
    for (table, rows) in [("work_items", 3), ("comments", 3), ("projects", 1), ("sync_runs", 1)] {
        assert_eq!(count(&mut app, table).await, rows, "{table}");
    }
    let changed = sqlx::query("update work_items set title = 'x' where instance_id = $1")
        .bind(theirs.as_uuid())
        .execute(&mut app)
        .await
        .unwrap();
    assert_eq!(changed.rows_affected(), 0);
    let moved = format!("update work_items set tenant_id = '{}'", beta.tenant);
    assert_eq!(refusal(&mut app, moved).await.0, "42501");
    for table in [
        "credentials",
        "api_keys",
        "sessions",
        "memberships",
        "invitations",
        "users",
        "tenant_data_keys",
        "idempotency_keys",
        "write_intents",
        "audit_log",
        "audit_heads",
        "uploads",
        "sql_templates",
    ] {
        assert_eq!(refusal(&mut app, format!("select from {table}")).await.0, "42501", "{table}");
    }
    for statement in
        ["set local role patchbay_lookup", "set local role patchbay_owner", "truncate work_items"]
    {
        assert_eq!(refusal(&mut app, statement.into()).await.0, "42501", "{statement}");
    }
    // It ends with the transaction.
    run(&mut app, "commit".into()).await;
    let role: String = sqlx::query_scalar("select current_user::text").fetch_one(&mut app).await.unwrap();
    assert_eq!(role, "patchbay_app");
}

// Security requirements 8 and 10; cases 1 to 6, 10 and 11 of reference/security.md 3.2.
#[tokio::test]
async fn keys_and_references_of_another_tenant_can_neither_be_used_nor_guessed() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let theirs = fill(&test, &alpha, 3).await;
    let mine = fill(&test, &beta, 1).await;
    let their_item: Uuid = sqlx::query_scalar("select id from work_items where instance_id = $1 limit 1")
        .bind(theirs.as_uuid())
        .fetch_one(&mut test.admin().await)
        .await
        .unwrap();
    let (alpha_id, beta_id) = (alpha.tenant, beta.tenant);
    let mut app = test.connect("patchbay_app").await;
    context(&mut app, &beta).await;

    // Cases 1 to 3 and 5: a foreign primary key, or a foreign unique value, is free for this tenant.
    let insert = |tenant, id, slug| {
        format!(
            "insert into source_instances as t (tenant_id, id, slug, source, name, base_url, settings, status, created_at, updated_at)
             values ('{tenant}', '{id}', '{slug}', 'github', 'mine', 'https://example.com', '{{}}', 'active', now(), now())"
        )
    };
    let taken = format!(
        "{} on conflict (tenant_id, id) do update set name = t.name where t.name::int > 0",
        insert(beta_id, theirs, "other")
    );
    run(&mut app, taken).await;
    let own: String = sqlx::query_scalar("select name from source_instances where id = $1")
        .bind(theirs.as_uuid())
        .fetch_one(&mut app)
        .await
        .unwrap();
    assert_eq!(own, "mine");
    run(&mut app, format!("delete from source_instances where id = '{theirs}'")).await;

    // Cases 4 and 11: no row gets into another tenant.
    assert_eq!(refusal(&mut app, insert(alpha_id, Uuid::now_v7().into_instance(), "x")).await.0, "42501");
    let moved = format!("update work_item_labels set tenant_id = '{alpha_id}'");
    assert_eq!(refusal(&mut app, moved).await.0, "42501");

    // Case 6: a reference to a foreign row is refused exactly like one to nothing.
    let reference = |instance: InstanceId| {
        format!(
            "insert into sync_runs (tenant_id, id, instance_id, kind, state)
             values ('{beta_id}', gen_random_uuid(), '{instance}', 'backfill', 'failed')"
        )
    };
    let foreign = refusal(&mut app, reference(theirs)).await;
    let nothing = refusal(&mut app, reference(Uuid::now_v7().into_instance())).await;
    assert_eq!(foreign, nothing);
    assert_eq!(foreign.0, "23503");
    let label = |item| format!("insert into work_item_labels values ('{beta_id}', '{item}', 'x')");
    // Labels have no foreign key: a foreign item is taken like one that is not there, and the row stays this tenant's.
    run(&mut app, label(their_item)).await;
    run(&mut app, label(Uuid::now_v7())).await;
    context(&mut app, &alpha).await;
    let seen: i64 = sqlx::query_scalar("select count(*) from work_item_labels where label = 'x'")
        .fetch_one(&mut app)
        .await
        .unwrap();
    assert_eq!(seen, 0, "a label of one tenant shows on another's item");
    context(&mut app, &beta).await;

    // Case 10, and what else ignores policies.
    for statement in [
        "truncate work_items",
        "alter table work_items disable row level security",
        "set role patchbay_owner",
    ] {
        assert_eq!(refusal(&mut app, statement.into()).await.0, "42501", "{statement}");
    }
    // Case 12.
    assert_eq!(
        refusal(&mut app, "set local row_security = off; select count(*) from work_items".into()).await.0,
        "42501"
    );
    run(&mut app, "rollback".into()).await;

    let store = PgWorkItems::new(test.db.clone());
    assert_eq!(store.find(&beta, WorkItemId::new(their_item)).await.unwrap(), None);
    let of_theirs = WorkItemFilter { instance: Some(theirs), ..WorkItemFilter::default() };
    assert_eq!(store.list(&beta, &of_theirs, &ListPage { limit: 50, cursor: None }).await.unwrap().items, []);
    let of_mine = WorkItemFilter { instance: Some(mine), ..WorkItemFilter::default() };
    assert_eq!(
        store.list(&beta, &of_mine, &ListPage { limit: 50, cursor: None }).await.unwrap().items.len(),
        1
    );
}

trait IntoInstance {
    fn into_instance(self) -> InstanceId;
}

impl IntoInstance for Uuid {
    fn into_instance(self) -> InstanceId {
        InstanceId::new(self)
    }
}

#[tokio::test]
async fn the_search_function_takes_its_tenant_from_the_context_only() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    fill(&test, &alpha, 5).await;
    fill(&test, &beta, 2).await;
    for role in ["patchbay_app", "patchbay_reader"] {
        let mut connection = test.connect(role).await;
        let found = "select count(*) from public.search_work_item_ids('crash', 1000)";
        for (ctx, expected) in [(&alpha, 5i64), (&beta, 2)] {
            context(&mut connection, ctx).await;
            let ids: i64 = sqlx::query_scalar(found).fetch_one(&mut connection).await.unwrap();
            assert_eq!(ids, expected);
            run(&mut connection, "rollback".into()).await;
        }
        let ids: i64 = sqlx::query_scalar(found).fetch_one(&mut connection).await.unwrap();
        assert_eq!(ids, 0, "found without a tenant");
    }
}

/// What a small tenant's search costs must not grow with what others have: the index by words is everybody's.
#[tokio::test]
async fn a_word_that_all_have_is_looked_for_among_a_small_tenants_own_items() {
    let test = TestDb::new().await;
    let (large, small) = (test.ctx("large").await, test.ctx("small").await);
    fill(&test, &large, 5_000).await;
    fill(&test, &small, 5).await;
    let mut admin = test.admin().await;
    run(&mut admin, "analyze work_items".into()).await;
    for (ctx, words, expected, by_words) in [(&small, "crash", 5i64, false), (&large, "crash 4711", 1, true)]
    {
        context(&mut admin, ctx).await;
        let found: i64 = sqlx::query_scalar("select count(*) from public.search_work_item_ids($1, 1000)")
            .bind(words)
            .fetch_one(&mut admin)
            .await
            .unwrap();
        assert_eq!(found, expected, "{words}");
        let scans: i64 =
            sqlx::query_scalar("select pg_stat_get_xact_numscans('public.work_items_search'::regclass)")
                .fetch_one(&mut admin)
                .await
                .unwrap();
        assert_eq!(scans > 0, by_words, "{words}");
        run(&mut admin, "rollback".into()).await;
    }
}

#[tokio::test]
async fn jobs_are_enqueued_replaced_and_removed_through_the_functions_only() {
    let test = TestDb::new().await;
    let mut app = test.connect("patchbay_app").await;
    for payload in ["{\"n\":1}", "{\"n\":2}"] {
        sqlx::query("select public.enqueue_job('patchbay', $1::json, 'inst:1', null, 25, 'run:1', 0)")
            .bind(payload)
            .execute(&mut app)
            .await
            .unwrap();
    }
    let mut queue = test.connect("patchbay_queue").await;
    let jobs = "select payload->>'n' from graphile_worker._private_jobs";
    let waiting: Vec<String> = sqlx::query_scalar(jobs).fetch_all(&mut queue).await.unwrap();
    assert_eq!(waiting, ["2"]);
    let foreign = sqlx::query("select public.enqueue_job('other', '{}', null, null, 1, 'k', 0)")
        .execute(&mut app)
        .await;
    assert!(foreign.is_err(), "a task of another name was enqueued");
    sqlx::query("select public.remove_job('run:1')").execute(&mut app).await.unwrap();
    assert_eq!(
        sqlx::query_scalar::<_, String>(jobs).fetch_all(&mut queue).await.unwrap(),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn items_are_listed_newest_first_once_each_and_filtered() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let instance = fill(&test, &alpha, 25).await;
    let store = PgWorkItems::new(test.db.clone());
    let (mut items, mut cursor) = (Vec::new(), None);
    loop {
        // Three items share each time, and pages of four cut through them.
        let page =
            store.list(&alpha, &WorkItemFilter::default(), &ListPage { limit: 4, cursor }).await.unwrap();
        items.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(items.len(), 25);
    assert!(
        items.is_sorted_by(|a, b| (a.updated_at, a.id) > (b.updated_at, b.id)),
        "out of order or doubled"
    );
    assert_eq!((items[0].comment_count, items[0].body.as_deref()), (1, None));
    let one = store.find(&alpha, items[0].id).await.unwrap().expect("it exists");
    assert_eq!((one.comment_count, one.body.as_deref()), (1, Some("secret-merger")));

    let total = async |filter: WorkItemFilter| {
        store.list(&alpha, &filter, &ListPage { limit: 200, cursor: None }).await.unwrap().items.len()
    };
    let all = WorkItemFilter::default;
    assert_eq!(
        total(WorkItemFilter { status: Some(StatusNorm::Done), instance: Some(instance), ..all() }).await,
        12
    );
    assert_eq!(
        total(WorkItemFilter { label: Some("ui".into()), assignee: Some("ada".into()), ..all() }).await,
        25
    );
    assert_eq!(total(WorkItemFilter { label: Some("u'i".into()), ..all() }).await, 0);
    assert_eq!(total(WorkItemFilter { project: Some("o/r\0".into()), ..all() }).await, 0);
    assert_eq!(total(WorkItemFilter { assignee: Some("\0".into()), ..all() }).await, 0);
    sqlx::query("update work_items set deleted_at = now() where source_id = '1'")
        .execute(&mut test.admin().await)
        .await
        .unwrap();
    assert_eq!(
        (total(all()).await, total(WorkItemFilter { include_deleted: true, ..all() }).await),
        (24, 25)
    );
}

// Security requirements 6 and 13.
#[tokio::test]
async fn no_context_and_no_transaction_is_left_on_a_connection_after_a_thousand_mixed_requests() {
    let test = TestDb::with_pools(PoolSizes { app: 2, reader: 1, queue: 1 }).await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    // From here on the function tells the context of the connection it is called on.
    sqlx::raw_sql(
        "create or replace function public.find_tenant(p_slug text)
         returns table (id uuid, slug text, status text, strict_audit boolean, created_at timestamptz)
         language sql volatile as
         $$ select c.id, 'left', 'active', false, now()
            from (select nullif(current_setting('app.current_tenant_id', true), '')::uuid as id) c
            where c.id is not null $$",
    )
    .execute(&mut test.admin().await)
    .await
    .unwrap();
    let (instances, access) =
        (PgInstances::new(test.db.clone(), test.audit()), PgAccess::new(test.db.clone(), test.audit()));
    let slug = "any".parse().unwrap();
    for request in 0..1_000 {
        let polls = rand::rng().random_range(1..12);
        let ctx = if request % 2 == 0 { &alpha } else { &beta };
        let name = format!("i{}", request % 40);
        let new = instance(&name);
        match request % 3 {
            0 => drop(cancel_after(polls, instances.insert(ctx, &new, &Sealed(vec![]))).await),
            1 => drop(cancel_after(polls, instances.list(ctx, &ListPage { limit: 5, cursor: None })).await),
            _ => drop(instances.insert(ctx, &new, &Sealed(vec![])).await),
        }
        if request % 10 == 0 {
            let left = access.find_tenant(&slug).await.unwrap();
            assert!(left.is_none(), "after request {request} the context of a tenant is left");
        }
    }
    test.db.ping().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let states: Vec<String> = sqlx::query_scalar(
        "select state from pg_stat_activity where datname = current_database() and usename = 'patchbay_app'",
    )
    .fetch_all(&mut test.admin().await)
    .await
    .unwrap();
    assert!(!states.is_empty() && states.iter().all(|state| state == "idle"), "{states:?}");
}

#[tokio::test]
async fn backups_see_every_tenant_and_need_no_superuser() {
    let test = TestDb::new().await;
    for slug in ["alpha", "beta"] {
        let ctx = test.ctx(slug).await;
        fill(&test, &ctx, 2).await;
    }
    let mut admin = test.admin().await;
    run(&mut admin, "set role patchbay_backup".into()).await;
    assert_eq!(count(&mut admin, "work_items").await, 4);
    assert!(sqlx::query("delete from work_items").execute(&mut admin).await.is_err());
    admin.close().await.unwrap();
}
