use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Credential, Cursor, InstanceId, Invalid, PageRecords, Quota, SourceKind, StreamName};
use serde_json::Value;
use url::Url;

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
    /// What happened, for a person; never holds a secret or an address inside the network.
    pub message: String,
}

impl SourceError {
    /// A failure without further detail.
    pub fn new(kind: SourceErrorKind, message: impl Into<String>) -> Self {
        Self { kind, retry_after: None, upstream_status: None, field: None, message: message.into() }
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
    /// Requests sent so far.
    pub requests: AtomicI64,
}

impl Connection {
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionReport {
    /// Who the credential belongs to.
    pub account: String,
    /// The tracker's version, where it tells one.
    pub version: Option<String>,
    /// What the credential may do, as far as the tracker tells.
    pub scopes: Vec<String>,
    /// What will not work, and what to do about it; empty when all is well.
    pub problems: Vec<String>,
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

/// Speaks to one kind of tracker. Retrying is not its business.
#[async_trait]
pub trait SourceAdapter: Send + Sync {
    /// Its name.
    fn kind(&self) -> &'static str;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

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
