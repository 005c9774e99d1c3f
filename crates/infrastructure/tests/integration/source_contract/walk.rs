//! Reading a stream to its end: nothing twice, nothing lost, nothing for ever.

use super::*;

#[tokio::test]
async fn a_walk_reads_every_item_and_comment_once_by_key() {
    let (_simulator, connection) = simulated().await;
    let project = project(&connection).await;
    let items = walk(&connection, &project, "issues").await.unwrap();
    assert_eq!(items.items.len(), 250);
    assert!(items.pages <= 4, "{} pages", items.pages);
    assert_eq!(items.watermark, items.items.values().map(|(updated, _)| *updated).max());
    let comments = walk(&connection, &project, "comments").await.unwrap();
    assert!(comments.comments > 0);
    for stream in ["repository", "labels", "milestones", "users", "review_comments"] {
        walk(&connection, &project, stream).await.unwrap_or_else(|error| panic!("{stream}: {error}"));
    }
    assert!(connection.take_requests() > 8);
}

#[tokio::test]
async fn rows_that_move_between_pages_are_not_lost_and_end_up_new() {
    let (simulator, connection) = simulated().await;
    let project = project(&connection).await;
    let before = walk(&connection, &project, "issues").await.unwrap();
    let oldest: Vec<u64> = {
        let mut rows: Vec<_> =
            before.items.iter().map(|(key, (updated, _))| (*updated, key.clone())).collect();
        rows.sort();
        rows.iter().take(30).map(|(_, key)| key.rsplit_once('#').unwrap().1.parse().unwrap()).collect()
    };
    let moved = oldest.iter().map(|number| format!("{REPOSITORY}#{number}")).collect::<Vec<_>>();
    fault(&simulator, "/issues?", 2, FaultKind::RowsMove { repository: REPOSITORY.into(), numbers: oldest });
    let after = walk(&connection, &project, "issues").await.unwrap();
    assert_eq!(after.items.len(), 250);
    for key in moved {
        assert!(after.items[&key].0 > before.items[&key].0, "{key} is old");
    }
}

#[tokio::test]
async fn an_incremental_pass_asks_from_a_minute_earlier_and_an_unchanged_answer_is_recognised() {
    let (simulator, connection) = simulated().await;
    let project = project(&connection).await;
    let walked = walk(&connection, &project, "issues").await.unwrap();
    let since = walked.watermark;
    let first = fetch(&connection, &project, "issues", None, since, None).await.unwrap();
    assert!(!first.records.items.is_empty() && first.records.items.len() < 50);
    assert_eq!(first.next, None);
    let validator = first.validator.expect("one page has a validator");
    let again = fetch(&connection, &project, "issues", None, since, Some(&validator)).await.unwrap();
    assert!(again.not_modified && again.records.is_empty());
    // The validator belongs to that request only.
    let other = fetch(&connection, &project, "issues", None, None, Some(&validator)).await.unwrap();
    assert!(!other.not_modified);
    simulator.control().touch(REPOSITORY, &[5]).unwrap();
    let changed = fetch(&connection, &project, "issues", None, since, Some(&validator)).await.unwrap();
    assert!(!changed.not_modified);
    assert!(changed.records.items.iter().any(|item| item.source_key == format!("{REPOSITORY}#5")));
    let asked = simulator.control().requests();
    let asked = format!("{:?}", asked.last().unwrap());
    let expected = (since.unwrap() - TimeDelta::seconds(60)).format("since=%Y-%m-%dT%H:%M:%SZ").to_string();
    assert!(asked.contains(&expected), "{asked} lacks {expected}");
    for stream in ["repository", "labels", "milestones", "users"] {
        let first = fetch(&connection, &project, stream, None, None, None).await.unwrap();
        let Some(validator) = first.validator else { continue };
        let again = fetch(&connection, &project, stream, None, None, Some(&validator)).await.unwrap();
        assert!(again.not_modified, "{stream}");
    }
}

#[tokio::test]
async fn an_empty_page_in_the_middle_is_not_the_end() {
    let (simulator, connection) = simulated().await;
    let project = project(&connection).await;
    fault(&simulator, "/issues?", 2, FaultKind::EmptyPageInMiddle);
    assert_eq!(walk(&connection, &project, "issues").await.unwrap().items.len(), 250);
}

