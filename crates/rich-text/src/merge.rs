//! An edited text on top of its original: what says the same is the original's own, what changed keeps what
//! Markdown does not show of it, and only what is new is new.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use crate::tree::{
    Block, BlockKind, Cell, Inline, InlineKind, InlineOrigin, Item, Origin, Row, Same, normal,
};

/// Pairs that are compared one by one; longer stretches are aligned greedily.
const MAX_PAIRS: usize = 250_000;
/// Changed neighbours whose likeness is measured.
const MAX_ALIKE: usize = 1_600;

/// One step of an alignment, in order of both sides.
#[derive(Clone, Copy, Debug)]
enum Step {
    Equal(usize),
    /// The second was made of the first.
    Changed(usize, usize),
    New(usize),
}

/// What can be changed into what, and how much it is still the same.
trait Like: Same {
    /// `None` when the one cannot have been made of the other; more is more alike.
    fn likeness(&self, other: &Self) -> Option<u32>;
}

/// The blocks of the edited text, made of the original's where there are some.
pub(crate) fn blocks(old: &[Block], new: Vec<Block>) -> Vec<Block> {
    let visible: Vec<usize> = (0..old.len()).filter(|at| !old[*at].is_hidden()).collect();
    let shown: Vec<&Block> = visible.iter().map(|at| &old[*at]).collect();
    let steps = align(&shown, &new.iter().collect::<Vec<_>>());
    let mut new: Vec<Option<Block>> = new.into_iter().map(Some).collect();
    let mut merged = Vec::with_capacity(new.len());
    let mut next = 0;
    // A block that shows nothing stays where it was among those that stay.
    let mut hidden = |merged: &mut Vec<Block>, until: usize| {
        merged.extend(old[next..until].iter().filter(|block| block.is_hidden()).cloned());
        next = until + 1;
    };
    for step in steps {
        match step {
            Step::Equal(at) => {
                hidden(&mut merged, visible[at]);
                merged.push(shown[at].clone());
            }
            Step::Changed(at, to) => {
                hidden(&mut merged, visible[at]);
                merged.extend(new[to].take().map(|new| block(shown[at], new)));
            }
            Step::New(to) => merged.extend(new[to].take()),
        }
    }
    let rest = old.get(next..).unwrap_or_default();
    merged.extend(rest.iter().filter(|block| block.is_hidden()).cloned());
    merged
}

fn block(old: &Block, new: Block) -> Block {
    use BlockKind::{Group, Heading, List, Paragraph, Quote, Table};
    let kind = match (&old.kind, new.kind) {
        (Paragraph(old), Paragraph(new)) => Paragraph(inlines(old, &new)),
        (Heading(_, old), Heading(level, new)) => Heading(level, inlines(old, &new)),
        (Quote(old), Quote(new)) => Quote(blocks(old, new)),
        (Group(_, old), Group(token, new)) => Group(token, blocks(old, new)),
        (List { items: old, .. }, List { ordered, items: new }) => {
            List { ordered, items: all(old, new, item) }
        }
        (Table(old), Table(new)) => Table(all(old, new, row)),
        (_, new) => new,
    };
    Block { kind, origin: shell(old.origin) }
}

fn item(old: &Item, new: Item) -> Item {
    Item { task: new.task, blocks: blocks(&old.blocks, new.blocks), origin: shell(old.origin) }
}

fn row(old: &Row, new: Row) -> Row {
    let cells = if old.cells.len() == new.cells.len() {
        old.cells
            .iter()
            .zip(new.cells)
            .map(|(old, new)| if old.same(&new) { old.clone() } else { cell(old, new) })
            .collect()
    } else {
        all(&old.cells, new.cells, cell)
    };
    Row { cells, origin: shell(old.origin) }
}

#[expect(clippy::needless_pass_by_value, reason = "one of several functions of this form")]
fn cell(old: &Cell, new: Cell) -> Cell {
    Cell { inlines: inlines(&old.inlines, &new.inlines), origin: shell(old.origin) }
}

fn inlines(old: &[Inline], new: &[Inline]) -> Vec<Inline> {
    let (old, new) = (normal(old), normal(new));
    let steps = align(&old.iter().collect::<Vec<_>>(), &new.iter().collect::<Vec<_>>());
    steps
        .into_iter()
        .map(|step| match step {
            Step::Equal(at) => old[at].clone(),
            Step::Changed(at, to) => {
                let origin = old[at].origin.clone().map(|origin| InlineOrigin { changed: true, ..origin });
                Inline { origin, ..new[to].clone() }
            }
            Step::New(to) => new[to].clone(),
        })
        .collect()
}

