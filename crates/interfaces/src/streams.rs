//! Answers that go on and on: how many a caller may have, and that they end when the credential does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use application::{Ctx, Error};
use http::StatusCode;
use tokio::time::Instant;
use uuid::Uuid;

use crate::auth::{Caller, Credential, Guard};
use crate::problem::Problem;

/// How often a credential is checked again. Within [`LONGEST_UNCHECKED`] a revoked one ends the stream.
pub(crate) const RECHECK: Duration = Duration::from_secs(3);
/// The longest a stream goes on while credentials cannot be looked up.
const LONGEST_UNCHECKED: Duration = Duration::from_secs(9);

/// Counts the open streams of each key and person.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    most: usize,
    counts: Arc<Mutex<HashMap<Uuid, usize>>>,
}

impl Streams {
    /// At most `most` at once for each.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, counts: Arc::default() }
    }

    /// `None` when the principal has as many as it may.
    pub(crate) fn open(&self, principal: Uuid) -> Option<OpenStream> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(principal).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(OpenStream { streams: self.clone(), principal })
    }
}

/// One counted stream; dropping it frees its place.
#[derive(Debug)]
pub(crate) struct OpenStream {
    streams: Streams,
    principal: Uuid,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut counts = self.streams.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.principal) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.principal);
            }
        }
    }
}

/// Who a stream is for, looked up again while it goes on.
#[derive(Debug)]
pub(crate) struct Watch {
    guard: Guard,
    credential: Arc<Credential>,
    /// As last looked up.
    pub(crate) ctx: Ctx,
    checked_at: Instant,
    recheck_at: Instant,
}

impl Watch {
    /// Of a caller who was let in a moment ago.
    pub(crate) fn new(guard: Guard, caller: Caller) -> Self {
        let now = Instant::now();
        let (credential, ctx) = (caller.credential, caller.ctx);
        Self { guard, credential, ctx, checked_at: now, recheck_at: now + RECHECK }
    }

    /// Looks again when it is time to, and takes over what the credential allows by now. Why the stream must end
    /// otherwise.
    pub(crate) async fn check(&mut self) -> Result<(), Problem> {
        let now = Instant::now();
        if now < self.recheck_at {
            return Ok(());
        }
        self.recheck_at = now + RECHECK;
        match self.guard.check_again(&self.credential, self.ctx.origin.clone()).await {
            // Whoever left the tenant and joined another is not to go on reading the first.
            Ok(caller) if caller.ctx.tenant != self.ctx.tenant => {
                Err(Error::Unauthenticated("the credential is now of another tenant").into())
            }
            Ok(caller) => {
                self.ctx.scopes = caller.ctx.scopes;
                self.ctx.grant = caller.ctx.grant;
                self.checked_at = now;
                Ok(())
            }
            Err(problem)
                if problem.status() == StatusCode::SERVICE_UNAVAILABLE
                    && now - self.checked_at < LONGEST_UNCHECKED =>
            {
                Ok(())
            }
            Err(problem) => Err(problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_bounded_number_of_streams_and_gets_places_back() {
        let streams = Streams::new(3);
        let key = Uuid::from_u128(1);
        let mut open: Vec<_> = (0..3).map(|_| streams.open(key).unwrap()).collect();
        assert!(streams.open(key).is_none());
        assert!(streams.open(Uuid::from_u128(2)).is_some(), "another key has its own");
        open.pop();
        assert!(streams.open(key).is_some());
        drop(open);
        assert!(streams.counts.lock().unwrap().is_empty());
    }
}
