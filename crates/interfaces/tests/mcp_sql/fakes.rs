//! Four templates like the built-in ones, over a runner that makes rows up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use application::Ctx;
use application::ports::*;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::template::{Argument, Column, ColumnType, Param, ParamType, Template};
use domain::*;
use serde_json::{Map, Value, json};

/// What the runner does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Rows,
    Timeout,
    Panic,
    Fault,
    Hang,
}

pub(crate) struct Templates {
    list: Vec<Arc<Template>>,
    pub(crate) next: Mutex<Next>,
    pub(crate) asked: Mutex<Vec<(Vec<Argument>, i64)>>,
}

fn text(name: &str, required: bool, allowed: &[&str]) -> Param {
    Param {
        name: name.into(),
        description: format!("The {name} as the tracker shows it, such as owner/repo or ENG."),
        kind: ParamType::Text { max_length: 200, allowed: allowed.iter().map(|a| (*a).to_owned()).collect() },
        required,
        default: None,
    }
}

fn template(name: &str, params: Vec<Param>, columns: &[(&str, ColumnType)]) -> Arc<Template> {
    Arc::new(Template {
        name: name.into(),
        title: name.replace('_', " "),
        description:
            "Lists issues, tasks and pull requests of one project, newest update first, with normalized and \
                      original status. Use it for questions such as what is in progress in owner/repo."
                .into(),
        tags: vec!["issues".into()],
        params,
        default_limit: 50,
        max_limit: 500,
        timeout_ms: 5_000,
        columns: columns.iter().map(|(name, kind)| Column { name: (*name).into(), kind: *kind }).collect(),
        statement: "select 1".into(),
        version: "0123456789ab".into(),
    })
}

impl Templates {
    pub(crate) fn new() -> Self {
        use ColumnType::{Date, Integer, Number, Text, Timestamp};
        let statuses = ["todo", "in_progress", "done", "cancelled", "unknown"];
        let types =
            ["epic", "story", "task", "subtask", "bug", "feature", "pull_request", "milestone", "other"];
        let item = [
            ("source_key", Text),
            ("title", Text),
            ("status", Text),
            ("status_original", Text),
            ("type", Text),
            ("priority", Text),
            ("assignee", Text),
            ("updated_at", Timestamp),
            ("url", Text),
        ];
        let days = Param {
            name: "days".into(),
            description: "How many days up to `to`; ignored when `from` is given.".into(),
            kind: ParamType::Integer { min: 1, max: 400 },
            required: false,
            default: Some(json!(30)),
        };
        let since = Param {
            name: "updated_since".into(),
            description: "Only items updated at or after this moment.".into(),
            kind: ParamType::Timestamp,
            required: false,
            default: None,
        };
        let search = vec![
            text("project", true, &[]),
            text("status", false, &statuses),
            text("type", false, &types),
            text("assignee", false, &[]),
            text("label", false, &[]),
            since,
        ];
        let find = vec![
            text("query", true, &[]),
            text("project", false, &[]),
            text("status", false, &statuses),
            text("type", false, &types),
        ];
        let figures = [
            ("day", Date),
            ("created", Integer),
            ("completed", Integer),
            ("cancelled", Integer),
            ("reopened", Integer),
            ("open_at_end", Integer),
            ("avg_lead_time_hours", Number),
        ];
        let list = vec![
            template(
                "cycle_time_percentiles",
                vec![text("project", true, &[]), text("type", false, &types)],
                &figures,
            ),
            template("find_work_items", find, &item),
            template("get_project_metrics", vec![text("project", true, &[]), days], &figures),
            template("search_issues_by_project", search, &item),
        ];
        Self { list, next: Mutex::new(Next::Rows), asked: Mutex::default() }
    }
}

impl TemplateCatalog for Templates {
    fn list(&self) -> &[Arc<Template>] {
        &self.list
    }
}

