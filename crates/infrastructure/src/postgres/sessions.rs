//! Signed-in browsers, and sign-ins under way.

use std::time::{Duration, Instant};

use application::Ctx;
use application::ports::{KnownSession, NewSession, SessionStore, SignInState, StoreError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{AuditAction, AuditEntry, RequestId, SessionId, TenantId, UserId};
use moka::Expiry;
use moka::future::Cache;
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::AuditChain;
use super::db::{Db, shared_error, store_error};

/// An ended session works no longer than this on other replicas; here it ends at once.
const KNOWN_FOR: Duration = Duration::from_secs(4);
/// Spares the database a flood of one wrong cookie.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
const MOST_KEPT: u64 = 20_000;
/// Use is written down this often, in seconds, so that reading does not write at every request.
const TOUCH_EVERY: f64 = 60.0;
/// A person's oldest sessions end when there are more in a tenant.
const MOST_SESSIONS: i64 = 20;
/// How many sign-ins that are over each new one clears away.
const SWEEP: i64 = 100;

const CREATE: AuditAction = AuditAction::new("session.create");
const END: AuditAction = AuditAction::new("session.end");

type Mac = [u8; 32];

/// [`SessionStore`] over PostgreSQL.
#[derive(Clone)]
pub struct PgSessions {
    db: Db,
    audit: AuditChain,
    known: Cache<Mac, Option<Found>>,
}

impl std::fmt::Debug for PgSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PgSessions")
    }
}

struct Lifetime;

impl Expiry<Mac, Option<Found>> for Lifetime {
    fn expire_after_create(&self, _: &Mac, found: &Option<Found>, _: Instant) -> Option<Duration> {
        Some(if found.is_some() { KNOWN_FOR } else { UNKNOWN_FOR })
    }
}

#[derive(Debug, Clone, sqlx::FromRow)]
struct Found {
    tenant_id: Uuid,
    session_id: Uuid,
    user_id: Uuid,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    idle_s: f64,
}

#[derive(sqlx::FromRow)]
struct StateRow {
    browser_mac: Vec<u8>,
    issuer: String,
    nonce: String,
    pkce_verifier: String,
    invitation_mac: Option<Vec<u8>>,
    tenant_slug: Option<String>,
    return_to: String,
    expires_at: DateTime<Utc>,
}

impl PgSessions {
    /// Uses these connections.
    pub fn new(db: Db, audit: AuditChain) -> Self {
        let known = Cache::builder().max_capacity(MOST_KEPT).expire_after(Lifetime).build();
        Self { db, audit, known }
    }

    async fn read(&self, mac: &Mac, idle: Duration) -> Result<Option<Found>, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let found: Option<Found> = sqlx::query_as("select * from public.find_session($1)")
            .bind(mac.as_slice())
            .fetch_optional(&mut *tx)
            .await
            .map_err(store_error)?;
        drop(tx);
        let Some(found) = found.filter(|found| found.idle_s <= idle.as_secs_f64()) else { return Ok(None) };
        if found.idle_s >= TOUCH_EVERY {
            self.touch(&found).await?;
        }
        Ok(Some(found))
    }

    async fn touch(&self, found: &Found) -> Result<(), StoreError> {
        let tenant = TenantId::new(found.tenant_id);
        let ctx = Ctx::system(tenant, "sessions", RequestId::new(found.session_id));
        let mut tx = self.db.tenant_tx(&ctx).await?;
        sqlx::query(
            "update sessions set last_used_at = now() where tenant_id = $1 and id = $2 and revoked_at is null",
        )
        .bind(found.tenant_id)
        .bind(found.session_id)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)
    }
}

