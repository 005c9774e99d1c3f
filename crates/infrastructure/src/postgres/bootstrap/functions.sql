-- The only functions that see more than one tenant's rows, or another role's. Each is a SECURITY DEFINER with a
-- pinned search_path and schema-qualified names, closed to PUBLIC and granted to exactly who needs it. The catalog
-- test holds the list. Add to it only with a reason that row-level security cannot serve.
--
-- When this file or hardening.sql changes, raise BOOTSTRAP_VERSION.

grant create on schema public to patchbay_lookup, patchbay_queue;

-- What the owner of the looking functions may read, and no more.
grant select (id, slug, status, strict_audit, created_at) on public.tenants to patchbay_lookup;
grant select (kek_id, retired_at, created_at) on public.tenant_data_keys to patchbay_lookup;
grant select (tenant_id, id, public_id, mac, name, kind, scopes, expires_at, revoked_at, instances, projects_read,
              projects_write, templates, toolsets, user_id) on public.api_keys to patchbay_lookup;
-- People belong to no tenant: nobody but these functions reads or writes them.
grant select, insert, update on public.users, public.user_identities to patchbay_lookup;
grant select, update on public.memberships to patchbay_lookup;
grant select on public.invitations to patchbay_lookup;
grant select (tenant_id, id, search, updated_at, deleted_at, instance_id, project_key) on public.work_items
    to patchbay_lookup;

-- So that a process can tell whether the schema is the one it needs.
grant select on public._sqlx_migrations to patchbay_app;

-- Who presents this key? Asked before the tenant is known. In plpgsql, as the two below for records of reads: a session
-- keeps its plans, while it plans the statements of a function in SQL with each call, which takes longer than they do.
drop function if exists public.find_api_key(text);
create function public.find_api_key(p_public_id text)
returns table (tenant_id uuid, tenant_slug text, tenant_status text, strict_audit boolean, tenant_created_at timestamptz,
               key_id uuid, mac bytea, name text, kind text, scopes text[], expires_at timestamptz, instances uuid[],
               projects_read text[], projects_write text[], templates text[], toolsets text[], user_id uuid,
               user_role text)
language plpgsql stable strict security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
    return query
    select t.id, t.slug, t.status, t.strict_audit, t.created_at, k.id, k.mac, k.name, k.kind, k.scopes, k.expires_at,
           k.instances, k.projects_read, k.projects_write, k.templates, k.toolsets, k.user_id,
           -- None for who is no member any more, or disabled.
           (select m.role from public.memberships m join public.users u on u.id = m.user_id
            where m.tenant_id = k.tenant_id and m.user_id = k.user_id and u.disabled_at is null)
    from public.api_keys k join public.tenants t on t.id = k.tenant_id
    where k.public_id = p_public_id and k.revoked_at is null;
end
$$;

-- Somebody signed in: stores who they are, or what changed about them since. Memberships carry name and address along,
-- so that a tenant's list needs no look at people. p_new is the id of a person who was not known.
create or replace function public.sign_in_user(
    p_issuer text, p_subject text, p_email text, p_name text, p_new uuid)
returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user uuid;
begin
    update public.user_identities i set last_sign_in_at = pg_catalog.now()
    where i.issuer = p_issuer and i.subject = p_subject returning i.user_id into v_user;
    if v_user is null then
        begin
            insert into public.users (id, email, name) values (p_new, p_email, p_name);
            insert into public.user_identities (issuer, subject, user_id) values (p_issuer, p_subject, p_new);
            return p_new;
        exception when unique_violation then
            -- Signed in twice at the same moment: the other one was first.
            select i.user_id into strict v_user
            from public.user_identities i where i.issuer = p_issuer and i.subject = p_subject;
        end;
    end if;
    update public.users u set email = p_email, name = p_name
    where u.id = v_user and (u.email, u.name) is distinct from (p_email, p_name);
    update public.memberships m set email = p_email, name = p_name
    where m.user_id = v_user and (m.email, m.name) is distinct from (p_email, p_name);
    return v_user;
end
$$;

-- A person and where they may go: a row for each membership in a tenant that is served, or one without a tenant.
create or replace function public.find_user_by_id(p_user uuid)
returns table (user_id uuid, email text, name text, role text, tenant_id uuid, tenant_slug text, tenant_status text,
               strict_audit boolean, tenant_created_at timestamptz)
