//! What documents look like in Markdown, and what edits of it do.

use crate::support;

use patchbay_rich_text::{Rendered, WarningKind, adf};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::Schema;

fn text(words: &str) -> Value {
    json!({"type": "text", "text": words})
}

fn paragraph(words: &str) -> Value {
    json!({"type": "paragraph", "content": [text(words)]})
}

fn document(content: &[Value]) -> Value {
    json!({"type": "doc", "version": 1, "content": content})
}

fn everyday() -> Value {
    document(&[
        json!({"type": "heading", "attrs": {"level": 2}, "content": [text("Steps")]}),
        json!({"type": "orderedList", "content": [
            {"type": "listItem", "content": [paragraph("open the app"), {"type": "bulletList", "content": [{"type": "listItem", "content": [paragraph("as Ann")]}]}]},
            {"type": "listItem", "content": [paragraph("press save")]},
        ]}),
        json!({"type": "taskList", "attrs": {"localId": "l"}, "content": [
            {"type": "taskItem", "attrs": {"localId": "t1", "state": "DONE"}, "content": [text("write")]},
            {"type": "taskItem", "attrs": {"localId": "t2", "state": "TODO"}, "content": [text("test")]},
        ]}),
        json!({"type": "panel", "attrs": {"panelType": "warning"}, "content": [paragraph("mind the gap")]}),
        json!({"type": "paragraph", "content": [
            text("ask "), {"type": "mention", "attrs": {"id": "557058:1", "text": "@Ann Lee"}}, text(" or "),
            {"type": "text", "text": "red", "marks": [{"type": "textColor", "attrs": {"color": "#ff0000"}}]},
            text(", "), {"type": "text", "text": "bold", "marks": [{"type": "strong"}]},
        ]}),
        json!({"type": "table", "content": [
            {"type": "tableRow", "content": [{"type": "tableHeader", "content": [paragraph("a")]}, {"type": "tableHeader", "content": [paragraph("b")]}]},
            {"type": "tableRow", "content": [{"type": "tableCell", "attrs": {"background": "#eee"}, "content": [paragraph("1")]}, {"type": "tableCell", "content": [paragraph("2")]}]},
        ]}),
        json!({"type": "codeBlock", "attrs": {"language": "rust"}, "content": [text("fn main() {}")]}),
        json!({"type": "mediaSingle", "attrs": {"layout": "center"}, "content": [{"type": "media", "attrs": {"type": "file", "id": "m1", "collection": "", "alt": "shot.png"}}]}),
        json!({"type": "paragraph"}),
    ])
}

/// The ids in placeholders are fingerprints; what they are does not matter here.
fn without_ids(markdown: &str) -> String {
    let mut out = String::new();
    for (at, part) in markdown.split("}}").enumerate() {
        if at > 0 {
            out.push_str("}}");
        }
        match part.rfind(' ').filter(|_| part.contains("keep:")) {
            Some(end) if markdown.contains(&format!("{part}}}}}")) => out.push_str(&part[..end]),
            _ => out.push_str(part),
        }
    }
    out
}

