-- Who may do what: people and their memberships, narrowed keys, sessions; what they did: the audit log; and that they
-- did it once: idempotency keys and intents of writes to trackers.

alter table tenants
    add column status text not null default 'active' check (status in ('active', 'suspended', 'deleting')),
    add column suspended_at timestamptz,
    -- Reads wait until their audit record is stored.
    add column strict_audit boolean not null default false;
grant update (status, suspended_at, strict_audit), delete on tenants to patchbay_app;

-- Keys for people, assistants and services, narrowed to what is listed; null stands for all.
alter table api_keys drop constraint api_keys_kind_check;
-- The owner is under the policy, too, and has no tenant here.
alter table api_keys no force row level security;
update api_keys set kind = 'person' where kind = 'admin';
alter table api_keys force row level security;
alter table api_keys
    add constraint api_keys_kind_check check (kind in ('person', 'assistant', 'service')),
    add column instances uuid[],
    add column projects_read text[],
    add column projects_write text[],
    add column templates text[],
    add column toolsets text[],
    add column last_used_at timestamptz,
    -- Whose key it is: it ends with the membership.
    add column user_id uuid,
    add column created_by text,
    add column revoked_by text,
    -- The key this one takes over from; both are good until the older one expires.
    add column rotated_from uuid;
create index api_keys_created on api_keys (tenant_id, created_at desc, id desc);

-- People. They belong to no tenant and may be members of several, so the application has no right to these two
-- tables: it asks the functions of functions.sql. Row-level security without a policy shows them to nobody else.
create table users (
    id uuid primary key,
    email text not null,
    name text,
    created_at timestamptz not null default now(),
    disabled_at timestamptz
);
create table user_identities (
    issuer text not null,
    subject text not null,
    user_id uuid not null references users (id) on delete cascade,
    last_sign_in_at timestamptz not null default now(),
    primary key (issuer, subject)
);
create index user_identities_user on user_identities (user_id);
alter table users enable row level security;
alter table users force row level security;
alter table user_identities enable row level security;
alter table user_identities force row level security;

-- Name and e-mail address as of the last sign-in, so that a tenant's list needs no look at other tenants' people.
-- No foreign key to users: a tenant table refers to tenant tables only.
create table memberships (
    tenant_id uuid not null references tenants (id) on delete cascade,
    user_id uuid not null,
    role text not null check (role in ('viewer', 'member', 'admin', 'owner')),
    email text not null,
    name text,
    invited_by text,
    created_at timestamptz not null default now(),
    last_seen_at timestamptz,
    primary key (tenant_id, user_id)
);
create index memberships_user on memberships (user_id);

create table invitations (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null,
    email text not null,
    role text not null check (role in ('viewer', 'member', 'admin', 'owner')),
    mac bytea not null check (length(mac) = 32),
    invited_by text not null,
    -- The person or key: what they hand out ends when they may no longer hand it out.
    invited_by_id uuid,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    accepted_at timestamptz,
    accepted_by uuid,
    revoked_at timestamptz,
    primary key (tenant_id, id)
);
create index invitations_mac on invitations (mac);

create table sessions (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null,
    user_id uuid not null,
    mac bytea not null check (length(mac) = 32),
    client text,
    address text,
    created_at timestamptz not null default now(),
    last_used_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    primary key (tenant_id, id)
);
create index sessions_mac on sessions (mac);
create index sessions_user on sessions (tenant_id, user_id);

