//! The use cases of Patchbay and the ports they need. Knows no HTTP and no SQL.

pub mod access;
pub mod ctx;
pub mod error;
pub mod instances;
pub mod ports;
pub mod sync;
pub mod templates;
pub mod work_items;

use std::sync::Arc;

pub use ctx::Ctx;
pub use error::Error;

/// Everything the product can do.
#[derive(Clone)]
pub struct Services {
    /// Tenants, keys, and who a caller is.
    pub access: Arc<access::AccessService>,
    /// Connections to trackers.
    pub instances: Arc<instances::InstanceService>,
    /// Backfills, syncs and freshness.
    pub sync: Arc<sync::SyncService>,
    /// The normalized data.
    pub work_items: Arc<work_items::WorkItemService>,
    /// Whitelisted SQL.
    pub templates: Arc<templates::TemplateService>,
    /// Whether the process is fit to serve.
    pub health: Arc<dyn ports::Health>,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Services")
    }
}
