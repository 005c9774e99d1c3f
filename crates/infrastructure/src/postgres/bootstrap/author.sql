-- The login of templates that tenants write: it may read what the reader may, and each table it reads has a second lock
-- beside the tenant's policy (docs/adr/0005-second-lock-for-authored-templates.md).
--
-- The first lock compares rows with a setting. Template text cannot change a setting: the gate refuses it, and the role
-- may not call set_config(). Should both ever fail, the setting alone opens nothing here: it has to come with a seal
-- that only the server can make, for this tenant, this session and this very transaction.
--
-- When this file changes, raise BOOTSTRAP_VERSION.

grant create on schema public to patchbay_lookup;
grant select on public.template_seal to patchbay_lookup;

-- The tenant of the context, when its seal is good; null otherwise, which no row equals. The seal is
-- sha256(key || sha256(key || message)) in hex; db/seal.rs makes the same. Over functions of the core only.
create or replace function public.sealed_tenant()
returns uuid
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select nullif(current_setting('app.current_tenant_id', true), '')::uuid
    from public.template_seal s
    where current_setting('app.tenant_seal', true) = encode(sha256(s.key || sha256(s.key || convert_to(
        coalesce(current_setting('app.current_tenant_id', true), '')
        || '|' || pg_backend_pid()
        || '|' || (extract(epoch from now()) * 1000000)::bigint
        || '|' || coalesce(current_setting('app.allowed_instances', true), '')
        || '|' || coalesce(current_setting('app.allowed_projects', true), ''), 'UTF8'))), 'hex')
$$;
alter function public.sealed_tenant() owner to patchbay_lookup;
revoke all on function public.sealed_tenant() from public;
grant execute on function public.sealed_tenant(), public.search_work_item_ids(text, integer) to patchbay_author;
revoke create on schema public from patchbay_lookup;

do $$
declare
    thing record;
begin
    grant usage on schema published to patchbay_author;
    for thing in
        select c.oid::regclass as name, c.relkind in ('r', 'p') as is_table,
               pg_catalog.has_table_privilege('patchbay_reader', c.oid, 'select') as whole,
               (select string_agg(pg_catalog.quote_ident(a.attname), ', ' order by a.attnum)
                from pg_catalog.pg_attribute a
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                  and pg_catalog.has_column_privilege('patchbay_reader', c.oid, a.attnum, 'select')) as columns,
               exists (select from pg_catalog.pg_policy p
                       where p.polrelid = c.oid and p.polname = 'author_seal') as locked
        from pg_catalog.pg_class c
        where c.relnamespace in ('public'::regnamespace, 'published'::regnamespace) and c.relkind in ('r', 'p', 'v')
          and (pg_catalog.has_any_column_privilege('patchbay_reader', c.oid, 'select')
               or pg_catalog.has_any_column_privilege('patchbay_author', c.oid, 'select'))
    loop
        -- The lock before the right to read.
        if thing.is_table and not thing.locked then
            execute format('create policy author_seal on %s as restrictive for select to patchbay_author'
                ' using (tenant_id = (select public.sealed_tenant()))', thing.name);
        end if;
        execute format('revoke all on %s from patchbay_author', thing.name);
        if thing.whole then
            execute format('grant select on %s to patchbay_author', thing.name);
        elsif thing.columns is not null then
            execute format('grant select (%s) on %s to patchbay_author', thing.columns, thing.name);
        end if;
    end loop;
end
$$;