language sql stable strict security definer
set search_path = pg_catalog, pg_temp
as $$
    select u.id, u.email, u.name, m.role, m.id, m.slug, m.status, m.strict_audit, m.created_at
    from public.users u
    left join (select m.user_id, m.role, t.id, t.slug, t.status, t.strict_audit, t.created_at
               from public.memberships m join public.tenants t on t.id = m.tenant_id
               where t.status = 'active') m on m.user_id = u.id
    where u.id = p_user and u.disabled_at is null
    order by m.slug
$$;

create or replace function public.find_user(p_issuer text, p_subject text)
returns table (user_id uuid, email text, name text, role text, tenant_id uuid, tenant_slug text, tenant_status text,
               strict_audit boolean, tenant_created_at timestamptz)
language sql stable strict security definer
set search_path = pg_catalog, pg_temp
as $$
    select f.* from public.user_identities i, public.find_user_by_id(i.user_id) f
    where i.issuer = p_issuer and i.subject = p_subject
$$;

-- Who was invited with this token, and where to? Asked before the tenant is known.
create or replace function public.find_invitation(p_mac bytea)
returns table (tenant_id uuid, tenant_slug text, tenant_status text, strict_audit boolean, tenant_created_at timestamptz,
               id uuid, email text, role text, invited_by text, created_at timestamptz, expires_at timestamptz,
               accepted_at timestamptz, revoked_at timestamptz)
language sql stable strict security definer
set search_path = pg_catalog, pg_temp
as $$
    select t.id, t.slug, t.status, t.strict_audit, t.created_at, i.id, i.email, i.role, i.invited_by, i.created_at,
           i.expires_at, i.accepted_at, i.revoked_at
    from public.invitations i join public.tenants t on t.id = i.tenant_id
    where i.mac = p_mac and t.status = 'active'
$$;

-- The tenant of a slug, for operators.
drop function if exists public.find_tenant(text);
create function public.find_tenant(p_slug text)
returns table (id uuid, slug text, status text, strict_audit boolean, created_at timestamptz)
language sql stable strict security definer
set search_path = pg_catalog, pg_temp
as $$
    select t.id, t.slug, t.status, t.strict_audit, t.created_at from public.tenants t
    where t.slug = p_slug and t.status <> 'probe'
$$;

-- Every tenant, for operators' commands that go over all of them.
create or replace function public.list_tenants()
returns table (id uuid, slug text, status text, strict_audit boolean, created_at timestamptz)
language sql stable strict security definer
set search_path = pg_catalog, pg_temp
as $$
    select t.id, t.slug, t.status, t.strict_audit, t.created_at from public.tenants t
    where t.status <> 'probe' order by t.slug
$$;

-- What wraps how many data keys of all tenants, and since when the oldest is as it is, for operators: numbers and key
-- ids, no tenant.
create or replace function public.data_key_usage()
returns table (kek_id text, retired boolean, keys bigint, oldest timestamptz)
language sql stable strict security definer
set search_path = pg_catalog, pg_temp
as $$
    select k.kek_id, k.retired_at is not null, count(*), min(coalesce(k.retired_at, k.created_at))
    from public.tenant_data_keys k group by 1, 2
$$;

-- Replaced by author.sql; here so that functions can call it on a database that has none yet.
do $$
begin
    if pg_catalog.to_regprocedure('public.sealed_tenant()') is null then
        create function public.sealed_tenant() returns uuid language sql stable security definer
        set search_path = pg_catalog, pg_temp
        as 'select null::uuid';
        revoke all on function public.sealed_tenant() from public;
        alter function public.sealed_tenant() owner to patchbay_lookup;
    end if;
end
$$;

-- Full text over the current tenant's items. @@ is not leakproof, so under row-level security the whole tenant
-- would be read. The tenant comes from the setting, never from an argument.
--
-- Planned for each search: the index tells what everybody's items hold, so a word that many of them have is dearer to look
-- up there than a small tenant's items are to look through, and a kept plan knows neither. With the settings, what is looked
-- up in memory costs what it does, and the places of a frequent word fit.
create or replace function public.search_work_item_ids(p_query text, p_limit integer)
returns setof uuid
language plpgsql stable strict security definer rows 100
set search_path = pg_catalog, pg_temp
set random_page_cost = 1.1
set work_mem = '64MB'
as $$
begin
    return query execute '
        select w.id
        from public.work_items w
        where w.tenant_id = $1
          and w.deleted_at is null
          and w.search @@ $2
          -- What the key is narrowed to, before the limit cuts.
          and ($3 is null or w.instance_id = any ($3))
          and ($4 is null or w.project_key = any ($4))
          -- The second lock of templates that tenants write, as the policies of author.sql have it.
          and (session_user <> ''patchbay_author'' or w.tenant_id = (select public.sealed_tenant()))
        order by pg_catalog.ts_rank(w.search, $2) desc, w.updated_at desc, w.id
        limit $5'
        using nullif(current_setting('app.current_tenant_id', true), '')::uuid,
            websearch_to_tsquery('pg_catalog.english', p_query),
            string_to_array(nullif(current_setting('app.allowed_instances', true), ''), ',')::uuid[],
            string_to_array(nullif(current_setting('app.allowed_projects', true), ''), chr(31)),
            least(greatest(p_limit, 0), 1000);
