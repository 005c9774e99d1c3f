use std::time::Duration;

use async_trait::async_trait;
use domain::InstanceId;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::{SourceError, StoreError};
use crate::Ctx;

/// One write to a tracker, as its caller means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where to.
    pub instance: InstanceId,
    /// What is done: the tool's name.
    pub operation: String,
    /// What the caller recognises it by; one that is repeated is the same write.
    pub key: String,
    /// SHA-256 of the canonical arguments.
    pub fingerprint: [u8; 32],
}

/// What came of a write. A definite refusal is an outcome like another: it will not change by repeating.
pub type Outcome = Result<Value, SourceError>;

/// The tracker's side of one write. Implemented by adapters, for each operation they can do.
///
/// Exactly one effect needs something of the tracker: the object that is written carries the marker (a property, a
/// label, a line in the text, an external id), and can be found by it.
#[async_trait]
pub trait TrackerWrite: Send + Sync {
    /// How long after its end a request may still take effect, or its effect stay hidden from [`Self::look`]: the
    /// tracker's own time limit, and how far its search lags behind. Absence proves nothing before.
    fn settles_within(&self) -> Duration;

    /// Looks whether the tracker has an object with this marker. Changes nothing.
    async fn look(&self, marker: &str) -> Result<Look, SourceError>;

    /// Does it, once, with the marker on it. Never repeats the request by itself: whether an error means that nothing
    /// was done is decided by [its kind](super::SourceErrorKind), and `Unavailable` and `Malformed` leave it open.
    async fn act(&self, marker: &str) -> Result<Value, SourceError>;
}

/// What looking for a marker found.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// The write took place; this came of it.
    Found(Value),
    /// No such object. Proof, once the tracker [has settled](TrackerWrite::settles_within).
    Absent,
    /// The search could not be trusted: incomplete, cut off, or being rebuilt.
    Unsure,
}

/// What to do about a write.
#[derive(Debug)]
pub enum ClaimedWrite {
    /// It was never tried: do it.
    Fresh(HeldWrite),
    /// It was tried, and what came of it is not known: look first.
    Unknown {
        /// The claim.
        held: HeldWrite,
        /// How long ago the last attempt was over, at the least.
        over_for: Duration,
    },
    /// It is settled.
    Settled(Outcome),
    /// Somebody is at it.
    InFlight {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The key was used for another write, which did something or may have. One that was refused leaves its key free.
    Mismatch,
}

/// A write that is this process's to do, for a time.
#[derive(Debug, Clone)]
pub struct HeldWrite {
    /// The intent.
    pub id: Uuid,
    /// Where the write goes.
    pub instance: InstanceId,
    /// What is done.
    pub operation: String,
    /// Who holds it.
    pub owner: Uuid,
    /// What the tracker's object carries.
    pub marker: String,
    /// Until when, by this process's clock, and never later than by the store's.
    pub until: Instant,
}

/// Intents of writes to trackers: committed before the call, settled after it.
#[async_trait]
pub trait WriteIntentStore: Send + Sync {
    /// Claims a write for `lease`, under an owner and, when it is new, an id that the caller makes. Of any number that
    /// ask at once, one gets it.
    async fn claim(
        &self,
        ctx: &Ctx,
        write: &Write,
        id: Uuid,
        owner: Uuid,
        lease: Duration,
    ) -> Result<ClaimedWrite, StoreError>;

    /// Notes that it is tried again, and holds it for another `lease`. [`StoreError::Fenced`] when it is held no more.
    async fn attempt(&self, ctx: &Ctx, held: HeldWrite, lease: Duration) -> Result<HeldWrite, StoreError>;

    /// Keeps what came of it. [`StoreError::Fenced`] when it is held no more.
    async fn settle(&self, ctx: &Ctx, held: &HeldWrite, outcome: &Outcome) -> Result<(), StoreError>;

    /// Gives it up with nothing known; `tried` when a request may have been sent since it was claimed.
    async fn let_go(&self, ctx: &Ctx, held: &HeldWrite, tried: bool) -> Result<(), StoreError>;

    /// Forgets it: nothing was done, for certain.
    async fn withdraw(&self, ctx: &Ctx, held: &HeldWrite) -> Result<(), StoreError>;
}
