/*
title = "Items related to an item"
description = """
What hangs together with one item: its parent, its children, and everything linked to or from it (blocks, duplicates, \
relates, mentions), in the words of the tracker. Linked items that are not synced are shown by their key alone."""
tags = ["issues", "links"]
default_limit = 50
max_limit = 500
timeout_ms = 5000

[page]
key = ["relation", "source_key", "relation_original", "id"]
hidden = ["id"]

[[params]]
name = "key"
type = "text"
required = true
description = "Key as the tracker shows it, such as ENG-12 or owner/repo#12."

[[params]]
name = "instance"
type = "text"
description = "Slug of the instance, where two have an item of that key."
*/
with item as (
    select w.instance_id, w.ref_key, w.parent_ref_key
    from work_items w
    join instances i on i.tenant_id = $1 and i.id = w.instance_id
    where w.tenant_id = $1 and w.source_key = $2::text and ($3::text is null or i.slug = $3::text)
), related as (
    select m.instance_id, 'parent' as relation, 'parent' as words, m.parent_ref_key as other, null::text as other_key
    from item m
    where m.parent_ref_key is not null
    union all
    select m.instance_id, 'child', 'child', c.ref_key, c.source_key
    from item m
    join work_items c on c.tenant_id = $1 and c.instance_id = m.instance_id and c.parent_ref_key = m.ref_key
    union all
    select m.instance_id, l.type, l.type_original, l.to_ref_key, l.to_key
    from item m
    join links l on l.tenant_id = $1 and l.instance_id = m.instance_id and l.item_ref_key = m.ref_key
    union all
    select m.instance_id, 'linked_from', l.type_original, l.item_ref_key, null::text
    from item m
    join links l on l.tenant_id = $1 and l.instance_id = m.instance_id and l.to_ref_key = m.ref_key
)
select r.relation, r.words as relation_original, coalesce(w.source_key, r.other_key) as source_key, w.title, w.type,
       w.status, w.assignee, w.updated_at, w.url, w.id
from related r
left join work_items w on w.tenant_id = $1 and w.instance_id = r.instance_id and w.ref_key = r.other
