//! Setting webhooks up at the tracker, looking after them, and taking them away.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Instance, InstanceId, Scope, WebhookState};
use secrecy::{ExposeSecret, SecretString};
use tracing::{Instrument, info, warn};
use url::Url;

use super::intake::digest;
use super::{WebhookSecrets, WebhookService, require_whole, webhooks_of};
use crate::ports::{
    Connection, Registration, SecretRef, SourceError, SourceErrorKind, SourceWebhooks, StoreError,
    StoredWebhook, UpstreamUse,
};
use crate::{Ctx, Error};

/// How long the tracker may take for telling its secret.
const HANDSHAKE: Duration = Duration::from_secs(10 * 60);
/// How often webhooks without an end are looked after.
const LOOK_AFTER: TimeDelta = TimeDelta::hours(24);
/// After a failure.
const LOOK_AGAIN: TimeDelta = TimeDelta::hours(1);
/// How long one process has for looking after one.
const LEASE: Duration = Duration::from_secs(10 * 60);
/// How long a tracker may take for all of a registration: one with a webhook for each project takes a while.
const CALL_DEADLINE: Duration = Duration::from_secs(5 * 60);
/// How long whoever asked for it waits.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Secrets that hold when an admin sets it up: the new one, and the one before it until the tracker is told.
const SECRETS_BY_HAND: usize = 2;

/// How an instance's webhooks stand.
#[derive(Debug, Clone)]
pub struct WebhookStatus {
    /// Where they stand; `None` when none are set up.
    pub state: Option<WebhookState>,
    /// Whether the product sets them up at the tracker. Otherwise an admin does, by the steps.
    pub managed: bool,
    /// Where the tracker sends deliveries; only for who may set them up.
    pub url: Option<SecretString>,
    /// What deliveries are signed with: told once, to who is to enter it at the tracker.
    pub secret: Option<SecretString>,
    /// What an admin does at the tracker.
    pub steps: Vec<String>,
    /// When the tracker lets them lapse; they are renewed long before.
    pub expires_at: Option<DateTime<Utc>>,
    /// What is wrong.
    pub problem: Option<String>,
    /// When they were set up.
    pub created_at: Option<DateTime<Utc>>,
    /// When the last delivery came.
    pub last_delivery_at: Option<DateTime<Utc>>,
}

/// What setting webhooks up at a tracker takes.
struct SettingUp {
    ctx: Ctx,
    instance: Instance,
    connection: Connection,
    target: Url,
    secret: SecretString,
    previous: Option<Registration>,
    digest: [u8; 32],
}

impl WebhookService {
    /// How an instance's webhooks stand.
    pub async fn status(&self, ctx: &Ctx, id: InstanceId) -> Result<WebhookStatus, Error> {
        ctx.require(Scope::InstancesRead)?;
        require_whole(ctx)?;
        let instance = self.instance(ctx, id).await?;
        let webhooks = webhooks_of(self.adapter(&instance)?.as_ref())?;
        match self.parts.store.find(ctx, id).await? {
            Some(stored) => self.describe(ctx, &instance, webhooks, stored, None).await,
            None => Ok(WebhookStatus {
                state: None,
                managed: false,
                url: None,
                secret: None,
                steps: Vec::new(),
                expires_at: None,
                problem: self.target_base().err().map(|error| error.to_string()),
                created_at: None,
                last_delivery_at: None,
            }),
        }
    }

