/*
title = "Blocked items and what blocks them"
description = """
Open items that open items block, by links of either direction, longest untouched first. Blockers that are not \
synced show their key only."""
tags = ["issues", "flow"]
default_limit = 50
max_limit = 500
timeout_ms = 5000

[page]
key = ["updated_at not null", "id not null", "blocked_by"]
hidden = ["id"]

[[params]]
name = "project"
type = "text"
description = "Project key."

[[params]]
name = "assignee"
type = "text"
description = "Exact name or login."
*/
with pairs as (
    select e.instance_id, e.blocked, max(e.blocker) as blocker, max(e.blocker_key) as blocker_key
    from (
        select l.instance_id, l.item_ref_key as blocked, l.to_ref_key as blocker, l.to_key as blocker_key
        from links l
        where l.tenant_id = $1 and l.type = 'blocked_by'
        union all
        select l.instance_id, l.to_ref_key, l.item_ref_key, null::text
        from links l
        where l.tenant_id = $1 and l.type = 'blocks' and l.to_ref_key is not null) e
    group by e.instance_id, e.blocked, coalesce(e.blocker, e.blocker_key)
)
select w.source_key, w.title, w.project_key, w.status, w.assignee, w.updated_at, w.url,
       coalesce(b.source_key, p.blocker_key) as blocked_by, b.title as blocker_title,
       coalesce(b.status, 'unknown') as blocker_status, b.assignee as blocker_assignee, w.id
from pairs p
join work_items w on w.tenant_id = $1 and w.instance_id = p.instance_id and w.ref_key = p.blocked
left join work_items b on b.tenant_id = $1 and b.instance_id = p.instance_id and b.ref_key = p.blocker
where w.status in ('todo', 'in_progress')
  and (b.status in ('todo', 'in_progress', 'unknown') or (b.id is null and p.blocker_key is not null))
  and ($2::text is null or w.project_key = $2::text)
  and ($3::text is null or w.assignee = $3::text)
