//! Requests that have one effect, however often they are sent: what they write and what they answer is stored in one
//! transaction, and a repetition gets the stored answer.

mod fingerprint;

use std::sync::Arc;
use std::time::Duration;

pub use fingerprint::fingerprint;

use crate::ctx::UnitOfWork;
use crate::ports::{Claimed, IdempotencyKey, IdempotencyStore, StoreError, StoredAnswer};
use crate::{Ctx, Error};

/// The most characters of a key.
const MOST_CHARACTERS: usize = 255;
/// When to ask again after somebody else took a request over.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Whether a client's text can be a key: 1 to 255 visible ASCII characters.
pub fn is_key(text: &str) -> bool {
    (1..=MOST_CHARACTERS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether an answer of this HTTP status is final: kept, and given to every repetition.
///
/// All others say that another try may end otherwise. Everything written on the way to them is undone and the key is
/// free again: 5xx (a fault of ours or of a tracker), 429 and 408, 401 (another key may do), 400, 413, 415 and 422 (what
/// was sent was refused before it had an effect, and is sent again under the same key once it is corrected).
pub const fn is_final(status: u16) -> bool {
    matches!(status, 200..=299 | 403 | 404 | 409)
}

/// Sees to it that a request with an idempotency key has one effect.
#[derive(Clone)]
pub struct IdempotencyService {
    store: Arc<dyn IdempotencyStore>,
}

/// What to do with a request.
#[derive(Debug)]
pub enum Begun {
    /// Do it as [`Claim::ctx`], then [settle](Claim::settle) it.
    Fresh(Box<Claim>),
    /// It was done; this was the answer.
    Done(StoredAnswer),
}

/// An answer, and whether it is a repetition's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The answer.
    pub answer: StoredAnswer,
    /// It was kept from an earlier request; nothing was done for this one.
    pub replayed: bool,
}

impl IdempotencyService {
    /// Keeps keys and answers in `store`.
    pub fn new(store: Arc<dyn IdempotencyStore>) -> Self {
        Self { store }
    }

    /// Claims a request's key. [`Error::IdempotencyInFlight`] while it is being served, [`Error::IdempotencyMismatch`]
    /// when the key was used for another request.
    pub async fn begin(&self, ctx: &Ctx, key: IdempotencyKey) -> Result<Begun, Error> {
        match self.store.claim(ctx, &key).await? {
            Claimed::Fresh(unit) => {
                let ctx = Ctx { unit: Some(Arc::clone(&unit)), ..ctx.clone() };
                let claim = Claim { store: Arc::clone(&self.store), ctx, key, unit, settled: false };
                Ok(Begun::Fresh(Box::new(claim)))
            }
            Claimed::Done(answer) => Ok(Begun::Done(answer)),
            Claimed::InFlight { retry_after } => Err(Error::IdempotencyInFlight { retry_after }),
            Claimed::Mismatch => Err(Error::IdempotencyMismatch),
        }
    }

    /// Does `work` once for this key. `work` gets the context to do it as; what it writes counts only together with its
    /// answer, and not at all when that is not [final](is_final).
    pub async fn once<F, W>(&self, ctx: &Ctx, key: IdempotencyKey, work: F) -> Result<Answered, Error>
    where
        F: FnOnce(Ctx) -> W + Send,
        W: Future<Output = StoredAnswer> + Send,
    {
        let claim = match self.begin(ctx, key).await? {
            Begun::Fresh(claim) => claim,
            Begun::Done(answer) => return Ok(Answered { answer, replayed: true }),
        };
        let answer = work(claim.ctx().clone()).await;
        claim.settle(&answer).await?;
        Ok(Answered { answer, replayed: false })
    }
}

impl std::fmt::Debug for IdempotencyService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdempotencyService")
    }
}

/// A request that is being served. Dropped before it is settled, nothing it wrote is kept and its key is free.
pub struct Claim {
    store: Arc<dyn IdempotencyStore>,
    ctx: Ctx,
    key: IdempotencyKey,
    unit: Arc<dyn UnitOfWork>,
    settled: bool,
}

impl Claim {
    /// The caller, with the unit of work that everything is written in.
    pub const fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// Keeps the answer and what was written, or, where the answer is not [final](is_final), neither.
    ///
    /// An error means that it is unknown or untrue that the work is stored: the answer must not be given.
    pub async fn settle(self, answer: &StoredAnswer) -> Result<(), Error> {
        if !is_final(answer.status) {
            self.release().await;
            return Ok(());
        }
        let mut claim = self;
        match claim.store.finish(&claim.ctx, &claim.key, &claim.unit, answer).await {
            Ok(()) => {
                claim.settled = true;
                Ok(())
            }
            // This request outlived its claim, so somebody else answers it.
            Err(StoreError::Fenced) => Err(Error::IdempotencyInFlight { retry_after: ASK_AGAIN }),
            Err(error) => Err(error.into()),
        }
    }

    /// Undoes what was written and frees the key.
    pub async fn release(mut self) {
        match self.store.release(&self.ctx, &self.key, &self.unit).await {
            Ok(()) => self.settled = true,
            // Dropping it tries once more, and after that the claim runs out.
            Err(error) => tracing::debug!(%error, "An idempotency key was not released"),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            self.unit.abandon();
        }
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim").field("route", &self.key.route).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Security requirement 64.
    #[test]
    fn a_key_is_1_to_255_visible_ascii_characters() {
        for good in ["a", "8f2c-1", "!~", &"x".repeat(255)] {
            assert!(is_key(good), "{good}");
        }
        for bad in ["", " ", "a b", "a\t", "ä", "\u{7f}", &"x".repeat(256)] {
            assert!(!is_key(bad), "{bad:?}");
        }
    }

    #[test]
    fn what_may_end_otherwise_is_not_final() {
        for kept in [200, 201, 202, 204, 403, 404, 409] {
            assert!(is_final(kept), "{kept}");
        }
        for freed in [301, 400, 401, 408, 413, 415, 422, 429, 500, 502, 503, 504] {
            assert!(!is_final(freed), "{freed}");
        }
    }
}
