use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::Ctx;
use crate::ctx::UnitOfWork;

/// What a request with an idempotency key is recognised by, beside tenant and principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// As the client gave it: 1 to 255 visible ASCII characters.
    pub key: String,
    /// Method and route template, or `mcp` and the tool's name.
    pub route: String,
    /// SHA-256 over method, path, query and canonical body.
    pub fingerprint: [u8; 32],
}

/// An answer kept for replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// HTTP status.
    pub status: u16,
    /// The headers worth repeating: content type, location.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What to do with a request.
#[derive(Debug, Clone)]
pub enum Claimed {
    /// Nobody did it yet: do it within this unit of work, then [finish](IdempotencyStore::finish) it.
    Fresh(Arc<dyn UnitOfWork>),
    /// It was done: this was the answer.
    Done(StoredAnswer),
    /// Somebody is at it.
    InFlight {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The key was used for another request.
    Mismatch,
}

/// Makes sure that a request with a key has one effect.
#[async_trait]
pub trait IdempotencyStore: Send + Sync {
    /// Claims the key. Of any number that ask at once, one is told [`Claimed::Fresh`].
    ///
    /// The claim lasts a little longer than a request may: a process that dies leaves a key that the next attempt takes
    /// over, with nothing of the dead one's effect stored. A unit that is dropped or abandoned frees its key.
    async fn claim(&self, ctx: &Ctx, key: &IdempotencyKey) -> Result<Claimed, StoreError>;

    /// Stores the answer and commits everything written in the unit, in one transaction.
    ///
    /// [`StoreError::Fenced`] when the claim was taken over meanwhile: nothing written in the unit is kept then. On any
    /// other error it may or may not be kept, and repeating the request finds out.
    async fn finish(
        &self,
        ctx: &Ctx,
        key: &IdempotencyKey,
        unit: &Arc<dyn UnitOfWork>,
        answer: &StoredAnswer,
    ) -> Result<(), StoreError>;

    /// Undoes everything written in the unit and frees the key: the request failed in a way worth another try.
    async fn release(
        &self,
        ctx: &Ctx,
        key: &IdempotencyKey,
        unit: &Arc<dyn UnitOfWork>,
    ) -> Result<(), StoreError>;
}
