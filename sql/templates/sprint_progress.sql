/*
title = "Progress of sprints"
description = """
By sprint (by default the active ones): items at its start, added, removed, completed, cancelled, open at its end or \
now. `complete_history` is false where only the present is known."""
tags = ["metrics", "sprints"]
default_limit = 20
max_limit = 200
timeout_ms = 10000

[[params]]
name = "sprint"
type = "text"
description = "Exact name."

[[params]]
name = "state"
type = "text"
enum = ["active", "closed", "future"]
description = "Only this state; without it and `sprint`: active."

[[params]]
name = "instance"
type = "text"
description = "Instance slug."
*/
select s.name as sprint, s.slug as instance, s.state, s.start_at, s.end_at, s.completed_at,
       p.at_start, p.added, p.removed, p.completed, p.cancelled, p.still_open, p.points_total, p.points_completed,
       case when s.state = 'active' and s.end_at is not null
            then greatest(0, date_part('day', s.end_at - now())::bigint) end as days_left,
       p.complete_history
from (
    select c.instance_id, c.source_id, c.name, c.state, c.start_at, c.end_at, c.completed_at, i.slug,
           case when c.state = 'closed' then coalesce(c.completed_at, c.end_at, now()) else now() end as until
    from sprints c
    join instances i on i.tenant_id = $1 and i.id = c.instance_id
    where c.tenant_id = $1
      and ($2::text is null or c.name = $2::text)
      and c.state = coalesce($3::text, case when $2::text is null then 'active' else c.state end)
      and ($4::text is null or i.slug = $4::text)
    order by coalesce(c.start_at, c.end_at) desc nulls last, c.name, i.slug, c.source_id
    limit 200) s
left join lateral (
    select count(*) filter (where m.at_start) as at_start,
           count(*) filter (where not m.at_start) as added,
           count(*) filter (where not m.in_it) as removed,
           count(*) filter (where m.in_it and m.status = 'done') as completed,
           count(*) filter (where m.in_it and m.status = 'cancelled') as cancelled,
           count(*) filter (where m.in_it and m.status not in ('done', 'cancelled')) as still_open,
           coalesce(sum(m.story_points) filter (where m.in_it), 0) as points_total,
           coalesce(sum(m.story_points) filter (where m.in_it and m.status = 'done'), 0) as points_completed,
           coalesce(bool_and(m.from_history), true) as complete_history
    from (
        select b.at_start, b.in_it, b.from_history, w.story_points,
               case when s.state = 'closed' then coalesce(t.to_norm,
                        case when w.resolved_at > s.until then 'in_progress' else w.status end)
                    else w.status end as status
        from (
            select y.item_ref_key, bool_and(y.from_history) as from_history,
                   bool_or(y.added_at <= least(s.start_at, s.until)
                       and (y.removed_at is null or y.removed_at > least(s.start_at, s.until))) as at_start,
                   bool_or(y.removed_at is null or y.removed_at >= s.until) as in_it
            from sprint_memberships y
            where y.tenant_id = $1 and y.instance_id = s.instance_id and y.sprint_source_id = s.source_id
              and y.added_at <= s.until
              and (y.removed_at is null or y.removed_at > least(s.start_at, s.until))
            group by y.item_ref_key) b
        join work_items w on w.tenant_id = $1 and w.instance_id = s.instance_id and w.ref_key = b.item_ref_key
        left join lateral (
            select r.to_norm
            from transitions r
            where s.state = 'closed' and r.tenant_id = $1 and r.instance_id = s.instance_id
              and r.item_ref_key = b.item_ref_key and r.at <= s.until
            order by r.at desc
            limit 1) t on true) m) p on true
order by coalesce(s.start_at, s.end_at) desc nulls last, s.name, s.slug, s.source_id
