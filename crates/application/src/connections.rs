//! Opens connections to trackers: the credential out of the vault, renewed when its access token has run out, and the
//! instance's mappings.
//!
//! Many servers give a new refresh token with every renewal and void the old one, so a renewal must happen once for
//! everybody and its answer must not get lost. It is done under a lock on the stored credential, by a task that ends
//! even when whoever asked for it has gone.

mod gates;
mod renewal;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::TimeDelta;
use domain::{Credential, Instance, InstanceId};
use secrecy::ExposeSecret;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, warn};

use self::gates::Gates;
use self::renewal::{Attempt, Attempted};
use crate::ports::{
    Clock, Connection, InstanceStore, MappingStore, Sealed, SecretRef, SourceError, SourceErrorKind, Sources,
    StoreError, StoredCredential, Vault,
};
use crate::{Ctx, Error};

/// An access token that ends within this time is renewed before it is used: as long as the longest page takes.
const RENEW_AHEAD: TimeDelta = TimeDelta::minutes(2);
/// How long to wait before asking again after a renewal whose answer is not known.
pub(crate) const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Opens connections and keeps their credentials fresh. Cheap to clone.
#[derive(Clone)]
pub struct Connections {
    store: Arc<dyn InstanceStore>,
    vault: Arc<dyn Vault>,
    sources: Sources,
    mappings: Arc<dyn MappingStore>,
    clock: Arc<dyn Clock>,
    gates: Arc<Gates>,
    tasks: TaskTracker,
}

/// A connection in use. Its credential may be renewed meanwhile, once.
pub struct LiveConnection {
    current: RwLock<Arc<Connection>>,
    /// Whether it was, held while it is.
    renewed: tokio::sync::Mutex<bool>,
}

impl LiveConnection {
    /// The connection as it is now.
    pub fn current(&self) -> Arc<Connection> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests were counted since the last [`Self::take_requests`], over all credentials it had.
    pub fn requests(&self) -> i64 {
        self.current().requests()
    }

    /// How many requests were counted since the last call.
    pub fn take_requests(&self) -> i64 {
        self.current().take_requests()
    }

    /// Whether its credential was renewed, or should have been.
    pub(crate) fn was_renewed(&self) -> bool {
        // Held only while it is renewed.
        self.renewed.try_lock().map_or(true, |renewed| *renewed)
    }

    fn replace(&self, connection: Connection) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        connection.requests.fetch_add(current.take_requests(), Ordering::Relaxed);
        *current = Arc::new(connection);
    }
}

impl From<Connection> for LiveConnection {
    fn from(connection: Connection) -> Self {
        Self { current: RwLock::new(Arc::new(connection)), renewed: tokio::sync::Mutex::new(false) }
    }
}

impl std::fmt::Debug for LiveConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveConnection").field("renewed", &self.renewed).finish_non_exhaustive()
    }
}

