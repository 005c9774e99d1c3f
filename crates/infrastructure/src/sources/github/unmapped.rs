//! Says precisely what is wrong with an object that could not be mapped.

use domain::{StreamName, Unmapped};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::settings::Stream;

/// Fields without which an object of the stream cannot be mapped, and whether each is a number.
fn needed(stream: Stream) -> &'static [(&'static str, Shape)] {
    use Shape::{Id, Object, Text, Time};
    match stream {
        Stream::Issues => &[
            ("id", Id),
            ("number", Id),
            ("title", Text),
            ("state", Text),
            ("html_url", Text),
            ("created_at", Time),
            ("updated_at", Time),
        ],
        Stream::Comments => {
            &[("id", Id), ("issue_url", Text), ("html_url", Text), ("created_at", Time), ("updated_at", Time)]
        }
        Stream::ReviewComments => &[
            ("id", Id),
            ("pull_request_url", Text),
            ("html_url", Text),
            ("created_at", Time),
            ("updated_at", Time),
        ],
        Stream::Repository => &[("id", Id), ("full_name", Text), ("name", Text), ("html_url", Text)],
        Stream::Labels => &[("id", Id), ("name", Text)],
        Stream::Milestones => &[
            ("id", Id),
            ("title", Text),
            ("state", Text),
            ("html_url", Text),
            ("created_at", Time),
            ("updated_at", Time),
        ],
        Stream::Users => &[("id", Id), ("login", Text)],
        Stream::Boards => &[],
        Stream::Details => &[("head", Object), ("base", Object), ("created_at", Time)],
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Id,
    Text,
    Time,
    Object,
}

impl Shape {
    fn complaint(self, value: &Value) -> Option<&'static str> {
        match self {
            Self::Id => (!value.is_u64()).then_some("is not a number"),
            Self::Text => (!value.is_string()).then_some("is not text"),
            Self::Object => (!value.is_object()).then_some("is not an object"),
            Self::Time => {
                let time = value.as_str().map(chrono::DateTime::parse_from_rfc3339);
                (!matches!(time, Some(Ok(_)))).then_some("is not a time")
            }
        }
    }
}

/// An object of a stream that `error` kept from being mapped.
pub(super) fn unmapped(stream: Stream, raw: &str, error: &str) -> Unmapped {
    let object: Value = serde_json::from_str(raw).unwrap_or_default();
    let number = |name: &str| object.get(name).filter(|id| id.is_number() || id.is_string());
    let source_id = match number("id").or_else(|| number("node_id")) {
        Some(Value::String(id)) => id.clone(),
        Some(id) => id.to_string(),
        // Still the same one when it comes again.
        None => format!("unidentified-{}", hex::encode(&Sha256::digest(raw.as_bytes())[..8])),
    };
    let error = complaint(stream, &object).unwrap_or_else(|| error.to_owned());
    Unmapped { stream: StreamName::new(stream.name()), source_id, error, raw: raw.to_owned() }
}

fn complaint(stream: Stream, object: &Value) -> Option<String> {
    let Value::Object(fields) = object else { return Some("is not an object".into()) };
    let wrong: Vec<String> = needed(stream)
        .iter()
        .filter_map(|(name, shape)| {
            let complaint = match fields.get(*name) {
                // A timeline event, a pull request and a review do not have the same fields.
                None if stream == Stream::Details => return None,
                None => "is missing",
                Some(Value::Null) => "is null",
                Some(value) => shape.complaint(value)?,
            };
            Some(format!("`{name}` {complaint}"))
        })
        .collect();
    (!wrong.is_empty()).then(|| wrong.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_that_are_wrong_are_named() {
        let raw = r#"{"id":4291809780,"number":"x","title":"t","state":"open","html_url":"h","updated_at":null,"created_at":"soon"}"#;
        let found = unmapped(Stream::Issues, raw, "…");
        assert_eq!(found.source_id, "4291809780");
        assert_eq!(found.error, "`number` is not a number, `created_at` is not a time, `updated_at` is null");
    }

    #[test]
    fn an_object_without_id_gets_the_same_one_each_time() {
        let found = unmapped(Stream::Labels, r#"{"name":"bug"}"#, "…");
        assert!(found.source_id.starts_with("unidentified-"));
        assert_eq!(found.source_id, unmapped(Stream::Labels, r#"{"name":"bug"}"#, "…").source_id);
        assert_eq!(found.error, "`id` is missing");
        assert_eq!(unmapped(Stream::Issues, "7", "…").error, "is not an object");
    }
}
