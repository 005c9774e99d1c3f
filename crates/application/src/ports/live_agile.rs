use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Cursor, SprintState};
use serde::Serialize;

use super::{Bounds, Connection, SourceError};

/// A board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveBoard {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `scrum`, `kanban` or `simple`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The project it is at home in, where the tracker tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// Boards of an instance.
#[derive(Debug, Clone, Copy)]
pub struct LiveBoardsAsk<'a> {
    /// Only those that show this project. It has been checked.
    pub project: Option<&'a str>,
    /// A part of a name.
    pub name: Option<&'a str>,
    /// Only of this kind.
    pub kind: Option<&'a str>,
    /// The most of one page.
    pub limit: usize,
    /// Where to go on.
    pub from: Option<&'a Cursor>,
    /// What may be seen.
    pub within: &'a Bounds,
}

/// One page of boards.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LiveBoards {
    /// In the tracker's order.
    pub boards: Vec<LiveBoard>,
    /// Where to go on; `None` on the last page.
    pub next: Option<Cursor>,
}

/// A sprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveSprint {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it is in its life.
    pub state: SprintState,
    /// Its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<DateTime<Utc>>,
    /// Its planned end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<DateTime<Utc>>,
    /// When it was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<DateTime<Utc>>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<String>,
    /// The board it was made on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub board: Option<String>,
}

/// Sprints of a board.
#[derive(Debug, Clone, Copy)]
pub struct LiveSprintsAsk<'a> {
    /// The board's id.
    pub board: &'a str,
    /// Only in these states.
    pub states: &'a [SprintState],
    /// The most of one page.
    pub limit: usize,
    /// Where to go on.
    pub from: Option<&'a Cursor>,
    /// What may be seen.
    pub within: &'a Bounds,
}

/// One page of sprints.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LiveSprints {
    /// In the tracker's order.
    pub sprints: Vec<LiveSprint>,
    /// Where to go on; `None` on the last page.
    pub next: Option<Cursor>,
}

/// Reads boards and sprints for somebody who waits, as [`LiveReader`](super::LiveReader) reads issues. A board may be seen
/// when the project it is at home in may be; one of no project, or of several of which some may not, is told like one
/// that does not exist.
#[async_trait]
pub trait LiveAgile: Send + Sync {
    /// One page of boards.
    async fn boards(
        &self,
        connection: &Connection,
        ask: &LiveBoardsAsk<'_>,
    ) -> Result<LiveBoards, SourceError>;

    /// One page of a board's sprints.
    async fn sprints(
        &self,
        connection: &Connection,
        ask: &LiveSprintsAsk<'_>,
    ) -> Result<LiveSprints, SourceError>;

    /// A sprint of a board that may be seen.
    async fn sprint(
        &self,
        connection: &Connection,
        id: &str,
        within: &Bounds,
    ) -> Result<LiveSprint, SourceError>;
}
