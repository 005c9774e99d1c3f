//! Blocks of wiki markup as the tree.

use std::collections::HashSet;

use super::Kept;
use super::lines::{Begins, Macro, begins, block_macro, cells, line_end};
use crate::markdown::{storable, warn};
use crate::token::{Fingerprint, TokenKind, Tokens};
use crate::tree::{Block, BlockKind, Cell, Inline, Item, Origin, Row, TokenId};
use crate::warning::{Warning, WarningKind};

/// Quotes, panels and lists within each other.
const MAX_DEPTH: usize = 10;
/// Blocks on one line; the rest of it is text, so that a line is read in linear time.
const MAX_ON_LINE: usize = 100;

/// Reads wiki markup and remembers which part of the text each block was made of.
#[derive(Debug, Default)]
pub(super) struct Reader<'a> {
    /// For each block, its text up to the next block.
    pub(super) slices: Vec<&'a str>,
    pub(super) kept: Vec<Kept>,
    pub(super) tokens: Tokens,
    pub(super) warnings: Vec<Warning>,
    /// Macros that have no end any more.
    endless: HashSet<(usize, &'static str)>,
}

impl<'a> Reader<'a> {
    pub(super) fn blocks(&mut self, text: &'a str, depth: usize) -> Vec<Block> {
        let mut found: Vec<(usize, BlockKind)> = Vec::new();
        let mut at = 0;
        let mut on_line = 0;
        while at < text.len() {
            let end = line_end(text, at);
            if text[at..end].trim().is_empty() {
                at = end + 1;
                continue;
            }
            on_line = if at == 0 || text.as_bytes()[at - 1] == b'\n' { 0 } else { on_line + 1 };
            let (kind, next) = if on_line < MAX_ON_LINE {
                self.one(text, at, depth)
            } else {
                (BlockKind::Paragraph(self.line(text[at..end].trim())), end)
            };
            found.push((at, kind));
            at = next.max(at + 1);
        }
        // What stands before the first block belongs to it.
        if let Some(first) = found.first_mut() {
            first.0 = 0;
        }
        let ends: Vec<usize> = found.iter().skip(1).map(|next| next.0).chain([text.len()]).collect();
        let blocks = found.into_iter().zip(ends).map(|((start, kind), end)| {
            self.slices.push(&text[start..end]);
            Block { kind, origin: Origin::Whole(self.slices.len() - 1) }
        });
        blocks.collect()
    }

    fn one(&mut self, text: &'a str, at: usize, depth: usize) -> (BlockKind, usize) {
        let end = line_end(text, at);
        let line = &text[at..end];
        let indent = line.len() - line.trim_start().len();
        if let Some((tag, inside, next)) = self.closed_macro(text, at + indent)
            && let Some(kind) = self.of_macro(tag, inside, &text[at..next], depth)
        {
            return (kind, next);
        }
        match begins(line) {
            Begins::Heading(level, words) if self.macro_within(text, at, end).is_none() => {
                let words = self.line(words);
                (BlockKind::Heading(level, words), (end + 1).min(text.len()))
            }
            Begins::Quoted(words) if self.macro_within(text, at, end).is_none() => {
                let line = self.line(words);
                (BlockKind::Quote(vec![Block::paragraph(line)]), (end + 1).min(text.len()))
            }
            Begins::Rule => (BlockKind::Rule, (end + 1).min(text.len())),
            Begins::Item(..) => self.list(text, at),
            Begins::Row => self.table(text, at),
            _ => self.paragraph(text, at),
        }
    }

    /// The macro at a place, what is inside it, and where it ends.
    fn closed_macro(&mut self, text: &'a str, at: usize) -> Option<(Macro<'a>, &'a str, usize)> {
        let tag = block_macro(&text[at..])?;
        let known = (text.as_ptr() as usize + text.len(), tag.name);
        if self.endless.contains(&known) {
            return None;
        }
        let from = at + tag.length;
        let close = format!("{{{}}}", tag.name);
        let Some(end) = text[from..].find(&close).map(|end| from + end) else {
            self.endless.insert(known);
            return None;
        };
        Some((tag, &text[from..end], end + close.len()))
    }

