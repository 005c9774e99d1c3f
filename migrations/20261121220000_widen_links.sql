-- Two items may be linked more than once: "relates to" in both directions in Jira, connected and cross-referenced in GitHub.
-- Each is a link of its own, told apart by the source's word and, where the source has one, by the link's own id. A worker
-- of the version before cannot write links from here on: its page fails whole and is read again by one of this version.
alter table links add column source_id text not null default '';
alter table links drop constraint links_pkey;
alter table links add primary key (tenant_id, instance_id, item_ref_key, type_norm, to_key, type_original, source_id);
