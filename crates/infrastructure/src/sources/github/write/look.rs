//! Whether a write took place. By lists, not by the search, which lags behind.

use application::ports::{Look, SourceError};
use chrono::SecondsFormat;
use domain::WrittenItem;

use super::super::api::{Api, rows};
use super::super::{malformed, marker};
use super::names::Target;
use super::snapshot::{Comment, Snapshot};
use super::wanted::Wanted;

/// Most pages of a hundred that are looked through.
const MAX_PAGES: usize = 20;

pub(super) fn found(written: &WrittenItem) -> Result<Look, SourceError> {
    serde_json::to_value(written)
        .map(Look::Found)
        .map_err(|error| malformed(format!("what was written cannot be kept ({error})")))
}

fn since(marker: &str) -> String {
    marker::not_before(marker)
        .map_or(String::new(), |at| format!("&since={}", at.to_rfc3339_opts(SecondsFormat::Secs, true)))
}

/// An issue that carries the marker: it is among those created since the write was meant.
pub(super) async fn issue(api: &Api<'_>, repository: &str, marker: &str) -> Result<Look, SourceError> {
    let what = format!("the latest issues of {repository}");
    let not_before = marker::not_before(marker);
    let path = format!(
        "/repos/{repository}/issues?state=all&sort=created&direction=desc&per_page=100{}",
        since(marker)
    );
    let mut url = api.url(&path)?;
    for _ in 0..MAX_PAGES {
        let answer = api.get(&url, None, &what).await?;
        let text = answer.text();
        for raw in rows(&text)? {
            let Ok(item) = Snapshot::read(raw.get(), &what) else { continue };
            if marker::carries(item.marked_body(), marker) {
                let target = Target { repository: repository.to_owned(), number: item.number };
                let changed = Wanted::default().changes(None, &item);
                return found(&item.written(&target, changed, Vec::new()));
            }
            if not_before.is_some_and(|at| item.created_at < at) {
                return Ok(Look::Absent);
            }
        }
        match &answer.links.next {
            Some(next) => url = api.follow(next)?,
            None => return Ok(Look::Absent),
        }
    }
    Ok(Look::Unsure)
}

/// The comment that carries the marker.
pub(super) async fn comment(
    api: &Api<'_>,
    target: &Target,
    marker: &str,
) -> Result<Option<Comment>, SourceError> {
    let what = format!("the comments of {target}");
    let Target { repository, number } = target;
    let url =
        api.url(&format!("/repos/{repository}/issues/{number}/comments?per_page=100{}", since(marker)))?;
    let first = api.get(&url, None, &what).await?;
    let mut found = None;
    api.all_pages(first, &what, |text| {
        let comments =
            rows(text)?.into_iter().filter_map(|raw| serde_json::from_str::<Comment>(raw.get()).ok());
        found = found.take().or_else(|| {
            comments
                .into_iter()
                .find(|comment| marker::carries(comment.body.as_deref().unwrap_or_default(), marker))
        });
        Ok(())
    })
    .await?;
    Ok(found)
}

/// Whether an item is as wanted already. What it was before is not known any more.
pub(super) fn state(
    target: &Target,
    now: &Snapshot,
    wanted: &Wanted,
    comment: Option<&Comment>,
) -> Result<Look, SourceError> {
    let differs = wanted.to_json(Some(now)).as_object().is_none_or(|fields| !fields.is_empty());
    if differs || !wanted.has_parent() {
        return Ok(Look::Absent);
    }
    found(&WrittenItem {
        comment_id: comment.map(|comment| comment.id.to_string()),
        ..now.written(target, Vec::new(), Vec::new())
    })
}
