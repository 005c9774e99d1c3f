//! What every source promises, tried on each that is registered; and what GitHub's adapter does beyond that.
//!
//! A case is written once. [`world`] says how each source's tracker is simulated; [`proxy`] stands in front of it, so that
//! answers can be spoilt in ways no tracker was built for; [`store`] is the real engine behind it.

mod asana_events;
mod clocks;
mod details;
mod details_stream;
mod faults;
mod gone;
mod odd_items;
mod paging;
mod proxy;
mod refusals;
mod store;
mod walk;
mod world;

use std::collections::{BTreeMap, BTreeSet};
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
use domain::{Credential, Cursor, InstanceId, PageRecords, RunKind, RunState, SourceKind, StreamName};
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
        mappings: std::sync::Arc::default(),
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
        let to = |base_url: &str| {
            let mut connection = connection(base_url, json!({}));
            if source.check_credential(&connection.credential).is_err() {
                connection.credential =
                    Credential::Basic { email: "ann@example.com".into(), token: TOKEN.to_owned().into() };
            }
            connection
        };
        let private = source.test_connection(&to("https://10.0.0.1/api")).await.unwrap_err();
        assert_eq!(private.kind, SourceErrorKind::Blocked, "{name}");
        assert_eq!(private.field.as_deref(), Some("/base_url"), "{name}");
        assert!(!private.message.contains("10.0.0.1"), "{name}: {private}");
        let dead = source.test_connection(&to("http://127.0.0.1:9999")).await.unwrap_err();
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
        let error = source.fetch_page(&to("http://127.0.0.1:9999"), request).await.unwrap_err();
        assert_eq!(error.kind, SourceErrorKind::Rejected, "{name}");
    }
}

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}