end
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

-- Of a tenant that is being deleted: removes its waiting jobs, and answers how many are in work. The tenant comes from
-- the setting, never from an argument.
create or replace function public.remove_tenant_jobs()
returns bigint
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    delete from graphile_worker._private_jobs
    where locked_at is null and payload ->> 'tenant' = nullif(current_setting('app.current_tenant_id', true), '');
    select count(*) from graphile_worker._private_jobs
    where payload ->> 'tenant' = nullif(current_setting('app.current_tenant_id', true), '');
$$;

-- Of a tenant that is being deleted: forgets the people who are members of no other. The application has no right to
-- the table of people.
grant select (tenant_id, user_id) on public.memberships to patchbay_lookup;
grant select (id), delete on public.users to patchbay_lookup;
create or replace function public.forget_members()
returns bigint
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    with only_here as (
        select m.user_id
        from public.memberships m join public.tenants t on t.id = m.tenant_id
        where m.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid
          and t.status = 'deleting'
          and not exists (
              select from public.memberships o where o.user_id = m.user_id and o.tenant_id <> m.tenant_id)
    ), gone as (
        delete from public.users u using only_here o where u.id = o.user_id returning 1
    )
    select count(*) from gone
$$;

-- What is left of the current tenant in every table that has a tenant, those included that the application may not
-- read: the proof of a deletion must not lean on the policies it is to check.
do $$
declare
    name text;
begin
    for name in
        select c.relname from pg_catalog.pg_class c
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
    loop
        execute format('grant select (tenant_id) on public.%I to patchbay_lookup', name);
    end loop;
end
$$;
create or replace function public.tenant_residue()
returns table (place text, remaining bigint)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    tenant uuid := nullif(current_setting('app.current_tenant_id', true), '')::uuid;
begin
    for place in
        select c.relname from pg_catalog.pg_class c
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
        order by c.relname
    loop
        execute format('select count(*) from public.%I where tenant_id = $1', place) into remaining using tenant;
        return next;
    end loop;
    place := 'tenants';
    select count(*) into remaining from public.tenants t where t.id = tenant;
    return next;
end
$$;

alter function public.remove_tenant_jobs() owner to patchbay_queue;
alter function public.forget_members() owner to patchbay_lookup;
alter function public.tenant_residue() owner to patchbay_lookup;
revoke all on function public.remove_tenant_jobs(), public.forget_members(), public.tenant_residue() from public;
grant execute on function public.remove_tenant_jobs(), public.forget_members(), public.tenant_residue() to patchbay_app;

-- Whose session is this? Asked before the tenant is known.
grant select (tenant_id, id, user_id, mac, created_at, last_used_at, expires_at, revoked_at) on public.sessions
    to patchbay_lookup;
create or replace function public.find_session(p_mac bytea)
returns table (tenant_id uuid, session_id uuid, user_id uuid, created_at timestamptz, expires_at timestamptz, idle_s float8)
language sql stable strict security definer
set search_path = pg_catalog, pg_temp
as $$
    select s.tenant_id, s.id, s.user_id, s.created_at, s.expires_at,
           extract(epoch from now() - s.last_used_at)::float8
    from public.sessions s
    where s.mac = p_mac and s.revoked_at is null and s.expires_at > now()
$$;
alter function public.find_session(bytea) owner to patchbay_lookup;
revoke all on function public.find_session(bytea) from public;
grant execute on function public.find_session(bytea) to patchbay_app;

-- Records of reads come from many tenants at once: a transaction for each of them would cost more than the reads. These
-- two put them on their chains in one. They read nothing of a record, and what they write must fit the chain's seal, which
-- only who has the installation's key can make.
grant select, update on public.audit_heads to patchbay_lookup;
grant insert on public.audit_log to patchbay_lookup;

