/*
title = "Cycle time percentiles"
description = """
By week (Monday, UTC) and type: items completed, and percentiles of their hours from the first start (without one, \
creation; `from_in_progress` counts those with) to the last completion."""
tags = ["metrics"]
default_limit = 100
max_limit = 500
timeout_ms = 10000

[page]
key = ["week desc", "type"]

[[params]]
name = "project"
type = "text"
required = true
description = "Project key, such as ENG or owner/repo."

[[params]]
name = "weeks"
type = "integer"
min = 1
max = 260
default = 12
description = "How many, with this one."

[[params]]
name = "type"
type = "text"
enum = ["epic", "story", "task", "subtask", "bug", "feature", "pull_request", "milestone", "other"]
description = "Only this type."
*/
with completed as (
    select date_trunc('week', w.resolved_at at time zone 'UTC')::date as week, w.type, s.started_at,
           extract(epoch from w.resolved_at - coalesce(s.started_at, w.created_at))::double precision / 3600 as hours
    from work_items w
    left join lateral (
        select min(t.at) as started_at
        from transitions t
        where t.tenant_id = $1 and t.instance_id = w.instance_id and t.item_ref_key = w.ref_key
          and t.to_norm = 'in_progress' and t.at <= w.resolved_at) s on true
    where w.tenant_id = $1
      and w.project_key = $2::text
      and w.status = 'done'
      and w.resolved_at >= (date_trunc('week', now() at time zone 'UTC')
            - make_interval(weeks => $3::bigint::integer - 1)) at time zone 'UTC'
      and ($4::text is null or w.type = $4::text)
)
select c.week, c.type, count(*) as completed_items, count(c.started_at) as from_in_progress,
       round(percentile_cont(0.5) within group (order by c.hours)::numeric, 1)::double precision as p50_hours,
       round(percentile_cont(0.85) within group (order by c.hours)::numeric, 1)::double precision as p85_hours,
       round(percentile_cont(0.95) within group (order by c.hours)::numeric, 1)::double precision as p95_hours
from completed c
group by c.week, c.type
