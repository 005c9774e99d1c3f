-- What a page of items told already of what is read item by item later: then only the rest is asked for. Null where
-- nothing is noted, as for what waits since before.
alter table work_item_details_pending add column noted jsonb;
