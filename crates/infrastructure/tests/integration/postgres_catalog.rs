//! Enumerates the catalog of the migrated schema and fails on anything that could mix tenants. The checks are
//! themselves checked, on a database where each rule is broken once.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "statements of the tests' own making"
)]

mod rules;

use crate::support;

use rules::rules;
use sqlx::PgConnection;
use support::TestDb;

/// Tables without tenant data, or with a rule of their own:
/// - `tenants`: its key is the tenant's id; the slug is unique in the installation.
/// - `users`, `user_identities`: people may be members of several tenants; nobody but the functions reads them.
/// - `sign_in_states`: whose sign-in it is shows at its end; found by a secret's keyed hash only, once, for minutes.
/// - `tenant_deletions`: proof of a deletion, when the tenant is no more; counts and names, no content.
/// - `deployment_secrets`: the installation's keys.
/// - `template_seal`: what the second lock of tenants' templates is checked with; one function reads it.
/// - `_sqlx_migrations`: which migrations have run.
const NOT_BY_TENANT: &str = "('tenants', 'users', 'user_identities', 'sign_in_states', 'tenant_deletions', \
                              'deployment_secrets', 'template_seal', '_sqlx_migrations')";

/// The text PostgreSQL gives back for the one policy.
const POLICY: &str =
    "(tenant_id = (NULLIF(current_setting('app.current_tenant_id'::text, true), ''::text))::uuid)";
const POLICY_OF_TENANTS: &str =
    "(id = (NULLIF(current_setting('app.current_tenant_id'::text, true), ''::text))::uuid)";

const FUNCTIONS: [&str; 26] = [
    "append_audit(uuid[],bigint[],uuid[],timestamp with time zone[],text[],uuid[],text[],text[],text[],uuid[],text[],\
     text[],text[],text[],bytea[],text[],bytea[],uuid[],bigint[],bytea[],bytea[]) of patchbay_lookup",
    "claim_due_syncs(bigint,double precision) of patchbay_lookup",
    "claim_webhook_renewals(bigint,double precision) of patchbay_lookup",
    "data_key_usage() of patchbay_lookup",
    "enqueue_job(text,json,text,timestamp with time zone,integer,text,integer) of patchbay_queue",
    "find_api_key(text) of patchbay_lookup",
    "find_invitation(bytea) of patchbay_lookup",
    "find_session(bytea) of patchbay_lookup",
    "find_tenant(text) of patchbay_lookup",
    "find_user(text,text) of patchbay_lookup",
    "find_user_by_id(uuid) of patchbay_lookup",
    "find_webhook(bytea) of patchbay_lookup",
    "forget_audit_log() of patchbay_owner",
    "forget_members() of patchbay_lookup",
    "instances_without_schedule(bigint) of patchbay_lookup",
    "list_tenants() of patchbay_lookup",
    "lock_audit_heads(uuid[]) of patchbay_lookup",
    "prune_uploads() of patchbay_lookup",
    "prune_webhook_deliveries(timestamp with time zone) of patchbay_lookup",
    "remove_job(text) of patchbay_queue",
    "remove_tenant_jobs() of patchbay_queue",
    "sealed_tenant() of patchbay_lookup",
    "search_work_item_ids(text,integer) of patchbay_lookup",
    "sign_in_user(text,text,text,text,uuid) of patchbay_lookup",
    "sync_lags() of patchbay_lookup",
    "tenant_residue() of patchbay_lookup",
];

