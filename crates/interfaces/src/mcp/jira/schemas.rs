//! The tools as they are listed. The list is part of every conversation, so it is short
//! (docs/adr/0006-short-lists-of-tools.md); schemas have no unions and no references, because some model vendors refuse
//! those.

pub(super) mod admin;
pub(super) mod agile;
pub(super) mod bulk;
pub(super) mod changes;
pub(super) mod files;
pub(super) mod reading;
pub(super) mod work;
pub(super) mod writing;

use serde_json::{Value, json};

pub(super) const FORMATS: [&str; 2] = ["markdown", "adf"];

/// An answer that has at least these properties, and tells where it comes from.
pub(super) fn answer(mut properties: Value, required: &[&str]) -> Value {
    properties["cut"] = texts();
    let mut all = required.to_vec();
    all.extend(["source", "at", "instance"]);
    json!({"type": "object", "properties": properties, "required": all})
}

pub(super) fn pages(mut properties: Value, required: &[&str]) -> Value {
    properties["has_more"] = json!({"type": "boolean"});
    properties["next_cursor"] = json!({"type": "string"});
    let mut all = required.to_vec();
    all.push("has_more");
    answer(properties, &all)
}

pub(super) fn texts() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

pub(super) fn rows(required: &[&str]) -> Value {
    json!({"type": "array", "items": {"type": "object", "required": required}})
}

pub(super) fn limit() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 100, "default": 25})
}

/// What a call is recognised by when it is sent again.
pub(super) fn once() -> Value {
    json!({"type": "string", "description": "A name of yours for this call: sent again under it, it is done once."})
}

pub(super) fn dry_run() -> Value {
    json!({"type": "boolean", "description": "Only tell what would change."})
}
