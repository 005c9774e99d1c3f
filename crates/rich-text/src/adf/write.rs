//! The tree as a document: the original's nodes where they stayed, valid new ones otherwise.

mod groups;
mod inlines;

use serde_json::{Map, Value, json};

use super::fingerprint::type_of;
use super::fit::{Place, strong};
use crate::markdown::warn;
use crate::token::{Fingerprint, Tokens};
use crate::tree::{Block, BlockKind, Inline, InlineKind, Item, Origin, Row, plain};
use crate::warning::{Warning, WarningKind};

/// Writes a document around the blocks.
pub(super) fn document(
    original: &Value,
    blocks: &[Block],
    nodes: &[&Value],
    inlines: &[&Value],
    tokens: &Tokens,
    warnings: &mut Vec<Warning>,
) -> Value {
    let mut writer = Writer { nodes, inlines, tokens, warnings, new: 0 };
    let content = writer.blocks(blocks, Place::Root);
    let mut root = without_content(original).unwrap_or_default();
    root.entry("type").or_insert_with(|| "doc".into());
    root.entry("version").or_insert_with(|| 1.into());
    root.insert("content".to_owned(), Value::Array(content));
    Value::Object(root)
}

fn without_content(node: &Value) -> Option<Map<String, Value>> {
    let fields = node.as_object()?.iter().filter(|(key, _)| *key != "content");
    Some(fields.map(|(key, value)| (key.clone(), value.clone())).collect())
}

struct Writer<'a> {
    nodes: &'a [&'a Value],
    inlines: &'a [&'a Value],
    tokens: &'a Tokens,
    warnings: &'a mut Vec<Warning>,
    /// How many new nodes were given a local id.
    new: u64,
}