#[async_trait]
impl SessionStore for PgSessions {
    async fn begin(&self, state: &SignInState) -> Result<(), StoreError> {
        let mut tx = self.db.system_tx().await?;
        sqlx::query(
            "delete from sign_in_states where mac = any(array(
                 select mac from sign_in_states where expires_at < now() order by expires_at limit $1))",
        )
        .bind(SWEEP)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        sqlx::query(
            "insert into sign_in_states (mac, browser_mac, issuer, nonce, pkce_verifier, invitation_mac, tenant_slug,
                 return_to, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(state.mac.as_slice())
        .bind(state.browser_mac.as_slice())
        .bind(&state.issuer)
        .bind(&state.nonce)
        .bind(state.pkce_verifier.expose_secret())
        .bind(state.invitation_mac.as_ref().map(<[u8; 32]>::as_slice))
        .bind(&state.tenant_slug)
        .bind(&state.return_to)
        .bind(state.expires_at)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        tx.commit().await.map_err(store_error)
    }

    async fn take(&self, mac: &Mac) -> Result<Option<SignInState>, StoreError> {
        let mut tx = self.db.system_tx().await?;
        let row: Option<StateRow> = sqlx::query_as(
            "delete from sign_in_states where mac = $1
             returning browser_mac, issuer, nonce, pkce_verifier, invitation_mac, tenant_slug, return_to, expires_at",
        )
        .bind(mac.as_slice())
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        // Taken for good before anything else happens with it.
        tx.commit().await.map_err(store_error)?;
        row.map(|row| {
            Ok(SignInState {
                mac: *mac,
                browser_mac: row.browser_mac.as_slice().try_into()?,
                issuer: row.issuer,
                nonce: row.nonce,
                pkce_verifier: row.pkce_verifier.into(),
                invitation_mac: row.invitation_mac.map(|mac| mac.as_slice().try_into()).transpose()?,
                tenant_slug: row.tenant_slug,
                return_to: row.return_to,
                expires_at: row.expires_at,
            })
        })
        .transpose()
        .map_err(|error: std::array::TryFromSliceError| StoreError::Internal(Box::new(error)))
    }

    async fn insert(&self, ctx: &Ctx, session: &NewSession) -> Result<(), StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        sqlx::query(
            "delete from sessions where tenant_id = $1 and user_id = $2
             and (expires_at < now() or revoked_at < now() - interval '1 day')",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(session.user.as_uuid())
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        sqlx::query(
            "update sessions set revoked_at = now() where tenant_id = $1 and id in (
                 select id from sessions where tenant_id = $1 and user_id = $2 and revoked_at is null
                 order by last_used_at desc offset $3)",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(session.user.as_uuid())
        .bind(MOST_SESSIONS - 1)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        sqlx::query(
            "insert into sessions (tenant_id, id, user_id, mac, client, address, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(session.id.as_uuid())
        .bind(session.user.as_uuid())
        .bind(session.mac.as_slice())
        .bind(&ctx.origin.client)
        .bind(ctx.origin.address.map(|address| address.to_string()))
        .bind(session.created_at)
        .bind(session.expires_at)
        .execute(&mut *tx)
        .await
        .map_err(store_error)?;
        let entry = AuditEntry::ok(CREATE).to("session", session.id);
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)
    }

    async fn find(&self, mac: &Mac, idle: Duration) -> Result<Option<KnownSession>, StoreError> {
        // Of many requests with one cookie, one asks the database.
        let read = async { Box::pin(self.read(mac, idle)).await };
        let found = self.known.try_get_with(*mac, read).await.map_err(shared_error)?;
        Ok(found.map(|found| KnownSession {
            id: SessionId::new(found.session_id),
            tenant: TenantId::new(found.tenant_id),
            user: UserId::new(found.user_id),
            created_at: found.created_at,
            expires_at: found.expires_at,
        }))
    }

    async fn revoke(&self, ctx: &Ctx, session: &KnownSession) -> Result<(), StoreError> {
        let mut tx = self.db.tenant_tx(ctx).await?;
        let ended: Option<Vec<u8>> = sqlx::query_scalar(
            "update sessions set revoked_at = now() where tenant_id = $1 and id = $2 and revoked_at is null
             returning mac",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(session.id.as_uuid())
        .fetch_optional(&mut *tx)
        .await
        .map_err(store_error)?;
        let Some(mac) = ended else { return Ok(()) };
        let entry = AuditEntry::ok(END).to("session", session.id);
        self.audit.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)?;
        if let Ok(mac) = Mac::try_from(mac.as_slice()) {
            self.known.invalidate(&mac).await;
        }
        Ok(())
    }
}
