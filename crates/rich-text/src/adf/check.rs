//! Whether a document is one that Jira takes, after the official JSON schema (<http://go.atlassian.com/adf-json-schema>):
//! Jira itself answers a wrong one with a few words and no place.

use serde_json::{Map, Value};

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// A JSON pointer into the document; empty for the document itself.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}

/// Nodes inside each other. Editors make a dozen at most.
const DEPTH: usize = 50;

#[derive(Clone, Copy)]
enum Content {
    None,
    Text,
    Some(&'static [&'static str]),
    /// At least one.
    Many(&'static [&'static str]),
}

const INLINE: &[&str] = &[
    "text",
    "hardBreak",
    "mention",
    "emoji",
    "date",
    "status",
    "inlineCard",
    "placeholder",
    "inlineExtension",
    "mediaInline",
];
const DOCUMENT: &[&str] = &[
    "paragraph",
    "heading",
    "bulletList",
    "orderedList",
    "taskList",
    "decisionList",
    "codeBlock",
    "blockquote",
    "panel",
    "rule",
    "table",
    "expand",
    "mediaSingle",
    "mediaGroup",
    "blockCard",
    "embedCard",
    "extension",
    "bodiedExtension",
    "layoutSection",
];
const COLUMN: &[&str] = &[
    "paragraph",
    "heading",
    "bulletList",
    "orderedList",
    "taskList",
    "decisionList",
    "codeBlock",
    "blockquote",
    "panel",
    "rule",
    "table",
    "expand",
    "mediaSingle",
    "mediaGroup",
    "blockCard",
    "embedCard",
    "extension",
    "bodiedExtension",
];
const NESTED: &[&str] = &[
    "paragraph",
    "heading",
    "bulletList",
    "orderedList",
    "taskList",
    "decisionList",
    "codeBlock",
    "blockquote",
    "panel",
    "rule",
    "table",
    "nestedExpand",
    "mediaSingle",
    "mediaGroup",
    "blockCard",
    "embedCard",
    "extension",
];
const CELL: &[&str] = &[
    "paragraph",
    "heading",
    "bulletList",
    "orderedList",
    "taskList",
    "decisionList",
    "codeBlock",
    "blockquote",
    "panel",
    "rule",
    "nestedExpand",
    "mediaSingle",
    "mediaGroup",
    "blockCard",
    "embedCard",
    "extension",
];
const NESTED_EXPAND: &[&str] = &[
    "paragraph",
    "heading",
    "bulletList",
    "orderedList",
    "taskList",
    "decisionList",
    "codeBlock",
    "blockquote",
    "panel",
    "rule",
    "mediaSingle",
    "mediaGroup",
];
const PANEL: &[&str] = &[
    "paragraph",
    "heading",
    "bulletList",
    "orderedList",
    "taskList",
    "decisionList",
    "codeBlock",
    "rule",
    "mediaSingle",
    "mediaGroup",
    "blockCard",
];
const QUOTE: &[&str] = &["paragraph", "bulletList", "orderedList", "codeBlock", "mediaSingle", "mediaGroup"];
const ITEM: &[&str] = &["paragraph", "bulletList", "orderedList", "taskList", "codeBlock", "mediaSingle"];

/// What each node holds, and which attributes it cannot do without.
const NODES: [(&str, Content, &[&str]); 38] = [
    ("doc", Content::Some(DOCUMENT), &[]),
    ("paragraph", Content::Some(INLINE), &[]),
    ("heading", Content::Some(INLINE), &["level"]),
    ("bulletList", Content::Many(&["listItem"]), &[]),
    ("orderedList", Content::Many(&["listItem"]), &[]),
    ("listItem", Content::Many(ITEM), &[]),
    ("taskList", Content::Many(&["taskItem", "taskList"]), &["localId"]),
    ("taskItem", Content::Some(INLINE), &["localId", "state"]),
    ("decisionList", Content::Many(&["decisionItem"]), &["localId"]),
    ("decisionItem", Content::Some(INLINE), &["localId", "state"]),
    ("codeBlock", Content::Text, &[]),
    ("blockquote", Content::Many(QUOTE), &[]),
    ("panel", Content::Many(PANEL), &["panelType"]),
    ("rule", Content::None, &[]),
    ("table", Content::Many(&["tableRow"]), &[]),
    ("tableRow", Content::Some(&["tableCell", "tableHeader"]), &[]),
    ("tableCell", Content::Many(CELL), &[]),
    ("tableHeader", Content::Many(CELL), &[]),
    ("expand", Content::Many(NESTED), &[]),
    ("nestedExpand", Content::Many(NESTED_EXPAND), &[]),
    ("layoutSection", Content::Many(&["layoutColumn"]), &[]),
    ("layoutColumn", Content::Many(COLUMN), &["width"]),
    ("mediaSingle", Content::Many(&["media", "caption"]), &[]),
    ("mediaGroup", Content::Many(&["media"]), &[]),
    ("media", Content::None, &["type"]),
    ("mediaInline", Content::None, &["id", "collection"]),
    ("caption", Content::Some(INLINE), &[]),
    ("blockCard", Content::None, &[]),
    ("embedCard", Content::None, &["url", "layout"]),
    ("inlineCard", Content::None, &[]),
    ("extension", Content::None, &["extensionKey", "extensionType"]),
    ("inlineExtension", Content::None, &["extensionKey", "extensionType"]),
    ("bodiedExtension", Content::Many(NESTED), &["extensionKey", "extensionType"]),
    ("hardBreak", Content::None, &[]),
    ("mention", Content::None, &["id"]),
    ("emoji", Content::None, &["shortName"]),
    ("date", Content::None, &["timestamp"]),
    ("status", Content::None, &["text", "color"]),
];

