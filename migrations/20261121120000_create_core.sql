-- The first schema: tenants and keys, instances and their credentials, normalized work items, runs.
-- Every tenant table has tenant_id first in each key, forced row-level security and one policy, so that a
-- missing filter in a statement shows nothing rather than everything. Only leakproof operators (=, <, > on
-- uuid, text, timestamptz, bool) can use an index under row-level security: hence text with CHECK instead
-- of enums, and labels in a child table.

create table tenants (
    id uuid primary key,
    slug text not null unique check (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    created_at timestamptz not null default now()
);

-- Secrets of the installation (the pepper of API keys), wrapped by the master key. No tenant's data.
create table deployment_secrets (
    name text primary key,
    sealed bytea not null,
    created_at timestamptz not null default now()
);

create table tenant_data_keys (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null,
    kek_id text not null,
    wrapped bytea not null,
    created_at timestamptz not null default now(),
    -- Since then it only opens what it has sealed.
    retired_at timestamptz,
    primary key (tenant_id, id)
);
-- One to seal with: of several processes that make a tenant's first key at once, one wins.
create unique index tenant_data_keys_current on tenant_data_keys (tenant_id) where retired_at is null;

create table api_keys (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null,
    public_id text not null,
    mac bytea not null check (length(mac) = 32),
    name text not null,
    kind text not null check (kind in ('admin', 'assistant')),
    scopes text[] not null check (cardinality(scopes) > 0),
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    primary key (tenant_id, id),
    unique (tenant_id, public_id)
);
create index api_keys_public_id on api_keys (public_id);

create table source_instances (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null,
    slug text not null,
    source text not null,
    name text not null,
    base_url text not null,
    settings jsonb not null,
    status text not null check (status in ('active', 'paused', 'reconnect_required')),
    created_at timestamptz not null,
    updated_at timestamptz not null,
    -- Freshness, moved by runs.
    synced_at timestamptz,
    backfilled_at timestamptz,
    primary key (tenant_id, id),
    unique (tenant_id, slug)
);

create table credentials (
    tenant_id uuid not null,
    instance_id uuid not null,
    sealed bytea not null,
    updated_at timestamptz not null default now(),
    primary key (tenant_id, instance_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);

create table projects (
    tenant_id uuid not null,
    id uuid not null,
    instance_id uuid not null,
    source_id text not null,
    key text not null,
    name text not null,
    url text not null,
    archived boolean not null default false,
    content_hash bytea not null,
    synced_at timestamptz not null,
    primary key (tenant_id, id),
    unique (tenant_id, instance_id, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);

create table source_users (
    tenant_id uuid not null,
    instance_id uuid not null,
    source_id text not null,
    login text not null,
    name text,
    kind text not null check (kind in ('person', 'bot', 'group')),
    -- When the login was in use for sure: old objects may mention a user by an earlier one.
    as_of timestamptz not null,
    synced_at timestamptz not null,
    primary key (tenant_id, instance_id, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);

create table labels (
    tenant_id uuid not null,
    instance_id uuid not null,
    project_source_id text not null,
    source_id text not null,
    name text not null,
    color text,
    description text,
    synced_at timestamptz not null,
    primary key (tenant_id, instance_id, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);

create table milestones (
    tenant_id uuid not null,
    instance_id uuid not null,
    project_source_id text not null,
    source_id text not null,
    title text not null,
    description text,
    state text not null check (state in ('open', 'closed')),
    due_on date,
    url text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    closed_at timestamptz,
    synced_at timestamptz not null,
    primary key (tenant_id, instance_id, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);

create table work_items (
    tenant_id uuid not null,
    id uuid not null,
    instance_id uuid not null,
    source text not null,
    source_id text not null,
    -- How other objects of the source point at this item (GitHub: repository id # number).
    ref_key text not null,
    source_key text not null,
    project_source_id text not null,
    project_key text not null,
    type_norm text not null check (type_norm in
        ('epic', 'story', 'task', 'subtask', 'bug', 'feature', 'pull_request', 'milestone', 'other')),
    type_original text not null,
    status_norm text not null check (status_norm in ('todo', 'in_progress', 'done', 'cancelled', 'unknown')),
    status_original text not null,
    resolution_original text,
    priority_norm text not null check (priority_norm in ('urgent', 'high', 'normal', 'low', 'none')),
    priority_original text,
    title text not null,
    body text,
    assignee text,
    assignees text[] not null default '{}',
    assignee_source_ids text[] not null default '{}',
    reporter text,
    reporter_source_id text,
    labels text[] not null default '{}',
    milestone text,
    milestone_source_id text,
    parent_ref_key text,
    due_on date,
    url text not null,
    custom_fields jsonb not null default '{}',
    created_at timestamptz not null,
    updated_at timestamptz not null,
    resolved_at timestamptz,
    content_hash bytea not null,
    synced_at timestamptz not null,
    deleted_at timestamptz,
    delete_reason text check (delete_reason in ('deleted', 'transferred')),
    delete_proof text,
    -- Written out STORED: PostgreSQL 18 changed the default. A bounded part of the body keeps ingest fast.
    search tsvector not null generated always as
        (to_tsvector('english', left(title, 500) || ' ' || left(coalesce(body, ''), 400))) stored,
    primary key (tenant_id, id),
    unique (tenant_id, instance_id, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
-- Not led by (tenant_id, instance_id) as the unique key is: before a table's first ANALYZE the planner takes any index
-- with that prefix for as good as the key, and would read the whole instance for each page of a backfill.
create index work_items_ref on work_items (tenant_id, ref_key);
create index work_items_project on work_items (tenant_id, project_key, status_norm, updated_at desc, id)
    where deleted_at is null;
-- Both downwards, so that a keyset page reads just its rows.
create index work_items_updated on work_items (tenant_id, updated_at desc, id desc);
create index work_items_resolved on work_items (tenant_id, project_key, resolved_at)
    where resolved_at is not null and deleted_at is null;
-- Read only by search_work_item_ids(): @@ is not leakproof.
create index work_items_search on work_items using gin (search) with (fastupdate = on);

create table work_item_labels (
    tenant_id uuid not null,
    work_item_id uuid not null,
    label text not null,
    -- No foreign key: checking it for each label costs a backfill more than writing the labels. Items are removed
    -- with their instance only, which takes the labels along (postgres/instances.rs).
    primary key (tenant_id, work_item_id, label)
);
create index work_item_labels_label on work_item_labels (tenant_id, label, work_item_id);

-- The latest object as received, so that a mapping can change without asking the tracker again. json, not
-- jsonb: kept as it came, and never queried inside.
create table raw_objects (
    tenant_id uuid not null,
    instance_id uuid not null,
    stream text not null,
    source_id text not null,
    payload json compression lz4 not null,
    fetched_at timestamptz not null,
    primary key (tenant_id, instance_id, stream, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);

-- Items that changed and whose details (history, reviews) are still to be read. Written with the item and
-- removed with its details, so a crash in between loses nothing.
create table work_item_details_pending (
    tenant_id uuid not null,
    instance_id uuid not null,
    work_item_id uuid not null,
    entered_at timestamptz not null,
    primary key (tenant_id, instance_id, work_item_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);

create table comments (
    tenant_id uuid not null,
    id uuid not null,
    instance_id uuid not null,
    kind text not null check (kind in ('comment', 'review_comment')),
    source_id text not null,
    item_ref_key text not null,
    author text,
    author_source_id text,
    body text not null,
    url text not null,
    path text,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    content_hash bytea not null,
    synced_at timestamptz not null,
    primary key (tenant_id, id),
    unique (tenant_id, instance_id, kind, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create index comments_item on comments (tenant_id, item_ref_key, created_at);

create table work_item_transitions (
    tenant_id uuid not null,
    instance_id uuid not null,
    source_id text not null,
    item_ref_key text not null,
    at timestamptz not null,
    actor text,
    from_original text,
    from_norm text,
    to_original text not null,
    to_norm text not null check (to_norm in ('todo', 'in_progress', 'done', 'cancelled', 'unknown')),
    primary key (tenant_id, instance_id, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create index work_item_transitions_item on work_item_transitions (tenant_id, item_ref_key, at);

create table work_item_changes (
    tenant_id uuid not null,
    instance_id uuid not null,
    source_id text not null,
    item_ref_key text not null,
    at timestamptz not null,
    actor text,
    field text not null,
    from_value text,
    to_value text,
    primary key (tenant_id, instance_id, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create index work_item_changes_item on work_item_changes (tenant_id, item_ref_key, at);

create table links (
    tenant_id uuid not null,
    instance_id uuid not null,
    item_ref_key text not null,
    type_norm text not null check (type_norm in
        ('blocks', 'blocked_by', 'relates', 'duplicates', 'parent_of', 'child_of', 'mentions', 'other')),
    type_original text not null,
    to_ref_key text,
    to_key text not null,
    to_url text not null,
    synced_at timestamptz not null,
    primary key (tenant_id, instance_id, item_ref_key, type_norm, to_key),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);

create table pull_requests (
    tenant_id uuid not null,
    instance_id uuid not null,
    item_ref_key text not null,
    source_id text not null,
    draft boolean not null,
    head_ref text not null,
    base_ref text not null,
    merged_at timestamptz,
    merged_by text,
    merge_sha text,
    additions bigint not null,
    deletions bigint not null,
    changed_files bigint not null,
    commits bigint not null,
    requested_reviewers text[] not null default '{}',
    synced_at timestamptz not null,
    primary key (tenant_id, instance_id, item_ref_key),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);

create table reviews (
    tenant_id uuid not null,
    instance_id uuid not null,
    source_id text not null,
    item_ref_key text not null,
    author text,
    author_source_id text,
    state text not null,
    body text,
    submitted_at timestamptz,
    synced_at timestamptz not null,
    primary key (tenant_id, instance_id, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create index reviews_item on reviews (tenant_id, item_ref_key);

create table work_item_metrics_daily (
    tenant_id uuid not null,
    instance_id uuid not null,
    project_key text not null,
    day date not null,
    created bigint not null,
    completed bigint not null,
    cancelled bigint not null,
    reopened bigint not null,
    -- Hours from creation to completion, summed over the items completed that day.
    lead_time_hours double precision not null,
    -- Items that were open at the end of the day.
    open_at_end bigint not null,
    primary key (tenant_id, instance_id, project_key, day),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create index work_item_metrics_daily_project on work_item_metrics_daily (tenant_id, project_key, day);

create table sync_runs (
    tenant_id uuid not null,
    id uuid not null,
    instance_id uuid not null,
    kind text not null check (kind in ('backfill', 'incremental')),
    state text not null check (state in
        ('queued', 'running', 'waiting', 'succeeded', 'partial', 'failed', 'cancelled')),
    -- Goes up with every slice; a worker that was overtaken cannot write.
    fence bigint not null default 0,
    stream text,
    projects jsonb not null default '[]',
    done bigint not null default 0,
    estimate bigint,
    -- Items whose details this run has found to be read and has not read yet.
    estimate_pending bigint not null default 0,
    upserted bigint not null default 0,
    unchanged bigint not null default 0,
    tombstoned bigint not null default 0,
    failed bigint not null default 0,
    comments bigint not null default 0,
    transitions bigint not null default 0,
    requests bigint not null default 0,
    failures integer not null default 0,
    error_code text,
    error_hint text,
    resume_at timestamptz,
    cancel_requested_at timestamptz,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    primary key (tenant_id, id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create unique index sync_runs_one_active on sync_runs (tenant_id, instance_id)
    where state in ('queued', 'running', 'waiting');
create index sync_runs_created on sync_runs (tenant_id, created_at desc, id);
create index sync_runs_instance on sync_runs (tenant_id, instance_id, created_at desc);

create table sync_run_events (
    tenant_id uuid not null,
    run_id uuid not null,
    seq bigint not null,
    at timestamptz not null default now(),
    kind text not null,
    message text not null,
    primary key (tenant_id, run_id, seq),
    foreign key (tenant_id, run_id) references sync_runs (tenant_id, id) on delete cascade
);

create table sync_streams (
    tenant_id uuid not null,
    instance_id uuid not null,
    stream text not null,
    project_source_id text not null,
    run_id uuid,
    cursor jsonb,
    complete boolean not null default false,
    pass_watermark timestamptz,
    watermark timestamptz,
    validator text,
    done bigint not null default 0,
    estimate bigint,
    updated_at timestamptz not null,
    primary key (tenant_id, instance_id, stream, project_source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);

create table sync_dead_letters (
    tenant_id uuid not null,
    id uuid not null,
    instance_id uuid not null,
    run_id uuid not null,
    stream text not null,
    source_id text not null,
    error text not null,
    raw text not null,
    created_at timestamptz not null,
    primary key (tenant_id, id),
    unique (tenant_id, instance_id, stream, source_id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);

-- Row-level security: one policy text for every tenant table. No sub-select around current_setting: it
-- defeats partition pruning and Citus refuses it. nullif: after a transaction with SET LOCAL the setting
-- reads '' in that session, and no context must mean no rows rather than an error.
do $$
declare
    name text;
begin
    foreach name in array array[
        'tenant_data_keys', 'api_keys', 'source_instances', 'credentials', 'projects', 'source_users', 'labels',
        'milestones', 'work_items', 'work_item_labels', 'raw_objects', 'work_item_details_pending', 'comments',
        'work_item_transitions', 'work_item_changes', 'links', 'pull_requests', 'reviews',
        'work_item_metrics_daily', 'sync_runs', 'sync_run_events', 'sync_streams', 'sync_dead_letters'
    ] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format(
            'create policy tenant_isolation on %I'
            ' using (tenant_id = nullif(current_setting(''app.current_tenant_id'', true), '''')::uuid)'
            ' with check (tenant_id = nullif(current_setting(''app.current_tenant_id'', true), '''')::uuid)', name);
        execute format('grant select, insert, update, delete on %I to patchbay_app', name);
    end loop;
end
$$;

-- A tenant's context sees and makes its own row only; finding one by slug goes through find_tenant().
alter table tenants enable row level security;
alter table tenants force row level security;
create policy tenant_isolation on tenants
    using (id = nullif(current_setting('app.current_tenant_id', true), '')::uuid)
    with check (id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);
grant select, insert on tenants to patchbay_app;
-- Written by `patchbay migrate` only.
grant select on deployment_secrets to patchbay_app;

-- What SQL templates may read: views with the caller's rights, so that row-level security applies as the
-- reader whoever owns them. The reader gets just the columns the views show.
create schema published;
grant usage on schema published to patchbay_reader;

create view published.work_items with (security_invoker = true) as
    select tenant_id, id, instance_id, source, source_key, project_key, type_norm as type, type_original,
           status_norm as status, status_original, resolution_original, priority_norm as priority,
           priority_original, title, body, assignee, assignees, reporter, labels, milestone, due_on, url,
           custom_fields, created_at, updated_at, resolved_at, ref_key
    from public.work_items where deleted_at is null;
create view published.work_item_labels with (security_invoker = true) as
    select tenant_id, work_item_id, label from public.work_item_labels;
create view published.projects with (security_invoker = true) as
    select tenant_id, id, instance_id, key, name, url, archived from public.projects;
create view published.instances with (security_invoker = true) as
    select tenant_id, id, slug, source, name, status, synced_at, backfilled_at from public.source_instances;
create view published.transitions with (security_invoker = true) as
    select tenant_id, instance_id, item_ref_key, at, actor, from_original, from_norm, to_original, to_norm
    from public.work_item_transitions;
create view published.metrics_daily with (security_invoker = true) as
    select tenant_id, instance_id, project_key, day, created, completed, cancelled, reopened, lead_time_hours,
           open_at_end
    from public.work_item_metrics_daily;

grant select (tenant_id, id, instance_id, source, source_key, project_key, type_norm, type_original, status_norm,
              status_original, resolution_original, priority_norm, priority_original, title, body, assignee,
              assignees, reporter, labels, milestone, due_on, url, custom_fields, created_at, updated_at,
              resolved_at, ref_key, deleted_at)
    on work_items to patchbay_reader;
grant select on work_item_labels to patchbay_reader;
grant select (tenant_id, id, instance_id, key, name, url, archived) on projects to patchbay_reader;
grant select (tenant_id, id, slug, source, name, status, synced_at, backfilled_at) on source_instances
    to patchbay_reader;
grant select (tenant_id, instance_id, item_ref_key, at, actor, from_original, from_norm, to_original, to_norm)
    on work_item_transitions to patchbay_reader;
grant select on work_item_metrics_daily to patchbay_reader;
grant select on all tables in schema published to patchbay_reader;
