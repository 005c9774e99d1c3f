/*
title = "Daily figures of a project"
description = """
A row a day (UTC), oldest first: items created, completed (for the last time), cancelled, reopened, open at its \
end, and average hours from creation to completion."""
tags = ["metrics"]
default_limit = 100
max_limit = 400
timeout_ms = 5000

[[params]]
name = "project"
type = "text"
required = true
description = "Project key, such as ENG or owner/repo."

[[params]]
name = "from"
type = "date"
description = "First day; else `days` up to `to`."

[[params]]
name = "to"
type = "date"
description = "Last day; else today."

[[params]]
name = "days"
type = "integer"
min = 1
max = 400
default = 30
description = "How many; ignored with `from`."
*/
with days as (
    select c.day
    from calendar c
    where c.day >= coalesce($3::date,
            coalesce($4::date, (now() at time zone 'UTC')::date) - ($5::bigint::integer - 1))
      and c.day <= coalesce($4::date, (now() at time zone 'UTC')::date)
), figures as (
    select m.day, m.created, m.completed, m.cancelled, m.reopened, m.lead_time_hours, m.open_at_end,
           lead(m.day) over (partition by m.instance_id order by m.day) as next_day
    from metrics_daily m
    where m.tenant_id = $1
      and m.project_key = $2::text
      and m.day <= coalesce($4::date, (now() at time zone 'UTC')::date)
)
select d.day,
       coalesce(sum(f.created) filter (where f.day = d.day), 0)::bigint as created,
       coalesce(sum(f.completed) filter (where f.day = d.day), 0)::bigint as completed,
       coalesce(sum(f.cancelled) filter (where f.day = d.day), 0)::bigint as cancelled,
       coalesce(sum(f.reopened) filter (where f.day = d.day), 0)::bigint as reopened,
       coalesce(sum(f.open_at_end), 0)::bigint as open_at_end,
       round((sum(f.lead_time_hours) filter (where f.day = d.day)
           / nullif(sum(f.completed) filter (where f.day = d.day), 0))::numeric, 1)::double precision
           as avg_lead_time_hours
from days d
left join figures f on f.day <= d.day and (f.next_day is null or f.next_day > d.day)
group by d.day
order by d.day
