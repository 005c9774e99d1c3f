//! On whose behalf something is done; goes from the edge to the database.

use domain::{Principal, RequestId, Scope, Scopes, TenantId};

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
    /// The request or job, for logs.
    pub request_id: RequestId,
}

impl Ctx {
    /// [`Error::Forbidden`] when the principal lacks the scope.
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        if self.scopes.allow(scope) { Ok(()) } else { Err(Error::Forbidden { needed: scope }) }
    }
}
