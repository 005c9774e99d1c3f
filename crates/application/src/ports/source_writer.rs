use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use domain::{
    ItemDeletion, ItemLink, ItemMove, ItemPatch, NewAttachment, NewComment, NewItem, NewWorklog, SprintWrite,
    Transition, VersionWrite, Watching, WrittenItem,
};
use serde::Serialize;

use super::{Connection, Look, SourceError, SourceErrorKind};

/// Writes to one kind of tracker. Each call sends the change once, and says by its error's kind whether it had an effect
/// (see [`TrackerWrite`](super::TrackerWrite)). An unknown name of a field or value is
/// [`Rejected`](super::SourceErrorKind::Rejected) before anything is sent, with what may be given in `allowed`.
#[async_trait]
pub trait SourceWriter: Send + Sync {
    /// As [`TrackerWrite::settles_within`](super::TrackerWrite::settles_within).
    fn settles_within(&self) -> Duration;

    /// Makes an item, with the marker on it.
    async fn create_item(
        &self,
        connection: &Connection,
        new: &NewItem,
        marker: &str,
    ) -> Result<WrittenItem, SourceError>;

    /// Changes what is asked and nothing else. [`Conflict`](super::SourceErrorKind::Conflict) when `if_unchanged_since` does not hold.
    async fn update_item(
        &self,
        connection: &Connection,
        key: &str,
        patch: &ItemPatch,
        marker: &str,
    ) -> Result<WrittenItem, SourceError>;

    /// Takes an item to a status. `allowed` of the error names the statuses that can be reached.
    async fn transition_item(
        &self,
        connection: &Connection,
        key: &str,
        transition: &Transition,
        marker: &str,
    ) -> Result<WrittenItem, SourceError>;

    /// Adds a comment, with the marker on it.
    async fn add_comment(
        &self,
        connection: &Connection,
        key: &str,
        comment: &NewComment,
        marker: &str,
    ) -> Result<WrittenItem, SourceError>;

    /// Links an item to another, or takes the link away. What is as asked already is no failure.
    async fn link_items(
        &self,
        connection: &Connection,
        key: &str,
        link: &ItemLink,
    ) -> Result<WrittenItem, SourceError> {
        let _ = (connection, key, link);
        let message = "Patchbay does not link the items of this tracker: do it in the tracker itself";
        Err(SourceError::new(SourceErrorKind::Unsupported, message))
    }

    /// Books time spent on an item, with the marker on it.
    async fn add_worklog(
        &self,
        connection: &Connection,
        key: &str,
        worklog: &NewWorklog,
        marker: &str,
    ) -> Result<WrittenItem, SourceError> {
        let _ = (connection, key, worklog, marker);
        let message = "Patchbay books no time in this tracker: do it in the tracker itself";
        Err(SourceError::new(SourceErrorKind::Unsupported, message))
    }

    /// Attaches a file to an item. [`Rejected`](super::SourceErrorKind::Rejected) when its content is no longer there.
    async fn attach_file(
        &self,
        connection: &Connection,
        key: &str,
        file: &NewAttachment,
    ) -> Result<WrittenItem, SourceError> {
        let _ = (connection, key, file);
        let message = "Patchbay attaches no files in this tracker: do it in the tracker itself";
        Err(SourceError::new(SourceErrorKind::Unsupported, message))
    }

    /// Makes somebody a watcher of an item, or no longer. What is as asked already is no failure.
    async fn set_watcher(
        &self,
        connection: &Connection,
        key: &str,
        watching: &Watching,
    ) -> Result<WrittenItem, SourceError> {
        let _ = (connection, key, watching);
        let message =
            "Patchbay does not change who watches the items of this tracker: do it in the tracker itself";
        Err(SourceError::new(SourceErrorKind::Unsupported, message))
    }

    /// Puts an item into a sprint, by id, or with `None` into the backlog. What is as asked already is no failure.
    async fn put_in_sprint(
        &self,
        connection: &Connection,
        key: &str,
        sprint: Option<&str>,
    ) -> Result<WrittenItem, SourceError> {
        let _ = (connection, key, sprint);
        Err(no_sprints())
    }

    /// Makes a sprint or changes one. A new one is refused while its board has an open one of that name.
    async fn write_sprint(
        &self,
        connection: &Connection,
        asked: &SprintWrite,
    ) -> Result<WrittenItem, SourceError> {
        let _ = (connection, asked);
        Err(no_sprints())
    }

    /// Keys of the projects that such a write concerns.
    async fn projects_of_sprint(
        &self,
        connection: &Connection,
        asked: &SprintWrite,
    ) -> Result<BTreeSet<String>, SourceError> {
        let _ = (connection, asked);
        Err(no_sprints())
    }

