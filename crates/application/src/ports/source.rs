use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Credential, Cursor, InstanceId, Invalid, Mappings, PageRecords, Quota, SourceKind, StreamName};
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use super::{LiveReader, SourceWebhooks, SourceWriter};

/// What kind of failure a source reports. The adapter classifies, the caller decides what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// The credential was refused.
    Unauthorized,
    /// The credential is known but lacks a permission.
    Forbidden,
    /// There is no such thing, or it is not visible with this credential.
    NotFound,
    /// It was there and is deleted.
    Gone,
    /// Too many requests: wait for `retry_after`.
    RateLimited,
    /// Down, slow, cut off or unreachable: worth another try.
    Unavailable,
    /// The request was refused as wrong.
    Rejected,
    /// The item was changed meanwhile.
    Conflict,
    /// The tracker, or this adapter, cannot do that.
    Unsupported,
    /// The answer is not what the source's documentation promises.
    Malformed,
    /// The address is not allowed by the egress guard.
    Blocked,
}

impl SourceErrorKind {
    /// Whether the same call may succeed later without anybody changing anything.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable | Self::Malformed)
    }
}

/// A failure of a source.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What kind.
    pub kind: SourceErrorKind,
    /// How long the source asks to wait.
    pub retry_after: Option<Duration>,
    /// Its HTTP status, when it answered.
    pub upstream_status: Option<u16>,
    /// The field of the request or settings it is about, as a JSON Pointer.
    pub field: Option<String>,
    /// What may be given instead: every value where they are few, otherwise the nearest.
    pub allowed: Vec<String>,
    /// What happened, for a person; never holds a secret or an address inside the network.
    pub message: String,
}

impl SourceError {
    /// A failure without further detail.
    pub fn new(kind: SourceErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            retry_after: None,
            upstream_status: None,
            field: None,
            allowed: Vec::new(),
            message: message.into(),
        }
    }

    /// A value of the request that the tracker does not know, with what it does know.
    pub fn unknown_value(field: &str, message: impl Into<String>, allowed: Vec<String>) -> Self {
        Self { field: Some(field.to_owned()), allowed, ..Self::new(SourceErrorKind::Rejected, message) }
    }
}

/// What an adapter can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Reads what changed since a moment.
    pub incremental: bool,
    /// Can create and change items.
    pub writes: bool,
    /// Sends webhooks.
    pub webhooks: bool,
    /// How many requests one instance may be sent, as far as the tracker's documentation tells.
    pub budget: Quota,
}

/// An open connection to a tracker: address, credential and settings of one instance.
#[derive(Debug)]
pub struct Connection {
    /// The instance; keys per-connection state.
    pub instance: InstanceId,
    /// Where the API is, without trailing slash.
    pub base_url: Url,
    /// What to sign in with.
    pub credential: Credential,
    /// What to sync, checked by [`SourceAdapter::check_settings`].
    pub settings: Value,
    /// How the instance's own words are read. Adapters look here for the roles of fields only; words are mapped after
    /// them.
    pub mappings: Arc<Mappings>,
    /// Requests sent so far.
    pub requests: AtomicI64,
}

impl Connection {
    /// The same connection for another call, whose requests are counted by themselves.
    pub fn anew(&self) -> Self {
        Self {
            instance: self.instance,
            base_url: self.base_url.clone(),
            credential: self.credential.clone(),
            settings: self.settings.clone(),
            mappings: self.mappings.clone(),
            requests: AtomicI64::new(0),
        }
    }

    /// Counts one request.
    pub fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests were counted since the last [`Self::take_requests`].
    pub fn requests(&self) -> i64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many requests were counted since the last call.
    pub fn take_requests(&self) -> i64 {
        self.requests.swap(0, Ordering::Relaxed)
    }
}

/// What a connection test found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionReport {
    /// Who the credential belongs to.
    pub account: String,
    /// The tracker's version, where it tells one.
    pub version: Option<String>,
    /// What the credential may do, as far as the tracker tells.
    pub scopes: Vec<String>,
    /// What it lacks, as far as the tracker tells.
    pub missing: Vec<MissingScope>,
    /// The selected projects, or all that are visible: the first 100.
    pub projects: Vec<ProjectProbe>,
    /// How many there are.
    pub project_count: i64,
    /// Items a backfill would read, as far as the tracker tells.
    pub estimated_items: Option<i64>,
    /// Requests a backfill would take.
    pub estimated_requests: Option<i64>,
    /// What will not work, and what to do about it; empty when all is well.
    pub problems: Vec<String>,
}

