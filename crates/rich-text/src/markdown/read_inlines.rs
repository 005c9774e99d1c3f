//! The inlines of a line: Markdown's own formatting, a few HTML tags, and placeholders.

use std::collections::HashMap;
use std::ops::Range;

use super::warn;
use crate::token::{Piece, TokenKind, Tokens, pieces};
use crate::tree::{Inline, InlineKind, Mark, TokenId};
use crate::warning::{Warning, WarningKind};

/// Formattings at one place; more are not told apart, so that a line is read in linear time.
const MAX_MARKS: usize = 24;

/// A line as it is reported by the parser.
#[derive(Debug, Default)]
pub(super) struct Line {
    items: Vec<Raw>,
    links: Vec<Mark>,
    /// Images within images, and the one whose text is being read.
    images: usize,
    image: Option<(String, String)>,
}

#[derive(Debug)]
enum Raw {
    /// With its place in the source, when it stands there letter by letter.
    Text(String, Option<Range<usize>>),
    Code(String),
    Break,
    Start(Mark),
    End(Mark),
    Html(String),
    Image {
        url: String,
        alt: String,
    },
}

/// What a paragraph falls into at the placeholders of blocks.
#[derive(Debug)]
pub(super) enum Part {
    Inlines(Vec<Inline>),
    Leaf(TokenId),
    Open(TokenId, String),
    Close(TokenId, String),
}

impl Line {
    pub(super) fn text(&mut self, text: &str, place: Option<Range<usize>>) {
        if let Some((_, alt)) = &mut self.image {
            alt.push_str(text);
            return;
        }
        // The parser reports a text in several pieces where it first took a sign for syntax.
        if let (Some(Raw::Text(before, Some(at))), Some(place)) = (self.items.last_mut(), &place)
            && at.end == place.start
        {
            before.push_str(text);
            at.end = place.end;
            return;
        }
        self.items.push(Raw::Text(text.to_owned(), place));
    }

    pub(super) fn code(&mut self, code: &str) {
        match &mut self.image {
            Some((_, alt)) => alt.push_str(code),
            None => self.items.push(Raw::Code(code.to_owned())),
        }
    }

    pub(super) fn html(&mut self, html: &str) {
        match &mut self.image {
            Some((_, alt)) => alt.push_str(html),
            None => self.items.push(Raw::Html(html.to_owned())),
        }
    }

    pub(super) fn line_break(&mut self) {
        match &mut self.image {
            Some((_, alt)) => alt.push('\n'),
            None => self.items.push(Raw::Break),
        }
    }

    pub(super) fn start(&mut self, mark: Mark) {
        if matches!(mark, Mark::Link { .. }) {
            self.links.push(mark.clone());
        }
        if self.image.is_none() {
            self.items.push(Raw::Start(mark));
        }
    }

    pub(super) fn end(&mut self, mark: Mark) {
        if self.image.is_none() {
            self.items.push(Raw::End(mark));
        }
    }

    pub(super) fn end_link(&mut self) {
        if let Some(mark) = self.links.pop() {
            self.end(mark);
        }
    }

    pub(super) fn image(&mut self, url: &str) {
        self.images += 1;
        self.image.get_or_insert_with(|| (url.to_owned(), String::new()));
    }

    pub(super) fn end_image(&mut self) {
        self.images = self.images.saturating_sub(1);
        if self.images == 0
            && let Some((url, alt)) = self.image.take()
        {
            self.items.push(Raw::Image { url, alt });
        }
    }

    /// The inlines of a heading or a cell, where no block can stand: placeholders of blocks are text there.
    pub(super) fn inlines(self, tokens: &Tokens, warnings: &mut Vec<Warning>) -> Vec<Inline> {
        let mut inlines = Vec::new();
        for part in self.parts(tokens, warnings) {
            let (raw, what) = match part {
                Part::Inlines(more) => {
                    inlines.extend(more);
                    continue;
                }
                Part::Leaf(token) => (tokens.open(token), tokens.get(token).name.clone()),
                Part::Open(token, raw) | Part::Close(token, raw) => (raw, tokens.get(token).name.clone()),
            };
            warn(warnings, WarningKind::Simplified, &format!("{what} within a line"));
            inlines.push(Inline::text(raw));
        }
        inlines
    }

    /// The line as inlines and, between them, the placeholders of blocks.
    pub(super) fn parts(self, tokens: &Tokens, warnings: &mut Vec<Warning>) -> Vec<Part> {
        let mut steps = Vec::new();
        for item in self.items {
            match item {
                Raw::Text(text, Some(_)) => scan(&text, tokens, warnings, &mut steps),
                Raw::Text(text, None) => steps.push(Step::Inline(InlineKind::Text(text))),
                Raw::Code(code) => {
                    steps.push(Step::Start(Mark::Code));
                    steps.push(Step::Inline(InlineKind::Text(code)));
                    steps.push(Step::End(Mark::Code));
                }
                Raw::Break => steps.push(Step::Inline(InlineKind::Break)),
                Raw::Start(mark) => steps.push(Step::Start(mark)),
                Raw::End(mark) => steps.push(Step::End(mark)),
                Raw::Image { url, alt } => steps.push(Step::Inline(InlineKind::Image { url, alt })),
                Raw::Html(html) => steps.push(tag(html)),
            }
        }
        pair(&mut steps, warnings);
        assemble(steps)
    }
}

/// One step through a line.
#[derive(Debug)]
enum Step {
    Inline(InlineKind),
    Start(Mark),
    End(Mark),
    /// A tag or a placeholder that opens or closes a formatting, if its other half is there.
    MayStart(Mark, String),
    MayEnd(Mark, String),
    Block(Part),
}

