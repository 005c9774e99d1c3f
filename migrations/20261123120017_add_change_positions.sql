-- Where an item stands in the order of changes: the transaction that added it and the one that changed it last. What is
-- below the oldest unfinished transaction is complete, whatever commits late, so that readers who go on from a position
-- skip nothing. As bigint, whose comparisons use indexes under row-level security.
alter table work_items
    add column added_in bigint not null default (pg_current_xact_id()::text::bigint),
    add column changed_in bigint not null default (pg_current_xact_id()::text::bigint);
-- Not led by the instance, for the reason that work_items_ref is not.
create index work_items_changed on work_items (tenant_id, changed_in, id);