/// Something the credential may not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingScope {
    /// The tracker's name of it.
    pub scope: String,
    /// What does not work without it.
    pub needed_for: String,
}

/// A project, as a connection test sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectProbe {
    /// Its key.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Items in it, as far as the tracker tells.
    pub items: Option<i64>,
    /// Why it cannot be read, when it cannot.
    pub problem: Option<String>,
}

/// A project, repository or workspace of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectRef {
    /// The source's immutable id.
    pub source_id: String,
    /// The key people use.
    pub key: String,
}

/// What one pass of a stream goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamScope {
    /// Each selected project in turn.
    Project,
    /// The instance as a whole, once: users, fields, boards.
    Instance,
    /// The items whose details are not read yet, up to so many in one page.
    PendingItems {
        /// Items a page.
        batch: usize,
    },
}

/// One stream of a source, in the order in which they are read: parents before what refers to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpec {
    /// Its name.
    pub name: StreamName,
    /// What it goes over.
    pub scope: StreamScope,
    /// Read in full each time, because it is small or has no "changed since".
    pub reload: bool,
}

/// An item whose details are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingItem {
    /// The key other objects of the source refer to it by.
    pub ref_key: String,
    /// The key people use.
    pub source_key: String,
    /// Its project.
    pub project: ProjectRef,
    /// Whether it is a pull request.
    pub is_pull_request: bool,
    /// The source's immutable id.
    pub source_id: String,
    /// What the adapter noted of it ([`PageRecords::details_noted`]) when it was last read; `None` when nothing, or when
    /// an earlier version of this program read it.
    pub noted: Option<Value>,
}

/// Which page to fetch.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest<'a> {
    /// The stream.
    pub stream: &'a StreamName,
    /// The project, for streams of scope [`StreamScope::Project`].
    pub project: Option<&'a ProjectRef>,
    /// The items, for streams of scope [`StreamScope::PendingItems`].
    pub items: &'a [PendingItem],
    /// Where to go on; `None` at the beginning of a pass.
    pub cursor: Option<&'a Cursor>,
    /// Only what changed at or after this moment (by the source's clock, overlap not yet taken off).
    pub since: Option<DateTime<Utc>>,
    /// What [`Page::validator`] was at the end of the last pass; only at the beginning of one.
    pub validator: Option<&'a str>,
}

/// One fetched page.
#[derive(Debug, Default)]
pub struct Page {
    /// Its objects.
    pub records: PageRecords,
    /// Where to go on; `None` when the pass is complete.
    pub next: Option<Cursor>,
    /// The latest change seen, by the source's clock.
    pub watermark: Option<DateTime<Utc>>,
    /// Objects in the whole pass, as far as the source tells.
    pub total_estimate: Option<i64>,
    /// What the source gave to recognise an unchanged answer by (an ETag), when this page was the first and only one.
    pub validator: Option<String>,
    /// The source says nothing changed since `validator`; the records are empty.
    pub not_modified: bool,
}

/// An item as a list of ids tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedId {
    /// What [`domain::record::ItemRecord::source_id`] is.
    pub source_id: String,
    /// The key people use, for sources that read an item by nothing else.
    pub key: Option<String>,
    /// Last change, where the list tells.
    pub updated_at: Option<DateTime<Utc>>,
}

/// One page of ids.
#[derive(Debug, Default)]
pub struct IdPage {
    /// The ids.
    pub ids: Vec<ListedId>,
    /// Where to go on; `None` when the list is complete.
    pub next: Option<Cursor>,
}

/// An item to be read by itself. At least one of the three is there; an adapter takes the one it needs and may have to
/// refuse when it is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemAddress {
    /// The source's immutable id.
    pub source_id: Option<String>,
    /// The key other objects refer to it by.
    pub ref_key: Option<String>,
    /// The key people use.
    pub key: Option<String>,
}

