//! Jira Cloud (REST v3 and agile 1.0) and Jira Data Center (REST v2) behind one adapter, told apart by what the server
//! says of itself.

mod account;
mod api;
mod changelogs;
mod dialect;
mod epics;
mod errors;
mod fields;
mod full;
mod history;
mod inside;
mod items;
mod known;
mod lists;
mod live;
mod model;
mod normalize;
mod norms;
mod oauth;
mod people;
mod reference;
mod settings;
mod sprints;
mod sweep;
mod text;
mod time;
mod walk;
mod webhooks;
mod worklogs;
mod write;

use std::sync::Arc;
use std::time::Duration;

use application::ports::{
    Capabilities, Connection, ConnectionReport, FetchedItems, IdPage, ItemAddress, LiveReader, Page,
    PageRequest, ProjectRef, RawObject, SourceAdapter, SourceError, SourceErrorKind, SourceWebhooks,
    SourceWriter, StreamSpec,
};
use async_trait::async_trait;
use domain::{Credential, Cursor, InstanceId, Invalid, Mappings, PageRecords, Quota};
use moka::future::Cache;
use serde_json::Value;
use url::Url;

use crate::egress::EgressClient;
use api::Api;
use dialect::Site;
use known::KnownSites;
use normalize::Mapper;
use people::People;
use settings::{Settings, Stream};

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
    known: KnownSites,
    /// Projects by key, for what is read live.
    seen: live::SeenProjects,
}

impl Jira {
    pub(super) fn new(client: EgressClient) -> Self {
        let sites = Cache::builder().max_capacity(MAX_SITES).time_to_live(SITE_KNOWN_FOR).build();
        Self { client, sites, known: KnownSites::new(), seen: live::SeenProjects::new() }
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
        Api::new(&self.client, connection, site, &self.known)
    }
}

#[async_trait]
impl SourceAdapter for Jira {
    fn kind(&self) -> &'static str {
        "jira"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { incremental: true, writes: true, webhooks: true, budget: REQUESTS_AN_HOUR }
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
        // A test is for what holds now.
        self.sites.invalidate(&(connection.instance, connection.base_url.clone())).await;
        account::test_connection(&self.api(connection).await?).await
    }

    async fn list_projects(&self, connection: &Connection) -> Result<Vec<ProjectRef>, SourceError> {
        account::list_projects(&self.api(connection).await?).await
    }

    async fn fetch_page(
        &self,
        connection: &Connection,
        request: PageRequest<'_>,
    ) -> Result<Page, SourceError> {
        let Some(stream) = Stream::parse(request.stream.as_str()) else {
            return Err(internal(format!("Jira has no stream {}", request.stream)));
        };
        let api = self.api(connection).await?;
        let project = || {
            request
                .project
                .ok_or_else(|| internal(format!("the stream {} is read by project", request.stream)))
        };
        let blame = |error| match request.project {
            Some(project) => api.blame_project(error, project),
            None => error,
        };
        match stream {
            Stream::Fields => reference::fields(&api).await,
            Stream::Projects => reference::project(&api, project()?).await.map_err(blame),
            Stream::Boards => reference::boards(&api, project()?, &request).await.map_err(blame),
            Stream::Worklogs => worklogs::fetch(&api, &request).await,
            Stream::Issues => walk::fetch(&api, project()?, &request).await.map_err(blame),
            Stream::Details => items::details(&api, request.items).await,
        }
    }

    async fn list_ids(
        &self,
        connection: &Connection,
        project: &ProjectRef,
        cursor: Option<&Cursor>,
    ) -> Result<IdPage, SourceError> {
        let api = self.api(connection).await?;
        sweep::list_ids(&api, project, cursor).await.map_err(|error| api.blame_project(error, project))
    }

    async fn fetch_items(
        &self,
        connection: &Connection,
        items: &[ItemAddress],
    ) -> Result<FetchedItems, SourceError> {
        items::fetch(&self.api(connection).await?, items).await
    }

    fn writer(&self) -> Option<&dyn SourceWriter> {
        Some(self)
    }

    fn live(&self) -> Option<&dyn LiveReader> {
        Some(self)
    }

    fn webhooks(&self) -> Option<&dyn SourceWebhooks> {
        Some(self)
    }

    async fn renew_credential(&self, credential: &Credential) -> Result<Option<Credential>, SourceError> {
        oauth::renew_credential(&self.client, credential).await
    }

    fn map_raw(&self, settings: &Value, mappings: &Mappings, raw: &[RawObject]) -> PageRecords {
        let has_details = Settings::stored(settings).reads(Stream::Details);
        let mapper = Mapper { mappings, home: None, fields: None, has_details };
        let (mut records, mut people) = (PageRecords::default(), People::default());
        for object in raw {
            if let Err(error) = mapper.issue(&object.payload, &mut records, &mut people) {
                records.unmapped.push(normalize::unmapped(Stream::Issues, object.payload.get(), error));
            }
        }
        normalize::distinct_records(&mut records);
        records.users = people.into_records();
        records
    }
}

fn internal(message: String) -> SourceError {
    SourceError::new(SourceErrorKind::Rejected, message)
}

fn malformed(message: impl Into<String>) -> SourceError {
    SourceError::new(SourceErrorKind::Malformed, message)
}
