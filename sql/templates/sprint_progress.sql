/*
title = "Progress of sprints"
description = """
For each sprint: items in it at its start, added later, taken out before its end, completed in it and still open, the \
same in story points, and days left. Without `sprint` the active ones; of closed sprints what was in them when they \
ended. Membership is taken from the items' histories; `complete_history` is false where a tracker told only the present."""
tags = ["metrics", "sprints"]
default_limit = 20
max_limit = 200
timeout_ms = 10000

[[params]]
name = "sprint"
type = "text"
description = "Name of the sprint, exactly."

[[params]]
name = "state"
type = "text"
enum = ["active", "closed", "future"]
description = "Sprints in this state; newest first. Without it and without `sprint`: active."

[[params]]
name = "instance"
type = "text"
description = "Only of this instance, by its slug."
*/
select s.name as sprint, i.slug as instance, s.state, s.start_at, s.end_at, s.completed_at,
       p.at_start, p.added, p.removed, p.completed, p.still_open, p.points_total, p.points_completed,
       case when s.state = 'active' then greatest(0, date_part('day', s.end_at - now())::bigint) end as days_left,
       p.complete_history
from sprints s
join instances i on i.tenant_id = $1 and i.id = s.instance_id
left join lateral (
    select count(*) filter (where m.first_added <= coalesce(s.start_at, m.first_added)) as at_start,
           count(*) filter (where m.first_added > s.start_at) as added,
           count(*) filter (where m.left_at <= coalesce(s.completed_at, now())) as removed,
           count(*) filter (where m.in_it and m.done) as completed,
           count(*) filter (where m.in_it and not m.done) as still_open,
           coalesce(sum(m.story_points) filter (where m.in_it), 0) as points_total,
           coalesce(sum(m.story_points) filter (where m.in_it and m.done), 0) as points_completed,
           coalesce(bool_and(m.from_history), true) as complete_history
    from (
        select w.id, w.story_points, min(b.added_at) as first_added, bool_and(b.from_history) as from_history,
               bool_or(b.removed_at is null or b.removed_at > coalesce(s.completed_at, now())) as in_it,
               case when bool_and(b.removed_at is not null) then max(b.removed_at) end as left_at,
               bool_or(w.status = 'done' and w.resolved_at <= coalesce(s.completed_at, now())) as done
        from sprint_memberships b
        join work_items w on w.tenant_id = $1 and w.instance_id = b.instance_id and w.ref_key = b.item_ref_key
        where b.tenant_id = $1 and b.instance_id = s.instance_id and b.sprint_source_id = s.source_id
          and b.added_at <= coalesce(s.completed_at, now())
        group by w.id, w.story_points) m) p on true
where s.tenant_id = $1
  and ($2::text is null or s.name = $2::text)
  and s.state = coalesce($3::text, case when $2::text is null then 'active' else s.state end)
  and ($4::text is null or i.slug = $4::text)
order by coalesce(s.start_at, s.end_at) desc nulls last, s.name