#[test]
fn a_document_reads_like_markdown_that_people_write() {
    let shown = adf::to_markdown(&everyday());
    let expected = "\
## Steps

1. open the app
   - as Ann
2. press save

- [x] write
- [ ] test

{{keep:panel warning}}

mind the gap

{{/keep:panel}}

ask {{keep:mention @Ann Lee}} or {{keep:textColor #ff0000}}red{{/keep:textColor}}, **bold**

| a | b |
| --- | --- |
| 1 | 2 |

```rust
fn main() {}
```

{{keep:mediaSingle shot.png}}
";
    assert_eq!(without_ids(&shown.markdown), expected);
    for what in ["panel", "mention", "textColor", "mediaSingle"] {
        let named = shown.warnings.iter().any(|w| w.kind == WarningKind::Placeholder && w.what == what);
        assert!(named, "{what} is not named in {:?}", shown.warnings);
    }
}

#[test]
fn an_edit_changes_the_node_it_touches_and_nothing_else() {
    let edits = [
        ("as Ann", "as Bob", "/content/1/content/0/content/1/content/0/content/0/content/0/text"),
        ("[ ] test", "[ ] try", "/content/2/content/1/content/0/text"),
        ("mind the gap", "mind", "/content/3/content/0/content/0/text"),
        ("ask ", "tell ", "/content/4/content/0/text"),
        ("}}red{{", "}}RED{{", "/content/4/content/3/text"),
        ("| 1 |", "| 7 |", "/content/5/content/1/content/0/content/0/content/0/text"),
        ("fn main() {}", "fn other() {}", "/content/6/content/0/text"),
    ];
    for (from, to, place) in edits {
        let shown = adf::to_markdown(&everyday()).markdown;
        assert_eq!(shown.matches(from).count(), 1, "{from} in {shown}");
        let edited = adf::edit(&everyday(), &shown.replace(from, to));
        let mut expected = everyday();
        let node = expected.pointer_mut(place).unwrap();
        let words = node.as_str().unwrap().to_owned();
        let (from, to) =
            (from.trim_matches(&['}', '{', '|', ' '][..]), to.trim_matches(&['}', '{', '|', ' '][..]));
        let (from, to) = (from.trim_start_matches("[ ] "), to.trim_start_matches("[ ] "));
        let (from, to) = if words.contains(from) { (from, to) } else { panic!("{words} has no {from}") };
        *node = words.replace(from, to).into();
        if from == "fn main() " {
            *node = "fn other() {}".into();
        }
        assert_eq!(edited.value, expected, "{from} → {to}");
        assert_eq!(edited.warnings, [], "{from} → {to}");
    }
}

#[test]
fn a_task_that_is_ticked_keeps_its_id() {
    let shown = adf::to_markdown(&everyday()).markdown;
    let edited = adf::edit(&everyday(), &shown.replace("[ ] test", "[x] test")).value;
    let mut expected = everyday();
    expected["content"][2]["content"][1]["attrs"]["state"] = "DONE".into();
    assert_eq!(edited, expected);
}

#[test]
fn a_block_that_is_moved_arrives_whole() {
    let shown = adf::to_markdown(&everyday()).markdown;
    let image = shown.lines().find(|line| line.starts_with("{{keep:mediaSingle")).unwrap();
    let moved = format!("{image}\n\n{}", shown.replace(image, ""));
    let edited = adf::edit(&everyday(), &moved);
    assert_eq!(edited.value["content"][0], everyday()["content"][7]);
    assert_eq!(edited.value["content"].as_array().unwrap().len(), 9);
}

#[test]
fn a_placeholder_without_an_original_is_named_and_stays_as_text() {
    let edited = adf::edit(&everyday(), "hello {{keep:mention @Bob 00000000}}");
    assert!(
        edited.warnings.iter().any(|w| w.kind == WarningKind::MissingOriginal && w.what.contains("@Bob"))
    );
    assert!(edited.value.to_string().contains("{{keep:mention @Bob 00000000}}"));
}

#[test]
fn half_a_pair_of_placeholders_is_named_and_stays_as_text() {
    let shown = adf::to_markdown(&everyday()).markdown;
    let close = shown.lines().find(|line| line.starts_with("{{/keep:panel")).unwrap();
    let edited = adf::edit(&everyday(), &shown.replace(close, ""));
    assert!(edited.warnings.iter().any(|w| w.kind == WarningKind::MissingOriginal), "{:?}", edited.warnings);
    assert!(edited.value.to_string().contains("mind the gap"));
}

#[test]
fn a_label_that_an_assistant_changed_still_finds_its_original() {
    let shown = adf::to_markdown(&everyday()).markdown;
    let edited = adf::edit(&everyday(), &shown.replace("@Ann Lee", "Ann (the tester)"));
    assert_eq!(edited.value, everyday());
}

#[test]
fn anything_but_a_document_is_no_error() {
    for odd in [
        json!(null),
        json!(1),
        json!([]),
        json!({}),
        json!({"type": "doc", "content": {}}),
        json!("plain *text*"),
    ] {
        let shown = adf::to_markdown(&odd).markdown;
        let edited = adf::edit(&odd, &format!("{shown}\n\nADDED"));
        assert!(edited.value.to_string().contains("ADDED"), "{odd}");
    }
}

#[test]
fn ten_thousand_levels_neither_overflow_the_stack_nor_take_long() {
    let mut deep = paragraph("bottom");
    for _ in 0..10_000 {
        // By hand: `json!` would copy what is inside, level by level.
        let mut quote = serde_json::Map::new();
        quote.insert("type".to_owned(), "blockquote".into());
        quote.insert("content".to_owned(), Value::Array(vec![deep]));
        deep = Value::Object(quote);
    }
    let mut root = serde_json::Map::new();
    root.insert("type".to_owned(), "doc".into());
    root.insert("content".to_owned(), Value::Array(vec![deep]));
    let deep = Value::Object(root);
    let shown = adf::to_markdown(&deep);
    assert!(shown.warnings.iter().any(|warning| warning.kind == WarningKind::TooDeep));
    // A JSON value is taken apart by recursion; that is its own matter.
    std::mem::forget(deep);
    for unit in [
        "> ", "- ", "*", "_a ", "[", "![", "`", "<b>", "{{keep:", "| ", "1. ", "~~", "\\", "&#", "```\n",
        "- > ",
    ] {
        let document = adf::from_markdown(&unit.repeat(10_000)).value;
        adf::to_markdown(&document);
    }
}

#[test]
fn nul_and_unpaired_surrogates_do_no_harm() {
    assert_eq!(adf::to_markdown(&document(&[paragraph("a\u{0}b\u{1f}c")])).markdown, "abc\n");
    let edited = adf::from_markdown("a\u{0}b");
    assert_eq!(edited.value, document(&[paragraph("ab")]));
    assert!(edited.warnings.iter().any(|warning| warning.kind == WarningKind::InvalidCharacters));
    // Half a surrogate pair cannot be in a string of JSON: it is refused where the answer is read.
    assert!(serde_json::from_str::<Value>(r#""\ud800""#).is_err());
}

/// Markdown with blocks in blocks of every kind.
fn markdown() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "# h\n",
        "###### deep\n",
        "text ",
        "**b**",
        "*i*",
        "~~s~~",
        "`c`",
        "**`bc`**",
        "<u>u</u>",
        "<sub>1</sub>",
        "<sup>2</sup>",
        "[t](https://x.example \"title\")",
        "[](u)",
        "![alt](https://x.example/i.png)",
        "![]()",
        "\n",
        "\n\n",
        "- ",
        "  - ",
        "1. ",
        "7) ",
        "- [ ] ",
        "- [x] ",
        "> ",
        "> > ",
        "---\n",
        "```\ncode\n```\n",
        "```rust\n",
        "    indented\n",
        "| a | b |\n|---|---|\n| c | d |\n",
        "<div>html</div>\n",
        "<!-- comment -->",
        "<br>",
        "\\\n",
        "&amp;",
        "<https://x.example>",
        "- # h\n",
        "- > q\n",
        "> # h\n",
        "> ---\n",
        "- ---\n",
        "> | a |\n> |---|\n> | b |\n",
        "- | a |\n  |---|\n",
        "{{keep:x 12345678}}",
        "äöü😀",
    ]);
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_is_a_valid_document(markdown in markdown()) {
        static SCHEMA: std::sync::OnceLock<Option<Schema>> = std::sync::OnceLock::new();
        let document = adf::from_markdown(&markdown).value;
        if let Some(schema) = SCHEMA.get_or_init(Schema::load) {
            schema.assert_valid(&document);
        }
        let Rendered { markdown: shown, warnings } = adf::to_markdown(&document);
        // A list in a list in a list, all empty, would be shown as `- - -`, which is a rule: it is kept for its original.
        prop_assume!(warnings.iter().all(|warning| warning.kind != WarningKind::Placeholder));
        let again = adf::from_markdown(&shown).value;
        prop_assert_eq!(adf::to_markdown(&again).markdown, shown);
    }
}
