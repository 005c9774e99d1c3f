//! On whose behalf something is done; goes from the edge to the database.

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;

use domain::{Grant, Principal, RequestId, Scope, Scopes, TenantId, Toolset};

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

    /// Undoes everything written in it, now or as soon as nobody is at it any more. Nothing can be written or
    /// committed through it afterwards. Does nothing when it has ended already.
    fn abandon(&self);
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

    /// The same caller outside the request's unit of work: for what must stay stored when the request is undone, and
    /// for what outlives the request.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { unit: None, ..self.clone() }
    }

    /// [`Error::Forbidden`] when the principal lacks the scope.
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        if self.scopes.allow(scope) { Ok(()) } else { Err(Error::Forbidden { needed: scope }) }
    }

    /// [`Error::Exceeds`] when the principal is narrowed in any way: for what concerns the tenant as a whole.
    pub fn require_unnarrowed(&self) -> Result<(), Error> {
        if self.grant.covers(&Grant::default()) {
            Ok(())
        } else {
            Err(Error::Exceeds { what: "the key is narrowed to a part of the tenant" })
        }
    }

    /// [`Error::Exceeds`] when the principal is narrowed to certain projects: for what concerns all of an instance.
    pub fn require_every_project(&self) -> Result<(), Error> {
        match self.grant.projects_read.as_list() {
            None => Ok(()),
            Some(_) => Err(Error::Exceeds { what: "the key is narrowed to certain projects of an instance" }),
        }
    }

    /// [`Error::Exceeds`] when the principal is narrowed to other sets of tools.
    pub fn require_toolset(&self, toolset: Toolset) -> Result<(), Error> {
        self.require_any_toolset(&[toolset])
    }

    /// [`Error::Exceeds`] when the principal is narrowed to sets of tools none of which is among these.
    pub fn require_any_toolset(&self, toolsets: &[Toolset]) -> Result<(), Error> {
        match toolsets.iter().any(|toolset| self.grant.toolsets.allows(toolset)) {
            true => Ok(()),
            false => Err(Error::Exceeds { what: "the key is narrowed to other sets of tools" }),
        }
    }
}
