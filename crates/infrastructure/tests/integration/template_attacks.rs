//! The attack statements of `reference/security.md` 3.4 as templates (security requirements 17, 19 and 22): the gate
//! refuses each; and run with the gate taken away, by the executor's own machinery, none returns a foreign row,
//! changes anything, or leaves something behind in the session.

#![allow(clippy::disallowed_methods, reason = "helpers of tests")]

use crate::support;
use crate::template_data;

use std::time::Duration;

use application::Ctx;
use application::ports::{RowSet, TemplateCatalog, TemplateRunner};
use domain::template::ParamType;
use patchbay_infrastructure::postgres::{PgTemplateRunner, PgTemplates, PoolSizes};
use patchbay_infrastructure::templates::check;
use serde_json::{Map, Value, json};
use support::TestDb;
use template_data::{fill, raw};

/// In the titles of the other tenant.
const MARK: &str = "FOREIGN-MARK";

/// Name and statement; `{other}` is the other tenant's id.
#[rustfmt::skip]
pub(crate) const ATTACKS: &[(&str, &str)] = &[
    // The tenant setting.
    ("set_config in the target list", "select set_config('app.current_tenant_id', '{other}', true) as a, title from published.work_items"),
    ("set_config in a CTE", "with s as materialized (select set_config('app.current_tenant_id', '{other}', true) as c) select w.title as a from s, published.work_items w"),
    ("set_config in a lateral sub-select", "select w.title as a from (select set_config('app.current_tenant_id', '{other}', true) c offset 0) s, lateral (select title from published.work_items where s.c is not null) w"),
    ("set_config for the session", "select set_config('app.current_tenant_id', '{other}', false) as a"),
    ("set_config with its schema", "select pg_catalog.set_config('app.current_tenant_id', '{other}', true) as a"),
    ("set_config in WHERE", "select title as a from published.work_items where set_config('app.current_tenant_id', '{other}', true) is not null"),
    ("set_config in ORDER BY", "select title as a from published.work_items order by set_config('app.current_tenant_id', '{other}', true)"),
    ("set_config in LIMIT", "select title as a from published.work_items limit length(set_config('app.current_tenant_id', '{other}', true))"),
    ("set_config in FILTER", "select count(*) filter (where set_config('app.current_tenant_id', '{other}', true) is null) as a from published.work_items"),
    ("set_config in OVER", "select max(title) over (order by set_config('app.current_tenant_id', '{other}', true)) as a from published.work_items"),
    ("set_config in a quoted name", "select \"set_config\"('app.current_tenant_id', '{other}', true) as a"),
    ("set_config in a unicode name", "select U&\"set\\005fconfig\"('app.current_tenant_id', '{other}', true) as a"),
    ("set_config behind comments", "select set_config/**/('app.current_tenant_id'/*x*/, '{other}', true) as a"),
    ("update of pg_settings", "with u as (update pg_settings set setting = '{other}' where name = 'app.current_tenant_id' returning name) select name as a from u"),
    ("another tenant asked for outright", "select title as a from published.work_items where tenant_id = '{other}'"),
    ("no tenant asked for at all", "select title as a from published.work_items"),
    // SQL held in a text.
    ("query_to_xml", "select query_to_xml('select title from public.work_items', true, true, '')::text as a"),
    ("query_to_xml with set_config inside", "select query_to_xml('select set_config(''app.current_tenant_id'', ''{other}'', true)', true, true, '')::text as a"),
    ("query_to_xml with SET", "select query_to_xml('set local app.current_tenant_id = ''{other}''', true, true, '')::text as a"),
    ("query_to_xmlschema", "select query_to_xmlschema('select 1', true, true, '')::text as a"),
    ("query_to_xml_and_xmlschema", "select query_to_xml_and_xmlschema('select 1', true, true, '')::text as a"),
    ("table_to_xml", "select table_to_xml('public.work_items', true, true, '')::text as a"),
    ("schema_to_xml", "select schema_to_xml('public', true, true, '')::text as a"),
    ("database_to_xml", "select database_to_xml(true, true, '')::text as a"),
    ("cursor_to_xml", "select cursor_to_xml('c', 1, true, true, '')::text as a"),
    ("ts_stat", "select word as a from ts_stat('select search from public.work_items')"),
    ("ts_rewrite with a query", "select ts_rewrite('a'::tsquery, 'select ''a''::tsquery, ''b''::tsquery')::text as a"),
    ("dblink", "select * from dblink('dbname=postgres', 'select 1') as t(a text)"),
    ("crosstab", "select * from crosstab('select 1,2,3') as t(a text)"),
    // More than one statement, or another kind.
    ("a second statement", "select 1::text as a; select 2"),
    ("commit and go on", "select 1::text as a; commit; delete from public.work_items"),
    ("out of the brackets", "select 1::text as a) as q; commit; select * from (select 1"),
    ("out of the brackets by a comment", "select title as a from published.work_items) as q -- "),
    ("an open comment", "select title as a from published.work_items /* "),
    ("SET LOCAL", "set local app.current_tenant_id = '{other}'"),
    ("SET SESSION", "set statement_timeout = 0"),
    ("SET ROLE", "set role patchbay_owner"),
    ("RESET ALL", "reset all"),
    ("DISCARD ALL", "discard all"),
    ("DO", "do $$ begin execute 'set local app.current_tenant_id = ''{other}'''; end $$"),
    ("PREPARE", "prepare p as select 1"),
    ("DECLARE WITH HOLD", "declare c cursor with hold for select * from public.work_items"),
    ("LISTEN", "listen x"),
    ("NOTIFY", "notify x, 'y'"),
    ("LOCK", "lock table public.work_items in access share mode"),
    ("COPY TO", "copy public.work_items to stdout"),
    ("COPY PROGRAM", "copy (select 1) to program 'id'"),
    ("EXPLAIN ANALYZE", "explain analyze select * from public.work_items"),
    ("SHOW", "show all"),
    ("PREPARE TRANSACTION", "prepare transaction 'x'"),
    ("TRUNCATE", "truncate public.work_items"),
    ("a temporary table", "create temporary table t as select 1"),
    ("SELECT INTO", "select title into temporary t from published.work_items"),
    ("INSERT", "insert into public.tenants (id, slug) values (gen_random_uuid(), 'x')"),
    ("WITH INSERT", "with i as (insert into public.tenants (id, slug) values (gen_random_uuid(), 'x') returning slug) select slug as a from i"),
    ("WITH DELETE", "with d as (delete from public.work_items returning title) select title as a from d"),
    ("CALL", "call x()"),
    ("VALUES", "values ('x')"),
    ("TABLE", "table published.work_items"),
    // Locks, signals, and words to others.
    ("pg_advisory_lock", "select pg_advisory_lock(1)::text as a"),
    ("pg_try_advisory_lock", "select pg_try_advisory_lock(1)::text as a"),
    ("pg_advisory_lock_shared", "select pg_advisory_lock_shared(1)::text as a"),
    ("pg_notify", "select pg_notify('x', 'y')::text as a"),
    ("pg_terminate_backend", "select pg_terminate_backend(pid)::text as a from pg_stat_activity"),
    ("pg_cancel_backend", "select pg_cancel_backend(1)::text as a"),
    ("pg_export_snapshot", "select pg_export_snapshot() as a"),
    ("pg_logical_emit_message", "select pg_logical_emit_message(false, 'x', 'y')::text as a"),
    ("pg_current_xact_id", "select pg_current_xact_id()::text as a"),
    ("txid_current", "select txid_current()::text as a"),
    ("a logical slot", "select pg_create_logical_replication_slot('x', 'pgoutput')::text as a"),
    ("a physical slot", "select pg_create_physical_replication_slot('x')::text as a"),
    ("FOR UPDATE", "select title as a from published.work_items for update"),
    ("FOR SHARE", "select title as a from published.work_items for share skip locked"),
    // Time and space.
    ("pg_sleep", "select pg_sleep(30)::text as a"),
    ("a cross join of everything", "select a.title as a from published.work_items a, published.work_items b, published.work_items c, published.work_items d, published.work_items e"),
    ("WITH RECURSIVE without end", "with recursive r as (select 1 as n union all select n + 1 from r) select n::text as a from r where n < 0"),
    ("generate_series", "select n::text as a from generate_series(1, 1000000000) n where n < 0"),
    ("generate_series in LIMIT", "select title as a from published.work_items limit (select max(n) from generate_series(1, 100000000) n)"),
    ("a gigabyte of text", "select repeat('x', 1000000000) as a"),
    ("a large array", "select array_agg(n)::text as a from generate_series(1, 20000000) n"),
    ("a sort on disk", "select n::text as a from generate_series(1, 100000000) n order by md5(n::text)"),
    ("TABLESAMPLE", "select title as a from published.work_items tablesample system (100)"),
    // Files and large objects.
    ("pg_read_file", "select pg_read_file('/etc/passwd') as a"),
    ("pg_ls_dir", "select pg_ls_dir('.') as a"),
    ("lo_create", "select lo_create(4711)::text as a"),
    ("lo_import", "select lo_import('/etc/passwd')::text as a"),
    ("lo_from_bytea", "select lo_from_bytea(4712, 'x')::text as a"),
    // Other things to read.
    ("the table under the view", "select title as a from public.work_items"),
    ("raw objects", "select payload::text as a from public.raw_objects"),
    ("keys", "select public_id as a from public.api_keys"),
    ("credentials", "select sealed::text as a from public.credentials"),
    ("all tenants", "select slug as a from public.tenants"),
    ("who is running what", "select query as a from pg_stat_activity"),
    ("statements of others", "select query as a from pg_stat_statements"),
    ("values in statistics", "select most_common_vals::text as a from pg_stats where tablename = 'work_items'"),
    ("statistics under their views", "select stavalues1::text as a from pg_statistic"),
    ("sizes of tables", "select relname || reltuples as a from pg_class"),
    ("password hashes", "select rolname || rolpassword as a from pg_authid"),
    ("the finder of keys", "select name as a from public.find_api_key('AAAAAAAAAAAA')"),
    ("the queue", "select public.enqueue_job('patchbay', '{}'::json, 'q', now(), 1, 'k', 1)::text as a"),
    // Ways round names and types.
    ("a function as a column", "select w.row_to_json::text as a from published.work_items w"),
    ("a cast that looks things up", "select 'public.work_items'::regclass::text as a"),
    ("a cast to xml", "select '<a/>'::xml::text as a"),
    ("system columns", "select xmin::text || ctid::text as a from published.work_items"),
    ("the current user", "select current_user::text as a"),
    ("a setting", "select current_setting('data_directory') as a"),
    ("an operator by name", "select (1 operator(pg_catalog.+) 1)::text as a"),
    ("a CTE named like a view", "with work_items as (select 'x'::text as title) select title as a from work_items"),
    ("a foreign schema", "select title as a from pg_temp.work_items"),
    ("an identifier as a parameter", "select $1 as a from $1"),
    ("an escape in a text", "select E'\\x41' as a"),
    ("an outer reference to a missing name", "select q.title as a from (select 1) q, published.work_items"),
    ("an operator of another schema", "select (title operator(public.=) 'x')::text as a from published.work_items"),
    ("a function of the same name in another schema", "select public.count(*)::text as a from published.work_items"),
    ("a temporary function", "select pg_temp.lower('x') as a"),
    ("a unicode name behind an escape", "select U&\"!0070g_sleep\" UESCAPE '!' (1)::text as a"),
    ("a sequence's last value", "select last_value::text as a from public.graphile_worker_jobs_id_seq"),
    ("currval", "select lastval()::text as a"),
    ("nextval", "select nextval('public.x')::text as a"),
    ("the order of rows on disk", "select title as a from published.work_items order by ctid"),
    ("row versions", "select txid_status(1)::text as a"),
    ("a bomb of digits", "select (9e99999::numeric * 9e99999::numeric)::text as a"),
    ("a bomb of powers", "select (2::numeric ^ 100000)::text as a"),
    ("a bomb of nested arrays", "select repeat('[', 100000)::jsonb::text as a"),
    ("a bomb of nested casts", "select repeat('(', 5000) || repeat(')', 5000) as a"),
    ("an expression as a bomb", "select format('%1$1000000000s', 'x') as a"),
    ("a regular expression as a bomb", "select (repeat('a', 5000) ~ '(a*)*b')::text as a"),
    ("an extension", "create extension dblink"),
    ("LOAD", "load 'auto_explain'"),
    ("a large object opened", "select lo_open(1, 131072)::text as a"),
    ("the large objects of all", "select data::text as a from pg_largeobject"),
    ("a setting of the server", "select pg_reload_conf()::text as a"),
    ("the write-ahead log", "select pg_current_wal_lsn()::text as a"),
    ("rotating the log", "select pg_rotate_logfile()::text as a"),
    ("another role's rights", "select has_table_privilege('patchbay_app', 'public.work_items', 'select')::text as a"),
    ("the text of a view", "select pg_get_viewdef('published.work_items'::regclass) as a"),
    ("the text of a policy", "select polname || pg_get_expr(polqual, polrelid) as a from pg_policy"),
    ("prepared statements of the session", "select statement as a from pg_prepared_statements"),
    ("settings of the session", "select name || setting as a from pg_settings"),
    ("an anonymous record read out", "select t.a from json_to_recordset('[{\"a\":1}]') as t(a text)"),
    ("rows made of xml", "select t.a from xmltable('/a' passing '<a>1</a>' columns a text path '.') as t"),
    ("MERGE", "merge into public.tenants t using public.tenants s on false when not matched then do nothing"),
    ("CHECKPOINT", "checkpoint"),
    ("ANALYZE", "analyze public.work_items"),
    ("FETCH", "fetch all from c"),
    ("a division by a foreign row", "select (1 / (case when title like 'FOREIGN%' then 0 else 1 end))::text as a from published.work_items"),
    ("a cast of a foreign row into an error", "select title::int::text as a from published.work_items where title like 'FOREIGN%'"),
];

