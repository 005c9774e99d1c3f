//! Runs and what they write, as the application role.

mod deletion;
mod metrics;
mod pages;
mod runs;

use crate::support;

use application::Ctx;
use application::ports::{
    Finish, InstanceStore, NewRun, PageCommit, SecretRef, SliceKey, StreamCommit, SyncStore, Vault,
};
use chrono::{DateTime, Utc};
use domain::record::{ItemRecord, UserRef};
use domain::{
    Cursor, Instance, InstanceId, InstanceStatus, PageRecords, PriorityNorm, RunId, RunKind, RunState, Slug,
    SourceKind, StatusNorm, StreamName, TypeNorm,
};
use patchbay_infrastructure::postgres::{PgInstances, PgSync};
use serde_json::json;
use serde_json::value::RawValue;
use sqlx::Row;
use support::TestDb;
use uuid::Uuid;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000 + seconds, 0).unwrap()
}

fn item(number: u32, updated: i64, title: &str) -> ItemRecord {
    let user = UserRef { source_id: "7".into(), name: "ada".into() };
    let raw = json!({"id": number, "title": title, "updated": updated}).to_string();
    ItemRecord {
        source_id: (1000 + number).to_string(),
        ref_key: format!("1#{number}"),
        source_key: format!("acme/app#{number}"),
        project_source_id: "1".into(),
        project_key: "acme/app".into(),
        type_norm: TypeNorm::Bug,
        type_original: "issue".into(),
        status_norm: StatusNorm::Todo,
        status_original: "open".into(),
        status_category: None,
        resolution_original: None,
        priority_norm: PriorityNorm::None,
        priority_original: None,
        title: title.into(),
        body: Some("body".into()),
        assignees: vec![user.clone()],
        reporter: Some(user),
        labels: vec!["bug".into(), format!("n{number}")],
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
        url: format!("https://example.com/{number}"),
        created_at: at(0),
        updated_at: at(updated),
        resolved_at: None,
        custom_fields: json!({}),
        has_details: true,
        raw: RawValue::from_string(raw).unwrap(),
    }
}

struct Fixture {
    test: TestDb,
    sync: PgSync,
}

impl Fixture {
    async fn new() -> Self {
        let test = TestDb::new().await;
        let sync = PgSync::new(test.db.clone(), test.audit());
        Self { test, sync }
    }

    async fn instance(&self, ctx: &Ctx) -> InstanceId {
        let id = InstanceId::new(Uuid::now_v7());
        let instance = Instance {
            id,
            slug: Slug::of(&format!("i-{id}")),
            source: SourceKind::new("github"),
            name: "test".into(),
            base_url: "https://api.github.com".parse().unwrap(),
            settings: json!({}),
            status: InstanceStatus::Active,
            created_at: at(0),
            updated_at: at(0),
        };
        let sealed =
            self.test.vault().await.seal(ctx, SecretRef::InstanceCredential(id), b"{}").await.unwrap();
        PgInstances::new(self.test.db.clone(), self.test.audit())
            .insert(ctx, &instance, &sealed)
            .await
            .unwrap();
        id
    }

    async fn run(&self, ctx: &Ctx, instance: InstanceId, kind: RunKind) -> RunId {
        let run =
            NewRun { id: RunId::new(Uuid::now_v7()), instance_id: instance, kind, confirm_removals: false };
        self.sync.start(ctx, &run).await.unwrap();
        run.id
    }

    async fn slice(&self, ctx: &Ctx, instance: InstanceId) -> SliceKey {
        let run = self.run(ctx, instance, RunKind::Backfill).await;
        self.sync.begin_slice(ctx, run).await.unwrap().unwrap().key
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query(sql).fetch_one(&mut self.test.admin().await).await.unwrap().try_get(0).unwrap()
    }

    /// Ends the run so that the instance can have another.
    async fn finish(&self, ctx: &Ctx, key: &SliceKey) {
        let finish = Finish { state: RunState::Succeeded, error: None, instance_status: None };
        self.sync.finish(ctx, key, &finish).await.unwrap();
    }
}

fn page(records: PageRecords) -> PageCommit {
    PageCommit {
        stream: StreamCommit {
            stream: StreamName::new("issues"),
            project: "1".into(),
            cursor: Some(Cursor(json!({"since": "x"}))),
            complete: false,
            watermark: Some(at(500)),
            validator: None,
            seen: i64::try_from(records.len()).unwrap(),
            estimate: Some(10),
        },
        records,
        requests: 1,
        fetched_at: at(1000),
        end_slice: false,
    }
}

fn items(items: Vec<ItemRecord>) -> PageCommit {
    page(PageRecords { items, ..PageRecords::default() })
}
