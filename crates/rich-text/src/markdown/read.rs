//! The tree of a Markdown text.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::read_inlines::{Line, Part};
use super::warn;
use crate::token::Tokens;
use crate::tree::{Block, BlockKind, Cell, Inline, InlineKind, Item, MAX_DEPTH, Mark, Row, TokenId};
use crate::warning::{Warning, WarningKind};

/// Groups within groups that are told from plain text.
const MAX_GROUPS: usize = 12;

/// Reads Markdown. Lines must end in `\n` alone.
pub(crate) fn read(markdown: &str, tokens: &Tokens, warnings: &mut Vec<Warning>) -> Vec<Block> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut reader = Reader {
        source: markdown,
        tokens,
        warnings,
        frames: vec![Frame::Blocks(Vec::new())],
        entered: Vec::new(),
        line: None,
        code: None,
        html: None,
    };
    for (event, range) in Parser::new_ext(markdown, options).into_offset_iter() {
        reader.event(event, range);
    }
    reader.flush();
    let entries = match reader.frames.drain(..).next() {
        Some(Frame::Blocks(entries)) => entries,
        _ => Vec::new(),
    };
    grouped(entries, warnings)
}

/// What stands in a list of blocks, before beginnings and ends of groups have found each other.
#[derive(Debug)]
enum Entry {
    Block(Block),
    Open(TokenId, String),
    Close(TokenId, String),
}

#[derive(Debug)]
enum Frame {
    /// The document, or a quote.
    Blocks(Vec<Entry>),
    List(Option<u64>, Vec<Item>),
    Item(Option<bool>, Vec<Entry>),
    Table(Vec<Row>),
    Row(Vec<Cell>),
}

struct Reader<'a> {
    source: &'a str,
    tokens: &'a Tokens,
    warnings: &'a mut Vec<Warning>,
    frames: Vec<Frame>,
    /// For each open container, whether it has a frame: those that are nested too deeply have none.
    entered: Vec<bool>,
    line: Option<Line>,
    code: Option<(String, String)>,
    html: Option<String>,
}

