//! What a key is narrowed to holds in every table, for every store and every template, whoever forgets it.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test fails by it; statements of the tests' own making"
)]

use crate::support;
use crate::template_data::value;

use std::collections::BTreeSet;
use std::sync::Arc;

use application::Ctx;
use application::ports::{
    IdCommit, InstanceStore, ListPage, RowSet, RunFilter, SliceKey, StoreError, StreamCommit, SyncStore,
    TemplateCatalog, TemplateRunner, WorkItemStore,
};
use domain::{Allowed, Grant, InstanceId, ProjectKey, RunId, StreamName, WorkItemFilter, WorkItemId};
use patchbay_infrastructure::postgres::{PgInstances, PgSync, PgTemplateRunner, PgTemplates, PgWorkItems};
use serde_json::{Value, json};
use sqlx::PgConnection;
use support::{TestDb, run};
use uuid::Uuid;

/// Two instances of the tenant, `core` and `web`, each with the projects `o/a` and `o/b`, and as many rows of every
/// kind in each.
async fn fill(test: &TestDb, ctx: &Ctx) -> [InstanceId; 2] {
    let instances = [Uuid::now_v7(), Uuid::now_v7()];
    let mut admin = test.admin().await;
    for (instance, slug) in instances.iter().zip(["core", "web"]) {
        let tenant = ctx.tenant;
        let run_id = Uuid::now_v7();
        let statements = format!(
            "insert into source_instances (tenant_id, id, slug, source, name, base_url, settings, status, created_at, updated_at)
             values ('{tenant}', '{instance}', '{slug}', 'github', '{slug}', 'https://example.com', '{{}}', 'active', now(), now());
             insert into credentials (tenant_id, instance_id, sealed) values ('{tenant}', '{instance}', '');
             insert into sync_runs (tenant_id, id, instance_id, kind, state, finished_at)
             values ('{tenant}', '{run_id}', '{instance}', 'backfill', 'succeeded', now());
             insert into sync_run_events (tenant_id, run_id, seq, kind, message) values ('{tenant}', '{run_id}', 1, 'k', 'm');
             insert into write_intents (tenant_id, id, instance_id, principal, operation, key, fingerprint, marker, state, owner, lease_until)
             values ('{tenant}', gen_random_uuid(), '{instance}', gen_random_uuid(), 'o', '{instance}', sha256('x'), 'm', 'done',
                 gen_random_uuid(), now());
             insert into bulk_plans (tenant_id, id, instance_id, principal, change, items, expires_at)
             values ('{tenant}', gen_random_uuid(), '{instance}', gen_random_uuid(), '{{}}', '[]', now());
             insert into uploads (tenant_id, id, instance_id, principal, filename, size, expires_at)
             values ('{tenant}', gen_random_uuid(), '{instance}', gen_random_uuid(), 'a.txt', 1, now());
             create temporary table p as select * from (values ('1', 'o/a'), ('2', 'o/b')) p (id, key);
             insert into projects (tenant_id, id, instance_id, source_id, key, name, url, content_hash, synced_at)
             select '{tenant}', gen_random_uuid(), '{instance}', id, key, key, 'https://example.com', '', now() from p;
             insert into source_users (tenant_id, instance_id, source_id, login, kind, as_of, synced_at)
             select '{tenant}', '{instance}', id, 'ada' || id, 'person', now(), now() from p;
             insert into labels (tenant_id, instance_id, project_source_id, source_id, name, synced_at)
             select '{tenant}', '{instance}', id, id, 'ui', now() from p;
             insert into milestones (tenant_id, instance_id, project_source_id, source_id, title, state, url, created_at, updated_at, synced_at)
             select '{tenant}', '{instance}', id, id, 'm', 'open', 'https://example.com', now(), now(), now() from p;
             insert into sync_streams (tenant_id, instance_id, stream, project_source_id, updated_at)
             select '{tenant}', '{instance}', 'issues', id, now() from p;
             insert into sync_dead_letters (tenant_id, id, instance_id, run_id, stream, source_id, error, raw, created_at)
             select '{tenant}', gen_random_uuid(), '{instance}', '{run_id}', 'issues', id, 'e', 'secret of ' || key, now() from p;
             insert into raw_objects (tenant_id, instance_id, stream, source_id, payload, fetched_at)
             select '{tenant}', '{instance}', 'issues', id, '{{}}', now() from p;
             insert into work_item_metrics_daily (tenant_id, instance_id, project_key, day, created, completed, cancelled, reopened,
                 lead_time_hours, open_at_end)
             select '{tenant}', '{instance}', key, (now() at time zone 'UTC')::date, 1, 1, 0, 0, 1, 1 from p;
             insert into work_items (tenant_id, id, instance_id, source, source_id, ref_key, source_key, project_source_id, project_key,
                 type_norm, type_original, status_norm, status_original, priority_norm, title, body, labels, url, created_at, updated_at,
                 resolved_at, content_hash, synced_at)
             select '{tenant}', gen_random_uuid(), '{instance}', 'github', id || '-' || n, id || '#' || n, key || '#' || n, id, key, 'bug', 'Bug',
                 'done', 'closed', 'none', 'Crash of {slug}', 'b', array['ui'], 'https://example.com', now(), now(), now(), '', now()
             from p, generate_series(1, 3) n;
             create temporary table w as select tenant_id, instance_id, id, ref_key from work_items where instance_id = '{instance}';
             insert into work_item_labels select tenant_id, id, 'ui' from w;
             insert into work_item_details_pending select tenant_id, instance_id, id, now() from w;
             insert into comments (tenant_id, id, instance_id, kind, source_id, item_ref_key, body, url, created_at, updated_at,
                 content_hash, synced_at)
             select tenant_id, gen_random_uuid(), instance_id, 'comment', ref_key, ref_key, 'x', 'https://example.com', now(), now(), '', now() from w;
             insert into work_item_transitions (tenant_id, instance_id, source_id, item_ref_key, at, to_original, to_norm)
             select tenant_id, instance_id, ref_key, ref_key, now() - interval '1 hour', 'Doing', 'in_progress' from w;
             insert into work_item_changes (tenant_id, instance_id, source_id, item_ref_key, at, field)
             select tenant_id, instance_id, ref_key, ref_key, now(), 'f' from w;
             insert into links (tenant_id, instance_id, item_ref_key, type_norm, type_original, to_key, to_url, synced_at)
             select tenant_id, instance_id, ref_key, 'blocks', 'b', 'k', 'https://example.com', now() from w;
             insert into pull_requests (tenant_id, instance_id, item_ref_key, source_id, draft, head_ref, base_ref, additions, deletions,
                 changed_files, commits, synced_at)
             select tenant_id, instance_id, ref_key, ref_key, false, 'h', 'b', 1, 1, 1, 1, now() from w;
             insert into reviews (tenant_id, instance_id, source_id, item_ref_key, state, synced_at)
             select tenant_id, instance_id, ref_key, ref_key, 'approved', now() from w;
             insert into work_item_homes (tenant_id, work_item_id, project_source_id, project_key)
             select tenant_id, id, '1', 'o/a' from w;
             insert into sprint_memberships (tenant_id, instance_id, item_ref_key, sprint_source_id, added_at, from_history)
             select tenant_id, instance_id, ref_key, '1', now(), true from w;
             insert into worklogs (tenant_id, instance_id, source_id, item_ref_key, started_at, seconds, created_at, updated_at,
                 synced_at)
             select tenant_id, instance_id, ref_key, ref_key, now(), 1, now(), now(), now() from w;
             insert into sync_seen_ids (tenant_id, instance_id, project_source_id, source_id)
             select '{tenant}', '{instance}', id, id from p;
             insert into boards (tenant_id, instance_id, source_id, name, kind, synced_at)
             select '{tenant}', '{instance}', id, 'b', 'scrum', now() from p;
             insert into sprints (tenant_id, instance_id, source_id, name, state, synced_at)
             select '{tenant}', '{instance}', id, 's', 'active', now() from p;
             insert into custom_fields (tenant_id, instance_id, source_id, name, field_type, synced_at)
             select '{tenant}', '{instance}', id, 'f', 'number', now() from p;
             insert into status_map values ('{tenant}', '{instance}', 'Doing', 'in_progress');
             insert into resolution_map values ('{tenant}', '{instance}', 'Won''t Do', 'cancelled');
             insert into type_map values ('{tenant}', '{instance}', 'Defect', 'bug');
             insert into priority_map values ('{tenant}', '{instance}', 'P1', 'urgent');
             insert into field_map values ('{tenant}', '{instance}', '1', 'story_points');
             insert into webhook_subscriptions (tenant_id, instance_id, token_digest, sealed, managed, state, created_at, updated_at)
             values ('{tenant}', '{instance}', sha256('{instance}'), '', true, 'active', now(), now());
             insert into webhook_deliveries (tenant_id, id, instance_id, delivery_id, event, hints, received_at)
             values ('{tenant}', gen_random_uuid(), '{instance}', 'd', 'e', '[]', now());
             insert into sync_schedules (tenant_id, instance_id, interval_s, jitter_percent, updated_at)
             values ('{tenant}', '{instance}', 300, 10, now());
             drop table p, w;"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut admin).await.unwrap();
    }
    instances.map(InstanceId::new)
}

fn projects(keys: &[&str]) -> Allowed<ProjectKey> {
    Allowed::Only(keys.iter().map(|key| key.parse().unwrap()).collect())
}

fn with(ctx: &Ctx, grant: Grant) -> Ctx {
    Ctx { grant: Arc::new(grant), ..ctx.clone() }
}

/// The tables that a narrowing policy stands on, and the views over them that this role reads.
async fn narrowed_relations(test: &TestDb, role: &str) -> Vec<String> {
    sqlx::query_scalar(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
         where (exists (select from pg_policy p where p.polrelid = c.oid and not p.polpermissive) or n.nspname = 'published')
           and has_schema_privilege($1, n.oid, 'usage') and has_column_privilege($1, c.oid, a.attnum, 'select') order by 1",
    )
    .bind(role)
    .fetch_all(&mut test.admin().await)
    .await
    .unwrap()
}

async fn count(connection: &mut PgConnection, relation: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(tenant_id) from {relation}")))
        .fetch_one(connection)
        .await
        .unwrap_or_else(|error| panic!("{relation}: {error}"))
}

#[tokio::test]
async fn every_table_and_view_shows_a_narrowed_transaction_its_part_only() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let [core, _web] = fill(&test, &alpha).await;
    let nil = Uuid::nil();
    for (role, at_least) in [("patchbay_app", 21), ("patchbay_reader", 9)] {
        let relations = narrowed_relations(&test, role).await;
        assert!(relations.len() >= at_least, "{role} reads {relations:?}");
        let mut connection = test.connect(role).await;
        let mut counts = Vec::new();
        for settings in [
            String::new(),
            format!("set local app.allowed_instances = '{core}'"),
            "set local app.allowed_projects = 'o/a'".into(),
            format!(
                "set local app.allowed_instances = '{core}'; set local app.allowed_projects = 'o/a\u{1f}o/c'"
            ),
            format!("set local app.allowed_instances = '{nil}'"),
            "set local app.allowed_projects = '\u{1f}'".into(),
        ] {
            run(
                &mut connection,
                format!("begin; set local app.current_tenant_id = '{}'; {settings}", alpha.tenant),
            )
            .await;
            let mut of = Vec::new();
            for relation in &relations {
                of.push(count(&mut connection, relation).await);
            }
            run(&mut connection, "rollback".into()).await;
            counts.push(of);
        }
        for (place, relation) in relations.iter().enumerate() {
            let seen: Vec<i64> = counts.iter().map(|of| of[place]).collect();
            let all = seen[0];
            assert!(all > 0, "the test has no rows in {relation}");
            let name = relation.rsplit('.').next().unwrap();
            // Of which project it is cannot be told; or it is of an instance, not of a project.
            let (project, both, none) = match name {
                "raw_objects"
                | "sync_dead_letters"
                | "dead_letters"
                | "source_users"
                | "boards"
                | "sprints"
                | "webhook_deliveries"
                | "webhook_subscriptions" => (0, 0, 0),
                "source_instances" | "instances" | "credentials" | "sync_runs" | "runs"
                | "sync_run_events" | "write_intents" | "bulk_plans" | "uploads" | "custom_fields"
                | "status_map" | "resolution_map" | "type_map" | "priority_map" | "field_map"
                | "sync_schedules" => (all, all / 2, all),
                _ => (all / 2, all / 4, 0),
            };
            assert_eq!(seen, [all, all / 2, project, both, 0, none], "{relation} as {role}");
        }
    }
}

