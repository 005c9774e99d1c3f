//! How often whoever may do what: which limits a request is counted against.

use std::net::IpAddr;
use std::sync::Arc;

use domain::{InstanceId, Quota};

use crate::ports::{
    Capabilities, Decision, Limit, LimitKey, LimitState, RateLimiter, ToolClass, UpstreamUse,
};
use crate::{Ctx, Error};

/// The limits of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Requests of a client address.
    pub address: Quota,
    /// Sign-ins from a client address.
    pub sign_in: Quota,
    /// Webhook deliveries from a client address.
    pub webhook: Quota,
    /// Requests of a key or person.
    pub key: Quota,
    /// Requests of a tenant.
    pub tenant: Quota,
    /// Calls of tools that read synced data, of a key or person.
    pub tool_read: Quota,
    /// Calls of tools that read a tracker.
    pub tool_live: Quota,
    /// Calls of tools that write to a tracker.
    pub tool_write: Quota,
    /// Requests to the tracker of an instance, in place of what its adapter says.
    pub upstream: Option<Quota>,
}

impl Default for Quotas {
    fn default() -> Self {
        let a_minute = |count, burst| Quota::per(count, 60, burst);
        Self {
            address: a_minute(3_000, 600),
            sign_in: a_minute(20, 10),
            // Trackers send from few addresses, and a storm of theirs is a thousand in a second.
            webhook: a_minute(120_000, 4_000),
            key: a_minute(1_200, 240),
            tenant: a_minute(6_000, 1_200),
            tool_read: a_minute(600, 120),
            tool_live: a_minute(300, 60),
            tool_write: a_minute(60, 20),
            upstream: None,
        }
    }
}

/// Counts requests. Every answer is where the limits stand, the tightest first, or [`Error::RateLimited`].
pub struct LimitService {
    limiter: Arc<dyn RateLimiter>,
    quotas: Quotas,
}

impl LimitService {
    /// Puts the service together.
    pub fn new(limiter: Arc<dyn RateLimiter>, quotas: Quotas) -> Self {
        Self { limiter, quotas }
    }

    /// Counts a request of a client address, before it is known who calls. Clients without an address are one.
    pub async fn count_address(&self, address: Option<IpAddr>) -> Result<Vec<LimitState>, Error> {
        self.take(&[Limit { key: LimitKey::Address(network(address)), quota: self.quotas.address }]).await
    }

    /// Counts a sign-in, or a request for a token. [`Error::Closed`] while that cannot be done for all replicas.
    pub async fn count_sign_in(&self, address: Option<IpAddr>) -> Result<Vec<LimitState>, Error> {
        self.take(&[Limit { key: LimitKey::SignIn(network(address)), quota: self.quotas.sign_in }]).await
    }

    /// Counts a webhook delivery of a client address.
    pub async fn count_webhook(&self, address: Option<IpAddr>) -> Result<Vec<LimitState>, Error> {
        self.take(&[Limit { key: LimitKey::Webhook(network(address)), quota: self.quotas.webhook }]).await
    }

    /// Counts a request of a caller: its own and its tenant's.
    pub async fn count_request(&self, ctx: &Ctx) -> Result<Vec<LimitState>, Error> {
        self.take(&self.of_caller(ctx)).await
    }

    /// Counts a tool call: the caller's own, its tenant's, and that of the class of tools.
    pub async fn count_tool(&self, ctx: &Ctx, class: ToolClass) -> Result<Vec<LimitState>, Error> {
        let mut limits = self.of_caller(ctx);
        if let Some(principal) = ctx.principal.id() {
            let quota = match class {
                ToolClass::Read => self.quotas.tool_read,
                ToolClass::LiveRead => self.quotas.tool_live,
                ToolClass::Write => self.quotas.tool_write,
            };
            limits.push(Limit { key: LimitKey::Tool(class, ctx.tenant, principal), quota });
        }
        self.take(&limits).await
    }

    /// How many requests an instance's tracker gets.
    pub fn budget(&self, capabilities: &Capabilities) -> Quota {
        self.quotas.upstream.unwrap_or(capabilities.budget)
    }

    /// Counts one request to an instance's tracker, before it is sent.
    pub async fn count_upstream(
        &self,
        instance: InstanceId,
        budget: Quota,
        who: UpstreamUse,
    ) -> Result<Vec<LimitState>, Error> {
        allowed(self.limiter.take_upstream(instance, budget, who, 1).await)
    }

    /// Counts the requests that were made beyond the first, which [`Self::count_upstream`] has counted.
    pub async fn debit_upstream(&self, instance: InstanceId, budget: Quota, made: i64) {
        let further = u32::try_from(made.saturating_sub(1)).unwrap_or(0);
        if further > 0 {
            self.limiter.debit_upstream(instance, budget, further).await;
        }
    }

    /// Whether all replicas count together at the moment; `None` when that is not configured.
    pub fn shared(&self) -> Option<bool> {
        self.limiter.shared()
    }

    /// What Patchbay does itself is not limited.
    fn of_caller(&self, ctx: &Ctx) -> Vec<Limit> {
        let Some(principal) = ctx.principal.id() else { return Vec::new() };
        vec![
            Limit { key: LimitKey::Principal(ctx.tenant, principal), quota: self.quotas.key },
            Limit { key: LimitKey::Tenant(ctx.tenant), quota: self.quotas.tenant },
        ]
    }

    async fn take(&self, limits: &[Limit]) -> Result<Vec<LimitState>, Error> {
        if limits.is_empty() {
            return Ok(Vec::new());
        }
        allowed(self.limiter.take(limits).await)
    }
}

impl std::fmt::Debug for LimitService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LimitService").field("quotas", &self.quotas).finish_non_exhaustive()
    }
}

fn allowed(decision: Decision) -> Result<Vec<LimitState>, Error> {
    match decision {
        Decision::Allowed(states) => Ok(states),
        Decision::Denied { state, retry_after } => Err(Error::RateLimited { state, retry_after }),
        Decision::Closed { retry_after } => Err(Error::Closed { retry_after }),
    }
}

/// What is counted as one client: an IPv4 address, or the /64 network of an IPv6 address, which is what one
/// customer of a provider has at the least.
fn network(address: Option<IpAddr>) -> String {
    match address.map(|address| address.to_canonical()) {
        None => "unknown".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ipv6_network_is_one_client() {
        let of = |text: &str| network(Some(text.parse().unwrap()));
        assert_eq!(of("2001:db8:0:1::7"), of("2001:db8:0:1:ffff::1"));
        assert_ne!(of("2001:db8:0:1::7"), of("2001:db8:0:2::7"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
