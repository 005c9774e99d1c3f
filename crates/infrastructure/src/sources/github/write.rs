//! Writing to issues and pull requests. <https://docs.github.com/en/rest/issues/issues>
//!
//! Names are looked up before anything is sent, since GitHub makes a label of a name it does not know and drops silently
//! what the token may not set. Writes to one instance go one at a time, a second apart, as GitHub asks for.

mod asked;
mod change;
mod look;
mod names;
mod pace;
mod parent;
mod snapshot;
mod wanted;

use std::time::Duration;

use application::ports::{Connection, ItemWrite, Look, SourceError, SourceErrorKind, SourceWriter};
use async_trait::async_trait;
use domain::{ItemPatch, NewComment, NewItem, Transition, WrittenItem};
use http::Method;
use serde_json::{Value, json};

use super::super::refusals::midway;
use super::api::Api;
use super::{GitHub, malformed, marker};
use names::Target;
pub(super) use pace::{Pace, Turn};
use snapshot::{Comment, Snapshot};

/// GitHub ends a request after ten seconds, and shows in its lists what it took.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

#[async_trait]
impl SourceWriter for GitHub {
    fn settles_within(&self) -> Duration {
        SETTLES_WITHIN
    }

    async fn create_item(
        &self,
        connection: &Connection,
        new: &NewItem,
        marker: &str,
    ) -> Result<WrittenItem, SourceError> {
        let api = Api::new(self, connection)?;
        let repository = names::repository(&api, &new.project)?;
        let wanted = asked::of_new(&api, &repository, new).await?;
        let mut turn = self.pace.turn(connection.instance).await?;
        let mut body = wanted.to_json(None);
        body["title"] = json!(new.title);
        body["body"] = json!(marker::mark(new.body.as_deref().unwrap_or_default(), marker));
        let what = format!("a new issue in {repository}");
        let url = api.url(&format!("/repos/{repository}/issues"))?;
        let answer = turn.change(&api, Method::POST, &url, Some(&body), &what).await?;
        let made = Snapshot::read(&answer.text(), &what)?;
        let target = Target { repository, number: made.number };
        // From here on the issue is there, whatever else fails.
        let made = match wanted.dropped(&made).is_empty() {
            true => made,
            false => Snapshot::fetch(&api, &target).await.unwrap_or(made),
        };
        let mut warnings = wanted.dropped(&made);
        let mut changed = wanted.changes(None, &made);
        if let Some(Some(parent)) = &wanted.parent {
            match parent::set(&api, &mut turn, made.id, parent).await {
                Ok(()) => changed.push(parent::changed(None, Some(parent))),
                Err(error) => {
                    warnings.push(format!("the issue was made, but not a part of {parent}: {error}"));
                }
            }
        }
        Ok(made.written(&target, changed, warnings))
    }

    async fn update_item(
        &self,
        connection: &Connection,
        key: &str,
        patch: &ItemPatch,
        _marker: &str,
    ) -> Result<WrittenItem, SourceError> {
        let api = Api::new(self, connection)?;
        let target = Target::parse(&api, key)?;
        let mut turn = self.pace.turn(connection.instance).await?;
        let before = Snapshot::fetch(&api, &target).await?;
        before.require_unchanged(&target, patch.if_unchanged_since)?;
        let wanted = asked::of_patch(&api, &target, &before, patch).await?;
        change::apply(&api, &mut turn, &target, &before, &wanted).await
    }