-- The ends of these chains, locked. Those that a change holds are left out, so that nobody waits for it.
create or replace function public.lock_audit_heads(p_tenants uuid[])
returns table (tenant_id uuid, seq bigint, hash bytea, seal bytea)
language plpgsql volatile strict security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
    return query
    select h.tenant_id, h.seq, h.hash, h.seal from public.audit_heads h
    where h.tenant_id = any (p_tenants) order by h.tenant_id for update skip locked;
end
$$;

create or replace function public.append_audit(
    p_tenant_id uuid[], p_seq bigint[], p_id uuid[], p_at timestamptz[], p_principal_kind text[], p_principal_id uuid[],
    p_principal_name text[], p_client text[], p_address text[], p_request_id uuid[], p_action text[],
    p_target_kind text[], p_target_id text[], p_outcome text[], p_arguments_digest bytea[], p_details text[],
    p_hash bytea[], p_end_tenant uuid[], p_end_seq bigint[], p_end_hash bytea[], p_end_seal bytea[])
returns void
language plpgsql volatile strict security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
    insert into public.audit_log (tenant_id, seq, id, at, principal_kind, principal_id, principal_name, client, address,
        request_id, action, target_kind, target_id, outcome, arguments_digest, details, hash)
    select * from unnest(p_tenant_id, p_seq, p_id, p_at, p_principal_kind, p_principal_id, p_principal_name, p_client,
        p_address, p_request_id, p_action, p_target_kind, p_target_id, p_outcome, p_arguments_digest, p_details, p_hash);
    update public.audit_heads h set seq = e.seq, hash = e.hash, seal = e.seal
    from unnest(p_end_tenant, p_end_seq, p_end_hash, p_end_seal) e (tenant_id, seq, hash, seal)
    where h.tenant_id = e.tenant_id;
end
$$;
alter function public.lock_audit_heads(uuid[]) owner to patchbay_lookup;
alter function public.append_audit(uuid[], bigint[], uuid[], timestamptz[], text[], uuid[], text[], text[], text[], uuid[],
    text[], text[], text[], text[], bytea[], text[], bytea[], uuid[], bigint[], bytea[], bytea[]) owner to patchbay_lookup;
revoke all on function public.lock_audit_heads(uuid[]),
    public.append_audit(uuid[], bigint[], uuid[], timestamptz[], text[], uuid[], text[], text[], text[], uuid[], text[],
        text[], text[], text[], bytea[], text[], bytea[], uuid[], bigint[], bytea[], bytea[]) from public;
grant execute on function public.lock_audit_heads(uuid[]),
    public.append_audit(uuid[], bigint[], uuid[], timestamptz[], text[], uuid[], text[], text[], text[], uuid[], text[],
        text[], text[], text[], bytea[], text[], bytea[], uuid[], bigint[], bytea[], bytea[]) to patchbay_app;

-- Webhooks and schedules go over all tenants: whom a delivery is for is asked before the tenant is known, and what is due
-- is not looked for tenant by tenant. These columns, and no content.
grant select (tenant_id, id, source, status, synced_at, created_at) on public.source_instances to patchbay_lookup;
grant select (tenant_id, instance_id, state) on public.sync_runs to patchbay_lookup;
grant select, update (next_sync_at, next_reconcile_at) on public.sync_schedules to patchbay_lookup;
grant select (tenant_id, instance_id, token_digest, sealed, handshake_until, renew_at), update (renew_at)
    on public.webhook_subscriptions to patchbay_lookup;
grant select (tenant_id, id, received_at), delete on public.webhook_deliveries to patchbay_lookup;
grant select (tenant_id, id, expires_at), delete on public.uploads to patchbay_lookup;

-- Whom is this webhook address of? Asked before the tenant is known.
create or replace function public.find_webhook(p_digest bytea)
returns table (tenant_id uuid, served boolean, instance_id uuid, source text, sealed bytea, handshake_open boolean)
language sql stable strict security definer
set search_path = pg_catalog, pg_temp
as $$
    select w.tenant_id, t.status = 'active', w.instance_id, i.source, w.sealed,
           w.handshake_until is not null and w.handshake_until > now()
    from public.webhook_subscriptions w
    join public.tenants t on t.id = w.tenant_id
    join public.source_instances i on i.tenant_id = w.tenant_id and i.id = w.instance_id
    where w.token_digest = p_digest
$$;