    fn macro_within(&mut self, text: &'a str, from: usize, to: usize) -> Option<usize> {
        let places: Vec<usize> = text[from..to].match_indices('{').map(|(at, _)| from + at).collect();
        places.into_iter().find(|at| self.closed_macro(text, *at).is_some())
    }

    fn of_macro(&mut self, tag: Macro<'a>, inside: &'a str, whole: &str, depth: usize) -> Option<BlockKind> {
        match tag.name {
            "code" | "noformat" => {
                let language =
                    tag.parameters.split('|').find(|part| !part.contains('=')).unwrap_or_default().trim();
                let language = if tag.name == "code" { language } else { "" };
                if tag.parameters != language {
                    warn(&mut self.warnings, WarningKind::Hidden, &format!("parameters of {{{}}}", tag.name));
                }
                let text = inside.replace("\r\n", "\n").replace('\r', "\n");
                let text = text.strip_prefix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\n').unwrap_or(text);
                let text = storable(text, &mut self.warnings);
                Some(BlockKind::Code { language: language.to_owned(), text })
            }
            _ if depth >= MAX_DEPTH => {
                warn(&mut self.warnings, WarningKind::TooDeep, tag.name);
                None
            }
            "quote" => Some(BlockKind::Quote(self.blocks(inside, depth + 1))),
            _ => {
                let open = &whole.trim_start()[..tag.length];
                let label = tag.parameters.split('|').find_map(|part| part.strip_prefix("title="));
                let token = self.keep(TokenKind::Group, "panel", label.unwrap_or_default(), open, "{panel}");
                Some(BlockKind::Group(token, self.blocks(inside, depth + 1)))
            }
        }
    }

    fn paragraph(&mut self, text: &'a str, at: usize) -> (BlockKind, usize) {
        let mut end = at;
        let mut next = at;
        while next < text.len() {
            let line = line_end(text, next);
            let begun = next > at;
            if begun && !matches!(begins(&text[next..line]), Begins::Text) {
                break;
            }
            // A macro at the very beginning was not taken for one before.
            let from = if begun { next } else { at + 1 };
            let from = (from..=line).find(|at| text.is_char_boundary(*at)).unwrap_or(line);
            if let Some(place) = self.macro_within(text, from, line) {
                (end, next) = (place, place);
                break;
            }
            end = line;
            next = (line + 1).min(text.len());
        }
        (BlockKind::Paragraph(self.line(text[at..end].trim())), next)
    }

