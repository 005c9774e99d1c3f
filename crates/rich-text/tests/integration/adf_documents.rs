//! Generated documents over every type of node and mark there is: nothing is lost on the way to Markdown and
//! back, and an edit changes what it touches, nothing else.

use patchbay_rich_text::{WarningKind, adf};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Texts with everything that Markdown could take for syntax.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-zA-Z0-9 ,.äß日]{1,24}",
        3 => "[ -~\n\t]{1,16}",
        1 => proptest::sample::select(vec![
            "{{keep:panel info 1234abcd}}", "{{/keep:panel 1234abcd}}", "# no heading", "1. no list", "- no list",
            "*no emphasis*", "a_b_c", "<b>no tag</b>", "&amp; &#35;", "\\", "```", "~~~", "| a | b |", "[ ] no task",
            "[x](y)", "![x](y)", "https://example.com/a_b?c=d&e=f", "line\nline", " both ends ", "a  b", "---", "===",
            "`code`", "C:\\temp\\new", "{color:red}x{color}", "\u{a0}", "\u{200b}", "😀", "> no quote", "a\u{0}b",
        ]).prop_map(str::to_owned),
    ]
}

fn word() -> impl Strategy<Value = String> {
    "[a-z0-9]{1,8}"
}

fn mark() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"type": "strong"})),
        Just(json!({"type": "em"})),
        Just(json!({"type": "strike"})),
        Just(json!({"type": "underline"})),
        Just(json!({"type": "code"})),
        Just(json!({"type": "subsup", "attrs": {"type": "sub"}})),
        Just(json!({"type": "subsup", "attrs": {"type": "sup"}})),
        "[ -~]{0,20}".prop_map(|href| json!({"type": "link", "attrs": {"href": href}})),
        word().prop_map(
            |title| json!({"type": "link", "attrs": {"href": "https://a.example/b", "title": title}})
        ),
        word().prop_map(|id| json!({"type": "link", "attrs": {"href": "https://a.example", "id": id}})),
        "#[0-9a-f]{6}".prop_map(|color| json!({"type": "textColor", "attrs": {"color": color}})),
        "#[0-9a-f]{6}".prop_map(|color| json!({"type": "backgroundColor", "attrs": {"color": color}})),
        word().prop_map(
            |id| json!({"type": "annotation", "attrs": {"id": id, "annotationType": "inlineComment"}})
        ),
        word().prop_map(|id| json!({"type": "fontSize", "attrs": {"size": id}})),
    ]
}

fn words_node() -> impl Strategy<Value = Value> {
    (text(), proptest::collection::vec(mark(), 0..3)).prop_map(|(text, marks)| {
        if marks.is_empty() {
            json!({"type": "text", "text": text})
        } else {
            json!({"type": "text", "text": text, "marks": marks})
        }
    })
}

fn inline() -> impl Strategy<Value = Value> {
    prop_oneof![
        12 => words_node(),
        2 => Just(json!({"type": "hardBreak"})),
        1 => Just(json!({"type": "hardBreak", "attrs": {"text": "\n"}})),
        1 => (word(), word()).prop_map(|(id, name)| json!({"type": "mention", "attrs": {"id": id, "text": format!("@{name}"), "accessLevel": ""}})),
        1 => word().prop_map(|name| json!({"type": "emoji", "attrs": {"shortName": format!(":{name}:"), "text": "😀"}})),
        1 => (0..2_000_000_000_000_i64).prop_map(|at| json!({"type": "date", "attrs": {"timestamp": at.to_string()}})),
        1 => text().prop_map(|text| json!({"type": "status", "attrs": {"text": text, "color": "blue", "localId": "x"}})),
        1 => text().prop_map(|text| json!({"type": "placeholder", "attrs": {"text": text}})),
        1 => text().prop_map(|url| json!({"type": "inlineCard", "attrs": {"url": url}})),
        1 => word().prop_map(|key| json!({"type": "inlineExtension", "attrs": {"extensionKey": key, "extensionType": "x"}})),
        1 => word().prop_map(|id| json!({"type": "mediaInline", "attrs": {"id": id, "collection": "c", "type": "file"}})),
        1 => word().prop_map(|kind| json!({"type": format!("unknown{kind}"), "attrs": {"x": [1, null]}})),
    ]
}

