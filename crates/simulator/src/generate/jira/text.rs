//! A team's texts in the tracker's own form: a document on Cloud, wiki markup on Data Center.

use serde_json::{Value, json};

/// Headings, lists, code blocks, bold and code of the generated texts.
pub(super) fn rich(markdown: &str, cloud: bool) -> Value {
    let plain = markdown.replace("\r\n", "\n");
    let blocks = blocks(&plain);
    if cloud {
        let content: Vec<Value> = blocks.iter().map(Block::node).collect();
        return json!({"version": 1, "type": "doc", "content": content});
    }
    json!(blocks.iter().map(Block::wiki).collect::<Vec<_>>().join("\n\n"))
}

enum Block<'a> {
    Heading(&'a str),
    Paragraph(&'a str),
    Numbers(Vec<&'a str>),
    Tasks(Vec<&'a str>),
    Code(String),
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    for part in text.split("\n\n").map(str::trim).filter(|part| !part.is_empty()) {
        let lines: Vec<&str> = part.lines().collect();
        let all = |start: fn(&str) -> Option<&str>| {
            lines.iter().map(|line| start(line)).collect::<Option<Vec<&str>>>()
        };
        let bold = part.strip_prefix("**").and_then(|rest| rest.strip_suffix("**"));
        if let Some(title) = part.strip_prefix("### ").or(bold.filter(|title| !title.contains("**"))) {
            blocks.push(Block::Heading(title));
        } else if let Some(code) = part.strip_prefix("```").and_then(|rest| rest.strip_suffix("```")) {
            blocks.push(Block::Code(code.trim().to_owned()));
        } else if let Some(rows) = all(|line| line.strip_prefix("- [ ] ")) {
            blocks.push(Block::Tasks(rows));
        } else if let Some(rows) =
            all(|line| line.split_once(". ").filter(|(n, _)| n.parse::<u8>().is_ok()).map(|(_, row)| row))
        {
            blocks.push(Block::Numbers(rows));
        } else {
            blocks.push(Block::Paragraph(part));
        }
    }
    blocks
}

impl Block<'_> {
    fn node(&self) -> Value {
        let paragraph = |text: &str| json!({"type": "paragraph", "content": inlines(text)});
        match self {
            Self::Heading(title) => {
                json!({"type": "heading", "attrs": {"level": 3}, "content": inlines(title)})
            }
            Self::Paragraph(text) => paragraph(text),
            Self::Code(code) => json!({"type": "codeBlock", "content": [{"type": "text", "text": code}]}),
            Self::Numbers(rows) => {
                let rows: Vec<Value> =
                    rows.iter().map(|row| json!({"type": "listItem", "content": [paragraph(row)]})).collect();
                json!({"type": "orderedList", "content": rows})
            }
            Self::Tasks(rows) => {
                let rows: Vec<Value> = rows
                    .iter()
                    .zip(1..)
                    .map(|(row, n)| json!({"type": "taskItem", "attrs": {"localId": n.to_string(), "state": "TODO"}, "content": inlines(row)}))
                    .collect();
                json!({"type": "taskList", "attrs": {"localId": "tasks"}, "content": rows})
            }
        }
    }

    fn wiki(&self) -> String {
        let each = |rows: &[&str], mark: &str| {
            rows.iter().map(|row| format!("{mark} {}", wiki_inlines(row))).collect::<Vec<_>>().join("\n")
        };
        match self {
            Self::Heading(title) => format!("h3. {title}"),
            Self::Paragraph(text) => wiki_inlines(text),
            Self::Code(code) => format!("{{code}}\n{code}\n{{code}}"),
            Self::Numbers(rows) => each(rows, "#"),
            Self::Tasks(rows) => each(rows, "*"),
        }
    }
}

/// Text, `code` and **bold**.
fn inlines(text: &str) -> Vec<Value> {
    let mut nodes = Vec::new();
    for (index, part) in text.replace('\n', " ").split('`').enumerate() {
        if index % 2 == 1 {
            nodes.push(json!({"type": "text", "text": part, "marks": [{"type": "code"}]}));
            continue;
        }
        for (index, part) in part.split("**").enumerate().filter(|(_, part)| !part.is_empty()) {
            nodes.push(match index % 2 {
                0 => json!({"type": "text", "text": part}),
                _ => json!({"type": "text", "text": part, "marks": [{"type": "strong"}]}),
            });
        }
    }
    nodes
}

fn wiki_inlines(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(
        |(index, part)| if index % 2 == 1 { format!("{{{{{part}}}}}") } else { part.replace("**", "*") },
    );
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let text = "**What happens**\r\n\r\nSeen on `acc_1`, **twice**.\r\n\r\n1. One\r\n2. Two\r\n\r\n```\r\nERROR\r\n```";
        assert_eq!(
            rich(text, false),
            "h3. What happens\n\nSeen on {{acc_1}}, *twice*.\n\n# One\n# Two\n\n{code}\nERROR\n{code}"
        );
        let document = rich(text, true);
        let kinds: Vec<&str> =
            document["content"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["heading", "paragraph", "orderedList", "codeBlock"]);
    }
}
