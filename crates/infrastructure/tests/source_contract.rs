//! What every source promises, and what GitHub's adapter does when GitHub misbehaves.
//!
//! The upstream is the simulator, or a few lines of axum where a case must be made by hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use application::ports::{
    Connection, Page, PageRequest, PendingItem, ProjectRef, SourceAdapter, SourceError, SourceErrorKind,
    Sources, StreamScope,
};
use axum::Router;
use axum::extract::{RawQuery, Request};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{Credential, Cursor, InstanceId, PageRecords, SourceKind, StreamName};
use patchbay_infrastructure::egress::{EgressClient, EgressPolicy};
use patchbay_infrastructure::sources;
use serde_json::{Value, json};
use simulator::{FaultKind, FaultMatch, FaultRule, Simulator, SimulatorConfig, TokenGrant};
use tokio::net::TcpListener;
use url::Url;
use uuid::Uuid;

const REPOSITORY: &str = "acme/app";
const TOKEN: &str = "github_pat_test";

fn registry() -> Sources {
    let policy = EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
    sources::registry(EgressClient::new(policy).unwrap())
}

fn github() -> Arc<dyn SourceAdapter> {
    registry().get(&SourceKind::new("github")).unwrap().clone()
}

fn connection(base_url: &str, settings: Value) -> Connection {
    Connection {
        instance: InstanceId::new(Uuid::nil()),
        base_url: Url::parse(base_url).unwrap(),
        credential: Credential::Token { token: TOKEN.to_owned().into() },
        settings,
        requests: AtomicI64::new(0),
    }
}

fn selected() -> Value {
    json!({"repositories": [REPOSITORY]})
}

/// A simulated repository of 250 items, and a connection to it.
async fn simulated() -> (Simulator, Connection) {
    let repository = simulator::generate::repository(REPOSITORY, 7, 250);
    let other = simulator::generate::repository("acme/other", 8, 3);
    let grant =
        |token: &str, repositories| TokenGrant { token: token.into(), login: "ann".into(), repositories };
    let config = SimulatorConfig {
        repositories: vec![repository, other],
        tokens: vec![grant(TOKEN, None)],
        ..SimulatorConfig::default()
    };
    let simulator = Simulator::start(config).await.unwrap();
    let connection = connection(&simulator.url(), selected());
    (simulator, connection)
}

fn fault(simulator: &Simulator, path: &str, nth: u32, kind: FaultKind) {
    let matching = FaultMatch { path_contains: Some(path.into()), nth: Some(nth), ..FaultMatch::default() };
    simulator.control().add_fault(FaultRule { matching, kind });
}

async fn project(connection: &Connection) -> ProjectRef {
    github().list_projects(connection).await.unwrap().remove(0)
}

async fn fetch(
    connection: &Connection,
    project: &ProjectRef,
    stream: &str,
    cursor: Option<&Cursor>,
    since: Option<DateTime<Utc>>,
    validator: Option<&str>,
) -> Result<Page, SourceError> {
    let stream = StreamName::new(stream);
    let request =
        PageRequest { stream: &stream, project: Some(project), items: &[], cursor, since, validator };
    github().fetch_page(connection, request).await
}

/// Reads a stream to its end; the items and comments met last by id.
#[derive(Default)]
struct Walked {
    items: BTreeMap<String, (DateTime<Utc>, String)>,
    comments: usize,
    unmapped: Vec<(String, String)>,
    watermark: Option<DateTime<Utc>>,
    pages: usize,
    last: Page,
}

