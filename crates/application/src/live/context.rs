//! What a caller has: instances, projects, and whether they answer.

use std::time::Duration;

use domain::{Instance, InstanceStatus, Scope};
use futures::{StreamExt, stream};

use super::LiveService;
use super::clean::clean_text;
use crate::{Ctx, Error};

/// Instances that are looked at, at once, and for how long.
const MOST: usize = 20;
const AT_ONCE: usize = 4;
const SPAN: Duration = Duration::from_secs(5);

/// An instance as its callers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenInstance {
    /// Its short name.
    pub slug: String,
    /// Where people open it, or where its API is while it does not answer.
    pub url: String,
    /// `cloud` or `data_center`, while it answers.
    pub deployment: Option<&'static str>,
    /// The projects that may be seen; `None` for all that the account sees.
    pub projects: Option<Vec<String>>,
    /// Whether the caller may write anything there.
    pub can_write: bool,
    /// The projects that may be written to, where these are not all that may be seen.
    pub writable: Option<Vec<String>>,
    /// `ok`, or what is wrong with it.
    pub health: String,
}

impl LiveService {
    /// The caller's instances, and whether they answer; up to twenty.
    pub async fn context(&self, ctx: &Ctx) -> Result<Vec<SeenInstance>, Error> {
        let instances = self.instances(ctx).await?;
        let looks = instances.into_iter().take(MOST).map(|instance| self.look(ctx, instance));
        let mut seen: Vec<SeenInstance> = stream::iter(looks).buffered(AT_ONCE).collect().await;
        // What the tracker says of itself, and why it refuses.
        for one in &mut seen {
            clean_text(&mut one.url);
            clean_text(&mut one.health);
        }
        Ok(seen)
    }

    async fn look(&self, ctx: &Ctx, instance: Instance) -> SeenInstance {
        let mut seen = SeenInstance {
            slug: instance.slug.to_string(),
            url: instance.base_url.to_string(),
            deployment: None,
            projects: None,
            can_write: false,
            writable: None,
            health: "ok".into(),
        };
        let refused = instance.status == InstanceStatus::ReconnectRequired;
        let Ok(target) = self.reach(ctx, instance) else { return seen };
        seen.projects = target.within.as_list().map(|keys| keys.iter().cloned().collect());
        let writes = target.adapter.writer().is_some() && ctx.scopes.allow(Scope::McpJiraWrite);
        let keys = ctx.grant.projects_write.as_list();
        seen.can_write =
            writes && keys.is_none_or(|keys| keys.iter().any(|key| target.within.allows(key.as_str())));
        if let Some(keys) = keys.filter(|_| seen.can_write) {
            let seen_too = keys.iter().filter(|key| target.within.allows(key.as_str()));
            seen.writable = Some(seen_too.map(|key| key.as_str().to_owned()).collect());
        }
        if refused {
            seen.health = "reconnect_required: an admin must give the instance new credentials".into();
            return seen;
        }
        let Ok(reader) = target.reader() else { return seen };
        match self.ask_within(ctx, &target, SPAN, |c| async move { reader.site(&c).await }).await {
            Ok(site) => {
                seen.url = site.url;
                seen.deployment = Some(site.deployment);
            }
            Err(Error::Source(error)) => seen.health = format!("failing: {error}"),
            Err(error) if error.is_retryable() => seen.health = format!("not asked: {error}"),
            Err(_) => seen.health = "failing: it cannot be asked through a fault of the service".into(),
        }
        seen
    }
}
