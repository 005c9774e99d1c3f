//! A document as the tree.

use serde_json::{Map, Value};

use super::{fingerprint, label};
use crate::markdown::{storable, warn};
use crate::token::{TokenKind, Tokens};
use crate::tree::{
    Block, BlockKind, Cell, Inline, InlineKind, InlineOrigin, Item, Mark, Origin, Row, normal,
};
use crate::warning::{Warning, WarningKind};

/// Nodes within nodes that are looked into. Jira's editor allows far fewer.
const MAX_DEPTH: usize = 24;

/// Reads a document and remembers what each part of the tree was made of.
#[derive(Debug, Default)]
pub(super) struct Reader<'a> {
    pub(super) nodes: Vec<&'a Value>,
    /// The nodes within lines, those of one line without a gap.
    pub(super) inlines: Vec<&'a Value>,
    pub(super) tokens: Tokens,
    pub(super) warnings: Vec<Warning>,
}

impl<'a> Reader<'a> {
    pub(super) fn document(&mut self, document: &'a Value) -> Vec<Block> {
        match document {
            Value::String(text) => vec![Block::paragraph(vec![Inline::text(self.clean(text))])],
            _ => match document.get("content") {
                Some(Value::Array(content)) => self.blocks(content, 0),
                _ => Vec::new(),
            },
        }
    }

    fn blocks(&mut self, content: &'a [Value], depth: usize) -> Vec<Block> {
        content.iter().map(|node| self.block(node, depth)).collect()
    }

    fn block(&mut self, node: &'a Value, depth: usize) -> Block {
        let at = self.node(node);
        let kind = if depth > MAX_DEPTH {
            warn(&mut self.warnings, WarningKind::TooDeep, fingerprint::type_of(node));
            None
        } else {
            node.as_object().and_then(|fields| self.understood(node, fields, at, depth))
        };
        let kind = kind.unwrap_or_else(|| BlockKind::Kept(self.token(TokenKind::Block, node, at)));
        Block { kind, origin: Origin::Whole(at) }
    }

    fn understood(
        &mut self,
        node: &'a Value,
        fields: &'a Map<String, Value>,
        at: usize,
        depth: usize,
    ) -> Option<BlockKind> {
        let content = match fields.get("content") {
            Some(Value::Array(content)) => &content[..],
            None => &[],
            Some(_) => return None,
        };
        let attrs = fields.get("attrs");
        let kind = match fingerprint::type_of(node) {
            "paragraph" => {
                let line = self.line(content);
                if normal(&line).is_empty() { BlockKind::Hidden } else { BlockKind::Paragraph(line) }
            }
            "heading" => {
                let level = attrs?.get("level")?.as_u64().filter(|level| (1..=6).contains(level))?;
                BlockKind::Heading(level as u8, self.line(content))
            }
            "codeBlock" => self.code(content, attrs)?,
            "rule" => BlockKind::Rule,
            "blockquote" => BlockKind::Quote(self.blocks(content, depth + 1)),
            "bulletList" => self.list(None, content, depth)?,
            "orderedList" => {
                let first = attrs.and_then(|attrs| attrs.get("order"));
                self.list(Some(first.map_or(Some(1), Value::as_u64)?), content, depth)?
            }
            "taskList" => self.tasks(content, depth)?,
            "mediaSingle" => self.image(fields, content)?,
            "table" if is_simple_table(content) => self.table(content),
            "decisionItem" => {
                let token = self.shell(node, fields, at);
                BlockKind::Group(token, vec![Block::paragraph(self.line(content))])
            }
            "panel" | "expand" | "nestedExpand" | "layoutSection" | "layoutColumn" | "bodiedExtension"
            | "decisionList" | "table" | "tableRow" | "tableCell" | "tableHeader" => {
                let token = self.shell(node, fields, at);
                return Some(BlockKind::Group(token, self.blocks(content, depth + 1)));
            }
            _ => return None,
        };
        self.hidden(fields);
        Some(kind)
    }

    /// Names what is not shown of a block.
    fn hidden(&mut self, fields: &Map<String, Value>) {
        for mark in fields.get("marks").and_then(Value::as_array).into_iter().flatten() {
            warn(&mut self.warnings, WarningKind::Hidden, fingerprint::type_of(mark));
        }
    }

