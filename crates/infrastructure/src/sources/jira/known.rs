//! What is asked of a site now and then and needed at every page: what its statuses mean and which fields it has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use application::ports::SourceError;
use domain::{FieldRole, InstanceId, Mappings};
use moka::future::Cache;
use url::Url;

use super::api::Api;
use super::fields::{Definition, Fields, sprint_fields};
use super::history::Statuses;
use super::model::Named;

/// Some 100 kB for a large site.
const MAX_SITES: u64 = 200;
const KNOWN_FOR: Duration = Duration::from_secs(10 * 60);

/// A site's statuses and fields.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) statuses: Statuses,
    pub(super) definitions: Vec<Definition>,
    pub(super) fields: Fields,
    /// Ids of the fields that hold sprints.
    sprint_fields: BTreeSet<String>,
}

impl Known {
    /// Ids of the fields that hold sprints: by their types, and the one that was given that role.
    pub(super) fn sprint_fields(&self, mappings: &Mappings) -> BTreeSet<String> {
        let mapped = mappings.field(FieldRole::Sprint).map(str::to_owned);
        self.sprint_fields.iter().cloned().chain(mapped).collect()
    }
}

/// Those of the sites that were asked lately.
#[derive(Debug)]
pub(super) struct KnownSites(Cache<(InstanceId, Url), Arc<Known>>);

impl KnownSites {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(MAX_SITES).time_to_live(KNOWN_FOR).build())
    }

    pub(super) async fn find(&self, api: &Api<'_>) -> Result<Arc<Known>, SourceError> {
        let asked = self.0.try_get_with(key(api), async { ask(api).await.map(Arc::new) }).await;
        asked.map_err(|error| SourceError::clone(&error))
    }

    pub(super) async fn renew(&self, api: &Api<'_>) -> Result<Arc<Known>, SourceError> {
        let known = Arc::new(ask(api).await?);
        self.0.insert(key(api), known.clone()).await;
        Ok(known)
    }
}

fn key(api: &Api<'_>) -> (InstanceId, Url) {
    (api.connection.instance, api.connection.base_url.clone())
}

async fn ask(api: &Api<'_>) -> Result<Known, SourceError> {
    let (statuses, fields) = (api.rest("/status"), api.rest("/field"));
    let (statuses, fields) =
        tokio::try_join!(api.get(&statuses, &[], "the statuses"), api.get(&fields, &[], "the fields"))?;
    let statuses: Vec<Named> = statuses.json("the statuses")?;
    let definitions: Vec<Definition> = fields.json("the fields")?;
    Ok(Known {
        statuses: Statuses::new(&statuses),
        fields: Fields::of_definitions(&definitions),
        sprint_fields: sprint_fields(&definitions),
        definitions,
    })
}
