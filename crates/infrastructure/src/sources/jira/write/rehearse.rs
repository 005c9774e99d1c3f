//! What a change would do, said without sending it.

use domain::WrittenItem;
use serde_json::{Map, Value, json};

use super::super::api::Api;
use super::fields::Draft;
use super::form::Field;
use super::issue::{Issue, changes};

/// What a new issue would hold. It has no key yet.
pub(super) fn of_new(draft: Draft<'_, '_>) -> WrittenItem {
    let none = Issue { id: String::new(), key: String::new(), fields: Map::new() };
    let after = after(&draft, &none);
    let mut watched = draft.watched;
    watched.retain(|(name, _)| name != "project");
    let changed = changes(&watched, None, &after);
    WrittenItem { changed, warnings: draft.warnings, ..WrittenItem::default() }
}

/// What would change of an issue, and the status that it would get to.
pub(super) fn of_change(
    api: &Api<'_>,
    draft: Draft<'_, '_>,
    issue: &Issue,
    status: Option<&str>,
) -> WrittenItem {
    let mut after = after(&draft, issue);
    let mut watched = draft.watched;
    if let Some(status) = status {
        after.fields.insert("status".to_owned(), json!({"name": status}));
        watched.insert(0, ("status".to_owned(), "status".to_owned()));
    }
    let changed = changes(&watched, Some(issue), &after);
    WrittenItem { changed, warnings: draft.warnings, ..issue.written(api) }
}

fn after(draft: &Draft<'_, '_>, before: &Issue) -> Issue {
    let mut fields = before.fields.clone();
    for (id, value) in &draft.fields {
        let value = in_words(draft.form.0.get(id), value, before.field(id));
        fields.insert(id.clone(), value);
    }
    for (id, operations) in &draft.update {
        fields.insert(id.clone(), operated(before.field(id), operations));
    }
    Issue { id: before.id.clone(), key: before.key.clone(), fields }
}

/// What is sent by id, as Jira would tell it.
fn in_words(field: Option<&Field>, value: &Value, before: &Value) -> Value {
    let allowed = field.map(|field| field.allowed_values.as_slice()).unwrap_or_default();
    match value {
        Value::Array(values) => values.iter().map(|one| in_words(field, one, before)).collect(),
        Value::Object(_) => {
            let is_same = |known: &&Value| {
                ["id", "accountId"].iter().any(|name| {
                    let given = value.get(*name);
                    given.is_some_and(|given| known.get(*name).is_some_and(|own| text(own) == text(given)))
                })
            };
            let current = match before {
                Value::Array(all) => all.iter().find(is_same),
                one => Some(one).filter(is_same),
            };
            let Some(known) = allowed.iter().find(is_same).or(current) else {
                return value.get("accountId").cloned().unwrap_or_else(|| value.clone());
            };
            let mut told = known.clone();
            if let (Some(child), Some(told)) = (value.get("child"), told.as_object_mut()) {
                let children = known.get("children").and_then(Value::as_array);
                let named = children.into_iter().flatten().find(|one| {
                    one.get("id").map(text) == child.get("id").map(text) && child.get("id").is_some()
                });
                told.insert("child".to_owned(), named.unwrap_or(child).clone());
            }
            told
        }
        other => other.clone(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A list after operations on it.
fn operated(before: &Value, operations: &Value) -> Value {
    let mut now: Vec<Value> = before.as_array().cloned().unwrap_or_default();
    for operation in operations.as_array().into_iter().flatten() {
        if operation.get("set").is_some() {
            return Value::Null;
        }
        if let Some(added) = operation.get("add").filter(|added| !now.contains(added)) {
            now.push(added.clone());
        }
        if let Some(removed) = operation.get("remove") {
            now.retain(|one| one != removed);
        }
    }
    // Labels come back in the order of the alphabet.
    if now.iter().all(Value::is_string) {
        now.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
    }
    now.into()
}

#[cfg(test)]
mod tests {
    use super::super::issue::readable;
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "it is made for the call")]
    fn field(allowed: Value) -> Field {
        serde_json::from_value(json!({"name": "F", "schema": {"type": "option"}, "allowedValues": allowed}))
            .unwrap()
    }

    #[test]
    fn what_is_sent_by_id_is_told_by_name() {
        let field = field(json!([
            {"id": "1", "value": "EU", "children": [{"id": "11", "value": "DE"}]}, {"id": "2", "name": "High"},
        ]));
        let told = |value: Value, before: Value| readable(&in_words(Some(&field), &value, &before));
        assert_eq!(told(json!({"id": "2"}), Value::Null), json!("High"));
        assert_eq!(told(json!([{"id": "2"}]), json!([])), json!(["High"]));
        assert_eq!(told(json!({"id": "1", "child": {"id": "11"}}), Value::Null), json!("EU > DE"));
        let ann = json!({"accountId": "a", "displayName": "Ann"});
        assert_eq!(told(json!({"accountId": "a"}), ann.clone()), json!("Ann"));
        assert_eq!(told(json!({"accountId": "b"}), ann), json!("b"));
        assert_eq!(told(json!("text"), Value::Null), json!("text"));
    }

    #[test]
    fn operations_on_a_list_are_done_in_order() {
        let told =
            operated(&json!(["a", "b"]), &json!([{"add": "d"}, {"add": "c"}, {"add": "a"}, {"remove": "b"}]));
        assert_eq!(told, json!(["a", "c", "d"]));
        assert_eq!(operated(&json!({"key": "ENG-1"}), &json!([{"set": {"none": true}}])), Value::Null);
    }
}
