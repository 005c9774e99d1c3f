//! Who may renew: within a process one at a time for each instance, and a few at a time in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use domain::InstanceId;
use tokio::sync::{Mutex as Gate, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// Each holds a database connection while it waits for a token endpoint.
const AT_ONCE: usize = 4;

#[derive(Debug)]
pub(super) struct Gates {
    instances: Mutex<HashMap<InstanceId, Weak<Gate<()>>>>,
    places: Arc<Semaphore>,
}

/// The right to renew; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _gate: OwnedMutexGuard<()>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Default for Gates {
    fn default() -> Self {
        Self { instances: Mutex::default(), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Gates {
    /// Waits for this instance's turn.
    pub(super) async fn turn(&self, instance: InstanceId) -> Turn {
        let gate = self.gate(instance).lock_owned().await;
        // The semaphore is never closed.
        Turn { _gate: gate, _place: self.places.clone().acquire_owned().await.ok() }
    }

    fn gate(&self, instance: InstanceId) -> Arc<Gate<()>> {
        let mut instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = instances.get(&instance).and_then(Weak::upgrade) {
            return gate;
        }
        // What nobody waits at any more is forgotten, so that the map stays as large as what goes on.
        instances.retain(|_, gate| gate.strong_count() > 0);
        let gate = Arc::new(Gate::new(()));
        instances.insert(instance, Arc::downgrade(&gate));
        gate
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn one_instance_waits_for_itself_and_not_for_another() {
        let gates = Gates::default();
        let [one, other] = [1, 2].map(|n| InstanceId::new(Uuid::from_u128(n)));
        let first = gates.turn(one).await;
        let _other = gates.turn(other).await;
        assert!(futures::FutureExt::now_or_never(gates.turn(one)).is_none(), "two had the same turn");
        drop(first);
        assert!(futures::FutureExt::now_or_never(gates.turn(one)).is_some(), "the turn was not given back");
    }

    #[tokio::test]
    async fn instances_that_are_done_are_forgotten() {
        let gates = Gates::default();
        for n in 0..1_000 {
            drop(gates.turn(InstanceId::new(Uuid::from_u128(n))).await);
        }
        let kept = gates.instances.lock().unwrap().len();
        assert!(kept <= 1, "{kept} gates are kept");
    }
}
