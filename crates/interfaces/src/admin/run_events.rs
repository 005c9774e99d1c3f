//! `/runs/{id}/events`: the progress of a run as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use application::{Error, Services};
use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use domain::{Run, RunId};
use futures::{Stream, stream};
use http::{HeaderName, StatusCode};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::AdminState;
use super::openapi::ItemFailures;
use super::runs::{RunBody, now};
use crate::auth::Caller;
use crate::extract::Path;
use crate::problem::Problem;
use crate::server::Shutdown;
use crate::streams::{OpenStream, Watch};

/// How often the run is looked at.
const POLL: Duration = Duration::from_millis(300);
/// Comments that keep proxies from closing a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The most streams of one key at once.
pub(super) const MAX_STREAMS: usize = 20;

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

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
    caller: Caller,
    shutdown: Option<Extension<Shutdown>>,
    Path(id): Path<RunId>,
) -> Result<Response, Problem> {
    let run = state.services.sync.get_run(&caller.ctx, id).await?;
    let slot = match caller.ctx.principal.id() {
        Some(id) => Some(state.streams.open(id).ok_or_else(too_many)?),
        None => None,
    };
    let follower = Follower {
        services: state.services,
        watch: Watch::new(state.guard, caller),
        id,
        shown: None,
        fresh: Some(run),
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
    watch: Watch,
    id: RunId,
    /// What was sent last.
    shown: Option<Run>,
    /// What the request itself has read.
    fresh: Option<Run>,
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
                    if let Err(problem) = self.watch.check().await {
                        return Some(self.fail(&problem));
                    }
                    match self.services.sync.get_run(&self.watch.ctx, self.id).await {
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

    fn fail(&mut self, problem: &Problem) -> Event {
        self.ended = true;
        let mut body = problem.body();
        body.request_id = Some(self.watch.ctx.request_id.as_uuid());
        event("error", &body)
    }
}

/// Data as one line of JSON, in which there is no raw line break that would end it early.
fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}