/// What the session would show the next user, were anything left; and whom the tenant setting names.
const SESSION: &str = "select concat_ws('|', current_setting('search_path'), current_setting('statement_timeout'),
        current_setting('lock_timeout'), current_setting('row_security'), current_setting('role'),
        current_setting('default_transaction_read_only'), current_setting('app.current_tenant_id'), current_user,
        current_setting('work_mem'), current_setting('timezone'), current_setting('datestyle'),
        current_setting('client_encoding'), current_setting('plan_cache_mode'),
        current_setting('idle_in_transaction_session_timeout'), current_setting('client_connection_check_interval'),
        (select count(*) from pg_listening_channels()), (select count(*) from pg_cursors),
        (select count(*) from pg_prepared_statements where from_sql)) as x";

fn marked(rows: &RowSet) -> bool {
    rows.rows.iter().any(|row| row.iter().any(|value| value.to_string().contains(MARK)))
}

async fn session(runner: &PgTemplateRunner, ctx: &Ctx) -> String {
    let probe =
        runner.run(ctx, &raw(SESSION, &["x"], 5_000), &[], 1).await.expect("the session can be asked");
    probe.rows[0][0].as_str().expect("text").to_owned()
}

/// What an attack might have changed, as the superuser sees it.
async fn state(test: &TestDb) -> String {
    sqlx::query_scalar(
        "select concat_ws('|', (select count(*) from work_items), (select count(*) from tenants),
            (select count(*) from api_keys), (select count(*) from pg_largeobject_metadata),
            (select count(*) from pg_class), (select count(*) from pg_proc), (select count(*) from pg_replication_slots),
            (select count(*) from pg_prepared_xacts), (select count(*) from pg_extension),
            (select count(*) from pg_class where relpersistence = 't'),
            (select count(*) from pg_locks l join pg_stat_activity a using (pid)
             where a.datname = current_database() and a.usename = 'patchbay_reader'
               and (l.locktype = 'advisory' or a.state = 'active')))",
    )
    .fetch_one(&mut test.admin().await)
    .await
    .expect("the superuser sees the state")
}

