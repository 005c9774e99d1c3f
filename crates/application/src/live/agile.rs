//! Boards and sprints.

use domain::SprintState;

use super::answer::{Draft, LiveAnswer};
use super::cursor::Question;
use super::reads::{LIST_BYTES, or_not_found, require_project};
use super::{LiveService, Target};
use crate::ports::{LiveAgile, LiveBoardsAsk, LiveSprint, LiveSprintsAsk};
use crate::{Ctx, Error};

/// Boards.
#[derive(Debug, Clone, Default)]
pub struct BoardsAsk {
    /// The instance's short name; not needed where there is one.
    pub instance: Option<String>,
    /// Only those that show this project.
    pub project: Option<String>,
    /// A part of a name.
    pub name: Option<String>,
    /// `scrum`, `kanban` or `simple`.
    pub kind: Option<String>,
    /// The most boards, 1 to 100.
    pub limit: usize,
    /// Where to go on.
    pub cursor: Option<String>,
}

/// Sprints of a board.
#[derive(Debug, Clone, Default)]
pub struct SprintsAsk {
    /// The instance's short name; not needed where there is one.
    pub instance: Option<String>,
    /// The board's id.
    pub board: String,
    /// Only in these states.
    pub states: Vec<SprintState>,
    /// The most sprints, 1 to 100.
    pub limit: usize,
    /// Where to go on.
    pub cursor: Option<String>,
}

impl Target {
    fn agile(&self) -> Result<&dyn LiveAgile, Error> {
        self.reader()?.agile().ok_or_else(|| Error::not_found("a tracker whose boards can be read live"))
    }
}

impl LiveService {
    /// One page of the boards of projects that may be seen.
    pub async fn boards(&self, ctx: &Ctx, ask: &BoardsAsk) -> Result<LiveAnswer, Error> {
        let target = self.target(ctx, ask.instance.as_deref()).await?;
        if let Some(project) = &ask.project {
            require_project(&target, project)?;
        }
        let asked = format!("{:?}", (&ask.project, &ask.name, &ask.kind));
        let question = Question { instance: target.instance.id, tool: "boards", asked: &asked };
        let from = self.position(ctx, question, ask.cursor.as_deref())?;
        let boards = LiveBoardsAsk {
            project: ask.project.as_deref(),
            name: ask.name.as_deref(),
            kind: ask.kind.as_deref(),
            limit: ask.limit,
            from: from.as_ref(),
            within: &target.within,
        };
        let (agile, boards) = (target.agile()?, &boards);
        let found = self.ask(ctx, &target, |c| async move { agile.boards(&c, boards).await }).await?;
        let mut draft = Draft::new();
        draft.rows("boards", &found.boards, LIST_BYTES, |board| board.id.clone());
        self.go_on(&mut draft, ctx, question, found.next.as_ref());
        Ok(draft.finish(&target, self.parts.clock.now()))
    }

    /// One page of a board's sprints.
    pub async fn sprints(&self, ctx: &Ctx, ask: &SprintsAsk) -> Result<LiveAnswer, Error> {
        let target = self.target(ctx, ask.instance.as_deref()).await?;
        let asked = format!("{:?}", (&ask.board, &ask.states));
        let question = Question { instance: target.instance.id, tool: "sprints", asked: &asked };
        let from = self.position(ctx, question, ask.cursor.as_deref())?;
        let sprints = LiveSprintsAsk {
            board: &ask.board,
            states: &ask.states,
            limit: ask.limit,
            from: from.as_ref(),
            within: &target.within,
        };
        let (agile, sprints) = (target.agile()?, &sprints);
        let found = self.ask(ctx, &target, |c| async move { agile.sprints(&c, sprints).await }).await;
        let found = found.map_err(|error| or_not_found(error, || format!("the board {}", ask.board)))?;
        let mut draft = Draft::new();
        draft.rows("sprints", &found.sprints, LIST_BYTES, |sprint| sprint.id.clone());
        self.go_on(&mut draft, ctx, question, found.next.as_ref());
        Ok(draft.finish(&target, self.parts.clock.now()))
    }

    /// A sprint of a board that may be seen. [`Error::NotFound`] whether it does not exist or may not be seen.
    pub async fn sprint(&self, ctx: &Ctx, instance: Option<&str>, id: &str) -> Result<LiveSprint, Error> {
        let target = self.target(ctx, instance).await?;
        let (agile, within) = (target.agile()?, &target.within);
        let found = self.ask(ctx, &target, |c| async move { agile.sprint(&c, id, within).await }).await;
        found.map_err(|error| or_not_found(error, || format!("the sprint {id}")))
    }
}
