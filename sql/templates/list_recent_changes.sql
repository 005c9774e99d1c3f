/*
title = "What changed lately"
description = "New items, status changes, other changed fields and comments of the last hours, newest first: for stand-ups."
tags = ["history", "reports"]
default_limit = 50
max_limit = 500
timeout_ms = 5000

[page]
key = ["at desc", "id not null", "what", "field", "from_value", "to_value"]
hidden = ["id"]

[[params]]
name = "hours"
type = "integer"
min = 1
max = 744
default = 24
description = "How far back."

[[params]]
name = "project"
type = "text"
description = "Project key."

[[params]]
name = "actor"
type = "text"
description = "Exact name or login of who did it."

[[params]]
name = "what"
type = "text"
enum = ["created", "status", "field", "comment"]
description = "Only this kind of change."
*/
select h.at, w.source_key, w.title, h.actor, h.what, h.field, h.from_value, h.to_value, w.status, w.url, w.id
from work_items w
join lateral (
    select w.created_at as at, w.reporter as actor, 'created' as what, null::text as field, null::text as from_value,
           null::text as to_value
    union all
    select t.at, t.actor, 'status', 'status', t.from_original, t.to_original
    from transitions t
    where t.tenant_id = $1 and t.instance_id = w.instance_id and t.item_ref_key = w.ref_key
    union all
    select c.at, c.actor, 'field', c.field, c.from_value, c.to_value
    from changes c
    where c.tenant_id = $1 and c.instance_id = w.instance_id and c.item_ref_key = w.ref_key
    union all
    select m.created_at, m.author, 'comment', null::text, null::text, left(m.body, 200)
    from comments m
    where m.tenant_id = $1 and m.instance_id = w.instance_id and m.item_ref_key = w.ref_key) h
  on h.at >= now() - make_interval(hours => $2::bigint::integer)
where w.tenant_id = $1
  and w.updated_at >= now() - make_interval(hours => $2::bigint::integer)
  and ($3::text is null or w.project_key = $3::text)
  and ($4::text is null or h.actor = $4::text)
  and ($5::text is null or h.what = $5::text)