#[tokio::test]
async fn a_narrowed_transaction_writes_nothing_outside() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let [core, web] = fill(&test, &alpha).await;
    let mut app = test.connect("patchbay_app").await;
    let narrow = format!(
        "begin; set local app.current_tenant_id = '{}'; set local app.allowed_instances = '{core}'; \
         set local app.allowed_projects = 'o/a'",
        alpha.tenant
    );
    for (statement, expected) in [
        ("update work_items set title = 'x'", 3),
        ("delete from work_items", 3),
        ("update source_instances set name = 'x'", 1),
        ("delete from comments", 3),
        ("update sync_runs set state = 'failed'", 1),
    ] {
        run(&mut app, narrow.clone()).await;
        let done = sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut app).await.unwrap();
        assert_eq!(done.rows_affected(), expected, "{statement}");
        run(&mut app, "rollback".into()).await;
    }
    for statement in [
        format!(
            "insert into sync_runs (tenant_id, id, instance_id, kind, state)
             values ('{}', gen_random_uuid(), '{web}', 'backfill', 'failed')",
            alpha.tenant
        ),
        format!("update work_items set instance_id = '{web}'"),
        "update work_items set project_key = 'o/b'".to_owned(),
    ] {
        run(&mut app, narrow.clone()).await;
        let error = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()))
            .execute(&mut app)
            .await
            .expect_err(&statement);
        let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
        assert_eq!(code.as_deref(), Some("42501"), "{statement}");
        run(&mut app, "rollback".into()).await;
    }
}