    /// Sets them up: at the tracker where that lets the product do it, otherwise by telling an admin what to do. Safe to
    /// repeat; with a new secret each time, while the one before it holds too.
    pub async fn register(&self, ctx: &Ctx, id: InstanceId) -> Result<WebhookStatus, Error> {
        ctx.require(Scope::InstancesWrite)?;
        require_whole(ctx)?;
        let instance = self.instance(ctx, id).await?;
        let webhooks = webhooks_of(self.adapter(&instance)?.as_ref())?;
        let base = self.target_base()?;
        let connection = self.parts.connections.open(ctx, &instance).await?;
        let managed = webhooks.registers(&connection.credential);
        let before = self.parts.store.find(ctx, id).await?;
        let mut secrets = match &before {
            Some(stored) => self.unseal(ctx, id, stored).await?,
            None => WebhookSecrets { token: self.random(), secrets: Vec::new() },
        };
        let secret = webhooks.given_secret(&connection.credential).unwrap_or_else(|| self.random());
        secrets.add(secret.clone(), if managed { WebhookSecrets::MOST } else { SECRETS_BY_HAND });
        let place = SecretRef::Webhook(id);
        let sealed = self.parts.vault.seal(ctx, place, &secrets.to_plaintext()).await?;
        let (digest, handshake) = (digest(&secrets.token), managed.then_some(HANDSHAKE));
        self.parts.store.prepare(ctx, id, &digest, &sealed, managed, handshake).await?;
        self.known.forget(&digest);
        if managed {
            let previous = before.map(|stored| stored.registration).filter(|known| !known.remote.is_null());
            let setting_up = SettingUp {
                // It goes on when whoever asked has gone: half set up is worse.
                ctx: ctx.detached(),
                target: target(&base, &instance, &secrets.token),
                instance: instance.clone(),
                connection,
                secret: secret.clone(),
                previous,
                digest,
            };
            let service = self.clone();
            let task = tokio::spawn(async move { service.set_up(setting_up).await }.in_current_span());
            match tokio::time::timeout(LONGEST_WAIT, task).await {
                Ok(done) => {
                    done.map_err(|error| Error::Internal(StoreError::Internal(Box::new(error))))??;
                }
                Err(_) => info!(instance.id = %id, "Setting up webhooks takes long and goes on"),
            }
        }
        let stored = self.parts.store.find(ctx, id).await?.ok_or_else(|| not_set_up(id))?;
        let told = (!managed).then_some(secret);
        self.describe(ctx, &instance, webhooks, stored, told).await
    }

    async fn set_up(&self, what: SettingUp) -> Result<(), Error> {
        let SettingUp { ctx, instance, connection, target, secret, previous, digest } = what;
        let webhooks = webhooks_of(self.adapter(&instance)?.as_ref())?;
        let call = webhooks.register(&connection, &target, &secret, previous.as_ref());
        let registered = self.call(&instance, &connection, CALL_DEADLINE, call).await;
        self.known.forget(&digest);
        self.note(&ctx, instance.id, registered).await
    }

    /// Takes them away, at the tracker first. With `force` also when the tracker does not let it be done.
    pub async fn unregister(&self, ctx: &Ctx, id: InstanceId, force: bool) -> Result<(), Error> {
        ctx.require(Scope::InstancesWrite)?;
        require_whole(ctx)?;
        let instance = self.instance(ctx, id).await?;
        let stored = self.parts.store.find(ctx, id).await?.ok_or_else(|| not_set_up(id))?;
        match self.take_away(ctx, &instance, &stored).await {
            Err(error) if force => {
                warn!(instance.id = %id, error = &error as &dyn std::error::Error, "Webhooks stay behind at the tracker");
            }
            taken => taken?,
        }
        let token = self.unseal(ctx, id, &stored).await?.token;
        self.known.forget(&digest(&token));
        if self.parts.store.remove(ctx, id).await? { Ok(()) } else { Err(not_set_up(id)) }
    }

    /// Before an instance is removed with its credential: takes its webhooks away at the tracker, as far as that works.
    pub async fn retire(&self, ctx: &Ctx, id: InstanceId) -> Result<(), Error> {
        ctx.require(Scope::InstancesWrite)?;
        require_whole(ctx)?;
        let Some(instance) = self.parts.instances.find(ctx, id).await? else { return Ok(()) };
        let Some(stored) = self.parts.store.find(ctx, id).await? else { return Ok(()) };
        if let Err(error) = self.take_away(ctx, &instance, &stored).await {
            warn!(instance.id = %id, error = &error as &dyn std::error::Error, "Webhooks stay behind at the tracker");
        }
        Ok(())
    }

    /// Looks after webhooks of all tenants that need it: renews them long before they lapse, and sets them up again when
    /// the tracker has lost them. How many were looked after.
    pub async fn look_after(&self) -> Result<usize, Error> {
        let claimed = self.parts.store.claim_renewals(20, LEASE).await?;
        let all = claimed.len();
        for (tenant, id) in claimed {
            let ctx = self.system(tenant);
            if let Err(error) = self.renew(&ctx, id).await {
                warn!(instance.id = %id, error = &error as &dyn std::error::Error, "Webhooks were not looked after");
            }
        }
        Ok(all)
    }

