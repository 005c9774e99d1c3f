//! The details of items: pull requests, reviews and histories.

use super::*;

#[tokio::test]
async fn details_stop_at_a_limit_without_another_request() {
    let (simulator, connection) = simulated().await;
    let items = pending(&connection).await;
    let limit = FaultKind::RateLimited { retry_after_s: 30, as_http_date: false, omit_header: false };
    fault(&simulator, "/timeline", 4, limit);
    let error = details(&connection, &items).await.unwrap_err();
    assert_eq!(
        (error.kind, error.retry_after),
        (SourceErrorKind::RateLimited, Some(Duration::from_secs(30)))
    );
    assert_eq!(simulator.control().stats().violations, 0);
}

#[tokio::test]
async fn an_outage_amid_details_hands_over_what_was_read() {
    let (simulator, connection) = simulated().await;
    let items = pending(&connection).await;
    fault(&simulator, "/timeline", 4, FaultKind::Reset);
    let page = details(&connection, &items).await.unwrap();
    assert_eq!(page.details_done, items[..3].iter().map(|item| item.ref_key.clone()).collect::<Vec<_>>());
    fault(&simulator, "/timeline", 1, FaultKind::ServerError { status: 502 });
    let error = details(&connection, &items).await.unwrap_err();
    assert_eq!((error.kind, error.upstream_status), (SourceErrorKind::Unavailable, Some(502)));
}

#[tokio::test]
async fn gone_items_are_told_with_proof_and_renames_are_followed() {
    let (simulator, connection) = simulated().await;
    let items = pending(&connection).await;
    let number = |item: &PendingItem| item.source_key.rsplit_once('#').unwrap().1.parse::<u64>().unwrap();
    let issues: Vec<PendingItem> =
        items.iter().filter(|item| !item.is_pull_request).take(3).cloned().collect();
    simulator.control().delete_issue(REPOSITORY, number(&issues[0])).unwrap();
    simulator.control().transfer_issue(REPOSITORY, number(&issues[1]), "acme/other").unwrap();
    let unseen = PendingItem {
        source_key: format!("{REPOSITORY}#99999"),
        ref_key: "x#99999".into(),
        ..issues[2].clone()
    };
    let batch = [issues[0].clone(), issues[1].clone(), unseen, issues[2].clone()];
    let page = details(&connection, &batch).await.unwrap();
    let gone: Vec<_> = page.gone.iter().map(|gone| (gone.item_ref_key.as_str(), gone.reason)).collect();
    assert_eq!(gone, [(issues[0].ref_key.as_str(), "deleted"), (issues[1].ref_key.as_str(), "transferred")]);
    assert_eq!(page.details_done.len(), 4);

    let old = project(&connection).await;
    simulator.control().rename_repository(REPOSITORY, "acme/renamed").unwrap();
    let renamed = project(&connection).await;
    assert_eq!((renamed.source_id.as_str(), renamed.key.as_str()), (old.source_id.as_str(), "acme/renamed"));
    assert_eq!(walk(&connection, &old, "issues").await.unwrap().items.len(), 248);
    let page = details(&connection, &issues[2..]).await.unwrap();
    assert_eq!((page.gone.len(), page.details_done.len()), (0, 1));
}

#[tokio::test]
async fn details_bring_pull_requests_reviews_and_timelines() {
    let (_simulator, connection) = simulated().await;
    let items = pending(&connection).await;
    let page = details(&connection, &items).await.unwrap();
    let pulls = items.iter().filter(|item| item.is_pull_request).count();
    assert!(pulls > 0);
    assert_eq!((page.pull_requests.len(), page.details_done.len()), (pulls, items.len()));
    assert!(!page.transitions.is_empty() && page.unmapped.is_empty(), "{:?}", page.unmapped);
}

/// The first twenty items, as waiting for their details.
async fn pending(connection: &Connection) -> Vec<PendingItem> {
    let project = project(connection).await;
    let page = fetch(connection, &project, "issues", None, None, None).await.unwrap();
    let items = page.records.items.iter().take(20);
    items
        .map(|item| PendingItem {
            source_id: item.source_id.clone(),
            ref_key: item.ref_key.clone(),
            source_key: item.source_key.clone(),
            project: project.clone(),
            is_pull_request: item.type_original == "pull_request",
            noted: None,
        })
        .collect()
}

async fn details(connection: &Connection, items: &[PendingItem]) -> Result<PageRecords, SourceError> {
    let streams = github().streams(&connection.settings);
    let spec = streams.iter().find(|spec| matches!(spec.scope, StreamScope::PendingItems { .. })).unwrap();
    let request =
        PageRequest { stream: &spec.name, project: None, items, cursor: None, since: None, validator: None };
    Ok(github().fetch_page(connection, request).await?.records)
}
