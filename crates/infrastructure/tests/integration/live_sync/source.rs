//! A tracker in memory, of the kind `scripted`. Deliveries are signed with HMAC-SHA-256 in `x-signature`; a delivery with
//! `x-handshake` tells a secret. Its instances' names decide what their syncs read: those that begin with `endless` read
//! for ever, those with `pages` ten pages of a hundred items.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use application::ports::{
    Capabilities, Connection, ConnectionReport, Delivery, FetchedItems, IdPage, ItemAddress, Page,
    PageRequest, ProjectRef, RawObject, Received, Refusal, Registration, SourceAdapter, SourceError,
    SourceErrorKind, SourceWebhooks, StreamScope, StreamSpec,
};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use domain::record::ItemRecord;
use domain::{
    Credential, Cursor, Hints, Invalid, Mappings, PageRecords, PriorityNorm, Quota, StatusNorm, StreamName,
    TypeNorm,
};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

#[derive(Clone, Default)]
pub struct Scripted(Arc<State>);

#[derive(Default)]
struct State {
    /// Titles of items by their ids.
    items: Mutex<BTreeMap<String, String>>,
    /// How often each item was read by itself.
    reads: Mutex<BTreeMap<String, usize>>,
    /// How many of the next reads fail, and how.
    failures: Mutex<Vec<SourceErrorKind>>,
    pages: AtomicUsize,
    /// Webhooks at the tracker: targets by id.
    hooks: Mutex<BTreeMap<String, String>>,
    by_hand: std::sync::atomic::AtomicBool,
    lifetime: Mutex<Option<TimeDelta>>,
}

impl Scripted {
    pub fn put(&self, id: &str, title: &str) {
        self.0.items.lock().unwrap().insert(id.to_owned(), title.to_owned());
    }

    pub fn fail_next(&self, kinds: impl IntoIterator<Item = SourceErrorKind>) {
        self.0.failures.lock().unwrap().extend(kinds);
    }

    pub fn reads(&self, id: &str) -> usize {
        self.0.reads.lock().unwrap().get(id).copied().unwrap_or(0)
    }

    pub fn pages(&self) -> usize {
        self.0.pages.load(Ordering::SeqCst)
    }

    pub fn hooks(&self) -> BTreeMap<String, String> {
        self.0.hooks.lock().unwrap().clone()
    }

    pub fn lose_hooks(&self) {
        self.0.hooks.lock().unwrap().clear();
    }

    pub fn only_by_hand(&self) {
        self.0.by_hand.store(true, Ordering::SeqCst);
    }

    pub fn hooks_last(&self, time: TimeDelta) {
        *self.0.lifetime.lock().unwrap() = Some(time);
    }

    fn failure(&self) -> Result<(), SourceError> {
        let mut failures = self.0.failures.lock().unwrap();
        if failures.is_empty() {
            return Ok(());
        }
        Err(SourceError::new(failures.remove(0), "the tracker failed as told"))
    }

    /// One of ten pages of a hundred items, which are called after it.
    fn page(&self, cursor: Option<&Cursor>) -> Page {
        self.0.pages.fetch_add(1, Ordering::SeqCst);
        let at = cursor.and_then(|cursor| cursor.0.as_u64()).unwrap_or(0);
        let items = (0..100).map(|n| item(&format!("{at}-{n}"), &format!("page {at}"))).collect();
        let next = (at < 9).then(|| Cursor(json!(at + 1)));
        Page { records: PageRecords { items, ..PageRecords::default() }, next, ..Page::default() }
    }

    fn registration(&self, id: &str) -> Registration {
        let lifetime = *self.0.lifetime.lock().unwrap();
        Registration { remote: json!({"id": id}), expires_at: lifetime.map(|time| now() + time) }
    }
}

#[allow(clippy::disallowed_methods, reason = "the tracker's own clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

pub fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

fn item(id: &str, title: &str) -> ItemRecord {
    let raw = json!({"id": id, "title": title}).to_string();
    ItemRecord {
        source_id: id.into(),
        ref_key: id.into(),
        source_key: format!("S-{id}"),
        project_source_id: "1".into(),
        project_key: "S".into(),
        type_norm: TypeNorm::Task,
        type_original: "task".into(),
        status_norm: StatusNorm::Todo,
        status_original: "open".into(),
        status_category: None,
        resolution_original: None,
        priority_norm: PriorityNorm::None,
        priority_original: None,
        title: title.into(),
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
        url: format!("https://tracker.example/{id}"),
        created_at: now(),
        updated_at: now(),
        resolved_at: None,
        custom_fields: json!({}),
        has_details: false,
        raw: RawValue::from_string(raw).unwrap(),
    }
}