impl Writer<'_> {
    fn blocks(&mut self, blocks: &[Block], place: Place) -> Vec<Value> {
        let mut content = Vec::with_capacity(blocks.len());
        for block in blocks {
            self.block(block, place, &mut content);
        }
        content
    }

    /// Blocks where at least one must be.
    fn some_blocks(&mut self, blocks: &[Block], place: Place) -> Vec<Value> {
        let content = self.blocks(blocks, place);
        if content.is_empty() { vec![json!({"type": "paragraph"})] } else { content }
    }

    fn block(&mut self, block: &Block, place: Place, out: &mut Vec<Value>) {
        if let Origin::Whole(at) = block.origin {
            out.push(self.nodes[at].clone());
            return;
        }
        match &block.kind {
            BlockKind::Paragraph(line) => {
                let node = self.paragraph(line, block.origin);
                out.push(node);
            }
            BlockKind::Heading(level, line) => {
                if !place.allows("heading") {
                    self.simplified("a heading here");
                    let node = self.paragraph(&strong(line), Origin::New);
                    out.push(node);
                    return;
                }
                let mut node = self.shell(block.origin, "heading");
                set_attr(&mut node, "level", (*level).into());
                let content = self.line(line);
                out.push(with(node, content));
            }
            BlockKind::Code { language, text } => {
                let mut node = self.shell(block.origin, "codeBlock");
                if language.is_empty() {
                    if let Some(attrs) = node.get_mut("attrs").and_then(Value::as_object_mut) {
                        attrs.remove("language");
                    }
                } else {
                    set_attr(&mut node, "language", language.as_str().into());
                }
                let content =
                    if text.is_empty() { Vec::new() } else { vec![json!({"type": "text", "text": text})] };
                out.push(with(node, content));
            }
            BlockKind::Rule if place.allows("rule") => out.push(json!({"type": "rule"})),
            BlockKind::Rule => {
                self.simplified("a rule here");
                out.push(json!({"type": "paragraph", "content": [{"type": "text", "text": "———"}]}));
            }
            BlockKind::Quote(blocks) if place.allows("blockquote") => {
                let node = self.shell(block.origin, "blockquote");
                let content = self.some_blocks(blocks, Place::Quote);
                out.push(with(node, content));
            }
            BlockKind::Quote(blocks) => {
                self.simplified("a quote here");
                blocks.iter().for_each(|block| self.block(block, place, out));
            }
            BlockKind::List { ordered, items } => {
                let node = self.list(*ordered, items, block.origin, place);
                out.push(node);
            }
            BlockKind::Table(rows) if place.allows("table") => {
                let node = self.shell(block.origin, "table");
                let content = rows.iter().enumerate().map(|(at, row)| self.row(row, at == 0)).collect();
                out.push(with(node, content));
            }
            BlockKind::Table(rows) => {
                self.simplified("a table here");
                for row in rows {
                    let cells: Vec<String> = row.cells.iter().map(|cell| plain(&cell.inlines)).collect();
                    let node = self.paragraph(&[Inline::text(cells.join(" | "))], Origin::New);
                    out.push(node);
                }
            }
            BlockKind::Kept(token) => out.push(self.nodes[self.tokens.get(*token).original].clone()),
            BlockKind::Group(token, blocks) => self.group(*token, blocks, place, out),
            // Every hidden block comes from the original, as a whole.
            BlockKind::Hidden => {}
        }
    }

    fn paragraph(&mut self, line: &[Inline], origin: Origin) -> Value {
        if let [Inline { kind: InlineKind::Image { url, alt }, .. }] = line
            && !url.is_empty()
        {
            let mut attrs = json!({"type": "external", "url": url});
            if !alt.is_empty() {
                attrs["alt"] = alt.as_str().into();
            }
            let mut node = self.shell(origin, "mediaSingle");
            node.entry("attrs").or_insert_with(|| json!({"layout": "center"}));
            return with(node, vec![json!({"type": "media", "attrs": attrs})]);
        }
        let node = self.shell(origin, "paragraph");
        let content = self.line(line);
        with(node, content)
    }

    fn list(&mut self, ordered: Option<u64>, items: &[Item], origin: Origin, place: Place) -> Value {
        let tasks = ordered.is_none() && place.allows("taskList") && is_task_list(items);
        if tasks {
            return self.tasks(items, origin);
        }
        let kind = if ordered.is_some() { "orderedList" } else { "bulletList" };
        let mut node = self.shell(origin, kind);
        if let Some(first) = ordered {
            let numbered = node.get("attrs").is_some_and(|attrs| attrs.get("order").is_some());
            if first != 1 || numbered {
                set_attr(&mut node, "order", first.into());
            }
        }
        let content = items.iter().map(|item| self.item(item)).collect();
        with(node, content)
    }

    fn item(&mut self, item: &Item) -> Value {
        if let (Origin::Whole(at), None) = (item.origin, item.task) {
            return self.nodes[at].clone();
        }
        let node = self.shell(item.origin, "listItem");
        let mut blocks = item.blocks.clone();
        if let Some(done) = item.task {
            self.simplified("a task beside other content");
            let mark = Inline::text(if done { "[x] " } else { "[ ] " });
            match blocks.first_mut() {
                Some(Block { kind: BlockKind::Paragraph(line), origin }) => {
                    line.insert(0, mark);
                    *origin = Origin::New;
                }
                _ => blocks.insert(0, Block::paragraph(vec![mark])),
            }
        }
        let mut content = self.some_blocks(&blocks, Place::Item);
        let begins = matches!(content.first().map(type_of), Some("paragraph" | "mediaSingle" | "codeBlock"));
        if !begins && item.origin == Origin::New {
            content.insert(0, json!({"type": "paragraph"}));
        }
        with(node, content)
    }

    fn tasks(&mut self, items: &[Item], origin: Origin) -> Value {
        let mut node = self.shell(origin, "taskList");
        self.local_id(&mut node);
        let mut content = Vec::new();
        for item in items {
            let (line, rest) = match item.blocks.split_first() {
                Some((Block { kind: BlockKind::Paragraph(line), .. }, rest)) => (&line[..], rest),
                Some((Block { kind: BlockKind::Hidden, .. }, rest)) => (&[][..], rest),
                _ => (&[][..], &item.blocks[..]),
            };
            if let Origin::Whole(at) = item.origin {
                content.push(self.nodes[at].clone());
            } else {
                let mut task = self.shell(item.origin, "taskItem");
                self.local_id(&mut task);
                set_attr(&mut task, "state", if item.task == Some(true) { "DONE" } else { "TODO" }.into());
                let line = self.line(line);
                content.push(with(task, line));
            }
            rest.iter().for_each(|block| self.block(block, Place::Root, &mut content));
        }
        with(node, content)
    }

    fn row(&mut self, row: &Row, is_header: bool) -> Value {
        if let Origin::Whole(at) = row.origin {
            return self.nodes[at].clone();
        }
        let node = self.shell(row.origin, "tableRow");
        let mut cells = Vec::with_capacity(row.cells.len());
        for cell in &row.cells {
            let kind = if is_header { "tableHeader" } else { "tableCell" };
            cells.push(match cell.origin {
                Origin::Whole(at) if type_of(self.nodes[at]) == kind => self.nodes[at].clone(),
                Origin::Whole(at) | Origin::Shell(at) => {
                    let line = self.line(&cell.inlines);
                    let inside = self.nodes[at].pointer("/content/0").and_then(without_content);
                    let paragraph = with(inside.unwrap_or_else(|| bare("paragraph")), line);
                    with(self.shell(Origin::Shell(at), kind), vec![paragraph])
                }
                Origin::New => {
                    let line = self.line(&cell.inlines);
                    with(bare(kind), vec![with(bare("paragraph"), line)])
                }
            });
        }
        with(node, cells)
    }

    /// A node's fields without its content: the original's when that is of the same type.
    fn shell(&self, origin: Origin, kind: &str) -> Map<String, Value> {
        match origin {
            Origin::Whole(at) | Origin::Shell(at) if type_of(self.nodes[at]) == kind => {
                without_content(self.nodes[at]).unwrap_or_else(|| bare(kind))
            }
            Origin::Whole(at) | Origin::Shell(at)
                if kind.starts_with("table") && type_of(self.nodes[at]).starts_with("table") =>
            {
                let mut fields = without_content(self.nodes[at]).unwrap_or_default();
                fields.insert("type".to_owned(), kind.into());
                fields
            }
            _ => bare(kind),
        }
    }

    /// Gives a node that needs a local id one, unless it has one.
    fn local_id(&mut self, node: &mut Map<String, Value>) {
        if node.get("attrs").is_some_and(|attrs| attrs.get("localId").is_some()) {
            return;
        }
        self.new += 1;
        let id = Fingerprint::new("local").part(&self.new.to_string()).part(&self.nodes.len().to_string());
        set_attr(node, "localId", id.local_id().into());
    }

    fn simplified(&mut self, what: &str) {
        warn(self.warnings, WarningKind::Simplified, what);
    }
}

/// Whether every item is a task with at most a line and a list of tasks.
fn is_task_list(items: &[Item]) -> bool {
    items.iter().all(|item| {
        let mut blocks = item.blocks.iter().filter(|block| !block.is_hidden()).peekable();
        let _line = blocks.next_if(|block| matches!(block.kind, BlockKind::Paragraph(_)));
        item.task.is_some()
            && blocks.all(|block| {
                matches!(&block.kind, BlockKind::List { ordered: None, items } if is_task_list(items))
            })
    })
}

fn bare(kind: &str) -> Map<String, Value> {
    json_map(json!({"type": kind}))
}

fn json_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn with(mut node: Map<String, Value>, content: Vec<Value>) -> Value {
    node.insert("content".to_owned(), Value::Array(content));
    Value::Object(node)
}

fn set_attr(node: &mut Map<String, Value>, name: &str, value: Value) {
    let attrs = node.entry("attrs").or_insert_with(|| Value::Object(Map::new()));
    if let Some(attrs) = attrs.as_object_mut() {
        attrs.insert(name.to_owned(), value);
    }
}