#[test]
fn there_are_at_least_as_many_attacks_as_were_published_and_no_name_twice() {
    let names: std::collections::BTreeSet<&str> = ATTACKS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), ATTACKS.len());
    assert!(names.len() >= 78, "{}", names.len());
}

#[test]
fn the_gate_refuses_every_attack() {
    let mut passed = Vec::new();
    for (name, statement) in ATTACKS {
        // Also inside a query that would pass, so that the attack itself is what is refused.
        let inside = format!("select q.a as b from ({statement}) q, work_items w where w.tenant_id = $1");
        for statement in [*statement, inside.as_str()] {
            let text = format!("/*\ntitle = 'T'\ndescription = 'D'\n*/\n{statement}");
            if let Ok(template) = check("attack", &text) {
                passed.push(format!("{name}: {}", template.statement));
            }
        }
    }
    assert!(passed.is_empty(), "the gate let pass:\n{}", passed.join("\n"));
}

#[test]
fn what_only_lacks_the_tenant_passes_once_it_is_compared_and_what_is_bad_does_not() {
    let text = |statement: &str| format!("/*\ntitle = 'T'\ndescription = 'D'\n*/\n{statement}");
    let good = "select w.title as a from work_items w where w.tenant_id = $1";
    assert!(check("t", &text(good)).is_ok());
    for bad in [
        "select w.title as a, set_config('x', 'y', true) as b from work_items w where w.tenant_id = $1",
        "select w.title as a from work_items w where w.tenant_id = $1 for update",
        "select w.title as a from public.work_items w where w.tenant_id = $1",
        "select w.title as a from work_items w where w.tenant_id = $1 union all values ('x')",
        "with recursive r as (select w.title as a from work_items w where w.tenant_id = $1) select a from r",
        "with projects as (select w.title as a from work_items w where w.tenant_id = $1) select a from projects",
        "select w.title as a from work_items w tablesample system (1) where w.tenant_id = $1",
        "select w.title::regclass as a from work_items w where w.tenant_id = $1",
        "select w.title ~ 'x' as a from work_items w where w.tenant_id = $1",
        "select current_user as a from work_items w where w.tenant_id = $1",
        "select w.ctid as a from work_items w where w.tenant_id = $1",
        "select w.row_to_json as a from work_items w where w.tenant_id = $1",
        "select query_to_xml('select 1', true, true, '') as row_to_json, w.row_to_json as a from work_items w where w.tenant_id = $1",
        "select w.title as a from work_items w where w.tenant_id = $1 order by w.title using <",
        "select E'\\x41' as a from work_items w where w.tenant_id = $1",
        "select $$x$$ as a from work_items w where w.tenant_id = $1",
        "select \"w\".title as a from work_items w where w.tenant_id = $1",
        "select x.a from pg_sleep(1) as x(a), work_items w where w.tenant_id = $1",
        "select 1 operator(pg_catalog.+) 1 as a from work_items w where w.tenant_id = $1",
    ] {
        assert!(check("t", &text(bad)).is_err(), "the gate let pass: {bad}");
    }
}

