/*
title = "History of a work item"
description = "Creation, status changes, other changed fields and comments (the first 500 characters) of an item, oldest first."
tags = ["issues", "history"]
default_limit = 100
max_limit = 500
timeout_ms = 5000

[page]
key = ["at", "id not null", "what", "to_value", "from_value"]
hidden = ["id"]

[[params]]
name = "key"
type = "text"
required = true
description = "Item key, such as ENG-12 or owner/repo#12."

[[params]]
name = "instance"
type = "text"
description = "Instance slug, where two have that key."

[[params]]
name = "since"
type = "timestamp"
description = "Happened then or later."
*/
select h.at, h.actor, h.what, h.from_value, h.to_value, w.source_key, i.slug as instance, w.id
from work_items w
join instances i on i.tenant_id = $1 and i.id = w.instance_id
join lateral (
    select w.created_at as at, w.reporter as actor, 'created' as what, null::text as from_value, w.title as to_value
    union all
    select t.at, t.actor, 'status', t.from_original, t.to_original
    from transitions t
    where t.tenant_id = $1 and t.instance_id = w.instance_id and t.item_ref_key = w.ref_key
    union all
    select c.at, c.actor, c.field, c.from_value, c.to_value
    from changes c
    where c.tenant_id = $1 and c.instance_id = w.instance_id and c.item_ref_key = w.ref_key
    union all
    select m.created_at, m.author, m.kind, null::text, left(m.body, 500)
    from comments m
    where m.tenant_id = $1 and m.instance_id = w.instance_id and m.item_ref_key = w.ref_key) h on true
where w.tenant_id = $1
  and w.source_key = $2::text
  and ($3::text is null or i.slug = $3::text)
  and ($4::timestamptz is null or h.at >= $4::timestamptz)