/// What of a tenant a narrowed key does not see, as PostgreSQL gives the restrictive policies back. `None` for a table
/// that nobody has thought about yet.
fn narrowing(table: &str) -> Option<Vec<String>> {
    const INSTANCES: &str = "current_setting('app.allowed_instances'::text, true)";
    const PROJECTS: &str = "current_setting('app.allowed_projects'::text, true)";
    let unset = |setting: &str| format!("(COALESCE({setting}, ''::text) = ''::text)");
    let every = |setting: &str| format!("( SELECT {})", unset(setting));
    let instance = |column: &str| {
        let listed = format!("(string_to_array({INSTANCES}, ','::text))::uuid[]");
        format!("({} OR ({column} = ANY (( SELECT {listed} AS string_to_array)::uuid[])))", every(INSTANCES))
    };
    let project = |column: &str| {
        let listed = format!("string_to_array({PROJECTS}, chr(31))");
        format!("({} OR ({column} = ANY (( SELECT {listed} AS string_to_array)::text[])))", every(PROJECTS))
    };
    let hanging = |every: String, (on, alias): (&str, &str), columns: &[(&str, &str)]| {
        let same: Vec<String> =
            columns.iter().map(|(there, here)| format!("({alias}.{there} = {table}.{here})")).collect();
        format!("({every} OR (EXISTS ( SELECT FROM {on} {alias} WHERE ({}))))", same.join(" AND "))
    };
    let tenant = ("tenant_id", "tenant_id");
    let of_item = || {
        hanging(
            every(PROJECTS),
            ("work_items", "w"),
            &[tenant, ("instance_id", "instance_id"), ("ref_key", "item_ref_key")],
        )
    };
    let of_item_id = |every| hanging(every, ("work_items", "w"), &[tenant, ("id", "work_item_id")]);
    let of_project = || {
        let columns = [tenant, ("instance_id", "instance_id"), ("source_id", "project_source_id")];
        hanging(every(PROJECTS), ("projects", "p"), &columns)
    };
    Some(match table {
        // Of the tenant as a whole: the use cases say who may see them.
        "tenant_data_keys"
        | "api_keys"
        | "memberships"
        | "invitations"
        | "sessions"
        | "audit_heads"
        | "audit_log"
        | "idempotency_keys"
        | "sql_templates"
        | "sql_template_versions"
        | "tenant_policies" => vec![],
        "source_instances" => vec![instance("id")],
        "projects" => vec![instance("instance_id"), project("key")],
        "work_items" | "work_item_metrics_daily" => vec![instance("instance_id"), project("project_key")],
        "comments"
        | "work_item_transitions"
        | "work_item_changes"
        | "links"
        | "pull_requests"
        | "reviews"
        | "sprint_memberships"
        | "worklogs" => {
            vec![instance("instance_id"), of_item()]
        }
        "work_item_details_pending" => vec![instance("instance_id"), of_item_id(every(PROJECTS))],
        "work_item_labels" | "work_item_homes" => {
            let both = format!("( SELECT ({} AND {}))", unset(PROJECTS), unset(INSTANCES));
            vec![of_item_id(both)]
        }
        "labels" | "milestones" | "sync_streams" | "sync_seen_ids" => {
            vec![instance("instance_id"), of_project()]
        }
        // Of which project is not known, or they are of several.
        "raw_objects"
        | "sync_dead_letters"
        | "source_users"
        | "boards"
        | "sprints"
        | "webhook_subscriptions"
        | "webhook_deliveries" => {
            vec![instance("instance_id"), every(PROJECTS)]
        }
        // Of an instance as a whole.
        "sync_runs" | "credentials" | "write_intents" | "bulk_plans" | "uploads" | "custom_fields"
        | "status_map" | "resolution_map" | "type_map" | "priority_map" | "field_map" | "sync_schedules" => {
            vec![instance("instance_id")]
        }
        "sync_run_events" => vec![hanging(every(INSTANCES), ("sync_runs", "r"), &[tenant, ("id", "run_id")])],
        _ => return None,
    })
}

/// Tables whose restrictive policies are not exactly those of [`narrowing`].
async fn wrongly_narrowed(connection: &mut PgConnection) -> Vec<String> {
    let found: Vec<(String, Vec<String>)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select c.relname::text, array(
             select case when p.polcmd = '*' and p.polwithcheck is null and array(
                              select role::regrole::text from unnest(p.polroles) role order by 1) = array[
                              'patchbay_app', 'patchbay_author', 'patchbay_owner', 'patchbay_reader']
                         then regexp_replace(pg_get_expr(p.polqual, p.polrelid), '\\s+', ' ', 'g') else 'of other form' end
             from pg_policy p where p.polrelid = c.oid and not p.polpermissive and p.polname <> 'author_seal')
         from pg_class c where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace
           and c.relname not in {NOT_BY_TENANT}"
    )))
    .fetch_all(connection)
    .await
    .unwrap();
    assert!(found.len() > 25, "{} tables", found.len());
    let mut wrong = Vec::new();
    for (table, mut policies) in found {
        policies.sort();
        match narrowing(&table) {
            None => wrong.push(format!("{table} is not said to be narrowed or not")),
            Some(mut expected) => {
                expected.sort();
                if policies != expected {
                    wrong.push(format!(
                        "{table} is not narrowed as it should be: {policies:#?}, not {expected:#?}"
                    ));
                }
            }
        }
    }
    wrong
}