#[async_trait]
impl SourceAdapter for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn capabilities(&self) -> Capabilities {
        let budget = Quota::per(1_000_000, 60, 1_000_000);
        Capabilities { incremental: true, writes: false, webhooks: true, budget }
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

    fn streams(&self, settings: &Value) -> Vec<StreamSpec> {
        let name = settings["name"].as_str().unwrap_or_default();
        let known = ["endless", "pages"].into_iter().find(|stream| name.starts_with(stream));
        let name = StreamName::new(known.unwrap_or("items"));
        vec![StreamSpec { name, scope: StreamScope::Project, reload: false }]
    }

    async fn test_connection(&self, _: &Connection) -> Result<ConnectionReport, SourceError> {
        Ok(ConnectionReport::default())
    }

    async fn list_projects(&self, _: &Connection) -> Result<Vec<ProjectRef>, SourceError> {
        Ok(vec![ProjectRef { source_id: "1".into(), key: "S".into() }])
    }

    async fn fetch_page(&self, _: &Connection, request: PageRequest<'_>) -> Result<Page, SourceError> {
        match request.stream.as_str() {
            "endless" => {}
            "pages" => return Ok(self.page(request.cursor)),
            _ => return Ok(Page::default()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let page = self.0.pages.fetch_add(1, Ordering::SeqCst);
        Ok(Page { next: Some(Cursor(json!(page))), ..Page::default() })
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
        assert!(items.len() <= 100, "{} items at once", items.len());
        connection.count_request();
        self.failure()?;
        let (known, mut reads) = (self.0.items.lock().unwrap(), self.0.reads.lock().unwrap());
        let mut fetched = FetchedItems::default();
        for address in items {
            let id = address.source_id.clone().unwrap();
            *reads.entry(id.clone()).or_default() += 1;
            match known.get(&id) {
                Some(title) => fetched.records.items.push(item(&id, title)),
                None => fetched.invisible.push((address.clone(), "not there".into())),
            }
        }
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
impl SourceWebhooks for Scripted {
    fn registers(&self, _: &Credential) -> bool {
        !self.0.by_hand.load(Ordering::SeqCst)
    }

    fn steps(&self, _: &Connection, target: &Url) -> Vec<String> {
        vec![format!("Enter {target} as the address.")]
    }

    async fn register(
        &self,
        _: &Connection,
        target: &Url,
        _: &SecretString,
        _: Option<&Registration>,
    ) -> Result<Registration, SourceError> {
        self.failure()?;
        let mut hooks = self.0.hooks.lock().unwrap();
        let id = match hooks.iter().find(|(_, known)| known.as_str() == target.as_str()) {
            Some((id, _)) => id.clone(),
            None => format!("hook-{}", hooks.len() + 1),
        };
        hooks.insert(id.clone(), target.to_string());
        drop(hooks);
        Ok(self.registration(&id))
    }

    async fn renew(
        &self,
        _: &Connection,
        _: &Url,
        registration: &Registration,
    ) -> Result<Registration, SourceError> {
        self.failure()?;
        let id = registration.remote["id"].as_str().unwrap().to_owned();
        match self.0.hooks.lock().unwrap().contains_key(&id) {
            true => Ok(self.registration(&id)),
            false => Err(SourceError::new(SourceErrorKind::NotFound, "there is no such webhook")),
        }
    }

    async fn unregister(&self, _: &Connection, registration: &Registration) -> Result<(), SourceError> {
        self.failure()?;
        self.0.hooks.lock().unwrap().remove(registration.remote["id"].as_str().unwrap());
        Ok(())
    }

    fn receive(&self, delivery: &Delivery<'_>, secrets: &[SecretString]) -> Result<Received, Refusal> {
        if let Some(secret) = delivery.header("x-handshake") {
            let headers = vec![("x-handshake", secret.to_owned())];
            return Ok(Received::Handshake { secret: secret.into(), headers });
        }
        let signature = delivery.header("x-signature").ok_or(Refusal::Unsigned)?;
        let genuine = secrets.iter().any(|secret| sign(secret.expose_secret(), delivery.body) == signature);
        if !genuine {
            return Err(Refusal::Forged);
        }
        let hints: Hints = serde_json::from_slice(delivery.body).map_err(|_| Refusal::Malformed)?;
        let delivery_id = delivery.header("x-delivery").ok_or(Refusal::Malformed)?.to_owned();
        Ok(Received::Verified { delivery_id, event: "changed".into(), hints })
    }
}