    fn list(&mut self, ordered: Option<u64>, content: &'a [Value], depth: usize) -> Option<BlockKind> {
        if content.is_empty() {
            return None;
        }
        let mut items = Vec::with_capacity(content.len());
        for node in content {
            let inside = node.get("content").and_then(Value::as_array);
            let (Some(inside), "listItem") = (inside, fingerprint::type_of(node)) else {
                return None;
            };
            let origin = Origin::Whole(self.node(node));
            items.push(Item { task: None, blocks: self.blocks(inside, depth + 2), origin });
        }
        Some(BlockKind::List { ordered, items })
    }

    /// A task's own list follows it as its neighbour; in Markdown it is inside.
    fn tasks(&mut self, content: &'a [Value], depth: usize) -> Option<BlockKind> {
        let mut items: Vec<Item> = Vec::with_capacity(content.len());
        for node in content {
            match fingerprint::type_of(node) {
                "taskItem" => {
                    let done = match node.pointer("/attrs/state").and_then(Value::as_str) {
                        Some("DONE") => true,
                        Some("TODO") => false,
                        _ => return None,
                    };
                    let line = match node.get("content") {
                        Some(Value::Array(content)) => self.line(content),
                        None => Vec::new(),
                        Some(_) => return None,
                    };
                    let origin = Origin::Whole(self.node(node));
                    let kind =
                        if normal(&line).is_empty() { BlockKind::Hidden } else { BlockKind::Paragraph(line) };
                    items.push(Item { task: Some(done), blocks: vec![Block { kind, origin }], origin });
                }
                "taskList" => items.last_mut()?.blocks.push(self.block(node, depth + 2)),
                _ => return None,
            }
        }
        (!items.is_empty()).then_some(BlockKind::List { ordered: None, items })
    }

    fn table(&mut self, content: &'a [Value]) -> BlockKind {
        let rows = content.iter().map(|row| {
            let origin = Origin::Whole(self.node(row));
            let cells = children(row).iter().map(|cell| {
                let inlines = self.line(children(&children(cell)[0]));
                Cell { inlines, origin: Origin::Whole(self.node(cell)) }
            });
            Row { cells: cells.collect(), origin }
        });
        BlockKind::Table(rows.collect())
    }

    fn code(&mut self, content: &'a [Value], attrs: Option<&Value>) -> Option<BlockKind> {
        let mut text = String::new();
        for node in content {
            if fingerprint::type_of(node) != "text" {
                return None;
            }
            text.push_str(node.get("text")?.as_str()?);
        }
        let language = attrs.and_then(|attrs| attrs.get("language")).and_then(Value::as_str);
        Some(BlockKind::Code { language: language.unwrap_or_default().to_owned(), text: self.clean(&text) })
    }

    /// An image from elsewhere, which Markdown can say; attachments are known to Jira alone.
    fn image(&mut self, fields: &Map<String, Value>, content: &'a [Value]) -> Option<BlockKind> {
        let [media] = content else {
            return None;
        };
        let plain = !fields.contains_key("marks") && media.get("marks").is_none();
        let attrs = media.get("attrs")?;
        let external = attrs.get("type")?.as_str()? == "external";
        if !plain || !external || fingerprint::type_of(media) != "media" {
            return None;
        }
        let url = attrs.get("url")?.as_str()?.to_owned();
        let alt = attrs.get("alt").and_then(Value::as_str).unwrap_or_default();
        let alt = self.clean(alt);
        Some(BlockKind::Paragraph(vec![Inline::new(InlineKind::Image { url, alt }, Vec::new())]))
    }

    fn line(&mut self, content: &'a [Value]) -> Vec<Inline> {
        content.iter().map(|node| self.inline(node)).collect()
    }

    fn inline(&mut self, node: &'a Value) -> Inline {
        let at = self.inlines.len();
        self.inlines.push(node);
        let (kind, marks) = match (fingerprint::type_of(node), node.get("text").and_then(Value::as_str)) {
            ("text", Some(text)) => (InlineKind::Text(self.clean(text)), self.marks(node)),
            ("hardBreak", _) => (InlineKind::Break, Vec::new()),
            _ => {
                let at = self.node(node);
                (InlineKind::Kept(self.token(TokenKind::Inline, node, at)), Vec::new())
            }
        };
        Inline { kind, marks, origin: Some(InlineOrigin { nodes: at..at + 1, changed: false }) }
    }

