//! Blocks of the original with blocks inside: panels, layouts, tables that Markdown cannot say, decisions.

use serde_json::{Value, json};

use super::{Writer, bare, json_map, with, without_content};
use crate::adf::fingerprint::type_of;
use crate::adf::fit::Place;
use crate::tree::{Block, BlockKind, Origin, TokenId};

impl Writer<'_> {
    /// A block of the original with other content.
    pub(super) fn group(&mut self, token: TokenId, blocks: &[Block], place: Place, out: &mut Vec<Value>) {
        let original = self.nodes[self.tokens.get(token).original];
        let kind = type_of(original).to_owned();
        let shell = without_content(original).unwrap_or_else(|| bare("paragraph"));
        if !place.allows(&kind) {
            self.simplified(&format!("{kind} here"));
            blocks.iter().for_each(|block| self.block(block, place, out));
            return;
        }
        let content = self.parts(&kind, blocks);
        if !content.is_empty() {
            out.push(with(shell, content));
        }
    }

    /// The content of a group of this type.
    fn parts(&mut self, kind: &str, blocks: &[Block]) -> Vec<Value> {
        let part = match kind {
            "decisionList" => "decisionItem",
            "table" => "tableRow",
            "tableRow" => "tableCell",
            "layoutSection" => "layoutColumn",
            _ => return self.some_blocks(blocks, Place::inside(kind)),
        };
        let mut content: Vec<Value> = Vec::new();
        for block in blocks {
            let token = match &block.kind {
                BlockKind::Group(token, inside) => Some((*token, inside)),
                _ => None,
            };
            let own = token.map(|(token, inside)| (self.nodes[self.tokens.get(token).original], inside));
            let fits =
                |node: &Value| type_of(node) == part || part == "tableCell" && type_of(node) == "tableHeader";
            match (block.origin, own) {
                (Origin::Whole(at), _) => content.push(self.nodes[at].clone()),
                (_, Some((node, inside))) if fits(node) => {
                    let shell = without_content(node).unwrap_or_default();
                    let inside = match type_of(node) {
                        "decisionItem" => self.lines(inside),
                        other => self.parts(other, inside),
                    };
                    content.push(with(shell, inside));
                }
                _ => self.stray(part, block, &mut content),
            }
        }
        content
    }

    /// A block that was written where only parts of a table, a layout or a list of decisions can be.
    fn stray(&mut self, part: &str, block: &Block, content: &mut Vec<Value>) {
        let one = std::slice::from_ref(block);
        let node = match part {
            "tableRow" => {
                let cell = with(bare("tableCell"), self.some_blocks(one, Place::Cell));
                with(bare("tableRow"), vec![cell])
            }
            "tableCell" => with(bare("tableCell"), self.some_blocks(one, Place::Cell)),
            "layoutColumn" => {
                let inside = self.blocks(one, Place::Column);
                let column =
                    content.last_mut().and_then(|node| node.get_mut("content")).and_then(Value::as_array_mut);
                if let Some(column) = column {
                    column.extend(inside);
                    return;
                }
                with(json_map(json!({"type": "layoutColumn", "attrs": {"width": 50}})), inside)
            }
            _ => {
                let mut node = json_map(json!({"type": "decisionItem", "attrs": {"state": "DECIDED"}}));
                self.local_id(&mut node);
                let line = self.lines(one);
                with(node, line)
            }
        };
        content.push(node);
    }

    /// The lines of some blocks as one.
    fn lines(&mut self, blocks: &[Block]) -> Vec<Value> {
        let mut content = Vec::new();
        for block in blocks {
            let line = match &block.kind {
                BlockKind::Paragraph(line) | BlockKind::Heading(_, line) => self.line(line),
                BlockKind::Hidden => continue,
                other => {
                    self.simplified("a block within a decision");
                    let inside = Block::new(other.clone());
                    self.blocks(&[inside], Place::Item).iter().flat_map(texts).collect()
                }
            };
            if !content.is_empty() && !line.is_empty() {
                content.push(json!({"type": "hardBreak"}));
            }
            content.extend(line);
        }
        content
    }
}

/// The nodes of text in a block.
fn texts(node: &Value) -> Vec<Value> {
    match node.get("content").and_then(Value::as_array) {
        Some(content) => content.iter().flat_map(texts).collect(),
        None if type_of(node) == "text" => vec![node.clone()],
        None => Vec::new(),
    }
}
