//! Whether a transition was taken, where the issue is not in the status that was asked for and cannot take it any more.

use application::ports::SourceError;
use chrono::TimeDelta;
use serde::Deserialize;

use super::super::super::api::{Api, segment};
use super::super::super::model::{History, User};
use super::super::issue::Issue;
use super::super::transition::{is_open, is_same};
use super::marked::meant_at;

/// How far Jira's clock may be behind ours. Little: what the account did before must not be taken for this write, which
/// otherwise is only refused, as the issue cannot take it any more.
const CLOCKS: TimeDelta = TimeDelta::seconds(30);

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    changelog: Changelog,
}

#[derive(Default, Deserialize)]
struct Changelog {
    #[serde(default)]
    histories: Vec<History>,
}

/// Whether a transition was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    /// The account changed the status since the write was meant, and it is not told by which transition.
    Perhaps,
    No,
}

/// As long as the issue can take it, it was not. After that its history tells who changed the status, and to which, since the
/// write was meant: not by which transition.
pub(super) async fn was_taken(
    api: &Api<'_>,
    issue: &Issue,
    to: &str,
    marker: &str,
) -> Result<Taken, SourceError> {
    let Some(since) = meant_at(marker).map(|at| at - CLOCKS) else { return Ok(Taken::No) };
    if is_open(api, issue, to).await? {
        return Ok(Taken::No);
    }
    let me: User = api.get(&api.rest("/myself"), &[], "the account").await?.json("the account")?;
    let path = api.rest(&format!("/issue/{}", segment(&issue.key)));
    let what = format!("the history of {}", issue.key);
    let query = [("fields", "status"), ("expand", "changelog")];
    let told: Told = api.get(&path, &query, &what).await?.json(&what)?;
    let ours = told.changelog.histories.iter().filter(|history| {
        history.created.0 >= since && history.author.as_ref().is_some_and(|author| author.is(&me))
    });
    let mut taken = Taken::No;
    for item in ours.flat_map(|history| &history.items).filter(|item| item.field == "status") {
        if item.to_text.as_deref().is_some_and(|status| is_same(status, to)) {
            return Ok(Taken::Yes);
        }
        taken = Taken::Perhaps;
    }
    Ok(taken)
}
