-- SQL templates that tenants write: versions with their proof, of which one may be published; and what the database needs
-- to hold such a template to its tenant whatever its text says.

create table sql_templates (
    tenant_id uuid not null references tenants (id) on delete cascade,
    name text not null check (name ~ '^[a-z][a-z0-9_]{0,31}$' and name !~ '^sql_'),
    -- The version that is a tool.
    published integer,
    -- The keys that have it as a tool; null stands for all.
    visible_to uuid[],
    retired_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    updated_by text not null,
    primary key (tenant_id, name)
);
create index sql_templates_published on sql_templates (tenant_id) where published is not null;

create table sql_template_versions (
    tenant_id uuid not null,
    name text not null,
    number integer not null check (number > 0),
    source text not null check (octet_length(source) <= 65536),
    title text,
    -- What is run: re-rendered from the source.
    statement text,
    proved boolean not null,
    report jsonb not null,
    created_at timestamptz not null default now(),
    created_by text not null,
    primary key (tenant_id, name, number),
    foreign key (tenant_id, name) references sql_templates (tenant_id, name) on delete cascade,
    check (statement is not null or not proved)
);

do $$
declare
    name text;
begin
    foreach name in array array['sql_templates', 'sql_template_versions'] loop
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

-- What seals are made with, as the database checks them. Written by `patchbay migrate`, which derives it from the
-- installation's pepper; read by one function. Row-level security without a policy: nobody else sees it.
create table template_seal (
    one boolean primary key default true check (one),
    key bytea not null check (length(key) = 32)
);
alter table template_seal enable row level security;

-- Tenants that are nobody's: what proving runs templates on.
alter table tenants drop constraint tenants_status_check;
alter table tenants add constraint tenants_status_check
    check (status in ('active', 'suspended', 'deleting', 'probe'));
