//! What a template may name.

/// Published views and their columns; `migrations` define them, `tests/integration/templates.rs` compares.
#[rustfmt::skip]
pub const RELATIONS: &[(&str, &[&str])] = &[
    ("boards", &["tenant_id", "instance_id", "source_id", "name", "kind", "url"]),
    ("calendar", &["day", "week"]),
    ("changes", &["tenant_id", "instance_id", "item_ref_key", "at", "actor", "field", "from_value", "to_value"]),
    ("comments", &[
        "tenant_id", "instance_id", "item_ref_key", "kind", "author", "body", "url", "created_at", "updated_at",
    ]),
    ("dead_letters", &["tenant_id", "instance_id", "run_id", "stream", "source_id", "error", "created_at"]),
    ("instances", &["tenant_id", "id", "slug", "source", "name", "status", "synced_at", "backfilled_at"]),
    ("links", &[
        "tenant_id", "instance_id", "item_ref_key", "type", "type_original", "to_ref_key", "to_key", "to_url",
    ]),
    ("metrics_daily", &[
        "tenant_id", "instance_id", "project_key", "day", "created", "completed", "cancelled", "reopened",
        "lead_time_hours", "open_at_end",
    ]),
    ("projects", &["tenant_id", "id", "instance_id", "key", "name", "url", "archived"]),
    ("runs", &[
        "tenant_id", "id", "instance_id", "kind", "state", "upserted", "failed", "error_code", "error_hint",
        "created_at", "started_at", "finished_at",
    ]),
    ("sprint_memberships", &[
        "tenant_id", "instance_id", "item_ref_key", "sprint_source_id", "added_at", "removed_at", "from_history",
    ]),
    ("sprints", &[
        "tenant_id", "instance_id", "source_id", "board_source_id", "name", "goal", "state", "start_at", "end_at",
        "completed_at",
    ]),
    ("transitions", &[
        "tenant_id", "instance_id", "item_ref_key", "at", "actor", "from_original", "from_norm", "to_original",
        "to_norm",
    ]),
    ("work_item_labels", &["tenant_id", "work_item_id", "label"]),
    ("work_items", &[
        "tenant_id", "id", "instance_id", "source", "source_key", "project_key", "type", "type_original",
        "status", "status_original", "resolution_original", "priority", "priority_original", "title", "body",
        "assignee", "assignees", "reporter", "labels", "milestone", "due_on", "url", "custom_fields",
        "created_at", "updated_at", "resolved_at", "ref_key", "status_category", "start_on",
        "story_points", "estimate_s", "spent_s", "remaining_s", "parent_ref_key",
    ]),
    ("worklogs", &[
        "tenant_id", "instance_id", "source_id", "item_ref_key", "author", "started_at", "seconds", "comment",
        "updated_at",
    ]),
];

/// Functions of PostgreSQL a template may call. None takes SQL or the name of an object as text, changes or
/// tells anything of the session or the server, waits, or makes a long value out of a short one.
#[rustfmt::skip]
pub const FUNCTIONS: &[&str] = &[
    "abs", "array_agg", "array_length", "avg", "bool_and", "bool_or", "btrim", "cardinality", "char_length",
    "count", "date_part", "date_trunc", "dense_rank", "first_value", "lag", "last_value", "lead", "left",
    "length", "lower", "make_interval", "max", "min", "now", "percentile_cont", "percentile_disc", "rank",
    "right", "round", "row_number", "starts_with", "string_agg", "strpos", "sum", "to_char", "upper",
];

/// Looks like a function, is syntax: takes no schema.
pub(super) const SYNTAX: &[&str] = &["coalesce", "greatest", "least", "nullif"];

/// Our function that stands where a table does: full text search inside the tenant of the transaction.
pub(super) const TABLE_FUNCTION: &str = "search_work_item_ids";

/// Words that are no columns but ask for something when they stand alone.
#[rustfmt::skip]
pub(super) const NOT_A_NAME: &[&str] = &[
    "cmax", "cmin", "ctid", "current_catalog", "current_date", "current_role", "current_schema",
    "current_time", "current_timestamp", "current_user", "localtime", "localtimestamp", "oid", "session_user",
    "system_user", "tableoid", "user", "xmax", "xmin",
];

pub(super) fn is_relation(name: &str) -> bool {
    RELATIONS.iter().any(|(relation, _)| *relation == name)
}

pub(super) fn is_function(name: &str) -> bool {
    FUNCTIONS.contains(&name) || SYNTAX.contains(&name) || name == TABLE_FUNCTION
}
