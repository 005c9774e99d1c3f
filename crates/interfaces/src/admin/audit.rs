//! `/audit`: what was done in the tenant, by whom, and how it ended.

use std::sync::Arc;
use std::time::Duration;

use application::audit::AuditExport;
use application::ports::{AuditFilter, StoreError};
use application::{Ctx, Services};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::{AuditHead, AuditOutcome, AuditRecord, Scope};
use futures::stream::{self, BoxStream, Stream, StreamExt};
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use validator::Validate;

use super::AdminState;
use super::list::{ListBody, Params};
use super::names::AuditOutcomeName;
use super::openapi::ListFailures;
use crate::auth::{Caller, Credential, Guard};
use crate::extract::{Json, Query};
use crate::problem::Problem;

/// How often it is looked whether the reader of an export may go on: a revoked key ends it within 10 s.
const RECHECK: Duration = Duration::from_secs(3);
/// Records in one piece of an export.
const LINES: usize = 100;

/// One record of the audit log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditRecord)]
pub struct AuditBody {
    /// Its place in the tenant's log, from 1, without gaps.
    seq: i64,
    id: Uuid,
    at: DateTime<Utc>,
    principal: PrincipalBody,
    /// The OAuth client or user agent.
    client: Option<String>,
    /// Where the request came from.
    #[schema(example = "203.0.113.7")]
    address: Option<String>,
    /// The request or job.
    request_id: Uuid,
    /// What was done.
    #[schema(example = "instance.create")]
    action: String,
    /// What it was done to.
    target: Option<TargetBody>,
    /// How it ended.
    #[schema(value_type = AuditOutcomeName)]
    outcome: String,
    /// SHA-256 of the arguments as JSON without blanks, the names of every object in order; in hex.
    arguments_digest: Option<String>,
    /// Counts and words; never secrets or texts of items.
    #[schema(value_type = Object)]
    details: Map<String, Value>,
    /// HMAC-SHA-256 of this record and the hash before, under the installation's key; in hex.
    hash: String,
}

/// Who did it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditPrincipal)]
struct PrincipalBody {
    /// `key`, `user` or `system`.
    kind: String,
    /// The key's or person's id.
    id: Option<Uuid>,
    /// Their name at that time.
    name: String,
}

/// What it was done to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditTarget)]
struct TargetBody {
    #[schema(example = "instance")]
    kind: String,
    id: String,
}

/// The last line of an export.
#[derive(Debug, Serialize)]
struct HeadLine {
    head: Option<HeadBody>,
}

#[derive(Debug, Serialize)]
struct HeadBody {
    seq: i64,
    hash: String,
}

impl From<AuditHead> for HeadBody {
    fn from(head: AuditHead) -> Self {
        Self { seq: head.seq, hash: head.hash_hex() }
    }
}

impl From<AuditRecord> for AuditBody {
    fn from(record: AuditRecord) -> Self {
        Self {
            seq: record.seq,
            id: record.id,
            at: record.at,
            principal: PrincipalBody {
                kind: record.principal_kind,
                id: record.principal_id,
                name: record.principal_name,
            },
            client: record.client,
            address: record.address.map(|address| address.to_string()),
            request_id: record.request_id,
            action: record.action,
            target: record.target.map(|(kind, id)| TargetBody { kind, id }),
            outcome: record.outcome,
            arguments_digest: record.arguments_digest.map(|digest| domain::audit::hex(&digest)),
            details: record.details,
            hash: domain::audit::hex(&record.hash),
        }
    }
}

/// Which records.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FilterQuery {
    /// Of this key or person.
    #[param(value_type = Option<Uuid>)]
    principal: Option<String>,
    /// Of this action, or of all that begin with it when it ends in a dot.
    #[param(example = "instance.")]
    action: Option<String>,
    /// About this kind of thing.
    #[param(example = "instance")]
    target_kind: Option<String>,
    /// About the thing of this id or name.
    target_id: Option<String>,
    /// That ended so.
    #[param(value_type = Option<AuditOutcomeName>)]
    outcome: Option<String>,
    /// From this moment on.
    #[param(value_type = Option<DateTime<Utc>>)]
    since: Option<String>,
    /// Before this moment.
    #[param(value_type = Option<DateTime<Utc>>)]
    until: Option<String>,
}

/// Which page of which records.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Of this key or person.
    #[param(value_type = Option<Uuid>)]
    principal: Option<String>,
    /// Of this action, or of all that begin with it when it ends in a dot.
    #[param(example = "instance.")]
    action: Option<String>,
    /// About this kind of thing.
    #[param(example = "instance")]
    target_kind: Option<String>,
    /// About the thing of this id or name.
    target_id: Option<String>,
    /// That ended so.
    #[param(value_type = Option<AuditOutcomeName>)]
    outcome: Option<String>,
    /// From this moment on.
    #[param(value_type = Option<DateTime<Utc>>)]
    since: Option<String>,
    /// Before this moment.
    #[param(value_type = Option<DateTime<Utc>>)]
    until: Option<String>,
    /// The most items of a page.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

