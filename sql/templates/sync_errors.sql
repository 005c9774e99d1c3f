/*
title = "What goes wrong with syncing"
description = "Failed syncs and items that could not be stored, newest first, with what to do; empty when all went well."
tags = ["sync"]
default_limit = 50
max_limit = 500
timeout_ms = 5000

[page]
key = ["at desc", "what", "detail", "instance"]

[[params]]
name = "days"
type = "integer"
min = 1
max = 365
default = 7
description = "How far back."

[[params]]
name = "instance"
type = "text"
description = "Instance slug."
*/
select e.at, i.slug as instance, e.what, e.code, e.detail
from (
    select coalesce(r.finished_at, r.created_at) as at, r.instance_id, r.kind || ' ' || r.state as what,
           r.error_code as code, r.error_hint as detail
    from runs r
    where r.tenant_id = $1
      and r.state in ('failed', 'partial')
      -- A run of many days is found by its end.
      and r.created_at >= now() - make_interval(days => $2::bigint::integer + 30)
    union all
    select d.created_at, d.instance_id, 'item not stored', d.stream, d.source_id || ': ' || d.error
    from dead_letters d
    where d.tenant_id = $1) e
join instances i on i.tenant_id = $1 and i.id = e.instance_id
where e.at >= now() - make_interval(days => $2::bigint::integer)
  and ($3::text is null or i.slug = $3::text)