    fn marks(&mut self, node: &'a Value) -> Vec<Mark> {
        let marks = node.get("marks").and_then(Value::as_array);
        let mut marks: Vec<Mark> = marks.into_iter().flatten().map(|mark| self.mark(mark)).collect();
        marks.sort();
        marks.dedup();
        marks
    }

    fn mark(&mut self, mark: &'a Value) -> Mark {
        let fields = mark.as_object().map_or(0, Map::len);
        let attrs = mark.get("attrs").and_then(Value::as_object);
        let attr = |name: &str| attrs.and_then(|attrs| attrs.get(name)).and_then(Value::as_str);
        match (fingerprint::type_of(mark), fields, attrs.map_or(0, Map::len)) {
            ("strong", 1, 0) => return Mark::Strong,
            ("em", 1, 0) => return Mark::Em,
            ("strike", 1, 0) => return Mark::Strike,
            ("underline", 1, 0) => return Mark::Underline,
            ("code", 1, 0) => return Mark::Code,
            ("subsup", 2, 1) if attr("type") == Some("sub") => return Mark::Sub,
            ("subsup", 2, 1) if attr("type") == Some("sup") => return Mark::Sup,
            ("link", 2, 1 | 2) => {
                let titled = attrs.map_or(0, Map::len) == 2;
                if let (Some(href), Some(title)) =
                    (attr("href"), if titled { attr("title") } else { Some("") })
                    && titled != title.is_empty()
                {
                    return Mark::Link { href: href.to_owned(), title: title.to_owned() };
                }
            }
            _ => {}
        }
        let at = self.node(mark);
        Mark::Kept(self.token(TokenKind::Mark, mark, at))
    }

    fn node(&mut self, node: &'a Value) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn token(&mut self, kind: TokenKind, node: &Value, at: usize) -> usize {
        let name = fingerprint::type_of(node);
        warn(&mut self.warnings, WarningKind::Placeholder, name);
        self.tokens.add(kind, name, &label::of(node), fingerprint::whole(node), at)
    }

    fn shell(&mut self, node: &Value, fields: &Map<String, Value>, at: usize) -> usize {
        let name = fingerprint::type_of(node);
        warn(&mut self.warnings, WarningKind::Placeholder, name);
        // What is inside is shown inside, so the label must not change with it.
        let bare = fields.iter().filter(|(key, _)| *key != "content");
        let bare: Map<String, Value> = bare.map(|(key, value)| (key.clone(), value.clone())).collect();
        let print = fingerprint::shell(fields);
        self.tokens.add(TokenKind::Group, name, &label::of(&Value::Object(bare)), print, at)
    }

    fn clean(&mut self, text: &str) -> String {
        storable(&text.replace("\r\n", "\n").replace('\r', "\n"), &mut self.warnings)
    }
}

fn children(node: &Value) -> &[Value] {
    node.get("content").and_then(Value::as_array).map_or(&[], |content| &content[..])
}

/// Whether Markdown's tables can say it: one row of headings, then rows of as many cells, each one paragraph.
fn is_simple_table(rows: &[Value]) -> bool {
    let columns = rows.first().map_or(0, |row| children(row).len());
    columns > 0
        && rows.iter().enumerate().all(|(at, row)| {
            let cell_type = if at == 0 { "tableHeader" } else { "tableCell" };
            fingerprint::type_of(row) == "tableRow"
                && children(row).len() == columns
                && children(row)
                    .iter()
                    .all(|cell| fingerprint::type_of(cell) == cell_type && is_simple_cell(cell))
        })
}

fn is_simple_cell(cell: &Value) -> bool {
    let spans =
        |name: &str| cell.pointer(&format!("/attrs/{name}")).is_some_and(|span| span.as_f64() != Some(1.0));
    let [paragraph] = children(cell) else {
        return false;
    };
    let has_line = paragraph.get("content").is_none_or(Value::is_array);
    !spans("colspan") && !spans("rowspan") && fingerprint::type_of(paragraph) == "paragraph" && has_line
}
