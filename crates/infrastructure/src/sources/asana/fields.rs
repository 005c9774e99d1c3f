//! Custom fields: their values as JSON by name, and the ones that have been given a role.

use domain::{FieldRole, Mappings, PriorityNorm, StatusNorm, TypeNorm};
use serde_json::{Map, Value, json};

use super::model::{FieldValue, Named};

/// All values by the fields' names; fields without a value are left out.
pub(super) fn values(fields: &[FieldValue]) -> Value {
    let mut values = Map::new();
    for field in fields {
        let value = value(field);
        if value.is_null() {
            continue;
        }
        // A name belongs to several fields at times.
        let name = if values.contains_key(&field.name) || field.name.is_empty() {
            format!("{} ({})", field.name, field.gid).trim().to_owned()
        } else {
            field.name.clone()
        };
        values.insert(name, value);
    }
    Value::Object(values)
}

fn value(field: &FieldValue) -> Value {
    let names = |list: &Option<Vec<Named>>| match list {
        Some(list) if !list.is_empty() => json!(list.iter().map(|one| one.name.as_str()).collect::<Vec<_>>()),
        _ => Value::Null,
    };
    let text = |text: &Option<String>| {
        text.as_ref().filter(|text| !text.is_empty()).map_or(Value::Null, |text| json!(text))
    };
    match field.resource_subtype.as_deref() {
        Some("enum") => field.enum_value.as_ref().map_or(Value::Null, |option| json!(option.name)),
        Some("multi_enum") => names(&field.multi_enum_values),
        Some("number") => field.number_value.map_or(Value::Null, |number| json!(number)),
        Some("text") => text(&field.text_value),
        Some("date") => field.date_value.as_ref().map_or(Value::Null, |date| {
            date.date_time.as_ref().map_or_else(|| json!(date.date), |time| json!(time))
        }),
        Some("people") => names(&field.people_value),
        Some("reference") => names(&field.reference_value),
        _ => text(&field.display_value),
    }
}

/// The field that an admin has given the role.
pub(super) fn with_role<'f>(
    fields: &'f [FieldValue],
    mappings: &Mappings,
    role: FieldRole,
) -> Option<&'f FieldValue> {
    let gid = mappings.field(role)?;
    fields.iter().find(|field| field.gid == gid)
}

/// The chosen option of the field that has the role.
pub(super) fn option<'f>(fields: &'f [FieldValue], mappings: &Mappings, role: FieldRole) -> Option<&'f str> {
    let field = with_role(fields, mappings, role)?;
    field.enum_value.as_ref().map(|option| option.name.as_str()).filter(|name| !name.is_empty())
}

/// The priority: the option of the field with that role, else of one that is called so, as Asana's own template does.
pub(super) fn priority(fields: &[FieldValue], mappings: &Mappings) -> (PriorityNorm, Option<String>) {
    let found = match mappings.field(FieldRole::Priority) {
        Some(_) => option(fields, mappings, FieldRole::Priority),
        None => fields
            .iter()
            .find(|field| field.name.trim().eq_ignore_ascii_case("priority"))
            .and_then(|field| field.enum_value.as_ref())
            .map(|option| option.name.as_str()),
    };
    let Some(name) = found else { return (PriorityNorm::None, None) };
    let norm = match name.trim().to_lowercase().as_str() {
        "urgent" | "critical" | "highest" | "blocker" | "p0" => PriorityNorm::Urgent,
        "high" | "p1" => PriorityNorm::High,
        "medium" | "normal" | "p2" => PriorityNorm::Normal,
        "low" | "lowest" | "p3" | "p4" => PriorityNorm::Low,
        _ => PriorityNorm::None,
    };
    (norm, Some(name.to_owned()))
}

/// What the option of a status field means, as long as nobody mapped it.
pub(super) fn status_by_words(name: &str) -> StatusNorm {
    let name = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&["cancel", "won't", "wont", "declined", "rejected", "duplicate"]) {
        StatusNorm::Cancelled
    } else if has(&["done", "complete", "shipped", "released"]) && !name.contains("incomplete") {
        StatusNorm::Done
    } else if has(&["progress", "doing", "review", "testing", "blocked", "working", "started"])
        && !name.contains("not started")
    {
        StatusNorm::InProgress
    } else {
        StatusNorm::Todo
    }
}

/// What a type's name means.
pub(super) fn type_by_words(name: &str) -> TypeNorm {
    match name.trim().to_lowercase().as_str() {
        "bug" | "defect" => TypeNorm::Bug,
        "feature" | "enhancement" | "feature request" => TypeNorm::Feature,
        "epic" => TypeNorm::Epic,
        "story" | "user story" => TypeNorm::Story,
        "task" => TypeNorm::Task,
        "milestone" => TypeNorm::Milestone,
        _ => TypeNorm::Other,
    }
}
