//! Objects of which a tracker left a part empty that its description promises: what is below the object itself and cannot be
//! told without that part is left out, so that the object is kept.

use serde_json::Value;

/// The object without those of its parts that have null for one of the `needed` names, without empty entries of lists and
/// without null itself; `None` when there is nothing to leave out.
pub(super) fn repaired(raw: &str, needed: &[&str]) -> Option<String> {
    let mut object: Value = serde_json::from_str(raw).ok()?;
    let mut repaired = false;
    let Value::Object(fields) = &mut object else { return None };
    for value in fields.values_mut() {
        repaired |= repair(value, needed);
    }
    // Absent is what lists and flags may be.
    let before = fields.len();
    fields.retain(|_, value| !value.is_null());
    (repaired || fields.len() < before).then(|| object.to_string())
}

/// Whether something was left out.
fn repair(value: &mut Value, needed: &[&str]) -> bool {
    match value {
        Value::Array(rows) => {
            let before = rows.len();
            let mut repaired = false;
            for row in rows.iter_mut() {
                repaired |= repair(row, needed);
            }
            rows.retain(|row| !row.is_null());
            repaired || rows.len() < before
        }
        Value::Object(fields) => {
            if needed.iter().any(|name| fields.get(*name).is_some_and(Value::is_null)) {
                *value = Value::Null;
                return true;
            }
            let mut repaired = false;
            for value in fields.values_mut() {
                repaired |= repair(value, needed);
            }
            repaired
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_is_left_out_and_the_rest_stays() {
        let raw = r#"{"id":null,"user":{"id":7,"login":null},"labels":[{"name":"a"},{"name":null},null],"n":{"x":null}}"#;
        let repaired = repaired(raw, &["id", "login", "name"]).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&repaired).unwrap(),
            serde_json::json!({"labels": [{"name": "a"}], "n": {"x": null}})
        );
    }

    #[test]
    fn what_is_whole_or_no_object_is_not_repaired() {
        assert_eq!(repaired(r#"{"id":1,"user":{"name":null},"labels":[]}"#, &["id"]), None);
        assert_eq!(repaired("[null]", &["id"]), None);
        assert_eq!(repaired("{", &["id"]), None);
    }
}
