//! Jira's adapter on recorded bodies of Cloud and Data Center, served by a few lines of axum, and when they go wrong.

mod cloud;
mod data_center;
mod faults;
mod long_lists;
mod replay;
mod simulated;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use application::ports::{
    Connection, ItemAddress, Page, PageRequest, PendingItem, ProjectRef, SourceAdapter, SourceError,
    SourceErrorKind, StreamScope,
};
use chrono::{DateTime, Utc};
use domain::{Credential, Cursor, InstanceId, PageRecords, SourceKind, StreamName};
use patchbay_infrastructure::egress::{EgressClient, EgressPolicy};
use patchbay_infrastructure::sources;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use replay::{Replay, Site};

fn jira() -> Arc<dyn SourceAdapter> {
    let policy = EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
    sources::registry(EgressClient::new(policy).unwrap()).get(&SourceKind::new("jira")).unwrap().clone()
}

fn connection(base_url: &str, settings: Value) -> Connection {
    Connection {
        instance: InstanceId::new(Uuid::nil()),
        base_url: Url::parse(base_url).unwrap(),
        credential: Credential::Basic { email: "ann@example.com".into(), token: "t".to_owned().into() },
        settings,
        mappings: Arc::default(),
        requests: AtomicI64::new(0),
    }
}

/// Where the developers' real data is; `None`, with a word about it, where it is not.
fn real_data() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/jira");
    let there = folder.is_dir();
    if !there {
        println!("skipped: ../shared/data is not here");
    }
    there.then_some(folder)
}

async fn fetch(
    adapter: &dyn SourceAdapter,
    connection: &Connection,
    stream: &str,
    project: Option<&ProjectRef>,
    cursor: Option<&Cursor>,
    since: Option<DateTime<Utc>>,
) -> Result<Page, SourceError> {
    let stream = StreamName::new(stream);
    let request = PageRequest { stream: &stream, project, items: &[], cursor, since, validator: None };
    adapter.fetch_page(connection, request).await
}

/// A stream to its end.
async fn walk(
    adapter: &dyn SourceAdapter,
    connection: &Connection,
    stream: &str,
    project: Option<&ProjectRef>,
    since: Option<DateTime<Utc>>,
) -> Result<(PageRecords, Option<DateTime<Utc>>), SourceError> {
    let mut records = PageRecords::default();
    let mut cursor: Option<Cursor> = None;
    let mut watermark = None;
    for _ in 0..1_000 {
        let page = fetch(adapter, connection, stream, project, cursor.as_ref(), since).await?;
        records.append(page.records);
        watermark = watermark.max(page.watermark);
        // A cursor survives being stored.
        cursor = page.next.map(|next| serde_json::from_str(&serde_json::to_string(&next).unwrap()).unwrap());
        if cursor.is_none() {
            return Ok((records, watermark));
        }
    }
    panic!("the stream {stream} does not end")
}

/// Everything a backfill brings, as the sync engine reads it.
async fn backfill(adapter: &dyn SourceAdapter, connection: &Connection) -> PageRecords {
    let mut all = PageRecords::default();
    let projects = adapter.list_projects(connection).await.unwrap();
    for spec in adapter.streams(&connection.settings) {
        match spec.scope {
            StreamScope::Instance => {
                all.append(walk(adapter, connection, spec.name.as_str(), None, None).await.unwrap().0);
            }
            StreamScope::Project => {
                for project in &projects {
                    let name = spec.name.as_str();
                    all.append(walk(adapter, connection, name, Some(project), None).await.unwrap().0);
                }
            }
            StreamScope::PendingItems { batch } => {
                let pending = pending(&all);
                for items in pending.chunks(batch) {
                    let request = PageRequest {
                        stream: &spec.name,
                        project: None,
                        items,
                        cursor: None,
                        since: None,
                        validator: None,
                    };
                    all.append(adapter.fetch_page(connection, request).await.unwrap().records);
                }
            }
        }
    }
    all
}

/// The items that wait for their details: each once.
fn pending(records: &PageRecords) -> Vec<PendingItem> {
    let by_key: BTreeMap<&str, PendingItem> = records
        .items
        .iter()
        .filter(|item| item.has_details && !records.details_done.contains(&item.ref_key))
        .map(|item| {
            let pending = PendingItem {
                ref_key: item.ref_key.clone(),
                source_key: item.source_key.clone(),
                project: ProjectRef {
                    source_id: item.project_source_id.clone(),
                    key: item.project_key.clone(),
                },
                is_pull_request: false,
                source_id: item.source_id.clone(),
                noted: records.details_noted.get(&item.source_id).cloned(),
            };
            (item.ref_key.as_str(), pending)
        })
        .collect();
    by_key.into_values().collect()
}

/// An issue made by hand.
fn issue(id: u32, key: &str, updated: &str, fields: &Value) -> Value {
    let project = key.split('-').next().unwrap();
    let mut all = json!({
        "summary": format!("Issue {key}"), "project": {"id": "10000", "key": project},
        "created": "2026-01-01T00:00:00.000+0000", "updated": updated,
        "status": {"id": "1", "name": "To Do", "statusCategory": {"key": "new"}},
        "issuetype": {"id": "1", "name": "Task", "subtask": false},
        "comment": {"comments": [], "total": 0}, "worklog": {"worklogs": [], "total": 0}, "issuelinks": [],
    });
    for (name, value) in fields.as_object().unwrap() {
        all[name] = value.clone();
    }
    json!({"id": id.to_string(), "key": key, "fields": all, "changelog": {"histories": []}})
}

fn minute(minute: u32) -> String {
    format!("2026-02-01T{:02}:{:02}:00.000+0000", minute / 60, minute % 60)
}
