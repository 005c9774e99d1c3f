//! A value as people give it, in the form a field takes.

use application::ports::SourceError;
use chrono::{DateTime, NaiveDate};
use serde_json::{Value, json};

use super::super::api::Api;
use super::form::Field;
use super::people::{self, Among};
use super::pick::{pick, pick_cascading};
use super::{rejected, sprint, text};

/// Where a value is looked up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The project's key.
    pub(super) project: &'a str,
    /// Whom issues can be given to.
    pub(super) people: Among<'a>,
    /// Texts are documents, not Markdown.
    pub(super) documents: bool,
}

/// A value for Jira, and what could not be said.
#[derive(Debug)]
pub(super) struct Converted {
    pub(super) value: Value,
    pub(super) warnings: Vec<String>,
}

impl From<Value> for Converted {
    fn from(value: Value) -> Self {
        Self { value, warnings: Vec::new() }
    }
}

/// Converts a value. `current` is what the field holds now.
pub(super) async fn convert(
    api: &Api<'_>,
    place: Place<'_>,
    field: &Field,
    given: &Value,
    current: &Value,
    pointer: &str,
) -> Result<Converted, SourceError> {
    let schema = &field.schema;
    if schema.custom.as_deref() == Some("com.pyxis.greenhopper.jira:gh-sprint") {
        return match given {
            Value::Null => Ok(Value::Null.into()),
            _ => sprint::find(api, place.project, &words(given, field, pointer)?, pointer)
                .await
                .map(Into::into),
        };
    }
    if schema.is_text() {
        return match given {
            Value::Null => Ok(Value::Null.into()),
            _ if place.documents => {
                let written = match given {
                    Value::String(json) => text::document_of(api.dialect(), json, pointer)?,
                    given => text::document(api.dialect(), given, pointer)?,
                };
                Ok(Converted { value: written.value, warnings: written.warnings })
            }
            _ => {
                let written = text::edit(api.dialect(), current, &words(given, field, pointer)?);
                Ok(Converted { value: written.value, warnings: written.warnings })
            }
        };
    }
    if schema.kind == "user" && !given.is_null() {
        return people::find(api, place.people, &words(given, field, pointer)?, pointer)
            .await
            .map(Into::into);
    }
    if schema.kind == "array" && schema.items.as_deref() == Some("user") {
        let mut people = Vec::new();
        for (at, one) in list(given).into_iter().enumerate() {
            let pointer = format!("{pointer}/{at}");
            people.push(people::find(api, place.people, &words(one, field, &pointer)?, &pointer).await?);
        }
        return Ok(Value::Array(people).into());
    }
    plain(field, given, pointer).map(Into::into)
}

/// What needs no look-up beyond the field's own allowed values.
fn plain(field: &Field, given: &Value, pointer: &str) -> Result<Value, SourceError> {
    let schema = &field.schema;
    if schema.kind == "array" {
        return list(given)
            .into_iter()
            .enumerate()
            .map(|(at, one)| element(field, one, pointer, at))
            .collect();
    }
    if given.is_null() {
        return Ok(Value::Null);
    }
    match schema.kind.as_str() {
        "number" => number(field, given, pointer),
        "date" => date(field, given, pointer),
        "datetime" => time(field, given, pointer),
        "option-with-child" => pick_cascading(field, &words(given, field, pointer)?, pointer),
        "issuelink" => Ok(json!({"key": words(given, field, pointer)?.to_uppercase()})),
        "string" => words(given, field, pointer).map(Value::String),
        _ if !field.allowed_values.is_empty() => pick(field, &words(given, field, pointer)?, pointer),
        // A field of an app's own making, with a form only the caller can know.
        _ => Ok(given.clone()),
    }
}

fn element(field: &Field, given: &Value, pointer: &str, at: usize) -> Result<Value, SourceError> {
    let pointer = format!("{pointer}/{at}");
    if field.allowed_values.is_empty() && field.schema.items.as_deref() != Some("string") {
        return Ok(given.clone());
    }
    let words = words(given, field, &pointer)?;
    if !field.allowed_values.is_empty() {
        return pick(field, &words, &pointer);
    }
    if field.schema.system.as_deref() == Some("labels") {
        return label(&words, &pointer);
    }
    Ok(Value::String(words))
}

/// A label as Jira takes it.
pub(super) fn label(given: &str, pointer: &str) -> Result<Value, SourceError> {
    if given.is_empty() || given.chars().count() > 255 || given.chars().any(char::is_whitespace) {
        return Err(SourceError::unknown_value(
            pointer,
            format!("`{given}` cannot be a label: Jira's have 1 to 255 characters and no spaces"),
            vec![given.split_whitespace().collect::<Vec<_>>().join("-")],
        ));
    }
    Ok(Value::String(given.to_owned()))
}

