//! One call of a tracker: counted, tried again where that may help, ended at its deadline, and nothing sent before a
//! tracker that asked to wait may be asked again.

use std::sync::Arc;
use std::time::Duration;

use domain::{InstanceId, Quota};
use tokio::time::{Instant, sleep, timeout_at};

use super::{LiveService, Target};
use crate::connections::LiveConnection;
use crate::limits::LimitService;
use crate::ports::{Connection, SourceError, SourceErrorKind, UpstreamUse};
use crate::{Ctx, Error};

/// When to try again after a tracker that did not answer in time.
const AFTER_SILENCE: Duration = Duration::from_secs(5);

impl LiveService {
    /// Asks the tracker. Dropping this ends the request that is under way.
    pub(super) async fn ask<T, F>(
        &self,
        ctx: &Ctx,
        target: &Target,
        call: impl Fn(Arc<Connection>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        self.ask_within(ctx, target, self.parts.bounds.deadline, call).await
    }

    pub(super) async fn ask_within<T, F>(
        &self,
        ctx: &Ctx,
        target: &Target,
        span: Duration,
        call: impl Fn(Arc<Connection>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        let id = target.instance.id;
        self.may_be_asked(id)?;
        let deadline = Instant::now() + span;
        let limits = &self.parts.limits;
        let budget = limits.budget(&target.adapter.capabilities());
        limits.count_upstream(id, budget, UpstreamUse::Person).await?;
        let opening = self.opened.take(ctx, &self.parts.connections, &target.instance);
        let connection = timeout_at(deadline, opening).await.map_err(|_| too_slow(span))??;
        let spent = Spent { limits: limits.clone(), id, budget, connection: Some(Arc::new(connection)) };
        let Some(connection) = spent.connection.clone() else { return Err(too_slow(span).into()) };
        let outcome = timeout_at(deadline, self.attempts(ctx, target, &connection, deadline, call)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(too_slow(span)));
        self.opened.heed(ctx, &target.instance, &connection, outcome.as_ref().err()).await;
        drop(connection);
        spent.settle().await;
        outcome.map_err(Error::from)
    }

    /// A refusal while the tracker's time to wait is not over.
    pub(super) fn may_be_asked(&self, instance: InstanceId) -> Result<(), SourceError> {
        self.waits.left(instance).map_or(Ok(()), |left| Err(asked_to_wait(left)))
    }

    /// Remembers that a tracker asked to wait.
    pub(super) fn heed(&self, instance: InstanceId, error: &SourceError) {
        if let (SourceErrorKind::RateLimited, Some(wait)) = (error.kind, error.retry_after) {
            self.waits.begin(instance, wait);
        }
    }

    async fn attempts<T, F>(
        &self,
        ctx: &Ctx,
        target: &Target,
        connection: &LiveConnection,
        deadline: Instant,
        call: impl Fn(Arc<Connection>) -> F,
    ) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        let mut pause = self.parts.bounds.pause;
        for attempt in 1.. {
            let answer = self.parts.connections.call(ctx, &target.instance, connection, &call).await;
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match error.kind {
                SourceErrorKind::RateLimited => {
                    self.heed(target.instance.id, &error);
                    return Err(error);
                }
                SourceErrorKind::Unavailable if attempt < self.parts.bounds.attempts => {
                    let wait = error.retry_after.unwrap_or_default().max(pause);
                    // Who cannot wait any longer is told now.
                    if Instant::now() + wait >= deadline {
                        return Err(error);
                    }
                    sleep(wait).await;
                    pause *= 2;
                }
                _ => return Err(error),
            }
        }
        Err(too_slow(self.parts.bounds.deadline))
    }
}

fn asked_to_wait(left: Duration) -> SourceError {
    let seconds = left.as_secs() + 1;
    SourceError {
        retry_after: Some(left),
        upstream_status: Some(429),
        ..SourceError::new(
            SourceErrorKind::RateLimited,
            format!("the tracker asked not to be called for another {seconds} s; nothing was sent"),
        )
    }
}

pub(super) fn too_slow(span: Duration) -> SourceError {
    SourceError {
        retry_after: Some(AFTER_SILENCE),
        ..SourceError::new(
            SourceErrorKind::Unavailable,
            format!("the tracker did not answer within {} s", span.as_secs_f64()),
        )
    }
}

/// Requests that were made, to be counted whatever becomes of the call: also when its caller has gone.
struct Spent {
    limits: Arc<LimitService>,
    id: InstanceId,
    budget: Quota,
    connection: Option<Arc<LiveConnection>>,
}

impl Spent {
    async fn settle(mut self) {
        if let Some(connection) = self.connection.take() {
            self.limits.debit_upstream(self.id, self.budget, connection.requests()).await;
        }
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (limits, id, budget) = (self.limits.clone(), self.id, self.budget);
        runtime.spawn(async move { limits.debit_upstream(id, budget, connection.requests()).await });
    }
}
