//! Counting requests by the generic cell rate algorithm: in Redis for all replicas together, and in this process when
//! there is no Redis or it does not answer.
//!
//! A request that Redis does not answer in time is counted here, at the limit divided by the number of replicas, and so
//! are all that follow until Redis is found well again in the background. Nothing is ever let through uncounted.

mod address;
mod cell;
mod local;
mod replicas;
mod shared;

use std::num::NonZeroU32;
use std::sync::{Arc, Weak};
use std::time::Duration;

use application::ports::{Decision, Limit, LimitKey, RateLimiter, UPSTREAM, UpstreamUse};
use async_trait::async_trait;
use domain::{InstanceId, Quota};
use metrics::{counter, describe_counter, describe_gauge, gauge};

pub use address::{RedisAddress, RedisProblem};
use cell::{Cell, Outcome, decision};
use local::Local;
use replicas::Replicas;
use shared::Shared;

/// What every call runs in Redis.
pub const GCRA: &str = include_str!("limiter/gcra.lua");

const DECISIONS: &str = "patchbay_limit_decisions_total";
const FALLBACK: &str = "patchbay_limiter_fallback_active";
const REPLICAS: &str = "patchbay_limiter_replicas";

/// When a caller that is turned away for want of Redis may try again.
const CLOSED_FOR: Duration = Duration::from_secs(2);

/// Tells the metrics recorder what the names mean.
pub fn describe_metrics() {
    describe_counter!(DECISIONS, "Requests by limit and outcome: allowed, denied, closed");
    describe_gauge!(REPLICAS, "Processes that share the limits, as far as this one knows");
    describe_gauge!(FALLBACK, "1 while requests are counted in this process because Redis does not answer");
}

/// How Redis is used.
#[derive(Debug, Clone)]
pub struct LimiterSettings {
    /// The first part of every key's name, so that installations can share a server. Holds no brace.
    pub prefix: String,
    /// How long an answer may take.
    pub command_timeout: Duration,
    /// How often it is looked whether Redis answers again.
    pub probe_every: Duration,
    /// How often this process says that it is there.
    pub heartbeat: Duration,
    /// The number of replicas; what their heartbeats tell when not given.
    pub replicas: Option<NonZeroU32>,
}

impl Default for LimiterSettings {
    fn default() -> Self {
        Self {
            prefix: "patchbay".to_owned(),
            command_timeout: Duration::from_millis(100),
            probe_every: Duration::from_millis(250),
            heartbeat: Duration::from_secs(2),
            replicas: None,
        }
    }
}

/// The limiter of a process.
#[derive(Debug)]
pub struct Limiter {
    local: Local,
    shared: Option<Shared>,
    replicas: Replicas,
    prefix: String,
}

impl Limiter {
    /// Counts in this process alone, which is one of so many.
    pub fn in_process(replicas: Option<NonZeroU32>) -> Arc<Self> {
        Arc::new(Self {
            local: Local::default(),
            shared: None,
            replicas: Replicas::new(replicas, LimiterSettings::default().heartbeat),
            prefix: String::new(),
        })
    }

    /// Counts in Redis. Is usable at once; a server that does not answer is looked for in the background, as long
    /// as the limiter is there. Needs a Tokio runtime.
    pub async fn in_redis(address: RedisAddress, settings: LimiterSettings) -> Arc<Self> {
        let limiter = Arc::new(Self {
            local: Local::default(),
            shared: Some(Shared::new(address, settings.command_timeout)),
            replicas: Replicas::new(settings.replicas, settings.heartbeat),
            prefix: settings.prefix,
        });
        if let Some(shared) = &limiter.shared {
            gauge!(FALLBACK).set(1.0);
            limiter.look_after(shared).await;
        }
        tokio::spawn(watch(Arc::downgrade(&limiter), settings.probe_every, settings.heartbeat));
        limiter
    }

    /// How many replicas share the limits, as far as is known.
    pub fn replicas(&self) -> u32 {
        self.replicas.count()
    }

    /// Connects when there is no connection, and says that this process is there.
    async fn look_after(&self, shared: &Shared) {
        let known = self.replicas.count();
        if !shared.is_there() {
            match shared.connect().await {
                Ok(()) => {
                    self.replicas.met();
                    tracing::info!(replicas = known, "Redis at {} counts requests", shared.address());
                }
                Err(problem) => {
                    tracing::debug!(%problem, "Redis is still not there");
                    return;
                }
            }
        }
        match shared.beat(&self.prefix, self.replicas.me(), self.replicas.ttl()).await {
            Ok(counted) => {
                self.replicas.heard_of(counted);
                gauge!(REPLICAS).set(self.replicas.count());
            }
            Err(problem) => self.lost(shared, &problem),
        }
        gauge!(FALLBACK).set(if shared.is_there() { 0.0 } else { 1.0 });
    }

