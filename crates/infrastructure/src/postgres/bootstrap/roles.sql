-- The roles of Patchbay. They belong to the whole cluster, so this runs beside other databases doing the same:
-- it changes only what differs, and the caller repeats it when two collide.
do $$
declare
    administrator_is_superuser boolean :=
        (select rolsuper from pg_catalog.pg_roles where rolname = current_user);
    wanted record;
    found_role record;
    setting record;
begin
    for wanted in
        select * from (values
            -- Owns the tables. Nobody logs in as it: only `patchbay migrate` becomes it.
            ('patchbay_owner', false, false),
            -- API, MCP and workers.
            ('patchbay_app', true, false),
            -- What the application becomes while it writes what a sync has read: no key's narrowing is planned for it.
            ('patchbay_sync', false, false),
            -- SQL templates.
            ('patchbay_reader', true, false),
            -- SQL templates that tenants write.
            ('patchbay_author', true, false),
            -- Owns the job queue.
            ('patchbay_queue', true, false),
            -- Owns the few functions that look across tenants.
            ('patchbay_lookup', false, true),
            -- For dumps: an operator grants it to a login.
            ('patchbay_backup', false, true)
        ) as roles (name, can_login, bypasses_rls)
    loop
        select * into found_role from pg_catalog.pg_roles where rolname = wanted.name;
        if not found then
            begin
                execute format('create role %I nosuperuser nocreatedb nocreaterole noreplication %s %s', wanted.name,
                    case when wanted.can_login then 'login' else 'nologin' end,
                    case when wanted.bypasses_rls then 'bypassrls' else '' end);
            exception when duplicate_object or unique_violation then
                null;
            end;
        elsif found_role.rolsuper or found_role.rolcreatedb or found_role.rolcreaterole or found_role.rolreplication
            or found_role.rolcanlogin <> wanted.can_login or found_role.rolbypassrls <> wanted.bypasses_rls
        then
            execute format('alter role %I nosuperuser nocreatedb nocreaterole noreplication %s %s', wanted.name,
                case when wanted.can_login then 'login' else 'nologin' end,
                case when wanted.bypasses_rls then 'bypassrls' else 'nobypassrls' end);
        end if;
    end loop;

    for setting in
        select * from (values
            ('patchbay_reader', 'search_path', 'published, public'),
            ('patchbay_reader', 'default_transaction_read_only', 'on'),
            ('patchbay_reader', 'statement_timeout', '5s'),
            ('patchbay_reader', 'lock_timeout', '500ms'),
            ('patchbay_reader', 'idle_in_transaction_session_timeout', '10s'),
            ('patchbay_reader', 'temp_file_limit', '64MB'),
            ('patchbay_author', 'search_path', 'published, public'),
            ('patchbay_author', 'default_transaction_read_only', 'on'),
            ('patchbay_author', 'statement_timeout', '5s'),
            ('patchbay_author', 'lock_timeout', '500ms'),
            ('patchbay_author', 'idle_in_transaction_session_timeout', '10s'),
            ('patchbay_author', 'temp_file_limit', '64MB'),
            ('patchbay_app', 'lock_timeout', '30s'),
            ('patchbay_app', 'idle_in_transaction_session_timeout', '60s')
        ) as settings (role, name, value)
    loop
        if not exists (
            select from pg_catalog.pg_roles
            where rolname = setting.role
              and rolconfig @> array[format('%s=%s', setting.name, setting.value)]
        ) then
            begin
                execute case setting.name
                    -- A list: quoting it as one word would name one schema.
                    when 'search_path' then format('alter role %I set search_path = %s', setting.role, setting.value)
                    else format('alter role %I set %I = %L', setting.role, setting.name, setting.value)
                end;
            exception when insufficient_privilege then
                -- temp_file_limit belongs to superusers; check_server() reports it.
                null;
            end;
        end if;
    end loop;

    if not pg_catalog.pg_has_role('patchbay_app', 'patchbay_sync', 'member') then
        grant patchbay_sync to patchbay_app;
    end if;
    -- An administrator who is no superuser becomes these roles by membership.
    if not administrator_is_superuser then
        grant patchbay_owner, patchbay_queue, patchbay_lookup to current_user;
    end if;
    if not pg_catalog.pg_has_role('patchbay_backup', 'pg_read_all_data', 'member') then
        begin
            grant pg_read_all_data to patchbay_backup;
        exception when insufficient_privilege then
            null;
        end;
    end if;
end
$$;
