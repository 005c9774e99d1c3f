//! A tracker that refuses everybody, and sends webhooks all the same.

use async_trait::async_trait;
use domain::{Credential, Cursor, Hints, Invalid, Mappings, PageRecords};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::ports::{
    Capabilities, Connection, ConnectionReport, Delivery, FetchedItems, IdPage, ItemAddress, Page,
    PageRequest, ProjectRef, RawObject, Received, Refusal, Registration, SourceAdapter, SourceError,
    SourceErrorKind, SourceWebhooks, StreamSpec,
};

/// The source `stub`: takes any settings and credential, has no streams, and refuses every sign-in.
///
/// With a [`Credential::Pat`] webhooks are set up by the product, and cannot be taken away; otherwise an admin sets them
/// up. A delivery is a JSON array of hints, has its id in `x-delivery`, and the secret itself in `x-signature`.
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
            webhooks: true,
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

    fn webhooks(&self) -> Option<&dyn SourceWebhooks> {
        Some(self)
    }
}

#[async_trait]
impl SourceWebhooks for StubSource {
    fn registers(&self, credential: &Credential) -> bool {
        matches!(credential, Credential::Pat { .. })
    }

    fn steps(&self, _: &Connection, target: &Url) -> Vec<String> {
        vec![format!("Enter {target} as the address.")]
    }

    async fn register(
        &self,
        _: &Connection,
        _: &Url,
        _: &SecretString,
        _: Option<&Registration>,
    ) -> Result<Registration, SourceError> {
        Ok(Registration { remote: json!({"id": 1}), expires_at: None })
    }

    async fn renew(
        &self,
        _: &Connection,
        _: &Url,
        registration: &Registration,
    ) -> Result<Registration, SourceError> {
        Ok(registration.clone())
    }

    async fn unregister(&self, _: &Connection, _: &Registration) -> Result<(), SourceError> {
        Err(SourceError::new(SourceErrorKind::Unavailable, "the tracker is down"))
    }

    fn receive(&self, delivery: &Delivery<'_>, secrets: &[SecretString]) -> Result<Received, Refusal> {
        let signature = delivery.header("x-signature").ok_or(Refusal::Unsigned)?;
        if !secrets.iter().any(|secret| secret.expose_secret() == signature) {
            return Err(Refusal::Forged);
        }
        let hints: Hints = serde_json::from_slice(delivery.body).map_err(|_| Refusal::Malformed)?;
        let delivery_id = delivery.header("x-delivery").ok_or(Refusal::Malformed)?.to_owned();
        Ok(Received::Verified { delivery_id, event: "changed".into(), hints })
    }
}
