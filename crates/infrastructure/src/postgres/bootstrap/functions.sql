-- The only functions that see more than one tenant's rows, or another role's. Each is a SECURITY DEFINER with a
-- pinned search_path and schema-qualified names, closed to PUBLIC and granted to exactly who needs it. The catalog
-- test holds the list. Add to it only with a reason that row-level security cannot serve.
--
-- When this file or hardening.sql changes, raise BOOTSTRAP_VERSION.

grant create on schema public to patchbay_lookup, patchbay_queue;

-- What the owner of the looking functions may read, and no more.
grant select (id, slug, status, strict_audit, created_at) on public.tenants to patchbay_lookup;
grant select (tenant_id, id, public_id, mac, name, scopes, expires_at, revoked_at, instances, projects_read,
              projects_write, templates, toolsets) on public.api_keys to patchbay_lookup;
grant select (tenant_id, id, search, updated_at, deleted_at, instance_id, project_key) on public.work_items
    to patchbay_lookup;

-- So that a process can tell whether the schema is the one it needs.
grant select on public._sqlx_migrations to patchbay_app;

-- Who presents this key? Asked before the tenant is known.
drop function if exists public.find_api_key(text);
create function public.find_api_key(p_public_id text)
returns table (tenant_id uuid, tenant_slug text, tenant_status text, strict_audit boolean, tenant_created_at timestamptz,
               key_id uuid, mac bytea, name text, scopes text[], expires_at timestamptz, instances uuid[],
               projects_read text[], projects_write text[], templates text[], toolsets text[])
language sql stable strict security definer
set search_path = pg_catalog, pg_temp
as $$
    select t.id, t.slug, t.status, t.strict_audit, t.created_at, k.id, k.mac, k.name, k.scopes, k.expires_at,
           k.instances, k.projects_read, k.projects_write, k.templates, k.toolsets
    from public.api_keys k join public.tenants t on t.id = k.tenant_id
    where k.public_id = p_public_id and k.revoked_at is null
$$;

-- The tenant of a slug, for operators.
drop function if exists public.find_tenant(text);
create function public.find_tenant(p_slug text)
returns table (id uuid, slug text, status text, strict_audit boolean, created_at timestamptz)
language sql stable strict security definer
set search_path = pg_catalog, pg_temp
as $$
    select t.id, t.slug, t.status, t.strict_audit, t.created_at from public.tenants t where t.slug = p_slug
$$;

-- Every tenant, for operators' commands that go over all of them.
create or replace function public.list_tenants()
returns table (id uuid, slug text, status text, strict_audit boolean, created_at timestamptz)
language sql stable strict security definer
set search_path = pg_catalog, pg_temp
as $$
    select t.id, t.slug, t.status, t.strict_audit, t.created_at from public.tenants t order by t.slug
$$;

-- Full text over the current tenant's items. @@ is not leakproof, so under row-level security the whole tenant
-- would be read. The tenant comes from the setting, never from an argument.
create or replace function public.search_work_item_ids(p_query text, p_limit integer)
returns setof uuid
language sql stable strict security definer rows 100
set search_path = pg_catalog, pg_temp
as $$
    select w.id
    from public.work_items w, pg_catalog.websearch_to_tsquery('pg_catalog.english', p_query) q
    where w.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid
      and w.deleted_at is null
      and w.search @@ q
      -- What the key is narrowed to, before the limit cuts.
      and (coalesce(current_setting('app.allowed_instances', true), '') = ''
           or w.instance_id = any (string_to_array(current_setting('app.allowed_instances', true), ',')::uuid[]))
      and (coalesce(current_setting('app.allowed_projects', true), '') = ''
           or w.project_key = any (string_to_array(current_setting('app.allowed_projects', true), chr(31))))
    order by pg_catalog.ts_rank(w.search, q) desc, w.updated_at desc, w.id
    limit least(greatest(p_limit, 0), 1000)
$$;

-- Puts a job into the queue, or replaces the waiting one of that key. The application can neither read the queue
-- nor forge other tasks.
create or replace function public.enqueue_job(
    p_identifier text, p_payload json, p_queue text, p_run_at timestamptz, p_max_attempts integer, p_job_key text,
    p_priority integer)
returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_identifier is distinct from 'patchbay' then
        raise exception 'the task % is not one of the application''s', p_identifier
            using errcode = 'insufficient_privilege';
    end if;
    perform graphile_worker.add_job(
        identifier => p_identifier, payload => p_payload, queue_name => p_queue, run_at => p_run_at,
        max_attempts => p_max_attempts, job_key => p_job_key, priority => p_priority, job_key_mode => 'replace');
end
$$;

-- Removes the waiting job of a key; one that runs finishes, and is not repeated.
create or replace function public.remove_job(p_job_key text)
returns void
language plpgsql strict security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform graphile_worker.remove_job(p_job_key);
end
$$;

alter function public.find_api_key(text) owner to patchbay_lookup;
alter function public.find_tenant(text) owner to patchbay_lookup;
alter function public.list_tenants() owner to patchbay_lookup;
alter function public.search_work_item_ids(text, integer) owner to patchbay_lookup;
alter function public.enqueue_job(text, json, text, timestamptz, integer, text, integer) owner to patchbay_queue;
alter function public.remove_job(text) owner to patchbay_queue;

revoke all on function
    public.find_api_key(text), public.find_tenant(text), public.list_tenants(), public.search_work_item_ids(text, integer),
    public.enqueue_job(text, json, text, timestamptz, integer, text, integer), public.remove_job(text)
    from public;
grant execute on function
    public.find_api_key(text), public.find_tenant(text), public.list_tenants(), public.search_work_item_ids(text, integer),
    public.enqueue_job(text, json, text, timestamptz, integer, text, integer), public.remove_job(text)
    to patchbay_app;
grant execute on function public.search_work_item_ids(text, integer) to patchbay_reader;

revoke create on schema public from patchbay_lookup, patchbay_queue;

-- It was needed once, to make the queue's schema.
do $$
begin
    execute format('revoke create on database %I from patchbay_queue', current_database());
end
$$;
