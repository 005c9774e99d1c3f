//! The second lock of templates that tenants write: a seal on the context of their transactions, which only the server
//! can make and which `public.sealed_tenant()` of bootstrap/author.sql checks.

use std::fmt;
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What seals are made with; there once the vault is open.
#[derive(Clone, Default)]
pub(super) struct SealKey(Arc<OnceLock<Zeroizing<[u8; 32]>>>);

impl SealKey {
    /// Sets it; the first one stays.
    pub(super) fn set(&self, key: Zeroizing<[u8; 32]>) {
        // Every opening of the vault brings the same.
        let _ = self.0.set(key);
    }

    /// Seals a context; `None` as long as there is no key.
    pub(super) fn seal(&self, context: &SealedContext<'_>) -> Option<String> {
        Some(seal(self.0.get()?, context))
    }
}

/// What a seal is over: a context in one transaction of one session.
#[derive(Debug, Clone, Copy)]
pub(super) struct SealedContext<'a> {
    pub(super) tenant: domain::TenantId,
    /// The server's process that serves the session.
    pub(super) backend: i32,
    /// When the transaction began, in microseconds of the Unix epoch.
    pub(super) began_us: i64,
    /// What the caller is narrowed to, as the settings hold it.
    pub(super) instances: &'a str,
    pub(super) projects: &'a str,
}

/// `sha256(key || sha256(key || message))`: no longer message can be sealed by who has the seal of a shorter one.
fn seal(key: &[u8; 32], context: &SealedContext<'_>) -> String {
    let SealedContext { tenant, backend, began_us, instances, projects } = context;
    let message = format!("{tenant}|{backend}|{began_us}|{instances}|{projects}");
    let inner = Sha256::new().chain_update(key).chain_update(message).finalize();
    hex::encode(Sha256::new().chain_update(key).chain_update(inner).finalize())
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey")
    }
}

#[cfg(test)]
mod tests {
    use domain::TenantId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_seal_differs_with_every_part_of_the_context() {
        let key = [7; 32];
        let base = SealedContext {
            tenant: TenantId::new(Uuid::from_u128(1)),
            backend: 4,
            began_us: 5,
            instances: "",
            projects: "",
        };
        let seals = [
            seal(&key, &base),
            seal(&[8; 32], &base),
            seal(&key, &SealedContext { tenant: TenantId::new(Uuid::from_u128(2)), ..base }),
            seal(&key, &SealedContext { backend: 5, ..base }),
            seal(&key, &SealedContext { began_us: 6, ..base }),
            seal(&key, &SealedContext { instances: "a", ..base }),
            seal(&key, &SealedContext { projects: "a", ..base }),
        ];
        let distinct: std::collections::BTreeSet<&String> = seals.iter().collect();
        assert_eq!(distinct.len(), seals.len());
        assert_eq!(seals[0], seal(&key, &base));
    }
}
