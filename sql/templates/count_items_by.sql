/*
title = "Count items by a property"
description = """
How many items have each value of a property, and how many of them are open. An item with two labels counts under \
both; null: items without one."""
tags = ["metrics"]
default_limit = 50
max_limit = 500
timeout_ms = 10000

[[params]]
name = "by"
type = "text"
required = true
enum = ["status", "status_original", "type", "priority", "assignee", "reporter", "label", "milestone", "project", "instance"]
description = "The property."

[[params]]
name = "project"
type = "text"
description = "Project key."

[[params]]
name = "status"
type = "text"
enum = ["todo", "in_progress", "done", "cancelled", "unknown"]
description = "Only this status."

[[params]]
name = "created_since"
type = "timestamp"
description = "Created then or later."

[[params]]
name = "resolved_since"
type = "timestamp"
description = "Done or cancelled then or later."
*/
select c.value, count(*) as items, sum(c.is_open)::bigint as open_items, sum(c.story_points) as story_points
from (
    select case $2::text
               when 'status' then w.status
               when 'status_original' then w.status_original
               when 'type' then w.type
               when 'priority' then w.priority
               when 'assignee' then w.assignee
               when 'reporter' then w.reporter
               when 'label' then l.label
               when 'milestone' then w.milestone
               when 'project' then w.project_key
               else i.slug
           end as value,
           case when w.status in ('done', 'cancelled') then 0 else 1 end as is_open,
           w.story_points
    from work_items w
    join instances i on i.tenant_id = $1 and i.id = w.instance_id
    left join work_item_labels l on $2::text = 'label' and l.tenant_id = $1 and l.work_item_id = w.id
    where w.tenant_id = $1
      and ($3::text is null or w.project_key = $3::text)
      and ($4::text is null or w.status = $4::text)
      and ($5::timestamptz is null or w.created_at >= $5::timestamptz)
      and ($6::timestamptz is null or w.resolved_at >= $6::timestamptz)) c
group by c.value
order by items desc, c.value
