//! PostgreSQL: every store, the job queue, the template runner, and the schema.

mod access;
mod audit;
mod bootstrap;
mod db;
mod freshness;
mod instances;
mod jobs;
mod runs;
mod server;
mod sync;
mod templates;
mod work_items;

pub use access::PgAccess;
pub use audit::AuditChain;
pub use bootstrap::{
    BootstrapError, Finding, Migrated, RolePasswords, SchemaState, check_server, migrate, schema_state,
};
pub(crate) use db::store_error;
pub use db::{Db, DbUrls, PoolSizes};
pub use instances::PgInstances;
pub use jobs::{GraphileQueue, QueueSettings};
pub use server::{create_database, reachable, unreachable};
pub use sqlx::postgres::PgConnectOptions as ConnectOptions;
pub use sync::PgSync;
pub use templates::{MAX_BYTES, PgTemplateRunner, PgTemplates, RefusedTemplate};
pub use work_items::PgWorkItems;
