//! PostgreSQL: every store, the job queue, the template runner, and the schema.

mod access;
mod bootstrap;
mod db;
mod freshness;
mod instances;
mod jobs;
mod runs;
mod sync;
mod templates;
mod work_items;

//pub use bootstrap::{SchemaState, migrate, schema_state};
pub use db::{Db, DbUrls, PoolSizes};
//pub use jobs::{GraphileQueue, QueueSettings};
//pub use sync::PgSync;
