//! Jira's wiki markup: what Jira Data Center (REST v2) keeps texts in.
//!
//! See <https://jira.atlassian.com/secure/WikiRendererHelpAction.jspa?section=all>. Anything is wiki markup, so
//! nothing is refused: signs that make no sense are text, as Jira shows them.

mod inlines;
mod lines;
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
pub fn to_markdown(text: &str) -> Rendered {
    let shown = Shown::new(text);
    Rendered { markdown: shown.markdown, warnings: shown.warnings }
}

/// Markdown as wiki markup.
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
    if markdown.trim_end() == shown.markdown.trim_end() {
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

/// How something that Markdown cannot say begins and ends.
#[derive(Clone, Debug, Default)]
struct Kept {
    open: String,
    close: String,
}

/// A text as it is shown, with what stands behind each part.
struct Shown<'a> {
    markdown: String,
    blocks: Vec<Block>,
    tokens: Tokens,
    slices: Vec<&'a str>,
    kept: Vec<Kept>,
    warnings: Vec<Warning>,
}

impl<'a> Shown<'a> {
    fn new(text: &'a str) -> Self {
        let mut reader = Reader::default();
        let mut blocks = reader.blocks(text, 0);
        let Reader { slices, mut kept, mut tokens, mut warnings, .. } = reader;
        let mut opaque = |tokens: &mut Tokens, block: &Block| {
            let (Origin::Whole(at) | Origin::Shell(at)) = block.origin else {
                return block.clone();
            };
            let slice = slices[at].trim_matches('\n');
            warn(&mut warnings, WarningKind::Placeholder, "wiki markup");
            kept.push(Kept { open: slice.to_owned(), close: String::new() });
            let label: String = slice.chars().take(60).collect();
            let print = Fingerprint::new("wiki").part(slice).value();
            Block::new(BlockKind::Kept(tokens.add(TokenKind::Block, "markup", &label, print, kept.len() - 1)))
        };
        let markdown = markdown::write(&mut blocks, &mut tokens, &mut opaque);
        Self { markdown, blocks, tokens, slices, kept, warnings }
    }
}
