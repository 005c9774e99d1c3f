//! What Markdown can say: the middle ground between it and the formats of the trackers.
//!
//! A tree that was read from a tracker remembers in `origin` which part of the original each node stands for;
//! origins take no part in comparisons. Trees are at most [`MAX_DEPTH`] deep, so recursion over them is safe.

use std::hash::{Hash, Hasher};
use std::ops::Range;

/// Containers within containers that are read from Markdown; anything deeper is made flat.
pub(crate) const MAX_DEPTH: usize = 48;

/// Which part of the original a node is, as an index that the format gave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is new.
    #[default]
    New,
    /// It stands in the original exactly like this.
    Whole(usize),
    /// Its content changed; what Markdown does not show of it is as in the original.
    Shell(usize),
}

/// An index into the tokens of a text.
pub(crate) type TokenId = usize;

#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) kind: BlockKind,
    pub(crate) origin: Origin,
}

#[derive(Clone, Debug)]
pub(crate) enum BlockKind {
    Paragraph(Vec<Inline>),
    Heading(u8, Vec<Inline>),
    Code {
        language: String,
        text: String,
    },
    Rule,
    Quote(Vec<Block>),
    List {
        /// The first number of a numbered list.
        ordered: Option<u64>,
        items: Vec<Item>,
    },
    /// The first row is the heading.
    Table(Vec<Row>),
    /// A placeholder that stands alone.
    Kept(TokenId),
    /// Blocks between a placeholder and its end.
    Group(TokenId, Vec<Block>),
    /// A block that shows nothing, such as an empty paragraph. Equal to no block at all.
    Hidden,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Item {
    /// Whether it is a task, and done.
    pub(crate) task: Option<bool>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) origin: Origin,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Cell>,
    pub(crate) origin: Origin,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) inlines: Vec<Inline>,
    pub(crate) origin: Origin,
}

#[derive(Clone, Debug)]
pub(crate) struct Inline {
    pub(crate) kind: InlineKind,
    /// Sorted, without doubles.
    pub(crate) marks: Vec<Mark>,
    pub(crate) origin: Option<InlineOrigin>,
}

/// The consecutive nodes of the original that one inline stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InlineOrigin {
    pub(crate) nodes: Range<usize>,
    /// Whether the text differs from the original's, and only its marks are as there.
    pub(crate) changed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum InlineKind {
    Text(String),
    Break,
    Image { url: String, alt: String },
    Kept(TokenId),
}

/// A formatting. The order is that of nesting, outermost first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Mark {
    Link { href: String, title: String },
    Kept(TokenId),
    Strong,
    Em,
    Strike,
    Underline,
    Sub,
    Sup,
    Code,
}

impl Block {
    pub(crate) fn new(kind: BlockKind) -> Self {
        Self { kind, origin: Origin::New }
    }

    pub(crate) fn paragraph(inlines: Vec<Inline>) -> Self {
        Self::new(BlockKind::Paragraph(inlines))
    }

    pub(crate) fn is_hidden(&self) -> bool {
        matches!(self.kind, BlockKind::Hidden)
    }
}

impl Inline {
    pub(crate) fn new(kind: InlineKind, marks: Vec<Mark>) -> Self {
        Self { kind, marks, origin: None }
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::new(InlineKind::Text(text.into()), Vec::new())
    }

    fn same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.marks == other.marks
    }
}

/// Joins neighbouring texts of one formatting, and drops empty ones; a joined text has the origins of its parts.
pub(crate) fn normal(inlines: &[Inline]) -> Vec<Inline> {
    let mut joined: Vec<Inline> = Vec::with_capacity(inlines.len());
    let mut leading: Option<usize> = None;
    for inline in inlines {
        if matches!(&inline.kind, InlineKind::Text(text) if text.is_empty()) {
            match (joined.last_mut(), &inline.origin) {
                (None, Some(own)) => leading = leading.or(Some(own.nodes.start)),
                (Some(Inline { origin: Some(last), .. }), Some(own)) if last.nodes.end == own.nodes.start => {
                    last.nodes.end = own.nodes.end;
                }
                _ => {}
            }
            continue;
        }
        if let (Some(last), InlineKind::Text(more)) = (joined.last_mut(), &inline.kind)
            && last.marks == inline.marks
            && let InlineKind::Text(text) = &mut last.kind
        {
            text.push_str(more);
            last.origin = match (last.origin.take(), &inline.origin) {
                (Some(one), Some(two)) if one.nodes.end == two.nodes.start => Some(InlineOrigin {
                    nodes: one.nodes.start..two.nodes.end,
                    changed: one.changed || two.changed,
                }),
                _ => None,
            };
            continue;
        }
        let mut inline = inline.clone();
        if let (Some(start), Some(origin)) = (leading.take(), inline.origin.as_mut()) {
            origin.nodes.start = start;
        }
        joined.push(inline);
    }
    joined
}

