//! What the adapter makes of failures, refusals and broken answers.

use super::*;

#[tokio::test]
async fn limits_carry_their_wait_and_nothing_is_sent_after_one() {
    for (kind, least) in [
        (FaultKind::RateLimited { retry_after_s: 7, as_http_date: false, omit_header: false }, 7),
        (FaultKind::RateLimited { retry_after_s: 7, as_http_date: true, omit_header: false }, 6),
        (FaultKind::SecondaryLimit { retry_after_s: None }, 60),
        (FaultKind::PrimaryExhausted { reset_in_s: 7 }, 7),
    ] {
        let (simulator, connection) = simulated().await;
        let project = project(&connection).await;
        fault(&simulator, "/issues?", 2, kind.clone());
        let error = walk(&connection, &project, "issues").await.err().expect("a limit");
        assert_eq!(error.kind, SourceErrorKind::RateLimited, "{kind:?}");
        let wait = error.retry_after.unwrap();
        assert!(wait >= Duration::from_secs(least), "{kind:?}: {wait:?}");
        assert_eq!(simulator.control().stats().violations, 0, "{kind:?}");
    }
}

#[tokio::test]
async fn broken_answers_are_transient_and_the_same_call_works_again() {
    for kind in [
        FaultKind::TruncatedBody,
        FaultKind::Reset,
        FaultKind::ServerError { status: 503 },
        FaultKind::ServerError { status: 500 },
    ] {
        let (simulator, connection) = simulated().await;
        let project = project(&connection).await;
        fault(&simulator, "/issues?", 1, kind.clone());
        let error = fetch(&connection, &project, "issues", None, None, None).await.unwrap_err();
        assert_eq!(error.kind, SourceErrorKind::Unavailable, "{kind:?}: {error}");
        assert_eq!(walk(&connection, &project, "issues").await.unwrap().items.len(), 250, "{kind:?}");
    }
}

#[tokio::test]
async fn an_item_that_cannot_be_mapped_is_reported_and_the_rest_is_read() {
    let (simulator, connection) = simulated().await;
    let project = project(&connection).await;
    fault(&simulator, "", 1, FaultKind::UnmappableItem { repository: REPOSITORY.into(), number: 9 });
    let walked = walk(&connection, &project, "issues").await.unwrap();
    assert_eq!(walked.items.len(), 249);
    assert_eq!(walked.unmapped.len(), 1);
    let (id, error) = &walked.unmapped[0];
    assert!(id.parse::<u64>().is_ok(), "{id}");
    assert_eq!(error, "`number` is not a number, `updated_at` is null");
}

#[tokio::test]
async fn null_characters_and_lone_surrogates_do_not_get_through() {
    let (simulator, connection) = simulated().await;
    let project = project(&connection).await;
    fault(&simulator, "", 1, FaultKind::NullCharacter { repository: REPOSITORY.into(), number: 9 });
    let walked = walk(&connection, &project, "issues").await.unwrap();
    assert_eq!((walked.items.len(), walked.unmapped.len()), (250, 0));
    let (_, body) = &walked.items[&format!("{REPOSITORY}#9")];
    assert_eq!(body, "zero \u{FFFD} here, half a pair \u{FFFD} there");
}

#[tokio::test]
async fn an_unknown_repository_is_named_by_its_setting() {
    let (simulator, _) = simulated().await;
    let settings = json!({"repositories": [REPOSITORY, "acme/missing"]});
    let connection = connection(&simulator.url(), settings);
    let error = github().list_projects(&connection).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::NotFound);
    assert_eq!(error.field.as_deref(), Some("/settings/repositories/1"));
    assert!(error.message.contains("acme/missing"), "{error}");
    let report = github().test_connection(&connection).await.unwrap();
    assert_eq!(report.account, "ann");
    assert!(report.problems.len() == 1 && report.problems[0].contains("acme/missing"), "{report:?}");
    let everything = self::connection(&simulator.url(), json!({}));
    assert_eq!(github().list_projects(&everything).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_not_repeated_in_the_message() {
    let (simulator, connection) = simulated().await;
    simulator.control().revoke(TOKEN);
    let error = github().test_connection(&connection).await.unwrap_err();
    assert_eq!((error.kind, error.upstream_status), (SourceErrorKind::Unauthorized, Some(401)));
    assert!(!format!("{error:?}").contains(TOKEN));
}

#[tokio::test]
async fn a_base_url_that_is_no_github_api_is_named() {
    let html = serve(
        Router::new().fallback(get(|| async { ([(header::CONTENT_TYPE, "text/html")], "<html>hi</html>") })),
    )
    .await;
    let login =
        serve(Router::new().fallback(get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/login")]) })))
            .await;
    let website = "https://github.com".to_owned();
    for base_url in [html, login, website] {
        let error = github().test_connection(&connection(&base_url, selected())).await.unwrap_err();
        assert_eq!(
            (error.kind, error.field.as_deref()),
            (SourceErrorKind::Rejected, Some("/base_url")),
            "{base_url}"
        );
        assert!(error.message.contains("https://api.github.com"), "{error}");
    }
}
