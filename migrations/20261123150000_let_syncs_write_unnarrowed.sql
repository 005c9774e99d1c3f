-- What a sync has read is written by `patchbay_sync`, which the application becomes for these transactions. Nobody is narrowed
-- in them, and planning the narrowing policies of every table a statement names was nine tenths of planning it: a third of
-- what PostgreSQL did for a page of details. Everybody else is narrowed as before, and the tenant's policies hold for all.
do $$
declare
    narrowing record;
begin
    for narrowing in
        select p.polname, p.polrelid::regclass as of_table from pg_policy p
        where not p.polpermissive and p.polname in ('instance_grant', 'project_grant') and p.polroles = '{0}'
    loop
        execute format('alter policy %I on %s to patchbay_app, patchbay_reader, patchbay_author, patchbay_owner',
            narrowing.polname, narrowing.of_table);
    end loop;
end
$$;
