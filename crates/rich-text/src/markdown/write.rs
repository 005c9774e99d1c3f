//! Blocks as Markdown.

use super::inlines::{self, Line, longest_run};
use super::{Care, read};
use crate::token::Tokens;
use crate::tree::{Block, BlockKind, Inline, Item, Row, same_blocks};

/// Makes a placeholder of a block that cannot be written otherwise.
pub(crate) type Opaque<'a> = &'a mut dyn FnMut(&mut Tokens, &Block) -> Block;

/// Writes blocks, and turns those that would not come back as they are into placeholders.
pub(crate) fn write(blocks: &mut [Block], tokens: &mut Tokens, opaque: Opaque<'_>) -> String {
    for block in blocks.iter_mut() {
        if block.is_hidden() || [Care::Plain, Care::Strict].iter().any(|care| holds(block, *care, tokens)) {
            continue;
        }
        let origin = block.origin;
        *block = opaque(tokens, block);
        block.origin = origin;
    }
    let written = join(blocks, Care::Plain, tokens, false);
    written + if blocks.iter().all(Block::is_hidden) { "" } else { "\n" }
}

/// Whether a block is read as it was written.
fn holds(block: &Block, care: Care, tokens: &Tokens) -> bool {
    let written = one(block, care, tokens, Side::default());
    same_blocks(&read(&written, tokens, &mut Vec::new()), std::slice::from_ref(block))
}

/// What a block stands beside.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// A list of its own kind stands right before it: other signs keep the two apart.
    after_list: bool,
    in_item: bool,
}

fn join(blocks: &[Block], care: Care, tokens: &Tokens, in_item: bool) -> String {
    let mut out = String::new();
    let mut before: Option<(&Block, bool)> = None;
    for block in blocks.iter().filter(|block| !block.is_hidden()) {
        let care =
            if care == Care::Plain && !in_item && !holds(block, care, tokens) { Care::Strict } else { care };
        let twin = match (before, &block.kind) {
            (
                Some((Block { kind: BlockKind::List { ordered: one, .. }, .. }, odd)),
                BlockKind::List { ordered, .. },
            ) if one.is_some() == ordered.is_some() => !odd,
            _ => false,
        };
        if let Some((before, _)) = before {
            out.push_str(if in_item && is_tight(before, block) { "\n" } else { "\n\n" });
        }
        out.push_str(&one(block, care, tokens, Side { after_list: twin, in_item }));
        before = Some((block, twin));
    }
    out
}

/// Whether a list may follow a paragraph without a blank line.
fn is_tight(before: &Block, block: &Block) -> bool {
    let BlockKind::List { ordered, items } = &block.kind else {
        return false;
    };
    let begins = items.first().is_some_and(|item| item.blocks.iter().any(|block| !block.is_hidden()));
    matches!(before.kind, BlockKind::Paragraph(_)) && begins && ordered.is_none_or(|first| first == 1)
}

fn one(block: &Block, care: Care, tokens: &Tokens, side: Side) -> String {
    match &block.kind {
        BlockKind::Paragraph(line) => text(line, Line::Paragraph, care, tokens),
        BlockKind::Heading(level, line) => {
            let line = text(line, Line::Heading, care, tokens);
            format!("{} {line}", "#".repeat(usize::from(*level))).trim_end().to_owned()
        }
        BlockKind::Code { language, text } => {
            let fence = "`".repeat(longest_run(text).max(2) + 1);
            let end = if text.is_empty() { "" } else { "\n" };
            format!("{fence}{language}\n{text}{end}{fence}")
        }
        // Dashes after a list's dash would be one long rule.
        BlockKind::Rule => if side.in_item { "___" } else { "---" }.to_owned(),
        BlockKind::Quote(blocks) => {
            let inside = join(blocks, care, tokens, true);
            let quoted = |line: &str| if line.is_empty() { ">".to_owned() } else { format!("> {line}") };
            inside.split('\n').map(quoted).collect::<Vec<_>>().join("\n")
        }
        BlockKind::List { ordered, items } => list(*ordered, items, care, tokens, side),
        BlockKind::Table(rows) => table(rows, care, tokens),
        BlockKind::Kept(token) => tokens.open(*token),
        BlockKind::Group(token, blocks) => {
            let inside = join(blocks, care, tokens, true);
            let inside = if inside.is_empty() { inside } else { format!("{inside}\n\n") };
            format!("{}\n\n{inside}{}", tokens.open(*token), tokens.close(*token))
        }
        BlockKind::Hidden => String::new(),
    }
}

/// A line that is read as it was written, if that can be.
fn text(line: &[Inline], kind: Line, care: Care, tokens: &Tokens) -> String {
    let written = inlines::write(line, kind, care, tokens);
    if care == Care::Strict {
        return written;
    }
    let alone = [Block::paragraph(line.to_vec())];
    let empty = line.is_empty();
    if empty || same_blocks(&read(&written, tokens, &mut Vec::new()), &alone) {
        written
    } else {
        inlines::write(line, kind, Care::Strict, tokens)
    }
}

fn list(ordered: Option<u64>, items: &[Item], care: Care, tokens: &Tokens, side: Side) -> String {
    let mut lines = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let marker = match ordered {
            Some(first) => {
                format!("{}{} ", first.saturating_add(at as u64), if side.after_list { ')' } else { '.' })
            }
            None => if side.after_list { "* " } else { "- " }.to_owned(),
        };
        let task = match item.task {
            Some(true) => "[x] ",
            Some(false) => "[ ] ",
            None => "",
        };
        let mut inside = join(&item.blocks, care, tokens, true);
        if item.task.is_some() && !matches!(first(item), Some(BlockKind::Paragraph(_))) {
            // A box needs something after it on its line.
            inside = format!("<br>{}{inside}", if inside.is_empty() { "" } else { "\n\n" });
        }
        let indent = " ".repeat(marker.len());
        let inside = format!("{task}{inside}");
        let mut text = String::new();
        for (at, line) in inside.split('\n').enumerate() {
            if at > 0 {
                text.push('\n');
                text.push_str(if line.is_empty() { "" } else { &indent });
            }
            text.push_str(line);
        }
        lines.push(format!("{marker}{text}").trim_end_matches(' ').to_owned());
    }
    lines.join("\n")
}

fn first(item: &Item) -> Option<&BlockKind> {
    item.blocks.iter().find(|block| !block.is_hidden()).map(|block| &block.kind)
}

fn table(rows: &[Row], care: Care, tokens: &Tokens) -> String {
    let mut lines = Vec::with_capacity(rows.len() + 1);
    for (at, row) in rows.iter().enumerate() {
        let cells = row.cells.iter().map(|cell| text(&cell.inlines, Line::Cell, care, tokens));
        lines.push(format!("| {} |", cells.collect::<Vec<_>>().join(" | ")));
        if at == 0 {
            lines.push(format!("|{}", " --- |".repeat(row.cells.len())));
        }
    }
    lines.join("\n")
}
