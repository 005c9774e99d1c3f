//! GitHub and GitHub Enterprise Server over REST (2022-11-28).
//!
//! Requests to one instance are sent one after another, as GitHub asks for, and none after it asked to wait.

mod account;
mod api;
mod app;
mod boards;
mod details;
mod errors;
mod graphql;
mod hooks;
mod items;
mod link;
mod marker;
mod model;
mod normalize;
mod people;
mod reference;
mod relations;
mod settings;
mod timeline;
mod unmapped;
mod walk;
mod write;

use application::ports::{
    Capabilities, Connection, ConnectionReport, FetchedItems, IdPage, ItemAddress, Page, PageRequest,
    ProjectRef, RawObject, SourceAdapter, SourceError, SourceErrorKind, SourceWebhooks, SourceWriter,
    StreamSpec,
};
use async_trait::async_trait;
use domain::{Credential, Cursor, Invalid, Mappings, PageRecords, Quota};
use serde_json::Value;
use url::Url;

use crate::egress::EgressClient;
use api::Api;
use app::AppTokens;
use settings::{Settings, Stream};
use write::Pace;

/// What github.com allows the requests of one token. An Enterprise server may allow more.
const REQUESTS_AN_HOUR: Quota = Quota::per(5_000, 3_600, 5_000);

/// The adapter.
#[derive(Debug)]
pub(super) struct GitHub {
    client: EgressClient,
    tokens: AppTokens,
    pace: Pace,
}

impl GitHub {
    pub(super) fn new(client: EgressClient) -> Self {
        Self { client, tokens: AppTokens::default(), pace: Pace::default() }
    }
}

#[async_trait]
impl SourceAdapter for GitHub {
    fn kind(&self) -> &'static str {
        "github"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { incremental: true, writes: true, webhooks: true, budget: REQUESTS_AN_HOUR }
    }

    fn default_base_url(&self) -> Option<Url> {
        Url::parse("https://api.github.com").ok()
    }

    fn check_settings(&self, settings: &Value) -> Result<Value, Invalid> {
        Settings::check(settings).map(|settings| settings.to_value())
    }

    fn check_credential(&self, credential: &Credential) -> Result<(), Invalid> {
        match credential {
            Credential::Token { token } => settings::check_token(token),
            Credential::GithubApp { app_id, private_key } => settings::check_app(app_id, private_key),
            _ => Err(Invalid::not_one_of(
                "/credentials/kind",
                "is not a kind of credential that GitHub takes",
                ["token", "github_app"],
            )),
        }
    }

    fn streams(&self, settings: &Value) -> Vec<StreamSpec> {
        Settings::stored(settings).streams()
    }

    async fn test_connection(&self, connection: &Connection) -> Result<ConnectionReport, SourceError> {
        account::test_connection(&Api::new(self, connection)?).await
    }

    async fn list_projects(&self, connection: &Connection) -> Result<Vec<ProjectRef>, SourceError> {
        account::list_projects(&Api::new(self, connection)?).await
    }

    async fn fetch_page(
        &self,
        connection: &Connection,
        request: PageRequest<'_>,
    ) -> Result<Page, SourceError> {
        let api = Api::new(self, connection)?;
        let Some(stream) = Stream::parse(request.stream.as_str()) else {
            return Err(internal(format!("GitHub has no stream {}", request.stream)));
        };
        if stream == Stream::Details {
            return details::fetch(&api, &request).await;
        }
        if stream == Stream::Boards {
            return boards::fetch(&api, &request).await;
        }
        let Some(project) = request.project else {
            return Err(internal(format!("the stream {} is read by repository", request.stream)));
        };
        let page = match stream {
            Stream::Issues | Stream::Comments | Stream::ReviewComments => {
                walk::fetch(&api, stream, project, &request).await
            }
            _ => reference::fetch(&api, stream, project, &request).await,
        };
        page.map_err(|error| api.blame_repository(error, project))
    }

    async fn list_ids(
        &self,
        connection: &Connection,
        project: &ProjectRef,
        cursor: Option<&Cursor>,
    ) -> Result<IdPage, SourceError> {
        let api = Api::new(self, connection)?;
        items::list_ids(&api, project, cursor).await.map_err(|error| api.blame_repository(error, project))
    }

    async fn fetch_items(
        &self,
        connection: &Connection,
        items: &[ItemAddress],
    ) -> Result<FetchedItems, SourceError> {
        items::fetch(&Api::new(self, connection)?, items).await
    }

    fn map_raw(&self, settings: &Value, _mappings: &Mappings, raw: &[RawObject]) -> PageRecords {
        items::map_raw(&Settings::stored(settings), raw)
    }

    fn writer(&self) -> Option<&dyn SourceWriter> {
        Some(self)
    }

    fn webhooks(&self) -> Option<&dyn SourceWebhooks> {
        Some(self)
    }
}

fn internal(message: String) -> SourceError {
    SourceError::new(SourceErrorKind::Rejected, message)
}

fn malformed(message: impl Into<String>) -> SourceError {
    SourceError::new(SourceErrorKind::Malformed, message)
}