-- Takes what is due, each for as long as the lease lasts. Of an instance, what is due longer; nothing while a run of it
-- is unfinished.
create or replace function public.claim_due_syncs(p_limit bigint, p_lease_s double precision)
returns table (tenant_id uuid, instance_id uuid, kind text)
language sql volatile strict security definer
set search_path = pg_catalog, pg_temp
as $$
    with due as (
        select s.tenant_id, s.instance_id,
               s.next_reconcile_at <= now() and coalesce(s.next_reconcile_at <= s.next_sync_at, true) as whole
        from public.sync_schedules s
        join public.source_instances i on i.tenant_id = s.tenant_id and i.id = s.instance_id and i.status = 'active'
        join public.tenants t on t.id = s.tenant_id and t.status = 'active'
        where not s.paused and (s.next_sync_at <= now() or s.next_reconcile_at <= now())
          and not exists (
              select from public.sync_runs r
              where r.tenant_id = s.tenant_id and r.instance_id = s.instance_id
                and r.state in ('queued', 'running', 'waiting'))
        order by least(s.next_sync_at, s.next_reconcile_at)
        limit p_limit for update of s skip locked
    )
    update public.sync_schedules s set
        next_reconcile_at = case when d.whole then now() + make_interval(secs => p_lease_s) else s.next_reconcile_at end,
        next_sync_at = case when d.whole then s.next_sync_at else now() + make_interval(secs => p_lease_s) end
    from (select d.tenant_id, d.instance_id, coalesce(d.whole, false) as whole from due d) d
    where s.tenant_id = d.tenant_id and s.instance_id = d.instance_id
    returning s.tenant_id, s.instance_id, case when d.whole then 'reconcile' else 'incremental' end
$$;

create or replace function public.instances_without_schedule(p_limit bigint)
returns table (tenant_id uuid, instance_id uuid, source text)
language sql stable strict security definer
set search_path = pg_catalog, pg_temp
as $$
    select i.tenant_id, i.id, i.source
    from public.source_instances i join public.tenants t on t.id = i.tenant_id and t.status = 'active'
    where not exists (
        select from public.sync_schedules s where s.tenant_id = i.tenant_id and s.instance_id = i.id)
    limit p_limit
$$;

-- For each source, for how long the instance that waits longest has not been synced with success: a number, no tenant.
create or replace function public.sync_lags()
returns table (source text, lag_s double precision)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select i.source, max(extract(epoch from now() - coalesce(i.synced_at, i.created_at)))::double precision
    from public.source_instances i
    join public.tenants t on t.id = i.tenant_id and t.status = 'active'
    join public.sync_schedules s on s.tenant_id = i.tenant_id and s.instance_id = i.id and not s.paused
    where i.status = 'active'
    group by i.source
$$;

-- Takes webhooks that have to be looked after, each for as long as the lease lasts.
create or replace function public.claim_webhook_renewals(p_limit bigint, p_lease_s double precision)
returns table (tenant_id uuid, instance_id uuid)
language sql volatile strict security definer
set search_path = pg_catalog, pg_temp
as $$
    with due as (
        select w.tenant_id, w.instance_id
        from public.webhook_subscriptions w
        join public.tenants t on t.id = w.tenant_id and t.status = 'active'
        join public.source_instances i
            on i.tenant_id = w.tenant_id and i.id = w.instance_id and i.status <> 'reconnect_required'
        where w.renew_at <= now()
        order by w.renew_at limit p_limit for update of w skip locked
    )
    update public.webhook_subscriptions w set renew_at = now() + make_interval(secs => p_lease_s)
    from due d where w.tenant_id = d.tenant_id and w.instance_id = d.instance_id
    returning w.tenant_id, w.instance_id
$$;

-- Removes deliveries that came before this moment, some thousands at a time.
create or replace function public.prune_webhook_deliveries(p_before timestamptz)
returns bigint
language sql volatile strict security definer
set search_path = pg_catalog, pg_temp
as $$
    with old as (
        select d.tenant_id, d.id
        from public.tenants t
        cross join lateral (
            select d.tenant_id, d.id from public.webhook_deliveries d
            where d.tenant_id = t.id and d.received_at < p_before limit 5000) d
        limit 5000
    ), gone as (
        delete from public.webhook_deliveries d using old o
        where d.tenant_id = o.tenant_id and d.id = o.id returning 1
    )
    select count(*) from gone
$$;

