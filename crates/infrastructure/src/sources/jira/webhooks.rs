//! Jira's webhooks: those an admin sets up, signed by a secret of ours, and those that an OAuth app registers, which lapse
//! after 30 days and come with a token under the app's own secret.
//! <https://developer.atlassian.com/cloud/jira/platform/webhooks/>

mod dynamic;
mod payload;
mod signature;
mod steps;

use application::ports::{
    Connection, Delivery, Received, Refusal, Registration, SourceError, SourceWebhooks,
};
use async_trait::async_trait;
use domain::Credential;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use url::Url;

use super::{Jira, oauth};

/// The same for every repetition of a delivery.
const IDENTIFIER: &str = "x-atlassian-webhook-identifier";
const LONGEST_IDENTIFIER: usize = 200;

#[async_trait]
impl SourceWebhooks for Jira {
    fn registers(&self, credential: &Credential) -> bool {
        self.given_secret(credential).is_some()
    }

    /// Deliveries to an OAuth app are signed with the app's own secret, so without it they cannot be told from forged ones.
    fn given_secret(&self, credential: &Credential) -> Option<SecretString> {
        match credential {
            Credential::OAuth(grant) if oauth::is_cloud(grant) => grant.client_secret.clone(),
            _ => None,
        }
    }

    fn steps(&self, connection: &Connection, target: &Url) -> Vec<String> {
        steps::of(connection, target)
    }

    async fn register(
        &self,
        connection: &Connection,
        target: &Url,
        _secret: &SecretString,
        previous: Option<&Registration>,
    ) -> Result<Registration, SourceError> {
        dynamic::register(self, connection, target, previous).await
    }

    async fn renew(
        &self,
        connection: &Connection,
        target: &Url,
        registration: &Registration,
    ) -> Result<Registration, SourceError> {
        dynamic::renew(self, connection, target, registration).await
    }

    async fn unregister(
        &self,
        connection: &Connection,
        registration: &Registration,
    ) -> Result<(), SourceError> {
        dynamic::unregister(self, connection, registration).await
    }

    fn receive(&self, delivery: &Delivery<'_>, secrets: &[SecretString]) -> Result<Received, Refusal> {
        signature::verify(delivery, secrets)?;
        let (event, hints) = payload::read(delivery.body)?;
        let identifier = delivery.header(IDENTIFIER).map(str::trim).filter(|id| {
            !id.is_empty() && id.len() <= LONGEST_IDENTIFIER && id.bytes().all(|byte| byte.is_ascii_graphic())
        });
        let delivery_id =
            identifier.map_or_else(|| hex::encode(Sha256::digest(delivery.body)), str::to_owned);
        Ok(Received::Verified { delivery_id, event, hints })
    }
}
