//! Adding records: each is hashed with the one before under the installation's key, and the chain's end is sealed under
//! the same key, so that an edit, a deletion, a swap or a cut-off end shows.

use std::collections::HashMap;
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

use super::super::db::store_error;
use super::draft::Draft;

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
pub(super) struct Content<'a> {
    pub(super) tenant_id: Uuid,
    pub(super) seq: i64,
    pub(super) id: Uuid,
    /// Microseconds since 1970: what PostgreSQL keeps.
    pub(super) at: i64,
    pub(super) principal_kind: &'a str,
    pub(super) principal_id: Option<Uuid>,
    pub(super) principal_name: &'a str,
    pub(super) client: Option<&'a str>,
    pub(super) address: Option<&'a str>,
    pub(super) request_id: Uuid,
    pub(super) action: &'a str,
    pub(super) target_kind: Option<&'a str>,
    pub(super) target_id: Option<&'a str>,
    pub(super) outcome: &'a str,
    pub(super) arguments_digest: Option<&'a [u8]>,
    pub(super) details: &'a str,
}

/// A tenant's chain, locked by this transaction.
struct End {
    seq: i64,
    hash: [u8; 32],
}

impl AuditChain {
    /// A chain under this key; every process of an installation has the same.
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self { key: Arc::new(key) }
    }

    /// Adds a record as part of a transaction. The tenant's chain is locked until that ends, so do it last.
    pub(crate) async fn record(
        &self,
        connection: &mut PgConnection,
        ctx: &Ctx,
        entry: &AuditEntry,
    ) -> Result<(), StoreError> {
        self.append(connection, ctx.tenant.as_uuid(), &[&Draft::new(ctx, entry)?]).await
    }

    /// Adds records in this order as part of a transaction.
    pub(super) async fn append(
        &self,
        connection: &mut PgConnection,
        tenant: Uuid,
        drafts: &[&Draft],
    ) -> Result<(), StoreError> {
        let mut rows = Rows::default();
        let end = self.compose(tenant, self.lock(connection, tenant).await?, drafts, &mut rows)?;
        let mut ends = Ends::default();
        ends.push(tenant, &end, self.seal(tenant, end.seq, &end.hash));
        rows.insert(connection, AS_THE_TENANT, ends).await
    }

    /// Adds records of several tenants as part of a transaction that belongs to none of them. Tells of each whether it
    /// was done: not where somebody else holds the chain, or it needs a closer look; [`Self::append`] does those.
    pub(super) async fn append_to_many(
        &self,
        connection: &mut PgConnection,
        batches: &[(Uuid, Vec<&Draft>)],
    ) -> Result<Vec<bool>, StoreError> {
        let tenants: Vec<Uuid> = batches.iter().map(|(tenant, _)| *tenant).collect();
        let heads: Vec<(Uuid, i64, [u8; 32], [u8; 32])> =
            sqlx::query_as("select tenant_id, seq, hash, seal from public.lock_audit_heads($1)")
                .bind(tenants)
                .fetch_all(&mut *connection)
                .await
                .map_err(store_error)?;
        let mut free: HashMap<Uuid, End> = heads
            .into_iter()
            .filter(|(tenant, seq, hash, seal)| *seq > 0 && *seal == self.seal(*tenant, *seq, hash))
            .map(|(tenant, seq, hash, _)| (tenant, End { seq, hash }))
            .collect();
        let (mut rows, mut ends, mut done) = (Rows::default(), Ends::default(), Vec::new());
        for (tenant, drafts) in batches {
            let end = free.remove(tenant);
            done.push(end.is_some());
            if let Some(end) = end {
                let end = self.compose(*tenant, end, drafts, &mut rows)?;
                ends.push(*tenant, &end, self.seal(*tenant, end.seq, &end.hash));
            }
        }
        if !rows.seq.is_empty() {
            rows.insert(connection, AS_NOBODY, ends).await?;
        }
        Ok(done)
    }

    /// Gives records their places behind this end; the new end.
    fn compose<'a>(
        &self,
        tenant: Uuid,
        mut end: End,
        drafts: &[&'a Draft],
        rows: &mut Rows<'a>,
    ) -> Result<End, StoreError> {
        for draft in drafts {
            let address = draft.address.map(|address| address.to_string());
            let content = Content {
                tenant_id: tenant,
                seq: end.seq + 1,
                id: draft.id,
                at: draft.at.timestamp_micros(),
                principal_kind: draft.principal_kind,
                principal_id: draft.principal_id,
                principal_name: draft.principal_name(),
                client: draft.client(),
                address: address.as_deref(),
                request_id: draft.request_id.as_uuid(),
                action: draft.action.as_str(),
                target_kind: draft.target_kind,
                target_id: draft.target_id(),
                outcome: draft.outcome.as_str(),
                arguments_digest: draft.arguments_digest.as_ref().map(<[u8; 32]>::as_slice),
                details: draft.details(),
            };
            end = End { seq: content.seq, hash: self.next(&end.hash, &content)? };
            rows.tenant.push(tenant);
            rows.seq.push(end.seq);
            rows.id.push(draft.id);
            rows.at.push(draft.at);
            rows.principal_kind.push(draft.principal_kind);
            rows.principal_id.push(draft.principal_id);
            rows.principal_name.push(draft.principal_name());
            rows.client.push(draft.client());
            rows.address.push(address);
            rows.request_id.push(draft.request_id.as_uuid());
            rows.action.push(draft.action.as_str());
            rows.target_kind.push(draft.target_kind);
            rows.target_id.push(draft.target_id());
            rows.outcome.push(draft.outcome.as_str());
            rows.arguments_digest.push(draft.arguments_digest.as_ref().map(<[u8; 32]>::as_slice));
            rows.details.push(draft.details());
            rows.hash.push(end.hash);
        }
        Ok(end)
    }

    /// Locks the tenant's chain and finds its end.
    async fn lock(&self, connection: &mut PgConnection, tenant: Uuid) -> Result<End, StoreError> {
        const FIND: &str = "select seq, hash, seal from audit_heads where tenant_id = $1 for update";
        let found: Option<(i64, [u8; 32], [u8; 32])> =
            sqlx::query_as(FIND).bind(tenant).fetch_optional(&mut *connection).await.map_err(store_error)?;
        let (seq, hash, seal) = match found {
            Some(found) => found,
            None => {
                let none = [0; 32];
                sqlx::query(
                    "insert into audit_heads (tenant_id, seq, hash, seal) values ($1, 0, $2, $3)
                     on conflict (tenant_id) do nothing",
                )
                .bind(tenant)
                .bind(none)
                .bind(self.seal(tenant, 0, &none))
                .execute(&mut *connection)
                .await
                .map_err(store_error)?;
                sqlx::query_as(FIND).bind(tenant).fetch_one(&mut *connection).await.map_err(store_error)?
            }
        };
        // A chain that begins anew is looked at twice: its records may be there still.
        if seal == self.seal(tenant, seq, &hash) && seq > 0 {
            return Ok(End { seq, hash });
        }
        let last: i64 =
            sqlx::query_scalar("select coalesce(max(seq), 0) from audit_log where tenant_id = $1")
                .bind(tenant)
                .fetch_one(connection)
                .await
                .map_err(store_error)?;
        if seal == self.seal(tenant, seq, &hash) && last == 0 {
            return Ok(End { seq, hash });
        }
        tracing::error!(
            tenant.id = %tenant,
            "The end of the audit log of tenant {tenant} was changed by somebody else: run `patchbay audit verify`"
        );
        // Going on from a forged end would hide the forgery. Work goes on, and the break stays where it is.
        Ok(End { seq: last.max(seq), hash: self.mac(&[b"torn", tenant.as_bytes(), &hash]) })
    }

    /// The hash of a record that stands behind the one with the hash `before`.
    pub(super) fn next(&self, before: &[u8; 32], content: &Content<'_>) -> Result<[u8; 32], StoreError> {
        Ok(self.mac(&[b"record", before, &serde_json::to_vec(content).map_err(internal)?]))
    }

    /// What only who has the key can say of a chain's end.
    pub(super) fn seal(&self, tenant: Uuid, seq: i64, hash: &[u8; 32]) -> [u8; 32] {
        self.mac(&[b"end", tenant.as_bytes(), &seq.to_be_bytes(), hash])
    }

    /// HMAC-SHA-256. Only the last part may vary in length.
    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.as_slice()).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// Records by column, for one statement whatever their number.
