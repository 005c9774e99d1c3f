-- Files on their way to a tracker, from when they are announced until they are attached or expire: in the database, so that
-- whichever replica attaches one has it, whichever it was sent to.
create table uploads (
    tenant_id uuid not null,
    id uuid not null,
    instance_id uuid not null,
    principal uuid not null,
    filename text not null,
    size bigint not null check (size between 1 and 10485760),
    -- What was sent; empty again once it was attached.
    content bytea check (octet_length(content) = size),
    -- SHA-256 of it, in hexadecimal digits, which stays.
    digest text,
    attached_at timestamptz,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    primary key (tenant_id, id),
    check (content is null or digest is not null),
    foreign key (tenant_id, instance_id) references source_instances (tenant_id, id) on delete cascade deferrable
);
-- Most files are compressed already.
alter table uploads alter column content set storage external;
create index uploads_expires on uploads (tenant_id, expires_at);
create index uploads_instance on uploads (tenant_id, instance_id);

alter table uploads enable row level security;
alter table uploads force row level security;
create policy tenant_isolation on uploads
    using (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid)
    with check (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);
create policy instance_grant on uploads as restrictive using (
    (select coalesce(current_setting('app.allowed_instances', true), '') = '') or instance_id = any
    ((select string_to_array(current_setting('app.allowed_instances', true), ',')::uuid[])::uuid[]));
grant select, insert, update, delete on uploads to patchbay_app;
