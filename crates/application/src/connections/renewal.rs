//! One attempt at renewing a credential, made while the store holds it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Credential, Instance};
use tracing::warn;

use super::{ASK_AGAIN, unseal};
use crate::ports::{
    CredentialRenewer, RefreshState, Renewal, SecretRef, SourceAdapter, SourceError, SourceErrorKind,
    StoredCredential, Vault,
};
use crate::{Ctx, Error};

/// The longest wait for a token endpoint; the credential stays locked meanwhile.
const TOKEN_CALL: Duration = Duration::from_secs(15);

/// What came of asking for a fresh credential.
#[derive(Debug)]
pub(super) enum Attempted {
    /// Here it is, made now or by somebody else just before.
    Fresh(Credential),
    /// There is none, and why.
    Failed(SourceError),
}

/// Renews a credential unless it has changed since it was seen.
pub(super) struct Attempt {
    ctx: Ctx,
    vault: Arc<dyn Vault>,
    adapter: Arc<dyn SourceAdapter>,
    instance: Instance,
    seen: i64,
    outcome: Mutex<Option<Result<Attempted, Error>>>,
}

impl Attempt {
    pub(super) fn new(
        ctx: Ctx,
        vault: Arc<dyn Vault>,
        adapter: Arc<dyn SourceAdapter>,
        instance: Instance,
        seen: i64,
    ) -> Self {
        Self { ctx, vault, adapter, instance, seen, outcome: Mutex::new(None) }
    }

    pub(super) fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// What came of it, once the store has written it.
    pub(super) async fn outcome(&self) -> Result<Attempted, Error> {
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The store does not call when there is nothing to renew.
        outcome.unwrap_or_else(|| Err(Error::not_found(format!("the instance {}", self.instance.id))))
    }

    async fn try_now(&self, held: &StoredCredential) -> Result<(Renewal, Attempted), Error> {
        let credential = unseal(self.vault.as_ref(), &self.ctx, &self.instance, held).await?;
        if held.version != self.seen {
            return Ok((Renewal::Kept, Attempted::Fresh(credential)));
        }
        match held.refresh {
            RefreshState::Refused => return Ok((Renewal::Kept, Attempted::Failed(refused_before()))),
            RefreshState::Unknown => {
                let wait = ASK_AGAIN.saturating_sub(held.refreshed_ago.unwrap_or(ASK_AGAIN));
                if !wait.is_zero() {
                    return Ok((Renewal::Kept, Attempted::Failed(asked_just_now(wait))));
                }
            }
            RefreshState::Ok => {}
        }
        let place = SecretRef::InstanceCredential(self.instance.id);
        // Proves that the answer can be kept before it is asked for.
        self.vault.seal(&self.ctx, place, &[]).await?;
        let asked = tokio::time::timeout(TOKEN_CALL, self.adapter.renew_credential(&credential)).await;
        let error = match asked {
            Ok(Ok(Some(renewed))) => {
                let sealed = self.vault.seal(&self.ctx, place, &renewed.to_plaintext()).await?;
                return Ok((Renewal::Replaced(sealed), Attempted::Fresh(renewed)));
            }
            Ok(Ok(None)) => return Ok((Renewal::Kept, Attempted::Failed(nothing_to_renew()))),
            Ok(Err(error)) => error,
            Err(_) => SourceError::new(
                SourceErrorKind::Unavailable,
                format!("the token endpoint did not answer within {} s", TOKEN_CALL.as_secs()),
            ),
        };
        warn!(instance.id = %self.instance.id, %error, "The credential of {} could not be renewed", self.instance.id);
        if error.kind == SourceErrorKind::Unauthorized {
            return Ok((Renewal::Refused, Attempted::Failed(error)));
        }
        // Whatever it is, it says nothing about the refresh token, and somebody may have to try again.
        let retry_after = error.retry_after.max(Some(ASK_AGAIN));
        let error = SourceError { kind: SourceErrorKind::Unavailable, retry_after, ..error };
        Ok((Renewal::Unknown, Attempted::Failed(error)))
    }
}

#[async_trait]
impl CredentialRenewer for Attempt {
    async fn renew(&self, held: &StoredCredential) -> Renewal {
        let (renewal, outcome) = match self.try_now(held).await {
            Ok((renewal, attempted)) => (renewal, Ok(attempted)),
            // The vault failed: before the call, or after it with the answer in hand, which then is lost.
            Err(error) => (Renewal::Unknown, Err(error)),
        };
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        renewal
    }
}

fn refused_before() -> SourceError {
    SourceError::new(
        SourceErrorKind::Unauthorized,
        "the tracker refused to renew the access token: the grant was withdrawn, or its refresh token used up",
    )
}

fn asked_just_now(wait: Duration) -> SourceError {
    SourceError {
        retry_after: Some(wait),
        ..SourceError::new(
            SourceErrorKind::Unavailable,
            "the access token could not be renewed a moment ago, and it is not known whether the token endpoint answered",
        )
    }
}

fn nothing_to_renew() -> SourceError {
    SourceError::new(SourceErrorKind::Unauthorized, "this source does not renew credentials of this kind")
}
