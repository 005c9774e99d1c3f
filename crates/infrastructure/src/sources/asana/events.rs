//! A project's events: which tasks were changed or deleted, subtasks included, since a token was given.
//! <https://developers.asana.com/reference/getevents>

use std::collections::BTreeSet;

use application::ports::{SourceError, SourceErrorKind};
use chrono::{DateTime, Utc};
use http::{Method, StatusCode};
use serde::Deserialize;

use super::super::refusals;
use super::super::sanitize::json_text;
use super::api::Api;
use super::model::Event;
use super::{errors, malformed};

/// More changes than this are read again as a whole project, like those behind a token that expired.
const MOST_PAGES: usize = 50;

/// What the events say.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The token to ask with next time; `None` when there are no events for this token's owner.
    pub(super) token: Option<String>,
    /// Tasks that something happened to; `None` when the events before the token are lost.
    pub(super) tasks: Option<BTreeSet<String>>,
    /// When Asana answered first.
    pub(super) answered_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    data: Vec<Event>,
    #[serde(default)]
    sync: Option<String>,
    #[serde(default)]
    has_more: bool,
}

/// Reads the events since `token`. Without one, or with one that is too old, begins a new token.
pub(super) async fn since(api: &Api<'_>, project: &str, token: Option<&str>) -> Result<Told, SourceError> {
    let what = format!("the events of the project {project}");
    let mut told = Told { token: token.map(str::to_owned), ..Told::default() };
    let mut tasks = BTreeSet::new();
    for _ in 0..MOST_PAGES {
        let mut query = vec![("resource", project)];
        query.extend(told.token.as_deref().map(|token| ("sync", token)));
        query.push(("opt_fields", "action,parent,resource"));
        let response = api.send(Method::GET, "/events", &query, None).await?;
        told.answered_at = told.answered_at.or_else(|| refusals::answered_at(&response.headers));
        let body = |body: &[u8]| {
            serde_json::from_str::<Body>(&json_text(body)).map_err(|error| {
                malformed(format!("Asana's answer for {what} has an unknown form ({error})"))
            })
        };
        match response.status {
            StatusCode::OK => {
                let body = body(&response.body)?;
                tasks.extend(body.data.iter().filter_map(Event::task).map(str::to_owned));
                let moved = body.sync.is_some() && body.sync != told.token;
                told.token = body.sync.or(told.token);
                if !body.has_more {
                    told.tasks = token.is_some().then_some(tasks);
                    return Ok(told);
                }
                if !moved {
                    return Err(malformed(format!(
                        "Asana's list of {what} does not move on: its token is the same"
                    )));
                }
            }
            // "Sync token invalid or too old": what happened before is lost, the new token counts from now.
            StatusCode::PRECONDITION_FAILED => {
                told.token = body(&response.body)?.sync;
                return Ok(told);
            }
            status => {
                let error = errors::from_answer(status, &response.headers, &response.body, &what);
                // Some plans and apps have no events. What they would tell is then read in full.
                if error.kind == SourceErrorKind::Forbidden {
                    return Ok(Told { token: None, ..told });
                }
                return Err(error);
            }
        }
    }
    // The next token begins behind what the project is now read for.
    told.token = None;
    Box::pin(since(api, project, None)).await.map(|fresh| Told { token: fresh.token, ..told })
}
