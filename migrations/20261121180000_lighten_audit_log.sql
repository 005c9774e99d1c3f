-- Nearly all of the record is reads, and each costs its caller what its indexes cost. The record is stored in the order of
-- time, so block ranges find a time as well as a tree does, at a tenth of the price; a bloom filter for each range finds
-- whoever did little among those who did much.
drop index audit_log_at;
drop index audit_log_principal;
create index audit_log_ranges on audit_log
    using brin (at timestamptz_minmax_ops, principal_id uuid_bloom_ops) with (autosummarize = on);
