-- Rights in this database and its schemas.
do $$
begin
    execute format('revoke create, temporary on database %I from public', current_database());
    execute format('grant connect on database %I to patchbay_app, patchbay_reader, patchbay_author, patchbay_queue, patchbay_backup',
        current_database());
    -- The migrations make the schema `published`, the queue its own.
    execute format('grant create on database %I to patchbay_owner, patchbay_queue', current_database());
end
$$;
revoke create on schema public from public;
grant usage, create on schema public to patchbay_owner;
grant usage on schema public
    to patchbay_app, patchbay_sync, patchbay_reader, patchbay_author, patchbay_queue, patchbay_lookup;
