//! Rate limits and Redis: their flags, and the limiter they make.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use application::limits::Quotas;
use clap::Args;
use domain::Quota;
use infrastructure::idempotency_cache::CacheSettings;
use infrastructure::limiter::{Limiter, LimiterSettings, RedisAddress, RedisProblem};
use interfaces::limits::TrustedProxies;
use ipnet::IpNet;

use crate::config;

/// Where Redis is.
#[derive(Debug, Clone, Args)]
pub(crate) struct RedisArgs {
    /// Redis, for limits that all replicas share: redis://user:password@host:port/number, or rediss:// for TLS.
    /// Without it every process counts by itself.
    #[arg(long, env = "PATCHBAY_REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) redis_url: Option<String>,
    /// A file that holds the address of Redis.
    #[arg(long, env = "PATCHBAY_REDIS_URL_FILE", value_name = "PATH", conflicts_with = "redis_url")]
    pub(crate) redis_url_file: Option<PathBuf>,
    /// A file with the certificates (PEM) of the authorities that Redis's certificate may be signed by, for rediss://.
    /// Without it those count that this machine trusts.
    #[arg(long, env = "PATCHBAY_REDIS_CA_FILE", value_name = "PATH")]
    pub(crate) redis_ca_file: Option<PathBuf>,
    /// What the names of all keys in Redis begin with, when installations share one.
    #[arg(long, env = "PATCHBAY_REDIS_PREFIX", value_name = "WORD", default_value = "patchbay",
          value_parser = parse_prefix)]
    pub(crate) redis_prefix: String,
    /// Milliseconds that Redis may take for an answer; then this process counts by itself.
    #[arg(long, env = "PATCHBAY_REDIS_TIMEOUT_MS", value_name = "MS", default_value_t = 100,
          value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) redis_timeout_ms: u16,
}

/// How often what may be done: `<count>/<seconds>s:<burst>`.
#[derive(Debug, Clone, Args)]
pub(crate) struct LimitArgs {
    /// Requests of a client address, before it is known who calls.
    #[arg(long, env = "PATCHBAY_LIMIT_ADDRESS", value_name = "QUOTA", default_value = "3000/60s:600")]
    pub(crate) limit_address: Quota,
    /// Sign-ins and requests for tokens from a client address.
    #[arg(long, env = "PATCHBAY_LIMIT_SIGN_IN", value_name = "QUOTA", default_value = "20/60s:10")]
    pub(crate) limit_sign_in: Quota,
    /// Webhook deliveries from a client address.
    #[arg(long, env = "PATCHBAY_LIMIT_WEBHOOK", value_name = "QUOTA", default_value = "120000/60s:4000")]
    pub(crate) limit_webhook: Quota,
    /// Requests of a key or person.
    #[arg(long, env = "PATCHBAY_LIMIT_KEY", value_name = "QUOTA", default_value = "1200/60s:240")]
    pub(crate) limit_key: Quota,
    /// Requests of a tenant.
    #[arg(long, env = "PATCHBAY_LIMIT_TENANT", value_name = "QUOTA", default_value = "6000/60s:1200")]
    pub(crate) limit_tenant: Quota,
    /// Calls by a key or person of MCP tools that read synced data.
    #[arg(long, env = "PATCHBAY_LIMIT_TOOL_READ", value_name = "QUOTA", default_value = "600/60s:120")]
    pub(crate) limit_tool_read: Quota,
    /// Calls by a key or person of MCP tools that read a tracker.
    #[arg(long, env = "PATCHBAY_LIMIT_TOOL_LIVE", value_name = "QUOTA", default_value = "300/60s:60")]
    pub(crate) limit_tool_live: Quota,
    /// Calls by a key or person of MCP tools that write to a tracker.
    #[arg(long, env = "PATCHBAY_LIMIT_TOOL_WRITE", value_name = "QUOTA", default_value = "60/60s:20")]
    pub(crate) limit_tool_write: Quota,
    /// Requests to the tracker of one instance, by syncs and people together; what the tracker's documentation says
    /// when not given (github.com: 5000/3600s).
    #[arg(long, env = "PATCHBAY_LIMIT_UPSTREAM", value_name = "QUOTA")]
    pub(crate) limit_upstream: Option<Quota>,
    /// How many processes share the limits, for when they cannot be shared through Redis: each takes its part. With
    /// Redis it is counted when not given.
    #[arg(long, env = "PATCHBAY_REPLICAS", value_name = "N")]
    pub(crate) replicas: Option<NonZeroU32>,
    /// Networks of proxies whose X-Forwarded-For is believed, separated by commas.
    #[arg(long, env = "PATCHBAY_TRUSTED_PROXIES", value_name = "CIDR", value_delimiter = ',')]
    pub(crate) trusted_proxies: Vec<IpNet>,
}

