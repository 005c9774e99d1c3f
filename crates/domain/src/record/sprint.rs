//! Boards, sprints, and when items were in them.

use chrono::{DateTime, Utc};

use crate::{BoardKind, SprintState};

/// A board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardRecord {
    /// The source's immutable id.
    pub source_id: String,
    /// Its name.
    pub name: String,
    /// What kind.
    pub kind: BoardKind,
    /// The project it belongs to, where it belongs to one.
    pub project_source_id: Option<String>,
    /// Its page in the tracker, where it has one.
    pub url: Option<String>,
}

/// A sprint or iteration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SprintRecord {
    /// The source's immutable id.
    pub source_id: String,
    /// The board it was made on, where told.
    pub board_source_id: Option<String>,
    /// Its name.
    pub name: String,
    /// Its goal.
    pub goal: Option<String>,
    /// Where it stands.
    pub state: SprintState,
    /// When it begins or began.
    pub start_at: Option<DateTime<Utc>>,
    /// When it is planned to end.
    pub end_at: Option<DateTime<Utc>>,
    /// When it was closed.
    pub completed_at: Option<DateTime<Utc>>,
}

/// An item was in a sprint for a time. One may come back, so an item and a sprint may have several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SprintMembershipRecord {
    /// The item.
    pub item_ref_key: String,
    /// The sprint.
    pub sprint_source_id: String,
    /// Since when: creation of the item, or the change that put it there.
    pub added_at: DateTime<Utc>,
    /// Until when; `None` while it is in it.
    pub removed_at: Option<DateTime<Utc>>,
    /// Whether this is from the item's history. Otherwise it is what the item says now, and `added_at` is a guess.
    pub from_history: bool,
}
