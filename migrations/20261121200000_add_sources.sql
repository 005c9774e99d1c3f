-- Three trackers at full depth: boards, sprints and when items were in them, time booked, custom fields; how an instance's
-- words are read; webhooks and schedules; credentials that are renewed.

alter table work_items
    add column status_category text,
    add column start_on date,
    add column story_points double precision,
    add column estimate_s bigint,
    add column spent_s bigint,
    add column remaining_s bigint,
    -- What the adapter's own rules say, where a mapping of the instance says otherwise.
    add column status_default text
        check (status_default in ('todo', 'in_progress', 'done', 'cancelled', 'unknown')),
    add column type_default text check (type_default in
        ('epic', 'story', 'task', 'subtask', 'bug', 'feature', 'pull_request', 'milestone', 'other')),
    add column priority_default text check (priority_default in ('urgent', 'high', 'normal', 'low', 'none'));
alter table work_item_transitions
    add column from_default text,
    add column to_default text check (to_default in ('todo', 'in_progress', 'done', 'cancelled', 'unknown'));
alter table work_items drop constraint work_items_delete_reason_check;
alter table work_items add constraint work_items_delete_reason_check
    check (delete_reason in ('deleted', 'transferred', 'archived'));
-- Items of a project in the order of their ids at the source: what a comparison walks through.
create index work_items_project_source on work_items (tenant_id, project_source_id, source_id);
grant select (status_category, start_on, story_points, estimate_s, spent_s, remaining_s) on work_items to patchbay_reader;

-- Projects that hold an item beside its own, and its section in each.
create table work_item_homes (
    tenant_id uuid not null,
    work_item_id uuid not null,
    project_source_id text not null,
    project_key text not null,
    section text,
    -- As with labels no foreign key: items are removed with their instance only.
    primary key (tenant_id, work_item_id, project_source_id)
);