    fn list(&mut self, text: &'a str, at: usize) -> (BlockKind, usize) {
        let mut lines: Vec<(&'a str, String)> = Vec::new();
        let mut next = at;
        while next < text.len() {
            let mut end = line_end(text, next);
            let cut = self.macro_within(text, next, end);
            end = cut.unwrap_or(end);
            match begins(&text[next..end]) {
                // Signs of both kinds at the outermost level are two lists.
                Begins::Item(markers, words)
                    if lines
                        .first()
                        .is_none_or(|first| first.0.starts_with('#') == markers.starts_with('#')) =>
                {
                    lines.push((markers, words.to_owned()));
                }
                Begins::Text if !lines.is_empty() => {
                    if let Some((_, words)) = lines.last_mut() {
                        words.push('\n');
                        words.push_str(text[next..end].trim());
                    }
                }
                _ => break,
            }
            next = if cut.is_some() { end } else { (end + 1).min(text.len()) };
            if cut.is_some() {
                break;
            }
        }
        match self.nested(&lines, 0).into_iter().next() {
            Some(Block { kind, .. }) if next > at => (kind, next),
            _ => self.paragraph(text, at),
        }
    }

    /// The lists of some lines; more than one where the kind of the list changes.
    fn nested(&mut self, lines: &[(&'a str, String)], level: usize) -> Vec<Block> {
        let mut lists: Vec<Block> = Vec::new();
        let mut at = 0;
        while at < lines.len() {
            let numbered = lines[at].0.as_bytes().get(level) == Some(&b'#');
            let own = lines[at].0.len() <= level + 1 || level + 1 >= MAX_DEPTH;
            let mut blocks = Vec::new();
            if own {
                let line = self.line(&lines[at].1);
                if !line.is_empty() {
                    blocks.push(Block::paragraph(line));
                }
                at += 1;
            }
            let deeper = lines[at..]
                .iter()
                .take_while(|line| line.0.len() > level + 1 && level + 1 < MAX_DEPTH)
                .count();
            if deeper > 0 {
                blocks.extend(self.nested(&lines[at..at + deeper], level + 1));
                at += deeper;
            }
            let item = Item { blocks, ..Item::default() };
            match lists.last_mut().map(|list| &mut list.kind) {
                Some(BlockKind::List { ordered, items }) if level == 0 || ordered.is_some() == numbered => {
                    items.push(item);
                }
                _ => lists
                    .push(Block::new(BlockKind::List { ordered: numbered.then_some(1), items: vec![item] })),
            }
        }
        lists
    }

    fn table(&mut self, text: &'a str, at: usize) -> (BlockKind, usize) {
        let mut rows: Vec<(bool, Vec<&'a str>)> = Vec::new();
        let mut simple = true;
        let mut next = at;
        while next < text.len() {
            let end = line_end(text, next);
            let line = &text[next..end];
            let row = matches!(begins(line), Begins::Row);
            // A row goes on until its last cell is closed.
            if !row && (rows.is_empty() || matches!(begins(line), Begins::Blank)) {
                break;
            }
            match cells(line).filter(|_| row && !line.contains('{')) {
                Some(cells) => rows.push(cells),
                None => simple = false,
            }
            if !simple && rows.is_empty() {
                rows.push((false, Vec::new()));
            }
            next = (end + 1).min(text.len());
        }
        let columns = rows.first().map_or(0, |row| row.1.len());
        simple = simple
            && columns > 0
            && rows.iter().all(|row| row.1.len() == columns)
            && rows.iter().skip(1).all(|row| !row.0);
        if !simple {
            let source = text[at..next].trim_matches('\n');
            let token = self.keep(TokenKind::Block, "table", source, source, "");
            return (BlockKind::Kept(token), next);
        }
        // Markdown's tables have headings; these are empty when there are none.
        let header = if rows[0].0 {
            None
        } else {
            Some(Row { cells: vec![Cell::default(); columns], ..Row::default() })
        };
        let mut table: Vec<Row> = header.into_iter().collect();
        for (_, cells) in rows {
            let cells = cells.iter().map(|cell| Cell { inlines: self.line(cell), ..Cell::default() });
            table.push(Row { cells: cells.collect(), ..Row::default() });
        }
        (BlockKind::Table(table), next)
    }

    pub(super) fn line(&mut self, text: &str) -> Vec<Inline> {
        let text = storable(&text.replace("\r\n", "\n").replace('\r', "\n"), &mut self.warnings);
        super::inlines::read(&text, self)
    }

    pub(super) fn keep(
        &mut self,
        kind: TokenKind,
        name: &str,
        label: &str,
        open: &str,
        close: &str,
    ) -> TokenId {
        warn(&mut self.warnings, WarningKind::Placeholder, name);
        self.kept.push(Kept { open: open.to_owned(), close: close.to_owned() });
        let print = Fingerprint::new("wiki").part(open).part(close).value();
        self.tokens.add(kind, name, &label.chars().take(60).collect::<String>(), print, self.kept.len() - 1)
    }
}
