//! How an instance's own words are read: looking at them, trying out others, and replacing them.

mod near;
mod rules;

use std::sync::Arc;

use domain::{InstanceId, Mappings, RunId, Scope};

pub use rules::Warning;

use crate::ports::{Ids, MappingPreview, MappingStore, Replaced, Vocabulary};
use crate::{Ctx, Error};

/// An instance's mappings, with what they can be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingDocument {
    /// What is mapped otherwise than by default.
    pub mappings: Mappings,
    /// Goes up with each change.
    pub version: i32,
    /// The words and fields of what is stored.
    pub vocabulary: Vocabulary,
}

/// Mappings that were stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMappings {
    /// Their version.
    pub version: i32,
    /// The run that maps anew what is stored. `None` while another run is unfinished: it is started when that ends.
    pub run: Option<RunId>,
    /// What may be a mistake in them.
    pub warnings: Vec<Warning>,
}

/// Use cases around mappings.
pub struct MappingService {
    store: Arc<dyn MappingStore>,
    ids: Arc<dyn Ids>,
}

impl MappingService {
    /// Puts the service together.
    pub fn new(store: Arc<dyn MappingStore>, ids: Arc<dyn Ids>) -> Self {
        Self { store, ids }
    }

    /// The mappings and the words they can be about.
    pub async fn get(&self, ctx: &Ctx, instance: InstanceId) -> Result<MappingDocument, Error> {
        ctx.require(Scope::InstancesRead)?;
        let (mappings, version) =
            self.store.versioned(ctx, instance).await?.ok_or_else(|| unknown(instance))?;
        let vocabulary = self.store.vocabulary(ctx, instance).await?;
        Ok(MappingDocument { mappings, version, vocabulary })
    }

    /// What these mappings would change of what is stored, and what may be a mistake in them. Changes nothing.
    pub async fn preview(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        mappings: &Mappings,
    ) -> Result<(MappingPreview, Vec<Warning>), Error> {
        ctx.require(Scope::InstancesWrite)?;
        require_whole(ctx)?;
        rules::check(mappings)?;
        let vocabulary = self.get(ctx, instance).await?.vocabulary;
        let preview = self.store.preview(ctx, instance, mappings).await?;
        Ok((preview, rules::warnings(mappings, &vocabulary)))
    }

    /// Replaces the mappings as a whole; what is stored is mapped anew by a run. With `if_version` only when nobody else
    /// has replaced them meanwhile.
    pub async fn replace(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        mappings: &Mappings,
        if_version: Option<i32>,
    ) -> Result<StoredMappings, Error> {
        ctx.require(Scope::InstancesWrite)?;
        require_whole(ctx)?;
        rules::check(mappings)?;
        let run = RunId::new(self.ids.uuid());
        match self.store.replace(ctx, instance, mappings, if_version, run).await? {
            Replaced::Unknown => Err(unknown(instance)),
            Replaced::Stale { version } => Err(Error::Conflict {
                what: format!("the mappings have changed meanwhile: they have version {version}"),
                hint: "GET them again, apply the change to what they are now, and PUT with their version"
                    .into(),
            }),
            Replaced::Stored { version, run } => {
                let vocabulary = self.store.vocabulary(ctx, instance).await?;
                Ok(StoredMappings { version, run, warnings: rules::warnings(mappings, &vocabulary) })
            }
        }
    }
}

/// Mappings are about all projects of an instance, so who is narrowed to some changes none.
fn require_whole(ctx: &Ctx) -> Result<(), Error> {
    ctx.require_every_project()
}

fn unknown(id: InstanceId) -> Error {
    Error::not_found(format!("the instance {id}"))
}

impl std::fmt::Debug for MappingService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MappingService")
    }
}