#[derive(Default)]
struct Rows<'a> {
    tenant: Vec<Uuid>,
    seq: Vec<i64>,
    id: Vec<Uuid>,
    at: Vec<DateTime<Utc>>,
    principal_kind: Vec<&'a str>,
    principal_id: Vec<Option<Uuid>>,
    principal_name: Vec<&'a str>,
    client: Vec<Option<&'a str>>,
    address: Vec<Option<String>>,
    request_id: Vec<Uuid>,
    action: Vec<&'a str>,
    target_kind: Vec<Option<&'a str>>,
    target_id: Vec<Option<&'a str>>,
    outcome: Vec<&'a str>,
    arguments_digest: Vec<Option<&'a [u8]>>,
    details: Vec<&'a str>,
    hash: Vec<[u8; 32]>,
}

/// Records of one tenant, under its own policies.
const AS_THE_TENANT: &str =
    "with head as (update audit_heads h set seq = e.seq, hash = e.hash, seal = e.seal
         from unnest($18::uuid[], $19::bigint[], $20::bytea[], $21::bytea[]) e (tenant_id, seq, hash, seal)
         where h.tenant_id = e.tenant_id)
     insert into audit_log (tenant_id, seq, id, at, principal_kind, principal_id, principal_name, client, address,
         request_id, action, target_kind, target_id, outcome, arguments_digest, details, hash)
     select * from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::timestamptz[], $5::text[], $6::uuid[], $7::text[],
         $8::text[], $9::text[], $10::uuid[], $11::text[], $12::text[], $13::text[], $14::text[], $15::bytea[],
         $16::text[], $17::bytea[])";

