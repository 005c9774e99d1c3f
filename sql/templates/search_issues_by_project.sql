/*
title = "Issues of a project"
description = "Issues, tasks and pull requests of a project, newest update first. By words: find_work_items."
tags = ["issues", "search"]
default_limit = 50
max_limit = 500
timeout_ms = 5000

[page]
key = ["updated_at desc", "id not null"]
hidden = ["id"]

[[params]]
name = "project"
type = "text"
required = true
description = "Project key, such as ENG or owner/repo."

[[params]]
name = "status"
type = "text"
enum = ["todo", "in_progress", "done", "cancelled", "unknown"]
description = "Only this status."

[[params]]
name = "type"
type = "text"
enum = ["epic", "story", "task", "subtask", "bug", "feature", "pull_request", "milestone", "other"]
description = "Only this type."

[[params]]
name = "assignee"
type = "text"
description = "Exact name or login."

[[params]]
name = "label"
type = "text"
description = "Exact label."

[[params]]
name = "updated_since"
type = "timestamp"
description = "Updated then or later."
*/
select w.source_key, w.title, w.status, w.status_original, w.type, w.priority, w.assignee, w.updated_at, w.url, w.id
from work_items w
where w.tenant_id = $1
  and w.project_key = $2::text
  and ($3::text is null or w.status = $3::text)
  and ($4::text is null or w.type = $4::text)
  and ($5::text is null or w.assignee = $5::text)
  and ($6::text is null or exists (
        select 1 from work_item_labels l
        where l.tenant_id = $1 and l.work_item_id = w.id and l.label = $6::text))
  and ($7::timestamptz is null or w.updated_at >= $7::timestamptz)
