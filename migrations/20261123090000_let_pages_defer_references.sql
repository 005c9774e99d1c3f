-- Lets a page check the keys of all its rows together, right before its commit. Row by row the server plans each check anew
-- under force_custom_plan, which the statements of a page need: 54 instead of 9 us a row. Every other transaction checks at
-- once, as before.
do $$
declare
    reference record;
begin
    for reference in
        select conrelid::regclass as referring, conname as name
        from pg_constraint
        where contype = 'f' and confrelid = 'source_instances'::regclass
    loop
        execute format('alter table %s alter constraint %I deferrable initially immediate',
            reference.referring, reference.name);
    end loop;
end
$$;
