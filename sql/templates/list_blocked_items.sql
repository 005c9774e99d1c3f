/*
title = "Blocked items and what blocks them"
description = """
Open items that an open item blocks, by the trackers' own links (blocks, is blocked by, depends on), one row for each \
pair, the longest untouched first. A blocker that is not synced is shown by its key with status unknown. Items that only \
have a label or status called blocked are not found here: use search_issues_by_project with `label`."""
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
description = "Only blocked items of this project, by its key."

[[params]]
name = "assignee"
type = "text"
description = "Only blocked items of this assignee, by name or login, exactly."
*/
with pairs as (
    select l.instance_id, l.item_ref_key as blocked, l.to_ref_key as blocker, l.to_key as blocker_key
    from links l
    where l.tenant_id = $1 and l.type = 'blocked_by'
    union
    select l.instance_id, l.to_ref_key, l.item_ref_key, w.source_key
    from links l
    join work_items w on w.tenant_id = $1 and w.instance_id = l.instance_id and w.ref_key = l.item_ref_key
    where l.tenant_id = $1 and l.type = 'blocks' and l.to_ref_key is not null
)
select w.source_key, w.title, w.project_key, w.status, w.assignee, w.updated_at, w.url,
       coalesce(b.source_key, p.blocker_key) as blocked_by, b.title as blocker_title,
       coalesce(b.status, 'unknown') as blocker_status, b.assignee as blocker_assignee, w.id
from pairs p
join work_items w on w.tenant_id = $1 and w.instance_id = p.instance_id and w.ref_key = p.blocked
left join work_items b on b.tenant_id = $1 and b.instance_id = p.instance_id and b.ref_key = p.blocker
where w.status in ('todo', 'in_progress')
  and (b.id is null or b.status in ('todo', 'in_progress', 'unknown'))
  and ($2::text is null or w.project_key = $2::text)
  and ($3::text is null or w.assignee = $3::text)