// Security requirement 9, within a tenant.
#[tokio::test]
async fn every_store_answers_a_narrowed_caller_as_if_the_rest_were_not_there() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let [core, web] = fill(&test, &alpha).await;
    let page = || ListPage { limit: 200, cursor: None };
    let (items, instances) =
        (PgWorkItems::new(test.db.clone()), PgInstances::new(test.db.clone(), test.audit()));
    let sync = PgSync::new(test.db.clone(), test.audit());
    let narrow = with(
        &alpha,
        Grant {
            instances: Allowed::Only([core].into()),
            projects_read: projects(&["o/a"]),
            ..Grant::default()
        },
    );
    let all = items.list(&alpha, &WorkItemFilter::default(), &page()).await.unwrap().items;
    let mine = items.list(&narrow, &WorkItemFilter::default(), &page()).await.unwrap().items;
    assert_eq!((all.len(), mine.len()), (12, 3));
    assert!(mine.iter().all(|item| item.instance_id == core && item.project_key == "o/a"));
    let mine: BTreeSet<WorkItemId> = mine.into_iter().map(|item| item.id).collect();
    for item in &all {
        assert_eq!(items.find(&narrow, item.id).await.unwrap().is_some(), mine.contains(&item.id));
    }
    let of_web = WorkItemFilter { instance: Some(web), ..WorkItemFilter::default() };
    assert!(items.list(&narrow, &of_web, &page()).await.unwrap().items.is_empty());

    let seen: Vec<_> =
        instances.list(&narrow, &page()).await.unwrap().items.into_iter().map(|one| one.id).collect();
    assert_eq!(seen, [core]);
    assert!(instances.find(&narrow, web).await.unwrap().is_none());
    assert!(instances.credential(&narrow, web).await.unwrap().is_none());
    assert!(!instances.delete(&narrow, web).await.unwrap());

    let runs = |ctx: Ctx| {
        let sync = &sync;
        async move {
            let listed =
                sync.list(&ctx, &RunFilter::default(), &ListPage { limit: 200, cursor: None }).await.unwrap();
            listed
                .items
                .into_iter()
                .map(|run| (run.instance_id, run.id))
                .collect::<Vec<(InstanceId, RunId)>>()
        }
    };
    // Pages are written by a role that is not narrowed.
    let key = SliceKey { run: RunId::new(Uuid::now_v7()), instance: core, fence: 1 };
    let nothing = || IdCommit {
        ids: Vec::new(),
        first: true,
        stream: StreamCommit {
            stream: StreamName::new("issues"),
            project: "1".into(),
            cursor: None,
            complete: true,
            watermark: None,
            validator: None,
            seen: 0,
            estimate: None,
        },
        requests: 0,
        fetched_at: chrono::Utc::now(),
        end_slice: false,
    };
    let refused = sync.commit_ids(&narrow, &key, nothing()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Internal(_)), "{refused}");
    let fenced = sync.commit_ids(&alpha, &key, nothing()).await.unwrap_err();
    assert!(matches!(fenced, StoreError::Fenced), "{fenced}");

    let (every, own) = (runs(alpha.clone()).await, runs(narrow.clone()).await);
    assert_eq!((every.len(), own.len()), (2, 1));
    let (_, theirs) = *every.iter().find(|(instance, _)| *instance == web).unwrap();
    assert!(sync.find(&narrow, theirs).await.unwrap().is_none());
    assert!(sync.request_cancel(&narrow, theirs).await.unwrap().is_none());
    for (ctx, run, expected) in [(&alpha, own[0].1, 2), (&narrow, own[0].1, 0), (&narrow, theirs, 0)] {
        assert_eq!(sync.dead_letters(ctx, run, &page()).await.unwrap().items.len(), expected);
    }
    assert_eq!(sync.projects(&narrow, core).await.unwrap().len(), 1);
    assert!(sync.projects(&narrow, web).await.unwrap().is_empty());

    let counted = sync.freshness(&narrow, None).await.unwrap();
    let counted: Vec<_> =
        counted.iter().map(|(of, counts)| (of.instance_id, counts.items, counts.dead_letters)).collect();
    assert_eq!(counted, [(core, 3, 0)]);
    // What is kept of one caller's answer does not reach another, in either order.
    for _ in 0..2 {
        for (ctx, expected) in [(&narrow, 1), (&alpha, 2), (&narrow, 1)] {
            assert_eq!(sync.cached_freshness(ctx).await.unwrap().len(), expected);
        }
    }
}

