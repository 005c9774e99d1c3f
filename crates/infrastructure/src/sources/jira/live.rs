//! Reading Jira for somebody who waits: searches, issues, and what helps to ask for them.

mod activity;
pub(super) mod agile;
mod describe;
mod fields;
mod files;
mod issue;
mod jql;
mod people;
mod projects;
mod search;

use std::collections::BTreeSet;

use application::ports::{
    Bounds, Connection, FieldNames, FileBytes, FoundFile, LiveActivities, LiveActivityAsk, LiveAgile,
    LiveBoards, LiveBoardsAsk, LiveField, LiveFieldsAsk, LiveFile, LiveFileAsk, LiveFiles, LiveIssue,
    LiveIssueAsk, LiveIssues, LiveProjects, LiveProjectsAsk, LiveReader, LiveSearch, LiveSite, LiveSprint,
    LiveSprints, LiveSprintsAsk, LiveUser, LiveUsersAsk, SourceError, SourceErrorKind,
};
use async_trait::async_trait;
use serde_json::Value;

use super::Jira;
use super::settings::Settings;

pub(super) use projects::SeenProjects;

#[async_trait]
impl LiveReader for Jira {
    fn selected_projects(&self, settings: &Value) -> Option<BTreeSet<String>> {
        Settings::stored(settings).projects.map(BTreeSet::from_iter)
    }

    fn agile(&self) -> Option<&dyn LiveAgile> {
        Some(self)
    }

    fn files(&self) -> Option<&dyn LiveFiles> {
        Some(self)
    }

    async fn site(&self, connection: &Connection) -> Result<LiveSite, SourceError> {
        let api = self.api(connection).await?;
        // What the site is may be remembered; that it can be read is to be seen.
        api.get(&api.rest("/myself"), &[], "the account").await?;
        Ok(LiveSite {
            url: api.site.home.clone(),
            deployment: if api.is_cloud() { "cloud" } else { "data_center" },
            version: api.site.version.clone(),
        })
    }

    async fn search(&self, connection: &Connection, ask: &LiveSearch<'_>) -> Result<LiveIssues, SourceError> {
        search::search(&self.api(connection).await?, &self.seen, ask).await
    }

    async fn issue(&self, connection: &Connection, ask: &LiveIssueAsk<'_>) -> Result<LiveIssue, SourceError> {
        issue::read(&self.api(connection).await?, ask).await
    }

    async fn activity(
        &self,
        connection: &Connection,
        ask: &LiveActivityAsk<'_>,
    ) -> Result<LiveActivities, SourceError> {
        activity::read(&self.api(connection).await?, ask).await
    }

    async fn projects(
        &self,
        connection: &Connection,
        ask: &LiveProjectsAsk<'_>,
    ) -> Result<LiveProjects, SourceError> {
        projects::list(&self.api(connection).await?, &self.seen, ask).await
    }

    async fn fields(
        &self,
        connection: &Connection,
        ask: &LiveFieldsAsk<'_>,
    ) -> Result<Vec<LiveField>, SourceError> {
        describe::fields(&self.api(connection).await?, ask).await
    }

    async fn field_names(&self, connection: &Connection) -> Result<Vec<FieldNames>, SourceError> {
        fields::names(&self.api(connection).await?).await
    }

    async fn users(
        &self,
        connection: &Connection,
        ask: &LiveUsersAsk<'_>,
    ) -> Result<Vec<LiveUser>, SourceError> {
        people::find(&self.api(connection).await?, ask).await
    }
}

#[async_trait]
impl LiveAgile for Jira {
    async fn boards(
        &self,
        connection: &Connection,
        ask: &LiveBoardsAsk<'_>,
    ) -> Result<LiveBoards, SourceError> {
        agile::boards(&self.api(connection).await?, ask).await
    }

    async fn sprints(
        &self,
        connection: &Connection,
        ask: &LiveSprintsAsk<'_>,
    ) -> Result<LiveSprints, SourceError> {
        agile::sprints(&self.api(connection).await?, ask).await
    }

    async fn sprint(
        &self,
        connection: &Connection,
        id: &str,
        within: &Bounds,
    ) -> Result<LiveSprint, SourceError> {
        agile::sprint(&self.api(connection).await?, id, within).await
    }
}

#[async_trait]
impl LiveFiles for Jira {
    async fn find(&self, connection: &Connection, ask: &LiveFileAsk<'_>) -> Result<FoundFile, SourceError> {
        files::find(&self.api(connection).await?, ask).await
    }

    async fn open(&self, connection: &Connection, file: &LiveFile) -> Result<FileBytes, SourceError> {
        files::open(&self.api(connection).await?, file).await
    }
}

/// The same words whether it does not exist or lies outside of what the caller may see.
fn no_issue(key: &str) -> SourceError {
    SourceError {
        field: Some("/key".into()),
        ..SourceError::new(SourceErrorKind::NotFound, format!("there is no issue {key} that you may see"))
    }
}

/// Whether a text is nothing but an issue's key.
fn is_issue_key(text: &str) -> bool {
    text.trim().rsplit_once('-').is_some_and(|(project, number)| {
        project.starts_with(|c: char| c.is_ascii_alphabetic())
            && project.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Whether a text is the key of an issue that may not be seen.
fn is_hidden_key(text: &str, within: &Bounds) -> bool {
    within.as_list().is_some()
        && is_issue_key(text)
        && !within.allows_issue(&text.trim().to_ascii_uppercase())
        && !within.allows_issue(text.trim())
}

/// A position that is not one of ours: cursors are signed, so it is of an earlier version.
fn unknown_position() -> SourceError {
    SourceError {
        field: Some("/cursor".into()),
        ..SourceError::new(
            SourceErrorKind::Rejected,
            "the cursor is of an earlier version: start again without it",
        )
    }
}
