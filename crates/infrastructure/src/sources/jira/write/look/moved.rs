//! Whether a transition was taken that is named by its id or its own name, where the issue cannot take it any more.

use application::ports::SourceError;
use serde::Deserialize;

use super::super::super::api::{Api, segment};
use super::super::super::model::{History, User};
use super::super::issue::Issue;
use super::super::transition::is_open;
use super::marked::since;

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

/// As long as the issue can take it, it was not. After that its history tells: who changed the status since the write was
/// meant. Which transition that was it does not tell, but the write was meant for the one the issue could take then.
pub(super) async fn was_taken(
    api: &Api<'_>,
    issue: &Issue,
    to: &str,
    marker: &str,
) -> Result<bool, SourceError> {
    let Some(since) = since(marker) else { return Ok(false) };
    if is_open(api, issue, to).await? {
        return Ok(false);
    }
    let me: User = api.get(&api.rest("/myself"), &[], "the account").await?.json("the account")?;
    let path = api.rest(&format!("/issue/{}", segment(&issue.key)));
    let what = format!("the history of {}", issue.key);
    let query = [("fields", "status"), ("expand", "changelog")];
    let told: Told = api.get(&path, &query, &what).await?.json(&what)?;
    Ok(told.changelog.histories.iter().any(|history| {
        history.created.0 >= since
            && history.author.as_ref().is_some_and(|author| author.is(&me))
            && history.items.iter().any(|item| item.field == "status")
    }))
}
