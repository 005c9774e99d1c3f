//! A tracker that refuses everybody.

use async_trait::async_trait;
use domain::{Credential, Cursor, Invalid, Mappings, PageRecords};
use serde_json::Value;
use url::Url;

use crate::ports::{
    Capabilities, Connection, ConnectionReport, FetchedItems, IdPage, ItemAddress, Page, PageRequest,
    ProjectRef, RawObject, SourceAdapter, SourceError, SourceErrorKind, StreamSpec,
};

/// The source `stub`: takes any settings and credential, has no streams, and refuses every sign-in.
#[derive(Debug, Clone, Copy, Default)]
pub struct StubSource;

#[async_trait]
impl SourceAdapter for StubSource {
    fn kind(&self) -> &'static str {
        "stub"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            incremental: true,
            writes: false,
            webhooks: false,
            budget: domain::Quota::per(1_000_000, 60, 1_000_000),
        }
    }

    fn default_base_url(&self) -> Option<Url> {
        "https://tracker.example".parse().ok()
    }

    fn check_settings(&self, settings: &Value) -> Result<Value, Invalid> {
        Ok(settings.clone())
    }

    fn check_credential(&self, _: &Credential) -> Result<(), Invalid> {
        Ok(())
    }

    fn streams(&self, _: &Value) -> Vec<StreamSpec> {
        Vec::new()
    }

    async fn test_connection(&self, _: &Connection) -> Result<ConnectionReport, SourceError> {
        let error = SourceError::new(SourceErrorKind::Unauthorized, "the tracker refused the token");
        Err(SourceError { upstream_status: Some(401), ..error })
    }

    async fn list_projects(&self, _: &Connection) -> Result<Vec<ProjectRef>, SourceError> {
        Ok(Vec::new())
    }

    async fn fetch_page(&self, _: &Connection, _: PageRequest<'_>) -> Result<Page, SourceError> {
        Ok(Page::default())
    }

    async fn list_ids(
        &self,
        _: &Connection,
        _: &ProjectRef,
        _: Option<&Cursor>,
    ) -> Result<IdPage, SourceError> {
        Ok(IdPage::default())
    }

    async fn fetch_items(&self, _: &Connection, _: &[ItemAddress]) -> Result<FetchedItems, SourceError> {
        Ok(FetchedItems::default())
    }

    fn map_raw(&self, _: &Value, _: &Mappings, _: &[RawObject]) -> PageRecords {
        PageRecords::default()
    }
}
