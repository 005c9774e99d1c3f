//! Limits that never recover, as the time stands still.

use std::time::Duration;

use async_trait::async_trait;
use domain::{InstanceId, Quota};

use super::Memory;
use crate::ports::{Decision, Limit, LimitKey, LimitState, RateLimiter, UPSTREAM, UpstreamUse};

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    /// Against one of our limits.
    Ours(LimitKey),
    /// Against an instance's budget.
    Upstream(InstanceId),
}

impl Memory {
    /// How many requests to its tracker were counted for an instance.
    pub fn upstream_requests(&self, instance: InstanceId) -> u32 {
        self.state().counted.get(&Counted::Upstream(instance)).copied().unwrap_or(0)
    }

    /// Sign-ins are closed from now on, as without the shared store.
    pub fn close_sign_ins(&self) {
        self.state().sign_ins_closed = true;
    }
}

fn state(name: &'static str, quota: Quota, counted: u32) -> LimitState {
    let remaining = quota.burst.get().saturating_sub(counted);
    LimitState { name, quota, remaining, reset: quota.interval() * counted.min(quota.burst.get()) }
}

#[async_trait]
impl RateLimiter for Memory {
    async fn take(&self, limits: &[Limit]) -> Decision {
        let mut memory = self.state();
        if memory.sign_ins_closed && limits.iter().any(|limit| matches!(limit.key, LimitKey::SignIn(_))) {
            return Decision::Closed { retry_after: Duration::from_secs(1) };
        }
        let counted = |key: &LimitKey| memory.counted.get(&Counted::Ours(key.clone())).copied().unwrap_or(0);
        for Limit { key, quota } in limits {
            if counted(key) >= quota.burst.get() {
                let state = state(key.name(), *quota, counted(key));
                return Decision::Denied { state, retry_after: quota.interval() };
            }
        }
        let mut states = Vec::with_capacity(limits.len());
        for Limit { key, quota } in limits {
            let counted = memory.counted.entry(Counted::Ours(key.clone())).or_default();
            *counted += 1;
            states.push(state(key.name(), *quota, *counted));
        }
        states.sort_by_key(|state| state.remaining);
        Decision::Allowed(states)
    }

    async fn take_upstream(
        &self,
        instance: InstanceId,
        budget: Quota,
        who: UpstreamUse,
        requests: u32,
    ) -> Decision {
        let mut memory = self.state();
        let counted = memory.counted.entry(Counted::Upstream(instance)).or_default();
        let most = match who {
            UpstreamUse::Person => budget.burst.get(),
            UpstreamUse::Sync => budget.burst.get() / 5 * 4,
        };
        if counted.saturating_add(requests) > most {
            let state = state(UPSTREAM, budget, *counted);
            return Decision::Denied { state, retry_after: budget.interval() * requests };
        }
        *counted += requests;
        Decision::Allowed(vec![state(UPSTREAM, budget, *counted)])
    }

    async fn debit_upstream(&self, instance: InstanceId, _: Quota, requests: u32) {
        let mut memory = self.state();
        let counted = memory.counted.entry(Counted::Upstream(instance)).or_default();
        *counted = counted.saturating_add(requests);
    }

    fn shared(&self) -> Option<bool> {
        None
    }
}