fn line() -> impl Strategy<Value = Vec<Value>> {
    proptest::collection::vec(inline(), 0..5)
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => line().prop_map(|line| json!({"type": "paragraph", "content": line})),
        1 => line().prop_map(|line| json!({"type": "paragraph", "attrs": {"localId": "p"}, "content": line})),
        1 => Just(json!({"type": "paragraph"})),
        1 => line().prop_map(|line| json!({"type": "paragraph", "content": line, "marks": [{"type": "alignment", "attrs": {"align": "center"}}]})),
        1 => line().prop_map(|line| json!({"type": "paragraph", "content": line, "marks": [{"type": "indentation", "attrs": {"level": 2}}]})),
        2 => (1..7_u8, line()).prop_map(|(level, line)| json!({"type": "heading", "attrs": {"level": level}, "content": line})),
        1 => (text(), "[a-z+ `]{0,5}").prop_map(|(text, language)| json!({"type": "codeBlock", "attrs": {"language": language, "uniqueId": "u"}, "content": [{"type": "text", "text": text}]})),
        1 => Just(json!({"type": "codeBlock", "marks": [{"type": "breakout", "attrs": {"mode": "wide"}}]})),
        1 => Just(json!({"type": "rule"})),
        1 => (word(), text()).prop_map(|(url, alt)| json!({"type": "mediaSingle", "attrs": {"layout": "center"}, "content": [{"type": "media", "attrs": {"type": "external", "url": url, "alt": alt}}]})),
        1 => (word(), line()).prop_map(|(id, line)| json!({"type": "mediaSingle", "attrs": {"layout": "wide", "width": 50}, "content": [{"type": "media", "attrs": {"type": "file", "id": id, "collection": ""}, "marks": [{"type": "border", "attrs": {"size": 1, "color": "#ff0000"}}]}, {"type": "caption", "content": line}]})),
        1 => word().prop_map(|id| json!({"type": "mediaGroup", "content": [{"type": "media", "attrs": {"type": "file", "id": id, "collection": ""}}]})),
        1 => word().prop_map(|url| json!({"type": "blockCard", "attrs": {"url": url}})),
        1 => word().prop_map(|url| json!({"type": "embedCard", "attrs": {"url": url, "layout": "wide"}})),
        1 => word().prop_map(|key| json!({"type": "extension", "attrs": {"extensionKey": key, "extensionType": "x", "parameters": {"a": [1]}}, "marks": [{"type": "fragment", "attrs": {"localId": "f"}}, {"type": "dataConsumer", "attrs": {"sources": ["s"]}}]})),
        1 => (word(), text()).prop_map(|(kind, text)| json!({"type": format!("unknown{kind}"), "content": [{"type": "text", "text": text}]})),
        1 => Just(json!({"type": "paragraph", "content": "not a list"})),
        1 => Just(json!(null)),
    ]
}

fn block() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 40, 4, |inner| {
        let some = || proptest::collection::vec(inner.clone(), 1..4);
        let items = |kind: &'static str| {
            proptest::collection::vec(some().prop_map(|blocks| json!({"type": "listItem", "content": blocks})), 1..4)
                .prop_map(move |items| json!({"type": kind, "content": items}))
        };
        prop_oneof![
            3 => items("bulletList"),
            2 => (items("orderedList"), 0..12_u32).prop_map(|(mut list, first)| { list["attrs"] = json!({"order": first}); list }),
            1 => items("orderedList"),
            2 => proptest::collection::vec((line(), any::<bool>(), any::<bool>()), 1..4).prop_map(|tasks| {
                let mut content = Vec::new();
                for (at, (line, done, nested)) in tasks.into_iter().enumerate() {
                    let task = json!({"type": "taskItem", "attrs": {"localId": format!("t{at}"), "state": if done { "DONE" } else { "TODO" }}, "content": line});
                    content.push(task.clone());
                    if nested {
                        content.push(json!({"type": "taskList", "attrs": {"localId": "n"}, "content": [task]}));
                    }
                }
                json!({"type": "taskList", "attrs": {"localId": "l"}, "content": content})
            }),
            1 => proptest::collection::vec(line(), 1..3).prop_map(|lines| {
                let items: Vec<Value> = lines.into_iter().map(|line| json!({"type": "decisionItem", "attrs": {"localId": "d", "state": "DECIDED"}, "content": line})).collect();
                json!({"type": "decisionList", "attrs": {"localId": "l"}, "content": items})
            }),
            2 => some().prop_map(|blocks| json!({"type": "blockquote", "content": blocks})),
            2 => some().prop_map(|blocks| json!({"type": "panel", "attrs": {"panelType": "info"}, "content": blocks})),
            1 => (some(), text()).prop_map(|(blocks, title)| json!({"type": "expand", "attrs": {"title": title}, "content": blocks})),
            1 => some().prop_map(|blocks| json!({"type": "nestedExpand", "attrs": {}, "content": blocks})),
            1 => (some(), some()).prop_map(|(one, two)| json!({"type": "layoutSection", "content": [{"type": "layoutColumn", "attrs": {"width": 50}, "content": one}, {"type": "layoutColumn", "attrs": {"width": 50}, "content": two}]})),
            1 => some().prop_map(|blocks| json!({"type": "bodiedExtension", "attrs": {"extensionKey": "k", "extensionType": "t"}, "content": blocks})),
            2 => (1..4_usize, proptest::collection::vec(line(), 4..12)).prop_map(|(columns, lines)| simple_table(columns, &lines)),
            1 => proptest::collection::vec(some(), 1..5).prop_map(|cells| {
                let cells: Vec<Value> = cells.into_iter().map(|blocks| json!({"type": "tableCell", "attrs": {"colspan": 2, "background": "#fff"}, "content": blocks})).collect();
                json!({"type": "table", "attrs": {"layout": "wide"}, "content": [{"type": "tableRow", "content": cells}]})
            }),
        ]
    })
}

