//! Connections that were opened a moment ago. Opening one reads the credential and puts its use on the record, which takes
//! longer than everything else that a call does here.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{Instance, InstanceId, TenantId};
use moka::future::Cache;

use crate::connections::{Connections, LiveConnection};
use crate::ports::{Connection, SourceError, SourceErrorKind};
use crate::{Ctx, Error};

/// As long as a revoked key goes on at most. Another credential or setting counts at once: it makes another version of the
/// instance.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Some kilobytes each.
const MOST: u64 = 1_000;

/// A version of an instance.
type Key = (TenantId, InstanceId, DateTime<Utc>);

pub(super) struct Opened(Cache<Key, Arc<Connection>>);

impl Default for Opened {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MOST).time_to_live(KEPT_FOR).build())
    }
}

impl Opened {
    /// A connection of this call's own.
    pub(super) async fn take(
        &self,
        ctx: &Ctx,
        connections: &Connections,
        instance: &Instance,
    ) -> Result<LiveConnection, Error> {
        let key = key(ctx, instance);
        if let Some(kept) = self.0.get(&key).await {
            return Ok(kept.anew().into());
        }
        let opened = connections.open(ctx, instance).await?;
        self.0.insert(key, Arc::new(opened.anew())).await;
        Ok(opened.into())
    }

    /// Forgets what a call found to be refused.
    pub(super) async fn heed(
        &self,
        ctx: &Ctx,
        instance: &Instance,
        used: &LiveConnection,
        failed: Option<&SourceError>,
    ) {
        let refused =
            failed.is_some_and(|error| error.kind == SourceErrorKind::Unauthorized) || used.was_renewed();
        if refused {
            self.0.invalidate(&key(ctx, instance)).await;
        }
    }
}

fn key(ctx: &Ctx, instance: &Instance) -> Key {
    (ctx.tenant, instance.id, instance.updated_at)
}
