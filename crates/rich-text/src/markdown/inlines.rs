//! A line of text as Markdown.

use super::Care;
use super::escape::{Place, escape};
use crate::token::Tokens;
use crate::tree::{Inline, InlineKind, Mark, normal};

/// What kind of block the line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Paragraph,
    Heading,
    Cell,
}

/// Writes inlines as one line, or as several in a paragraph.
pub(super) fn write(inlines: &[Inline], line: Line, care: Care, tokens: &Tokens) -> String {
    let inlines = normal(inlines);
    let mut writer = Writer { out: String::new(), open: Vec::new(), line, care, tokens };
    for at in 0..inlines.len() {
        writer.inline(&inlines, at);
    }
    writer.close_down_to(0);
    writer.out
}

struct Writer<'a> {
    out: String,
    /// The open formattings and how each is closed.
    open: Vec<(Mark, String)>,
    line: Line,
    care: Care,
    tokens: &'a Tokens,
}

impl Writer<'_> {
    fn inline(&mut self, inlines: &[Inline], at: usize) {
        let inline = &inlines[at];
        let shared = self.open.iter().zip(&inline.marks).take_while(|(open, mark)| open.0 == **mark).count();
        self.close_down_to(shared);
        if let (InlineKind::Text(text), [Mark::Link { href, title }]) = (&inline.kind, &inline.marks[..])
            && shared == 0
            && title.is_empty()
            && text == href
            && self.care == Care::Plain
            && is_autolink(href)
            && inlines.get(at + 1).is_none_or(|next| next.marks.first() != inline.marks.first())
        {
            self.out.push('<');
            self.out.push_str(href);
            self.out.push('>');
            return;
        }
        for depth in shared..inline.marks.len() {
            let mark = &inline.marks[depth];
            if *mark == Mark::Code && self.code(inline) {
                return;
            }
            let run = inlines[at..]
                .iter()
                .take_while(|next| next.marks.get(..=depth) == Some(&inline.marks[..=depth]));
            let (start, end) = self.delimiters(mark, run);
            self.out.push_str(&start);
            self.open.push((mark.clone(), end));
        }
        match &inline.kind {
            InlineKind::Text(text) => {
                let place = Place {
                    care: self.care,
                    one_line: self.line != Line::Paragraph,
                    in_cell: self.line == Line::Cell,
                    in_link: inline.marks.iter().any(|mark| matches!(mark, Mark::Link { .. })),
                    line_start: self.out.is_empty() || self.out.ends_with('\n'),
                    last: at + 1 == inlines.len()
                        || matches!(inlines.get(at + 1), Some(Inline { kind: InlineKind::Break, .. })),
                    before_link: inlines
                        .get(at + 1)
                        .is_some_and(|next| next.marks.iter().any(|mark| matches!(mark, Mark::Link { .. }))),
                };
                escape(&mut self.out, text, place);
            }
            InlineKind::Break => {
                let inside = self.line == Line::Paragraph && at > 0 && at + 1 < inlines.len();
                let plain = inside
                    && self.open.is_empty()
                    && !matches!(inlines[at + 1].kind, InlineKind::Break)
                    && !matches!(inlines[at - 1].kind, InlineKind::Break);
                self.out.push_str(if plain { "\\\n" } else { "<br>" });
            }
            InlineKind::Image { url, alt } => {
                self.out.push_str("![");
                let place = Place {
                    care: self.care,
                    one_line: true,
                    in_cell: self.line == Line::Cell,
                    in_link: true,
                    line_start: false,
                    last: true,
                    before_link: false,
                };
                escape(&mut self.out, alt, place);
                self.out.push_str(&format!("]({})", self.destination(url)));
            }
            InlineKind::Kept(token) => self.out.push_str(&self.tokens.open(*token)),
        }
    }

    fn close_down_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            if let Some((_, end)) = self.open.pop() {
                self.out.push_str(&end);
            }
        }
    }

    /// Writes a code span; `false` when backticks cannot say it.
    fn code(&mut self, inline: &Inline) -> bool {
        let InlineKind::Text(text) = &inline.kind else {
            return false;
        };
        let blank = text.trim().is_empty();
        if self.care == Care::Strict
            || blank
            || text.contains(['\n', '\r'])
            || (self.line == Line::Cell && text.contains('|'))
        {
            return false;
        }
        let fence = "`".repeat(longest_run(text) + 1);
        let edge = |c: char| c == '`' || c == ' ';
        let pad = if text.starts_with(edge) || text.ends_with(edge) { " " } else { "" };
        self.out.push_str(&format!("{fence}{pad}{text}{pad}{fence}"));
        true
    }

    fn delimiters<'i>(&self, mark: &Mark, run: impl Iterator<Item = &'i Inline>) -> (String, String) {
        let tag = |name: &str| (format!("<{name}>"), format!("</{name}>"));
        let signs = |sign: &str, name: &str, run: Vec<&Inline>| {
            if self.care == Care::Plain && holds_signs(&run) {
                (sign.to_owned(), sign.to_owned())
            } else {
                tag(name)
            }
        };
        match mark {
            Mark::Strong => signs("**", "strong", run.collect()),
            Mark::Em => signs("*", "em", run.collect()),
            Mark::Strike => signs("~~", "s", run.collect()),
            Mark::Underline => tag("u"),
            Mark::Sub => tag("sub"),
            Mark::Sup => tag("sup"),
            Mark::Code => tag("code"),
            Mark::Kept(token) => (self.tokens.open(*token), self.tokens.close(*token)),
            Mark::Link { href, title } => {
                let title = if title.is_empty() { String::new() } else { format!(" \"{}\"", quoted(title)) };
                ("[".to_owned(), format!("]({}{title})", self.destination(href)))
            }
        }
    }

    fn destination(&self, href: &str) -> String {
        let bare = !href.is_empty()
            && href.chars().all(|c| c.is_alphanumeric() || "-._~:/?#@!$+,;=%&".contains(c))
            && !href.contains("~~")
            && (!href.contains('&') || !href.contains(';'));
        if bare { href.to_owned() } else { format!("<{}>", quoted(href)) }
    }
}

/// Escapes every sign, and everything that cannot stand in a line.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if character.is_ascii_punctuation() && !"/:.-?=%#@,;+".contains(character) {
            out.push('\\');
            out.push(character);
        } else if character.is_control() || character == ' ' && (out.is_empty() || out.ends_with(' ')) {
            out.push_str(&format!("&#{};", u32::from(character)));
        } else {
            out.push(character);
        }
    }
    out
}

/// Whether asterisks can stand around the run: its first and last characters are letters or digits.
fn holds_signs(run: &[&Inline]) -> bool {
    let edge = |inline: Option<&&Inline>, first: bool| match inline.map(|inline| &inline.kind) {
        Some(InlineKind::Text(text)) => {
            let edge = if first { text.chars().next() } else { text.chars().next_back() };
            edge.is_some_and(char::is_alphanumeric)
        }
        _ => false,
    };
    edge(run.first(), true) && edge(run.last(), false)
}

fn is_autolink(href: &str) -> bool {
    (href.starts_with("https://") || href.starts_with("http://"))
        && href.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"<>\\|`{}".contains(c))
}

/// The longest row of backticks in a text.
pub(super) fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}
