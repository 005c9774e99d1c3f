//! Which placeholders a text uses.

use std::collections::BTreeSet;

use crate::token::Tokens;
use crate::tree::{Block, BlockKind, Inline, InlineKind, Mark};

/// What the new text no longer has a placeholder for, by the names of the types.
pub(crate) fn removed(old: &[Block], new: &[Block], tokens: &Tokens) -> BTreeSet<String> {
    let (mut before, mut after) = (vec![0_usize; tokens.len()], vec![0_usize; tokens.len()]);
    count(old, &mut before);
    count(new, &mut after);
    let gone = (0..tokens.len()).filter(|token| after[*token] < before[*token]);
    gone.map(|token| tokens.open(token)).collect()
}

fn count(blocks: &[Block], counts: &mut [usize]) {
    for block in blocks {
        match &block.kind {
            BlockKind::Paragraph(line) | BlockKind::Heading(_, line) => count_inlines(line, counts),
            BlockKind::Quote(blocks) => count(blocks, counts),
            BlockKind::Group(token, blocks) => {
                counts[*token] += 1;
                count(blocks, counts);
            }
            BlockKind::Kept(token) => counts[*token] += 1,
            BlockKind::List { items, .. } => items.iter().for_each(|item| count(&item.blocks, counts)),
            BlockKind::Table(rows) => {
                rows.iter().flat_map(|row| &row.cells).for_each(|cell| count_inlines(&cell.inlines, counts));
            }
            BlockKind::Code { .. } | BlockKind::Rule | BlockKind::Hidden => {}
        }
    }
}

fn count_inlines(line: &[Inline], counts: &mut [usize]) {
    let mut open: Vec<usize> = Vec::new();
    for inline in line {
        if let InlineKind::Kept(token) = inline.kind {
            counts[token] += 1;
        }
        let kept = inline.marks.iter().filter_map(|mark| match mark {
            Mark::Kept(token) => Some(*token),
            _ => None,
        });
        let kept: Vec<usize> = kept.collect();
        // A formatting over several texts is one placeholder.
        kept.iter().filter(|token| !open.contains(token)).for_each(|token| counts[*token] += 1);
        open = kept;
    }
}