/// Marks, with the attributes they cannot do without.
const MARKS: [(&str, &[&str]); 15] = [
    ("strong", &[]),
    ("em", &[]),
    ("code", &[]),
    ("strike", &[]),
    ("underline", &[]),
    ("link", &["href"]),
    ("subsup", &["type"]),
    ("textColor", &["color"]),
    ("backgroundColor", &["color"]),
    ("alignment", &["align"]),
    ("indentation", &["level"]),
    ("annotation", &["id", "annotationType"]),
    ("border", &["size", "color"]),
    ("breakout", &["mode"]),
    ("fragment", &["localId"]),
];

/// Refuses what Jira would refuse, with the first place that is wrong.
pub fn check(document: &Value) -> Result<(), Flaw> {
    if document.get("type").and_then(Value::as_str) != Some("doc") {
        return flaw(
            "/type",
            "must be `doc`: a document looks like {\"type\": \"doc\", \"version\": 1, \"content\": []}",
        );
    }
    if document.get("version").and_then(Value::as_u64) != Some(1) {
        return flaw("/version", "must be 1");
    }
    if !document.get("content").is_some_and(Value::is_array) {
        return flaw("/content", "must be a list of nodes");
    }
    node(document, "", DEPTH)
}

fn flaw(pointer: impl Into<String>, message: impl Into<String>) -> Result<(), Flaw> {
    Err(Flaw { pointer: pointer.into(), message: message.into() })
}

fn node(node: &Value, pointer: &str, depth: usize) -> Result<(), Flaw> {
    let Some(depth) = depth.checked_sub(1) else {
        return flaw(pointer, format!("is inside more than {DEPTH} others"));
    };
    let Value::Object(node) = node else { return flaw(pointer, "must be a node: an object with a `type`") };
    let Some(name) = node.get("type").and_then(Value::as_str) else {
        return flaw(format!("{pointer}/type"), "must name the type of node");
    };
    marks(node, pointer)?;
    if name == "text" {
        return match node.get("text").and_then(Value::as_str) {
            Some(text) if !text.is_empty() => Ok(()),
            _ => flaw(format!("{pointer}/text"), "must be a text that is not empty"),
        };
    }
    if name == "placeholder" {
        return attributes(node, &["text"], pointer);
    }
    let Some((_, content, needed)) = NODES.iter().find(|(known, ..)| *known == name) else {
        return flaw(format!("{pointer}/type"), format!("`{name}` is no type of node"));
    };
    attributes(node, needed, pointer)?;
    children(node, name, *content, pointer, depth)
}

fn children(
    node: &Map<String, Value>,
    name: &str,
    content: Content,
    pointer: &str,
    depth: usize,
) -> Result<(), Flaw> {
    let pointer = format!("{pointer}/content");
    let given = match node.get("content") {
        None => &Vec::new(),
        Some(Value::Array(given)) => given,
        Some(_) => return flaw(pointer, "must be a list of nodes"),
    };
    let allowed: &[&str] = match content {
        Content::None => &[],
        Content::Text => &["text"],
        Content::Some(allowed) => allowed,
        Content::Many(allowed) if given.is_empty() => {
            return flaw(pointer, format!("of `{name}` must hold at least one of {}", allowed.join(", ")));
        }
        Content::Many(allowed) => allowed,
    };
    for (at, child) in given.iter().enumerate() {
        let pointer = format!("{pointer}/{at}");
        self::node(child, &pointer, depth)?;
        let kind = child.get("type").and_then(Value::as_str).unwrap_or_default();
        if !allowed.contains(&kind) {
            let may = match allowed {
                [] => "nothing".to_owned(),
                allowed => allowed.join(", "),
            };
            return flaw(pointer, format!("`{kind}` may not be in `{name}`, which holds {may}"));
        }
        let marked = child.get("marks").and_then(Value::as_array).is_some_and(|marks| !marks.is_empty());
        if marked && matches!(content, Content::Text) {
            return flaw(format!("{pointer}/marks"), format!("texts in `{name}` have no marks"));
        }
    }
    Ok(())
}

