//! The audit log: one chain of records per tenant, each hashed with the one before under the installation's key, so
//! that an edit, a deletion or a swap inside the chain shows.

use std::fmt;
use std::sync::Arc;

use application::Ctx;
use application::ports::StoreError;
use chrono::{DateTime, Utc};
use domain::AuditEntry;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;
use sqlx::PgConnection;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::db::store_error;

/// Adds records to chains. Every store that changes something has one and writes the record in the change's own
/// transaction: [`AuditChain::record`].
#[derive(Clone)]
pub struct AuditChain {
    key: Arc<Zeroizing<[u8; 32]>>,
}

impl fmt::Debug for AuditChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditChain")
    }
}

/// What is hashed of a record, in this order.
#[derive(Debug, Serialize)]
struct Content<'a> {
    tenant_id: Uuid,
    seq: i64,
    id: Uuid,
    /// Microseconds since 1970: what PostgreSQL keeps.
    at: i64,
    principal_kind: &'a str,
    principal_id: Option<Uuid>,
    principal_name: &'a str,
    client: Option<&'a str>,
    address: Option<&'a str>,
    request_id: Uuid,
    action: &'a str,
    target_kind: Option<&'a str>,
    target_id: Option<&'a str>,
    outcome: &'a str,
    arguments_digest: Option<&'a [u8]>,
    details: &'a str,
}

impl AuditChain {
    /// A chain under this key; every process of an installation has the same.
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self { key: Arc::new(key) }
    }

    /// Adds a record as part of a transaction. The tenant's chain is locked until that ends, so do it last.
    pub(super) async fn record(
        &self,
        connection: &mut PgConnection,
        ctx: &Ctx,
        entry: &AuditEntry,
    ) -> Result<(), StoreError> {
        // Makes the tenant's head when it has none, and locks it either way.
        let (seq, hash): (i64, Vec<u8>) = sqlx::query_as(
            "insert into audit_heads (tenant_id, seq, hash) values ($1, 0, $2)
             on conflict (tenant_id) do update set seq = audit_heads.seq
             returning seq, hash",
        )
        .bind(ctx.tenant.as_uuid())
        .bind([0u8; 32].as_slice())
        .fetch_one(&mut *connection)
        .await
        .map_err(store_error)?;
        let at = now();
        let details = serde_json::Value::Object(entry.details.clone()).to_string();
        let address = ctx.origin.address.map(|address| address.to_string());
        let content = Content {
            tenant_id: ctx.tenant.as_uuid(),
            seq: seq + 1,
            id: Uuid::now_v7(),
            at: at.timestamp_micros(),
            principal_kind: ctx.principal.kind(),
            principal_id: ctx.principal.id(),
            principal_name: ctx.principal.label(),
            client: ctx.origin.client.as_deref(),
            address: address.as_deref(),
            request_id: ctx.request_id.as_uuid(),
            action: entry.action.as_str(),
            target_kind: entry.target.as_ref().map(|target| target.kind),
            target_id: entry.target.as_ref().map(|target| target.id.as_str()),
            outcome: entry.outcome.as_str(),
            arguments_digest: entry.arguments_digest.as_ref().map(<[u8; 32]>::as_slice),
            details: &details,
        };
        let hash = self.next(&hash, &content)?;
        sqlx::query(
            "with head as (update audit_heads set seq = $2, hash = $17 where tenant_id = $1)
             insert into audit_log (tenant_id, seq, id, at, principal_kind, principal_id, principal_name, client, address,
                 request_id, action, target_kind, target_id, outcome, arguments_digest, details, hash)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        )
        .bind(content.tenant_id)
        .bind(content.seq)
        .bind(content.id)
        .bind(at)
        .bind(content.principal_kind)
        .bind(content.principal_id)
        .bind(content.principal_name)
        .bind(content.client)
        .bind(content.address)
        .bind(content.request_id)
        .bind(content.action)
        .bind(content.target_kind)
        .bind(content.target_id)
        .bind(content.outcome)
        .bind(content.arguments_digest)
        .bind(content.details)
        .bind(hash.as_slice())
        .execute(connection)
        .await
        .map(drop)
        .map_err(store_error)
    }

    fn next(&self, before: &[u8], content: &Content<'_>) -> Result<[u8; 32], StoreError> {
        let text = serde_json::to_vec(content).map_err(|error| StoreError::Internal(Box::new(error)))?;
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_slice())
            .map_err(|error| StoreError::Internal(error.to_string().into()))?;
        mac.update(before);
        mac.update(&text);
        Ok(mac.finalize().into_bytes().into())
    }
}

fn now() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "when it went on the record; nothing is decided by it")]
    Utc::now()
}
