//! The Atlassian Document Format: the JSON that Jira Cloud (REST v3) and Confluence keep texts in.
//!
//! See <https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/>. Documents are often not
//! what that page says; whatever is not understood is a placeholder, never an error.

mod check;
mod fingerprint;
mod fit;
mod label;
mod read;
mod write;

use serde_json::Value;

use crate::markdown::{self, storable, warn};
use crate::merge;
use crate::token::{TokenKind, Tokens};
use crate::tree::{Block, BlockKind, Origin};
use crate::usage;
use crate::warning::WarningKind;
use crate::{Edited, Rendered};
use read::Reader;

pub use check::{Flaw, check};

/// The document as Markdown. Anything but a document or a string is empty.
pub fn to_markdown(document: &Value) -> Rendered {
    let shown = Shown::new(document);
    Rendered { markdown: shown.markdown, warnings: shown.warnings }
}

/// Markdown as a document.
pub fn from_markdown(markdown: &str) -> Edited<Value> {
    edit(&Value::Null, markdown)
}

/// The document that `markdown` was made of, with what was changed in `markdown`.
///
/// Every node that was not changed is the original's own. With Markdown that was not changed at all, the
/// result is the original. [`Value::Null`] has nothing in it.
pub fn edit(original: &Value, markdown: &str) -> Edited<Value> {
    let shown = Shown::new(original);
    let mut warnings = Vec::new();
    let markdown = storable(&markdown.replace("\r\n", "\n").replace('\r', "\n"), &mut warnings);
    if original.is_object() && markdown.trim_end() == shown.markdown.trim_end() {
        return Edited { value: original.clone(), warnings: Vec::new() };
    }
    let new = markdown::read(&markdown, &shown.tokens, &mut warnings);
    for removed in usage::removed(&shown.blocks, &new, &shown.tokens) {
        warn(&mut warnings, WarningKind::Removed, &removed);
    }
    let merged = merge::blocks(&shown.blocks, new);
    let value =
        write::document(original, &merged, &shown.nodes, &shown.inlines, &shown.tokens, &mut warnings);
    Edited { value, warnings }
}

/// A document as it is shown, with what stands behind each part.
struct Shown<'a> {
    markdown: String,
    blocks: Vec<Block>,
    tokens: Tokens,
    nodes: Vec<&'a Value>,
    inlines: Vec<&'a Value>,
    warnings: Vec<crate::Warning>,
}

impl<'a> Shown<'a> {
    fn new(document: &'a Value) -> Self {
        let mut reader = Reader::default();
        let mut blocks = reader.document(document);
        let Reader { nodes, inlines, mut tokens, mut warnings } = reader;
        let mut opaque = |tokens: &mut Tokens, block: &Block| match block.origin {
            Origin::Whole(at) | Origin::Shell(at) => {
                let name = fingerprint::type_of(nodes[at]);
                warn(&mut warnings, WarningKind::Placeholder, name);
                let whole = fingerprint::whole(nodes[at]);
                Block::new(BlockKind::Kept(tokens.add(
                    TokenKind::Block,
                    name,
                    &label::of(nodes[at]),
                    whole,
                    at,
                )))
            }
            Origin::New => block.clone(),
        };
        let markdown = markdown::write(&mut blocks, &mut tokens, &mut opaque);
        Self { markdown, blocks, tokens, nodes, inlines, warnings }
    }
}