fn scan(text: &str, tokens: &Tokens, warnings: &mut Vec<Warning>, steps: &mut Vec<Step>) {
    for piece in pieces(text, tokens) {
        steps.push(match piece {
            Piece::Text(text) => Step::Inline(InlineKind::Text(text.to_owned())),
            Piece::Open(token, raw) => match tokens.get(token).kind {
                TokenKind::Inline => Step::Inline(InlineKind::Kept(token)),
                TokenKind::Mark => Step::MayStart(Mark::Kept(token), raw.to_owned()),
                TokenKind::Block => Step::Block(Part::Leaf(token)),
                TokenKind::Group => Step::Block(Part::Open(token, raw.to_owned())),
            },
            Piece::Close(token, raw) => match tokens.get(token).kind {
                TokenKind::Mark => Step::MayEnd(Mark::Kept(token), raw.to_owned()),
                TokenKind::Group => Step::Block(Part::Close(token, raw.to_owned())),
                TokenKind::Inline | TokenKind::Block => unknown(raw, warnings),
            },
            Piece::Unknown(raw) => unknown(raw, warnings),
        });
    }
}

fn unknown(raw: &str, warnings: &mut Vec<Warning>) -> Step {
    warn(warnings, WarningKind::MissingOriginal, raw);
    Step::Inline(InlineKind::Text(raw.to_owned()))
}

/// A tag: formatting where it has a name for it, text otherwise.
fn tag(html: String) -> Step {
    let inside = html.trim_start_matches('<').trim_end_matches('>');
    let (closes, name) = match inside.strip_prefix('/') {
        Some(name) => (true, name.trim()),
        None => (false, inside.trim_end_matches('/').trim()),
    };
    let mark = match name.to_ascii_lowercase().as_str() {
        "br" if !closes => return Step::Inline(InlineKind::Break),
        "strong" | "b" => Mark::Strong,
        "em" | "i" => Mark::Em,
        "s" | "del" | "strike" => Mark::Strike,
        "u" | "ins" => Mark::Underline,
        "sub" => Mark::Sub,
        "sup" => Mark::Sup,
        "code" | "tt" | "kbd" => Mark::Code,
        _ => return Step::Inline(InlineKind::Text(html)),
    };
    if closes { Step::MayEnd(mark, html) } else { Step::MayStart(mark, html) }
}

/// Makes formatting of the halves that find each other, and text of the others.
fn pair(steps: &mut [Step], warnings: &mut Vec<Warning>) {
    let mut open: HashMap<Mark, Vec<usize>> = HashMap::new();
    let mut paired = vec![false; steps.len()];
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::MayStart(mark, _) => open.entry(mark.clone()).or_default().push(at),
            Step::MayEnd(mark, _) => {
                if let Some(start) = open.get_mut(mark).and_then(Vec::pop) {
                    paired[start] = true;
                    paired[at] = true;
                }
            }
            Step::Block(_) => open.clear(),
            _ => {}
        }
    }
    for (step, paired) in steps.iter_mut().zip(paired) {
        let placeholder = Step::Inline(InlineKind::Break);
        *step = match std::mem::replace(step, placeholder) {
            Step::MayStart(mark, _) if paired => Step::Start(mark),
            Step::MayEnd(mark, _) if paired => Step::End(mark),
            Step::MayStart(mark, raw) | Step::MayEnd(mark, raw) => {
                if matches!(mark, Mark::Kept(_)) {
                    warn(warnings, WarningKind::MissingOriginal, &format!("{raw} without its other half"));
                }
                Step::Inline(InlineKind::Text(raw))
            }
            other => other,
        };
    }
}

fn assemble(steps: Vec<Step>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut inlines: Vec<Inline> = Vec::new();
    let mut active: Vec<Mark> = Vec::new();
    for step in steps {
        match step {
            Step::Inline(kind) => {
                // Formatting is of texts; the rest is kept as it was.
                let mut marks = match kind {
                    InlineKind::Text(_) => active.clone(),
                    _ => Vec::new(),
                };
                marks.sort();
                marks.dedup();
                inlines.push(Inline::new(kind, marks));
            }
            Step::Start(mark) => {
                if active.len() < MAX_MARKS {
                    active.push(mark);
                }
            }
            Step::End(mark) => {
                if let Some(at) = active.iter().rposition(|open| *open == mark) {
                    active.remove(at);
                }
            }
            Step::Block(part) => {
                flush(&mut inlines, &mut parts);
                parts.push(part);
            }
            Step::MayStart(..) | Step::MayEnd(..) => {}
        }
    }
    if parts.is_empty() {
        parts.push(Part::Inlines(inlines));
    } else {
        flush(&mut inlines, &mut parts);
    }
    parts
}

/// Ends a paragraph beside a block's placeholder: the line break between the two belongs to neither.
fn flush(inlines: &mut Vec<Inline>, parts: &mut Vec<Part>) {
    let blank = |inline: &Inline| match &inline.kind {
        InlineKind::Text(text) => text.trim().is_empty(),
        InlineKind::Break => true,
        _ => false,
    };
    while inlines.last().is_some_and(blank) {
        inlines.pop();
    }
    let leading = inlines.iter().take_while(|inline| blank(inline)).count();
    let line: Vec<Inline> = inlines.drain(..).skip(leading).collect();
    if !line.is_empty() {
        parts.push(Part::Inlines(line));
    }
}