#[tokio::test]
async fn every_template_answers_from_what_the_caller_may_see() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let [core, _web] = fill(&test, &alpha).await;
    let (catalog, runner) =
        (PgTemplates::load(&test.db).await.unwrap(), PgTemplateRunner::new(test.db.clone()));
    let answer = async |ctx: &Ctx, name: &str, arguments: &Value| {
        let template = catalog.find(name).unwrap().clone();
        let (bound, limit) = template.bind(arguments.as_object().unwrap()).unwrap();
        runner.run(ctx, &template, &bound, limit).await.unwrap()
    };
    let by_instance = with(&alpha, Grant { instances: Allowed::Only([core].into()), ..Grant::default() });
    let by_project = with(&alpha, Grant { projects_read: projects(&["o/a"]), ..Grant::default() });
    let nothing = with(&alpha, Grant { instances: Allowed::Only(BTreeSet::new()), ..Grant::default() });
    let no_project = with(&alpha, Grant { projects_read: projects(&[]), ..Grant::default() });
    // Something that is still open, untouched and blocked, in each project of each instance.
    run(
        &mut test.admin().await,
        "update work_items set status_norm = 'in_progress', resolved_at = null, updated_at = now() - interval '9 days'
         where source_key like '%#3';
         insert into links (tenant_id, instance_id, item_ref_key, type_norm, type_original, to_key, to_url, synced_at)
         select tenant_id, instance_id, ref_key, 'blocked_by', 'b', 'k', 'https://example.com', now()
         from work_items where source_key like '%#3'"
            .into(),
    )
    .await;
    // What each counts, for all, one instance of two, one project of two.
    let size = |name: &str, found: &RowSet| {
        let sum = |column: &str| {
            (0..found.rows.len()).filter_map(|row| value(found, row, column).as_i64()).sum::<i64>()
        };
        match name {
            "get_project_metrics" | "throughput_by_week" => sum("created"),
            "cycle_time_percentiles" => sum("completed_items"),
            "count_items_by" | "wip_by_assignee" => sum("items"),
            _ => i64::try_from(found.rows.len()).unwrap(),
        }
    };
    let mut tried = 0;
    for template in catalog.list() {
        let name = template.name.as_str();
        for (key, mut of_project) in [("o/a", true), ("o/b", false)] {
            let arguments = match name {
                "find_work_items" => json!({"query": "crash", "project": key}),
                "count_items_by" => json!({"by": "status", "project": key}),
                "list_stale_items" => json!({"days": 8, "project": key}),
                "find_related_items" | "get_work_item_history" => json!({"key": format!("{key}#1")}),
                // Of which project a sprint or what was not stored is cannot be told: none for a key of few projects.
                "sprint_progress" | "sync_errors" => {
                    of_project = false;
                    json!({})
                }
                _ => json!({"project": key}),
            };
            let all = size(name, &answer(&alpha, name, &arguments).await);
            assert!(all >= 2, "{name} finds nothing of {key}");
            for (ctx, expected) in [
                (&by_instance, all / 2),
                (&by_project, if of_project { all } else { 0 }),
                (&nothing, 0),
                (&no_project, 0),
            ] {
                assert_eq!(
                    size(name, &answer(ctx, name, &arguments).await),
                    expected,
                    "{name} of {key}, {:?}",
                    ctx.grant
                );
                tried += 1;
            }
        }
    }
    assert_eq!(tried, catalog.list().len() * 8);
    // Nor by leaving the project out.
    for (name, arguments) in [
        ("count_items_by", json!({"by": "project"})),
        ("list_blocked_items", json!({})),
        ("list_recent_changes", json!({})),
        ("list_stale_items", json!({"days": 8})),
        ("throughput_by_week", json!({})),
        ("wip_by_assignee", json!({})),
    ] {
        let all = size(name, &answer(&alpha, name, &arguments).await);
        assert!(all >= 4, "{name}");
        for (ctx, expected) in
            [(&by_instance, all / 2), (&by_project, all / 2), (&nothing, 0), (&no_project, 0)]
        {
            assert_eq!(size(name, &answer(ctx, name, &arguments).await), expected, "{name}, {:?}", ctx.grant);
        }
    }
    // The search looks past the policies, and cuts at its limit: it must narrow before.
    let found = answer(&by_project, "find_work_items", &json!({"query": "crash"})).await;
    assert_eq!(found.rows.len(), 6);
}
