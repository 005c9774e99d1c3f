//! Real texts: bodies from GitHub through documents and back, and Jira's own documents. The texts are beside
//! the repository, not in it; without them these tests say so and end.

use crate::support;

use patchbay_rich_text::adf;
use serde_json::{Value, json};
use support::{Schema, lines, shared};

/// Bodies of issues, pull requests and comments of a public project.
const BODIES: [&str; 3] = [
    "derived/github.bitcoin-core-gui.issues.jsonl.gz",
    "derived/github.bitcoin-core-gui.pulls.jsonl.gz",
    "derived/github.bitcoin-core-gui.issue-comments.jsonl.gz",
];

#[test]
fn bodies_from_github_become_valid_documents_and_stay_as_they_are_after_one_way() {
    let Some(data) = shared("data") else { return };
    let schema = Schema::load();
    let (mut total, mut exact, mut same_words, mut valid) = (0, 0, 0, 0);
    for file in BODIES {
        for body in lines(&data.join(file)).filter_map(|line| line["body"].as_str().map(str::to_owned)) {
            let body = body.replace("\r\n", "\n");
            total += 1;
            let document = adf::from_markdown(&body).value;
            if let Some(schema) = &schema {
                schema.assert_valid(&document);
                valid += 1;
            }
            let shown = adf::to_markdown(&document);
            let (one, two) = (body.trim(), shown.markdown.trim());
            exact += usize::from(one == two);
            same_words += usize::from(words(one) == words(two));
            let again = adf::from_markdown(&shown.markdown).value;
            assert_eq!(adf::to_markdown(&again).markdown, shown.markdown, "not stable:\n{body}");
            assert_eq!(adf::edit(&document, &shown.markdown).value, document);
        }
    }
    println!(
        "GitHub bodies → documents → Markdown: {total} texts, {valid} valid documents, {exact} letter for letter, \
         {same_words} with the same words"
    );
    assert!(total > 1_000, "the corpus is gone");
}

#[test]
fn documents_of_jira_come_back_as_they_were() {
    let Some(data) = shared("data") else { return };
    let (mut total, mut kept) = (0, 0);
    for issue in lines(&data.join("derived/jira-v3.titanium.issues.jsonl.gz")) {
        let comments = issue.pointer("/fields/comment/comments").and_then(Value::as_array);
        let comments = comments.into_iter().flatten().map(|comment| &comment["body"]);
        for document in comments.chain([&issue["fields"]["description"]]).filter(|body| body.is_object()) {
            total += 1;
            let shown = adf::to_markdown(document).markdown;
            let edited = adf::edit(document, &format!("{shown}\n\nADDED\n")).value;
            let added = json!({"type": "paragraph", "content": [{"type": "text", "text": "ADDED"}]});
            let mut expected = document.clone();
            expected["content"].as_array_mut().unwrap().push(added);
            assert_eq!(edited, expected, "{shown}");
            kept += 1;
        }
    }
    println!("Jira's documents: {kept} of {total} keep every node when a paragraph is added");
}

/// The letters and digits of a text: what is left when the spelling of the Markdown is put aside.
fn words(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}
