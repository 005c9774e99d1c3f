use async_trait::async_trait;
use domain::{FieldRole, InstanceId, Mappings, RunId};

use super::StoreError;
use crate::Ctx;

/// A word of the source, as stored items have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundWord {
    /// The word.
    pub original: String,
    /// Live items that have it; 0 for one that is known from the history only.
    pub items: i64,
    /// What it means without mappings, as stored names, the most frequent first. There are several where the adapter
    /// looks at more than the word.
    pub defaults: Vec<String>,
}

/// A custom field of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundField {
    /// Its id at the source.
    pub source_id: String,
    /// Its name.
    pub name: String,
    /// The source's type.
    pub field_type: String,
}

/// What the stored items of an instance are worded in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    /// Statuses, the most frequent first.
    pub status: Vec<FoundWord>,
    /// Reasons for closing.
    pub resolution: Vec<FoundWord>,
    /// Types.
    pub item_type: Vec<FoundWord>,
    /// Priorities.
    pub priority: Vec<FoundWord>,
    /// Custom fields, by name.
    pub fields: Vec<FoundField>,
}

/// Items whose value of a field would be another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormChange {
    /// `status`, `type` or `priority`.
    pub field: String,
    /// The value now.
    pub from: String,
    /// The value then.
    pub to: String,
    /// How many.
    pub items: i64,
    /// Keys of those that changed last, 10 at most.
    pub examples: Vec<String>,
}

/// Items that a new role of a custom field is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleChange {
    /// The field's id at the source.
    pub source_id: String,
    /// The role it would get; `None` when it would lose the one it has.
    pub role: Option<FieldRole>,
    /// Live items that have a value in it.
    pub items: i64,
    /// Keys of those that changed last, 10 at most.
    pub examples: Vec<String>,
}

/// What other mappings would do to what is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MappingPreview {
    /// Items of which at least one of the values below would change.
    pub items: i64,
    /// Which values, the most frequent first.
    pub changes: Vec<NormChange>,
    /// Status changes in the history that would be read in another way.
    pub transitions: i64,
    /// Custom fields whose role would change. What their values would become is known when the objects are mapped.
    pub fields: Vec<RoleChange>,
}

/// What came of replacing an instance's mappings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// There is no such instance for this tenant.
    Unknown,
    /// Somebody else replaced them meanwhile; this is their version.
    Stale {
        /// It.
        version: i32,
    },
    /// They are stored.
    Stored {
        /// Their version.
        version: i32,
        /// The run that maps anew what is stored. `None` while another run is unfinished: it is started when that ends.
        run: Option<RunId>,
    },
}

/// How instances' words are read.
#[async_trait]
pub trait MappingStore: Send + Sync {
    /// The instance's mappings; the default ones when it has none of its own or does not exist.
    async fn find(&self, ctx: &Ctx, instance: InstanceId) -> Result<Mappings, StoreError>;

    /// The instance's mappings and their version, which goes up with each change. `None` when it does not exist for
    /// this tenant.
    async fn versioned(&self, ctx: &Ctx, instance: InstanceId)
    -> Result<Option<(Mappings, i32)>, StoreError>;

    /// The words of the instance's stored items, at most 1,000 of a kind, and its custom fields.
    async fn vocabulary(&self, ctx: &Ctx, instance: InstanceId) -> Result<Vocabulary, StoreError>;

    /// What these mappings would change of what is stored. Writes nothing.
    async fn preview(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        mappings: &Mappings,
    ) -> Result<MappingPreview, StoreError>;

    /// Replaces the instance's mappings as a whole and starts the run that maps anew what is stored, with the audit
    /// record in one transaction. `run` becomes its id. With `if_version` only when they still have that version.
    async fn replace(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        mappings: &Mappings,
        if_version: Option<i32>,
        run: RunId,
    ) -> Result<Replaced, StoreError>;
}
