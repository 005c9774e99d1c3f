//! A bound on how many templates a tenant runs at once, so that one tenant's slow queries leave room for others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use application::ports::StoreError;
use domain::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Tenants remembered before the idle ones are forgotten.
const REMEMBERED: usize = 4_096;

#[derive(Debug)]
pub(super) struct TenantSlots {
    each: usize,
    wait: Duration,
    tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

impl TenantSlots {
    pub(super) fn new(each: usize, wait: Duration) -> Self {
        Self { each, wait, tenants: Mutex::new(HashMap::new()) }
    }

    /// The right to run one; waits a while for it.
    pub(super) async fn take(&self, tenant: TenantId) -> Result<OwnedSemaphorePermit, StoreError> {
        let slots = self.of(tenant);
        if let Ok(permit) = slots.clone().try_acquire_owned() {
            return Ok(permit);
        }
        match tokio::time::timeout(self.wait, slots.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => {
                Err(StoreError::Unavailable("too many templates of one tenant are running".into()))
            }
        }
    }

    fn of(&self, tenant: TenantId) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= REMEMBERED {
            tenants.retain(|_, slots| Arc::strong_count(slots) > 1);
        }
        tenants.entry(tenant).or_insert_with(|| Arc::new(Semaphore::new(self.each))).clone()
    }
}
