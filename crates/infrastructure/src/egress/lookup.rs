//! Names to addresses, with the guard in between: what is checked is what is connected to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::EgressPolicy;

/// Resolves names.
#[async_trait]
pub trait Lookup: std::fmt::Debug + Send + Sync {
    /// All addresses of a name.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Resolves names as the system does.
#[derive(Debug, Clone, Copy)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// The name has addresses, but none that may be connected to.
#[derive(Debug, thiserror::Error)]
#[error("no address of the name is allowed")]
pub(super) struct NotAllowed;

/// Hands the connector only addresses that were checked, so that no second resolution can slip another in.
#[derive(Debug)]
pub(super) struct GuardedResolver {
    pub(super) policy: EgressPolicy,
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) encrypted: bool,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, lookup, encrypted) = (self.policy.clone(), self.lookup.clone(), self.encrypted);
        Box::pin(async move {
            let found = lookup.lookup(name.as_str()).await?;
            let allowed: Vec<SocketAddr> = found
                .iter()
                .filter(|address| policy.allows(**address, encrypted))
                .map(|address| SocketAddr::new(*address, 0))
                .collect();
            if allowed.is_empty() && !found.is_empty() {
                return Err(NotAllowed.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}