impl LimitArgs {
    pub(crate) fn quotas(&self) -> Quotas {
        Quotas {
            address: self.limit_address,
            sign_in: self.limit_sign_in,
            webhook: self.limit_webhook,
            key: self.limit_key,
            tenant: self.limit_tenant,
            tool_read: self.limit_tool_read,
            tool_live: self.limit_tool_live,
            tool_write: self.limit_tool_write,
            upstream: self.limit_upstream,
        }
    }

    pub(crate) fn trusted_proxies(&self) -> TrustedProxies {
        TrustedProxies::new(self.trusted_proxies.clone())
    }
}

/// `None` when no Redis is configured.
pub(crate) fn redis_address(args: &RedisArgs) -> anyhow::Result<Option<RedisAddress>> {
    let url = config::given(args.redis_url.as_ref(), args.redis_url_file.as_deref())?;
    let Some(url) = url else { return Ok(None) };
    let address = RedisAddress::parse(&url)?;
    Ok(Some(match &args.redis_ca_file {
        Some(path) => {
            let authorities = std::fs::read(path)
                .with_context(|| format!("cannot read {} (PATCHBAY_REDIS_CA_FILE)", path.display()))?;
            address.trusting(&authorities)?
        }
        None => address,
    }))
}

/// The Redis that keeps answers at hand; `None` when none is configured.
pub(crate) fn answers_in_redis(args: &RedisArgs) -> anyhow::Result<Option<CacheSettings>> {
    Ok(redis_address(args)?.map(|address| CacheSettings {
        address,
        prefix: args.redis_prefix.clone(),
        timeout: Duration::from_millis(args.redis_timeout_ms.into()),
    }))
}

/// The limiter of this process. A Redis that refuses stops the start; one that is down does not: it may come back any
/// moment, and until then limits are kept all the same.
pub(crate) async fn limiter(redis: &RedisArgs, limits: &LimitArgs) -> anyhow::Result<Arc<Limiter>> {
    let Some(address) = redis_address(redis)? else {
        return Ok(Limiter::in_process(limits.replicas));
    };
    match address.check().await {
        Ok(()) => {}
        Err(problem @ RedisProblem::Unreachable { .. }) => tracing::warn!(
            replicas = limits.replicas.map_or(1, NonZeroU32::get),
            "{problem}. Until then this process counts its share of the limits, and sign-ins are closed"
        ),
        Err(problem) => return Err(problem.into()),
    }
    let settings = LimiterSettings {
        prefix: redis.redis_prefix.clone(),
        command_timeout: Duration::from_millis(redis.redis_timeout_ms.into()),
        replicas: limits.replicas,
        ..LimiterSettings::default()
    };
    Ok(Limiter::in_redis(address, settings).await)
}

fn parse_prefix(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.len());
    if fits && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b':')) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 64 letters, digits, hyphens, underscores and colons".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        limits: LimitArgs,
    }

    #[test]
    fn without_flags_the_limits_are_the_default_ones() {
        let flags = Flags::parse_from(["patchbay"]);
        assert_eq!(flags.limits.quotas(), Quotas::default());
    }

    #[test]
    fn a_quota_that_is_none_is_refused() {
        let refused = Flags::try_parse_from(["patchbay", "--limit-key", "many"]).unwrap_err();
        assert!(refused.to_string().contains("600/60s:100"), "{refused}");
    }
}
