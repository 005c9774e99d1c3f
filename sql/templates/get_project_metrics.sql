/*
title = "Daily figures of a project"
description = """
One row a day (UTC), oldest first: items created, completed, cancelled and reopened that day, items open at its end, \
and the average hours from creation to completion of the items completed that day. Days on which nothing happened \
may be missing; the figures of the current day are not final."""
tags = ["metrics"]
default_limit = 100
max_limit = 400
timeout_ms = 5000

[[params]]
name = "project"
type = "text"
required = true
description = "Project key as the tracker shows it, such as owner/repo or ENG."

[[params]]
name = "from"
type = "date"
description = "First day. Without it: `days` days up to `to`."

[[params]]
name = "to"
type = "date"
description = "Last day; today (UTC) without it."

[[params]]
name = "days"
type = "integer"
min = 1
max = 400
default = 30
description = "How many days up to `to`; ignored when `from` is given."
*/
select m.day,
       sum(m.created)::bigint as created,
       sum(m.completed)::bigint as completed,
       sum(m.cancelled)::bigint as cancelled,
       sum(m.reopened)::bigint as reopened,
       sum(m.open_at_end)::bigint as open_at_end,
       round((sum(m.lead_time_hours) / nullif(sum(m.completed), 0))::numeric, 1)::double precision
           as avg_lead_time_hours
from metrics_daily m
where m.tenant_id = $1
  and m.project_key = $2::text
  and m.day >= coalesce($3::date,
        coalesce($4::date, (now() at time zone 'UTC')::date) - ($5::bigint::integer - 1))
  and m.day <= coalesce($4::date, (now() at time zone 'UTC')::date)
group by m.day
order by m.day