#[tokio::test]
async fn a_thousand_items_of_one_second_are_read_without_loss_or_loop() {
    let upstream = serve(Router::new().route("/repos/acme/app/issues", get(one_second))).await;
    let connection = connection(&upstream, selected());
    let project = ProjectRef { source_id: "7".into(), key: REPOSITORY.into() };
    let walked = walk(&connection, &project, "issues").await.unwrap();
    assert_eq!(walked.items.len(), 1_010);
    assert!(walked.pages <= 14, "{} pages", walked.pages);
}

/// 10 items of one second each, then 1,000 of a single one. `since`, `sort` and `page` work as at GitHub.
async fn one_second(RawQuery(query): RawQuery, request: Request) -> impl IntoResponse {
    let query = query.unwrap_or_default();
    let of = |name: &str| {
        url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, v)| v)
    };
    let host = request.headers()[header::HOST].to_str().unwrap().to_owned();
    let start: DateTime<Utc> = "2026-11-21T09:00:00Z".parse().unwrap();
    let mut rows: Vec<(DateTime<Utc>, u64)> =
        (1..=1_010u64).map(|n| (start + TimeDelta::seconds(n.min(11) as i64), n)).collect();
    if let Some(since) = of("since") {
        let since: DateTime<Utc> = since.parse().unwrap();
        rows.retain(|(updated, _)| *updated >= since);
    }
    let page: usize = of("page").map_or(1, |page| page.parse().unwrap());
    let last = rows.len().div_ceil(100);
    let body: Vec<Value> =
        rows.iter().skip((page - 1) * 100).take(100).map(|(at, n)| issue(*n, *at, start)).collect();
    let rest: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("page=")).collect();
    let link = |page: usize| format!("http://{host}/repos/acme/app/issues?{}&page={page}", rest.join("&"));
    let links = if page < last {
        format!("<{}>; rel=\"next\", <{}>; rel=\"last\"", link(page + 1), link(last))
    } else {
        String::new()
    };
    ([(header::LINK, links)], axum::body::Body::from(Value::from(body).to_string()))
}

fn issue(number: u64, updated_at: DateTime<Utc>, created_at: DateTime<Utc>) -> Value {
    json!({"id": 9_000_000_000 + number, "number": number, "title": "t", "state": "open", "labels": [],
        "html_url": "https://h/i", "created_at": created_at, "updated_at": updated_at})
}

#[tokio::test]
async fn a_link_that_leads_nowhere_new_ends_in_an_error() {
    let hits = Arc::new(AtomicUsize::new(0));
    let counter = hits.clone();
    let looping = move |request: Request| async move {
        counter.fetch_add(1, Ordering::SeqCst);
        let host = request.headers()[header::HOST].to_str().unwrap().to_owned();
        let at: DateTime<Utc> = "2026-11-21T09:00:00Z".parse().unwrap();
        let link = format!("<http://{host}/repos/acme/app/issues?page=2>; rel=\"next\"");
        ([(header::LINK, link)], json!([issue(1, at, at)]).to_string())
    };
    let upstream = serve(Router::new().fallback(get(looping))).await;
    let connection = connection(&upstream, selected());
    let project = ProjectRef { source_id: "7".into(), key: REPOSITORY.into() };
    let error = walk(&connection, &project, "issues").await.err().expect("an error");
    assert_eq!(error.kind, SourceErrorKind::Malformed);
    assert!(hits.load(Ordering::SeqCst) < 10);
    let error = walk(&connection, &project, "labels").await.err().expect("an error");
    assert_eq!(error.kind, SourceErrorKind::Malformed);
}

#[tokio::test]
async fn a_link_to_another_server_is_not_followed_with_the_token() {
    let hits = Arc::new(AtomicUsize::new(0));
    let counter = hits.clone();
    let other = serve(Router::new().fallback(get(move || async move {
        counter.fetch_add(1, Ordering::SeqCst);
        "[]"
    })))
    .await;
    let link = format!("<{other}/labels?page=2>; rel=\"next\"");
    let location = format!("{other}/repositories/7");
    let app = Router::new()
        .route("/repos/acme/app/labels", get(move || async move { ([(header::LINK, link)], "[]") }))
        .route(
            "/repos/acme/app",
            get(move || async move { (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]) }),
        );
    let connection = connection(&serve(app).await, selected());
    let project = ProjectRef { source_id: "7".into(), key: REPOSITORY.into() };
    for stream in ["labels", "repository"] {
        let error = fetch(&connection, &project, stream, None, None, None).await.unwrap_err();
        assert_eq!(
            (error.kind, error.field.as_deref()),
            (SourceErrorKind::Malformed, Some("/base_url")),
            "{stream}"
        );
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
}
