//! Choosing one of a field's allowed values by the name people use.

use application::ports::SourceError;
use serde_json::{Value, json};

use super::super::super::nearest::nearest;
use super::form::Field;

/// What people call a value.
pub(in super::super) fn label(value: &Value) -> Option<String> {
    if let Value::String(text) = value {
        return Some(text.clone());
    }
    ["name", "value", "displayName", "key", "id"]
        .iter()
        .find_map(|name| value.get(name)?.as_str())
        .map(str::to_owned)
}

/// How a value is given to Jira: by its id where it has one.
fn by_id(value: &Value) -> Value {
    match value.get("id") {
        Some(id) => json!({"id": id_text(id)}),
        None => value.clone(),
    }
}

fn id_text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

/// The allowed value of this name, key or id.
pub(super) fn pick(field: &Field, given: &str, pointer: &str) -> Result<Value, SourceError> {
    find(&field.allowed_values, given)
        .map(by_id)
        .ok_or_else(|| unknown(&field.name, &field.allowed_values, given, pointer))
}

/// A value of two levels: `Parent > Child`, or its first level alone.
pub(super) fn pick_cascading(field: &Field, given: &str, pointer: &str) -> Result<Value, SourceError> {
    if let Some(whole) = find(&field.allowed_values, given) {
        return Ok(by_id(whole));
    }
    let (parent, child) =
        given.split_once('>').map_or((given, None), |(parent, child)| (parent, Some(child)));
    let Some(found) = find(&field.allowed_values, parent) else {
        return Err(unknown(&field.name, &field.allowed_values, parent, pointer));
    };
    let Some(child) = child else { return Ok(by_id(found)) };
    let children = found.get("children").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let Some(child) = find(children, child) else {
        return Err(unknown(&field.name, children, child, pointer));
    };
    let mut value = by_id(found);
    value["child"] = by_id(child);
    Ok(value)
}

fn find<'v>(values: &'v [Value], given: &str) -> Option<&'v Value> {
    let given = given.trim();
    let is = |value: &&Value, same: &dyn Fn(&str) -> bool| {
        value.as_str().is_some_and(same)
            || ["name", "value", "key"]
                .iter()
                .any(|name| value.get(name).and_then(Value::as_str).is_some_and(same))
    };
    values
        .iter()
        .find(|value| is(value, &|text| text == given))
        .or_else(|| {
            values.iter().find(|value| is(value, &|text| text.trim().to_lowercase() == given.to_lowercase()))
        })
        // Last, because an option may be called by what is another one's id.
        .or_else(|| values.iter().find(|value| value.get("id").is_some_and(|id| id_text(id) == given)))
}

fn unknown(field: &str, values: &[Value], given: &str, pointer: &str) -> SourceError {
    let labels: Vec<String> = values.iter().filter_map(label).collect();
    SourceError::unknown_value(
        pointer,
        format!("`{given}` is not a value of the field {field}"),
        nearest(given, labels.iter().map(String::as_str)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "it is made for the call")]
    fn field(allowed: Value) -> Field {
        serde_json::from_value(
            json!({"name": "Impact", "schema": {"type": "option"}, "allowedValues": allowed}),
        )
        .unwrap()
    }

    #[test]
    fn a_value_is_picked_by_name_before_id_and_without_regard_to_case() {
        let field =
            field(json!([{"id": "1", "value": "2"}, {"id": "2", "value": "High"}, {"id": 3, "name": "Low"}]));
        let pick = |given| pick(&field, given, "/priority");
        assert_eq!(pick("high").unwrap(), json!({"id": "2"}));
        assert_eq!(pick("2").unwrap(), json!({"id": "1"}));
        assert_eq!(pick("3").unwrap(), json!({"id": "3"}));
        let error = pick("Hihg").unwrap_err();
        assert_eq!((error.field.as_deref(), error.allowed[0].as_str()), (Some("/priority"), "High"));
    }

    #[test]
    fn two_levels_are_picked_by_both_names() {
        let field = field(json!([{"id": "1", "value": "EU", "children": [{"id": "11", "value": "DE"}]}]));
        assert_eq!(
            pick_cascading(&field, "eu > de", "/f").unwrap(),
            json!({"id": "1", "child": {"id": "11"}})
        );
        assert_eq!(pick_cascading(&field, "EU", "/f").unwrap(), json!({"id": "1"}));
        assert_eq!(pick_cascading(&field, "EU > FR", "/f").unwrap_err().allowed, ["DE"]);
    }
}
