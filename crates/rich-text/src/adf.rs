//! Under way.

use serde_json::{Value, json};

use crate::{Edited, Rendered};

/// The document as Markdown.
pub fn to_markdown(document: &Value) -> Rendered {
    Rendered { markdown: document.as_str().unwrap_or_default().to_owned(), warnings: Vec::new() }
}

/// Markdown as a document.
pub fn from_markdown(markdown: &str) -> Edited<Value> {
    let text = json!({"type": "text", "text": markdown});
    let value = json!({"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": [text]}]});
    Edited { value, warnings: Vec::new() }
}

/// The original with what the Markdown changed.
pub fn edit(_original: &Value, markdown: &str) -> Edited<Value> {
    from_markdown(markdown)
}
