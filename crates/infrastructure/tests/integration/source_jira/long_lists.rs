//! Many issues with long lists of comments: what they take of memory while they are read.

use axum::body::Bytes;

use super::*;

const ISSUES: u32 = 40;
const PAGES: usize = 4;
const ROWS: usize = 100;

/// A page of comments that is large for what nobody reads of it.
fn page() -> Bytes {
    let rendered = "x".repeat(8_000);
    let rows: Vec<Value> = (0..ROWS)
        .map(|n| {
            let id = (9_000 + n).to_string();
            json!({"id": id, "created": minute(1), "body": "b", "renderedBody": rendered})
        })
        .collect();
    Bytes::from(json!({"comments": rows, "total": ROWS * PAGES}).to_string())
}

/// A number of kilobytes from what the system tells of this process.
fn kilobytes(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse().unwrap()
}

#[tokio::test]
async fn of_many_long_lists_only_those_are_held_that_are_on_their_way() {
    let page = page();
    let whole = page.len() * PAGES * usize::try_from(ISSUES).unwrap() / 1024;
    assert!(whole > 120 * 1024, "{whole} KiB prove nothing");
    let two = json!({"comment": {"comments": [{"id": "1"}, {"id": "2"}]}});
    let site = Site {
        cloud: true,
        issues: (1..=ISSUES).map(|n| issue(n, &format!("ENG-{n}"), &minute(n), &two)).collect(),
        projects: vec![json!({"id": "10000", "key": "ENG", "name": "Engineering"})],
        inside: 1,
        comments: Some(page),
        ..Site::default()
    };
    let replay = Replay::start(site).await;
    let before = kilobytes("VmRSS");
    let all = backfill(jira().as_ref(), &connection(&replay.url, json!({}))).await;
    let grown = kilobytes("VmHWM").saturating_sub(before);
    assert_eq!(replay.requests("/comment"), PAGES * usize::try_from(ISSUES).unwrap());
    assert_eq!(all.comments_of.len(), usize::try_from(ISSUES).unwrap());
    // Tests that share a process share its memory.
    if std::env::var_os("NEXTEST").is_some() {
        assert!(grown < whole / 2, "{grown} KiB were held of {whole} KiB");
    }
}
