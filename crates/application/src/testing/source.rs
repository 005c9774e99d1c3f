//! A tracker that refuses everybody, and sends webhooks all the same.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use domain::record::ItemRecord;
use domain::{Credential, Cursor, Hints, Invalid, Mappings, PageRecords, PriorityNorm, StatusNorm, TypeNorm};
use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use url::Url;

use super::moment;
use crate::ports::{
    Capabilities, Connection, ConnectionReport, Delivery, FetchedItems, IdPage, ItemAddress, Page,
    PageRequest, ProjectRef, RawObject, Received, Refusal, Registration, SourceAdapter, SourceError,
    SourceErrorKind, SourceWebhooks, StreamSpec,
};

/// The source `stub`: takes any settings and credential, has no streams, and refuses every sign-in.
///
/// Read by themselves, all items were changed at [`changed`]; one whose key begins with `limited` brings a refusal for ten
/// minutes.
///
/// With a [`Credential::Pat`] webhooks are set up by the product, and cannot be taken away; otherwise an admin sets them
/// up. A delivery is a JSON array of hints, has its id in `x-delivery`, and the secret itself in `x-signature`.
#[derive(Debug, Clone, Copy, Default)]
pub struct StubSource;

/// When every item was changed last: a day after what is stored.
pub fn changed() -> DateTime<Utc> {
    moment() + TimeDelta::days(1)
}

fn item(key: &str) -> Option<ItemRecord> {
    Some(ItemRecord {
        source_id: key.to_owned(),
        ref_key: key.to_owned(),
        source_key: key.to_owned(),
        project_source_id: "1".into(),
        project_key: "acme/core".into(),
        type_norm: TypeNorm::Task,
        type_original: "task".into(),
        status_norm: StatusNorm::Todo,
        status_original: "open".into(),
        status_category: None,
        resolution_original: None,
        priority_norm: PriorityNorm::None,
        priority_original: None,
        title: key.to_owned(),
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
        url: format!("https://tracker.example/{key}"),
        created_at: moment(),
        updated_at: changed(),
        resolved_at: None,
        custom_fields: json!({}),
        has_details: false,
        raw: RawValue::from_string("{}".into()).ok()?,
    })
}

#[async_trait]
impl SourceAdapter for StubSource {
    fn kind(&self) -> &'static str {
        "stub"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            incremental: true,
            writes: false,
            webhooks: true,
            budget: domain::Quota::per(1_000_000, 60, 1_000_000),
        }
    }

    fn default_base_url(&self) -> Option<Url> {
        "https://tracker.example".parse().ok()
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
        let error = SourceError::new(SourceErrorKind::Unauthorized, "the tracker refused the token");
        Err(SourceError { upstream_status: Some(401), ..error })
    }

    async fn list_projects(&self, _: &Connection) -> Result<Vec<ProjectRef>, SourceError> {
        Ok(Vec::new())
    }

    async fn fetch_page(&self, _: &Connection, _: PageRequest<'_>) -> Result<Page, SourceError> {
        Ok(Page::default())
    }

    async fn list_ids(
        &self,
        _: &Connection,
        _: &ProjectRef,
        _: Option<&Cursor>,
    ) -> Result<IdPage, SourceError> {
        Ok(IdPage::default())
    }

    async fn fetch_items(
        &self,
        connection: &Connection,
        items: &[ItemAddress],
    ) -> Result<FetchedItems, SourceError> {
        connection.count_request();
        let keys: Vec<&str> = items.iter().filter_map(|item| item.key.as_deref()).collect();
        if keys.iter().any(|key| key.starts_with("limited")) {
            let error = SourceError::new(SourceErrorKind::RateLimited, "the tracker asks to wait");
            return Err(SourceError { retry_after: Some(Duration::from_secs(600)), ..error });
        }
        let mut fetched = FetchedItems::default();
        fetched.records.items.extend(keys.into_iter().filter_map(item));
        Ok(fetched)
    }

    fn map_raw(&self, _: &Value, _: &Mappings, _: &[RawObject]) -> PageRecords {
        PageRecords::default()
    }

    fn webhooks(&self) -> Option<&dyn SourceWebhooks> {
        Some(self)
    }
}

#[async_trait]
impl SourceWebhooks for StubSource {
    fn registers(&self, credential: &Credential) -> bool {
        matches!(credential, Credential::Pat { .. })
    }

    fn steps(&self, _: &Connection, target: &Url) -> Vec<String> {
        vec![format!("Enter {target} as the address.")]
    }

    async fn register(
        &self,
        _: &Connection,
        _: &Url,
        _: &SecretString,
        _: Option<&Registration>,
    ) -> Result<Registration, SourceError> {
        Ok(Registration { remote: json!({"id": 1}), expires_at: None })
    }

    async fn renew(
        &self,
        _: &Connection,
        _: &Url,
        registration: &Registration,
    ) -> Result<Registration, SourceError> {
        Ok(registration.clone())
    }

    async fn unregister(&self, _: &Connection, _: &Registration) -> Result<(), SourceError> {
        Err(SourceError::new(SourceErrorKind::Unavailable, "the tracker is down"))
    }

    fn receive(&self, delivery: &Delivery<'_>, secrets: &[SecretString]) -> Result<Received, Refusal> {
        let signature = delivery.header("x-signature").ok_or(Refusal::Unsigned)?;
        if !secrets.iter().any(|secret| secret.expose_secret() == signature) {
            return Err(Refusal::Forged);
        }
        let hints: Hints = serde_json::from_slice(delivery.body).map_err(|_| Refusal::Malformed)?;
        let delivery_id = delivery.header("x-delivery").ok_or(Refusal::Malformed)?.to_owned();
        Ok(Received::Verified { delivery_id, event: "changed".into(), hints })
    }
}
