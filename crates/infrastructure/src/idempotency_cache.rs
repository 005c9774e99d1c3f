//! Redis in front of the idempotency keys: repetitions and requests under way are answered without PostgreSQL.
//!
//! It decides nothing. A claim is made in PostgreSQL only, and an answer counts only if it opens under the tenant's key;
//! whatever is missing, late or wrong here is looked up there. A marker of a request under way lives for two seconds, so
//! that one whose holder died delays nobody noticeably.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use application::Ctx;
use application::ctx::UnitOfWork;
use application::ports::{
    Claimed, IdempotencyKey, IdempotencyStore, Sealed, SecretRef, StoreError, StoredAnswer, Vault,
};
use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{FromRedisValue, RedisError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::limiter::{RedisAddress, RedisProblem};
use crate::postgres::answer_place;

/// How long a request counts as under way without a look into PostgreSQL.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// How long an answer is at hand here; PostgreSQL keeps it far longer.
const AT_HAND: Duration = Duration::from_secs(10 * 60);
/// The largest answer that is.
const MOST_BYTES: usize = 64 * 1024;
/// When to ask again for the answer of a request under way.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long Redis is not asked after it failed.
const REST: Duration = Duration::from_secs(1);
/// What a sealed answer begins with, so that nothing else sealed for the same place is taken for one.
const ANSWER: &[u8] = b"patchbay idempotent answer v1\n";

/// Which Redis, and how it is used.
#[derive(Debug, Clone)]
pub struct CacheSettings {
    /// Where it is.
    pub address: RedisAddress,
    /// The first part of every key's name, so that installations can share a server.
    pub prefix: String,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// An [`IdempotencyStore`] with Redis in front.
pub struct CachedIdempotency<S> {
    store: S,
    vault: Arc<dyn Vault>,
    redis: ConnectionManager,
    prefix: String,
    timeout: Duration,
    begun: Instant,
    /// Until when Redis is left alone, in milliseconds since `begun`.
    resting_until: AtomicU64,
}

/// An answer as it is sealed.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    fingerprint: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl<S: IdempotencyStore> CachedIdempotency<S> {
    /// Puts this Redis before `store`. Connects when it is first needed.
    pub fn new(store: S, vault: Arc<dyn Vault>, settings: CacheSettings) -> Result<Self, RedisProblem> {
        let CacheSettings { address, prefix, timeout } = settings;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        let redis = ConnectionManager::new_lazy_with_config(address.client(), config)
            .map_err(|_| RedisProblem::Address)?;
        Ok(Self {
            store,
            vault,
            redis,
            prefix,
            timeout,
            begun: Instant::now(),
            resting_until: AtomicU64::new(0),
        })
    }

    /// What is at hand about the key; `None` where PostgreSQL must be asked.
    async fn at_hand(&self, ctx: &Ctx, key: &IdempotencyKey) -> Option<Claimed> {
        let name = self.name(ctx, key);
        let found: Vec<u8> = self.ask(redis::cmd("GET").arg(name)).await.ok().flatten()?;
        match found.split_first()? {
            (b'f', fingerprint) if fingerprint == key.fingerprint => {
                Some(Claimed::InFlight { retry_after: ASK_AGAIN })
            }
            (b'd', sealed) => {
                let opened =
                    self.vault.open(ctx, answer_place(ctx, key), &Sealed(sealed.to_vec())).await.ok()?;
                let kept: Kept = serde_json::from_slice(opened.strip_prefix(ANSWER)?).ok()?;
                // What was another request's is told apart by PostgreSQL.
                (kept.fingerprint == hex::encode(key.fingerprint)).then_some(())?;
                let body = BASE64_STANDARD.decode(kept.body).ok()?;
                Some(Claimed::Done(StoredAnswer { status: kept.status, headers: kept.headers, body }))
            }
            _ => None,
        }
    }

    async fn note_under_way(&self, ctx: &Ctx, key: &IdempotencyKey) {
        let mut value = vec![b'f'];
        value.extend_from_slice(&key.fingerprint);
        self.put(ctx, key, value, UNDER_WAY).await;
    }

    async fn note_answer(&self, ctx: &Ctx, key: &IdempotencyKey, answer: &StoredAnswer) {
        if answer.body.len() > MOST_BYTES || self.rests() {
            return;
        }
        let kept = Kept {
            fingerprint: hex::encode(key.fingerprint),
            status: answer.status,
            headers: answer.headers.clone(),
            body: BASE64_STANDARD.encode(&answer.body),
        };
        let Ok(json) = serde_json::to_vec(&kept) else { return };
        let plain = zeroize::Zeroizing::new([ANSWER, &json].concat());
        let place: SecretRef = answer_place(ctx, key);
        if let Ok(sealed) = self.vault.seal(&ctx.detached(), place, &plain).await {
            let mut value = vec![b'd'];
            value.extend_from_slice(&sealed.0);
            self.put(ctx, key, value, AT_HAND).await;
        }
    }

    async fn put(&self, ctx: &Ctx, key: &IdempotencyKey, value: Vec<u8>, ttl: Duration) {
        let name = self.name(ctx, key);
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let _: Result<(), _> = self.ask(redis::cmd("SET").arg(name).arg(value).arg("PX").arg(ttl)).await;
    }

    /// One command. Failures are the business of nobody: Redis is left alone for a moment, and PostgreSQL asked.
    async fn ask<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, Option<RedisError>> {
        if self.rests() {
            return Err(None);
        }
        let mut connection = self.redis.clone();
        match tokio::time::timeout(self.timeout, command.query_async(&mut connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            failed => {
                let rest = self.begun.elapsed() + REST;
                self.resting_until
                    .store(u64::try_from(rest.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
                tracing::debug!("Redis did not serve an idempotency key; PostgreSQL does");
                Err(failed.ok().and_then(Result::err))
            }
        }
    }

    fn rests(&self) -> bool {
        self.begun.elapsed().as_millis() < u128::from(self.resting_until.load(Ordering::Relaxed))
    }

    /// Says nothing of tenant, caller or key.
    fn name(&self, ctx: &Ctx, key: &IdempotencyKey) -> String {
        let SecretRef::IdempotentAnswer(row) = answer_place(ctx, key) else { return String::new() };
        let digest = Sha256::new().chain_update(ctx.tenant.as_uuid().as_bytes()).chain_update(row).finalize();
        format!("{}:once:{}", self.prefix, hex::encode(digest))
    }
}

#[async_trait]
impl<S: IdempotencyStore> IdempotencyStore for CachedIdempotency<S> {
    async fn claim(&self, ctx: &Ctx, key: &IdempotencyKey) -> Result<Claimed, StoreError> {
        if let Some(at_hand) = self.at_hand(ctx, key).await {
            return Ok(at_hand);
        }
        let claimed = self.store.claim(ctx, key).await?;
        if matches!(claimed, Claimed::Fresh(_)) {
            self.note_under_way(ctx, key).await;
        }
        Ok(claimed)
    }

    async fn finish(
        &self,
        ctx: &Ctx,
        key: &IdempotencyKey,
        unit: &Arc<dyn UnitOfWork>,
        answer: &StoredAnswer,
    ) -> Result<(), StoreError> {
        self.store.finish(ctx, key, unit, answer).await?;
        self.note_answer(ctx, key, answer).await;
        Ok(())
    }

    async fn release(
        &self,
        ctx: &Ctx,
        key: &IdempotencyKey,
        unit: &Arc<dyn UnitOfWork>,
    ) -> Result<(), StoreError> {
        self.store.release(ctx, key, unit).await?;
        let name = self.name(ctx, key);
        let _: Result<(), _> = self.ask(redis::cmd("DEL").arg(name)).await;
        Ok(())
    }
}

impl<S> fmt::Debug for CachedIdempotency<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CachedIdempotency")
    }
}