pub(crate) fn same_inlines(one: &[Inline], two: &[Inline]) -> bool {
    let (one, two) = (normal(one), normal(two));
    one.len() == two.len() && one.iter().zip(&two).all(|(one, two)| one.same(two))
}

/// Whether two lists of blocks say the same, hidden blocks aside.
pub(crate) fn same_blocks(one: &[Block], two: &[Block]) -> bool {
    let mut one = one.iter().filter(|block| !block.is_hidden());
    let mut two = two.iter().filter(|block| !block.is_hidden());
    loop {
        match (one.next(), two.next()) {
            (None, None) => return true,
            (Some(one), Some(two)) if one.same(two) => {}
            _ => return false,
        }
    }
}

/// What two versions of a text are compared by.
pub(crate) trait Same {
    /// Whether both say the same, origins aside.
    fn same(&self, other: &Self) -> bool;
    /// Equal for all that say the same.
    fn feed(&self, hasher: &mut dyn Hasher);
}

impl Same for Inline {
    fn same(&self, other: &Self) -> bool {
        Inline::same(self, other)
    }

    fn feed(&self, mut hasher: &mut dyn Hasher) {
        self.kind.hash(&mut hasher);
        self.marks.hash(&mut hasher);
    }
}

impl Same for Block {
    fn same(&self, other: &Self) -> bool {
        use BlockKind::{Code, Group, Heading, Hidden, Kept, List, Paragraph, Quote, Rule, Table};
        match (&self.kind, &other.kind) {
            (Paragraph(one), Paragraph(two)) => same_inlines(one, two),
            (Heading(level, one), Heading(other, two)) => level == other && same_inlines(one, two),
            (Code { language, text }, Code { language: other, text: two }) => {
                language == other && text == two
            }
            (Rule, Rule) | (Hidden, Hidden) => true,
            (Quote(one), Quote(two)) => same_blocks(one, two),
            (List { ordered, items }, List { ordered: other, items: two }) => {
                ordered == other && same_all(items, two)
            }
            (Table(one), Table(two)) => same_all(one, two),
            (Kept(one), Kept(two)) => one == two,
            (Group(token, one), Group(other, two)) => token == other && same_blocks(one, two),
            _ => false,
        }
    }

    fn feed(&self, mut hasher: &mut dyn Hasher) {
        std::mem::discriminant(&self.kind).hash(&mut hasher);
        match &self.kind {
            BlockKind::Paragraph(inlines) | BlockKind::Heading(_, inlines) => feed_inlines(inlines, hasher),
            BlockKind::Code { text, .. } => text.hash(&mut hasher),
            BlockKind::Quote(blocks) | BlockKind::Group(_, blocks) => feed_blocks(blocks, hasher),
            BlockKind::List { items, .. } => items.iter().for_each(|item| item.feed(hasher)),
            BlockKind::Table(rows) => rows.iter().for_each(|row| row.feed(hasher)),
            BlockKind::Kept(token) => token.hash(&mut hasher),
            BlockKind::Rule | BlockKind::Hidden => {}
        }
    }
}

impl Same for Item {
    fn same(&self, other: &Self) -> bool {
        self.task == other.task && same_blocks(&self.blocks, &other.blocks)
    }

    fn feed(&self, mut hasher: &mut dyn Hasher) {
        self.task.hash(&mut hasher);
        feed_blocks(&self.blocks, hasher);
    }
}

impl Same for Row {
    fn same(&self, other: &Self) -> bool {
        same_all(&self.cells, &other.cells)
    }

    fn feed(&self, hasher: &mut dyn Hasher) {
        self.cells.iter().for_each(|cell| cell.feed(hasher));
    }
}

impl Same for Cell {
    fn same(&self, other: &Self) -> bool {
        same_inlines(&self.inlines, &other.inlines)
    }

    fn feed(&self, hasher: &mut dyn Hasher) {
        feed_inlines(&self.inlines, hasher);
    }
}

fn same_all<T: Same>(one: &[T], two: &[T]) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.same(two))
}

fn feed_inlines(inlines: &[Inline], mut hasher: &mut dyn Hasher) {
    normal(inlines).iter().for_each(|inline| inline.feed(hasher));
    0xff_u8.hash(&mut hasher);
}

fn feed_blocks(blocks: &[Block], mut hasher: &mut dyn Hasher) {
    blocks.iter().filter(|block| !block.is_hidden()).for_each(|block| block.feed(hasher));
    0xfe_u8.hash(&mut hasher);
}

/// The words of some inlines, for an excerpt.
pub(crate) fn plain(inlines: &[Inline]) -> String {
    let mut text = String::new();
    for inline in inlines {
        match &inline.kind {
            InlineKind::Text(more) => text.push_str(more),
            InlineKind::Break => text.push('\n'),
            InlineKind::Image { alt, .. } => text.push_str(alt),
            InlineKind::Kept(_) => {}
        }
    }
    text
}
