//! On whose behalf something is done; goes from the edge to the database.

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;

use domain::{Grant, Principal, RequestId, Scope, Scopes, TenantId};

use crate::Error;

/// The tenant, who acts, what they may do, and the request it belongs to.
///
/// Made by [`crate::access::AccessService`] from a presented key, or for a job from its row. There is no
/// way to tenant data without one.
#[derive(Debug, Clone)]
pub struct Ctx {
    /// Whose data.
    pub tenant: TenantId,
    /// Who acts.
    pub principal: Principal,
    /// What they may do.
    pub scopes: Scopes,
    /// What they are narrowed to. Every transaction carries it, so that the database enforces it.
    pub grant: Arc<Grant>,
    /// The request or job, for logs.
    pub request_id: RequestId,
    /// Where the request came from.
    pub origin: Arc<Origin>,
    /// Whether reads wait until their audit record is stored.
    pub strict_audit: bool,
    /// The transaction that everything written belongs to, when the request came with an idempotency key.
    pub unit: Option<Arc<dyn UnitOfWork>>,
}

/// Where a request came from, for the record. Decides nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The OAuth client, or what the user agent calls itself; at most 200 characters.
    pub client: Option<String>,
}

/// One transaction around everything a request writes; opened by the store that a use case got it from.
pub trait UnitOfWork: Any + Send + Sync + std::fmt::Debug {
    /// For the store to recognise its own.
    fn as_any(&self) -> &dyn Any;
}

impl Ctx {
    /// A context that is narrowed to nothing and came from nowhere in particular.
    pub fn new(tenant: TenantId, principal: Principal, scopes: Scopes, request_id: RequestId) -> Self {
        Self {
            tenant,
            principal,
            scopes,
            grant: Arc::default(),
            request_id,
            origin: Arc::default(),
            strict_audit: false,
            unit: None,
        }
    }

    /// What a part of Patchbay acts as for one tenant.
    pub fn system(tenant: TenantId, part: &'static str, request_id: RequestId) -> Self {
        Self::new(tenant, Principal::System(part), domain::Role::Owner.scopes(), request_id)
    }

    /// [`Error::Forbidden`] when the principal lacks the scope.
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        if self.scopes.allow(scope) { Ok(()) } else { Err(Error::Forbidden { needed: scope }) }
    }
}