async fn walk(connection: &Connection, project: &ProjectRef, stream: &str) -> Result<Walked, SourceError> {
    let mut walked = Walked::default();
    let mut cursor: Option<Cursor> = None;
    let mut comments = std::collections::HashSet::new();
    loop {
        let page = fetch(connection, project, stream, cursor.as_ref(), None, None).await?;
        for item in &page.records.items {
            let value = (item.updated_at, item.body.clone().unwrap_or_default());
            walked.items.insert(item.source_key.clone(), value);
        }
        comments.extend(page.records.comments.iter().map(|comment| comment.source_id.clone()));
        walked
            .unmapped
            .extend(page.records.unmapped.iter().map(|row| (row.source_id.clone(), row.error.clone())));
        walked.watermark = walked.watermark.max(page.watermark);
        walked.pages += 1;
        assert!(walked.pages < 200, "the walk does not end");
        // A cursor survives being stored.
        cursor = page
            .next
            .clone()
            .map(|next| serde_json::from_str(&serde_json::to_string(&next).unwrap()).unwrap());
        walked.last = page;
        if cursor.is_none() {
            walked.comments = comments.len();
            return Ok(walked);
        }
    }
}

#[tokio::test]
async fn every_source_keeps_its_settings_in_a_normal_form_and_names_its_streams_once() {
    let registry = registry();
    for name in registry.names() {
        let source = registry.get(&SourceKind::new(name)).unwrap();
        assert_eq!(source.kind(), name);
        let normal = source.check_settings(&json!({})).unwrap();
        assert_eq!(source.check_settings(&normal).unwrap(), normal, "{name}");
        let unknown = source.check_settings(&json!({"no_such_setting": 1})).unwrap_err();
        assert_eq!(unknown.errors[0].pointer, "/settings/no_such_setting", "{name}");
        assert!(!unknown.errors[0].allowed.is_empty(), "{name}");
        let mut streams: Vec<_> = source.streams(&normal).into_iter().map(|spec| spec.name).collect();
        let count = streams.len();
        streams.sort();
        streams.dedup();
        assert!(count > 0 && streams.len() == count, "{name}");
        assert!(source.default_base_url().is_none_or(|url| url.scheme() == "https"), "{name}");
    }
}

#[tokio::test]
async fn every_source_reports_a_private_or_dead_address_for_what_it_is() {
    let registry = registry();
    for name in registry.names() {
        let source = registry.get(&SourceKind::new(name)).unwrap();
        let private =
            source.test_connection(&connection("https://10.0.0.1/api", json!({}))).await.unwrap_err();
        assert_eq!(private.kind, SourceErrorKind::Blocked, "{name}");
        assert_eq!(private.field.as_deref(), Some("/base_url"), "{name}");
        assert!(!private.message.contains("10.0.0.1"), "{name}: {private}");
        let dead = source.test_connection(&connection("http://127.0.0.1:9999", json!({}))).await.unwrap_err();
        assert_eq!(dead.kind, SourceErrorKind::Unavailable, "{name}");
        let unknown = StreamName::new("no_such_stream");
        let request = PageRequest {
            stream: &unknown,
            project: None,
            items: &[],
            cursor: None,
            since: None,
            validator: None,
        };
        let error =
            source.fetch_page(&connection("http://127.0.0.1:9999", json!({})), request).await.unwrap_err();
        assert_eq!(error.kind, SourceErrorKind::Rejected, "{name}");
    }
}

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
async fn an_empty_page_in_the_middle_is_not_the_end() {
    let (simulator, connection) = simulated().await;
    let project = project(&connection).await;
    fault(&simulator, "/issues?", 2, FaultKind::EmptyPageInMiddle);
    assert_eq!(walk(&connection, &project, "issues").await.unwrap().items.len(), 250);
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

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

/// The first twenty items, as waiting for their details.
async fn pending(connection: &Connection) -> Vec<PendingItem> {
    let project = project(connection).await;
    let page = fetch(connection, &project, "issues", None, None, None).await.unwrap();
    let items = page.records.items.iter().take(20);
    items
        .map(|item| PendingItem {
            ref_key: item.ref_key.clone(),
            source_key: item.source_key.clone(),
            project: project.clone(),
            is_pull_request: item.type_original == "pull_request",
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