#[tokio::test]
async fn without_the_gate_no_attack_sees_foreign_rows_changes_anything_or_stays_in_the_session() {
    // One connection, so that the next statement meets what an attack left in it.
    let test = TestDb::with_pools(PoolSizes { app: 2, reader: 1, queue: 1 }).await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    fill(&test, &alpha, 30, "own").await;
    fill(&test, &beta, 500, MARK).await;
    let runner = PgTemplateRunner::new(test.db.clone());
    let foreign = raw("select title as x from published.work_items", &["x"], 5_000);
    assert!(marked(&runner.run(&beta, &foreign, &[], 10).await.unwrap()), "the mark is there to be found");

    let session_before = session(&runner, &alpha).await;
    let state_before = state(&test).await;
    let mut ran = Vec::new();
    for (name, statement) in ATTACKS {
        let statement = statement.replace("{other}", &beta.tenant.to_string());
        // As it stands; and as text, to see what it returns whatever its type is.
        let shown = format!("select concat(t.*) as x from ({statement}) as t");
        for (statement, columns) in [(statement.as_str(), &[][..]), (shown.as_str(), &["x"][..])] {
            if let Ok(rows) = runner.run(&alpha, &raw(statement, columns, 300), &[], 500).await {
                assert!(!marked(&rows), "{name} returned a foreign row");
                assert!(rows.rows.len() <= 500, "{name} lifted the row cap");
                ran.push(*name);
            }
            // Neither does what the planner is asked about it.
            let _ = runner.estimate(&alpha, &raw(statement, columns, 300), &[], 500).await;
            assert_eq!(
                session(&runner, &alpha).await,
                session_before,
                "{name} left something in the session"
            );
        }
        // The last statement may still be rolling back.
        let mut tries = 0;
        while state(&test).await != state_before && tries < 100 {
            tries += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(state(&test).await, state_before, "{name} changed something");
    }
    ran.dedup();
    println!("{} of {} attacks ran without harm once the gate was away: {ran:?}", ran.len(), ATTACKS.len());
}

#[tokio::test]
async fn attacks_as_values_of_parameters_are_texts_and_nothing_else() {
    let test = TestDb::with_pools(PoolSizes { app: 2, reader: 1, queue: 1 }).await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    fill(&test, &alpha, 30, "own").await;
    fill(&test, &beta, 500, MARK).await;
    let runner = PgTemplateRunner::new(test.db.clone());
    let templates = PgTemplates::load(&test.db).await.unwrap();
    let session_before = session(&runner, &alpha).await;
    let state_before = state(&test).await;
    let other = beta.tenant.to_string();
    let texts = ATTACKS.iter().map(|(_, statement)| statement.replace("{other}", &other)).chain(
        [
            "' or 1=1 --",
            "x'; commit; delete from public.work_items; --",
            "\\' or true --",
            "$1",
            "$2",
            "%",
            "_",
            "\u{202e}",
            "') or tenant_id is not null or ('",
            "&",
            "!",
            "a & b | !c",
            "'a':*",
            "\"",
            "-\"",
            "((((((",
            "core/web' --",
            &other,
        ]
        .map(str::to_owned),
    );
    let mut ran = 0;
    for text in texts {
        for template in templates.list() {
            // Into every parameter that takes any text.
            let arguments: Map<String, Value> = template
                .params
                .iter()
                .filter(|param| matches!(&param.kind, ParamType::Text { allowed, .. } if allowed.is_empty()))
                .map(|param| (param.name.clone(), text.chars().take(200).collect::<String>().into()))
                .collect();
            let Ok((bound, limit)) = template.bind(&arguments) else { continue };
            let found = runner.run(&alpha, template, &bound, limit).await;
            let rows = found.unwrap_or_else(|error| panic!("{} with {text:?}: {error:?}", template.name));
            assert!(!marked(&rows), "{} with {text:?} returned a foreign row", template.name);
            ran += 1;
        }
    }
    assert!(ran > 1_000, "{ran}");
    assert_eq!(session(&runner, &alpha).await, session_before);
    assert_eq!(state(&test).await, state_before);
}

#[test]
fn values_no_parameter_can_have_never_reach_the_database() {
    let text =
        "/*\ntitle = 'T'\ndescription = 'D'\n[[params]]\nname = 'p'\ntype = 'text'\ndescription = 'd'\n*/
        select w.title as a from work_items w where w.tenant_id = $1 and w.title = $2::text";
    let template = check("t", text).unwrap();
    for bad in [
        json!("a\0b"),
        json!(""),
        json!("x".repeat(201)),
        json!(["a"]),
        json!({"a": 1}),
        json!(1),
        json!(true),
    ] {
        assert!(template.bind(json!({"p": bad}).as_object().unwrap()).is_err(), "{bad} was taken");
    }
    // Halves of characters and other bytes that are no text do not become a value at all.
    assert!(serde_json::from_str::<Value>("\"\\ud800\"").is_err());
    assert!(serde_json::from_slice::<Value>(b"\"\xff\"").is_err());
    // More parameters than the protocol counts.
    let many: String = (0..1_000)
        .map(|n| format!("[[params]]\nname = 'p{n}'\ntype = 'text'\ndescription = 'd'\n"))
        .collect();
    let refused = check("t", &format!("/*\ntitle = 'T'\ndescription = 'D'\n{many}*/ select 1")).unwrap_err();
    assert!(refused[0].message.contains("32 parameters, not 1000"), "{}", refused[0].message);
    let beyond = text.replace("$2", "$65536");
    assert!(check("t", &beyond).unwrap_err()[0].message.contains("only $1 to $2"));
}

#[tokio::test]
async fn statements_without_number_leave_a_bounded_number_prepared() {
    let test = TestDb::with_pools(PoolSizes { app: 2, reader: 1, queue: 1 }).await;
    let alpha = test.ctx("alpha").await;
    let runner = PgTemplateRunner::new(test.db.clone());
    for n in 0..300 {
        runner.run(&alpha, &raw(&format!("select '{n}'::text as x"), &["x"], 5_000), &[], 1).await.unwrap();
    }
    let count = raw("select count(*)::text as x from pg_prepared_statements", &["x"], 5_000);
    let kept = runner.run(&alpha, &count, &[], 1).await.unwrap().rows[0][0].as_str().unwrap().to_owned();
    assert!(kept.parse::<usize>().unwrap() <= 101, "{kept} statements stay prepared");
}

#[tokio::test]
async fn what_a_failed_template_says_holds_nothing_of_a_row() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    fill(&test, &alpha, 5, MARK).await;
    let runner = PgTemplateRunner::new(test.db.clone());
    let failing = raw("select title::int::text as x from published.work_items", &["x"], 5_000);
    let failed = runner.run(&alpha, &failing, &[], 1).await;
    let error = application::Error::from(failed.unwrap_err());
    assert!(!error.to_string().contains(MARK), "{error}");
}