/// What reading items by themselves brought.
#[derive(Debug, Default)]
pub struct FetchedItems {
    /// Those found, and in [`PageRecords::gone`] those proved to be gone.
    pub records: PageRecords,
    /// Those that are not visible, which proves nothing, and why.
    pub invisible: Vec<(ItemAddress, String)>,
}

/// An object as it was received and kept.
#[derive(Debug, Clone)]
pub struct RawObject {
    /// The stream it came with.
    pub stream: StreamName,
    /// Its id at the source.
    pub source_id: String,
    /// What was received.
    pub payload: Box<RawValue>,
}

/// Speaks to one kind of tracker. Retrying is not its business.
#[async_trait]
pub trait SourceAdapter: Send + Sync {
    /// Its name.
    fn kind(&self) -> &'static str;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// From one sync of what changed to the next, unless an admin says otherwise.
    fn sync_interval(&self) -> Duration {
        Duration::from_secs(5 * 60)
    }

    /// The tracker's public address, where there is one.
    fn default_base_url(&self) -> Option<Url>;

    /// Checks settings and returns them in their normal form.
    fn check_settings(&self, settings: &Value) -> Result<Value, Invalid>;

    /// Checks that this kind of credential can be used.
    fn check_credential(&self, credential: &Credential) -> Result<(), Invalid>;

    /// The streams to read under these settings, in order.
    fn streams(&self, settings: &Value) -> Vec<StreamSpec>;

    /// Signs in and looks at what is selected. An `Err` means that no connection came about.
    async fn test_connection(&self, connection: &Connection) -> Result<ConnectionReport, SourceError>;

    /// The selected projects, with their present keys. An unknown one is an error that names it.
    async fn list_projects(&self, connection: &Connection) -> Result<Vec<ProjectRef>, SourceError>;

    /// Fetches one page. Safe to drop and to repeat.
    async fn fetch_page(
        &self,
        connection: &Connection,
        request: PageRequest<'_>,
    ) -> Result<Page, SourceError>;

    /// Lists the ids of all items of a project, archived ones too, in pages as large as the tracker allows. With
    /// `cursor` absent it begins anew.
    async fn list_ids(
        &self,
        connection: &Connection,
        project: &ProjectRef,
        cursor: Option<&Cursor>,
    ) -> Result<IdPage, SourceError>;

    /// Reads up to 100 items by themselves, complete with comments and history: after a webhook, after a write, and to
    /// prove that they are gone. What cannot be mapped is in [`PageRecords::unmapped`].
    async fn fetch_items(
        &self,
        connection: &Connection,
        items: &[ItemAddress],
    ) -> Result<FetchedItems, SourceError>;

    /// Maps kept objects of items anew, without asking the tracker. All are of items, whatever stream they came with: those
    /// read by themselves came with `items`. The instance's words are mapped after it.
    fn map_raw(&self, settings: &Value, mappings: &Mappings, raw: &[RawObject]) -> PageRecords;

    /// The tracker's side of writing, where the adapter can.
    fn writer(&self) -> Option<&dyn SourceWriter> {
        None
    }

    /// Reading while somebody waits, where the adapter can.
    fn live(&self) -> Option<&dyn LiveReader> {
        None
    }

    /// Webhooks, where the tracker has them.
    fn webhooks(&self) -> Option<&dyn SourceWebhooks> {
        None
    }

    /// Asks the tracker's authorization server for a new access token. `None` when this kind of credential has none to
    /// renew. Sends the request once. [`SourceErrorKind::Unauthorized`] only when the server says that the refresh
    /// token is void; anything else leaves it open.
    async fn renew_credential(&self, _credential: &Credential) -> Result<Option<Credential>, SourceError> {
        Ok(None)
    }
}

/// The registered adapters by name.
#[derive(Clone, Default)]
pub struct Sources(BTreeMap<&'static str, Arc<dyn SourceAdapter>>);

impl Sources {
    /// Adds an adapter.
    #[must_use]
    pub fn with(mut self, adapter: impl SourceAdapter + 'static) -> Self {
        self.0.insert(adapter.kind(), Arc::new(adapter));
        self
    }

    /// `None` when there is none of that name.
    pub fn get(&self, kind: &SourceKind) -> Option<&Arc<dyn SourceAdapter>> {
        self.0.get(kind.as_str())
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Sources").field(&self.names()).finish()
    }
}