fn all<T: Like + Clone>(old: &[T], new: Vec<T>, change: fn(&T, T) -> T) -> Vec<T> {
    let steps = align(&old.iter().collect::<Vec<_>>(), &new.iter().collect::<Vec<_>>());
    let mut new: Vec<Option<T>> = new.into_iter().map(Some).collect();
    let merged = steps.into_iter().filter_map(|step| match step {
        Step::Equal(at) => Some(old[at].clone()),
        Step::Changed(at, to) => new[to].take().map(|new| change(&old[at], new)),
        Step::New(to) => new[to].take(),
    });
    merged.collect()
}

fn shell(origin: Origin) -> Origin {
    match origin {
        Origin::Whole(at) | Origin::Shell(at) => Origin::Shell(at),
        Origin::New => Origin::New,
    }
}

/// Finds what stayed, and between what stayed, what was made of what.
fn align<T: Like>(old: &[&T], new: &[&T]) -> Vec<Step> {
    let start = old.iter().zip(new).take_while(|(old, new)| old.same(new)).count();
    let end = old[start..]
        .iter()
        .rev()
        .zip(new[start..].iter().rev())
        .take_while(|(old, new)| old.same(new))
        .count();
    let (old_end, new_end) = (old.len() - end, new.len() - end);
    let mut steps: Vec<Step> = (0..start).map(Step::Equal).collect();
    let (mut from, mut to) = (start, start);
    for (at, other) in common(&old[start..old_end], &new[start..new_end]) {
        gap(old, new, from..start + at, to..start + other, &mut steps);
        steps.push(Step::Equal(start + at));
        (from, to) = (start + at + 1, start + other + 1);
    }
    gap(old, new, from..old_end, to..new_end, &mut steps);
    steps.extend((0..end).map(|at| Step::Equal(old_end + at)));
    steps
}

/// A common subsequence: the longest one where that is affordable.
fn common<T: Like>(old: &[&T], new: &[&T]) -> Vec<(usize, usize)> {
    let hashes = |all: &[&T]| -> Vec<u64> {
        let hash = |one: &&T| {
            let mut hasher = DefaultHasher::new();
            one.feed(&mut hasher);
            hasher.finish()
        };
        all.iter().map(hash).collect()
    };
    let (one, two) = (hashes(old), hashes(new));
    let equal = |at: usize, to: usize| one[at] == two[to] && old[at].same(new[to]);
    if old.len().saturating_mul(new.len()) > MAX_PAIRS {
        return greedy(&one, &two).into_iter().filter(|(at, to)| equal(*at, *to)).collect();
    }
    let width = new.len() + 1;
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    for at in (0..old.len()).rev() {
        for to in (0..new.len()).rev() {
            lengths[at * width + to] = if one[at] == two[to] {
                lengths[(at + 1) * width + to + 1] + 1
            } else {
                lengths[(at + 1) * width + to].max(lengths[at * width + to + 1])
            };
        }
    }
    let (mut at, mut to) = (0, 0);
    let mut pairs = Vec::new();
    while at < old.len() && to < new.len() {
        if one[at] == two[to] {
            if equal(at, to) {
                pairs.push((at, to));
            }
            (at, to) = (at + 1, to + 1);
        } else if lengths[(at + 1) * width + to] >= lengths[at * width + to + 1] {
            at += 1;
        } else {
            to += 1;
        }
    }
    pairs
}

fn greedy(old: &[u64], new: &[u64]) -> Vec<(usize, usize)> {
    let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
    for (at, hash) in old.iter().enumerate() {
        places.entry(*hash).or_default().push(at);
    }
    let mut from = 0;
    let mut pairs = Vec::new();
    for (to, hash) in new.iter().enumerate() {
        let Some(places) = places.get(hash) else {
            continue;
        };
        if let Some(at) = places.get(places.partition_point(|at| *at < from)) {
            pairs.push((*at, to));
            from = at + 1;
        }
    }
    pairs
}

/// Pairs what was removed with what was added in the same place, the most alike first.
fn gap<T: Like>(
    old: &[&T],
    new: &[&T],
    olds: std::ops::Range<usize>,
    news: std::ops::Range<usize>,
    steps: &mut Vec<Step>,
) {
    let (rows, columns) = (olds.len(), news.len());
    if rows * columns > MAX_ALIKE {
        let mut at = olds.start;
        for to in news {
            let found = (at..olds.end).take(8).find(|at| old[*at].likeness(new[to]).is_some());
            steps.push(found.map_or(Step::New(to), |at| Step::Changed(at, to)));
            at = found.map_or(at, |found| found + 1);
        }
        return;
    }
    let width = columns + 1;
    let mut best = vec![0_u32; (rows + 1) * width];
    let mut likeness = vec![None; rows * columns];
    for at in (0..rows).rev() {
        for to in (0..columns).rev() {
            let alike = old[olds.start + at].likeness(new[news.start + to]);
            likeness[at * columns + to] = alike;
            let paired = alike.map_or(0, |alike| best[(at + 1) * width + to + 1] + alike + 1);
            best[at * width + to] = paired.max(best[(at + 1) * width + to]).max(best[at * width + to + 1]);
        }
    }
    let (mut at, mut to) = (0, 0);
    while to < columns {
        if at == rows {
            steps.push(Step::New(news.start + to));
            to += 1;
            continue;
        }
        let here = best[at * width + to];
        let paired = likeness[at * columns + to].map(|alike| best[(at + 1) * width + to + 1] + alike + 1);
        if paired == Some(here) {
            steps.push(Step::Changed(olds.start + at, news.start + to));
            (at, to) = (at + 1, to + 1);
        } else if here == best[at * width + to + 1] {
            steps.push(Step::New(news.start + to));
            to += 1;
        } else {
            at += 1;
        }
    }
}

