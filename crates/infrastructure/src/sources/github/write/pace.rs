//! One write at a time to an instance, and a second between two.
//! <https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#pause-between-mutative-requests>

use std::sync::Arc;
use std::time::Duration;

use application::ports::{SourceError, SourceErrorKind};
use domain::InstanceId;
use http::Method;
use moka::sync::Cache;
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep_until, timeout};
use url::Url;

use super::super::api::{Answer, Api};

const GAP: Duration = Duration::from_secs(1);
/// Who waits longer is sent away, before anything was done.
const PATIENCE: Duration = Duration::from_secs(6);
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
const MAX_INSTANCES: u64 = 100_000;

/// When something was last written to each instance.
#[derive(Debug)]
pub(in super::super) struct Pace(Cache<InstanceId, Arc<Mutex<Option<Instant>>>>);

impl Default for Pace {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MAX_INSTANCES).time_to_idle(FORGOTTEN_AFTER).build())
    }
}

/// The right to write to an instance, until it is dropped.
pub(in super::super) struct Turn(OwnedMutexGuard<Option<Instant>>);

impl Pace {
    /// Waits for the turn.
    pub(in super::super) async fn turn(&self, instance: InstanceId) -> Result<Turn, SourceError> {
        let own = self.0.get_with(instance, Arc::default);
        match timeout(PATIENCE, own.lock_owned()).await {
            Ok(held) => Ok(Turn(held)),
            Err(_) => Err(SourceError {
                retry_after: Some(PATIENCE),
                ..SourceError::new(
                    SourceErrorKind::RateLimited,
                    "other writes to this GitHub instance are under way, and GitHub asks for one at a time",
                )
            }),
        }
    }
}

impl Turn {
    /// Sends a change, a second after the one before.
    pub(in super::super) async fn change(
        &mut self,
        api: &Api<'_>,
        method: Method,
        url: &Url,
        body: Option<&Value>,
        what: &str,
    ) -> Result<Answer, SourceError> {
        if let Some(last) = *self.0 {
            sleep_until(last + GAP).await;
        }
        // Noted before as well: whoever gives up on the answer has sent it.
        *self.0 = Some(Instant::now());
        let answer = api.change(method, url, body, what).await;
        *self.0 = Some(Instant::now());
        answer
    }
}
