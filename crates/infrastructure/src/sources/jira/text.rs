//! Jira's texts as Markdown: Atlassian Document Format is an object, wiki markup is text.

pub(super) mod mark;

use serde_json::Value;
use serde_json::value::RawValue;

/// A text of an object; `None` when there is none.
pub(super) fn markdown(raw: Option<&RawValue>) -> Option<String> {
    let value: Value = serde_json::from_str(raw?.get()).ok()?;
    value_markdown(&value)
}

/// As [`markdown`], of a value that is read already.
pub(super) fn value_markdown(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => rich_text::wiki::to_markdown(mark::without(text)).markdown,
        Value::Object(_) if is_document(value) => rich_text::adf::to_markdown(value).markdown,
        _ => return None,
    };
    (!text.trim().is_empty()).then_some(text)
}

/// Whether the value is a document in Atlassian's format.
pub(super) fn is_document(value: &Value) -> bool {
    value.get("type").and_then(Value::as_str) == Some("doc")
        && value.get("content").is_some_and(Value::is_array)
}