-- Removes files that were not attached in time, and what is remembered of attached ones, some hundreds at a time.
create or replace function public.prune_uploads()
returns bigint
language sql volatile strict security definer
set search_path = pg_catalog, pg_temp
as $$
    with old as (
        select u.tenant_id, u.id
        from public.tenants t
        cross join lateral (
            select u.tenant_id, u.id from public.uploads u
            where u.tenant_id = t.id and u.expires_at <= now() limit 500) u
        limit 500
    ), gone as (
        delete from public.uploads u using old o where u.tenant_id = o.tenant_id and u.id = o.id returning 1
    )
    select count(*) from gone
$$;

alter function public.find_webhook(bytea) owner to patchbay_lookup;
alter function public.claim_due_syncs(bigint, double precision) owner to patchbay_lookup;
alter function public.instances_without_schedule(bigint) owner to patchbay_lookup;
alter function public.sync_lags() owner to patchbay_lookup;
alter function public.claim_webhook_renewals(bigint, double precision) owner to patchbay_lookup;
alter function public.prune_webhook_deliveries(timestamptz) owner to patchbay_lookup;
alter function public.prune_uploads() owner to patchbay_lookup;
revoke all on function
    public.find_webhook(bytea), public.claim_due_syncs(bigint, double precision),
    public.instances_without_schedule(bigint), public.sync_lags(),
    public.claim_webhook_renewals(bigint, double precision), public.prune_webhook_deliveries(timestamptz),
    public.prune_uploads()
    from public;
grant execute on function
    public.find_webhook(bytea), public.claim_due_syncs(bigint, double precision),
    public.instances_without_schedule(bigint), public.sync_lags(),
    public.claim_webhook_renewals(bigint, double precision), public.prune_webhook_deliveries(timestamptz),
    public.prune_uploads()
    to patchbay_app;

alter function public.find_api_key(text) owner to patchbay_lookup;
alter function public.find_tenant(text) owner to patchbay_lookup;
alter function public.list_tenants() owner to patchbay_lookup;
alter function public.data_key_usage() owner to patchbay_lookup;
alter function public.search_work_item_ids(text, integer) owner to patchbay_lookup;
alter function public.sign_in_user(text, text, text, text, uuid) owner to patchbay_lookup;
alter function public.find_user(text, text) owner to patchbay_lookup;
alter function public.find_user_by_id(uuid) owner to patchbay_lookup;
alter function public.find_invitation(bytea) owner to patchbay_lookup;
alter function public.enqueue_job(text, json, text, timestamptz, integer, text, integer) owner to patchbay_queue;
alter function public.remove_job(text) owner to patchbay_queue;

revoke all on function
    public.find_api_key(text), public.find_tenant(text), public.list_tenants(), public.data_key_usage(), public.search_work_item_ids(text, integer),
    public.enqueue_job(text, json, text, timestamptz, integer, text, integer), public.remove_job(text),
    public.sign_in_user(text, text, text, text, uuid), public.find_user(text, text), public.find_user_by_id(uuid),
    public.find_invitation(bytea)
    from public;
grant execute on function
    public.find_api_key(text), public.find_tenant(text), public.list_tenants(), public.data_key_usage(), public.search_work_item_ids(text, integer),
    public.enqueue_job(text, json, text, timestamptz, integer, text, integer), public.remove_job(text),
    public.sign_in_user(text, text, text, text, uuid), public.find_user(text, text), public.find_user_by_id(uuid),
    public.find_invitation(bytea)
    to patchbay_app;
grant execute on function public.search_work_item_ids(text, integer) to patchbay_reader;

revoke create on schema public from patchbay_lookup, patchbay_queue;

-- Who writes what a sync has read may do there what the application may, and has no business with credentials, and with
-- what people do.
do $$
declare
    allowed record;
begin
    for allowed in
        select c.oid::regclass as on_table, a.privilege_type as what
        from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.grantee = 'patchbay_app'::regrole
          and c.relname not in ('credentials', 'write_intents', 'bulk_plans', 'uploads')
          and exists (select from pg_catalog.pg_policy p
                      where p.polrelid = c.oid and p.polname in ('instance_grant', 'project_grant'))
    loop
        execute format('grant %s on %s to patchbay_sync', allowed.what, allowed.on_table);
    end loop;
end
$$;
grant select (id, status) on public.tenants to patchbay_sync;
grant execute on function public.enqueue_job(text, json, text, timestamptz, integer, text, integer) to patchbay_sync;

-- It was needed once, to make the queue's schema.
do $$
begin
    execute format('revoke create on database %I from patchbay_queue', current_database());
end
$$;
