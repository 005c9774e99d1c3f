//! Asana over its REST API (1.0). <https://developers.asana.com/reference/rest-api-reference>
//!
//! A task is stored under one project, the first of those it is in; the others are its further homes. A subtask is in no
//! project itself and is stored under that of the task it is a part of.

mod account;
mod api;
mod errors;
mod events;
mod fields;
mod marker;
mod model;
mod names;
mod normalize;
mod people;
mod reference;
mod settings;
mod singles;
mod stories;
mod subtasks;
mod sweep;
mod tasks;
mod walk;
mod webhooks;
mod writer;

use application::ports::{
    Capabilities, Connection, ConnectionReport, FetchedItems, IdPage, ItemAddress, Page, PageRequest,
    ProjectRef, RawObject, SourceAdapter, SourceError, SourceErrorKind, SourceWebhooks, SourceWriter,
    StreamSpec,
};
use async_trait::async_trait;
use domain::{Credential, Cursor, Invalid, Mappings, PageRecords, Quota};
use serde_json::Value;
use url::Url;

use super::oauth_refresh::{self, Form, TokenEndpoint};
use crate::egress::EgressClient;
use api::Api;
use names::Names;
use settings::{Settings, Stream};

/// What Asana allows a token of a free workspace; a paid one has ten times as many.
/// <https://developers.asana.com/docs/rate-limits>
const REQUESTS_A_MINUTE: Quota = Quota::per(150, 60, 150);

/// <https://developers.asana.com/docs/oauth>
const TOKEN_URL: &str = "https://app.asana.com/-/oauth_token";

/// The adapter.
#[derive(Debug)]
pub(super) struct Asana {
    client: EgressClient,
    names: Names,
}

impl Asana {
    pub(super) fn new(client: EgressClient) -> Self {
        Self { client, names: Names::new() }
    }

    fn api<'a>(&'a self, connection: &'a Connection) -> Result<Api<'a>, SourceError> {
        Api::new(&self.client, &self.names, connection)
    }
}

#[async_trait]
impl SourceAdapter for Asana {
    fn kind(&self) -> &'static str {
        "asana"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { incremental: true, writes: true, webhooks: true, budget: REQUESTS_A_MINUTE }
    }

    fn default_base_url(&self) -> Option<Url> {
        Url::parse("https://app.asana.com/api/1.0").ok()
    }

    fn check_settings(&self, settings: &Value) -> Result<Value, Invalid> {
        Settings::check(settings).map(|settings| settings.to_value())
    }

    fn check_credential(&self, credential: &Credential) -> Result<(), Invalid> {
        match credential {
            Credential::Token { token } => settings::check_token(token, "/credentials/token"),
            Credential::OAuth(grant) => {
                settings::check_token(&grant.access_token, "/credentials/access_token")
            }
            _ => Err(Invalid::not_one_of(
                "/credentials/kind",
                "is not a kind of credential that Asana takes",
                ["token", "oauth"],
            )),
        }
    }

    fn streams(&self, _settings: &Value) -> Vec<StreamSpec> {
        Stream::specs()
    }

    async fn test_connection(&self, connection: &Connection) -> Result<ConnectionReport, SourceError> {
        account::test_connection(&self.api(connection)?).await
    }

    async fn list_projects(&self, connection: &Connection) -> Result<Vec<ProjectRef>, SourceError> {
        account::list_projects(&self.api(connection)?).await
    }

    async fn fetch_page(
        &self,
        connection: &Connection,
        request: PageRequest<'_>,
    ) -> Result<Page, SourceError> {
        let api = self.api(connection)?;
        let Some(stream) = Stream::parse(request.stream.as_str()) else {
            return Err(rejected(format!("Asana has no stream {}", request.stream)));
        };
        match stream {
            Stream::Users => return reference::users(&api, request.cursor).await,
            Stream::Stories => return stories::fetch(&api, &request).await,
            Stream::Project | Stream::CustomFields | Stream::Tasks => {}
        }
        let Some(project) = request.project else {
            return Err(rejected(format!("the stream {} is read by project", request.stream)));
        };
        let page = match stream {
            Stream::Project => reference::project(&api, project).await,
            Stream::CustomFields => reference::custom_fields(&api, project).await,
            _ => walk::fetch(&api, project, &request).await,
        };
        page.map_err(|error| api.blame_project(error, &project.source_id))
    }

    async fn list_ids(
        &self,
        connection: &Connection,
        project: &ProjectRef,
        cursor: Option<&Cursor>,
    ) -> Result<IdPage, SourceError> {
        let api = self.api(connection)?;
        sweep::list_ids(&api, project, cursor)
            .await
            .map_err(|error| api.blame_project(error, &project.source_id))
    }

    async fn fetch_items(
        &self,
        connection: &Connection,
        items: &[ItemAddress],
    ) -> Result<FetchedItems, SourceError> {
        sweep::fetch_items(&self.api(connection)?, items).await
    }

    fn map_raw(&self, settings: &Value, mappings: &Mappings, raw: &[RawObject]) -> PageRecords {
        tasks::map_kept(
            raw.iter().map(|object| object.payload.as_ref()),
            &Settings::stored(settings),
            mappings,
        )
    }

    fn writer(&self) -> Option<&dyn SourceWriter> {
        Some(self)
    }

    fn webhooks(&self) -> Option<&dyn SourceWebhooks> {
        Some(self)
    }

    async fn renew_credential(&self, credential: &Credential) -> Result<Option<Credential>, SourceError> {
        let Credential::OAuth(grant) = credential else { return Ok(None) };
        let url = grant.token_url.clone().or_else(|| Url::parse(TOKEN_URL).ok());
        let url = url.ok_or_else(|| rejected("Asana's token endpoint is no address"))?;
        let endpoint = TokenEndpoint { tracker: "Asana", url, form: Form::UrlEncoded };
        oauth_refresh::renew(&self.client, endpoint, grant).await
    }
}

fn rejected(message: impl Into<String>) -> SourceError {
    SourceError::new(SourceErrorKind::Rejected, message)
}

fn malformed(message: impl Into<String>) -> SourceError {
    SourceError::new(SourceErrorKind::Malformed, message)
}
