//! The adapters on the real things. One binary, as each one is linked with the whole product: a file more
//! costs no link more. A test's name begins with its file's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]

mod asana;
mod audit;
mod credential_renewal;
mod egress_guard;
mod github_depth;
mod idempotency;
mod item_writes;
mod jira_writes;
mod job_queue;
mod limiter;
mod live_sync;
mod official_descriptions;
mod postgres_access;
mod postgres_cancelled_begin;
mod postgres_catalog;
mod postgres_grants;
mod postgres_isolation;
mod postgres_keys;
mod postgres_members;
mod postgres_sessions;
mod postgres_sync;
mod redis_server;
mod redis_tls;
mod source_contract;
mod source_jira;
mod stored_records;
mod support;
mod template_attacks;
mod template_data;
mod template_plans;
mod template_rows;
mod templates;
mod tenant_data;
mod tenants;
mod tracker_writes;
mod unit_of_work;
mod vault;
mod vault_passwords;
mod vault_rotation;
mod vault_transit;