impl Like for Block {
    fn likeness(&self, other: &Self) -> Option<u32> {
        use BlockKind::{Code, Group, Heading, List, Paragraph, Quote, Table};
        match (&self.kind, &other.kind) {
            (Paragraph(_), Paragraph(_)) | (Heading(..), Heading(..)) | (Quote(_), Quote(_)) => {}
            (Table(_), Table(_)) | (Code { .. }, Code { .. }) => {}
            (List { ordered: one, .. }, List { ordered: two, .. }) if one.is_some() == two.is_some() => {}
            (Group(one, _), Group(two, _)) if one == two => {}
            _ => return None,
        }
        Some(common_words(&words(self), &words(other)))
    }
}

impl Like for Item {
    fn likeness(&self, other: &Self) -> Option<u32> {
        let words = |item: &Item| item.blocks.iter().map(words).collect::<Vec<_>>().join(" ");
        Some(common_words(&words(self), &words(other)))
    }
}

impl Like for Row {
    fn likeness(&self, other: &Self) -> Option<u32> {
        let words =
            |row: &Row| row.cells.iter().map(|cell| line_words(&cell.inlines)).collect::<Vec<_>>().join(" ");
        Some(common_words(&words(self), &words(other)))
    }
}

impl Like for Cell {
    fn likeness(&self, other: &Self) -> Option<u32> {
        Some(common_words(&line_words(&self.inlines), &line_words(&other.inlines)))
    }
}

impl Like for Inline {
    fn likeness(&self, other: &Self) -> Option<u32> {
        match (&self.kind, &other.kind) {
            (InlineKind::Text(one), InlineKind::Text(two)) if self.marks == other.marks => {
                Some(common_words(one, two))
            }
            _ => None,
        }
    }
}

/// The first words of a block.
fn words(block: &Block) -> String {
    match &block.kind {
        BlockKind::Paragraph(line) | BlockKind::Heading(_, line) => line_words(line),
        BlockKind::Code { text, .. } => text.chars().take(2_000).collect(),
        BlockKind::Quote(blocks) | BlockKind::Group(_, blocks) => {
            blocks.iter().take(4).map(words).collect::<Vec<_>>().join(" ")
        }
        BlockKind::List { items, .. } => {
            let blocks = items.iter().take(4).flat_map(|item| item.blocks.iter().take(1));
            blocks.map(words).collect::<Vec<_>>().join(" ")
        }
        BlockKind::Table(rows) => {
            let cells = rows.iter().take(2).flat_map(|row| &row.cells);
            cells.map(|cell| line_words(&cell.inlines)).collect::<Vec<_>>().join(" ")
        }
        BlockKind::Rule | BlockKind::Kept(_) | BlockKind::Hidden => String::new(),
    }
}

/// The beginning of a text, so that long ones cost no more to compare.
fn head(text: &str) -> &str {
    let end = (0..=text.len().min(2_000)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// The beginning of a line's words.
fn line_words(line: &[Inline]) -> String {
    let mut words = String::new();
    for inline in line {
        match &inline.kind {
            InlineKind::Text(text) => words.push_str(head(text)),
            InlineKind::Break => words.push(' '),
            InlineKind::Image { .. } | InlineKind::Kept(_) => {}
        }
        if words.len() > 2_000 {
            break;
        }
    }
    words
}

/// How much of two texts is the same, from 0 to 1,000, judged by their first words.
fn common_words(one: &str, two: &str) -> u32 {
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let (mut total, mut shared) = (0_u32, 0_u32);
    for word in head(one).split_whitespace().take(60) {
        *seen.entry(word).or_default() += 1;
        total += 1;
    }
    for word in head(two).split_whitespace().take(60) {
        total += 1;
        if let Some(left) = seen.get_mut(word).filter(|left| **left > 0) {
            *left -= 1;
            shared += 2;
        }
    }
    (shared * 1_000).checked_div(total).unwrap_or(0)
}
