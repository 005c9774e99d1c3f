//! Markdown as this Jira's own text.

use application::ports::{SourceError, SourceErrorKind};
use serde_json::Value;

use super::super::dialect::Dialect;
use super::rejected;

/// A text to be sent, and what it could not say.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) value: Value,
    pub(super) warnings: Vec<String>,
}

/// A new text.
pub(super) fn new(dialect: Dialect, markdown: &str) -> Written {
    if dialect.has_adf() {
        let edited = rich_text::adf::from_markdown(markdown);
        Written { value: edited.value, warnings: said(&edited.warnings) }
    } else {
        let edited = rich_text::wiki::from_markdown(markdown);
        Written { value: Value::String(edited.value), warnings: said(&edited.warnings) }
    }
}

/// The text that is there with what the Markdown changed; what Markdown cannot say is kept.
pub(super) fn edit(dialect: Dialect, original: &Value, markdown: &str) -> Written {
    match original {
        Value::Object(_) if dialect.has_adf() => {
            let edited = rich_text::adf::edit(original, markdown);
            Written { value: edited.value, warnings: said(&edited.warnings) }
        }
        Value::String(original) if !dialect.has_adf() => {
            let edited = rich_text::wiki::edit(original, markdown);
            Written { value: Value::String(edited.value), warnings: said(&edited.warnings) }
        }
        _ => new(dialect, markdown),
    }
}

/// A document that is sent as it is. `pointer` says where in what was asked it stands.
pub(super) fn document(dialect: Dialect, given: &Value, pointer: &str) -> Result<Written, SourceError> {
    if !dialect.has_adf() {
        let message = "Jira Data Center keeps wiki markup and takes no documents: send Markdown";
        let unsupported = SourceError::new(SourceErrorKind::Rejected, message);
        return Err(SourceError { field: Some("/text_format".to_owned()), ..unsupported });
    }
    rich_text::adf::check(given)
        .map_err(|flaw| rejected(&format!("{pointer}{}", flaw.pointer), flaw.message))?;
    Ok(Written { value: given.clone(), warnings: Vec::new() })
}

/// As [`document`], of its JSON.
pub(super) fn document_of(dialect: Dialect, text: &str, pointer: &str) -> Result<Written, SourceError> {
    match serde_json::from_str(text) {
        Ok(given) => document(dialect, &given, pointer),
        Err(error) => Err(rejected(pointer, format!("must be a document as JSON ({error})"))),
    }
}

fn said(warnings: &[rich_text::Warning]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}
