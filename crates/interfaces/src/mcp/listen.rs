//! `subscriptions/listen` of protocol 2026-07-28: tells a client when its lists or what it reads have changed.
//!
//! Every listener looks for itself, with its own rights, at what is at hand anyway. So nothing of another tenant can
//! reach it, a changed grant is a change like any other, and no message can get lost between replicas.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use application::{Ctx, Error};
use rmcp::ErrorData;
use rmcp::service::SubscriptionContext;
use tokio_util::sync::CancellationToken;

use super::outcome;
use super::server::Admits;
use crate::auth::{Caller, Guard};
use crate::problem::Problem;
use crate::streams::{Streams, Watch};

/// How often a listener looks. Freshness is up to two seconds old by itself.
const LOOK: Duration = Duration::from_secs(2);
/// The most listeners of one key or person at once.
const MAX_OF_PRINCIPAL: usize = 8;

/// What a caller has at one moment, as digests that differ when it does.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sight {
    /// Of the lists of tools, prompts and resources.
    pub(super) lists: u64,
    /// Of each resource that a client may subscribe to, by its URI.
    pub(super) resources: HashMap<String, u64>,
    /// Whether nothing is told of a resource that the caller sees no more: somebody may have done something to it that is
    /// none of the caller's business.
    pub(super) discreet: bool,
}

impl Sight {
    /// Whether something is to be told of a resource.
    fn has_news(&self, before: &Self, uri: &str) -> bool {
        let now = self.resources.get(uri);
        before.resources.get(uri) != now && (now.is_some() || !self.discreet)
    }
}

/// A digest of what stands for something.
pub(super) fn digest(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Listens on behalf of clients.
#[derive(Debug, Clone)]
pub(super) struct Listeners {
    guard: Guard,
    admits: Admits,
    streams: Streams,
    shutdown: CancellationToken,
}

impl Listeners {
    pub(super) fn new(guard: Guard, admits: Admits, shutdown: CancellationToken) -> Self {
        Self { guard, admits, streams: Streams::new(MAX_OF_PRINCIPAL), shutdown }
    }

    /// Tells of changes until the client goes away, may not go on, or the server ends: then with the final result that
    /// the protocol has for it.
    pub(super) async fn listen<F, L>(
        &self,
        context: SubscriptionContext,
        caller: Caller,
        look: F,
    ) -> Result<(), ErrorData>
    where
        F: Fn(Ctx) -> L,
        L: Future<Output = Result<Sight, Error>>,
    {
        let _place = match caller.ctx.principal.id() {
            Some(id) => Some(self.streams.open(id).ok_or_else(too_many)?),
            None => None,
        };
        let mut watch = Watch::new(self.guard.clone(), caller);
        let mut seen: Option<Sight> = None;
        loop {
            match look(watch.ctx.clone()).await {
                Ok(sight) => {
                    if let Some(before) = &seen
                        && tell(&context, before, &sight).await.is_err()
                    {
                        return Ok(());
                    }
                    seen = Some(sight);
                }
                // It may be back at the next look; the check of the credential bounds how long this goes on.
                Err(Error::Unavailable(_)) => {}
                Err(error) => return Err(outcome::not_now(error)),
            }
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                () = self.shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
            }
            watch.check().await.map_err(|problem| refused(&problem))?;
            (self.admits)(&watch.ctx).map_err(outcome::not_now)?;
        }
    }
}

/// An error when nobody is there any more.
async fn tell(
    context: &SubscriptionContext,
    before: &Sight,
    now: &Sight,
) -> Result<(), rmcp::service::SubscriptionSendError> {
    let (sink, accepted) = (context.sink(), context.accepted());
    if before.lists != now.lists {
        if accepted.tools_list_changed == Some(true) {
            sink.notify_tool_list_changed().await?;
        }
        if accepted.prompts_list_changed == Some(true) {
            sink.notify_prompt_list_changed().await?;
        }
        if accepted.resources_list_changed == Some(true) {
            sink.notify_resource_list_changed().await?;
        }
    }
    for uri in accepted.resource_subscriptions.iter().flatten() {
        if now.has_news(before, uri) {
            sink.notify_resource_updated(uri.as_str()).await?;
        }
    }
    Ok(())
}

fn too_many() -> ErrorData {
    outcome::refusal(format!("the caller has {MAX_OF_PRINCIPAL} open subscriptions already: close one first"))
}

fn refused(problem: &Problem) -> ErrorData {
    outcome::refusal(problem.body().detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_of_a_resource_are_told_and_its_loss_only_where_that_is_the_callers_business() {
        let sight = |state: Option<u64>, discreet| Sight {
            lists: 0,
            resources: state.map(|state| ("a".to_owned(), state)).into_iter().collect(),
            discreet,
        };
        for (before, now, open, discreet) in [
            (Some(1), Some(1), false, false),
            (Some(1), Some(2), true, true),
            (None, Some(1), true, true),
            (Some(1), None, true, false),
            (None, None, false, false),
        ] {
            let told = |quiet| sight(now, quiet).has_news(&sight(before, quiet), "a");
            assert_eq!((told(false), told(true)), (open, discreet), "{before:?} then {now:?}");
        }
    }
}
