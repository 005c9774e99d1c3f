-- What a tenant lets assistants do, whatever their keys say.
create table tenant_policies (
    tenant_id uuid not null primary key references tenants (id) on delete cascade,
    -- Goes up with each change.
    version integer not null default 1 check (version > 0),
    -- Sets of tools that anybody may have; null stands for all.
    jira_toolsets text[],
    jira_denied_tools text[] not null default '{}',
    jira_read_only boolean not null default false,
    -- By id or by the name people see.
    jira_hidden_fields text[] not null default '{}',
    updated_at timestamptz not null default now()
);

alter table tenant_policies enable row level security;
alter table tenant_policies force row level security;
create policy tenant_isolation on tenant_policies
    using (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid)
    with check (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);
grant select, insert, update, delete on tenant_policies to patchbay_app;