impl Connections {
    /// Puts the service together.
    pub fn new(
        store: Arc<dyn InstanceStore>,
        vault: Arc<dyn Vault>,
        sources: Sources,
        mappings: Arc<dyn MappingStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, vault, sources, mappings, clock, gates: Arc::default(), tasks: TaskTracker::new() }
    }

    /// Encrypts a credential for an instance.
    pub async fn seal(&self, ctx: &Ctx, id: InstanceId, credential: &Credential) -> Result<Sealed, Error> {
        Ok(self.vault.seal(ctx, SecretRef::InstanceCredential(id), &credential.to_plaintext()).await?)
    }

    /// Opens an instance's connection, with an access token that lasts for a while.
    pub async fn open(&self, ctx: &Ctx, instance: &Instance) -> Result<Connection, Error> {
        let stored = self.stored(ctx, instance).await?;
        self.open_with(ctx, instance, &stored).await
    }

    /// As [`Self::open`], with a credential that was read already.
    pub async fn open_with(
        &self,
        ctx: &Ctx,
        instance: &Instance,
        stored: &StoredCredential,
    ) -> Result<Connection, Error> {
        let mut credential = unseal(self.vault.as_ref(), ctx, instance, stored).await?;
        if let Credential::OAuth(grant) = &credential
            && grant.refresh_token.is_some()
            && grant.expires_within(self.clock.now(), RENEW_AHEAD)
        {
            let over = grant.expires_within(self.clock.now(), TimeDelta::zero());
            match self.renew(ctx, instance, stored.version).await? {
                Attempted::Fresh(renewed) => credential = renewed,
                Attempted::Failed(error) if over || !error.kind.is_transient() => return Err(error.into()),
                // It lasts for a moment yet, and the next opening asks again.
                Attempted::Failed(error) => {
                    warn!(instance.id = %instance.id, %error, "A credential could not be renewed ahead of its end");
                }
            }
        }
        self.connection(ctx, instance, credential).await
    }

    /// As [`Self::open_with`], for work that asks the tracker nothing: no access token is renewed for it.
    pub async fn open_idle(
        &self,
        ctx: &Ctx,
        instance: &Instance,
        stored: &StoredCredential,
    ) -> Result<Connection, Error> {
        let credential = unseal(self.vault.as_ref(), ctx, instance, stored).await?;
        self.connection(ctx, instance, credential).await
    }

    /// A connection with a new access token, after the tracker refused the one in use. `None` when this kind of
    /// credential has none to renew. Somebody may have renewed it already: then nothing is sent.
    pub async fn renewed(
        &self,
        ctx: &Ctx,
        instance: &Instance,
        refused: &Connection,
    ) -> Result<Option<Connection>, Error> {
        if !renewable(&refused.credential) {
            return Ok(None);
        }
        let stored = self.stored(ctx, instance).await?;
        let credential = unseal(self.vault.as_ref(), ctx, instance, &stored).await?;
        let credential = if access_token(&credential) != access_token(&refused.credential) {
            credential
        } else {
            match self.renew(ctx, instance, stored.version).await? {
                Attempted::Fresh(renewed) => renewed,
                Attempted::Failed(error) => return Err(error.into()),
            }
        };
        self.connection(ctx, instance, credential).await.map(Some)
    }

    /// Calls the tracker. When it refuses the access token, renews that, once per connection, and calls once more.
    pub async fn call<T, F>(
        &self,
        ctx: &Ctx,
        instance: &Instance,
        live: &LiveConnection,
        mut call: impl FnMut(Arc<Connection>) -> F,
    ) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        let connection = live.current();
        let refused = match call(connection.clone()).await {
            Err(error) if self.blames_the_token(&error, &connection.credential) => error,
            other => return other,
        };
        // Of several calls at once one renews; the others failed with the same token and are repeated too.
        let mut renewed = live.renewed.lock().await;
        let current = live.current();
        if access_token(&current.credential) != access_token(&connection.credential) {
            drop(renewed);
            return call(current).await;
        }
        if std::mem::replace(&mut *renewed, true) {
            return Err(refused);
        }
        match self.renewed(ctx, instance, &connection).await {
            Ok(Some(connection)) => live.replace(connection),
            Ok(None) => return Err(refused),
            Err(Error::Source(error)) => return Err(error),
            Err(error) => {
                warn!(instance.id = %instance.id, %error, "A refused credential could not be renewed");
                return Err(SourceError::new(
                    SourceErrorKind::Unavailable,
                    "the access token was refused, and the database did not let it be renewed",
                ));
            }
        }
        drop(renewed);
        call(live.current()).await
    }

    /// Waits for renewals that are under way: a process that ended before would lose their answers.
    pub async fn settled(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Jira's gateway may answer 403 or 404 to an expired token, so these are not believed once its time is over, or
    /// where that is not known.
    fn blames_the_token(&self, error: &SourceError, credential: &Credential) -> bool {
        let Credential::OAuth(grant) = credential else { return false };
        let may_be_over = grant.expires_at.is_none_or(|at| at <= self.clock.now());
        grant.refresh_token.is_some()
            && match error.kind {
                SourceErrorKind::Unauthorized => true,
                SourceErrorKind::Forbidden | SourceErrorKind::NotFound => may_be_over,
                _ => false,
            }
    }

    /// Renews the credential unless it is not of version `seen` any more.
    async fn renew(&self, ctx: &Ctx, instance: &Instance, seen: i64) -> Result<Attempted, Error> {
        let adapter = self.sources.get(&instance.source).cloned().ok_or_else(|| Error::Conflict {
            what: format!("this installation has no adapter for {}", instance.source),
            hint: "upgrade Patchbay, or delete the instance".into(),
        })?;
        let attempt = Attempt::new(ctx.detached(), self.vault.clone(), adapter, instance.clone(), seen);
        let (store, gates, id) = (self.store.clone(), self.gates.clone(), instance.id);
        let task = self.tasks.spawn(
            async move {
                // Whoever waits for the lock in the database keeps one of its connections busy.
                let _turn = gates.turn(id).await;
                store.renew_credential(attempt.ctx(), id, &attempt).await?;
                attempt.outcome().await
            }
            .in_current_span(),
        );
        task.await.map_err(|error| Error::Internal(StoreError::Internal(Box::new(error))))?
    }

    async fn stored(&self, ctx: &Ctx, instance: &Instance) -> Result<StoredCredential, Error> {
        let stored = self.store.credential(ctx, instance.id).await?;
        stored.ok_or_else(|| Error::not_found(format!("the instance {}", instance.id)))
    }

    async fn connection(
        &self,
        ctx: &Ctx,
        instance: &Instance,
        credential: Credential,
    ) -> Result<Connection, Error> {
        Ok(Connection {
            instance: instance.id,
            base_url: instance.base_url.clone(),
            credential,
            settings: instance.settings.clone(),
            mappings: Arc::new(self.mappings.find(ctx, instance.id).await?),
            requests: AtomicI64::new(0),
        })
    }
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connections")
    }
}

/// Opens a stored credential.
async fn unseal(
    vault: &dyn Vault,
    ctx: &Ctx,
    instance: &Instance,
    stored: &StoredCredential,
) -> Result<Credential, Error> {
    let plaintext = vault.open(ctx, SecretRef::InstanceCredential(instance.id), &stored.sealed).await?;
    Credential::from_plaintext(&plaintext).ok_or_else(|| {
        Error::Internal(StoreError::Internal("a stored credential has an unknown form".into()))
    })
}

fn renewable(credential: &Credential) -> bool {
    matches!(credential, Credential::OAuth(grant) if grant.refresh_token.is_some())
}

fn access_token(credential: &Credential) -> Option<&str> {
    match credential {
        Credential::OAuth(grant) => Some(grant.access_token.expose_secret()),
        _ => None,
    }
}
