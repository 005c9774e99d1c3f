/*
title = "Find work items by words"
description = "Full-text search in titles and first lines, newest update first. Takes quoted phrases, `or` and a leading minus."
tags = ["issues", "search"]
default_limit = 25
max_limit = 200
timeout_ms = 5000

[page]
key = ["updated_at desc", "id not null"]
hidden = ["id"]

[[params]]
name = "query"
type = "text"
required = true
max_length = 300
description = "Such as: login redirect -mobile."

[[params]]
name = "project"
type = "text"
description = "Project key."

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
*/
select w.source_key, w.project_key, w.title, w.status, w.type, w.priority, w.assignee, w.updated_at, w.url, w.id
from search_work_item_ids($2::text, 1000) as found(item_id)
join work_items w on w.tenant_id = $1 and w.id = found.item_id
where ($3::text is null or w.project_key = $3::text)
  and ($4::text is null or w.status = $4::text)
  and ($5::text is null or w.type = $5::text)
