//! PostgreSQL: every store, the job queue, the template runner, and the schema.

mod access;
mod audit;
mod bootstrap;
mod bulk_plans;
mod changes;
mod credentials;
mod db;
mod freshness;
mod idempotency;
mod instances;
mod jobs;
mod key_uses;
mod keys;
mod logins;
mod mappings;
mod members;
mod outage;
mod policies;
mod runs;
mod schedules;
mod seal;
mod server;
mod sessions;
mod sync;
mod templates;
mod tenants;
mod unit;
mod uploads;
mod webhooks;
mod work_items;
mod write_intents;

pub use access::PgAccess;
pub use audit::{AuditChain, AuditQueueBounds, PgAuditLog, describe_metrics as describe_audit_metrics};
pub use bootstrap::{
    BootstrapError, Finding, Migrated, RolePasswords, SchemaState, check_server, migrate, schema_state,
    set_passwords,
};
pub use bulk_plans::PgBulkPlans;
pub use changes::PgChanges;
pub(crate) use db::store_error;
pub use db::{Db, DbUrls, PoolSizes};
pub use idempotency::PgIdempotency;
pub(crate) use idempotency::{answer_place, row_digest};
pub use instances::PgInstances;
pub use jobs::{GraphileQueue, QueueSettings};
pub use mappings::PgMappings;
pub use members::PgMembers;
pub use policies::PgPolicies;
pub use schedules::PgSchedules;
pub use server::{create_database, reachable, unreachable};
pub use sessions::PgSessions;
pub use sqlx::postgres::PgConnectOptions as ConnectOptions;
pub use sync::PgSync;
pub use templates::{
    PgAuthoredTemplates, PgTemplateProver, PgTemplateRunner, PgTemplates, Proof, RefusedTemplate, prove,
    template_statement,
};
pub use tenants::{EXPORTED_BYTES, PgTenants, WITHHELD};
pub use uploads::PgUploads;
pub use webhooks::PgWebhooks;
pub use work_items::PgWorkItems;
pub use write_intents::PgWriteIntents;