async fn offenders(connection: &mut PgConnection) -> Vec<String> {
    let mut all = Vec::new();
    for (broken, sql) in rules() {
        let uses_policy = sql.contains("$1");
        let mut query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql));
        if uses_policy {
            query = query.bind(POLICY);
        }
        let found: Vec<String> = query
            .fetch_all(&mut *connection)
            .await
            .unwrap_or_else(|error| panic!("the rule `{broken}`: {error}"));
        all.extend(found.into_iter().map(|what| format!("{what} {broken}")));
    }
    all.extend(wrongly_narrowed(connection).await);
    all
}

// Security requirements 2, 3, 4, 5 and 11.
#[tokio::test]
async fn the_schema_keeps_tenants_apart() {
    let test = TestDb::new().await;
    let found = offenders(&mut test.admin().await).await;
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn the_table_of_tenants_shows_each_tenant_its_own_row() {
    let test = TestDb::new().await;
    let policies: Vec<(bool, bool, String, String)> = sqlx::query_as(
        "select c.relrowsecurity, c.relforcerowsecurity, pg_get_expr(p.polqual, p.polrelid),
                pg_get_expr(p.polwithcheck, p.polrelid)
         from pg_policy p join pg_class c on c.oid = p.polrelid where p.polrelid = 'tenants'::regclass",
    )
    .fetch_all(&mut test.admin().await)
    .await
    .unwrap();
    assert_eq!(policies, [(true, true, POLICY_OF_TENANTS.to_owned(), POLICY_OF_TENANTS.to_owned())]);
}

// Security requirement 11.
#[tokio::test]
async fn the_functions_with_their_owners_rights_are_exactly_the_audited_ones() {
    let test = TestDb::new().await;
    let found: Vec<String> = sqlx::query_scalar(
        "select format('%s of %s', p.oid::regprocedure, p.proowner::regrole) from pg_proc p where p.prosecdef order by 1",
    )
    .fetch_all(&mut test.admin().await)
    .await
    .unwrap();
    assert_eq!(found, FUNCTIONS);
}

// Security requirements 19 and 22: what is granted to PUBLIC on a fresh server and not to the reader here.
#[tokio::test]
async fn the_reader_may_call_no_function_with_effects_and_see_no_other_session() {
    let test = TestDb::new().await;
    let mut reader = test.connect("patchbay_reader").await;
    let mut author = test.connect("patchbay_author").await;
    for statement in [
        "select set_config('app.current_tenant_id', '00000000-0000-0000-0000-000000000001', true)",
        "select pg_advisory_lock(1)",
        "select pg_try_advisory_xact_lock_shared(1, 2)",
        "select pg_notify('a', 'b')",
        "select pg_sleep(0)",
        "select query_to_xml('select 1', true, true, '')",
        "select table_to_xmlschema('pg_class', true, true, '')",
        "select database_to_xml(true, true, '')",
        "select * from ts_stat('select null::tsvector')",
        "select ts_rewrite('a'::tsquery, 'select null::tsquery, null::tsquery')",
        "select lo_create(0)",
        "select lo_get(1)",
        "select pg_export_snapshot()",
        "select pg_logical_emit_message(false, 'a', 'b')",
        "select pg_current_xact_id()",
        "select txid_current()",
        "select pg_terminate_backend(1)",
        "select pg_cancel_backend(1)",
        "select pg_read_file('a')",
        "select pg_ls_dir('.')",
        "select * from pg_stat_activity",
        "select * from pg_stat_get_activity(null)",
        "select pg_stat_get_backend_activity(1)",
        "select * from pg_stats",
        "select * from pg_stat_user_tables",
        "select * from pg_locks",
        "update pg_settings set setting = '0' where name = 'statement_timeout'",
        "do $$ begin set local app.current_tenant_id = 'x'; end $$",
        "select * from public.api_keys",
        "select * from public.find_api_key('a')",
        "select * from public.users",
        "select * from public.user_identities",
        "select * from public.memberships",
        "select * from public.invitations",
        "select * from public.sessions",
        "select * from public.sign_in_states",
        "select * from public.audit_log",
        "select * from public.find_user('a', 'b')",
        "select * from public.find_user_by_id('00000000-0000-0000-0000-000000000001')",
        "select * from public.find_invitation('a')",
        "select public.sign_in_user('a', 'b', 'c', 'd', '00000000-0000-0000-0000-000000000001')",
        "select public.enqueue_job('patchbay', '{}', null, null, 1, 'k', 0)",
        "select * from graphile_worker._private_jobs",
        "select content_hash from public.work_items",
        "select key from public.template_seal",
    ] {
        for connection in [&mut reader, &mut author] {
            let error = sqlx::raw_sql(statement).execute(connection).await.expect_err(statement);
            let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
            // 25006: refused already because the transaction is read-only.
            assert!(matches!(code.as_deref(), Some("42501" | "25006")), "{statement}: {error}");
        }
    }
}

#[tokio::test]
async fn the_check_reports_every_kind_of_broken_table() {
    let test = TestDb::new().await;
    let mut admin = test.admin().await;
    sqlx::raw_sql(
        "set role patchbay_owner;
         create table bad_no_tenant (id uuid primary key);
         create table bad_no_rls (tenant_id uuid not null, id uuid, primary key (tenant_id, id));
         create table bad_policy (like bad_no_rls including all);
         alter table bad_policy enable row level security; alter table bad_policy force row level security;
         create policy p on bad_policy using (true) with check (true);
         create table bad_second_policy (like bad_no_rls including all);
         alter table bad_second_policy enable row level security; alter table bad_second_policy force row level security;
         create policy a on bad_second_policy
             using (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid)
             with check (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);
         create policy b on bad_second_policy for select using (true);
         create table bad_nullable (tenant_id uuid);
         create table bad_key (tenant_id uuid not null, id uuid primary key, other text unique);
         create table bad_reference (tenant_id uuid not null, item uuid, key uuid primary key references bad_key (id));
         grant truncate, references, trigger on bad_no_rls to patchbay_app;
         grant insert on bad_policy to patchbay_reader;
         grant select on bad_key to public;
         grant update (id) on bad_key to patchbay_app;
         create view published.bad_view as select 1;
         create materialized view bad_materialized as select 1;
         create function bad_definer() returns int language sql security definer as 'select 1';
         reset role;
         create table bad_owner (tenant_id uuid not null, primary key (tenant_id));
         grant create on schema public to patchbay_app;
         grant select on graphile_worker._private_jobs to patchbay_app;
         grant select (email) on users to patchbay_app;
         alter table user_identities no force row level security;
         drop policy project_grant on comments;
         alter policy instance_grant on sync_runs using (true);
         drop policy author_seal on links;
         alter policy author_seal on boards using (true);
         grant select on sync_streams to patchbay_author;
         grant select on template_seal to patchbay_app;
         create policy wide on projects as restrictive for select using (true);",
    )
    .execute(&mut admin)
    .await
    .unwrap();
    let found = offenders(&mut admin).await;
    for expected in [
        "bad_no_tenant has no tenant_id",
        "bad_nullable has no tenant_id",
        "bad_no_rls is not under enabled and forced",
        "bad_no_rls has not exactly the one policy",
        "bad_policy has not exactly the one policy",
        "bad_second_policy has not exactly the one policy",
        "bad_nullable has no primary key",
        "bad_key bad_key_pkey has a primary key or unique index",
        "bad_key bad_key_other_key has a primary key or unique index",
        "bad_reference bad_reference_key_fkey has a foreign key",
        "bad_owner does not belong",
        "bad_no_rls: TRUNCATE to patchbay_app grants",
        "bad_no_rls: REFERENCES to patchbay_app grants",
        "bad_no_rls: TRIGGER to patchbay_app grants",
        "bad_policy: INSERT to patchbay_reader grants",
        "bad_key: SELECT to public grants",
        "bad_key.id: UPDATE grants a column",
        "schema public: patchbay_app lets",
        "bad_view is a view",
        "bad_materialized is a view",
        "bad_definer() is a SECURITY DEFINER",
        "_private_jobs: patchbay_app lets",
        "users: patchbay_app lets",
        "user_identities: patchbay_reader lets",
        "bad_no_rls is not said to be narrowed",
        "comments is not narrowed as it should be",
        "sync_runs is not narrowed as it should be",
        "projects is not narrowed as it should be",
        "links lacks the second lock",
        "boards lacks the second lock",
        "sync_streams lacks the second lock",
        "sync_streams.stream is not for tenants' templates",
        "patchbay_app shows what seals",
    ] {
        assert!(
            found.iter().any(|line| line.starts_with(expected)),
            "not reported: {expected}; found {found:#?}"
        );
    }
}
