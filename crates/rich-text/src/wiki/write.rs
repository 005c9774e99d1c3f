//! The tree as wiki markup: the original's text where it stayed, new markup otherwise.

use super::Kept;
use super::lines::{Begins, begins, block_macro};
use super::read::Reader;
use crate::markdown::warn;
use crate::token::Tokens;
use crate::tree::{Block, BlockKind, Inline, InlineKind, Item, Mark, Origin, Row, TokenId, normal};
use crate::warning::{Warning, WarningKind};

/// Writes blocks one after the other.
pub(super) fn text(
    blocks: &[Block],
    slices: &[&str],
    kept: &[Kept],
    tokens: &Tokens,
    warnings: &mut Vec<Warning>,
) -> String {
    Writer { slices, kept, tokens, warnings }.join(blocks, false)
}

struct Writer<'a> {
    slices: &'a [&'a str],
    kept: &'a [Kept],
    tokens: &'a Tokens,
    warnings: &'a mut Vec<Warning>,
}

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Paragraph,
    /// A heading or a cell: everything on one line.
    Single,
}

impl Writer<'_> {
    fn join(&mut self, blocks: &[Block], in_quote: bool) -> String {
        let mut out = String::new();
        // The block before: its place in the original, and what stands after it there.
        let mut before: Option<(Option<usize>, String)> = None;
        for block in blocks.iter().filter(|block| !block.is_hidden()) {
            let (written, place) = match block.origin {
                Origin::Whole(at) => (self.slices[at].trim_end().to_owned(), Some(at)),
                Origin::Shell(at) => (self.block(block, in_quote), Some(at)),
                Origin::New => (self.block(block, in_quote), None),
            };
            if written.is_empty() {
                continue;
            }
            match &before {
                Some((Some(last), gap)) if place == Some(last + 1) => out.push_str(gap),
                Some(_) => out.push_str("\n\n"),
                None => {}
            }
            out.push_str(&written);
            let gap = place.map(|at| self.slices[at]).map_or("", |slice| &slice[slice.trim_end().len()..]);
            before = Some((place, gap.to_owned()));
        }
        out
    }

    fn block(&mut self, block: &Block, in_quote: bool) -> String {
        let slice = match block.origin {
            Origin::Whole(at) | Origin::Shell(at) => self.slices[at].trim_start(),
            Origin::New => "",
        };
        match &block.kind {
            BlockKind::Paragraph(line) => self.line(line, Line::Paragraph),
            BlockKind::Heading(level, line) => format!("h{level}. {}", self.line(line, Line::Single)),
            BlockKind::Rule => "----".to_owned(),
            BlockKind::Code { language, text } => self.code(language, text, slice),
            BlockKind::Quote(blocks) => match &blocks[..] {
                [Block { kind: BlockKind::Paragraph(line), .. }] if slice.starts_with("bq. ") => {
                    format!("bq. {}", self.line(line, Line::Single))
                }
                _ if in_quote => {
                    self.simplified("a quote within a quote");
                    self.join(blocks, true)
                }
                _ => format!("{{quote}}\n{}\n{{quote}}", self.join(blocks, true)),
            },
            BlockKind::List { ordered, items } => {
                if ordered.is_some_and(|first| first != 1) {
                    self.simplified("the first number of a list");
                }
                let mut lines = Vec::new();
                self.items(items, if ordered.is_some() { "#" } else { "*" }, &mut lines);
                lines.join("\n")
            }
            BlockKind::Table(rows) => self.table(rows),
            BlockKind::Kept(token) => self.kept(*token).open.clone(),
            BlockKind::Group(token, blocks) => {
                let Kept { open, close } = self.kept(*token).clone();
                format!("{open}\n{}\n{close}", self.join(blocks, in_quote))
            }
            BlockKind::Hidden => String::new(),
        }
    }

    fn kept(&self, token: TokenId) -> &Kept {
        &self.kept[self.tokens.get(token).original]
    }

    fn code(&mut self, language: &str, text: &str, slice: &str) -> String {
        let language: String = language.chars().filter(|c| !"{}|=:\n".contains(*c)).collect();
        let own = block_macro(slice).filter(|tag| matches!(tag.name, "code" | "noformat")).filter(|tag| {
            language == tag.parameters.split('|').find(|part| !part.contains('=')).unwrap_or_default().trim()
        });
        let (name, open) = match own {
            Some(tag) => (tag.name, slice[..tag.length].to_owned()),
            None if language.is_empty() => ("code", "{code}".to_owned()),
            None => ("code", format!("{{code:{language}}}")),
        };
        let end = format!("{{{name}}}");
        if !text.contains(&end) {
            return format!("{open}\n{text}\n{end}");
        }
        let other = if name == "code" { "{noformat}" } else { "{code}" };
        if !text.contains(other) {
            return format!("{other}\n{text}\n{other}");
        }
        self.simplified("{code} within code");
        format!("{open}\n{}\n{end}", text.replace(&end, &format!("{{ {name}}}")))
    }

    fn items(&mut self, items: &[Item], markers: &str, lines: &mut Vec<String>) {
        for item in items {
            let mut line = String::new();
            if let Some(done) = item.task {
                self.simplified("a task");
                line.push_str(if done { "\\[x\\] " } else { "\\[ \\] " });
            }
            let mut nested: Vec<String> = Vec::new();
            for block in &item.blocks {
                match &block.kind {
                    BlockKind::List { ordered, items } => {
                        let sign = if ordered.is_some() { '#' } else { '*' };
                        self.items(items, &format!("{markers}{sign}"), &mut nested);
                    }
                    BlockKind::Paragraph(words) if line.trim().is_empty() || nested.is_empty() => {
                        if !line.is_empty() && !line.ends_with(' ') {
                            line.push_str("\\\\\n");
                        }
                        line.push_str(&self.line(words, Line::Paragraph));
                    }
                    BlockKind::Hidden => {}
                    _ => {
                        self.simplified("a block within a list");
                        nested.push(self.block(block, false));
                    }
                }
            }
            lines.push(
                format!("{markers} {line}").trim_end_matches(' ').to_owned()
                    + if line.is_empty() { " " } else { "" },
            );
            lines.append(&mut nested);
        }
    }

    fn table(&mut self, rows: &[Row]) -> String {
        let mut lines = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            let separator = if at == 0 { "||" } else { "|" };
            if at == 0 && rows.len() > 1 && row.cells.iter().all(|cell| normal(&cell.inlines).is_empty()) {
                continue;
            }
            let cells: Vec<String> =
                row.cells.iter().map(|cell| self.line(&cell.inlines, Line::Single)).collect();
            let cells = cells.iter().map(|cell| if cell.is_empty() { " " } else { cell }).collect::<Vec<_>>();
            lines.push(format!("{separator}{}{separator}", cells.join(separator)));
        }
        lines.join("\n")
    }

    /// Inlines that are read as they were written, if that can be.
    fn line(&mut self, line: &[Inline], kind: Line) -> String {
        let line = normal(line);
        let plain = self.inlines(&line, kind, false);
        if self.reads_as(&plain, &line) {
            return plain;
        }
        let strict = self.inlines(&line, kind, true);
        if self.reads_as(&strict, &line) {
            return strict;
        }
        self.simplified("some signs or formatting in a line");
        plain
    }

    fn reads_as(&self, written: &str, line: &[Inline]) -> bool {
        let mut reader = Reader::default();
        let read = normal(&reader.line(written));
        let starts = written.split('\n').all(|line| begins(line) == Begins::Text || written.is_empty());
        starts
            && read.len() == line.len()
            && read
                .iter()
                .zip(line)
                .all(|(one, two)| key(one, &reader.tokens, &reader.kept) == key(two, self.tokens, self.kept))
    }

    fn inlines(&self, line: &[Inline], kind: Line, strict: bool) -> String {
        let mut out = String::new();
        let mut open: Vec<(Mark, String)> = Vec::new();
        for inline in line {
            let shared = open.iter().zip(&inline.marks).take_while(|(open, mark)| open.0 == **mark).count();
            while open.len() > shared {
                out.push_str(&open.pop().map(|open| open.1).unwrap_or_default());
            }
            let is_bare = |href: &str| matches!(&inline.kind, InlineKind::Text(text) if text == href);
            if let [Mark::Link { href, title }] = &inline.marks[..]
                && shared == 0
                && title.is_empty()
                && is_bare(href)
            {
                out.push_str(&format!("[{}]", target(href)));
                continue;
            }
            for mark in &inline.marks[shared..] {
                let (start, end) = self.delimiters(mark, strict);
                out.push_str(&start);
                open.push((mark.clone(), end));
            }
            match &inline.kind {
                InlineKind::Text(text) if inline.marks.contains(&Mark::Code) => {
                    out.push_str(&code_words(text));
                }
                InlineKind::Text(text) => words(&mut out, text, kind, strict),
                InlineKind::Break => out.push_str(if kind == Line::Paragraph { "\\\\\n" } else { "\\\\" }),
                InlineKind::Image { url, alt } => {
                    let alt = alt.trim();
                    let said = !alt.is_empty() && !alt.contains(['!', '|', ',', '=', '\n', '\\']);
                    let alt = if said { format!("|alt={alt}") } else { String::new() };
                    out.push_str(&format!("!{url}{alt}!"));
                }
                InlineKind::Kept(token) => out.push_str(&self.kept(*token).open),
            }
        }
        while let Some((_, end)) = open.pop() {
            out.push_str(&end);
        }
        out
    }

    fn delimiters(&self, mark: &Mark, strict: bool) -> (String, String) {
        let sign = |sign: &str| {
            let sign = if strict { format!("{{{sign}}}") } else { sign.to_owned() };
            (sign.clone(), sign)
        };
        match mark {
            Mark::Strong => sign("*"),
            Mark::Em => sign("_"),
            Mark::Strike => sign("-"),
            Mark::Underline => sign("+"),
            Mark::Sub => sign("~"),
            Mark::Sup => sign("^"),
            Mark::Code => ("{{".to_owned(), "}}".to_owned()),
            Mark::Kept(token) => {
                let Kept { open, close } = self.kept(*token);
                (open.clone(), close.clone())
            }
            Mark::Link { href, title } => {
                let title = title.replace(['|', ']', '[', '\n'], " ");
                let title = if title.is_empty() { title } else { format!("|{title}") };
                ("[".to_owned(), format!("|{}{title}]", target(href)))
            }
        }
    }

    fn simplified(&mut self, what: &str) {
        warn(self.warnings, WarningKind::Simplified, what);
    }
}