impl FilterQuery {
    fn read(self, params: &mut Params) -> AuditFilter {
        const MOMENT: &str = "must be a time of RFC 3339, such as 2026-01-02T03:04:05Z";
        AuditFilter {
            principal: params.id("principal", self.principal),
            action: params.text("action", self.action),
            target_kind: params.text("target_kind", self.target_kind),
            target_id: params.text("target_id", self.target_id),
            outcome: params
                .one_of(
                    "outcome",
                    self.outcome,
                    AuditOutcome::parse,
                    AuditOutcome::ALL.map(AuditOutcome::as_str),
                )
                .map(|outcome| outcome.as_str().to_owned()),
            since: params.parsed("since", self.since, MOMENT),
            until: params.parsed("until", self.until, MOMENT),
        }
    }
}

/// Lists what was done in the tenant, newest first.
#[utoipa::path(
    get, path = "/audit", operation_id = "list_audit_records", tag = "audit", params(ListQuery),
    responses((status = 200, body = ListBody<AuditBody>), ListFailures)
)]
pub(super) async fn list(
    State(services): State<Services>,
    Caller { ctx, .. }: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<ListBody<AuditBody>>, Problem> {
    let ListQuery { principal, action, target_kind, target_id, outcome, since, until, limit, cursor } = query;
    let mut params = Params::default();
    let filter =
        FilterQuery { principal, action, target_kind, target_id, outcome, since, until }.read(&mut params);
    let page = params.page("audit", limit.as_deref(), cursor.as_deref());
    params.finish()?;
    let listing = services.audit.list(&ctx, &filter, &page).await?;
    Ok(Json(ListBody::of("audit", listing, AuditBody::from)))
}

/// Exports what was done in the tenant as JSON lines, oldest first: every record that was there when the export began,
/// then a line `{"head": {"seq", "hash"}}` with the end of the whole log at that time. Without that line the export
/// broke off.
#[utoipa::path(
    get, path = "/audit/export", operation_id = "export_audit_records", tag = "audit", params(FilterQuery),
    responses(
        (status = 200, description = "One AuditRecord a line, and the head on the last", content_type = "application/x-ndjson", body = String),
        ListFailures
    )
)]
pub(super) async fn export(
    State(state): State<AdminState>,
    Caller { ctx, credential, .. }: Caller,
    Query(query): Query<FilterQuery>,
) -> Result<Response, Problem> {
    let mut params = Params::default();
    let filter = query.read(&mut params);
    params.finish()?;
    let mut export = state.services.audit.export(&ctx, filter).await?;
    let reader = Reader { guard: state.guard, credential, ctx, recheck_at: Instant::now() + RECHECK };
    export.records = while_allowed(export.records, reader);
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines(export))).into_response())
}

/// Who reads an export, which may outlive what they may do.
struct Reader {
    guard: Guard,
    credential: Arc<Credential>,
    ctx: Ctx,
    recheck_at: Instant,
}

impl Reader {
    async fn is_allowed(&mut self) -> bool {
        if Instant::now() < self.recheck_at {
            return true;
        }
        self.recheck_at = Instant::now() + RECHECK;
        let checked = self.guard.check_again(&self.credential, self.ctx.origin.clone()).await;
        checked.is_ok_and(|caller| {
            caller.ctx.tenant == self.ctx.tenant && caller.ctx.require(Scope::AuditRead).is_ok()
        })
    }
}

type Records = BoxStream<'static, Result<AuditRecord, StoreError>>;

/// Breaks off once the reader's key is revoked or their session has ended.
fn while_allowed(records: Records, reader: Reader) -> Records {
    let next = |state: Option<(Records, Reader)>| async move {
        let (mut records, mut reader) = state?;
        let record = records.next().await?;
        if reader.is_allowed().await {
            return Some((record, Some((records, reader))));
        }
        Some((Err(StoreError::Unavailable("the reader may not read it any more".into())), None))
    };
    stream::unfold(Some((records, reader)), next).boxed()
}

/// An export as JSON lines in pieces of some: the records, then the head. An error ends it before that.
pub fn lines(
    AuditExport { head, records }: AuditExport,
) -> impl Stream<Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> + Send {
    let records = records.ready_chunks(LINES).map(|chunk| {
        let mut text = Vec::new();
        for record in chunk {
            let record = record.inspect_err(|error| tracing::error!(%error, "An audit export broke off"))?;
            serde_json::to_writer(&mut text, &AuditBody::from(record))?;
            text.push(b'\n');
        }
        Ok(Bytes::from(text))
    });
    let last = stream::once(async move {
        let mut text = serde_json::to_vec(&HeadLine { head: head.map(HeadBody::from) })?;
        text.push(b'\n');
        Ok(Bytes::from(text))
    });
    records.chain(last)
}
