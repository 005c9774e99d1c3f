//! The tree as Asana's HTML: the original's text where it stayed, valid new tags otherwise.

use super::html::{attribute, escaped};
use crate::markdown::warn;
use crate::token::Tokens;
use crate::tree::{Block, BlockKind, Inline, InlineKind, Item, Mark, Origin, Row, TokenId, normal};
use crate::warning::{Warning, WarningKind};

/// Writes blocks in a body.
pub(super) fn text(
    blocks: &[Block],
    slices: &[&str],
    kept: &[String],
    tokens: &Tokens,
    warnings: &mut Vec<Warning>,
) -> String {
    let mut writer = Writer { slices, kept, tokens, warnings };
    format!("<body>{}</body>", writer.join(blocks))
}

struct Writer<'a> {
    slices: &'a [&'a str],
    kept: &'a [String],
    tokens: &'a Tokens,
    warnings: &'a mut Vec<Warning>,
}

impl Writer<'_> {
    fn join(&mut self, blocks: &[Block]) -> String {
        let mut out = String::new();
        let mut before: Option<(Option<usize>, String, bool)> = None;
        for block in blocks.iter().filter(|block| !block.is_hidden()) {
            let (written, place) = match block.origin {
                Origin::Whole(at) => (self.slices[at].trim_end().to_owned(), Some(at)),
                Origin::Shell(at) => (self.block(block), Some(at)),
                Origin::New => (self.block(block), None),
            };
            let is_line = matches!(block.kind, BlockKind::Paragraph(_));
            match &before {
                Some((Some(last), gap, _)) if place == Some(last + 1) => out.push_str(gap),
                // Tags keep blocks apart; between lines only an empty line does.
                Some((_, _, was_line)) if *was_line && is_line => out.push_str("\n\n"),
                _ => {}
            }
            out.push_str(&written);
            let gap = place.map(|at| self.slices[at]).map_or("", |slice| &slice[slice.trim_end().len()..]);
            before = Some((place, gap.to_owned(), is_line));
        }
        out
    }

    fn block(&mut self, block: &Block) -> String {
        match &block.kind {
            BlockKind::Paragraph(line) => self.line(line),
            BlockKind::Heading(level, line) => {
                if *level > 2 {
                    self.simplified("a heading below the second level");
                }
                let level = (*level).min(2);
                format!("<h{level}>{}</h{level}>", self.line(line))
            }
            BlockKind::Code { language, text } => {
                if !language.is_empty() {
                    self.simplified("the language of code");
                }
                format!("<pre>{}</pre>", escaped(text))
            }
            BlockKind::Rule => "<hr/>".to_owned(),
            BlockKind::Quote(blocks) => {
                let tag = self.tag(block.origin, "blockquote");
                format!("{tag}{}</blockquote>", self.join(blocks))
            }
            BlockKind::List { ordered, items } => {
                if ordered.is_some_and(|first| first != 1) {
                    self.simplified("the first number of a list");
                }
                let name = if ordered.is_some() { "ol" } else { "ul" };
                let tag = self.tag(block.origin, name);
                let items: String = items.iter().map(|item| self.item(item)).collect();
                format!("{tag}{items}</{name}>")
            }
            BlockKind::Table(rows) => {
                let tag = self.tag(block.origin, "table");
                let rows: String = rows.iter().map(|row| self.row(row)).collect();
                format!("{tag}{rows}</table>")
            }
            BlockKind::Kept(token) | BlockKind::Group(token, _) => self.kept(*token).to_owned(),
            BlockKind::Hidden => String::new(),
        }
    }

    /// The original's first tag when it has this name.
    fn tag(&self, origin: Origin, name: &str) -> String {
        if let Origin::Shell(at) = origin {
            let slice = self.slices[at].trim_start();
            let own = slice.strip_prefix('<').and_then(|rest| rest.strip_prefix(name));
            if let (Some(rest), Some(end)) = (own, slice.find('>'))
                && rest.starts_with([' ', '>'])
            {
                return slice[..=end].to_owned();
            }
        }
        format!("<{name}>")
    }

    fn item(&mut self, item: &Item) -> String {
        let mut out = String::from("<li>");
        if let Some(done) = item.task {
            self.simplified("a task");
            out.push_str(if done { "[x] " } else { "[ ] " });
        }
        let mut after_line = false;
        for block in item.blocks.iter().filter(|block| !block.is_hidden()) {
            let is_line = matches!(block.kind, BlockKind::Paragraph(_));
            if after_line && is_line {
                out.push('\n');
            }
            out.push_str(&self.block(block));
            after_line = is_line;
        }
        out + "</li>"
    }

    fn row(&mut self, row: &Row) -> String {
        let cells: String =
            row.cells.iter().map(|cell| format!("<td>{}</td>", self.line(&cell.inlines))).collect();
        format!("<tr>{cells}</tr>")
    }

    fn kept(&self, token: TokenId) -> &str {
        &self.kept[self.tokens.get(token).original]
    }

    fn line(&mut self, line: &[Inline]) -> String {
        let mut out = String::new();
        let mut open: Vec<(Mark, &'static str)> = Vec::new();
        for inline in normal(line) {
            let shared = open.iter().zip(&inline.marks).take_while(|(open, mark)| open.0 == **mark).count();
            while open.len() > shared {
                out.push_str(open.pop().map_or("", |open| open.1));
            }
            for mark in &inline.marks[shared..] {
                let (start, end) = self.tags(mark);
                out.push_str(&start);
                open.push((mark.clone(), end));
            }
            match &inline.kind {
                InlineKind::Text(text) => out.push_str(&escaped(text)),
                InlineKind::Break => out.push('\n'),
                InlineKind::Image { url, alt } => {
                    self.simplified("an image");
                    let text = if alt.is_empty() { url } else { alt };
                    out.push_str(&format!("<a href=\"{}\">{}</a>", attribute(url), escaped(text)));
                }
                InlineKind::Kept(token) => out.push_str(self.kept(*token)),
            }
        }
        while let Some((_, end)) = open.pop() {
            out.push_str(end);
        }
        out
    }

    fn tags(&mut self, mark: &Mark) -> (String, &'static str) {
        let (start, end) = match mark {
            Mark::Strong => ("<strong>", "</strong>"),
            Mark::Em => ("<em>", "</em>"),
            Mark::Strike => ("<s>", "</s>"),
            Mark::Underline => ("<u>", "</u>"),
            Mark::Code => ("<code>", "</code>"),
            Mark::Link { href, .. } => return (format!("<a href=\"{}\">", attribute(href)), "</a>"),
            Mark::Sub | Mark::Sup | Mark::Kept(_) => {
                self.simplified("raised and lowered text");
                ("", "")
            }
        };
        (start.to_owned(), end)
    }

    fn simplified(&mut self, what: &str) {
        warn(self.warnings, WarningKind::Simplified, what);
    }
}
