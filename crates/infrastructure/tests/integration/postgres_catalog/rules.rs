//! What must hold for every table, view, function and role.

use super::NOT_BY_TENANT;

/// Rules over the catalog: what is broken, and the statement that lists the offenders. `$1` is the policy's text.
pub(super) fn rules() -> Vec<(&'static str, String)> {
    let tables = format!(
        "pg_class c where c.relkind in ('r', 'p') and c.relnamespace in ('public'::regnamespace, 'published'::regnamespace)
         and c.relname not in {NOT_BY_TENANT}"
    );
    vec![
        (
            "has no tenant_id uuid not null",
            format!(
                "select c.relname::text from {tables} and not exists (select from pg_attribute a
                 where a.attrelid = c.oid and a.attname = 'tenant_id' and a.attnotnull and a.atttypid = 'uuid'::regtype)"
            ),
        ),
        (
            "is not under enabled and forced row-level security",
            format!("select c.relname::text from {tables} and not (c.relrowsecurity and c.relforcerowsecurity)"),
        ),
        (
            "has not exactly the one policy",
            format!(
                "select c.relname::text from {tables} and (select coalesce(array_agg(
                     case when p.polpermissive and p.polcmd = '*' and p.polroles = '{{0}}'
                          and pg_get_expr(p.polqual, p.polrelid) = $1
                          and pg_get_expr(p.polwithcheck, p.polrelid) = $1 then 1 else 0 end), '{{}}')
                 from pg_policy p where p.polrelid = c.oid and p.polpermissive) <> array[1]"
            ),
        ),
        (
            "has no primary key",
            format!(
                "select c.relname::text from {tables}
                 and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)"
            ),
        ),
        (
            "has a primary key or unique index that does not begin with tenant_id",
            format!(
                "select format('%s %s', c.relname, i.indexrelid::regclass) from pg_index i, {tables}
                 and i.indrelid = c.oid and i.indisunique and (select a.attname from pg_attribute a
                     where a.attrelid = c.oid and a.attnum = i.indkey[0]) is distinct from 'tenant_id'"
            ),
        ),
        (
            "has a foreign key that does not begin with tenant_id on both sides",
            format!(
                "select format('%s %s', c.relname, k.conname) from pg_constraint k, {tables}
                 and k.conrelid = c.oid and k.contype = 'f' and (
                     (select a.attname from pg_attribute a where a.attrelid = c.oid and a.attnum = k.conkey[1])
                         is distinct from 'tenant_id'
                     or (select a.attname from pg_attribute a where a.attrelid = k.confrelid and a.attnum = k.confkey[1])
                         is distinct from case when k.confrelid = 'public.tenants'::regclass then 'id' else 'tenant_id' end)"
            ),
        ),
        (
            "does not belong to patchbay_owner",
            "select c.relname::text from pg_class c
             where c.relnamespace in ('public'::regnamespace, 'published'::regnamespace)
               and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and c.relowner <> 'patchbay_owner'::regrole"
                .to_owned(),
        ),
        (
            "grants the application or the reader more than rows",
            "select format('%s: %s to %s', c.relname, a.privilege_type, case a.grantee when 0 then 'public' else a.grantee::regrole::text end)
             from pg_class c, aclexplode(c.relacl) a
             where c.relnamespace in ('public'::regnamespace, 'published'::regnamespace)
               and a.grantee <> c.relowner
               and (a.grantee = 0 or a.privilege_type not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
                    or (a.grantee in ('patchbay_reader'::regrole, 'patchbay_author'::regrole) and a.privilege_type <> 'SELECT')
                    or a.grantee not in ('patchbay_app'::regrole, 'patchbay_sync'::regrole, 'patchbay_reader'::regrole,
                                         'patchbay_author'::regrole, 'patchbay_lookup'::regrole)
                    or a.is_grantable)"
                .to_owned(),
        ),
        (
            "grants a column to somebody for more than reading",
            "select format('%s.%s: %s', c.relname, t.attname, a.privilege_type)
             from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a
             where c.relnamespace in ('public'::regnamespace, 'published'::regnamespace)
               and (a.privilege_type <> 'SELECT'
                    or a.grantee not in ('patchbay_sync'::regrole, 'patchbay_reader'::regrole, 'patchbay_author'::regrole,
                                         'patchbay_lookup'::regrole))
               -- Id and slug of a tenant stay as they are.
               and not (c.relname = 'tenants' and t.attname in ('status', 'suspended_at', 'strict_audit')
                    and a.privilege_type = 'UPDATE' and a.grantee = 'patchbay_app'::regrole)
               -- What claims of all tenants' due work set.
               and not (((c.relname = 'webhook_subscriptions' and t.attname = 'renew_at')
                         or (c.relname = 'sync_schedules' and t.attname in ('next_sync_at', 'next_reconcile_at')))
                    and a.privilege_type = 'UPDATE' and a.grantee = 'patchbay_lookup'::regrole)"
                .to_owned(),
        ),
        (
            "lets somebody create objects or temporary tables",
            "select format('schema %s: %s', n.nspname, r.rolname) from pg_namespace n, pg_roles r
             where n.nspname in ('public', 'published') and has_schema_privilege(r.oid, n.oid, 'create')
               and r.rolname in ('patchbay_app', 'patchbay_sync', 'patchbay_reader', 'patchbay_author', 'patchbay_queue', 'patchbay_lookup',
                                 'patchbay_backup')
             union all
             select format('database: %s', r.rolname) from pg_roles r
             where has_database_privilege(r.oid, current_database(), 'temporary')
               and r.rolname in ('patchbay_app', 'patchbay_sync', 'patchbay_reader', 'patchbay_author', 'patchbay_queue', 'patchbay_lookup')"
                .to_owned(),
        ),
        (
            "is a view with its owner's rights, or keeps rows of its own",
            "select c.relname::text from pg_class c
             where c.relnamespace in ('public'::regnamespace, 'published'::regnamespace)
               and (c.relkind in ('m', 'f') or (c.relkind = 'v'
                    and not coalesce(c.reloptions, '{}') && array['security_invoker=true', 'security_invoker=on']))"
                .to_owned(),
        ),
        (
            "is a SECURITY DEFINER function open to PUBLIC, or without a pinned search_path",
            "select p.oid::regprocedure::text from pg_proc p
             where p.prosecdef and p.pronamespace <> 'graphile_worker'::regnamespace
               and (not coalesce(p.proconfig, '{}') @> array['search_path=pg_catalog, pg_temp']
                    or exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0))"
                .to_owned(),
        ),
        (
            "is a role with wrong attributes",
            "select r.rolname::text from pg_roles r
             where r.rolname like 'patchbay\\_%' and (r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication
                 or r.rolcanlogin <> (r.rolname in ('patchbay_app', 'patchbay_reader', 'patchbay_author', 'patchbay_queue'))
                 or r.rolbypassrls <> (r.rolname in ('patchbay_lookup', 'patchbay_backup')))
             union all
             select format('%s is a member of %s', m.member::regrole, m.roleid::regrole) from pg_auth_members m
             where m.member::regrole::text like 'patchbay\\_%'
               and (m.member, m.roleid) not in (('patchbay_backup'::regrole, 'pg_read_all_data'::regrole),
                                                ('patchbay_app'::regrole, 'patchbay_sync'::regrole))"
                .to_owned(),
        ),
        (
            "lets the application or the reader at people",
            "select format('%s: %s', c.relname, r.rolname) from pg_class c, pg_roles r
             where c.relname in ('users', 'user_identities') and c.relnamespace = 'public'::regnamespace
               and r.rolname in ('patchbay_app', 'patchbay_sync', 'patchbay_reader', 'patchbay_author', 'patchbay_queue')
               and (not c.relrowsecurity or not c.relforcerowsecurity
                    or exists (select from pg_policy p where p.polrelid = c.oid)
                    or has_any_column_privilege(r.oid, c.oid, 'select, insert, update')
                    or has_table_privilege(r.oid, c.oid, 'delete'))"
                .to_owned(),
        ),
        (
            "lacks the second lock of what tenants' templates read",
            "select c.relname::text from pg_class c
             where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
               and has_any_column_privilege('patchbay_author', c.oid, 'select')
               and not exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'author_seal'
                   and not p.polpermissive and p.polcmd = 'r' and p.polroles = array['patchbay_author'::regrole::oid]
                   and regexp_replace(pg_get_expr(p.polqual, p.polrelid), '\\s+', ' ', 'g')
                       = '(tenant_id = ( SELECT sealed_tenant() AS sealed_tenant))')"
                .to_owned(),
        ),
        (
            "is not for tenants' templates to read as it is for the shipped ones",
            "select format('%s.%s', c.relname, a.attname) from pg_class c
             join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
             where c.relnamespace in ('public'::regnamespace, 'published'::regnamespace) and c.relkind in ('r', 'p', 'v')
               and has_column_privilege('patchbay_reader', c.oid, a.attnum, 'select')
                   <> has_column_privilege('patchbay_author', c.oid, a.attnum, 'select')"
                .to_owned(),
        ),
        (
            "shows what seals are made with",
            "select r.rolname::text from pg_roles r
             where r.rolname in ('patchbay_app', 'patchbay_reader', 'patchbay_author', 'patchbay_queue')
               and has_any_column_privilege(r.oid, 'public.template_seal', 'select, insert, update')"
                .to_owned(),
        ),
        (
            "lets the application or the reader into the job queue",
            "select format('%s: %s', c.relname, r.rolname) from pg_class c, pg_roles r
             where c.relnamespace = 'graphile_worker'::regnamespace and c.relkind in ('r', 'v')
               and r.rolname in ('patchbay_app', 'patchbay_reader', 'patchbay_author')
               and has_table_privilege(r.oid, c.oid, 'select, insert, update, delete')"
                .to_owned(),
        ),
    ]
}
