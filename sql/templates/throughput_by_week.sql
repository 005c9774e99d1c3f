/*
title = "Throughput by week"
description = """
By week (Monday, UTC), newest first: items created, completed (for the last time), cancelled, and completed that \
week but open again. This week is not over."""
tags = ["metrics"]
default_limit = 100
max_limit = 260
timeout_ms = 10000

[[params]]
name = "weeks"
type = "integer"
min = 1
max = 260
default = 12
description = "How many, with this one."

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
with weeks as (
    select c.week
    from calendar c
    where c.day = c.week
      and c.week >= date_trunc('week', now() at time zone 'UTC')::date - 7 * ($2::bigint::integer - 1)
), events as (
    select date_trunc('week', w.created_at at time zone 'UTC')::date as week,
           1 as created, 0 as completed, 0 as cancelled, null::double precision as points, 0 as reopened
    from work_items w
    where w.tenant_id = $1
      and w.created_at >= (date_trunc('week', now() at time zone 'UTC')
            - make_interval(weeks => $2::bigint::integer - 1)) at time zone 'UTC'
      and ($3::text is null or w.project_key = $3::text)
      and ($4::text is null or w.type = $4::text)
    union all
    select date_trunc('week', w.resolved_at at time zone 'UTC')::date, 0,
           case when w.status = 'done' then 1 else 0 end,
           case when w.status = 'cancelled' then 1 else 0 end,
           case when w.status = 'done' then w.story_points end, 0
    from work_items w
    where w.tenant_id = $1
      and w.status in ('done', 'cancelled')
      and w.resolved_at >= (date_trunc('week', now() at time zone 'UTC')
            - make_interval(weeks => $2::bigint::integer - 1)) at time zone 'UTC'
      and ($3::text is null or w.project_key = $3::text)
      and ($4::text is null or w.type = $4::text)
    union all
    select r.week, 0, 0, 0, null::double precision, 1
    from (
        select date_trunc('week', max(t.at) at time zone 'UTC')::date as week
        from transitions t
        join work_items w on w.tenant_id = $1 and w.instance_id = t.instance_id and w.ref_key = t.item_ref_key
        where t.tenant_id = $1
          and t.to_norm = 'done'
          and t.at >= (date_trunc('week', now() at time zone 'UTC')
                - make_interval(weeks => $2::bigint::integer - 1)) at time zone 'UTC'
          and w.status not in ('done', 'cancelled')
          and ($3::text is null or w.project_key = $3::text)
          and ($4::text is null or w.type = $4::text)
        group by w.id) r
)
select k.week,
       coalesce(sum(e.created), 0)::bigint as created,
       coalesce(sum(e.completed), 0)::bigint as completed,
       coalesce(sum(e.cancelled), 0)::bigint as cancelled,
       coalesce(sum(e.points), 0) as story_points_completed,
       coalesce(sum(e.reopened), 0)::bigint as open_again
from weeks k
left join events e on e.week = k.week
group by k.week
order by k.week desc