    /// Deletes an item for good. [`Conflict`](super::SourceErrorKind::Conflict) when it is not as it was confirmed, or
    /// nothing was.
    async fn delete_item(
        &self,
        connection: &Connection,
        key: &str,
        deletion: &ItemDeletion,
    ) -> Result<WrittenItem, SourceError> {
        let _ = (connection, key, deletion);
        let message = "Patchbay deletes no items of this tracker: do it in the tracker itself";
        Err(SourceError::new(SourceErrorKind::Unsupported, message))
    }

    /// Moves an item to another project, where it gets another key.
    async fn move_item(
        &self,
        connection: &Connection,
        key: &str,
        to: &ItemMove,
    ) -> Result<WrittenItem, SourceError> {
        let _ = (connection, key, to);
        let message = "Patchbay moves no items of this tracker: do it in the tracker itself";
        Err(SourceError::new(SourceErrorKind::Unsupported, message))
    }

    /// Makes a version of a project, or changes one. A new one is refused while the project has one of that name.
    async fn write_version(
        &self,
        connection: &Connection,
        asked: &VersionWrite,
    ) -> Result<WrittenItem, SourceError> {
        let _ = (connection, asked);
        let message = "Patchbay writes no versions of this tracker: do it in the tracker itself";
        Err(SourceError::new(SourceErrorKind::Unsupported, message))
    }

    /// Says what a write would do, refusing what the write would refuse before it is sent. Changes nothing.
    async fn rehearse(&self, connection: &Connection, write: &ItemWrite) -> Result<WrittenItem, SourceError> {
        let _ = (connection, write);
        let message = "this write cannot be tried without making it";
        Err(SourceError::new(SourceErrorKind::Unsupported, message))
    }

    /// Looks whether a write took place: by its marker for items and comments that were made, by the item's state
    /// for changes, which are harmless to repeat, by its absence for an item that was deleted, and for files, which carry
    /// no marker, by name, size, who attached them and when. Changes nothing.
    async fn look(
        &self,
        connection: &Connection,
        write: &ItemWrite,
        marker: &str,
    ) -> Result<Look, SourceError>;
}

fn no_sprints() -> SourceError {
    let message = "Patchbay does not write sprints of this tracker: do it in the tracker itself";
    SourceError::new(SourceErrorKind::Unsupported, message)
}

/// A write, as a whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemWrite {
    /// Make an item.
    Create(NewItem),
    /// Change the item of this key.
    Update(String, ItemPatch),
    /// Take it to a status.
    Transition(String, Transition),
    /// Add a comment to it.
    Comment(String, NewComment),
    /// Link it to another.
    Link(String, ItemLink),
    /// Book time on it.
    Worklog(String, NewWorklog),
    /// Have somebody watch it, or no longer.
    Watch(String, Watching),
    /// Attach a file to it.
    Attach(String, NewAttachment),
    /// Put it into a sprint, or into the backlog.
    PutInSprint(String, Option<String>),
    /// Make a sprint, or change one: of no item.
    Sprint(SprintWrite),
    /// Delete it for good.
    Delete(String, ItemDeletion),
    /// Move it to another project.
    Move(String, ItemMove),
    /// Make a version of a project, or change one: of no item.
    Version(VersionWrite),
}

impl ItemWrite {
    /// The name of what is done, as it is kept with the intent.
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::Create(_) => "create_item",
            Self::Update(..) => "update_item",
            Self::Transition(..) => "transition_item",
            Self::Comment(..) => "add_comment",
            Self::Link(..) => "link_items",
            Self::Worklog(..) => "add_worklog",
            Self::Watch(..) => "set_watcher",
            Self::Attach(..) => "attach_file",
            Self::PutInSprint(..) => "put_in_sprint",
            Self::Sprint(_) => "write_sprint",
            Self::Delete(..) => "delete_item",
            Self::Move(..) => "move_item",
            Self::Version(_) => "write_version",
        }
    }

    /// The key of the item that is written to; `None` for one that is made, and for what is no item.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Create(_) | Self::Sprint(_) | Self::Version(_) => None,
            Self::Update(key, _)
            | Self::Transition(key, _)
            | Self::Comment(key, _)
            | Self::Link(key, _)
            | Self::Worklog(key, _)
            | Self::Watch(key, _)
            | Self::Attach(key, _)
            | Self::PutInSprint(key, _)
            | Self::Delete(key, _)
            | Self::Move(key, _) => Some(key),
        }
    }

    /// The keys of all items that are not the same afterwards; none for one that is made.
    pub fn keys(&self) -> Vec<&str> {
        let other = match self {
            Self::Link(_, link) => Some(link.to.as_str()),
            Self::Create(_)
            | Self::Update(..)
            | Self::Transition(..)
            | Self::Comment(..)
            | Self::Worklog(..)
            | Self::Watch(..)
            | Self::Attach(..)
            | Self::PutInSprint(..)
            | Self::Sprint(_)
            | Self::Delete(..)
            | Self::Move(..)
            | Self::Version(_) => None,
        };
        self.key().into_iter().chain(other).collect()
    }
}