/// Records of several tenants, through the function that may.
const AS_NOBODY: &str =
    "select public.append_audit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
         $21)";

impl Rows<'_> {
    async fn insert(
        self,
        connection: &mut PgConnection,
        statement: &'static str,
        ends: Ends,
    ) -> Result<(), StoreError> {
        sqlx::query(statement)
            .bind(self.tenant)
            .bind(self.seq)
            .bind(self.id)
            .bind(self.at)
            .bind(self.principal_kind)
            .bind(self.principal_id)
            .bind(self.principal_name)
            .bind(self.client)
            .bind(self.address)
            .bind(self.request_id)
            .bind(self.action)
            .bind(self.target_kind)
            .bind(self.target_id)
            .bind(self.outcome)
            .bind(self.arguments_digest)
            .bind(self.details)
            .bind(self.hash)
            .bind(ends.tenant)
            .bind(ends.seq)
            .bind(ends.hash)
            .bind(ends.seal)
            .execute(connection)
            .await
            .map(drop)
            .map_err(store_error)
    }
}

/// New ends of chains, by column.
#[derive(Default)]
struct Ends {
    tenant: Vec<Uuid>,
    seq: Vec<i64>,
    hash: Vec<[u8; 32]>,
    seal: Vec<[u8; 32]>,
}

impl Ends {
    fn push(&mut self, tenant: Uuid, end: &End, seal: [u8; 32]) {
        self.tenant.push(tenant);
        self.seq.push(end.seq);
        self.hash.push(end.hash);
        self.seal.push(seal);
    }
}

fn internal(error: serde_json::Error) -> StoreError {
    StoreError::Internal(Box::new(error))
}
