//! The use cases of Patchbay and the ports they need. Knows no HTTP and no SQL.

pub mod access;
pub mod audit;
pub mod authored;
pub mod connections;
pub mod ctx;
pub mod error;
pub mod idempotency;
pub mod instances;
mod item_reads;
pub mod item_writes;
pub mod jobs;
pub mod keys;
pub mod limits;
pub mod live;
pub mod mappings;
pub mod members;
pub mod policy;
pub mod ports;
pub mod schedules;
pub mod sign_in;
pub mod slots;
pub mod sync;
pub mod templates;
pub mod tenants;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
pub mod webhooks;
pub mod work_items;
pub mod writes;

use std::sync::Arc;

pub use ctx::Ctx;
pub use error::Error;

/// Everything the product can do.
#[derive(Clone)]
pub struct Services {
    /// Tenants, and who a caller is.
    pub access: Arc<access::AccessService>,
    /// API keys.
    pub keys: Arc<keys::KeyService>,
    /// People of a tenant and invitations.
    pub members: Arc<members::MemberService>,
    /// People who sign in, and access tokens.
    pub sign_in: Arc<sign_in::SignInService>,
    /// Connections to trackers.
    pub instances: Arc<instances::InstanceService>,
    /// How instances' words are read.
    pub mappings: Arc<mappings::MappingService>,
    /// Backfills, syncs and freshness.
    pub sync: Arc<sync::SyncService>,
    /// When instances are synced by themselves.
    pub schedules: Arc<schedules::ScheduleService>,
    /// What trackers tell of their own accord.
    pub webhooks: Arc<webhooks::WebhookService>,
    /// The normalized data.
    pub work_items: Arc<work_items::WorkItemService>,
    /// Whitelisted SQL.
    pub templates: Arc<templates::TemplateService>,
    /// Templates that tenants write.
    pub authoring: Arc<authored::AuthoringService>,
    /// The life of tenants: suspending, export, deletion.
    pub tenants: Arc<tenants::TenantService>,
    /// How often whoever may do what.
    pub limits: Arc<limits::LimitService>,
    /// What was done, by whom and when.
    pub audit: Arc<audit::AuditService>,
    /// Requests that have one effect, however often they are sent.
    pub idempotency: Arc<idempotency::IdempotencyService>,
    /// Writes to work items at their trackers, each with one effect.
    pub item_writes: Arc<item_writes::ItemWriteService>,
    /// Reading trackers live.
    pub live: Arc<live::LiveService>,
    /// Which tools callers have.
    pub policy: Arc<policy::PolicyService>,
    /// Whether the process is fit to serve.
    pub health: Arc<dyn ports::Health>,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Services")
    }
}
