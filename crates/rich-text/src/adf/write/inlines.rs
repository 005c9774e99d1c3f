//! What stands in a line.

use serde_json::{Value, json};

use super::Writer;
use crate::adf::fingerprint::type_of;
use crate::tree::{Inline, InlineKind, Mark};

impl Writer<'_> {
    pub(super) fn line(&mut self, line: &[Inline]) -> Vec<Value> {
        let mut content = Vec::with_capacity(line.len());
        for inline in line {
            match &inline.origin {
                Some(origin) if !origin.changed => {
                    content.extend(self.inlines[origin.nodes.clone()].iter().map(|node| (*node).clone()));
                    continue;
                }
                Some(origin) => {
                    let before = &self.inlines[origin.nodes.clone()];
                    let before =
                        before.iter().find(|node| node.get("text").and_then(Value::as_str) != Some(""));
                    if let (Some(Value::Object(fields)), InlineKind::Text(text)) = (before, &inline.kind) {
                        let mut node = fields.clone();
                        node.insert("text".to_owned(), text.as_str().into());
                        content.push(Value::Object(node));
                        continue;
                    }
                }
                None => {}
            }
            content.extend(self.inline(inline));
        }
        content
    }

    fn inline(&mut self, inline: &Inline) -> Option<Value> {
        match &inline.kind {
            InlineKind::Text(text) if text.is_empty() => None,
            InlineKind::Text(text) => {
                let marks = self.marks(&inline.marks);
                let mut node = json!({"type": "text", "text": text});
                if !marks.is_empty() {
                    node["marks"] = marks.into();
                }
                Some(node)
            }
            InlineKind::Break => Some(json!({"type": "hardBreak"})),
            InlineKind::Image { url, alt } => {
                self.simplified("an image within a line");
                let text = if alt.is_empty() { url } else { alt };
                let link = json!([{"type": "link", "attrs": {"href": url}}]);
                (!text.is_empty()).then(|| json!({"type": "text", "text": text, "marks": link}))
            }
            InlineKind::Kept(token) => Some(self.nodes[self.tokens.get(*token).original].clone()),
        }
    }

    fn marks(&mut self, marks: &[Mark]) -> Vec<Value> {
        let is_code = marks.contains(&Mark::Code);
        let mut written = Vec::with_capacity(marks.len());
        for mark in marks {
            let plain = |kind: &str| json!({"type": kind});
            let node = match mark {
                Mark::Link { href, title } => {
                    let mut attrs = json!({"href": href});
                    if !title.is_empty() {
                        attrs["title"] = title.as_str().into();
                    }
                    json!({"type": "link", "attrs": attrs})
                }
                Mark::Code => plain("code"),
                Mark::Kept(token) => {
                    let node = self.nodes[self.tokens.get(*token).original];
                    if is_code && !matches!(type_of(node), "link" | "annotation") {
                        self.simplified("formatting of code");
                        continue;
                    }
                    node.clone()
                }
                _ if is_code => {
                    self.simplified("formatting of code");
                    continue;
                }
                Mark::Strong => plain("strong"),
                Mark::Em => plain("em"),
                Mark::Strike => plain("strike"),
                Mark::Underline => plain("underline"),
                Mark::Sub => json!({"type": "subsup", "attrs": {"type": "sub"}}),
                Mark::Sup => json!({"type": "subsup", "attrs": {"type": "sup"}}),
            };
            let again = written.iter().any(|known: &Value| type_of(known) == type_of(&node));
            if !again {
                written.push(node);
            }
        }
        written
    }
}
