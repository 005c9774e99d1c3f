//! Deliveries that did not arrive, asked for again: GitHub does not repeat them by itself.
//! <https://docs.github.com/en/webhooks/using-webhooks/automatically-redelivering-failed-deliveries-for-a-repository-webhook>

use std::collections::HashSet;

use application::ports::SourceError;
use http::Method;
use serde::Deserialize;

use super::super::api::Api;
use super::super::malformed;
use super::super::write::Turn;

/// More than so many at once are left to the next sync.
const MOST: usize = 10;

#[derive(Deserialize)]
struct Listed {
    id: u64,
    guid: String,
    status_code: u16,
    #[serde(default)]
    event: String,
}

/// Asks for the latest failed deliveries of a webhook again.
pub(super) async fn failed(
    api: &Api<'_>,
    turn: &mut Turn,
    repository: &str,
    hook: u64,
) -> Result<(), SourceError> {
    let what = format!("the webhook deliveries of {repository}");
    let path = format!("/repos/{repository}/hooks/{hook}/deliveries");
    let answer = api.get(&api.url(&format!("{path}?per_page=100"))?, None, &what).await?;
    let listed: Vec<Listed> = serde_json::from_str(&answer.text())
        .map_err(|error| malformed(format!("GitHub's list of {what} has an unknown form ({error})")))?;
    for id in unanswered(&listed) {
        let url = api.url(&format!("{path}/{id}/attempts"))?;
        turn.change(api, Method::POST, &url, None, &what).await?;
    }
    Ok(())
}

/// The latest attempt of each delivery of which none arrived. Attempts share a GUID and are listed newest first.
fn unanswered(listed: &[Listed]) -> Vec<u64> {
    let arrived: HashSet<&str> = listed
        .iter()
        .filter(|one| (200..300).contains(&one.status_code))
        .map(|one| one.guid.as_str())
        .collect();
    let mut seen = HashSet::new();
    listed
        .iter()
        .filter(|one| one.event != "ping" && !arrived.contains(one.guid.as_str()))
        .filter(|one| seen.insert(one.guid.as_str()))
        .map(|one| one.id)
        .take(MOST)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_never_arrived_is_asked_for_again_and_once() {
        let one = |id, guid: &str, status_code, event: &str| Listed {
            id,
            guid: guid.into(),
            status_code,
            event: event.into(),
        };
        let listed = [
            one(6, "c", 502, "issues"),
            one(5, "b", 200, "issues"),
            one(4, "c", 500, "issues"),
            one(3, "b", 500, "issues"),
            one(2, "a", 0, "label"),
            one(1, "p", 500, "ping"),
        ];
        assert_eq!(unanswered(&listed), [6, 2]);
    }
}
