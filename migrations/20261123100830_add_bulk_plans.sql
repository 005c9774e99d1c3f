-- Changes of several items that somebody planned, for a quarter of an hour: which items, as of when, and what is done to each.
create table bulk_plans (
    tenant_id uuid not null,
    id uuid not null,
    instance_id uuid not null,
    principal uuid not null,
    change jsonb not null,
    items jsonb not null,
    -- Keys of those that were done, so that a further run need not ask for them.
    done text[] not null default '{}',
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    primary key (tenant_id, id),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade deferrable
);
create index bulk_plans_expires on bulk_plans (tenant_id, expires_at);
create index bulk_plans_instance on bulk_plans (tenant_id, instance_id);

alter table bulk_plans enable row level security;
alter table bulk_plans force row level security;
create policy tenant_isolation on bulk_plans
    using (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid)
    with check (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);
create policy instance_grant on bulk_plans as restrictive using (
    (select coalesce(current_setting('app.allowed_instances', true), '') = '') or instance_id = any
    ((select string_to_array(current_setting('app.allowed_instances', true), ',')::uuid[])::uuid[]));
grant select, insert, update, delete on bulk_plans to patchbay_app;
