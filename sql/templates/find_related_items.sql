/*
title = "Items related to an item"
description = "Parent, children and links from or to an item. Linked items that are not synced show their key only."
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
description = "Item key, such as ENG-12 or owner/repo#12."

[[params]]
name = "instance"
type = "text"
description = "Instance slug, where two have that key."
*/
with item as (
    select w.instance_id, i.slug, w.ref_key, w.parent_ref_key
    from work_items w
    join instances i on i.tenant_id = $1 and i.id = w.instance_id
    where w.tenant_id = $1 and w.source_key = $2::text and ($3::text is null or i.slug = $3::text)
), related as (
    select m.instance_id, m.slug, 'parent' as relation, 'parent' as words, m.parent_ref_key as other,
           p.source_key as other_key
    from item m
    join work_items p on p.tenant_id = $1 and p.instance_id = m.instance_id and p.ref_key = m.parent_ref_key
    union
    select m.instance_id, m.slug, 'child', 'child', c.ref_key, c.source_key
    from item m
    join work_items c on c.tenant_id = $1 and c.instance_id = m.instance_id and c.parent_ref_key = m.ref_key
    union
    select m.instance_id, m.slug, l.type, l.type_original, l.to_ref_key, l.to_key
    from item m
    join links l on l.tenant_id = $1 and l.instance_id = m.instance_id and l.item_ref_key = m.ref_key
    union
    select m.instance_id, m.slug, 'linked_from', l.type_original, l.item_ref_key, f.source_key
    from item m
    join links l on l.tenant_id = $1 and l.instance_id = m.instance_id and l.to_ref_key = m.ref_key
    join work_items f on f.tenant_id = $1 and f.instance_id = l.instance_id and f.ref_key = l.item_ref_key
    where not exists (
        select 1 from links b
        where b.tenant_id = $1 and b.instance_id = m.instance_id and b.item_ref_key = m.ref_key
          and b.to_ref_key = l.item_ref_key)
)
select r.relation, r.words as relation_original, coalesce(w.source_key, r.other_key) as source_key,
       r.slug as instance, w.title, w.type, w.status, w.assignee, w.updated_at, w.url, w.id
from related r
left join work_items w on w.tenant_id = $1 and w.instance_id = r.instance_id and w.ref_key = r.other
