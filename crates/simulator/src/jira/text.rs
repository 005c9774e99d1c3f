//! Rich text as far as the server itself must understand it: plain text into a document and back.

use serde_json::{Value, json};

/// A document of the text's paragraphs; lines within one are hard breaks.
pub(crate) fn to_document(plain: &str) -> Value {
    let plain = plain.replace("\r\n", "\n");
    let paragraphs: Vec<Value> = plain
        .split("\n\n")
        .filter(|paragraph| !paragraph.trim().is_empty())
        .map(|paragraph| {
            let mut content = Vec::new();
            for (index, line) in paragraph.split('\n').enumerate() {
                if index > 0 {
                    content.push(json!({"type": "hardBreak"}));
                }
                // An empty text node is not allowed.
                if !line.is_empty() {
                    content.push(json!({"type": "text", "text": line}));
                }
            }
            json!({"type": "paragraph", "content": content})
        })
        .collect();
    json!({"version": 1, "type": "doc", "content": paragraphs})
}

/// The text of a document, blocks on lines of their own.
pub(crate) fn to_plain(document: &Value) -> String {
    let mut out = String::new();
    write(document, &mut out, 0);
    out.trim_end().to_owned()
}

fn write(node: &Value, out: &mut String, depth: usize) {
    // Deeper than any editor makes it: not worth a stack.
    if depth > 100 {
        return;
    }
    match node["type"].as_str() {
        Some("text") => out.push_str(node["text"].as_str().unwrap_or_default()),
        Some("hardBreak") => out.push('\n'),
        Some("mention" | "emoji" | "status") => {
            out.push_str(node["attrs"]["text"].as_str().unwrap_or_default());
        }
        Some("inlineCard") => out.push_str(node["attrs"]["url"].as_str().unwrap_or_default()),
        _ => {}
    }
    for child in node["content"].as_array().into_iter().flatten() {
        write(child, out, depth + 1);
    }
    if matches!(node["type"].as_str(), Some("paragraph" | "heading" | "codeBlock" | "listItem")) {
        out.push_str("\n\n");
    }
}

/// Whether Jira takes the value as a document. Only its outer shape is checked; its nodes by type and nesting.
pub(crate) fn is_document(value: &Value) -> bool {
    value["type"] == "doc"
        && value["version"] == 1
        && value["content"].as_array().is_some_and(|nodes| nodes.iter().all(|node| is_block(node, 0)))
}

fn is_block(node: &Value, depth: usize) -> bool {
    const INLINE: [&str; 10] = [
        "text",
        "hardBreak",
        "mention",
        "emoji",
        "date",
        "status",
        "inlineCard",
        "mediaInline",
        "placeholder",
        "inlineExtension",
    ];
    let Some(kind) = node["type"].as_str() else { return false };
    let top_is_block = depth > 0 || !INLINE.contains(&kind);
    let text_is_right = kind != "text" || node["text"].as_str().is_some_and(|text| !text.is_empty());
    let children = match node.get("content") {
        None => true,
        Some(Value::Array(children)) => {
            depth < 200 && children.iter().all(|child| is_block(child, depth + 1))
        }
        Some(_) => false,
    };
    top_is_block && text_is_right && children
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_comes_back_from_its_document() {
        let plain = "First line\nsecond\n\nNext paragraph";
        let document = to_document(plain);
        assert!(is_document(&document));
        assert_eq!(to_plain(&document), plain);
        assert_eq!(to_document("")["content"], json!([]));
    }

    #[test]
    fn what_is_no_document_is_told() {
        assert!(!is_document(&json!("text")));
        assert!(!is_document(
            &json!({"type": "doc", "version": 1, "content": [{"type": "text", "text": "x"}]})
        ));
        assert!(!is_document(
            &json!({"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": [{"type": "text", "text": ""}]}]})
        ));
    }
}
