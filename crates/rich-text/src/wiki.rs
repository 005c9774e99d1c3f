//! Under way.

use crate::{Edited, Rendered};

/// The text as Markdown.
pub fn to_markdown(text: &str) -> Rendered {
    Rendered { markdown: text.to_owned(), warnings: Vec::new() }
}

/// Markdown as the tracker's text.
pub fn from_markdown(markdown: &str) -> Edited<String> {
    Edited { value: markdown.to_owned(), warnings: Vec::new() }
}

/// The original with what the Markdown changed.
pub fn edit(_original: &str, markdown: &str) -> Edited<String> {
    from_markdown(markdown)
}
