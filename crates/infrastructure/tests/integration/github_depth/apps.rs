//! Signing in as a GitHub App.

use application::ports::ItemAddress;
use domain::NewItem;
use futures::future::join_all;
use simulator::App;

use super::*;

const KEY: &str = include_str!("app_key.pem");
const PUBLIC_KEY: &str = include_str!("app_key.pub.pem");

fn app(token_lifetime_s: i64) -> App {
    App {
        app_id: "Iv23liPatchbay".into(),
        slug: "patchbay".into(),
        public_key: PUBLIC_KEY.into(),
        installations: vec![(11, "acme".into()), (12, "umbrella".into())],
        token_lifetime_s,
    }
}

async fn as_app(settings: Value, token_lifetime_s: i64) -> (Simulator, Connection) {
    let (simulator, _) = simulated().await;
    simulator.control().install_app(app(token_lifetime_s));
    let credential =
        Credential::GithubApp { app_id: "Iv23liPatchbay".into(), private_key: KEY.to_owned().into() };
    assert!(github().check_credential(&credential).is_ok());
    let connection = connection(&simulator.url(), credential, settings);
    (simulator, connection)
}

#[tokio::test]
async fn an_app_reads_what_each_of_its_installations_sees() {
    let (simulator, connection) = as_app(json!({}), 3_600).await;
    let adapter = github();
    let projects = adapter.list_projects(&connection).await.unwrap();
    let keys: Vec<&str> = projects.iter().map(|project| project.key.as_str()).collect();
    assert_eq!(keys, ["acme/app", "acme/other", "umbrella/lab"]);
    let report = adapter.test_connection(&connection).await.unwrap();
    assert_eq!((report.account.as_str(), report.project_count), ("the app patchbay", 3));
    assert!(report.missing.is_empty() && report.problems.is_empty(), "{report:?}");
    assert!(report.estimated_items.unwrap() >= 50 && report.estimated_requests.is_some());
    assert_eq!(simulator.control().app_tokens_issued(), 2);
    let new = NewItem { project: "umbrella/lab".into(), title: "By the app".into(), ..NewItem::default() };
    let written = adapter.writer().unwrap().create_item(&connection, &new, &marker()).await.unwrap();
    assert!(written.key.starts_with("umbrella/lab#"));
}

#[tokio::test]
async fn fifty_that_need_a_token_at_once_make_one_request_for_each_installation() {
    let (simulator, connection) = as_app(json!({}), 3_600).await;
    let adapter = github();
    let reads = (0..50).map(|at| {
        let key = if at % 2 == 0 { "acme/app#1" } else { "umbrella/lab#1" };
        let address = ItemAddress { key: Some(key.into()), ..ItemAddress::default() };
        let (adapter, connection) = (&adapter, &connection);
        async move { adapter.fetch_items(connection, &[address]).await.unwrap().records.items.len() }
    });
    assert_eq!(join_all(reads).await.iter().sum::<usize>(), 50);
    assert_eq!(simulator.control().app_tokens_issued(), 2);
}

#[tokio::test]
async fn a_token_that_is_about_to_expire_or_was_taken_back_is_exchanged() {
    let (simulator, connection) = as_app(json!({"repositories": [REPOSITORY]}), 200).await;
    let adapter = github();
    adapter.list_projects(&connection).await.unwrap();
    adapter.list_projects(&connection).await.unwrap();
    // Less than five minutes to live: never used a second time.
    assert_eq!(simulator.control().app_tokens_issued(), 2);

    let (simulator, connection) = as_app(json!({"repositories": [REPOSITORY]}), 3_600).await;
    let adapter = github();
    adapter.list_projects(&connection).await.unwrap();
    simulator.control().revoke(&format!("ghs_Iv23liPatchbay_11_1_{}", "x".repeat(400)));
    adapter.list_projects(&connection).await.unwrap();
    assert_eq!(simulator.control().app_tokens_issued(), 2);
}

#[tokio::test]
async fn an_owner_without_the_app_and_a_wrong_key_are_named() {
    let (simulator, connection) = as_app(json!({"repositories": ["acmee/app"]}), 3_600).await;
    let error = github().list_projects(&connection).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::NotFound);
    let report = github().test_connection(&connection).await.unwrap();
    assert!(report.problems[0].contains("not installed at acmee"), "{report:?}");

    let other = Credential::GithubApp { app_id: "other".into(), private_key: KEY.to_owned().into() };
    let error =
        github().test_connection(&super::connection(&simulator.url(), other, json!({}))).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Unauthorized);
    assert!(error.message.contains("private key") && !error.message.contains("BEGIN"), "{error}");
    let broken = Credential::GithubApp { app_id: "a b".into(), private_key: "-----".to_owned().into() };
    assert_eq!(github().check_credential(&broken).unwrap_err().errors.len(), 2);
}
