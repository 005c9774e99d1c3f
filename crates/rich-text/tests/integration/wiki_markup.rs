//! Wiki markup through Markdown and back: generated texts, and those of a real Jira.

use crate::support;

use patchbay_rich_text::{WarningKind, wiki};
use proptest::prelude::*;
use serde_json::Value;
use support::{lines, shared};

#[test]
fn wiki_markup_is_shown_as_markdown() {
    let cases = [
        ("h2. Title", "## Title\n"),
        ("*bold* and _it_ -gone- +u+ {{code}}", "**bold** and *it* ~~gone~~ <u>u</u> `code`\n"),
        ("* one\n** two\n# three", "- one\n  - two\n\n1. three\n"),
        ("{code:java}\nint a;\n{code}", "```java\nint a;\n```\n"),
        ("{noformat}\na *b*\n{noformat}", "```\na *b*\n```\n"),
        ("{quote}\nsaid\n{quote}", "> said\n"),
        ("bq. said", "> said\n"),
        ("||a||b||\n|1|2|", "| a | b |\n| --- | --- |\n| 1 | 2 |\n"),
        ("[text|https://a.example/x]", "[text](https://a.example/x)\n"),
        ("[https://a.example/x]", "<https://a.example/x>\n"),
        ("[INFO] started", "\\[INFO] started\n"),
        ("one\ntwo", "one\ntwo\n"),
        ("----", "---\n"),
        ("!https://a.example/i.png!", "![](https://a.example/i.png)\n"),
        ("a snake_case_name and 1*2*3", "a snake_case_name and 1\\*2\\*3\n"),
    ];
    for (markup, markdown) in cases {
        assert_eq!(wiki::to_markdown(markup).markdown, markdown, "{markup}");
    }
}

#[test]
fn what_markdown_cannot_say_is_a_placeholder_and_comes_back() {
    let original = "See [~ann.lee] and !shot.png|thumbnail!\n\n{panel:title=Note}\ninside\n{panel}\n{color:red}red{color} end";
    let shown = wiki::to_markdown(original);
    for named in
        ["{{keep:mention ann.lee ", "{{keep:image shot.png ", "{{keep:panel Note ", "{{keep:color red "]
    {
        assert!(shown.markdown.contains(named), "{named} is missing in {}", shown.markdown);
    }
    let edited = wiki::edit(original, &shown.markdown.replace("inside", "changed"));
    assert_eq!(edited.value, original.replace("inside", "changed"));
    let moved = wiki::edit(original, &shown.markdown.replace(" end", " END"));
    assert_eq!(moved.value, original.replace(" end", " END"));
}

#[test]
fn a_placeholder_without_an_original_is_named_and_kept_as_text() {
    let edited = wiki::from_markdown("hello {{keep:mention ann 12345678}}");
    assert!(edited.warnings.iter().any(|warning| warning.kind == WarningKind::MissingOriginal));
    assert!(edited.value.contains("keep:mention ann 12345678"), "{}", edited.value);
}

#[test]
fn deep_and_long_texts_are_read_in_bounded_stack_and_time() {
    for unit in [
        "{quote}",
        "*",
        "*a ",
        "[",
        "{{",
        "{color:red}",
        "|",
        "> ",
        "* ",
        "{code}",
        "- ",
        "!a.png",
        "??",
        "{*}",
        "\\",
    ] {
        let text = unit.repeat(20_000);
        let shown = wiki::to_markdown(&text);
        wiki::edit(&text, &format!("{}\n\nADDED", shown.markdown));
        wiki::from_markdown(&text);
    }
}

fn markup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[a-zA-Z0-9 ,.]{1,16}".boxed(),
        4 => "[ -~\n]{1,10}".boxed(),
        4 => proptest::sample::select(vec![
            "\n", "\n\n", "* ", "** ", "# ", "#* ", "- ", "h1. ", "bq. ", "----\n", "||a||b||\n|c|d|\n", "|x|y|\n",
            "{code}", "{code:java|title=x}\n", "{noformat}", "{quote}", "{panel:title=t}", "{panel}", "*b*", "_i_",
            "-s-", "+u+", "^p^", "~b~", "{{m}}", "[a|b]", "[https://x.example]", "[~user]", "[^file.zip]",
            "!a.png|thumbnail!", "!https://x.example/a.png!", "{color:red}", "{color}", "\\\\", "\\*", "??c??", "{*}b{*}",
            "(/)", ":)", "{anchor:x}", "\r\n", "&#42;", "{{keep:panel x 12345678}}",
        ]).prop_map(str::to_owned).boxed(),
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_that_changes_nothing_returns_the_original(text in markup()) {
        let shown = wiki::to_markdown(&text).markdown;
        prop_assert_eq!(wiki::edit(&text, &shown).value, text);
    }

    #[test]
    fn a_paragraph_added_at_the_end_leaves_the_text_as_it_was(text in markup()) {
        let shown = wiki::to_markdown(&text).markdown;
        let edited = wiki::edit(&text, &format!("{shown}\n\nADDED words")).value;
        let expected = format!("{}\n\nADDED words", text.trim_end());
        if text.trim().is_empty() {
            prop_assert_eq!(edited, "ADDED words");
        } else {
            prop_assert_eq!(edited, expected, "{}", shown);
        }
    }

    #[test]
    fn markdown_without_an_original_never_fails(markdown in "([ -~]|\n|ä){0,200}") {
        let text = wiki::from_markdown(&markdown).value;
        wiki::to_markdown(&text);
    }
}

#[test]
fn texts_of_a_real_jira_come_back_as_they_were() {
    let Some(data) = shared("data/jira") else { return };
    let (mut total, mut kept, mut opaque, mut again) = (0, 0, 0, 0);
    for file in ["titanium-ALOY.jsonl.gz", "titanium-MOD.jsonl.gz", "titanium-DAEMON.jsonl.gz"] {
        for issue in lines(&data.join(file)) {
            let comments = issue.pointer("/fields/comment/comments").and_then(Value::as_array);
            let comments = comments.into_iter().flatten().map(|comment| &comment["body"]);
            for text in comments.chain([&issue["fields"]["description"]]).filter_map(Value::as_str) {
                total += 1;
                let shown = wiki::to_markdown(text).markdown;
                opaque += usize::from(shown.contains("{{keep:markup"));
                let edited = wiki::edit(text, &format!("{shown}\n\nADDED")).value;
                let expected = format!("{}\n\nADDED", text.trim_end());
                let same = edited == expected || text.trim().is_empty();
                kept += usize::from(same);
                assert!(same, "{text}\n=====\n{shown}\n=====\n{edited}");
                let new = wiki::from_markdown(&shown).value;
                again += usize::from(wiki::to_markdown(&new).markdown == shown);
            }
        }
    }
    println!(
        "texts of a real Jira: {total}; {kept} keep every letter when a paragraph is added, {opaque} have a block \
         that is shown as a placeholder only, {again} are the same Markdown after being written anew"
    );
    assert!(total > 5_000, "the corpus is gone");
}
