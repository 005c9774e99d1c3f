//! Markdown as this Jira's own text.

use serde_json::Value;

use super::super::dialect::Dialect;

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

fn said(warnings: &[rich_text::Warning]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}
