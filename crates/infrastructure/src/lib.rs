//! Adapters to the outside: PostgreSQL, the trackers, encryption, time.

pub mod clock;
pub mod egress;
pub mod idempotency_cache;
pub mod identity;
pub mod limiter;
pub mod mcp_remote;
pub mod postgres;
pub mod sources;
pub mod templates;
pub mod vault;
