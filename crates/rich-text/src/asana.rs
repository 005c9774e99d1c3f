//! Asana's HTML: the few tags that `html_notes` and `html_text` consist of.
//!
//! See <https://developers.asana.com/docs/rich-text>. Line breaks are line breaks there, and what is not valid
//! XML with a `<body>` around is refused by Asana, so nothing else is written.

mod html;
mod read;
mod write;

use crate::markdown::{self, storable, warn};
use crate::merge;
use crate::token::{Fingerprint, TokenKind, Tokens};
use crate::tree::{Block, BlockKind, Origin};
use crate::warning::WarningKind;
use crate::{Edited, Rendered, Warning, usage};
use read::Reader;

/// The text as Markdown.
pub fn to_markdown(html: &str) -> Rendered {
    let shown = Shown::new(html);
    Rendered { markdown: shown.markdown, warnings: shown.warnings }
}

/// Markdown as Asana's HTML, with its `<body>`.
pub fn from_markdown(markdown: &str) -> Edited<String> {
    edit("", markdown)
}

/// The text that `markdown` was made of, with what was changed in `markdown`.
///
/// Blocks that were not changed are the original's, letter by letter. With Markdown that was not changed at
/// all, the result is the original.
pub fn edit(original: &str, markdown: &str) -> Edited<String> {
    let shown = Shown::new(original);
    let mut warnings = Vec::new();
    let markdown = storable(&markdown.replace("\r\n", "\n").replace('\r', "\n"), &mut warnings);
    if !original.is_empty() && markdown.trim_end() == shown.markdown.trim_end() {
        return Edited { value: original.to_owned(), warnings: Vec::new() };
    }
    let new = markdown::read(&markdown, &shown.tokens, &mut warnings);
    for removed in usage::removed(&shown.blocks, &new, &shown.tokens) {
        warn(&mut warnings, WarningKind::Removed, &removed);
    }
    let merged = merge::blocks(&shown.blocks, new);
    let value = write::text(&merged, &shown.slices, &shown.kept, &shown.tokens, &mut warnings);
    Edited { value, warnings }
}

/// A text as it is shown, with what stands behind each part.
struct Shown<'a> {
    markdown: String,
    blocks: Vec<Block>,
    tokens: Tokens,
    slices: Vec<&'a str>,
    /// The source of what Markdown cannot say.
    kept: Vec<String>,
    warnings: Vec<Warning>,
}

impl<'a> Shown<'a> {
    fn new(source: &'a str) -> Self {
        let mut reader = Reader::new(source);
        let mut blocks = reader.document();
        let Reader { slices, mut kept, mut tokens, mut warnings, .. } = reader;
        let mut opaque = |tokens: &mut Tokens, block: &Block| {
            let (Origin::Whole(at) | Origin::Shell(at)) = block.origin else {
                return block.clone();
            };
            let slice = slices[at].trim();
            warn(&mut warnings, WarningKind::Placeholder, "HTML");
            kept.push(slice.to_owned());
            let label: String = html::words(slice).chars().take(60).collect();
            let print = Fingerprint::new("asana").part(slice).value();
            Block::new(BlockKind::Kept(tokens.add(TokenKind::Block, "html", &label, print, kept.len() - 1)))
        };
        let markdown = markdown::write(&mut blocks, &mut tokens, &mut opaque);
        Self { markdown, blocks, tokens, slices, kept, warnings }
    }
}
