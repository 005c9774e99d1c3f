-- What every role may do on a fresh server and the reader must not: change the tenant setting from inside a
-- SELECT, run SQL held in a string, take locks, talk to other sessions, sleep, see what others run. Needs a
-- superuser: the objects are the server's own.
--
-- PostgreSQL grants these to PUBLIC, so they are revoked from PUBLIC in this database and given back to the roles
-- that use them.
do $$
declare
    object record;
begin
    for object in
        select p.oid::regprocedure as name
        from pg_catalog.pg_proc p
        where p.pronamespace = 'pg_catalog'::regnamespace
          and p.proname ~ (
              '^(set_config|pg_advisory_.*|pg_try_advisory_.*|pg_notify|pg_sleep.*'
              '|(query|table|schema|cursor|database)_to_xml.*|ts_stat|lo_.*|loread|lowrite'
              '|pg_export_snapshot|pg_logical_emit_message|pg_current_xact_id.*|txid_current.*'
              '|pg_terminate_backend|pg_cancel_backend|pg_read_.*|pg_ls_.*|pg_stat_file'
              '|pg_stat_get_activity|pg_stat_get_backend_.*|pg_stat_get_wal_senders|pg_blocking_pids'
              '|pg_safe_snapshot_blocking_pids|pg_show_all_file_settings|pg_log_backend_memory_contexts)$')
           or p.oid = 'pg_catalog.ts_rewrite(tsquery, text)'::regprocedure
    loop
        if exists (
            select from pg_catalog.pg_proc p, pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
            where p.oid = object.name::oid and a.grantee = 0
        ) then
            execute format('revoke execute on function %s from public', object.name);
        end if;
    end loop;

    -- pg_dump and the queue's own migrations set settings; the application uses SET LOCAL and does not.
    grant execute on function pg_catalog.set_config(text, text, boolean)
        to patchbay_owner, patchbay_queue, patchbay_backup;
    for object in
        select p.oid::regprocedure as name
        from pg_catalog.pg_proc p
        where p.pronamespace = 'pg_catalog'::regnamespace
          and p.proname ~ '^(pg_advisory_.*|pg_try_advisory_.*|pg_notify|pg_current_xact_id.*|txid_current.*)$'
          and not pg_catalog.has_function_privilege('patchbay_app', p.oid, 'execute')
    loop
        execute format('grant execute on function %s to patchbay_owner, patchbay_app, patchbay_queue', object.name);
    end loop;
    grant execute on function pg_catalog.pg_export_snapshot() to patchbay_backup;
    -- A changed item notes the transaction it was changed in.
    grant execute on function pg_catalog.pg_current_xact_id() to patchbay_sync;

    -- Other sessions' statements, other tenants' row counts and column values.
    for object in
        select c.oid::regclass as name
        from pg_catalog.pg_class c
        where c.relnamespace = 'pg_catalog'::regnamespace
          and c.relkind = 'v'
          and c.relname ~ '^pg_(stat.*|locks|prepared_xacts|file_settings|shmem_allocations)$'
          and pg_catalog.has_table_privilege('patchbay_reader', c.oid, 'select')
    loop
        execute format('revoke select on %s from public', object.name);
        execute format('grant select on %s to pg_monitor', object.name);
    end loop;
    -- An UPDATE of it is a set_config().
    revoke update on pg_catalog.pg_settings from public;

    -- DO would run SET LOCAL.
    revoke usage on language plpgsql from public;
    grant usage on language plpgsql to patchbay_owner, patchbay_queue;
end
$$;
