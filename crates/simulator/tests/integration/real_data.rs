//! The developers' real data, served whole.

use crate::client;

use std::path::Path;

use client::start_with;
use patchbay_simulator::{SimulatorConfig, load};

#[tokio::test]
async fn the_real_repository_is_served_completely() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !data.exists() {
        println!("skipped: ../shared/data is not here");
        return;
    }
    let repository = load::bitcoin_gui(&data).unwrap();
    assert_eq!((repository.issue_count(), repository.pull_request_count()), (341, 537));
    let config = SimulatorConfig { repositories: vec![repository], ..SimulatorConfig::default() };
    let (_simulator, client) = start_with(config).await;
    let all = |path: String| {
        let client = client.clone();
        async move { client.all(&format!("/repos/bitcoin-core/gui{path}")).await }
    };
    let items = all("/issues?state=all&sort=updated&direction=asc&per_page=100".into()).await;
    let (pulls, issues): (Vec<_>, Vec<_>) = items.iter().partition(|item| item["pull_request"].is_object());
    assert_eq!((issues.len(), pulls.len()), (341, 537));
    assert_eq!(all("/issues/comments?per_page=100".into()).await.len(), 5_197);
    assert_eq!(all("/pulls/comments?per_page=100&sort=updated&direction=asc".into()).await.len(), 2_308);
    assert_eq!(all("/pulls?state=all&per_page=100".into()).await.len(), 537);
    let (mut events, mut reviews) = (0, 0);
    for item in &items {
        let number = &item["number"];
        events += all(format!("/issues/{number}/timeline?per_page=100")).await.len();
        if item["pull_request"].is_object() {
            reviews += all(format!("/pulls/{number}/reviews?per_page=100")).await.len();
        }
    }
    assert_eq!((events, reviews), (19_604, 1_788));
    assert!(all("/milestones?state=all".into()).await.len() > 5);
    assert!(!all("/labels".into()).await.is_empty() && !all("/assignees".into()).await.is_empty());
}
