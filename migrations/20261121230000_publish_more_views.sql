-- What the shipped templates read beside items: links, histories, comments, runs; and a calendar, so that days on which
-- nothing happened are there.

-- Looking an item up by what people call it, and what hangs below or points at it.
create index work_items_key on work_items (tenant_id, source_key);
create index work_items_parent on work_items (tenant_id, parent_ref_key) where parent_ref_key is not null;
create index links_to on links (tenant_id, to_ref_key) where to_ref_key is not null;
create index links_blocking on links (tenant_id, item_ref_key) where type_norm in ('blocks', 'blocked_by');
-- Open items by how long nothing happened to them.
create index work_items_open on work_items (tenant_id, updated_at)
    where deleted_at is null and status_norm in ('todo', 'in_progress');
-- What was made and what was completed in a time.
create index work_items_created on work_items (tenant_id, created_at) where deleted_at is null;
create index work_item_transitions_done on work_item_transitions (tenant_id, at) where to_norm = 'done';
-- Few: the items that links point at in vain.
create index work_items_gone on work_items (tenant_id, ref_key) where deleted_at is not null;

grant select (parent_ref_key) on work_items to patchbay_reader;
create or replace view published.work_items with (security_invoker = true) as
    select tenant_id, id, instance_id, source, source_key, project_key, type_norm as type, type_original,
           status_norm as status, status_original, resolution_original, priority_norm as priority,
           priority_original, title, body, assignee, assignees, reporter, labels, milestone, due_on, url,
           custom_fields, created_at, updated_at, resolved_at, ref_key, status_category, start_on, story_points,
           estimate_s, spent_s, remaining_s, parent_ref_key
    from public.work_items where deleted_at is null;

-- Without those to items that are gone: like items that are not synced, they would be shown by their key alone.
create view published.links with (security_invoker = true) as
    select l.tenant_id, l.instance_id, l.item_ref_key, l.type_norm as type, l.type_original, l.to_ref_key, l.to_key,
           l.to_url
    from public.links l
    where not exists (
        select from public.work_items w
        where w.tenant_id = l.tenant_id and w.instance_id = l.instance_id and w.ref_key = l.to_ref_key
          and w.deleted_at is not null);
create view published.changes with (security_invoker = true) as
    select tenant_id, instance_id, item_ref_key, at, actor, field, from_value, to_value
    from public.work_item_changes;
create view published.comments with (security_invoker = true) as
    select tenant_id, instance_id, item_ref_key, kind, author, body, url, created_at, updated_at
    from public.comments;
create view published.runs with (security_invoker = true) as
    select tenant_id, id, instance_id, kind, state, upserted, failed, error_code, error_hint, created_at, started_at,
           finished_at
    from public.sync_runs;
-- Items that were received and could not be stored. Not what was received: it is of any project.
create view published.dead_letters with (security_invoker = true) as
    select tenant_id, instance_id, run_id, stream, source_id, error, created_at
    from public.sync_dead_letters;

grant select (tenant_id, instance_id, item_ref_key, type_norm, type_original, to_ref_key, to_key, to_url)
    on links to patchbay_reader;
grant select (tenant_id, instance_id, item_ref_key, at, actor, field, from_value, to_value)
    on work_item_changes to patchbay_reader;
grant select (tenant_id, instance_id, item_ref_key, kind, author, body, url, created_at, updated_at)
    on comments to patchbay_reader;
grant select (tenant_id, id, instance_id, kind, state, upserted, failed, error_code, error_hint, created_at, started_at,
              finished_at)
    on sync_runs to patchbay_reader;
grant select (tenant_id, instance_id, run_id, stream, source_id, error, created_at)
    on sync_dead_letters to patchbay_reader;
grant select on published.links, published.changes, published.comments, published.runs, published.dead_letters
    to patchbay_reader;

-- Days as they are in UTC, newest last: five years back and today. Nobody's data, so it has no tenant.
create view published.calendar with (security_invoker = true) as
    select day::date as day, date_trunc('week', day)::date as week
    from generate_series(
        date_trunc('week', (now() at time zone 'UTC') - interval '260 weeks'),
        (now() at time zone 'UTC'), interval '1 day') as day;
grant select on published.calendar to patchbay_reader;
