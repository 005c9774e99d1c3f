/*
title = "Work in progress by assignee"
description = """
Items in progress by first assignee (null: nobody), days since they last came into progress (without a history, \
since creation), and the oldest."""
tags = ["metrics", "flow"]
default_limit = 50
max_limit = 500
timeout_ms = 10000

[[params]]
name = "project"
type = "text"
description = "Project key."

[[params]]
name = "type"
type = "text"
enum = ["epic", "story", "task", "subtask", "bug", "feature", "pull_request", "milestone", "other"]
description = "Only this type."
*/
with progress as (
    select w.assignee, w.source_key, w.story_points,
           extract(epoch from now() - coalesce(s.since, w.created_at))::double precision / 86400 as days
    from work_items w
    left join lateral (
        select max(t.at) as since
        from transitions t
        where t.tenant_id = $1 and t.instance_id = w.instance_id and t.item_ref_key = w.ref_key
          and t.to_norm = 'in_progress' and (t.from_norm is null or t.from_norm <> 'in_progress')) s on true
    where w.tenant_id = $1
      and w.status = 'in_progress'
      and ($2::text is null or w.project_key = $2::text)
      and ($3::text is null or w.type = $3::text)
), ordered as (
    select p.assignee, p.story_points, p.days,
           first_value(p.source_key) over (partition by p.assignee order by p.days desc, p.source_key) as longest_key
    from progress p
)
select o.assignee, count(*) as items, sum(o.story_points) as story_points,
       round(percentile_cont(0.5) within group (order by o.days)::numeric, 1)::double precision as median_days,
       round(max(o.days)::numeric, 1)::double precision as longest_days, max(o.longest_key) as longest_key
from ordered o
group by o.assignee
order by items desc, o.assignee