fn simple_table(columns: usize, lines: &[Vec<Value>]) -> Value {
    let rows: Vec<Value> = lines
        .chunks_exact(columns)
        .enumerate()
        .map(|(at, row)| {
            let kind = if at == 0 { "tableHeader" } else { "tableCell" };
            let cells: Vec<Value> = row
                .iter()
                .map(|line| json!({"type": kind, "attrs": {"colwidth": [100]}, "content": [{"type": "paragraph", "content": line}]}))
                .collect();
            json!({"type": "tableRow", "content": cells})
        })
        .collect();
    json!({"type": "table", "attrs": {"isNumberColumnEnabled": false}, "content": rows})
}

fn document() -> impl Strategy<Value = Value> {
    proptest::collection::vec(block(), 0..7)
        .prop_map(|blocks| json!({"type": "doc", "version": 1, "content": blocks}))
}

fn content(document: &Value) -> &[Value] {
    document["content"].as_array().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_that_changes_nothing_returns_the_original(document in document()) {
        let shown = adf::to_markdown(&document);
        let edited = adf::edit(&document, &shown.markdown);
        prop_assert_eq!(edited.value, document);
        prop_assert!(edited.warnings.is_empty());
    }

    #[test]
    fn a_paragraph_added_at_the_end_leaves_every_other_node_as_it_was(document in document()) {
        let shown = adf::to_markdown(&document);
        let edited = adf::edit(&document, &format!("{}\n\nADDED words\n", shown.markdown));
        let added = json!({"type": "paragraph", "content": [{"type": "text", "text": "ADDED words"}]});
        let mut nodes = content(&edited.value).to_vec();
        let place = nodes.iter().position(|node| *node == added);
        prop_assert!(place.is_some(), "{}\n{:#}", shown.markdown, edited.value);
        nodes.remove(place.unwrap());
        prop_assert_eq!(&nodes[..], content(&document), "{}", shown.markdown);
    }

    #[test]
    fn a_paragraph_that_is_edited_is_the_only_thing_that_changes(
        before in proptest::collection::vec(block(), 0..4),
        after in proptest::collection::vec(block(), 0..4),
    ) {
        let target = json!({"type": "paragraph", "attrs": {"localId": "own"}, "content": [
            {"type": "text", "text": "the "},
            {"type": "mention", "attrs": {"id": "557058:1", "text": "@Ann"}},
            {"type": "text", "text": " target stands here"},
        ]});
        let blocks: Vec<Value> = before.iter().chain([&target]).chain(&after).cloned().collect();
        let document = json!({"type": "doc", "version": 1, "content": blocks});
        let shown = adf::to_markdown(&document).markdown;
        prop_assert_eq!(shown.matches(" target stands here").count(), 1);
        let edited = adf::edit(&document, &shown.replace(" target stands here", " target was moved"));
        let mut expected = document;
        expected["content"][before.len()]["content"][2]["text"] = " target was moved".into();
        prop_assert_eq!(edited.value, expected, "{}", shown);
    }

    #[test]
    fn what_was_rendered_once_is_rendered_the_same_again(document in document()) {
        let shown = adf::to_markdown(&document).markdown;
        let added = adf::edit(&document, &format!("{shown}\n\nADDED\n")).value;
        let again = adf::to_markdown(&added).markdown;
        // Not other blanks, which may be what an item has for its text.
        let expected = format!("{}\n\nADDED", shown.trim_end_matches(['\n', ' ']));
        prop_assert_eq!(again.trim_end(), expected.trim_start_matches('\n'));
    }

    #[test]
    fn markdown_without_an_original_is_stable_after_one_way(markdown in "([ -~]|\n|\t|ä|😀){0,200}") {
        let document = adf::from_markdown(&markdown).value;
        let shown = adf::to_markdown(&document).markdown;
        let again = adf::from_markdown(&shown).value;
        prop_assert_eq!(adf::to_markdown(&again).markdown, shown);
    }

    #[test]
    fn a_placeholder_that_is_taken_out_takes_its_node_with_it(document in document()) {
        let blocks = content(&document).to_vec();
        let card = json!({"type": "blockCard", "attrs": {"url": "https://only.example/one"}});
        let with: Vec<Value> = blocks.iter().chain([&card]).cloned().collect();
        let original = json!({"type": "doc", "version": 1, "content": with});
        let shown = adf::to_markdown(&original).markdown;
        let line = shown.lines().find(|line| line.contains("only.example/one")).unwrap().to_owned();
        let edited = adf::edit(&original, &shown.replace(&line, ""));
        prop_assert_eq!(content(&edited.value), &blocks[..]);
        let removed = edited.warnings.iter().any(|warning| warning.kind == WarningKind::Removed);
        prop_assert!(removed, "{:?}", edited.warnings);
    }
}
