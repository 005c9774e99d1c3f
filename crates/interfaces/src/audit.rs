//! Refusals on the record: who was signed in and not let through.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use application::Ctx;
use application::audit::AuditService;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::{AuditAction, AuditEntry, AuditOutcome, TenantId};
use http::StatusCode;
use tokio::time::Instant;
use uuid::Uuid;

use crate::auth::Caller;
use crate::metrics::method_label;
use crate::problem::{Problem, ProblemCode};

const DENIED: AuditAction = AuditAction::new("access.deny");
/// A caller over its limit gets one record in this time, which counts those left out since the one before: who asks
/// too often must not fill the log with it.
const COALESCE: Duration = Duration::from_secs(1);
/// Callers remembered at once, before those whose time is over are forgotten.
const MOST_CALLERS: usize = 10_000;

/// Whose refusals were recorded lately; state of [`record_denials`].
#[derive(Debug, Clone)]
pub struct Denials {
    audit: Arc<AuditService>,
    limited: Arc<Mutex<HashMap<CallerId, Limited>>>,
}

/// A tenant, and the key or person; the system has no id.
type CallerId = (TenantId, Option<Uuid>);

#[derive(Debug)]
struct Limited {
    recorded: Instant,
    left_out: u64,
}

impl Denials {
    /// Puts refusals on this record.
    pub fn new(audit: Arc<AuditService>) -> Self {
        Self { audit, limited: Arc::default() }
    }

    /// How many refusals of the caller were left out before this one; `None` when this one is to be left out too.
    fn since_last(&self, ctx: &Ctx) -> Option<u64> {
        let now = Instant::now();
        let mut limited = self.limited.lock().unwrap_or_else(PoisonError::into_inner);
        if limited.len() >= MOST_CALLERS {
            limited.retain(|_, of| now - of.recorded < COALESCE);
        }
        match limited.get_mut(&(ctx.tenant, ctx.principal.id())) {
            Some(of) if now - of.recorded < COALESCE => {
                of.left_out += 1;
                None
            }
            Some(of) => {
                of.recorded = now;
                Some(std::mem::take(&mut of.left_out))
            }
            None => {
                limited.insert((ctx.tenant, ctx.principal.id()), Limited { recorded: now, left_out: 0 });
                Some(0)
            }
        }
    }
}

/// Records answers 403 and 429 to signed-in callers. Belongs directly inside of [`crate::auth::require_caller`].
///
/// ```ignore
/// router.route_layer(from_fn_with_state(Denials::new(services.audit.clone()), audit::record_denials))
/// ```
pub async fn record_denials(
    State(denials): State<Denials>,
    Caller { ctx, .. }: Caller,
    request: Request,
    next: Next,
) -> Response {
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let left_out = match response.status() {
        StatusCode::FORBIDDEN => 0,
        StatusCode::TOO_MANY_REQUESTS => match denials.since_last(&ctx) {
            Some(left_out) => left_out,
            None => return response,
        },
        _ => return response,
    };
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let code = response.extensions().get::<ProblemCode>().map_or("forbidden", |ProblemCode(code)| code);
    let mut entry = AuditEntry::ok(DENIED)
        .ended(AuditOutcome::Denied)
        .to("route", format_args!("{method} {route}"))
        .with("code", code);
    if left_out > 0 {
        entry = entry.with("left_out", left_out);
    }
    match denials.audit.note(&ctx, entry).await {
        Ok(()) => response,
        Err(error) => Problem::from(error).into_response(),
    }
}