-- Sign-ins under way. Whose they are is not known before they end, so no tenant's data; each is taken once.
create table sign_in_states (
    mac bytea primary key check (length(mac) = 32),
    browser_mac bytea not null check (length(browser_mac) = 32),
    issuer text not null,
    nonce text not null,
    pkce_verifier text not null,
    invitation_mac bytea,
    tenant_slug text,
    return_to text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index sign_in_states_expires on sign_in_states (expires_at);
grant select, insert, delete on sign_in_states to patchbay_app;

-- The last record of each tenant's chain; locked by whoever adds to it. The seal is a keyed hash of the rest, so that
-- cutting off the end of the log and naming an earlier record here shows.
create table audit_heads (
    tenant_id uuid not null primary key references tenants (id) on delete cascade,
    seq bigint not null,
    hash bytea not null check (length(hash) = 32),
    seal bytea not null check (length(seal) = 32)
) with (fillfactor = 50);
create table audit_log (
    tenant_id uuid not null references tenants (id) on delete cascade,
    seq bigint not null,
    id uuid not null,
    at timestamptz not null,
    principal_kind text not null check (principal_kind in ('key', 'user', 'system')),
    principal_id uuid,
    principal_name text not null,
    client text,
    address text,
    request_id uuid not null,
    -- In byte order, so that an index serves all actions that begin with `instance.`
    action text collate "C" not null,
    target_kind text,
    target_id text,
    outcome text not null check (outcome in ('ok', 'denied', 'failed')),
    arguments_digest bytea,
    -- Text, not jsonb: the chain is over these very bytes.
    details text not null,
    hash bytea not null check (length(hash) = 32),
    primary key (tenant_id, seq)
);
create index audit_log_at on audit_log (tenant_id, at desc, seq desc);
-- Reads are nearly all of the log, and nobody looks for them by name.
create index audit_log_changes on audit_log (tenant_id, action, seq desc)
    where action <> 'tool.call' and action <> 'template.run';
create index audit_log_principal on audit_log (tenant_id, principal_id, seq desc);

-- A request with an Idempotency-Key. Committed with its answer in the transaction of its effect.
create table idempotency_keys (
    tenant_id uuid not null references tenants (id) on delete cascade,
    principal uuid not null,
    route text not null,
    key text not null,
    fingerprint bytea not null check (length(fingerprint) = 32),
    state text not null check (state in ('in_flight', 'done')),
    owner uuid not null,
    lease_until timestamptz not null,
    status smallint,
    headers jsonb,
    -- Sealed by the vault: an answer may hold a new key.
    body bytea,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    primary key (tenant_id, principal, route, key)
);
create index idempotency_keys_expires on idempotency_keys (tenant_id, expires_at);

-- A write to a tracker: the intent is committed before the call, the outcome after it. After a crash the next attempt
-- looks for the marker at the tracker first.
create table write_intents (
    tenant_id uuid not null,
    id uuid not null,
    instance_id uuid not null,
    principal uuid not null,
    operation text not null,
    key text not null,
    fingerprint bytea not null check (length(fingerprint) = 32),
    -- What the tracker's object carries to be recognised by.
    marker text not null,
    state text not null check (state in ('intended', 'done', 'failed')),
    attempts integer not null default 0,
    owner uuid not null,
    lease_until timestamptz not null,
    -- When the last attempt was over, at the latest: how long the tracker has had since then says what absence proves.
    attempt_over_at timestamptz not null default now(),
    outcome bytea,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    unique (tenant_id, principal, operation, key),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade
);
create index write_intents_created on write_intents (tenant_id, created_at);

-- Proof that a tenant was deleted; of the installation, as the tenant is no more.
create table tenant_deletions (
    id uuid primary key,
    deleted_tenant uuid not null,
    slug text not null,
    requested_by text not null,
    requested_at timestamptz not null default now(),
    finished_at timestamptz,
    -- Rows removed and rows found afterwards, by table.
    removed jsonb,
    residue jsonb
);
grant select, insert, update on tenant_deletions to patchbay_app;

do $$
declare
    name text;
begin
    foreach name in array array[
        'memberships', 'invitations', 'sessions', 'audit_heads', 'audit_log', 'idempotency_keys', 'write_intents'
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
-- What is on the record stays there; it goes only with its tenant.
revoke update, delete on audit_log from patchbay_app;
revoke delete on audit_heads from patchbay_app;

-- What a key is narrowed to, inside its tenant. Restrictive, so that no later policy widens it. The test whether a
-- key is narrowed at all is a sub-select, made once for a statement instead of once for a row; the tenant's policy has
-- none, so pruning by tenant goes on working.
do $$
declare
    name text;
    every_instance text := '(select coalesce(current_setting(''app.allowed_instances'', true), '''') = '''')';
    every_project text := '(select coalesce(current_setting(''app.allowed_projects'', true), '''') = '''')';
    -- Sub-selects here, too: a list is read once for a statement.
    instance text := every_instance || ' or %s = any'
        ' ((select string_to_array(current_setting(''app.allowed_instances'', true), '','')::uuid[])::uuid[])';
    project text := every_project || ' or %s = any'
        ' ((select string_to_array(current_setting(''app.allowed_projects'', true), chr(31)))::text[])';
    -- Of things that hang on an item, a project or a run: visible when that is. The inner look is under its policies, too.
    hanging text := '%s or exists (%s)';
begin
    foreach name in array array[
        'projects', 'source_users', 'labels', 'milestones', 'work_items', 'raw_objects', 'work_item_details_pending',
        'comments', 'work_item_transitions', 'work_item_changes', 'links', 'pull_requests', 'reviews',
        'work_item_metrics_daily', 'sync_runs', 'sync_streams', 'sync_dead_letters', 'credentials', 'write_intents'
    ] loop
        execute format('create policy instance_grant on %I as restrictive using (%s)', name,
            format(instance, 'instance_id'));
    end loop;
    execute format('create policy instance_grant on source_instances as restrictive using (%s)',
        format(instance, 'id'));

    execute format('create policy project_grant on projects as restrictive using (%s)', format(project, 'key'));
    foreach name in array array['work_items', 'work_item_metrics_daily'] loop
        execute format('create policy project_grant on %I as restrictive using (%s)', name,
            format(project, 'project_key'));
    end loop;
    foreach name in array array[
        'comments', 'work_item_transitions', 'work_item_changes', 'links', 'pull_requests', 'reviews'
    ] loop
        execute format('create policy project_grant on %I as restrictive using (%s)', name,
            format(hanging, every_project, format(
                'select from work_items w where w.tenant_id = %1$I.tenant_id and w.instance_id = %1$I.instance_id'
                ' and w.ref_key = %1$I.item_ref_key', name)));
    end loop;
    execute format('create policy project_grant on work_item_details_pending as restrictive using (%s)',
        format(hanging, every_project,
            'select from work_items w where w.tenant_id = work_item_details_pending.tenant_id'
            ' and w.id = work_item_details_pending.work_item_id'));
    foreach name in array array['labels', 'milestones', 'sync_streams'] loop
        execute format('create policy project_grant on %I as restrictive using (%s)', name,
            format(hanging, every_project, format(
                'select from projects p where p.tenant_id = %1$I.tenant_id and p.instance_id = %1$I.instance_id'
                ' and p.source_id = %1$I.project_source_id', name)));
    end loop;
    -- Which project they are of is not known; the raw texts may be of any, and people work on many.
    foreach name in array array['raw_objects', 'sync_dead_letters', 'source_users'] loop
        execute format('create policy project_grant on %I as restrictive using (%s)', name, every_project);
    end loop;
    -- Labels of an item know no instance, so they hang on both.
    execute format('create policy project_grant on work_item_labels as restrictive using (%s)',
        format(hanging, '(select coalesce(current_setting(''app.allowed_projects'', true), '''') = '''''
            ' and coalesce(current_setting(''app.allowed_instances'', true), '''') = '''')',
            'select from work_items w where w.tenant_id = work_item_labels.tenant_id'
            ' and w.id = work_item_labels.work_item_id'));
    execute format('create policy instance_grant on sync_run_events as restrictive using (%s)',
        format(hanging, every_instance,
            'select from sync_runs r where r.tenant_id = sync_run_events.tenant_id and r.id = sync_run_events.run_id'));
end
$$;
