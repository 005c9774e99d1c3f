//! Reading trackers live, and writing to them: for somebody who waits, within what they may see, and in answers that fit an
//! assistant's context.

mod agile;
mod answer;
mod bulk;
mod call;
mod changes;
mod clean;
mod context;
mod cursor;
mod deletions;
mod files;
mod fit;
mod hide;
mod links;
mod noticed;
mod opened;
mod people;
mod reads;
mod synced;
mod uploads;
mod waits;
mod watched;
mod writes;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::{Instance, InstanceId, InstanceStatus, Invalid, Scope, Toolset};

pub use self::agile::{BoardsAsk, SprintsAsk};
pub use self::answer::LiveAnswer;
pub use self::bulk::BulkAsk;
pub use self::changes::ChangesAsk;
pub use self::clean::clean_text;
pub use self::context::SeenInstance;
pub use self::deletions::{DeleteAsk, DeletionQuestion, DeletionStep};
pub use self::files::{Download, FileAsk, FileForm, FileTold, LiveImage, MOST_IMAGE, MOST_TEXT};
pub use self::links::{FileLink, Holder, LinkTo, SignedLink};
pub use self::noticed::NoticedOutcome;
pub use self::reads::{ActivityAsk, FieldsAsk, IssueAsk, ProjectsAsk, SearchAsk, UsersAsk};
pub use self::uploads::{AttachAsk, MOST_OF_A_FILE, Received, UploadAsk, UploadTold};
pub use self::watched::{ItemAddress, Watched};
pub use self::writes::WriteAsk;

use self::cursor::LiveCursors;
use self::links::FileLinks;
use self::noticed::Noticed;
use self::opened::Opened;
use self::waits::Waits;
use self::watched::Looks;
use crate::connections::Connections;
use crate::limits::LimitService;
use crate::ports::{
    Bounds, BulkPlanStore, ChangeStore, Clock, HiddenFields, Ids, InstanceStore, LiveReader, PolicyStore,
    SourceAdapter, Sources, SyncStore, UploadStore, Vault, WorkItemStore,
};
use crate::{Ctx, Error};

/// How long a call may take, and how often it is tried.
#[derive(Debug, Clone, Copy)]
pub struct LiveLimits {
    /// From the first request until there is an answer, whatever it is.
    pub deadline: Duration,
    /// Requests for the same thing. More than one only where the tracker did not answer.
    pub attempts: u32,
    /// Before the second; twice as long before each further one.
    pub pause: Duration,
}

impl Default for LiveLimits {
    fn default() -> Self {
        // Callers are given up on after 30 s, and must be told before.
        Self { deadline: Duration::from_secs(25), attempts: 3, pause: Duration::from_millis(250) }
    }
}

/// What the service is made of.
pub struct LiveParts {
    /// Connections of tenants.
    pub instances: Arc<dyn InstanceStore>,
    /// The adapters.
    pub sources: Sources,
    /// Opens connections.
    pub connections: Connections,
    /// Budgets of requests.
    pub limits: Arc<LimitService>,
    /// Signs cursors.
    pub vault: Arc<dyn Vault>,
    /// Plans of changes of several items.
    pub plans: Arc<dyn BulkPlanStore>,
    /// Files on their way to a tracker.
    pub uploads: Arc<dyn UploadStore>,
    /// In which order the synced copy changes.
    pub changes: Arc<dyn ChangeStore>,
    /// The items of the synced copy.
    pub items: Arc<dyn WorkItemStore>,
    /// How fresh it is.
    pub sync: Arc<dyn SyncStore>,
    /// What tenants hide.
    pub policies: Arc<dyn PolicyStore>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn Ids>,
    /// How long calls may take.
    pub bounds: LiveLimits,
}

impl std::fmt::Debug for LiveParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LiveParts")
    }
}

/// Use cases of reading and writing live.
pub struct LiveService {
    parts: LiveParts,
    cursors: LiveCursors,
    links: FileLinks,
    waits: Waits,
    opened: Opened,
    looks: Looks,
    noticed: Noticed,
}

/// An instance that is read, and what of it the caller may see.
struct Target {
    instance: Instance,
    adapter: Arc<dyn SourceAdapter>,
    within: Bounds,
}

impl Target {
    fn reader(&self) -> Result<&dyn LiveReader, Error> {
        self.adapter.live().ok_or_else(|| Error::not_found("a tracker that can be read live"))
    }
}

impl LiveService {
    /// Puts the service together.
    pub fn new(parts: LiveParts) -> Self {
        Self {
            cursors: LiveCursors::new(parts.vault.clone()),
            links: FileLinks::new(parts.vault.clone()),
            waits: Waits::default(),
            opened: Opened::default(),
            looks: Looks::default(),
            noticed: Noticed::default(),
            parts,
        }
    }

