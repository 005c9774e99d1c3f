//! `/runs/{id}/events`: the progress of a run as server-sent events.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use application::{Ctx, Error, Services};
use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use domain::{Run, RunId};
use futures::{Stream, stream};
use http::{HeaderName, StatusCode};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::AdminState;
use super::openapi::ItemFailures;
use super::runs::{RunBody, now};
use crate::auth::{Caller, Credential, Guard};
use crate::extract::Path;
use crate::problem::Problem;
use crate::server::Shutdown;

/// How often the run is looked at.
const POLL: Duration = Duration::from_millis(300);
/// How often the key is checked again. Within [`LONGEST_UNCHECKED`] a revoked one ends the stream.
const RECHECK: Duration = Duration::from_secs(3);
/// The longest a stream goes on while keys cannot be looked up.
const LONGEST_UNCHECKED: Duration = Duration::from_secs(9);
/// Comments that keep proxies from closing a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The most streams of one key at once.
const MAX_STREAMS: usize = 20;

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Counts the open streams of each key.
#[derive(Debug, Clone, Default)]
pub(super) struct Streams(Arc<Mutex<HashMap<Uuid, usize>>>);

impl Streams {
    /// `None` when the key has as many as it may.
    fn open(&self, key: Uuid) -> Option<OpenStream> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_default();
        if *count >= MAX_STREAMS {
            return None;
        }
        *count += 1;
        Some(OpenStream { streams: self.clone(), key })
    }
}

/// One counted stream; dropping it frees its place.
#[derive(Debug)]
struct OpenStream {
    streams: Streams,
    key: Uuid,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut counts = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// Follows a run: `progress` with the run whenever it changed, `end` with the run when it is finished, then the stream
/// closes. `error` with a problem says why it closes early.
#[utoipa::path(
    get, path = "/runs/{id}/events", operation_id = "follow_run", tag = "runs", params(("id" = uuid::Uuid, Path)),
    responses(
        (status = 200, description = "Events `progress`, `end` and `error`; data is a Run, or a Problem", content_type = "text/event-stream", body = serde_json::Value),
        ItemFailures
    )
)]
pub(super) async fn follow(
    State(state): State<AdminState>,
    Caller { ctx, credential, .. }: Caller,
    shutdown: Option<Extension<Shutdown>>,
    Path(id): Path<RunId>,
) -> Result<Response, Problem> {
    let run = state.services.sync.get_run(&ctx, id).await?;
    let slot = match ctx.principal.id() {
        Some(id) => Some(state.streams.open(id).ok_or_else(too_many)?),
        None => None,
    };
    let follower = Follower {
        services: state.services,
        guard: state.guard,
        credential,
        ctx,
        id,
        shown: None,
        fresh: Some(run),
        checked_at: Instant::now(),
        recheck_at: Instant::now() + RECHECK,
        shutdown: shutdown.map(|Extension(Shutdown(token))| token).unwrap_or_default(),
        ended: false,
        _slot: slot,
    };
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(([(X_ACCEL_BUFFERING, "no")], Sse::new(follower.events()).keep_alive(keep_alive)).into_response())
}

fn too_many() -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_streams",
        format!("the key has {MAX_STREAMS} open event streams already"),
    )
    .with_hint("close one, or read GET /api/v1/runs/{id} from time to time instead")
    .with_retry_after(Duration::from_secs(5))
}

struct Follower {
    services: Services,
    guard: Guard,
    credential: Arc<Credential>,
    ctx: Ctx,
    id: RunId,
    /// What was sent last.
    shown: Option<Run>,
    /// What the request itself has read.
    fresh: Option<Run>,
    checked_at: Instant,
    recheck_at: Instant,
    shutdown: CancellationToken,
    ended: bool,
    _slot: Option<OpenStream>,
}

impl Follower {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut follower| async move {
            if follower.ended {
                return None;
            }
            let event = follower.next().await?;
            Some((Ok(event), follower))
        })
    }

    /// The next event; `None` when the server is asked to end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let run = match self.fresh.take() {
                Some(run) => run,
                None => {
                    tokio::select! {
                        () = self.shutdown.cancelled() => return None,
                        () = tokio::time::sleep(POLL) => {}
                    }
                    if let Err(problem) = self.recheck().await {
                        return Some(self.fail(&problem));
                    }
                    match self.services.sync.get_run(&self.ctx, self.id).await {
                        Ok(run) => run,
                        // The database may be back at the next look; the key check bounds how long this goes on.
                        Err(Error::Unavailable(_)) => continue,
                        Err(error) => return Some(self.fail(&error.into())),
                    }
                }
            };
            if self.shown.as_ref() == Some(&run) {
                continue;
            }
            self.shown = Some(run.clone());
            self.ended = run.state.is_final();
            let name = if self.ended { "end" } else { "progress" };
            return Some(event(name, &RunBody::at(run, now())));
        }
    }

    /// Takes over what the key may do by now.
    async fn recheck(&mut self) -> Result<(), Problem> {
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

    fn fail(&mut self, problem: &Problem) -> Event {
        self.ended = true;
        let mut body = problem.body();
        body.request_id = Some(self.ctx.request_id.as_uuid());
        event("error", &body)
    }
}

/// Data as one line of JSON, in which there is no raw line break that would end it early.
fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_bounded_number_of_streams_and_gets_places_back() {
        let streams = Streams::default();
        let key = Uuid::from_u128(1);
        let mut open: Vec<_> = (0..MAX_STREAMS).map(|_| streams.open(key).unwrap()).collect();
        assert!(streams.open(key).is_none());
        assert!(streams.open(Uuid::from_u128(2)).is_some(), "another key has its own");
        open.pop();
        assert!(streams.open(key).is_some());
        drop(open);
        assert!(streams.0.lock().unwrap().is_empty());
    }
}
