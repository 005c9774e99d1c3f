//! What the use cases need from outside, as promises.

mod access;
mod audit;
mod authored;
mod bulk_plans;
mod changes;
mod clock;
mod hidden;
mod idempotency;
mod identity;
mod instances;
mod jobs;
mod keys;
mod limiter;
mod live;
mod live_agile;
mod live_files;
mod mappings;
mod members;
mod policy;
mod schedules;
mod source;
mod source_webhooks;
mod source_writer;
mod sync;
mod templates;
mod tenants;
mod uploads;
mod vault;
mod webhooks;
mod work_items;
mod writes;

pub use access::{AccessStore, KeyOwner, KnownKey};
pub use audit::{AuditFilter, AuditLog, AuditVerdict};
pub use authored::{
    Added, AuthoredTemplateStore, Proved, Publication, PublishedTemplate, TemplateProver, TemplateVersion,
};
pub use bulk_plans::{BulkChange, BulkPlan, BulkPlanStore, PlannedItem};
pub use changes::{ChangeKind, ChangePage, ChangePosition, ChangeStore, ItemChange, ItemPosition};
pub use clock::{Clock, Ids};
pub use hidden::{FieldNames, HiddenFields};
pub use idempotency::{Claimed, IdempotencyKey, IdempotencyStore, StoredAnswer};
pub use identity::{
    BegunSignIn, IdentityError, IdentityProvider, KnownSession, NewSession, ReturnedSignIn, SessionStore,
    SignInState, TokenError, TokenVerifier, VerifiedToken,
};
pub use instances::{CredentialRenewer, InstanceStore, RefreshState, Renewal, StoredCredential};
pub use jobs::{Job, JobHandler, JobOutcome, JobQueue, QueueStats};
pub use keys::{Key, KeyStore, NewKey, Rotation};
pub use limiter::{Decision, Limit, LimitKey, LimitState, RateLimiter, ToolClass, UPSTREAM, UpstreamUse};
pub use live::{
    Bounds, LiveActivities, LiveActivity, LiveActivityAsk, LiveActivityKind, LiveChange, LiveField,
    LiveFieldsAsk, LiveIssue, LiveIssueAsk, LiveIssues, LiveProject, LiveProjects, LiveProjectsAsk,
    LivePurpose, LiveReader, LiveSearch, LiveSection, LiveSite, LiveUser, LiveUsersAsk, LiveView,
};
pub use live_agile::{
    LiveAgile, LiveBoard, LiveBoards, LiveBoardsAsk, LiveSprint, LiveSprints, LiveSprintsAsk,
};
pub use live_files::{FileBytes, FoundFile, LiveFile, LiveFileAsk, LiveFiles};
pub use mappings::{
    FoundField, FoundWord, MappingPreview, MappingStore, NormChange, Replaced, RoleChange, Vocabulary,
};
pub use members::{
    Identity, Invitation, KnownUser, Member, MemberChange, MemberStore, Membership, NewInvitation,
};
pub use policy::{PolicyStore, ReplacedPolicy, TenantPolicy};
pub use schedules::{DueRun, ScheduleStore};
pub use source::{
    Capabilities, Connection, ConnectionReport, FetchedItems, IdPage, ItemAddress, ListedId, MissingScope,
    Page, PageRequest, PendingItem, ProjectProbe, ProjectRef, RawObject, SourceAdapter, SourceError,
    SourceErrorKind, Sources, StreamScope, StreamSpec,
};
pub use source_webhooks::{Delivery, Received, Refusal, Registration, SourceWebhooks};
pub use source_writer::{ItemWrite, SourceWriter};
pub use sync::{
    CommitOutcome, Comparison, DeadLetter, Finish, Freshness, IdCommit, KeptItem, NewRun, PageCommit,
    PendingItems, RunFilter, Slice, SliceKey, StoredCounts, StreamCommit, StreamState, SyncStore,
};
pub use templates::{Estimate, RowSet, TemplateCatalog, TemplateRunner};
pub use tenants::{Deletion, ExportLine, TenantStore, TenantTable};
pub use uploads::{NewUpload, Receipt, Upload, UploadStore};
pub use vault::{MacPurpose, Sealed, SecretRef, Vault};
pub use webhooks::{KnownWebhook, NewDelivery, OpenDelivery, PutOff, StoredWebhook, WebhookStore};
pub use work_items::WorkItemStore;
pub use writes::{ClaimedWrite, HeldWrite, Look, Outcome, TrackerWrite, Write, WriteIntentStore};

use async_trait::async_trait;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something of that name or key exists already; the text names what, in the tenant's own terms.
    #[error("{0} already exists")]
    Conflict(&'static str),
    /// Somebody else has taken over the run; what was to be written is not.
    #[error("another worker has taken over")]
    Fenced,
    /// A statement took longer than it may.
    #[error("timed out after {limit_ms} ms")]
    Timeout {
        /// The limit.
        limit_ms: u64,
    },
    /// The database cannot be reached, or has no connection left; worth another try.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Anything else: a fault of ours.
    #[error("the database refused")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing<T> {
    /// The page, in the list's order.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<ListCursor>,
}

/// Where a list goes on: behind this position. Opaque to callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListCursor {
    /// The sort key of the last row, as text.
    pub after: String,
    /// The id of the last row.
    pub id: uuid::Uuid,
}

/// How much of a list to read.
#[derive(Debug, Clone, PartialEq)]
pub struct ListPage {
    /// Most rows, 1 to 200.
    pub limit: i64,
    /// Where to begin.
    pub cursor: Option<ListCursor>,
}

/// One thing readiness depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// `database`, `schema`, `master_key`, …
    pub name: &'static str,
    /// `Err` with what is wrong and what to do.
    pub result: Result<(), String>,
}

/// Whether this process is fit to serve.
#[async_trait]
pub trait Health: Send + Sync {
    /// All checks; answers within two seconds.
    async fn check(&self) -> Vec<HealthCheck>;

    /// Comes back when what every request needs has been silent for so long that waiting for it is no use; at once while
    /// that lasts. Never, as long as it answers.
    async fn outage(&self) {
        std::future::pending::<()>().await;
    }
}
