//! Writes to Jira, both dialects: what was asked is looked up by name, checked against what the screens take, and sent
//! once.

mod attach;
mod comment;
mod create;
mod delete;
mod fields;
pub(super) mod form;
mod issue;
mod link;
mod look;
mod move_to;
mod people;
pub(super) mod pick;
mod project;
mod rehearse;
mod send;
mod sprint;
mod sprints;
mod text;
mod transition;
mod update;
mod values;
mod versions;
mod watch;
mod worklog;

use std::collections::BTreeSet;
use std::time::Duration;

use application::ports::{Connection, ItemWrite, Look, SourceError, SourceErrorKind, SourceWriter};
use async_trait::async_trait;
use domain::{
    ItemDeletion, ItemLink, ItemMove, ItemPatch, NewAttachment, NewComment, NewItem, NewWorklog, SprintWrite,
    Transition, VersionWrite, Watching, WrittenItem,
};
use serde_json::{Value, json};

use super::Jira;

/// The property that issues and comments carry our marker in. Jira shows it to nobody.
const PROPERTY: &str = "patchbay";
/// The gateway ends requests after a minute, and the search index follows within seconds.
const SETTLES_WITHIN: Duration = Duration::from_secs(90);

#[async_trait]
impl SourceWriter for Jira {
    fn settles_within(&self) -> Duration {
        SETTLES_WITHIN
    }

    async fn create_item(
        &self,
        connection: &Connection,
        new: &NewItem,
        marker: &str,
    ) -> Result<WrittenItem, SourceError> {
        create::create(&self.api(connection).await?, new, marker, Mode::Send).await
    }

    async fn update_item(
        &self,
        connection: &Connection,
        key: &str,
        patch: &ItemPatch,
        _marker: &str,
    ) -> Result<WrittenItem, SourceError> {
        update::update(&self.api(connection).await?, key, patch, Mode::Send).await
    }

    async fn transition_item(
        &self,
        connection: &Connection,
        key: &str,
        transition: &Transition,
        marker: &str,
    ) -> Result<WrittenItem, SourceError> {
        transition::transition(&self.api(connection).await?, key, transition, marker, Mode::Send).await
    }

    async fn add_comment(
        &self,
        connection: &Connection,
        key: &str,
        comment: &NewComment,
        marker: &str,
    ) -> Result<WrittenItem, SourceError> {
        comment::add(&self.api(connection).await?, key, comment, marker).await
    }

    async fn link_items(
        &self,
        connection: &Connection,
        key: &str,
        link: &ItemLink,
    ) -> Result<WrittenItem, SourceError> {
        link::link(&self.api(connection).await?, key, link).await
    }

    async fn add_worklog(
        &self,
        connection: &Connection,
        key: &str,
        worklog: &NewWorklog,
        marker: &str,
    ) -> Result<WrittenItem, SourceError> {
        worklog::add(&self.api(connection).await?, key, worklog, marker, Mode::Send).await
    }

    async fn attach_file(
        &self,
        connection: &Connection,
        key: &str,
        file: &NewAttachment,
    ) -> Result<WrittenItem, SourceError> {
        attach::attach(&self.api(connection).await?, key, file, Mode::Send).await
    }

    async fn set_watcher(
        &self,
        connection: &Connection,
        key: &str,
        watching: &Watching,
    ) -> Result<WrittenItem, SourceError> {
        watch::set(&self.api(connection).await?, key, watching, Mode::Send).await
    }

    async fn put_in_sprint(
        &self,
        connection: &Connection,
        key: &str,
        sprint: Option<&str>,
    ) -> Result<WrittenItem, SourceError> {
        sprints::put(&self.api(connection).await?, key, sprint).await
    }

    async fn write_sprint(
        &self,
        connection: &Connection,
        asked: &SprintWrite,
    ) -> Result<WrittenItem, SourceError> {
        sprints::write(&self.api(connection).await?, asked, Mode::Send).await
    }

    async fn projects_of_sprint(
        &self,
        connection: &Connection,
        asked: &SprintWrite,
    ) -> Result<BTreeSet<String>, SourceError> {
        sprints::projects(&self.api(connection).await?, asked).await
    }

    async fn delete_item(
        &self,
        connection: &Connection,
        key: &str,
        deletion: &ItemDeletion,
    ) -> Result<WrittenItem, SourceError> {
        delete::delete(&self.api(connection).await?, key, deletion).await
    }

    async fn move_item(
        &self,
        connection: &Connection,
        key: &str,
        to: &ItemMove,
    ) -> Result<WrittenItem, SourceError> {
        move_to::move_to(&self.api(connection).await?, key, to, Mode::Send).await
    }

    async fn write_version(
        &self,
        connection: &Connection,
        asked: &VersionWrite,
    ) -> Result<WrittenItem, SourceError> {
        versions::write(&self.api(connection).await?, asked, Mode::Send).await
    }

    async fn rehearse(&self, connection: &Connection, write: &ItemWrite) -> Result<WrittenItem, SourceError> {
        let api = self.api(connection).await?;
        match write {
            ItemWrite::Create(new) => create::create(&api, new, "", Mode::Rehearse).await,
            ItemWrite::Update(key, patch) => update::update(&api, key, patch, Mode::Rehearse).await,
            ItemWrite::Transition(key, to) => transition::transition(&api, key, to, "", Mode::Rehearse).await,
            ItemWrite::Worklog(key, worklog) => worklog::add(&api, key, worklog, "", Mode::Rehearse).await,
            ItemWrite::Watch(key, watching) => watch::set(&api, key, watching, Mode::Rehearse).await,
            ItemWrite::Attach(key, file) => attach::attach(&api, key, file, Mode::Rehearse).await,
            ItemWrite::Sprint(asked) => sprints::write(&api, asked, Mode::Rehearse).await,
            ItemWrite::Delete(key, deletion) => delete::rehearse(&api, key, deletion).await,
            ItemWrite::Move(key, to) => move_to::move_to(&api, key, to, Mode::Rehearse).await,
            ItemWrite::Version(asked) => versions::write(&api, asked, Mode::Rehearse).await,
            ItemWrite::Comment(..) | ItemWrite::Link(..) | ItemWrite::PutInSprint(..) => {
                Err(SourceError::new(
                    SourceErrorKind::Unsupported,
                    "comments, links and moves between sprints cannot be tried without making them",
                ))
            }
        }
    }

    async fn look(
        &self,
        connection: &Connection,
        write: &ItemWrite,
        marker: &str,
    ) -> Result<Look, SourceError> {
        look::look(&self.api(connection).await?, write, marker).await
    }
}

/// Whether a change is sent, or it is only said what it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Send,
    Rehearse,
}

/// The marker as a property of an issue or comment.
fn property(marker: &str) -> Value {
    json!({"key": PROPERTY, "value": {"marker": marker}})
}

/// Whether a property's value holds the marker.
fn carries(value: &Value, marker: &str) -> bool {
    value.get("marker").and_then(Value::as_str) == Some(marker)
}

fn rejected(field: &str, message: impl Into<String>) -> SourceError {
    SourceError { field: Some(field.to_owned()), ..SourceError::new(SourceErrorKind::Rejected, message) }
}
