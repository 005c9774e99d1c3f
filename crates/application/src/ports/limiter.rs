use std::time::Duration;

use async_trait::async_trait;
use domain::{InstanceId, Quota, TenantId};
use uuid::Uuid;

/// What a limit counts, and for whom.
///
/// The keys of one call are of one client address, or of one tenant: only those can be counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// Requests of a client address, before it is known who calls.
    Address(String),
    /// Sign-ins from a client address.
    SignIn(String),
    /// Webhook deliveries from a client address.
    Webhook(String),
    /// Requests of a key or person.
    Principal(TenantId, Uuid),
    /// Requests of a tenant.
    Tenant(TenantId),
    /// Calls of one class of tools by a key or person.
    Tool(ToolClass, TenantId, Uuid),
}

impl LimitKey {
    /// The limit's name in `RateLimit` headers, errors and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Address(_) => "address",
            Self::SignIn(_) => "sign-in",
            Self::Webhook(_) => "webhook",
            Self::Principal(..) => "key",
            Self::Tenant(_) => "tenant",
            Self::Tool(ToolClass::Read, ..) => "tool-read",
            Self::Tool(ToolClass::LiveRead, ..) => "tool-live",
            Self::Tool(ToolClass::Write, ..) => "tool-write",
        }
    }
}

/// The name of the limit of requests to a tracker, as [`LimitKey::name`] is for the others.
pub const UPSTREAM: &str = "upstream";

/// What kind of tool is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ToolClass {
    /// Reads synced data.
    Read,
    /// Reads the tracker.
    LiveRead,
    /// Writes to the tracker.
    Write,
}

/// Who asks a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpstreamUse {
    /// Somebody waits for the answer. May use the whole budget.
    Person,
    /// A sync. Leaves a fifth for people.
    Sync,
}

/// One limit to count a request against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// What is counted.
    pub key: LimitKey,
    /// How much of it is allowed.
    pub quota: Quota,
}

/// Where one limit stands after a request was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitState {
    /// The limit's name in `RateLimit` headers: `address`, `sign-in`, `key`, `tenant`, `tool-read`, …
    pub name: &'static str,
    /// The limit.
    pub quota: Quota,
    /// How many more may follow at once.
    pub remaining: u32,
    /// After how long all of the burst is there again.
    pub reset: Duration,
}

/// Whether a request may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may; the limits that were asked, the tightest first.
    Allowed(Vec<LimitState>),
    /// It may not: nothing was counted. The limit that stands against it, and how long to wait.
    Denied {
        /// The limit.
        state: LimitState,
        /// How long to wait.
        retry_after: Duration,
    },
    /// Nobody can count at the moment, and this kind of request is not let through uncounted.
    Closed {
        /// How long to wait before another try.
        retry_after: Duration,
    },
}

/// Counts requests, for all replicas together.
#[async_trait]
pub trait RateLimiter: Send + Sync {
    /// Counts one request against all of these limits, or against none when one of them is used up. Never fails:
    /// without its shared store it counts in this process, at the limit divided by the number of replicas; sign-ins
    /// are closed then.
    async fn take(&self, limits: &[Limit]) -> Decision;

    /// Counts `requests` against an instance's budget of requests to its tracker.
    async fn take_upstream(
        &self,
        instance: InstanceId,
        budget: Quota,
        who: UpstreamUse,
        requests: u32,
    ) -> Decision;

    /// Counts `requests` that were made already, also past the budget: later ones wait the longer.
    async fn debit_upstream(&self, instance: InstanceId, budget: Quota, requests: u32);

    /// Whether the shared store is there; `None` when none is configured.
    fn shared(&self) -> Option<bool>;
}