/// What an inline says, in words that do not depend on where its placeholders are kept.
fn key(inline: &Inline, tokens: &Tokens, kept: &[Kept]) -> (String, Vec<String>) {
    let named = |token: &TokenId| kept[tokens.get(*token).original].open.clone();
    let kind = match &inline.kind {
        InlineKind::Kept(token) => format!("kept {}", named(token)),
        other => format!("{other:?}"),
    };
    let mark = |mark: &Mark| match mark {
        Mark::Kept(token) => format!("kept {}", named(token)),
        other => format!("{other:?}"),
    };
    let mut marks: Vec<String> = inline.marks.iter().map(mark).collect();
    marks.sort();
    (kind, marks)
}

fn target(href: &str) -> String {
    let mut out = String::with_capacity(href.len());
    for character in href.chars() {
        match character {
            '|' | '[' | ']' | '\\' => out.extend(['\\', character]),
            c if c.is_whitespace() => out.push_str("%20"),
            c => out.push(c),
        }
    }
    out
}

fn code_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        let next = text[at + character.len_utf8()..].chars().next();
        if matches!(character, '{' | '}')
            || character == '\\' && next.is_none_or(|c| c.is_ascii_punctuation())
        {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

fn words(out: &mut String, text: &str, kind: Line, strict: bool) {
    let mut line_start = out.is_empty() || out.ends_with('\n');
    for (at, character) in text.char_indices() {
        let rest = &text[at..];
        let before = text[..at].chars().next_back().or_else(|| out.chars().next_back());
        let after = rest[character.len_utf8()..].chars().next();
        match character {
            '\n' if kind == Line::Single => out.push_str("\\\\"),
            '\\' if strict || after.is_none_or(|c| c.is_ascii_punctuation()) => out.push_str("&#92;"),
            _ if !character.is_ascii_punctuation() || character == '\\' => out.push(character),
            _ => {
                let opens =
                    before.is_none_or(|c| !c.is_alphanumeric()) && after.is_none_or(|c| !c.is_whitespace());
                let syntax = match character {
                    '{' | '[' => true,
                    '*' | '_' | '-' | '+' | '^' | '~' => {
                        opens && before != Some(character) && after != Some(character)
                    }
                    '|' => kind == Line::Single,
                    '?' => after == Some('?'),
                    '&' => after == Some('#'),
                    _ => false,
                };
                let marker = line_start && matches!(character, '*' | '#' | '-' | '|');
                let dotted = character == '.'
                    && ["h1", "h2", "h3", "h4", "h5", "h6", "bq"].iter().any(|tag| out.ends_with(tag));
                if strict || syntax || marker || dotted {
                    out.push('\\');
                }
                out.push(character);
            }
        }
        line_start = character == '\n' || line_start && character == ' ';
    }
}