    fn lost(&self, shared: &Shared, problem: &RedisProblem) {
        if shared.let_go() {
            gauge!(FALLBACK).set(1.0);
            tracing::warn!(
                %problem,
                replicas = self.replicas.count(),
                "Redis at {} does not count requests: every replica counts its share, and sign-ins are closed",
                shared.address()
            );
        }
    }

    /// Counts in Redis, or this replica's share here.
    async fn count(&self, cells: Vec<Cell>, past_the_limit: bool) -> (Vec<Cell>, Outcome) {
        if let Some(shared) = self.shared.as_ref().filter(|shared| shared.is_there()) {
            match shared.take(&cells, past_the_limit).await {
                Ok(outcome) => return (cells, outcome),
                Err(problem) => self.lost(shared, &problem),
            }
        }
        let replicas = self.replicas.count();
        let shares: Vec<Cell> = cells.into_iter().map(|cell| cell.share(replicas)).collect();
        let outcome = self.local.take(&shares, past_the_limit);
        (shares, outcome)
    }

    /// Never by this process's own count when there is a Redis: passwords and codes could be tried at every replica.
    async fn take_sign_in(&self, cells: Vec<Cell>) -> Decision {
        if let Some(shared) = &self.shared {
            if shared.is_there() {
                match shared.take(&cells, false).await {
                    Ok(outcome) => return decision(&cells, outcome),
                    Err(problem) => self.lost(shared, &problem),
                }
            }
            return Decision::Closed { retry_after: CLOSED_FOR };
        }
        self.decide(cells).await
    }

    async fn decide(&self, cells: Vec<Cell>) -> Decision {
        let (cells, outcome) = self.count(cells, false).await;
        decision(&cells, outcome)
    }

    fn upstream(&self, instance: InstanceId, budget: Quota, requests: u32) -> Cell {
        Cell {
            name: UPSTREAM,
            key: format!("{}:{{i:{instance}}}:{UPSTREAM}", self.prefix),
            quota: budget,
            tolerated: budget.burst,
            cost: requests,
        }
    }
}

#[async_trait]
impl RateLimiter for Limiter {
    async fn take(&self, limits: &[Limit]) -> Decision {
        let cells = limits.iter().map(|limit| Cell::of(&self.prefix, limit)).collect();
        let sign_in = limits.iter().any(|limit| matches!(limit.key, LimitKey::SignIn(_)));
        let decision = if sign_in { self.take_sign_in(cells).await } else { self.decide(cells).await };
        if decision == (Decision::Closed { retry_after: CLOSED_FOR }) {
            for limit in limits {
                count_decision(limit.key.name(), "closed");
            }
        }
        note(&decision);
        decision
    }

    async fn take_upstream(
        &self,
        instance: InstanceId,
        budget: Quota,
        who: UpstreamUse,
        requests: u32,
    ) -> Decision {
        let mut cell = self.upstream(instance, budget, requests);
        if who == UpstreamUse::Sync {
            let fifth = budget.burst.get() / 5;
            cell.tolerated = NonZeroU32::new(budget.burst.get() - fifth).unwrap_or(NonZeroU32::MIN);
        }
        let decision = self.decide(vec![cell]).await;
        note(&decision);
        decision
    }

    async fn debit_upstream(&self, instance: InstanceId, budget: Quota, requests: u32) {
        let cell = self.upstream(instance, budget, requests);
        self.count(vec![cell], true).await;
    }

    fn shared(&self) -> Option<bool> {
        self.shared.as_ref().map(Shared::is_there)
    }
}

fn note(decision: &Decision) {
    match decision {
        Decision::Allowed(states) => {
            for state in states {
                count_decision(state.name, "allowed");
            }
        }
        Decision::Denied { state, .. } => count_decision(state.name, "denied"),
        Decision::Closed { .. } => {}
    }
}

fn count_decision(limit: &'static str, outcome: &'static str) {
    counter!(DECISIONS, "limit" => limit, "outcome" => outcome).increment(1);
}

/// Looks after the connection until the limiter is gone.
async fn watch(limiter: Weak<Limiter>, probe_every: Duration, heartbeat: Duration) {
    loop {
        let there = match limiter.upgrade() {
            Some(limiter) => limiter.shared.as_ref().is_some_and(Shared::is_there),
            None => return,
        };
        let wait = if there { heartbeat } else { probe_every };
        // While Redis is there it is left alone for longer, but its loss is noticed soon.
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < wait {
            tokio::time::sleep(probe_every.min(wait)).await;
            match limiter.upgrade() {
                Some(limiter) if limiter.shared.as_ref().is_some_and(Shared::is_there) == there => {}
                Some(_) => break,
                None => return,
            }
        }
        let Some(limiter) = limiter.upgrade() else { return };
        if let Some(shared) = &limiter.shared {
            limiter.look_after(shared).await;
        }
    }
}
