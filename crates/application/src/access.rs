//! Tenants, keys, and who a caller is.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::api_key::{ApiKey, RANDOM_BYTES};
use domain::{
    Grant, KeyId, KeyKind, Principal, RequestId, Scope, Scopes, Slug, Tenant, TenantId, TenantStatus,
};
use secrecy::SecretString;

use crate::ports::{AccessStore, Clock, Ids, KnownKey, MacPurpose, NewKey, StoreError, Vault};
use crate::{Ctx, Error};

/// A key just made. The only moment its text can be shown.
#[derive(Debug)]
pub struct CreatedKey {
    /// Its id.
    pub id: KeyId,
    /// The key itself.
    pub key: SecretString,
}

/// Who a caller is.
#[derive(Debug, Clone)]
pub struct Caller {
    /// On whose behalf requests are served.
    pub ctx: Ctx,
    /// The tenant's short name.
    pub tenant_slug: Slug,
}

/// Use cases around tenants and keys.
pub struct AccessService {
    store: Arc<dyn AccessStore>,
    vault: Arc<dyn Vault>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    /// The `<env>` part of new keys.
    key_env: String,
}

impl AccessService {
    /// Puts the service together. `key_env` is a short lower-case word that new keys carry, such as `live`.
    pub fn new(
        store: Arc<dyn AccessStore>,
        vault: Arc<dyn Vault>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        key_env: impl Into<String>,
    ) -> Self {
        Self { store, vault, clock, ids, key_env: key_env.into() }
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

    /// Makes a key. A principal can only hand out scopes it holds itself.
    pub async fn create_key(
        &self,
        ctx: &Ctx,
        name: &str,
        kind: KeyKind,
        scopes: Scopes,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<CreatedKey, Error> {
        ctx.require(Scope::KeysWrite)?;
        domain::instance::check_name(name)?;
        if let Some(needed) = scopes.iter().find(|&scope| !ctx.scopes.allow(scope)) {
            return Err(Error::Forbidden { needed });
        }
        let mut random = [0u8; RANDOM_BYTES];
        self.ids.fill(&mut random);
        let key = ApiKey::generate(&self.key_env, &random);
        let id = KeyId::new(self.ids.uuid());
        let new = NewKey {
            id,
            public_id: key.public_id().to_owned(),
            mac: self.vault.mac(MacPurpose::ApiKey, key.secret()),
            name: name.trim().to_owned(),
            kind,
            scopes,
            grant: Grant::default(),
            expires_at,
        };
        self.store.insert_key(ctx, &new).await?;
        Ok(CreatedKey { id, key: key.reveal() })
    }

    /// Finds out who presents `token`. All ways of being wrong look alike but for the malformed, which needs no lookup.
    pub async fn authenticate(&self, token: &str, request_id: RequestId) -> Result<Caller, Error> {
        const UNKNOWN: &str = "the API key is unknown, expired or revoked";
        let presented =
            ApiKey::parse(token).map_err(|_| Error::Unauthenticated("the API key is malformed"))?;
        let known = self.store.find_key(presented.public_id()).await?;
        let mac = self.vault.mac(MacPurpose::ApiKey, presented.secret());
        let Some(known) = known.filter(|known| same(&known.mac, &mac)) else {
            return Err(Error::Unauthenticated(UNKNOWN));
        };
        if known.expires_at.is_some_and(|expires| expires <= self.clock.now()) {
            return Err(Error::Unauthenticated(UNKNOWN));
        }
        let KnownKey { tenant, id, name, scopes, grant, .. } = known;
        let mut ctx = Ctx::new(tenant.id, Principal::Key { id, name }, scopes, request_id);
        ctx.grant = grant;
        ctx.strict_audit = tenant.strict_audit;
        Ok(Caller { ctx, tenant_slug: tenant.slug })
    }
}

impl std::fmt::Debug for AccessService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessService")
    }
}

/// Compares without telling by its duration where the first difference is.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0u8, |acc, (x, y)| acc | (x ^ y))) == 0
}
