/*
title = "Items nobody has touched"
description = "Open items without an update for some days, longest untouched first."
tags = ["issues", "flow"]
default_limit = 50
max_limit = 500
timeout_ms = 5000

[page]
key = ["updated_at not null", "id not null"]
hidden = ["id"]

[[params]]
name = "days"
type = "integer"
min = 1
max = 3650
default = 30
description = "At least so many."

[[params]]
name = "project"
type = "text"
description = "Project key."

[[params]]
name = "status"
type = "text"
enum = ["todo", "in_progress"]
description = "Only this status."

[[params]]
name = "type"
type = "text"
enum = ["epic", "story", "task", "subtask", "bug", "feature", "pull_request", "milestone", "other"]
description = "Only this type."
*/
select w.source_key, w.title, w.project_key, w.status, w.type, w.priority, w.assignee, w.updated_at,
       date_part('day', now() - w.updated_at)::bigint as days_untouched, w.url, w.id
from work_items w
where w.tenant_id = $1
  and w.status in ('todo', 'in_progress')
  and w.updated_at <= now() - make_interval(days => $2::bigint::integer)
  and ($3::text is null or w.project_key = $3::text)
  and ($4::text is null or w.status = $4::text)
  and ($5::text is null or w.type = $5::text)
