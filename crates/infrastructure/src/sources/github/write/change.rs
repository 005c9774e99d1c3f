//! Sends a change, and looks what came of it.

use application::ports::{SourceError, SourceErrorKind};
use domain::WrittenItem;
use http::Method;
use serde_json::json;

use super::super::api::Api;
use super::names::Target;
use super::pace::Turn;
use super::parent;
use super::snapshot::Snapshot;
use super::wanted::Wanted;

/// Sends what differs, and tells what came of it.
pub(super) async fn apply(
    api: &Api<'_>,
    turn: &mut Turn,
    target: &Target,
    before: &Snapshot,
    wanted: &Wanted,
) -> Result<WrittenItem, SourceError> {
    let fields = wanted.to_json(Some(before));
    let sends = fields.as_object().is_some_and(|fields| !fields.is_empty());
    let mut after = before.clone();
    let mut warnings = Vec::new();
    if sends {
        // GitHub ignores a reason unless the state changes with it, so a closed issue is closed for another by opening it.
        let reopen = fields.get("state_reason").is_some() && before.state == "closed";
        let url = api.url(&format!("/repos/{}/issues/{}", target.repository, target.number))?;
        let what = target.to_string();
        if reopen {
            turn.change(api, Method::PATCH, &url, Some(&json!({"state": "open"})), &what).await?;
        }
        let answer = turn.change(api, Method::PATCH, &url, Some(&fields), &what).await?;
        after = Snapshot::read(&answer.text(), &what)?;
        if !wanted.dropped(&after).is_empty() {
            after = Snapshot::fetch(api, target).await?;
        }
        warnings = wanted.dropped(&after);
    }
    let mut changed = wanted.changes(Some(before), &after);
    if !wanted.has_parent() {
        let new = wanted.parent.as_ref().and_then(Option::as_ref);
        let moved = match (new, &wanted.parent_now) {
            (Some(new), _) => parent::set(api, turn, before.id, new).await,
            (None, Some(now)) => parent::leave(api, turn, before.id, now).await,
            (None, None) => Ok(()),
        };
        match moved {
            Ok(()) => changed.push(parent::changed(wanted.parent_now.as_ref(), new)),
            Err(error) if changed.is_empty() => {
                return Err(SourceError { field: Some("/parent".into()), ..error });
            }
            Err(error) => warnings.push(format!("the parent is as it was: {error}")),
        }
    }
    if changed.is_empty() && sends && !warnings.is_empty() {
        return Err(SourceError::new(SourceErrorKind::Forbidden, warnings.join("; ")));
    }
    Ok(after.written(target, changed, warnings))
}
