//! Items of the synced copy that somebody watches. Whoever watches asks again and again; one look at the database a second
//! serves all of a tenant that ask in this process, and each is told what it may see by its own rights of that moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use domain::{Instance, InstanceId, RequestId, TenantId};
use moka::future::Cache;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::LiveService;
use crate::ports::{Bounds, ItemPosition};
use crate::{Ctx, Error};

/// How old a look may be that is told again.
const LOOK: Duration = Duration::from_secs(1);
/// An item that nobody asks for any more is forgotten after so long.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// Tenants that are watched at once; beyond, each look is its own.
const MOST_TENANTS: u64 = 10_000;

/// An item by what people call it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ItemAddress {
    /// The instance's short name.
    pub instance: String,
    /// Its key.
    pub key: String,
}

/// What a caller sees of what it watches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// How many instances the caller may read.
    pub instances: usize,
    /// For each item, in the order asked for, the transaction that changed it last: another one means that it changed.
    /// `None` when the caller may not see it, or it is not here.
    pub items: Vec<Option<i64>>,
}

type ItemId = (InstanceId, String);

/// What one look found, for everybody of a tenant.
#[derive(Default)]
struct Look {
    taken: Option<Instant>,
    /// By short name.
    instances: Vec<Instance>,
    found: HashMap<ItemId, ItemPosition>,
    /// What somebody asks for, and when somebody last did.
    asked: HashMap<ItemId, Instant>,
}

/// The looks of all tenants, each taken by one at a time.
pub(super) struct Looks(Cache<TenantId, Arc<Mutex<Look>>>);

impl Default for Looks {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MOST_TENANTS).time_to_idle(KEPT_FOR).build())
    }
}

impl LiveService {
    /// Where items stand in the order in which the synced copy changes, as the caller may see them now; a second old at
    /// most. The tracker is not asked.
    pub async fn watched(&self, ctx: &Ctx, items: &[ItemAddress]) -> Result<Watched, Error> {
        self.require(ctx)?;
        let shared = self.looks.0.get_with(ctx.tenant, async { Arc::default() }).await;
        let mut look = shared.lock().await;
        self.take(ctx.tenant, &mut look, items).await?;
        let mine: Vec<&Instance> =
            look.instances.iter().filter(|instance| ctx.grant.instances.allows(&instance.id)).collect();
        let mut bounds: BTreeMap<&str, Option<Bounds>> = BTreeMap::new();
        let mut told = Vec::with_capacity(items.len());
        for item in items {
            let instance = mine.iter().find(|instance| instance.slug.as_str() == item.instance);
            let position = instance.and_then(|instance| {
                let within = bounds
                    .entry(&item.instance)
                    .or_insert_with(|| self.reach(ctx, (*instance).clone()).ok().map(|target| target.within));
                let position = look.found.get(&(instance.id, item.key.clone()))?;
                within
                    .as_ref()
                    .filter(|within| within.allows(&position.project) && within.allows_issue(&position.key))
                    .map(|_| position.changed_in)
            });
            told.push(position);
        }
        Ok(Watched { instances: mine.len(), items: told })
    }

    /// Looks, when the last look is too old or did not look for all of these.
    async fn take(&self, tenant: TenantId, look: &mut Look, items: &[ItemAddress]) -> Result<(), Error> {
        let now = Instant::now();
        // What belongs to nobody in particular is read for the tenant; who asks gets a part of it.
        let ctx = Ctx::system(tenant, "watched items", RequestId::new(self.parts.ids.uuid()));
        let old = look.taken.is_none_or(|taken| now >= taken + LOOK);
        if old {
            look.instances = self.read_live(&ctx).await?;
        }
        let mut unseen = false;
        for item in items {
            let Some(instance) = look.instances.iter().find(|one| one.slug.as_str() == item.instance) else {
                continue;
            };
            unseen |= look.asked.insert((instance.id, item.key.clone()), now).is_none();
        }
        if !old && !unseen {
            return Ok(());
        }
        look.asked.retain(|_, asked| now < *asked + KEPT_FOR);
        let asked: Vec<ItemId> = look.asked.keys().cloned().collect();
        // When this fails, or who asks goes away, the next one looks again.
        let taken = if old { Some(now) } else { look.taken };
        look.taken = None;
        let found = self.parts.changes.positions(&ctx, &asked).await?;
        look.found = found.into_iter().map(|at| ((at.instance, at.key.clone()), at)).collect();
        look.taken = taken;
        Ok(())
    }
}