fn attributes(node: &Map<String, Value>, needed: &[&str], pointer: &str) -> Result<(), Flaw> {
    let pointer = format!("{pointer}/attrs");
    let given = match node.get("attrs") {
        None => None,
        Some(Value::Object(given)) => Some(given),
        Some(_) => return flaw(pointer, "must be an object"),
    };
    let has = |name: &str| given.and_then(|given| given.get(name)).is_some_and(|value| !value.is_null());
    match needed.iter().find(|name| !has(name)) {
        Some(name) => flaw(format!("{pointer}/{name}"), "is required"),
        None => Ok(()),
    }
}

fn marks(node: &Map<String, Value>, pointer: &str) -> Result<(), Flaw> {
    let pointer = format!("{pointer}/marks");
    let given = match node.get("marks") {
        None => return Ok(()),
        Some(Value::Array(given)) => given,
        Some(_) => return flaw(pointer, "must be a list of marks"),
    };
    for (at, mark) in given.iter().enumerate() {
        let pointer = format!("{pointer}/{at}");
        let Value::Object(mark) = mark else { return flaw(pointer, "must be an object with a `type`") };
        let name = mark.get("type").and_then(Value::as_str).unwrap_or_default();
        let Some((_, needed)) = MARKS.iter().find(|(known, _)| *known == name) else {
            return flaw(format!("{pointer}/type"), format!("`{name}` is no mark"));
        };
        attributes(mark, needed, &pointer)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "it is made for the call")]
    fn of(content: Value) -> Result<(), (String, String)> {
        check(&json!({"type": "doc", "version": 1, "content": content}))
            .map_err(|flaw| (flaw.pointer, flaw.message))
    }

    #[test]
    fn what_the_writer_makes_is_taken() {
        let markdown = "# Title\n\nA **bold** [link](https://example.com) and `code`.\n\n- one\n  1. two\n\n> quote\n\n\
            ```rust\nlet x = 1;\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n---\n\n- [ ] do it\n- [x] done\n";
        let document = crate::adf::from_markdown(markdown).value;
        assert_eq!(check(&document), Ok(()), "{document}");
        assert_eq!(of(json!([])), Ok(()));
        let rich = json!([{"type": "panel", "attrs": {"panelType": "info"}, "content": [
            {"type": "paragraph", "content": [{"type": "status", "attrs": {"text": "NEW", "color": "blue"}},
                {"type": "mention", "attrs": {"id": "1:a", "text": "@Ann"}}, {"type": "hardBreak"}]}]}]);
        assert_eq!(of(rich), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let text = |text: &str| json!({"type": "text", "text": text});
        for (content, pointer, said) in [
            (json!([text("loose")]), "/content/0", "`text` may not be in `doc`"),
            (json!([{"type": "paragraph", "content": [text("")]}]), "/content/0/content/0/text", "not empty"),
            (json!([{"type": "paragraf"}]), "/content/0/type", "`paragraf` is no type of node"),
            (json!([{"type": "heading", "content": []}]), "/content/0/attrs/level", "required"),
            (
                json!([{"type": "bulletList", "content": []}]),
                "/content/0/content",
                "at least one of listItem",
            ),
            (json!(["hello"]), "/content/0", "must be a node"),
            (json!([{"type": "rule", "content": [text("x")]}]), "/content/0/content/0", "holds nothing"),
            (
                json!([{"type": "paragraph", "content": [
                    {"type": "text", "text": "x", "marks": [{"type": "link", "attrs": {}}]}]}]),
                "/content/0/content/0/marks/0/attrs/href",
                "required",
            ),
            (
                json!([{"type": "codeBlock", "content": [
                    {"type": "text", "text": "x", "marks": [{"type": "strong"}]}]}]),
                "/content/0/content/0/marks",
                "no marks",
            ),
        ] {
            let (at, message) = of(content).unwrap_err();
            assert_eq!(at, pointer, "{message}");
            assert!(message.contains(said), "{at}: {message}");
        }
        for (document, pointer) in [
            (json!("hello"), "/type"),
            (json!({"type": "doc", "content": []}), "/version"),
            (json!({"type": "doc", "version": 1}), "/content"),
        ] {
            assert_eq!(check(&document).unwrap_err().pointer, pointer);
        }
        let deep = (0..100).fold(
            json!({"type": "paragraph"}),
            |inner, _| json!({"type": "bulletList", "content": [{"type": "listItem", "content": [inner]}]}),
        );
        assert!(of(json!([deep])).unwrap_err().1.contains("more than 50"));
    }
}
