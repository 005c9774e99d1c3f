//! A tracker that cannot be asked anything: every call is counted and refused. It maps what is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use application::ports::{
    Capabilities, Connection, ConnectionReport, FetchedItems, IdPage, ItemAddress, Page, PageRequest,
    ProjectRef, RawObject, SourceAdapter, SourceError, SourceErrorKind, StreamSpec,
};
use async_trait::async_trait;
use domain::record::ItemRecord;
use domain::{
    Credential, Cursor, FieldRole, Invalid, Mappings, PageRecords, PriorityNorm, Quota, StatusNorm, TypeNorm,
};
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

/// Maps an object; `points` is the field that holds story points.
pub(super) fn map(raw: &RawValue, points: Option<&str>) -> ItemRecord {
    let value: Value = serde_json::from_str(raw.get()).unwrap();
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut item = super::blank(value["number"].to_string(), raw);
    if let Some(status) = text("status") {
        item.status_norm = match status.as_str() {
            "To Do" => StatusNorm::Todo,
            "Done" => StatusNorm::Done,
            _ => StatusNorm::InProgress,
        };
        item.status_original = status;
    }
    item.resolution_original = text("resolution");
    if item.resolution_original.is_some() {
        item.status_norm = StatusNorm::Done;
    }
    if let Some(kind) = text("type") {
        item.type_norm = if kind == "Bug" { TypeNorm::Bug } else { TypeNorm::Other };
        item.type_original = kind;
    }
    if let Some(priority) = text("priority") {
        item.priority_norm = if priority == "P1" { PriorityNorm::High } else { PriorityNorm::Normal };
        item.priority_original = Some(priority);
    }
    item.story_points = points.and_then(|field| value.get(field)?.as_f64());
    if let Some(size) = value.get("f1") {
        item.custom_fields = serde_json::json!({"Size": size});
    }
    item
}

/// The adapter; counts how often it was asked for more than mapping.
#[derive(Debug, Clone, Default)]
pub(super) struct Tracker(pub(super) Arc<AtomicUsize>);

impl Tracker {
    fn refuse<T>(&self) -> Result<T, SourceError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(SourceError::new(SourceErrorKind::Unsupported, "nobody may ask"))
    }
}

#[async_trait]
impl SourceAdapter for Tracker {
    fn kind(&self) -> &'static str {
        "tracker"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { incremental: true, writes: false, webhooks: false, budget: Quota::per(1, 3_600, 1) }
    }

    fn default_base_url(&self) -> Option<Url> {
        None
    }

    fn check_settings(&self, settings: &Value) -> Result<Value, Invalid> {
        Ok(settings.clone())
    }

    fn check_credential(&self, _: &Credential) -> Result<(), Invalid> {
        Ok(())
    }

    fn streams(&self, _: &Value) -> Vec<StreamSpec> {
        Vec::new()
    }

    async fn test_connection(&self, _: &Connection) -> Result<ConnectionReport, SourceError> {
        self.refuse()
    }

    async fn list_projects(&self, _: &Connection) -> Result<Vec<ProjectRef>, SourceError> {
        self.refuse()
    }

    async fn fetch_page(&self, _: &Connection, _: PageRequest<'_>) -> Result<Page, SourceError> {
        self.refuse()
    }

    async fn list_ids(
        &self,
        _: &Connection,
        _: &ProjectRef,
        _: Option<&Cursor>,
    ) -> Result<IdPage, SourceError> {
        self.refuse()
    }

    async fn fetch_items(&self, _: &Connection, _: &[ItemAddress]) -> Result<FetchedItems, SourceError> {
        self.refuse()
    }

    fn map_raw(&self, _: &Value, mappings: &Mappings, raw: &[RawObject]) -> PageRecords {
        let points = mappings.field(FieldRole::StoryPoints);
        let items = raw.iter().map(|object| map(&object.payload, points)).collect();
        PageRecords { items, ..PageRecords::default() }
    }
}