create table boards (
    tenant_id uuid not null,
    instance_id uuid not null,
    source_id text not null,
    name text not null,
    kind text not null check (kind in ('scrum', 'kanban', 'other')),
    project_source_id text,
    url text,
    synced_at timestamptz not null,
    primary key (tenant_id, instance_id, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);

create table sprints (
    tenant_id uuid not null,
    instance_id uuid not null,
    source_id text not null,
    board_source_id text,
    name text not null,
    goal text,
    state text not null check (state in ('future', 'active', 'closed')),
    start_at timestamptz,
    end_at timestamptz,
    completed_at timestamptz,
    synced_at timestamptz not null,
    primary key (tenant_id, instance_id, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);

-- From when until when an item was in a sprint. Intervals, so that what was committed at the start, added and removed
-- later, can be told apart.
create table sprint_memberships (
    tenant_id uuid not null,
    instance_id uuid not null,
    item_ref_key text not null,
    sprint_source_id text not null,
    added_at timestamptz not null,
    removed_at timestamptz,
    from_history boolean not null,
    check (removed_at is null or removed_at >= added_at),
    primary key (tenant_id, instance_id, item_ref_key, sprint_source_id, added_at),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create index sprint_memberships_sprint on sprint_memberships (tenant_id, sprint_source_id, added_at);

create table worklogs (
    tenant_id uuid not null,
    instance_id uuid not null,
    source_id text not null,
    item_ref_key text not null,
    author text,
    author_source_id text,
    started_at timestamptz not null,
    seconds bigint not null,
    comment text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    synced_at timestamptz not null,
    primary key (tenant_id, instance_id, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create index worklogs_item on worklogs (tenant_id, item_ref_key, started_at);

create table custom_fields (
    tenant_id uuid not null,
    instance_id uuid not null,
    source_id text not null,
    name text not null,
    field_type text not null,
    synced_at timestamptz not null,
    primary key (tenant_id, instance_id, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);

-- How an instance's words are read, where that is not the default.
create table status_map (
    tenant_id uuid not null,
    instance_id uuid not null,
    original text not null,
    norm text not null check (norm in ('todo', 'in_progress', 'done', 'cancelled', 'unknown')),
    primary key (tenant_id, instance_id, original),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create table resolution_map (
    tenant_id uuid not null,
    instance_id uuid not null,
    original text not null,
    norm text not null check (norm in ('todo', 'in_progress', 'done', 'cancelled', 'unknown')),
    primary key (tenant_id, instance_id, original),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create table type_map (
    tenant_id uuid not null,
    instance_id uuid not null,
    original text not null,
    norm text not null check (norm in
        ('epic', 'story', 'task', 'subtask', 'bug', 'feature', 'pull_request', 'milestone', 'other')),
    primary key (tenant_id, instance_id, original),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create table priority_map (
    tenant_id uuid not null,
    instance_id uuid not null,
    original text not null,
    norm text not null check (norm in ('urgent', 'high', 'normal', 'low', 'none')),
    primary key (tenant_id, instance_id, original),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create table field_map (
    tenant_id uuid not null,
    instance_id uuid not null,
    source_id text not null,
    role text not null check (role in
        ('story_points', 'start_on', 'due_on', 'status', 'priority', 'type', 'sprint')),
    primary key (tenant_id, instance_id, source_id),
    unique (tenant_id, instance_id, role),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
-- The version goes up with each change of the mappings. One that was changed while a run was under way is followed by a
-- run that maps what is stored anew, as soon as that one has ended.
alter table source_instances
    add column mapping_version integer not null default 1,
    add column remap_due boolean not null default false;

-- A credential that is renewed: the version says whether somebody else renewed it meanwhile.
alter table credentials
    add column version bigint not null default 1,
    -- What came of the last try: the provider refused, or it is not known whether it answered.
    add column refresh_state text not null default 'ok' check (refresh_state in ('ok', 'unknown', 'refused')),
    add column refreshed_at timestamptz;

-- One for each instance. The token is the unguessable part of the address that deliveries are sent to; only its digest
-- is kept in the open, as it is looked up before the tenant is known.
create table webhook_subscriptions (
    tenant_id uuid not null,
    instance_id uuid not null,
    token_digest bytea not null check (length(token_digest) = 32),
    -- The token and the secrets, newest first, sealed.
    sealed bytea not null,
    -- How it came about: by us, or by an admin at the tracker.
    managed boolean not null,
    state text not null check (state in ('pending', 'active', 'failing')),
    remote jsonb,
    expires_at timestamptz,
    renew_at timestamptz,
    -- A registration is under way: until then the tracker may tell its own secret.
    handshake_until timestamptz,
    problem text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    last_delivery_at timestamptz,
    primary key (tenant_id, instance_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create index webhook_subscriptions_token on webhook_subscriptions (token_digest);
create index webhook_subscriptions_renew on webhook_subscriptions (renew_at) where renew_at is not null;

create table webhook_deliveries (
    tenant_id uuid not null,
    id uuid not null,
    instance_id uuid not null,
    delivery_id text not null,
    event text not null,
    hints jsonb not null,
    received_at timestamptz not null,
    -- Applied, or found to hold nothing to apply.
    applied_at timestamptz,
    attempts integer not null default 0,
    -- After a failure: not before this moment again.
    retry_at timestamptz,
    problem text,
    primary key (tenant_id, id),
    unique (tenant_id, instance_id, delivery_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create index webhook_deliveries_open on webhook_deliveries (tenant_id, instance_id, received_at) where applied_at is null;
create index webhook_deliveries_received on webhook_deliveries (tenant_id, received_at);

create table sync_schedules (
    tenant_id uuid not null,
    instance_id uuid not null,
    paused boolean not null default false,
    interval_s integer not null check (interval_s between 60 and 86400),
    reconcile_at time,
    jitter_percent smallint not null check (jitter_percent between 0 and 50),
    next_sync_at timestamptz,
    next_reconcile_at timestamptz,
    updated_at timestamptz not null,
    primary key (tenant_id, instance_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create index sync_schedules_due on sync_schedules (next_sync_at) where not paused;
create index sync_schedules_reconcile on sync_schedules (next_reconcile_at) where not paused;

alter table sync_runs drop constraint sync_runs_kind_check;
alter table sync_runs add constraint sync_runs_kind_check
    check (kind in ('backfill', 'incremental', 'reconcile', 'remap'));
-- An admin has confirmed that many items are gone: the guard lets this run mark them.
alter table sync_runs add column confirm_removals boolean not null default false;
-- Projects that the run gave up, and why.
alter table sync_runs add column skipped jsonb not null default '[]';

-- Ids seen by a comparison that is under way. Of one run; emptied at its end.
create table sync_seen_ids (
    tenant_id uuid not null,
    instance_id uuid not null,
    project_source_id text not null,
    source_id text not null,
    source_key text,
    updated_at timestamptz,
    primary key (tenant_id, instance_id, project_source_id, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);

do $$
declare
    name text;
    every_instance text := '(select coalesce(current_setting(''app.allowed_instances'', true), '''') = '''')';
    every_project text := '(select coalesce(current_setting(''app.allowed_projects'', true), '''') = '''')';
    instance text := every_instance || ' or %s = any'
        ' ((select string_to_array(current_setting(''app.allowed_instances'', true), '','')::uuid[])::uuid[])';
    hanging text := '%s or exists (%s)';
begin
    foreach name in array array[
        'work_item_homes', 'boards', 'sprints', 'sprint_memberships', 'worklogs', 'custom_fields', 'status_map',
        'resolution_map', 'type_map', 'priority_map', 'field_map', 'webhook_subscriptions', 'webhook_deliveries',
        'sync_schedules', 'sync_seen_ids'
    ] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format(
            'create policy tenant_isolation on %I'
            ' using (tenant_id = nullif(current_setting(''app.current_tenant_id'', true), '''')::uuid)'
            ' with check (tenant_id = nullif(current_setting(''app.current_tenant_id'', true), '''')::uuid)', name);
        execute format('grant select, insert, update, delete on %I to patchbay_app', name);
    end loop;
    foreach name in array array[
        'boards', 'sprints', 'sprint_memberships', 'worklogs', 'custom_fields', 'status_map', 'resolution_map',
        'type_map', 'priority_map', 'field_map', 'webhook_subscriptions', 'webhook_deliveries', 'sync_schedules',
        'sync_seen_ids'
    ] loop
        execute format('create policy instance_grant on %I as restrictive using (%s)', name,
            format(instance, 'instance_id'));
    end loop;
    foreach name in array array['sprint_memberships', 'worklogs'] loop
        execute format('create policy project_grant on %I as restrictive using (%s)', name,
            format(hanging, every_project, format(
                'select from work_items w where w.tenant_id = %1$I.tenant_id and w.instance_id = %1$I.instance_id'
                ' and w.ref_key = %1$I.item_ref_key', name)));
    end loop;
    execute format('create policy project_grant on sync_seen_ids as restrictive using (%s)',
        format(hanging, every_project,
            'select from projects p where p.tenant_id = sync_seen_ids.tenant_id'
            ' and p.instance_id = sync_seen_ids.instance_id and p.source_id = sync_seen_ids.project_source_id'));
    -- Of which project they are is not known, or they are of several; deliveries hold ids of any.
    foreach name in array array['boards', 'sprints', 'webhook_deliveries', 'webhook_subscriptions'] loop
        execute format('create policy project_grant on %I as restrictive using (%s)', name, every_project);
    end loop;
    execute format('create policy project_grant on work_item_homes as restrictive using (%s)',
        format(hanging, '(select coalesce(current_setting(''app.allowed_projects'', true), '''') = '''''
            ' and coalesce(current_setting(''app.allowed_instances'', true), '''') = '''')',
            'select from work_items w where w.tenant_id = work_item_homes.tenant_id'
            ' and w.id = work_item_homes.work_item_id'));
end
$$;

-- What SQL templates may read of it. Who may see nothing of a project sees no sprint either: sprints are of several.
create or replace view published.work_items with (security_invoker = true) as
    select tenant_id, id, instance_id, source, source_key, project_key, type_norm as type, type_original,
           status_norm as status, status_original, resolution_original, priority_norm as priority,
           priority_original, title, body, assignee, assignees, reporter, labels, milestone, due_on, url,
           custom_fields, created_at, updated_at, resolved_at, ref_key, status_category, start_on, story_points,
           estimate_s, spent_s, remaining_s
    from public.work_items where deleted_at is null;
create view published.boards with (security_invoker = true) as
    select tenant_id, instance_id, source_id, name, kind, url from public.boards;
create view published.sprints with (security_invoker = true) as
    select tenant_id, instance_id, source_id, board_source_id, name, goal, state, start_at, end_at, completed_at
    from public.sprints;
create view published.sprint_memberships with (security_invoker = true) as
    select tenant_id, instance_id, item_ref_key, sprint_source_id, added_at, removed_at, from_history
    from public.sprint_memberships;
create view published.worklogs with (security_invoker = true) as
    select tenant_id, instance_id, source_id, item_ref_key, author, started_at, seconds, comment, updated_at
    from public.worklogs;
grant select (tenant_id, instance_id, source_id, name, kind, url) on boards to patchbay_reader;
grant select (tenant_id, instance_id, source_id, board_source_id, name, goal, state, start_at, end_at, completed_at)
    on sprints to patchbay_reader;
grant select (tenant_id, instance_id, item_ref_key, sprint_source_id, added_at, removed_at, from_history)
    on sprint_memberships to patchbay_reader;
grant select (tenant_id, instance_id, source_id, item_ref_key, author, started_at, seconds, comment, updated_at)
    on worklogs to patchbay_reader;
grant select on published.boards, published.sprints, published.sprint_memberships, published.worklogs
    to patchbay_reader;
