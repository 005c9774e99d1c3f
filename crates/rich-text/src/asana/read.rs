//! Asana's HTML as the tree.

use super::html::{Element, Node, decoded, parse, words};
use crate::markdown::{storable, warn};
use crate::token::{Fingerprint, TokenKind, Tokens};
use crate::tree::{Block, BlockKind, Cell, Inline, InlineKind, Item, Mark, Origin, Row, normal};
use crate::warning::{Warning, WarningKind};

/// Reads a text and remembers which part of it each block was made of.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    source: &'a str,
    /// For each block, its text up to the next block.
    pub(super) slices: Vec<&'a str>,
    pub(super) kept: Vec<String>,
    pub(super) tokens: Tokens,
    pub(super) warnings: Vec<Warning>,
}

/// Blocks as they are found, with the inlines that may become a paragraph.
#[derive(Default)]
struct Found {
    blocks: Vec<(usize, BlockKind)>,
    line: Vec<Inline>,
    start: usize,
}

impl Found {
    fn flush(&mut self) {
        let line = trimmed(&std::mem::take(&mut self.line));
        if !line.is_empty() {
            self.blocks.push((self.start, BlockKind::Paragraph(line)));
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Self { source, slices: Vec::new(), kept: Vec::new(), tokens: Tokens::default(), warnings: Vec::new() }
    }

    pub(super) fn document(&mut self) -> Vec<Block> {
        let nodes = parse(self.source);
        let body = nodes.iter().find_map(|node| match node {
            Node::Element(element) if element.name == "body" => Some(element),
            _ => None,
        });
        match body {
            Some(body) => {
                let end = self.source[..body.place.end].rfind("</").filter(|end| *end >= body.place.start);
                let end = end.unwrap_or(body.place.end);
                let start =
                    self.source[body.place.start..].find('>').map_or(end, |at| body.place.start + at + 1);
                self.blocks(&body.children, Some(start), end)
            }
            None => self.blocks(&nodes, Some(0), self.source.len()),
        }
    }

    /// The blocks of some nodes. What stands before the first one, from `start` on, belongs to it.
    fn blocks(&mut self, nodes: &[Node<'a>], start: Option<usize>, end: usize) -> Vec<Block> {
        let mut found = Found::default();
        for node in nodes {
            match node {
                Node::Text(place) => self.text(place.start, place.end, &mut found),
                Node::Element(element) => match self.block(element) {
                    Some(kind) => {
                        found.flush();
                        found.blocks.push((element.place.start, kind));
                    }
                    None => {
                        if found.line.is_empty() {
                            found.start = element.place.start;
                        }
                        self.element(element, &[], &mut found.line);
                    }
                },
            }
        }
        found.flush();
        if let (Some(start), Some(first)) = (start, found.blocks.first_mut()) {
            first.0 = start;
        }
        let ends: Vec<usize> = found.blocks.iter().skip(1).map(|next| next.0).chain([end]).collect();
        let blocks = found.blocks.into_iter().zip(ends).map(|((start, kind), end)| {
            self.slices.push(self.source.get(start..end).unwrap_or_default());
            Block { kind, origin: Origin::Whole(self.slices.len() - 1) }
        });
        blocks.collect()
    }

    /// A text between blocks: an empty line ends a paragraph.
    fn text(&mut self, start: usize, end: usize, found: &mut Found) {
        let mut at = start;
        for (number, line) in self.source[start..end].split('\n').enumerate() {
            if number > 0 {
                if line.trim().is_empty() && at + line.len() < end {
                    found.flush();
                } else if !found.line.is_empty() {
                    found.line.push(Inline::text("\n"));
                }
            }
            let blank = line.trim().is_empty();
            if !blank || !found.line.is_empty() {
                if found.line.is_empty() {
                    found.start = at + (line.len() - line.trim_start().len());
                }
                let text = self.clean(line);
                found.line.push(Inline::text(text));
            }
            at += line.len() + 1;
        }
    }

    fn block(&mut self, element: &Element<'a>) -> Option<BlockKind> {
        let named = element.attributes().next().is_some();
        let kind = match element.name.as_str() {
            "h1" => BlockKind::Heading(1, self.inlines(&element.children)),
            "h2" => BlockKind::Heading(2, self.inlines(&element.children)),
            "hr" => BlockKind::Rule,
            "pre" => {
                let text = plain(self.source, &element.children);
                BlockKind::Code {
                    language: String::new(),
                    text: self.clean(&text).trim_matches('\n').to_owned(),
                }
            }
            "blockquote" => {
                let end = self.source[..element.place.end].rfind("</").unwrap_or(element.place.end);
                BlockKind::Quote(self.blocks(&element.children, None, end))
            }
            "ul" | "ol" => self.list(element)?,
            "table" => match self.table(element) {
                Some(table) => table,
                None => return Some(self.opaque(element)),
            },
            _ => return None,
        };
        if named {
            warn(&mut self.warnings, WarningKind::Hidden, &format!("the attributes of <{}>", element.name));
        }
        Some(kind)
    }

    fn list(&mut self, element: &Element<'a>) -> Option<BlockKind> {
        let mut items = Vec::new();
        for child in &element.children {
            match child {
                Node::Element(item) if item.name == "li" => items.push(self.item(item)),
                // Older texts have a list right inside a list, belonging to the item before.
                Node::Element(inner) if matches!(inner.name.as_str(), "ul" | "ol") => {
                    let list = Block::new(self.list(inner)?);
                    match items.last_mut() {
                        Some(Item { blocks, .. }) => blocks.push(list),
                        None => items.push(Item { blocks: vec![list], ..Item::default() }),
                    }
                }
                Node::Text(place) if self.source[place.clone()].trim().is_empty() => {}
                _ => return Some(self.opaque(element)),
            }
        }
        let ordered = (element.name == "ol").then_some(1);
        Some(if items.is_empty() { self.opaque(element) } else { BlockKind::List { ordered, items } })
    }

    fn item(&mut self, element: &Element<'a>) -> Item {
        let (mut blocks, mut line) = (Vec::new(), Vec::new());
        let flush = |line: &mut Vec<Inline>, blocks: &mut Vec<Block>| {
            let line = trimmed(&std::mem::take(line));
            if !line.is_empty() {
                blocks.push(Block::paragraph(line));
            }
        };
        for child in &element.children {
            match child {
                Node::Text(place) => line.push(Inline::text(self.clean(&self.source[place.clone()]))),
                Node::Element(inner) => match self.block(inner) {
                    Some(kind) => {
                        flush(&mut line, &mut blocks);
                        blocks.push(Block::new(kind));
                    }
                    None => self.element(inner, &[], &mut line),
                },
            }
        }
        flush(&mut line, &mut blocks);
        Item { blocks, ..Item::default() }
    }

    /// A table of lines; one with lists or headings in its cells is kept as it is.
    fn table(&mut self, element: &Element<'a>) -> Option<BlockKind> {
        let mut rows: Vec<Row> = Vec::new();
        for row in elements(&element.children) {
            if row.name != "tr" {
                return None;
            }
            let mut cells = Vec::new();
            for cell in elements(&row.children) {
                let inner = elements(&cell.children).any(|inner| !is_inline(&inner.name));
                if !matches!(cell.name.as_str(), "td" | "th") || inner || !spans_one(cell) {
                    return None;
                }
                cells.push(Cell { inlines: trimmed(&self.inlines(&cell.children)), ..Cell::default() });
            }
            rows.push(Row { cells, ..Row::default() });
        }
        let columns = rows.first().map_or(0, |row| row.cells.len());
        (columns > 0 && rows.iter().all(|row| row.cells.len() == columns)).then_some(BlockKind::Table(rows))
    }

    fn inlines(&mut self, nodes: &[Node<'a>]) -> Vec<Inline> {
        let mut line = Vec::new();
        self.nodes(nodes, &[], &mut line);
        normal(&line)
    }

    fn nodes(&mut self, nodes: &[Node<'a>], marks: &[Mark], line: &mut Vec<Inline>) {
        for node in nodes {
            match node {
                Node::Text(place) => {
                    let text = self.clean(&self.source[place.clone()]);
                    line.push(Inline::new(InlineKind::Text(text), marks.to_vec()));
                }
                Node::Element(element) => self.element(element, marks, line),
            }
        }
    }

    fn element(&mut self, element: &Element<'a>, marks: &[Mark], line: &mut Vec<Inline>) {
        let mark = match element.name.as_str() {
            "strong" | "b" => Mark::Strong,
            "em" | "i" => Mark::Em,
            "u" => Mark::Underline,
            "s" | "strike" | "del" => Mark::Strike,
            "code" => Mark::Code,
            "br" => {
                line.push(Inline::text("\n"));
                return;
            }
            "a" if element.attributes().all(|(name, _)| name == "href") => {
                Mark::Link { href: element.attribute("href").unwrap_or_default(), title: String::new() }
            }
            "a" => return self.keep(element, "mention", line),
            "img" => return self.keep(element, "image", line),
            _ => return self.keep(element, "html", line),
        };
        let mut marks = marks.to_vec();
        marks.push(mark);
        marks.sort();
        marks.dedup();
        self.nodes(&element.children, &marks, line);
    }

    fn keep(&mut self, element: &Element<'a>, name: &str, line: &mut Vec<Inline>) {
        let source = &self.source[element.place.clone()];
        let said = words(source);
        let label = [
            Some(said),
            element.attribute("alt"),
            element.attribute("data-asana-gid"),
            element.attribute("src"),
        ]
        .into_iter()
        .flatten()
        .find(|label| !label.trim().is_empty());
        let token = self.token(TokenKind::Inline, name, &label.unwrap_or_default(), source);
        line.push(Inline::new(InlineKind::Kept(token), Vec::new()));
    }

    fn opaque(&mut self, element: &Element<'a>) -> BlockKind {
        let source = &self.source[element.place.clone()];
        BlockKind::Kept(self.token(TokenKind::Block, &element.name, &words(source), source))
    }

    fn token(&mut self, kind: TokenKind, name: &str, label: &str, source: &str) -> usize {
        warn(&mut self.warnings, WarningKind::Placeholder, name);
        self.kept.push(source.to_owned());
        let label: String = label.chars().take(60).collect();
        self.tokens.add(
            kind,
            name,
            &label,
            Fingerprint::new("asana").part(source).value(),
            self.kept.len() - 1,
        )
    }

    fn clean(&mut self, text: &str) -> String {
        storable(&decoded(text).replace("\r\n", "\n").replace('\r', "\n"), &mut self.warnings)
    }
}

fn elements<'n, 'a>(nodes: &'n [Node<'a>]) -> impl Iterator<Item = &'n Element<'a>> {
    nodes.iter().filter_map(|node| match node {
        Node::Element(element) => Some(element),
        Node::Text(_) => None,
    })
}

fn is_inline(name: &str) -> bool {
    !matches!(
        name,
        "h1" | "h2" | "hr" | "pre" | "blockquote" | "ul" | "ol" | "li" | "table" | "tr" | "td" | "th"
    )
}

fn spans_one(cell: &Element<'_>) -> bool {
    ["colspan", "rowspan"].iter().all(|name| cell.attribute(name).is_none_or(|span| span == "1"))
}

fn plain(source: &str, nodes: &[Node<'_>]) -> String {
    let mut text = String::new();
    for node in nodes {
        match node {
            Node::Text(place) => text.push_str(&source[place.clone()]),
            Node::Element(element) => text.push_str(&plain(source, &element.children)),
        }
    }
    text
}

/// Without blanks at either end, whatever their marks.
fn trimmed(line: &[Inline]) -> Vec<Inline> {
    const BLANK: [char; 3] = ['\n', ' ', '\t'];
    let mut line = normal(line);
    loop {
        if let Some(Inline { kind: InlineKind::Text(text), .. }) = line.first_mut() {
            *text = text.trim_start_matches(BLANK).to_owned();
        }
        if let Some(Inline { kind: InlineKind::Text(text), .. }) = line.last_mut() {
            *text = text.trim_end_matches(BLANK).to_owned();
        }
        // What was all blank is gone now, and what stood beside it is at the end.
        let shorter = normal(&line);
        if shorter.len() == line.len() {
            return shorter;
        }
        line = shorter;
    }
}
