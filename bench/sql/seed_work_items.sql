-- :items work items in :tenants tenants, straight into the schema: set-wise, as the administrator, the same at each run.
-- Tenant sizes are skewed: the share of a tenant falls with its number, of 200,000 items in 100 tenants from about 11,400
-- to about 1,200.
\set ON_ERROR_STOP 1
begin;

-- A number from 0 below 1 that depends on nothing but its arguments.
create function pg_temp.part(i bigint, salt bigint) returns float8 immutable language sql as
$$ select (hashint8extended(i, salt) & 1048575) / 1048576.0::float8 $$;
create function pg_temp.pick(i bigint, salt bigint, choices text[]) returns text immutable language sql as
$$ select choices[1 + floor(pg_temp.part(i, salt) * cardinality(choices))::int] $$;
create function pg_temp.tenant(n int) returns uuid immutable language sql as
$$ select ('00000000-0000-7000-8000-' || lpad((100 + n)::text, 12, '0'))::uuid $$;

-- Indexes are built once all rows are there, and keys to other tables, which are right as they are made, are not looked at:
-- both, row by row, are most of the time that ten million items take.
create temp table indexes on commit drop as
    select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition from pg_index
    where indrelid in ('work_items'::regclass, 'work_item_labels'::regclass)
        and not exists (select from pg_constraint where conindid = indexrelid);
do $$
declare index record;
begin
    for index in select * from indexes loop execute format('drop index %s', index.name); end loop;
end
$$;
set local session_replication_role = replica;

insert into tenants (id, slug) select pg_temp.tenant(n), 'bench-' || n from generate_series(0, :tenants - 1) n;

insert into source_instances (tenant_id, id, slug, source, name, base_url, settings, status, created_at, updated_at,
    synced_at, backfilled_at)
select pg_temp.tenant(n), pg_temp.tenant(n), 'tracker', 'github', 'Tracker', 'https://api.github.com', '{}', 'active',
    now(), now(), now(), now()
from generate_series(0, :tenants - 1) n;

insert into projects (tenant_id, id, instance_id, source_id, key, name, url, content_hash, synced_at)
select pg_temp.tenant(n), ('00000000-0000-7000-9' || lpad(p::text, 3, '0') || '-' || lpad((100 + n)::text, 12, '0'))::uuid,
    pg_temp.tenant(n), key, 'acme/' || key, initcap(key), 'https://github.com/acme/' || key, '\x00', now()
from generate_series(0, :tenants - 1) n, unnest(array['core', 'web', 'ops', 'mobile', 'data']) with ordinality as k (key, p);

insert into work_items (tenant_id, id, instance_id, source, source_id, ref_key, source_key, project_source_id,
    project_key, type_norm, type_original, status_norm, status_original, priority_norm, priority_original, title, body,
    assignee, assignees, assignee_source_ids, reporter, reporter_source_id, labels, url, created_at, updated_at,
    resolved_at, content_hash, synced_at)
select pg_temp.tenant(tenant), ('018f0000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, pg_temp.tenant(tenant),
    'github', (1000000 + i)::text, project || '#' || i, 'acme/' || project || '#' || i, project, 'acme/' || project,
    kind, kind, status, case status when 'done' then 'closed' else 'open' end,
    priority, nullif(priority, 'none'),
    pg_temp.pick(i, 11, array['Fix', 'Add', 'Remove', 'Investigate', 'Document', 'Speed up']) || ' '
        || pg_temp.pick(i, 12, array['the login redirect', 'the export job', 'the billing webhook', 'the search index',
            'the audit log', 'the retry policy', 'the dashboard filter', 'the schema migration']) || ' for '
        || pg_temp.pick(i, 13, array['customers in the EU', 'the mobile app', 'large tenants', 'trial accounts',
            'the nightly sync', 'old API users']) || ' (' || to_hex(i * 7919 % 1048576) || ')',
    repeat('Seen on ' || pg_temp.pick(i, 14, array['staging', 'production', 'a fresh installation']) || ' with build '
        || to_hex(i * 104729) || ': the request answers 200 but the row is missing until the page is loaded again. ',
        3 + floor(pg_temp.part(i, 15) * 4)::int),
    person, array[person], array[person], pg_temp.pick(i, 16, array['ada', 'edsger', 'grace', 'barbara', 'ken']), 'u1',
    array['team-' || floor(pg_temp.part(i, 17) * 7)::int, 'area-' || floor(pg_temp.part(i, 18) * 11)::int],
    'https://github.com/acme/' || project || '/issues/' || i, created, updated,
    case when status = 'done' then updated end, decode(md5(i::text), 'hex'), now()
from (
    select i, floor(:tenants * power(pg_temp.part(i, 1), 1.6))::int as tenant,
        pg_temp.pick(i, 2, array['core', 'web', 'ops', 'mobile', 'data']) as project,
        pg_temp.pick(i, 3, array['todo', 'todo', 'todo', 'in_progress', 'in_progress', 'in_progress',
            'done', 'done', 'done', 'done']) as status,
        pg_temp.pick(i, 4, array['task', 'bug', 'feature', 'pull_request', 'story']) as kind,
        pg_temp.pick(i, 5, array['none', 'low', 'normal', 'normal', 'high', 'urgent']) as priority,
        pg_temp.pick(i, 6, array['ada', 'edsger', 'grace', 'barbara', 'ken', 'margaret', 'donald', 'radia']) as person,
        created, created + make_interval(secs => pg_temp.part(i, 8) * 2592000) as updated
    from generate_series(1::bigint, :items) i,
        lateral (select timestamptz '2025-11-01 00:00:00Z' + make_interval(secs => pg_temp.part(i, 7) * 28000000)) c (created)
) as drawn;

insert into work_item_labels (tenant_id, work_item_id, label) select tenant_id, id, unnest(labels) from work_items;

set local maintenance_work_mem = '1GB';
do $$
declare index record;
begin
    for index in select * from indexes loop execute index.definition; end loop;
end
$$;

-- Who runs the limit: reads as the reader does, under the same policies, and may set the tenant by a prepared
-- statement, which the reader must not.
create schema bench;
create table bench.calls as
    select tenant_id, project_key, status_norm as status from work_items group by 1, 2, 3 having count(*) >= 50;
commit;

do $$
begin
    if not exists (select from pg_roles where rolname = 'patchbay_bench') then
        create role patchbay_bench login in role patchbay_reader;
    end if;
end
$$;
grant execute on function pg_catalog.set_config(text, text, boolean) to patchbay_bench;
vacuum (analyze, freeze);
checkpoint;
