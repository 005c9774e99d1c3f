//! Writes to trackers, each with one effect: the intent is stored before the call, the outcome after it, and where the
//! outcome got lost the tracker is asked before anything is sent again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::ports::{
    ClaimedWrite, HeldWrite, Ids, Look, Outcome, SourceError, SourceErrorKind, StoreError, TrackerWrite,
    Write, WriteIntentStore,
};
use crate::{Ctx, Error};

/// When to ask again after somebody else took a write over, or a look could not be trusted.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long the steps of a write may take.
#[derive(Debug, Clone, Copy)]
pub struct WriteSpans {
    /// How long a write is held without a sign; a process that dies keeps others waiting for so long. More than
    /// `call` and `look` together.
    pub lease: Duration,
    /// The longest call.
    pub call: Duration,
    /// The longest look.
    pub look: Duration,
}

impl Default for WriteSpans {
    fn default() -> Self {
        Self { lease: Duration::from_secs(30), call: Duration::from_secs(15), look: Duration::from_secs(5) }
    }
}

/// What came of a write.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// What the tracker answered.
    pub value: Value,
    /// It had been done before; nothing was sent for this call.
    pub replayed: bool,
}

/// Writes to trackers.
#[derive(Clone)]
pub struct WriteService {
    store: Arc<dyn WriteIntentStore>,
    ids: Arc<dyn Ids>,
    spans: WriteSpans,
}

impl WriteService {
    /// Keeps intents in `store`.
    pub fn new(store: Arc<dyn WriteIntentStore>, ids: Arc<dyn Ids>, spans: WriteSpans) -> Self {
        Self { store, ids, spans }
    }

    /// Does a write once, however often this is called for it, from however many processes, and wherever they die.
    ///
    /// [`Error::IdempotencyInFlight`] while somebody is at it, and while the tracker may still be: the same call
    /// later finds out. [`Error::Source`] with a definite refusal, now and at every repetition, while a call that is meant
    /// otherwise may take its key; with a transient one the same call later goes on. Nothing of it belongs to the request's
    /// unit of work.
    pub async fn once(&self, ctx: &Ctx, write: &Write, tracker: &dyn TrackerWrite) -> Result<Written, Error> {
        let ctx = &ctx.detached();
        let (id, owner) = (self.ids.uuid(), self.ids.uuid());
        match self.store.claim(ctx, write, id, owner, self.spans.lease).await? {
            ClaimedWrite::Fresh(held) => self.act(ctx, held, tracker).await,
            ClaimedWrite::Unknown { held, over_for } => self.resume(ctx, held, over_for, tracker).await,
            ClaimedWrite::Settled(Ok(value)) => Ok(Written { value, replayed: true }),
            ClaimedWrite::Settled(Err(refusal)) => Err(refusal.into()),
            ClaimedWrite::InFlight { retry_after } => Err(Error::IdempotencyInFlight { retry_after }),
            ClaimedWrite::Mismatch => Err(Error::IdempotencyMismatch),
        }
    }

    /// Goes on where an earlier attempt was lost.
    async fn resume(
        &self,
        ctx: &Ctx,
        held: HeldWrite,
        over_for: Duration,
        tracker: &dyn TrackerWrite,
    ) -> Result<Written, Error> {
        let wait = tracker.settles_within().saturating_sub(over_for);
        let wait = match self.look(&held, tracker).await {
            Ok(Look::Found(value)) => return self.settled(ctx, &held, Ok(value), true).await,
            Ok(Look::Absent) if wait.is_zero() => {
                let held = self.store.attempt(ctx, held, self.spans.lease).await.map_err(fenced)?;
                return self.act(ctx, held, tracker).await;
            }
            Ok(Look::Absent) => wait,
            Ok(Look::Unsure) => wait.max(ASK_AGAIN),
            Err(error) => {
                self.store.let_go(ctx, &held, false).await?;
                return Err(error.into());
            }
        };
        self.store.let_go(ctx, &held, false).await?;
        Err(Error::IdempotencyInFlight { retry_after: wait })
    }

    /// Sends the request. Comes here only for what was never sent, or is known not to have had an effect.
    async fn act(&self, ctx: &Ctx, held: HeldWrite, tracker: &dyn TrackerWrite) -> Result<Written, Error> {
        // A process that stood still meanwhile must not send what others may have sent in its place.
        if Instant::now() + self.spans.call > held.until {
            return Err(Error::IdempotencyInFlight { retry_after: ASK_AGAIN });
        }
        let error = match timeout(self.spans.call, tracker.act(&held.marker)).await {
            Ok(Ok(value)) => return self.settled(ctx, &held, Ok(value), false).await,
            Ok(Err(error)) => error,
            Err(_) => SourceError::new(SourceErrorKind::Unavailable, "the tracker did not answer in time"),
        };
        match effect_of(error.kind) {
            Effect::NoneYet => {
                self.store.withdraw(ctx, &held).await?;
                Err(error.into())
            }
            Effect::NoneEver => self.settled(ctx, &held, Err(error), false).await,
            Effect::Unknown => {
                if let Ok(Look::Found(value)) = self.look(&held, tracker).await {
                    return self.settled(ctx, &held, Ok(value), false).await;
                }
                // Absent or not, the request may still be under way.
                self.store.let_go(ctx, &held, true).await?;
                let retry_after = error.retry_after.max(Some(tracker.settles_within()));
                Err(SourceError { retry_after, ..error }.into())
            }
        }
    }

    async fn look(&self, held: &HeldWrite, tracker: &dyn TrackerWrite) -> Result<Look, SourceError> {
        timeout(self.spans.look, tracker.look(&held.marker)).await.unwrap_or(Ok(Look::Unsure))
    }

    async fn settled(
        &self,
        ctx: &Ctx,
        held: &HeldWrite,
        outcome: Outcome,
        replayed: bool,
    ) -> Result<Written, Error> {
        self.store.settle(ctx, held, &outcome).await.map_err(fenced)?;
        Ok(Written { value: outcome?, replayed })
    }
}

impl std::fmt::Debug for WriteService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WriteService")
    }
}

/// Whoever took the write over also finds out what came of it.
fn fenced(error: StoreError) -> Error {
    match error {
        StoreError::Fenced => Error::IdempotencyInFlight { retry_after: ASK_AGAIN },
        error => error.into(),
    }
}

/// What a failed call did at the tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nothing, and the same call may be taken later.
    NoneYet,
    /// Nothing, and it never will: a refusal.
    NoneEver,
    Unknown,
}

const fn effect_of(kind: SourceErrorKind) -> Effect {
    match kind {
        SourceErrorKind::RateLimited | SourceErrorKind::Blocked => Effect::NoneYet,
        SourceErrorKind::Unauthorized
        | SourceErrorKind::Forbidden
        | SourceErrorKind::NotFound
        | SourceErrorKind::Gone
        | SourceErrorKind::Conflict
        | SourceErrorKind::Unsupported
        | SourceErrorKind::Rejected => Effect::NoneEver,
        SourceErrorKind::Unavailable | SourceErrorKind::Malformed => Effect::Unknown,
    }
}