    async fn transition_item(
        &self,
        connection: &Connection,
        key: &str,
        transition: &Transition,
        marker: &str,
    ) -> Result<WrittenItem, SourceError> {
        let api = Api::new(self, connection)?;
        let target = Target::parse(&api, key)?;
        let mut turn = self.pace.turn(connection.instance).await?;
        let before = Snapshot::fetch(&api, &target).await?;
        let wanted = asked::of_transition(&before, transition)?;
        let comment = match &transition.comment {
            Some(text) => match look::comment(&api, &target, marker).await? {
                // An earlier attempt got as far as this.
                Some(found) => Some(found),
                None => {
                    before.require_unchanged(&target, transition.if_unchanged_since)?;
                    Some(post_comment(&api, &mut turn, &target, text, marker).await?)
                }
            },
            None => {
                before.require_unchanged(&target, transition.if_unchanged_since)?;
                None
            }
        };
        let written = change::apply(&api, &mut turn, &target, &before, &wanted).await;
        let written = written.map_err(|error| if comment.is_some() { midway(error) } else { error })?;
        Ok(WrittenItem { comment_id: comment.map(|comment| comment.id.to_string()), ..written })
    }

    async fn add_comment(
        &self,
        connection: &Connection,
        key: &str,
        comment: &NewComment,
        marker: &str,
    ) -> Result<WrittenItem, SourceError> {
        if comment.internal {
            return Err(SourceError {
                field: Some("/internal".into()),
                ..SourceError::new(SourceErrorKind::Unsupported, "GitHub has no internal comments")
            });
        }
        let api = Api::new(self, connection)?;
        let target = Target::parse(&api, key)?;
        let mut turn = self.pace.turn(connection.instance).await?;
        let item = Snapshot::fetch(&api, &target).await?;
        let posted = post_comment(&api, &mut turn, &target, &comment.body, marker).await?;
        Ok(item.commented(&target, &posted))
    }

    async fn look(
        &self,
        connection: &Connection,
        write: &ItemWrite,
        marker: &str,
    ) -> Result<Look, SourceError> {
        let api = Api::new(self, connection)?;
        match write {
            ItemWrite::Create(new) => {
                let repository = names::repository(&api, &new.project)?;
                look::issue(&api, &repository, marker).await
            }
            ItemWrite::Comment(key, _) => {
                let target = Target::parse(&api, key)?;
                match look::comment(&api, &target, marker).await? {
                    Some(posted) => {
                        let item = Snapshot::fetch(&api, &target).await?;
                        look::found(&item.commented(&target, &posted))
                    }
                    None => Ok(Look::Absent),
                }
            }
            ItemWrite::Update(key, patch) => {
                let target = Target::parse(&api, key)?;
                let now = Snapshot::fetch(&api, &target).await?;
                let wanted = asked::of_patch(&api, &target, &now, patch).await?;
                look::state(&target, &now, &wanted, None)
            }
            ItemWrite::Transition(key, transition) => {
                let target = Target::parse(&api, key)?;
                let now = Snapshot::fetch(&api, &target).await?;
                let wanted = asked::of_transition(&now, transition)?;
                let comment = match transition.comment {
                    Some(_) => match look::comment(&api, &target, marker).await? {
                        None => return Ok(Look::Absent),
                        found => found,
                    },
                    None => None,
                };
                look::state(&target, &now, &wanted, comment.as_ref())
            }
            // Never sent.
            ItemWrite::Link(..)
            | ItemWrite::Worklog(..)
            | ItemWrite::Watch(..)
            | ItemWrite::Attach(..)
            | ItemWrite::PutInSprint(..)
            | ItemWrite::Sprint(_)
            | ItemWrite::Delete(..)
            | ItemWrite::Move(..)
            | ItemWrite::Version(_) => Ok(Look::Absent),
        }
    }
}

async fn post_comment(
    api: &Api<'_>,
    turn: &mut Turn,
    target: &Target,
    text: &str,
    marker: &str,
) -> Result<Comment, SourceError> {
    let what = format!("a comment on {target}");
    let url = api.url(&format!("/repos/{}/issues/{}/comments", target.repository, target.number))?;
    let body: Value = json!({"body": marker::mark(text, marker)});
    let answer = turn.change(api, Method::POST, &url, Some(&body), &what).await?;
    serde_json::from_str(&answer.text())
        .map_err(|error| malformed(format!("GitHub's answer for {what} is not a comment ({error})")))
}