fn list(given: &Value) -> Vec<&Value> {
    match given {
        Value::Array(all) => all.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

fn words(given: &Value, field: &Field, pointer: &str) -> Result<String, SourceError> {
    match given {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(yes) => Ok(yes.to_string()),
        Value::Object(object) => ["id", "accountId", "value", "name", "key"]
            .iter()
            .find_map(|name| object.get(*name)?.as_str())
            .map(str::to_owned)
            .ok_or_else(|| wrong(field, "a name or a number", pointer)),
        Value::Null | Value::Array(_) => Err(wrong(field, "a name or a number", pointer)),
    }
}

fn number(field: &Field, given: &Value, pointer: &str) -> Result<Value, SourceError> {
    let number = match given {
        Value::Number(_) => return Ok(given.clone()),
        Value::String(text) => text.trim().parse::<f64>().ok().and_then(serde_json::Number::from_f64),
        _ => None,
    };
    number.map(Value::Number).ok_or_else(|| wrong(field, "a number", pointer))
}

fn date(field: &Field, given: &Value, pointer: &str) -> Result<Value, SourceError> {
    let day: Option<NaiveDate> = given.as_str().and_then(|text| text.trim().parse().ok());
    day.map(|day| Value::String(day.to_string()))
        .ok_or_else(|| wrong(field, "a day such as 2026-11-30", pointer))
}

fn time(field: &Field, given: &Value, pointer: &str) -> Result<Value, SourceError> {
    let time = given.as_str().and_then(|text| DateTime::parse_from_rfc3339(text.trim()).ok());
    // Jira reads an offset without colon only.
    time.map(|time| Value::String(time.format("%Y-%m-%dT%H:%M:%S%.3f%z").to_string()))
        .ok_or_else(|| wrong(field, "a time such as 2026-11-30T09:00:00Z", pointer))
}

fn wrong(field: &Field, wanted: &str, pointer: &str) -> SourceError {
    rejected(pointer, format!("the field {} takes {wanted}", field.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "it is made for the call")]
    fn field(schema: Value, allowed: Value) -> Field {
        serde_json::from_value(json!({"name": "F", "schema": schema, "allowedValues": allowed})).unwrap()
    }

    #[test]
    fn values_take_the_form_of_their_field() {
        let to = |schema: Value, given: Value| plain(&field(schema, json!([])), &given, "/fields/F");
        assert_eq!(to(json!({"type": "number"}), json!("3.5")).unwrap(), json!(3.5));
        assert_eq!(to(json!({"type": "number"}), json!(8)).unwrap(), json!(8));
        assert_eq!(to(json!({"type": "date"}), json!("2026-11-30")).unwrap(), json!("2026-11-30"));
        assert_eq!(
            to(json!({"type": "datetime"}), json!("2026-11-30T09:00:00+01:00")).unwrap(),
            json!("2026-11-30T09:00:00.000+0100")
        );
        assert_eq!(to(json!({"type": "issuelink"}), json!("eng-1")).unwrap(), json!({"key": "ENG-1"}));
        assert_eq!(to(json!({"type": "string"}), Value::Null).unwrap(), Value::Null);
        assert_eq!(to(json!({"type": "any"}), json!({"own": 1})).unwrap(), json!({"own": 1}));
        for (schema, given) in [
            (json!({"type": "number"}), json!("many")),
            (json!({"type": "date"}), json!("tomorrow")),
            (json!({"type": "datetime"}), json!("2026-11-30")),
            (json!({"type": "string"}), json!(["a"])),
        ] {
            let error = to(schema, given).unwrap_err();
            assert_eq!(error.field.as_deref(), Some("/fields/F"), "{error}");
        }
    }

    #[test]
    fn lists_are_taken_apart_and_each_value_looked_up() {
        let options = field(
            json!({"type": "array", "items": "option"}),
            json!([{"id": "1", "value": "iOS"}, {"id": "2", "value": "Web"}]),
        );
        let both = plain(&options, &json!(["web", "iOS"]), "/fields/F").unwrap();
        assert_eq!(both, json!([{"id": "2"}, {"id": "1"}]));
        assert_eq!(plain(&options, &json!("web"), "/fields/F").unwrap(), json!([{"id": "2"}]));
        assert_eq!(plain(&options, &Value::Null, "/fields/F").unwrap(), json!([]));
        let error = plain(&options, &json!(["Web", "Andorid"]), "/fields/F").unwrap_err();
        assert_eq!(error.field.as_deref(), Some("/fields/F/1"));

        let labels = field(json!({"type": "array", "items": "string", "system": "labels"}), json!([]));
        assert_eq!(plain(&labels, &json!(["a", "b"]), "/labels").unwrap(), json!(["a", "b"]));
        assert_eq!(plain(&labels, &json!(["on hold"]), "/labels").unwrap_err().allowed, ["on-hold"]);
    }
}
