//! Asana's HTML through Markdown and back: generated texts, and real ones.

use crate::support;

use patchbay_rich_text::{WarningKind, asana};
use proptest::prelude::*;
use support::{lines, shared};

#[test]
fn html_is_shown_as_markdown() {
    let cases = [
        ("<body>one\ntwo\n\nthree</body>", "one\ntwo\n\nthree\n"),
        (
            "<body><strong>b</strong> <em>i</em> <s>s</s> <u>u</u> <code>c</code></body>",
            "**b** *i* ~~s~~ <u>u</u> `c`\n",
        ),
        ("<body><h1>T</h1><h2>S</h2>text</body>", "# T\n\n## S\n\ntext\n"),
        ("<body><ul><li>a<ol><li>b</li></ol></li><li>c</li></ul></body>", "- a\n  1. b\n- c\n"),
        (
            "<body><pre>a &lt; b</pre><hr/><blockquote>q</blockquote></body>",
            "```\na < b\n```\n\n---\n\n> q\n",
        ),
        (
            "<body><a href=\"https://a.example/?b=1&amp;c=2\">t</a></body>",
            "[t](https://a.example/?b=1&c=2)\n",
        ),
        ("<body><table><tr><td>a</td></tr><tr><td>b</td></tr></table></body>", "| a |\n| --- |\n| b |\n"),
        ("", ""),
        ("<body></body>", ""),
    ];
    for (html, markdown) in cases {
        assert_eq!(asana::to_markdown(html).markdown, markdown, "{html}");
    }
}

#[test]
fn a_mention_is_a_placeholder_that_survives_an_edit_of_its_line() {
    let html = "<body>Ask <a data-asana-gid=\"12\" data-asana-type=\"user\" href=\"https://x\">@Ann</a> today\n\n\
                <img data-asana-gid=\"7\" src=\"https://x/y.png\"/></body>";
    let shown = asana::to_markdown(html);
    assert!(shown.markdown.contains("{{keep:mention @Ann "), "{}", shown.markdown);
    assert!(shown.warnings.iter().any(|warning| warning.what == "mention"));
    let edited = asana::edit(html, &shown.markdown.replace("today", "tomorrow"));
    assert_eq!(edited.value, html.replace("today", "tomorrow"));
}

#[test]
fn markdown_becomes_asanas_tags_and_what_they_cannot_say_is_named() {
    let edited = asana::from_markdown("# T\n\na **b** & <c>\n\n```rust\nx < y\n```\n\n### low\n\n- [ ] do");
    assert_eq!(
        edited.value,
        "<body><h1>T</h1>a <strong>b</strong> &amp; &lt;c&gt;<pre>x &lt; y</pre><h2>low</h2><ul><li>[ ] do</li></ul></body>"
    );
    for what in ["the language of code", "a heading below the second level", "a task"] {
        let named = edited.warnings.iter().any(|w| w.kind == WarningKind::Simplified && w.what == what);
        assert!(named, "{what} is not named in {:?}", edited.warnings);
    }
}

#[test]
fn deep_and_long_texts_are_read_in_bounded_stack_and_time() {
    for unit in
        ["<strong>", "<ul><li>", "<blockquote>", "</a>", "<a ", "&amp", "<table><tr><td>", "<", "&#", "<x>"]
    {
        let text = unit.repeat(20_000);
        let shown = asana::to_markdown(&text);
        asana::edit(&text, &format!("{}\n\nADDED", shown.markdown));
        asana::from_markdown(&text);
    }
}

fn html() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        5 => "[a-zA-Z0-9 ,.]{1,16}".boxed(),
        2 => "[ -~\n]{1,10}".boxed(),
        5 => proptest::sample::select(vec![
            "\n", "\n\n", "<strong>", "</strong>", "<em>", "</em>", "<u>", "</u>", "<s>", "</s>", "<code>", "</code>",
            "<ul>", "</ul>", "<ol>", "</ol>", "<li>", "</li>", "<h1>", "</h1>", "<h2>", "</h2>", "<hr/>", "<pre>",
            "</pre>", "<blockquote>", "</blockquote>", "<a href=\"https://x.example\">", "</a>", "&amp;", "&lt;b&gt;",
            "<a data-asana-gid=\"1\"/>", "<img src=\"https://x\" data-asana-gid=\"9\">", "<br>", "<font>", "</font>",
            "<table data-x=\"1\"><tr><td>", "</td><td>", "</td></tr><tr><td>", "</td></tr></table>", "{{keep:x 12345678}}",
        ]).prop_map(str::to_owned).boxed(),
    ];
    proptest::collection::vec(piece, 0..16).prop_map(|pieces| format!("<body>{}</body>", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_edit_that_changes_nothing_returns_the_original(html in html()) {
        let shown = asana::to_markdown(&html).markdown;
        prop_assert_eq!(asana::edit(&html, &shown).value, html);
    }

    #[test]
    fn a_rule_added_at_the_end_leaves_the_text_as_it_was(words in "[a-z]{1,8}", html in html()) {
        let html = html.replace("</body>", &format!("<pre>{words}</pre></body>")).replacen("<body>", "<body><hr/>", 1);
        let shown = asana::to_markdown(&html).markdown;
        let edited = asana::edit(&html, &format!("{shown}\n\n---")).value;
        let kept = edited.strip_suffix("<hr/></body>");
        prop_assert!(kept.is_some(), "{}\n{}", shown, edited);
        prop_assert!(html.trim_end_matches("</body>").trim_end().starts_with(kept.unwrap()), "{}\n{}\n{}", html, shown, edited);
    }

    #[test]
    fn markdown_without_an_original_is_stable_after_one_way(markdown in "([a-zA-Z ,.#*>`-]|\n|ä){0,120}") {
        let html = asana::from_markdown(&markdown).value;
        let shown = asana::to_markdown(&html).markdown;
        let again = asana::from_markdown(&shown).value;
        prop_assert_eq!(asana::to_markdown(&again).markdown, shown);
    }
}

#[test]
fn blanks_at_the_end_are_nothing_whatever_their_marks() {
    let shown = asana::to_markdown(&asana::from_markdown("ä `\n`\n>").value).markdown;
    assert_eq!(asana::to_markdown(&asana::from_markdown(&shown).value).markdown, shown);
    assert_eq!(
        asana::to_markdown("<body>a <code> </code><strong> </strong></body>").markdown.trim_end(),
        "a"
    );
}

#[test]
fn real_texts_come_back_as_they_were() {
    let Some(data) = shared("data/derived") else { return };
    let mut total = 0;
    for (file, field) in [("asana.tasks.jsonl.gz", "html_notes"), ("asana.stories.jsonl.gz", "html_text")] {
        for row in lines(&data.join(file)) {
            let Some(html) = row[field].as_str().filter(|html| html.starts_with("<body>")) else { continue };
            total += 1;
            let shown = asana::to_markdown(html).markdown;
            assert_eq!(asana::edit(html, &shown).value, html);
            let edited = asana::edit(html, &format!("{shown}\n\n---")).value;
            let expected = html.trim_end_matches("</body>").trim_end();
            assert!(
                edited.strip_suffix("<hr/></body>").is_some_and(|kept| kept.trim_end() == expected),
                "{html}\n{edited}"
            );
        }
    }
    println!("texts of Asana: {total} keep every letter when a rule is added");
    assert!(total > 1_000, "the corpus is gone");
}