impl Reader<'_> {
    fn event(&mut self, event: Event<'_>, range: std::ops::Range<usize>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match (&mut self.code, &mut self.html) {
                (Some((_, code)), _) => code.push_str(&text),
                (_, Some(html)) => html.push_str(&text),
                _ => {
                    let verbatim = self.source.get(range.clone()) == Some(&*text);
                    self.line().text(&text, verbatim.then_some(range));
                }
            },
            Event::Code(code) => self.line().code(&code),
            Event::Html(html) => self.html.get_or_insert_default().push_str(&html),
            Event::InlineHtml(html) => self.line().html(&html),
            Event::SoftBreak => self.line().text("\n", None),
            Event::HardBreak => self.line().line_break(),
            Event::Rule => {
                self.flush();
                self.block(BlockKind::Rule);
            }
            Event::TaskListMarker(done) => {
                if let Some(Frame::Item(task, _)) = self.frames.last_mut() {
                    *task = Some(done);
                }
            }
            // None of these is asked for by the options.
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => {
                self.line().text(&text, None);
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Emphasis => self.line().start(Mark::Em),
            Tag::Strong => self.line().start(Mark::Strong),
            Tag::Strikethrough => self.line().start(Mark::Strike),
            Tag::Link { dest_url, title, .. } => {
                let mark = Mark::Link { href: dest_url.to_string(), title: title.to_string() };
                self.line().start(mark);
            }
            Tag::Image { dest_url, .. } => self.line().image(&dest_url),
            Tag::Paragraph | Tag::Heading { .. } => self.flush(),
            Tag::HtmlBlock => {
                self.flush();
                self.html = Some(String::new());
            }
            Tag::CodeBlock(kind) => {
                self.flush();
                let language = match kind {
                    CodeBlockKind::Fenced(info) => info.to_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                self.code = Some((language, String::new()));
            }
            Tag::BlockQuote(_) => self.enter(Frame::Blocks(Vec::new())),
            Tag::List(first) => self.enter(Frame::List(first, Vec::new())),
            Tag::Item => self.within(Frame::Item(None, Vec::new())),
            Tag::Table(alignments) => {
                if alignments.iter().any(|alignment| *alignment != pulldown_cmark::Alignment::None) {
                    warn(self.warnings, WarningKind::Simplified, "the alignment of a table's columns");
                }
                self.enter(Frame::Table(Vec::new()));
            }
            Tag::TableHead | Tag::TableRow => self.within(Frame::Row(Vec::new())),
            Tag::TableCell => self.line = None,
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Emphasis => self.line().end(Mark::Em),
            TagEnd::Strong => self.line().end(Mark::Strong),
            TagEnd::Strikethrough => self.line().end(Mark::Strike),
            TagEnd::Link => self.line().end_link(),
            TagEnd::Image => self.line().end_image(),
            TagEnd::Paragraph => self.flush(),
            TagEnd::Heading(level) => self.heading(level),
            TagEnd::HtmlBlock => self.end_html(),
            TagEnd::CodeBlock => {
                if let Some((language, mut text)) = self.code.take() {
                    if text.ends_with('\n') {
                        text.pop();
                    }
                    self.block(BlockKind::Code { language, text });
                }
            }
            TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::Item => self.leave(),
            TagEnd::Table | TagEnd::TableHead | TagEnd::TableRow => self.leave(),
            TagEnd::TableCell => {
                let line = self.line.take().unwrap_or_default();
                let inlines = line.inlines(self.tokens, self.warnings);
                if let Some(Frame::Row(cells)) = self.frames.last_mut() {
                    cells.push(Cell { inlines, ..Cell::default() });
                }
            }
            _ => {}
        }
    }

    /// The line that inlines go to; in a tight list there is one without a paragraph around.
    fn line(&mut self) -> &mut Line {
        self.line.get_or_insert_default()
    }

    fn entry(&mut self, entry: Entry) {
        match self.frames.last_mut() {
            Some(Frame::Blocks(entries) | Frame::Item(_, entries)) => entries.push(entry),
            Some(Frame::List(_, items)) => {
                let block = grouped(vec![entry], self.warnings);
                items.push(Item { blocks: block, ..Item::default() });
            }
            // Nothing but cells is reported between the beginning and the end of a table.
            Some(Frame::Table(_) | Frame::Row(_)) | None => {}
        }
    }

    fn block(&mut self, kind: BlockKind) {
        self.entry(Entry::Block(Block::new(kind)));
    }

    fn enter(&mut self, frame: Frame) {
        self.flush();
        let fits = self.frames.len() < MAX_DEPTH;
        if fits {
            self.frames.push(frame);
        } else {
            warn(self.warnings, WarningKind::TooDeep, "a list or a quote");
        }
        self.entered.push(fits);
    }

    /// A part of a container: it has a frame when the container has.
    fn within(&mut self, frame: Frame) {
        self.flush();
        let fits = self.entered.last().copied().unwrap_or(false);
        if fits {
            self.frames.push(frame);
        }
        self.entered.push(fits);
    }

    fn leave(&mut self) {
        self.flush();
        if !self.entered.pop().unwrap_or(false) {
            return;
        }
        match self.frames.pop() {
            Some(Frame::Blocks(entries)) => {
                let blocks = grouped(entries, self.warnings);
                self.block(BlockKind::Quote(blocks));
            }
            Some(Frame::List(ordered, items)) => self.block(BlockKind::List { ordered, items }),
            Some(Frame::Item(task, entries)) => {
                let mut blocks = grouped(entries, self.warnings);
                if task.is_some() && blocks.first().is_some_and(is_lone_break) {
                    blocks.remove(0);
                }
                if let Some(Frame::List(_, items)) = self.frames.last_mut() {
                    items.push(Item { task, blocks, ..Item::default() });
                }
            }
            Some(Frame::Table(rows)) => self.block(BlockKind::Table(rows)),
            Some(Frame::Row(cells)) => {
                if let Some(Frame::Table(rows)) = self.frames.last_mut() {
                    rows.push(Row { cells, ..Row::default() });
                }
            }
            None => {}
        }
    }

    /// Ends the paragraph that is being read, if there is one.
    fn flush(&mut self) {
        let Some(line) = self.line.take() else {
            return;
        };
        for part in line.parts(self.tokens, self.warnings) {
            match part {
                Part::Inlines(inlines) => self.block(BlockKind::Paragraph(inlines)),
                Part::Leaf(token) => self.block(BlockKind::Kept(token)),
                Part::Open(token, raw) => self.entry(Entry::Open(token, raw)),
                Part::Close(token, raw) => self.entry(Entry::Close(token, raw)),
            }
        }
    }

    fn heading(&mut self, level: HeadingLevel) {
        let line = self.line.take().unwrap_or_default();
        let inlines = line.inlines(self.tokens, self.warnings);
        self.block(BlockKind::Heading(level as u8, inlines));
    }

    fn end_html(&mut self) {
        let Some(html) = self.html.take() else {
            return;
        };
        let html = html.trim();
        if matches!(html, "<br>" | "<br/>" | "<br />") {
            self.block(BlockKind::Paragraph(vec![Inline::new(InlineKind::Break, Vec::new())]));
        } else if !html.is_empty() {
            warn(self.warnings, WarningKind::Simplified, "HTML");
            self.block(BlockKind::Paragraph(vec![Inline::text(html)]));
        }
    }
}

fn is_lone_break(block: &Block) -> bool {
    matches!(&block.kind, BlockKind::Paragraph(line) if matches!(&line[..], [Inline { kind: InlineKind::Break, .. }]))
}

/// Puts the blocks between a group's beginning and end into it. Whichever of the two stands alone is text.
fn grouped(entries: Vec<Entry>, warnings: &mut Vec<Warning>) -> Vec<Block> {
    let mut open: Vec<(usize, TokenId)> = Vec::new();
    let mut matched = vec![false; entries.len()];
    for (at, entry) in entries.iter().enumerate() {
        match entry {
            Entry::Open(token, _) if open.len() < MAX_GROUPS => open.push((at, *token)),
            Entry::Close(token, _) => {
                if let Some(depth) = open.iter().rposition(|(_, open)| open == token) {
                    matched[open[depth].0] = true;
                    matched[at] = true;
                    open.truncate(depth);
                }
            }
            _ => {}
        }
    }
    let mut groups: Vec<(TokenId, Vec<Block>)> = Vec::new();
    let mut blocks: Vec<Block> = Vec::new();
    for (entry, matched) in entries.into_iter().zip(matched) {
        match entry {
            Entry::Block(block) => blocks.push(block),
            Entry::Open(token, _) if matched => groups.push((token, std::mem::take(&mut blocks))),
            Entry::Close(..) if matched => {
                if let Some((token, outside)) = groups.pop() {
                    let inside = std::mem::replace(&mut blocks, outside);
                    blocks.push(Block::new(BlockKind::Group(token, inside)));
                }
            }
            Entry::Open(_, raw) | Entry::Close(_, raw) => {
                warn(warnings, WarningKind::MissingOriginal, &format!("{raw} without its other half"));
                blocks.push(Block::paragraph(vec![Inline::text(raw)]));
            }
        }
    }
    blocks
}
