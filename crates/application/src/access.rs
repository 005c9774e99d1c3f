//! Tenants, and who a caller is.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::api_key::ApiKey;
use domain::{KeyId, KeyKind, Principal, RequestId, Role, Slug, Tenant, TenantId, TenantStatus};

use crate::ports::{AccessStore, Clock, Ids, KeyOwner, KnownKey, MacPurpose, StoreError, Vault};
use crate::{Ctx, Error};

/// What a caller of a suspended tenant is told, once it is certain that it is one.
pub const SUSPENDED: &str = "the tenant is suspended; ask the operator of this installation";

const UNKNOWN: &str = "the API key is unknown, expired or revoked";

/// Who a caller is.
#[derive(Debug, Clone)]
pub struct Caller {
    /// On whose behalf requests are served.
    pub ctx: Ctx,
    /// The tenant's short name.
    pub tenant_slug: Slug,
    /// The key that was presented, when it was one.
    pub key: Option<PresentedKey>,
    /// A person's role in the tenant: no token of theirs brings more than it stands for.
    pub role: Option<Role>,
}

/// What a caller may know about the key it presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresentedKey {
    /// What it is meant for.
    pub kind: KeyKind,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Use cases around tenants and callers.
pub struct AccessService {
    store: Arc<dyn AccessStore>,
    vault: Arc<dyn Vault>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

impl AccessService {
    /// Puts the service together.
    pub fn new(
        store: Arc<dyn AccessStore>,
        vault: Arc<dyn Vault>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Self {
        Self { store, vault, clock, ids }
    }

    /// Creates a tenant. For operators: no request can.
    pub async fn create_tenant(&self, slug: Slug) -> Result<Tenant, Error> {
        let tenant = Tenant {
            id: TenantId::new(self.ids.uuid()),
            slug,
            status: TenantStatus::Active,
            strict_audit: false,
            created_at: self.clock.now(),
        };
        match self.store.create_tenant(&tenant).await {
            Ok(()) => Ok(tenant),
            Err(StoreError::Conflict(_)) => Err(Error::Conflict {
                what: format!("a tenant called {} already exists", tenant.slug),
                hint: "choose another slug, or create a key for the existing one with `patchbay key create`"
                    .into(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// The tenant of a slug. For operators.
    pub async fn get_tenant(&self, slug: &Slug) -> Result<Tenant, Error> {
        self.store.find_tenant(slug).await?.ok_or_else(|| Error::not_found(format!("the tenant {slug}")))
    }

    /// What an operator acts as, for one tenant.
    pub fn operator(&self, tenant: TenantId) -> Ctx {
        Ctx::system(tenant, "operator", RequestId::new(self.ids.uuid()))
    }

    /// Finds out who presents `token`. All ways of being wrong look alike but for the malformed, which needs no lookup;
    /// what is said about the tenant or the owner is said to a holder of the key only.
    pub async fn authenticate(&self, token: &str, request_id: RequestId) -> Result<Caller, Error> {
        let presented =
            ApiKey::parse(token).map_err(|_| Error::Unauthenticated("the API key is malformed"))?;
        let known = self.store.find_key(presented.public_id()).await?;
        let mac = self.vault.mac(MacPurpose::ApiKey, presented.secret());
        let Some(known) = known.filter(|known| same(&known.mac, &mac)) else {
            return Err(Error::Unauthenticated(UNKNOWN));
        };
        let kind = known.kind;
        let (expires_at, tenant_slug) = (known.expires_at, known.tenant.slug.clone());
        let ctx = self.admitted(known, request_id)?;
        Ok(Caller { ctx, tenant_slug, key: Some(PresentedKey { kind, expires_at }), role: None })
    }

    /// What the holder of a key may do by now, for what was made on its behalf and is followed without it, such as a link.
    /// [`Error::Unauthenticated`] as soon as the key itself would be refused.
    pub async fn again(&self, tenant: TenantId, key: KeyId, request_id: RequestId) -> Result<Ctx, Error> {
        let known = self.store.find_key_of(tenant, key).await?;
        self.admitted(known.ok_or(Error::Unauthenticated(UNKNOWN))?, request_id)
    }

    /// On whose behalf a key is used, if it may be used now.
    fn admitted(&self, known: KnownKey, request_id: RequestId) -> Result<Ctx, Error> {
        let now = self.clock.now();
        if known.expires_at.is_some_and(|expires| expires <= now) {
            return Err(Error::Unauthenticated(UNKNOWN));
        }
        match known.tenant.status {
            TenantStatus::Active => {}
            TenantStatus::Suspended => return Err(Error::Unauthenticated(SUSPENDED)),
            TenantStatus::Deleting => return Err(Error::Unauthenticated(UNKNOWN)),
        }
        let scopes = match known.owner {
            None => known.scopes,
            Some(KeyOwner { role: None, .. }) => return Err(Error::Unauthenticated(UNKNOWN)),
            // A role may have shrunk since the key was made.
            Some(KeyOwner { role: Some(role), .. }) => {
                known.scopes.both(&role.scopes()).ok_or(Error::Unauthenticated(
                    "the role of the key's owner no longer allows anything that the key is for",
                ))?
            }
        };
        self.store.note_use(known.tenant.id, known.id, now);
        let mut ctx =
            Ctx::new(known.tenant.id, Principal::Key { id: known.id, name: known.name }, scopes, request_id);
        ctx.grant = known.grant;
        ctx.strict_audit = known.tenant.strict_audit;
        Ok(ctx)
    }
}

impl std::fmt::Debug for AccessService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessService")
    }
}

/// Compares without telling by its duration where the first difference is.
pub(crate) fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0u8, |acc, (x, y)| acc | (x ^ y))) == 0
}