    /// [`Error::Forbidden`] or [`Error::Exceeds`] when the caller may not read live at all. Which tools it may use is
    /// decided by [`crate::policy::PolicyService`].
    pub fn require(&self, ctx: &Ctx) -> Result<(), Error> {
        ctx.require(Scope::McpJiraRead)?;
        ctx.require_any_toolset(&Toolset::JIRA)
    }

    /// The caller's instances that can be read live, by short name.
    pub async fn instances(&self, ctx: &Ctx) -> Result<Vec<Instance>, Error> {
        self.require(ctx)?;
        let mut found = self.read_live(ctx).await?;
        found.retain(|instance| ctx.grant.instances.allows(&instance.id));
        Ok(found)
    }

    async fn read_live(&self, ctx: &Ctx) -> Result<Vec<Instance>, Error> {
        let live = |instance: &&Instance| {
            self.parts.sources.get(&instance.source).is_some_and(|source| source.live().is_some())
        };
        Ok(self.parts.instances.recent(ctx).await?.iter().filter(live).cloned().collect())
    }

    /// The instance of this short name, or the only one.
    async fn target(&self, ctx: &Ctx, wanted: Option<&str>) -> Result<Target, Error> {
        let target = self.stored_target(ctx, wanted).await?;
        self.asked(ctx, target).await
    }

    /// What the tracker itself is asked for.
    async fn asked(&self, ctx: &Ctx, target: Target) -> Result<Target, Error> {
        if target.instance.status == InstanceStatus::ReconnectRequired {
            return Err(Error::Conflict {
                what: format!("the tracker refused the credentials of the instance {}", target.instance.slug),
                hint: "have an admin give the instance new credentials, then try again".into(),
            });
        }
        self.hiding(ctx, target).await
    }

    /// The same for what is not asked of the tracker.
    async fn stored_target(&self, ctx: &Ctx, wanted: Option<&str>) -> Result<Target, Error> {
        let mut instances = self.instances(ctx).await?;
        let slugs = || instances.iter().map(|instance| instance.slug.to_string());
        let at = match wanted {
            Some(wanted) => instances.iter().position(|instance| instance.slug.as_str() == wanted),
            None if instances.len() == 1 => Some(0),
            None => None,
        };
        let Some(at) = at else {
            if instances.is_empty() && wanted.is_none() {
                return Err(Error::Conflict {
                    what: "no Jira is connected that you may read".into(),
                    hint: "have an admin connect one (POST /api/v1/instances), or use a key that reaches it"
                        .into(),
                });
            }
            let message = match wanted {
                Some(_) => "is not the short name of an instance that you may read",
                None => "is required: there are several instances",
            };
            return Err(Invalid::not_one_of("/instance", message, slugs()).into());
        };
        self.reach(ctx, instances.swap_remove(at))
    }

    /// The instance of this id.
    async fn target_of(&self, ctx: &Ctx, id: InstanceId) -> Result<Target, Error> {
        let found = self.instances(ctx).await?.into_iter().find(|instance| instance.id == id);
        let gone = || Error::not_found("the instance that this is about");
        self.asked(ctx, self.reach(ctx, found.ok_or_else(gone)?)?).await
    }

    /// Without the fields that the tenant's policy hides. What these are called is asked of the tracker, now and then.
    async fn hiding(&self, ctx: &Ctx, target: Target) -> Result<Target, Error> {
        let policy = self.parts.policies.current(ctx).await?;
        let hidden = &policy.jira.hidden_fields;
        if hidden.is_empty() {
            return Ok(target);
        }
        let reader = target.reader()?;
        // On the heap, as it is rarely needed and stands in the future of every read.
        let known = Box::pin(self.ask(ctx, &target, |c| async move { reader.field_names(&c).await })).await?;
        let hidden = HiddenFields::new(hidden, &known);
        Ok(Target { within: target.within.hiding(hidden), ..target })
    }

    fn reach(&self, ctx: &Ctx, instance: Instance) -> Result<Target, Error> {
        let adapter = self.parts.sources.get(&instance.source).cloned();
        let adapter = adapter.ok_or_else(|| Error::not_found("a tracker that can be read live"))?;
        let selected = adapter.live().and_then(|reader| reader.selected_projects(&instance.settings));
        let granted: Option<BTreeSet<String>> = ctx
            .grant
            .projects_read
            .as_list()
            .map(|keys| keys.iter().map(|key| key.as_str().to_owned()).collect());
        let within = Bounds::new(match (selected, granted) {
            (Some(selected), Some(granted)) => Some(selected.intersection(&granted).cloned().collect()),
            (one, other) => one.or(other),
        });
        Ok(Target { instance, adapter, within })
    }
}

impl std::fmt::Debug for LiveService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LiveService")
    }
}
