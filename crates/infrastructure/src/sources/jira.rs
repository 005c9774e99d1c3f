//! Jira Cloud (REST v3 and agile 1.0) and Jira Data Center (REST v2) behind one adapter, told apart by what the server
//! says of itself.

mod api;
mod dialect;
mod errors;
mod oauth;
mod settings;
mod time;

use std::sync::Arc;
use std::time::Duration;

use application::ports::{
    Capabilities, Connection, ConnectionReport, FetchedItems, IdPage, ItemAddress, Page, PageRequest, ProjectRef,
    RawObject, SourceAdapter, SourceError, SourceErrorKind, StreamSpec,
};
use async_trait::async_trait;
use domain::{Credential, Cursor, InstanceId, Invalid, Mappings, PageRecords, Quota};
use moka::future::Cache;
use serde_json::Value;
use url::Url;

use crate::egress::EgressClient;
use api::Api;
use dialect::Site;
use settings::Settings;

/// Jira names no number of requests; its quota for apps is 65,000 points an hour, of which a request for a page of 100
/// issues takes 101 (<https://developer.atlassian.com/cloud/jira/platform/rate-limiting/>). API tokens are not counted.
const REQUESTS_AN_HOUR: Quota = Quota::per(6_000, 3_600, 600);
/// What instances are is remembered for so many of them, and asked again after this time.
const MAX_SITES: u64 = 10_000;
const SITE_KNOWN_FOR: Duration = Duration::from_secs(60 * 60);

/// The adapter.
#[derive(Debug)]
pub(super) struct Jira {
    client: EgressClient,
    sites: Cache<(InstanceId, Url), Arc<Site>>,
}

impl Jira {
    pub(super) fn new(client: EgressClient) -> Self {
        let sites = Cache::builder().max_capacity(MAX_SITES).time_to_live(SITE_KNOWN_FOR).build();
        Self { client, sites }
    }

    /// The instance's API, in the dialect it speaks.
    async fn api<'a>(&'a self, connection: &'a Connection) -> Result<Api<'a>, SourceError> {
        let key = (connection.instance, connection.base_url.clone());
        let site = self
            .sites
            .try_get_with(key, async {
                let info = api::server_info(&self.client, connection).await?;
                Ok::<_, SourceError>(Arc::new(info.into_site(&connection.base_url)))
            })
            .await
            .map_err(|error| SourceError::clone(&error))?;
        Api::new(&self.client, connection, site)
    }
}

#[async_trait]
impl SourceAdapter for Jira {
    fn kind(&self) -> &'static str {
        "jira"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { incremental: true, writes: false, webhooks: false, budget: REQUESTS_AN_HOUR }
    }

    fn default_base_url(&self) -> Option<Url> {
        None
    }

    fn check_settings(&self, settings: &Value) -> Result<Value, Invalid> {
        Settings::check(settings).map(|settings| settings.to_value())
    }

    fn check_credential(&self, credential: &Credential) -> Result<(), Invalid> {
        settings::check_credential(credential)
    }

    fn streams(&self, settings: &Value) -> Vec<StreamSpec> {
        Settings::stored(settings).streams()
    }

    async fn test_connection(&self, connection: &Connection) -> Result<ConnectionReport, SourceError> {
        let _api = self.api(connection).await?;
        Err(SourceError::new(SourceErrorKind::Unsupported, "not there yet"))
    }

    async fn list_projects(&self, _connection: &Connection) -> Result<Vec<ProjectRef>, SourceError> {
        Err(SourceError::new(SourceErrorKind::Unsupported, "not there yet"))
    }

    async fn fetch_page(
        &self,
        _connection: &Connection,
        _request: PageRequest<'_>,
    ) -> Result<Page, SourceError> {
        Err(SourceError::new(SourceErrorKind::Unsupported, "not there yet"))
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

    async fn renew_credential(&self, credential: &Credential) -> Result<Option<Credential>, SourceError> {
        oauth::renew_credential(&self.client, credential).await
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
