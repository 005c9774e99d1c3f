//! What a page leaves stored, and how the words of an instance are mapped, as the application role.

mod joined;
mod mappings;
mod records;
mod remap;
use crate::support;
mod tracker;

use application::Ctx;
use application::ports::{
    Finish, InstanceStore, NewRun, PageCommit, SecretRef, SliceKey, StreamCommit, SyncStore, Vault,
};
use chrono::{DateTime, Utc};
use domain::record::ItemRecord;
use domain::{
    Cursor, Instance, InstanceId, InstanceStatus, PageRecords, PriorityNorm, RunId, RunKind, RunState, Slug,
    SourceKind, StatusNorm, StreamName, TypeNorm,
};
use patchbay_infrastructure::postgres::{PgInstances, PgMappings, PgSync};
use serde_json::json;
use serde_json::value::RawValue;
use sqlx::Row;
use support::TestDb;
use uuid::Uuid;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000 + seconds, 0).unwrap()
}

/// An item as [`tracker::Tracker`] maps it from its raw object.
fn item(number: u32, status: &str) -> ItemRecord {
    let raw = json!({"number": number, "status": status}).to_string();
    tracker::map(&RawValue::from_string(raw).unwrap(), None)
}

fn blank(source_id: String, raw: &RawValue) -> ItemRecord {
    ItemRecord {
        ref_key: format!("ref-{source_id}"),
        source_key: format!("APP-{source_id}"),
        source_id,
        project_source_id: "1".into(),
        project_key: "APP".into(),
        type_norm: TypeNorm::Task,
        type_original: "Task".into(),
        status_norm: StatusNorm::Todo,
        status_original: "To Do".into(),
        status_category: Some("new".into()),
        resolution_original: None,
        priority_norm: PriorityNorm::Normal,
        priority_original: Some("P3".into()),
        title: "A title".into(),
        body: None,
        assignees: Vec::new(),
        reporter: None,
        labels: Vec::new(),
        milestone_source_id: None,
        milestone: None,
        parent_ref_key: None,
        due_on: None,
        start_on: None,
        story_points: None,
        estimate_s: None,
        spent_s: None,
        remaining_s: None,
        homes: Vec::new(),
        url: "https://tracker.example/1".into(),
        created_at: at(0),
        updated_at: at(10),
        resolved_at: None,
        custom_fields: json!({}),
        has_details: true,
        raw: raw.to_owned(),
    }
}

fn page(records: PageRecords) -> PageCommit {
    PageCommit {
        stream: StreamCommit {
            stream: StreamName::new("issues"),
            project: "1".into(),
            cursor: Some(Cursor(json!({}))),
            complete: false,
            watermark: None,
            validator: None,
            seen: i64::try_from(records.len()).unwrap(),
            estimate: None,
        },
        records,
        requests: 0,
        fetched_at: at(1000),
        end_slice: false,
    }
}

fn items(items: Vec<ItemRecord>) -> PageCommit {
    page(PageRecords { items, ..PageRecords::default() })
}

struct Fixture {
    test: TestDb,
    ctx: Ctx,
    instance: InstanceId,
    sync: PgSync,
    mappings: PgMappings,
}

impl Fixture {
    async fn new() -> Self {
        let test = TestDb::new().await;
        let ctx = test.ctx("alpha").await;
        let sync = PgSync::new(test.db.clone(), test.audit());
        let mappings = PgMappings::new(test.db.clone(), test.audit());
        let instance = instance(&test, &ctx).await;
        Self { test, ctx, instance, sync, mappings }
    }

    /// A slice of a new backfill.
    async fn slice(&self) -> SliceKey {
        let id = RunId::new(Uuid::now_v7());
        let (instance_id, kind) = (self.instance, RunKind::Backfill);
        self.sync.start(&self.ctx, &NewRun { id, instance_id, kind, confirm_removals: false }).await.unwrap();
        self.sync.begin_slice(&self.ctx, id).await.unwrap().unwrap().key
    }

    async fn finish(&self, key: &SliceKey) {
        let finish = Finish { state: RunState::Succeeded, error: None, instance_status: None };
        self.sync.finish(&self.ctx, key, &finish).await.unwrap();
    }

    /// Stores a page by a backfill of its own.
    async fn store(&self, commit: PageCommit) {
        let key = self.slice().await;
        self.sync.commit_page(&self.ctx, &key, commit).await.unwrap();
        self.finish(&key).await;
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query(sql).fetch_one(&mut self.test.admin().await).await.unwrap().try_get(0).unwrap()
    }

    async fn texts(&self, sql: &'static str) -> Vec<String> {
        sqlx::query_scalar(sql).fetch_all(&mut self.test.admin().await).await.unwrap()
    }
}

async fn instance(test: &TestDb, ctx: &Ctx) -> InstanceId {
    let id = InstanceId::new(Uuid::now_v7());
    let instance = Instance {
        id,
        slug: Slug::of(&format!("i-{id}")),
        source: SourceKind::new("tracker"),
        name: "test".into(),
        base_url: "https://tracker.example".parse().unwrap(),
        settings: json!({}),
        status: InstanceStatus::Active,
        created_at: at(0),
        updated_at: at(0),
    };
    let credential = domain::Credential::Token { token: "t0ken".to_owned().into() }.to_plaintext();
    let sealed = test.vault().await.seal(ctx, SecretRef::InstanceCredential(id), &credential).await.unwrap();
    PgInstances::new(test.db.clone(), test.audit()).insert(ctx, &instance, &sealed).await.unwrap();
    id
}
