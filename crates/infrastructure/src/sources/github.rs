//! GitHub and GitHub Enterprise Server over REST (2022-11-28).
//!
//! Requests to one instance are sent one after another, as GitHub asks for, and none after it asked to wait.

mod account;
mod api;
mod details;
mod errors;
mod link;
mod model;
mod normalize;
mod people;
mod reference;
mod settings;
mod timeline;
mod unmapped;
mod walk;

use application::ports::{
    Capabilities, Connection, ConnectionReport, FetchedItems, IdPage, ItemAddress, Page, PageRequest, ProjectRef,
    RawObject, SourceAdapter, SourceError, SourceErrorKind, StreamSpec,
};
use async_trait::async_trait;
use domain::{Credential, Cursor, Invalid, Mappings, PageRecords, Quota};
use serde_json::Value;
use url::Url;

use crate::egress::EgressClient;
use api::Api;
use settings::{Settings, Stream};

/// What github.com allows the requests of one token. An Enterprise server may allow more.
const REQUESTS_AN_HOUR: Quota = Quota::per(5_000, 3_600, 5_000);

/// The adapter.
#[derive(Debug)]
pub(super) struct GitHub {
    client: EgressClient,
}

impl GitHub {
    pub(super) fn new(client: EgressClient) -> Self {
        Self { client }
    }
}

#[async_trait]
impl SourceAdapter for GitHub {
    fn kind(&self) -> &'static str {
        "github"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { incremental: true, writes: false, webhooks: false, budget: REQUESTS_AN_HOUR }
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
            _ => Err(Invalid::not_one_of(
                "/credentials/kind",
                "is not a kind of credential that GitHub takes",
                ["token"],
            )),
        }
    }

    fn streams(&self, settings: &Value) -> Vec<StreamSpec> {
        Settings::stored(settings).streams()
    }

    async fn test_connection(&self, connection: &Connection) -> Result<ConnectionReport, SourceError> {
        account::test_connection(&Api::new(&self.client, connection)?).await
    }

    async fn list_projects(&self, connection: &Connection) -> Result<Vec<ProjectRef>, SourceError> {
        account::list_projects(&Api::new(&self.client, connection)?).await
    }

    async fn fetch_page(
        &self,
        connection: &Connection,
        request: PageRequest<'_>,
    ) -> Result<Page, SourceError> {
        let api = Api::new(&self.client, connection)?;
        let Some(stream) = Stream::parse(request.stream.as_str()) else {
            return Err(internal(format!("GitHub has no stream {}", request.stream)));
        };
        if stream == Stream::Details {
            return details::fetch(&api, &request).await;
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
        _connection: &Connection,
        _project: &ProjectRef,
        _cursor: Option<&Cursor>,
    ) -> Result<IdPage, SourceError> {
        Err(SourceError::new(SourceErrorKind::Unsupported, "not there yet"))
    }

    async fn fetch_items(
        &self,
        _connection: &Connection,
        _items: &[ItemAddress],
    ) -> Result<FetchedItems, SourceError> {
        Err(SourceError::new(SourceErrorKind::Unsupported, "not there yet"))
    }

    fn map_raw(&self, _settings: &Value, _mappings: &Mappings, _raw: &[RawObject]) -> PageRecords {
        PageRecords::default()
    }
}

fn internal(message: String) -> SourceError {
    SourceError::new(SourceErrorKind::Rejected, message)
}

fn malformed(message: impl Into<String>) -> SourceError {
    SourceError::new(SourceErrorKind::Malformed, message)
}