    async fn renew(&self, ctx: &Ctx, id: InstanceId) -> Result<(), Error> {
        let instance = self.instance(ctx, id).await?;
        let Some(stored) = self.parts.store.find(ctx, id).await? else { return Ok(()) };
        let webhooks = webhooks_of(self.adapter(&instance)?.as_ref())?;
        let secrets = self.unseal(ctx, id, &stored).await?;
        let target = target(&self.target_base()?, &instance, &secrets.token);
        let connection = match self.parts.connections.open(ctx, &instance).await {
            Ok(connection) => connection,
            Err(Error::Source(error)) => return self.note_failure(ctx, id, &stored, &error).await,
            Err(error) => return Err(error),
        };
        self.parts.store.open_handshake(ctx, id, HANDSHAKE).await?;
        let digest = digest(&secrets.token);
        self.known.forget(&digest);
        let registration = &stored.registration;
        let mut renewed = match registration.remote.is_null() {
            // The process that set it up ended before the tracker had answered.
            true => Err(SourceError::new(SourceErrorKind::NotFound, "it was not set up to the end")),
            false => {
                let call = webhooks.renew(&connection, &target, registration);
                self.call(&instance, &connection, CALL_DEADLINE, call).await
            }
        };
        if let (Err(error), Some(secret)) = (&renewed, secrets.secrets.first())
            && matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Gone)
        {
            info!(instance.id = %id, "The tracker has lost its webhooks; setting them up again");
            let previous = Some(registration).filter(|known| !known.remote.is_null());
            let call = webhooks.register(&connection, &target, secret, previous);
            renewed = self.call(&instance, &connection, CALL_DEADLINE, call).await;
        }
        self.known.forget(&digest);
        match renewed {
            Ok(registration) => {
                let renew_at = self.look_after_at(&registration);
                Ok(self.parts.store.registered(ctx, id, &registration, renew_at).await?)
            }
            Err(error) => self.note_failure(ctx, id, &stored, &error).await,
        }
    }

    async fn note_failure(
        &self,
        ctx: &Ctx,
        id: InstanceId,
        stored: &StoredWebhook,
        error: &SourceError,
    ) -> Result<(), Error> {
        let now = self.parts.clock.now();
        let lapsed = stored.registration.expires_at.is_some_and(|at| at <= now);
        if error.kind.is_transient() && !lapsed {
            // The lease runs out, and it is tried again.
            info!(instance.id = %id, %error, "Webhooks could not be renewed for now");
            return Ok(());
        }
        Ok(self.parts.store.failing(ctx, id, &error.message, now + LOOK_AGAIN).await?)
    }

    async fn note(
        &self,
        ctx: &Ctx,
        id: InstanceId,
        registered: Result<Registration, SourceError>,
    ) -> Result<(), Error> {
        match registered {
            Ok(registration) => {
                let renew_at = self.look_after_at(&registration);
                Ok(self.parts.store.registered(ctx, id, &registration, renew_at).await?)
            }
            Err(error) => {
                let again = self.parts.clock.now() + LOOK_AGAIN;
                // The next try takes over what the tracker may have by now.
                self.parts.store.failing(ctx, id, &error.message, again).await?;
                Err(error.into())
            }
        }
    }

    async fn take_away(&self, ctx: &Ctx, instance: &Instance, stored: &StoredWebhook) -> Result<(), Error> {
        if !stored.managed || stored.registration.remote.is_null() {
            return Ok(());
        }
        let webhooks = webhooks_of(self.adapter(instance)?.as_ref())?;
        let connection = self.parts.connections.open(ctx, instance).await?;
        let call = webhooks.unregister(&connection, &stored.registration);
        match self.call(instance, &connection, LONGEST_WAIT, call).await {
            Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Gone) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Calls the tracker within its budget, and not for ever.
    async fn call<T>(
        &self,
        instance: &Instance,
        connection: &Connection,
        deadline: Duration,
        call: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let limits = &self.parts.limits;
        let Some(adapter) = self.parts.sources.get(&instance.source) else {
            return Err(SourceError::new(SourceErrorKind::Unsupported, "there is no adapter for the source"));
        };
        let budget = limits.budget(&adapter.capabilities());
        // The limiter says nothing else.
        if let Err(Error::RateLimited { retry_after, .. } | Error::Closed { retry_after }) =
            limits.count_upstream(instance.id, budget, UpstreamUse::Person).await
        {
            let error = SourceError::new(
                SourceErrorKind::RateLimited,
                "the instance's budget of requests is used up for now",
            );
            return Err(SourceError { retry_after: Some(retry_after), ..error });
        }
        let called = tokio::time::timeout(deadline, call).await;
        limits.debit_upstream(instance.id, budget, connection.requests()).await;
        called.unwrap_or_else(|_| {
            Err(SourceError::new(SourceErrorKind::Unavailable, "the tracker did not answer in time"))
        })
    }

    /// Two thirds of the time until they lapse; for those that do not, in a day.
    fn look_after_at(&self, registration: &Registration) -> DateTime<Utc> {
        let now = self.parts.clock.now();
        match registration.expires_at {
            Some(at) => now + (at - now).max(TimeDelta::zero()) * 2 / 3,
            None => now + LOOK_AFTER,
        }
    }

    async fn describe(
        &self,
        ctx: &Ctx,
        instance: &Instance,
        webhooks: &dyn SourceWebhooks,
        stored: StoredWebhook,
        secret: Option<SecretString>,
    ) -> Result<WebhookStatus, Error> {
        let may_set_up = ctx.require(Scope::InstancesWrite).is_ok();
        let (mut url, mut steps, mut problem) = (None, Vec::new(), stored.problem.clone());
        match self.target_base() {
            Ok(base) if may_set_up => {
                let token = self.unseal(ctx, instance.id, &stored).await?.token;
                let target = target(&base, instance, &token);
                if !stored.managed {
                    // Without the credential the steps cannot be told; the state can.
                    match self.parts.connections.open(ctx, instance).await {
                        Ok(connection) => steps = webhooks.steps(&connection, &target),
                        Err(error) => problem = problem.or_else(|| Some(error.to_string())),
                    }
                }
                url = Some(SecretString::from(target.as_str()));
            }
            Ok(_) => {}
            Err(error) => problem = problem.or_else(|| Some(error.to_string())),
        }
        Ok(WebhookStatus {
            state: Some(stored.state),
            managed: stored.managed,
            url,
            secret,
            steps,
            expires_at: stored.registration.expires_at,
            problem,
            created_at: Some(stored.created_at),
            last_delivery_at: stored.last_delivery_at,
        })
    }

    async fn unseal(
        &self,
        ctx: &Ctx,
        id: InstanceId,
        stored: &StoredWebhook,
    ) -> Result<WebhookSecrets, Error> {
        let plaintext = self.parts.vault.open(ctx, SecretRef::Webhook(id), &stored.sealed).await?;
        WebhookSecrets::from_plaintext(&plaintext).ok_or_else(|| {
            Error::Internal(StoreError::Internal("stored webhook secrets have an unknown form".into()))
        })
    }

    fn target_base(&self) -> Result<Url, Error> {
        self.parts.public_url.clone().ok_or_else(|| Error::Conflict {
            what: "the address under which trackers reach this installation is not known".into(),
            hint: "operators: set PATCHBAY_PUBLIC_URL (--public-url) to its https address and restart".into(),
        })
    }

    /// 32 random bytes as hex digits.
    fn random(&self) -> SecretString {
        let mut random = zeroize::Zeroizing::new([0u8; 32]);
        self.parts.ids.fill(random.as_mut());
        random.iter().fold(String::with_capacity(64), |text, byte| text + &format!("{byte:02x}")).into()
    }
}

/// `<public URL>/webhooks/<source>/<token>`
fn target(base: &Url, instance: &Instance, token: &SecretString) -> Url {
    let mut url = base.clone();
    let path = format!(
        "{}/webhooks/{}/{}",
        base.path().trim_end_matches('/'),
        instance.source,
        token.expose_secret()
    );
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    url
}

fn not_set_up(id: InstanceId) -> Error {
    Error::not_found(format!("a webhook of the instance {id}"))
}