#[async_trait]
impl TemplateRunner for Templates {
    async fn run(
        &self,
        _: &Ctx,
        template: &Template,
        arguments: &[Argument],
        limit: i64,
    ) -> Result<RowSet, StoreError> {
        let next = *self.next.lock().unwrap();
        match next {
            Next::Rows => {}
            Next::Timeout => return Err(StoreError::Timeout { limit_ms: 5_000 }),
            Next::Fault => return Err(StoreError::Internal("column c4nary of published.x".into())),
            Next::Panic => panic!("a bug with the secret c4nary"),
            Next::Hang => tokio::time::sleep(Duration::from_secs(3_600)).await,
        }
        self.asked.lock().unwrap().push((arguments.to_vec(), limit));
        let row = |n: i64| -> Map<String, Value> {
            let value = |column: &Column| match column.kind {
                _ if column.name == "assignee" => Value::Null,
                ColumnType::Text | ColumnType::TextList => json!(format!("{} \"{n}\", x", column.name)),
                ColumnType::Integer => json!(n),
                ColumnType::Number => json!(0.5),
                ColumnType::Boolean => json!(true),
                ColumnType::Date => json!("2026-01-02"),
                ColumnType::Timestamp => json!("2026-01-02T03:04:05Z"),
            };
            template.columns.iter().map(|column| (column.name.clone(), value(column))).collect()
        };
        Ok(RowSet {
            columns: template.columns.clone(),
            rows: (0..limit.min(3)).map(row).collect(),
            truncated: limit < 3,
        })
    }
}

/// Knows of two instances, and nothing else.
pub(crate) struct TwoInstances;

fn none<T>() -> Result<T, StoreError> {
    Err(StoreError::Internal("not part of this test".into()))
}

#[async_trait]
impl SyncStore for TwoInstances {
    async fn cached_freshness(&self, ctx: &Ctx) -> Result<Arc<Vec<Freshness>>, StoreError> {
        Ok(Arc::new(self.freshness(ctx, None).await?.into_iter().map(|(of, _)| of).collect()))
    }
    async fn freshness(
        &self,
        _: &Ctx,
        _: Option<InstanceId>,
    ) -> Result<Vec<(Freshness, StoredCounts)>, StoreError> {
        let of = |slug: &str, synced_at: Option<&str>| Freshness {
            instance_id: InstanceId::new(uuid::Uuid::from_u128(5)),
            slug: slug.parse().unwrap(),
            source: "github".into(),
            synced_at: synced_at.map(|at| at.parse().unwrap()),
            backfilled_at: None,
            active_run: None,
            last_error: None,
        };
        let counts = StoredCounts { items: 3, dead_letters: 0 };
        Ok(vec![(of("core", Some("2026-01-02T03:04:05Z")), counts), (of("web", None), counts)])
    }

    async fn start(&self, _: &Ctx, _: &NewRun) -> Result<(), StoreError> {
        none()
    }
    async fn active_run(&self, _: &Ctx, _: InstanceId) -> Result<Option<RunId>, StoreError> {
        none()
    }
    async fn find(&self, _: &Ctx, _: RunId) -> Result<Option<Run>, StoreError> {
        none()
    }
    async fn list(&self, _: &Ctx, _: &RunFilter, _: &ListPage) -> Result<Listing<Run>, StoreError> {
        none()
    }
    async fn request_cancel(&self, _: &Ctx, _: RunId) -> Result<Option<Run>, StoreError> {
        none()
    }
    async fn begin_slice(&self, _: &Ctx, _: RunId) -> Result<Option<Slice>, StoreError> {
        none()
    }
    async fn set_projects(&self, _: &Ctx, _: &SliceKey, _: &[ProjectRef]) -> Result<(), StoreError> {
        none()
    }
    async fn pending_items(&self, _: &Ctx, _: InstanceId, _: usize) -> Result<Vec<PendingItem>, StoreError> {
        none()
    }
    async fn commit_page(&self, _: &Ctx, _: &SliceKey, _: PageCommit) -> Result<CommitOutcome, StoreError> {
        none()
    }
    async fn suspend(
        &self,
        _: &Ctx,
        _: &SliceKey,
        _: DateTime<Utc>,
        _: Option<&RunError>,
        _: i64,
    ) -> Result<(), StoreError> {
        none()
    }
    async fn finish(&self, _: &Ctx, _: &SliceKey, _: &Finish) -> Result<(), StoreError> {
        none()
    }
    async fn should_stop(&self, _: &Ctx, _: &SliceKey) -> Result<bool, StoreError> {
        none()
    }
    async fn dead_letters(&self, _: &Ctx, _: RunId, _: &ListPage) -> Result<Listing<DeadLetter>, StoreError> {
        none()
    }
    async fn projects(
        &self,
        _: &Ctx,
        _: InstanceId,
    ) -> Result<Vec<(ProjectId, ProjectRef, String)>, StoreError> {
        none()
    }
}
