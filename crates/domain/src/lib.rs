//! The nouns and rules of Patchbay: tenants, principals, instances, work items, runs and templates.
//!
//! Nothing here does I/O, reads a clock or is async. Text from outside is parsed into these types at the
//! edge; inside they are trusted.

pub mod api_key;
pub mod audit;
pub mod authored;
pub mod credential;
pub mod dictionary;
pub mod grant;
pub mod ids;
pub mod instance;
pub mod invalid;
pub mod item_write;
pub mod limit;
pub mod mapping;
pub mod policy;
pub mod principal;
pub mod record;
pub mod run;
pub mod schedule;
pub mod template;
pub mod tenant;
pub mod webhook;
pub mod work_item;

pub use api_key::ApiKey;
pub use audit::{AuditAction, AuditEntry, AuditHead, AuditOutcome, AuditRecord, AuditTarget};
pub use credential::{Credential, OAuthGrant};
pub use grant::{Allowed, Grant, ProjectKey, Toolset};
pub use ids::*;
pub use instance::{Instance, InstancePatch, InstanceStatus, NewInstance, SourceKind};
pub use invalid::{FieldError, Invalid};
pub use item_write::{
    ChangedField, ConfirmedDeletion, FileContent, ItemDeletion, ItemLink, ItemMove, ItemPatch, ListChange,
    NewAttachment, NewComment, NewItem, NewWorklog, SeenItem, SprintWrite, TimeSpent, Transition,
    VersionWrite, Watching, WrittenItem,
};
pub use limit::Quota;
pub use mapping::{FieldRole, Mappings};
pub use policy::JiraPolicy;
pub use principal::{KeyKind, Principal, Role, Scope, Scopes, Slug};
pub use record::{PageRecords, Unmapped};
pub use run::{Cursor, Progress, Run, RunCounts, RunError, RunKind, RunState, StreamName};
pub use schedule::Schedule;
pub use tenant::{Tenant, TenantStatus};
pub use webhook::{Hint, Hints, WebhookDelivery, WebhookState};
pub use work_item::{BoardKind, PriorityNorm, SprintState, StatusNorm, TypeNorm, WorkItem, WorkItemFilter};
