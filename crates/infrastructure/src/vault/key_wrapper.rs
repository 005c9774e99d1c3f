//! Keys that wrap keys: the port, and the ones an installation has.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::envelope::Wrapped;
use super::{MasterKey, TransitKey, VaultError};

/// Bytes of a wrapping key's id.
pub(super) const KEK_ID_LEN: usize = 8;

/// Tells wrapping keys apart; says nothing about them.
pub(super) type KekId = [u8; KEK_ID_LEN];

/// A key that wraps other keys, wherever it is kept.
#[async_trait]
pub(super) trait KeyWrapper: fmt::Debug + Send + Sync {
    /// Stands in front of everything it wraps.
    fn id(&self) -> KekId;

    /// What [`Wrapped::by`] says of the things it wraps from now on: its id, and its version where it has versions.
    async fn current(&self) -> Result<String, VaultError>;

    /// Wraps a key, bound to what it is for.
    async fn wrap(&self, purpose: &str, key: &[u8; 32]) -> Result<Vec<u8>, VaultError>;

    /// Unwraps what it has wrapped, under whichever version. `what` names it in errors.
    async fn unwrap(
        &self,
        purpose: &str,
        wrapped: &Wrapped<'_>,
        what: &'static str,
    ) -> Result<Zeroizing<[u8; 32]>, VaultError>;

    /// The passwords of a database role that follow from this key, the current version's first.
    async fn role_passwords(&self, role: &str) -> Result<Vec<SecretString>, VaultError>;
}

/// The keys that open an installation: one that wraps, and any number of others that still or already unwrap.
/// Cheap to clone.
#[derive(Clone)]
pub struct MasterKeys {
    primary: Arc<dyn KeyWrapper>,
    accepted: Vec<Arc<dyn KeyWrapper>>,
}

impl MasterKeys {
    /// A key that this process holds wraps.
    pub fn local(primary: MasterKey) -> Self {
        Self { primary: Arc::new(primary), accepted: Vec::new() }
    }

    /// A key that a key service holds wraps.
    pub fn transit(primary: TransitKey) -> Self {
        Self { primary: Arc::new(primary), accepted: Vec::new() }
    }

    /// Also unwraps with these.
    #[must_use]
    pub fn accepting(mut self, keys: impl IntoIterator<Item = MasterKey>) -> Self {
        for key in keys {
            self.accept(Arc::new(key));
        }
        self
    }

    /// Also unwraps with a key that a key service holds.
    #[must_use]
    pub fn accepting_transit(mut self, key: TransitKey) -> Self {
        self.accept(Arc::new(key));
        self
    }

    fn accept(&mut self, key: Arc<dyn KeyWrapper>) {
        if self.all().all(|known| known.id() != key.id()) {
            self.accepted.push(key);
        }
    }

    /// The ids of the keys, the wrapping one first.
    pub fn ids(&self) -> Vec<String> {
        self.all().map(|key| hex::encode(key.id())).collect()
    }

    /// What wraps from now on, as the rows it wraps will say.
    pub async fn current(&self) -> Result<String, VaultError> {
        self.primary.current().await
    }

    pub(super) fn primary_id(&self) -> KekId {
        self.primary.id()
    }

    /// Wraps under the primary key.
    pub(super) async fn wrap(&self, purpose: &str, key: &[u8; 32]) -> Result<Vec<u8>, VaultError> {
        self.primary.wrap(purpose, key).await
    }

    /// Unwraps with whichever key wrapped it.
    pub(super) async fn unwrap(
        &self,
        purpose: &str,
        wrapped: &[u8],
        what: &'static str,
    ) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let wrapped = Wrapped::split(wrapped).ok_or(VaultError::Sealed(what))?;
        let Some(key) = self.all().find(|key| key.id() == wrapped.kek) else {
            return Err(VaultError::WrongMasterKey {
                given: self.ids().join(", "),
                stored: hex::encode(wrapped.kek),
            });
        };
        key.unwrap(purpose, &wrapped, what).await
    }

    /// The passwords to set for these database roles: the current ones of the wrapping key.
    pub(crate) async fn passwords_to_set<const N: usize>(
        &self,
        roles: [&str; N],
    ) -> Result<[SecretString; N], VaultError> {
        let mut current = Vec::with_capacity(N);
        for role in roles {
            let passwords = self.primary.role_passwords(role).await?;
            current.push(passwords.into_iter().next().expect("a key gives a password"));
        }
        Ok(current.try_into().expect("there is one for each role"))
    }

    /// Every set of passwords that the roles may have at this moment of a rotation, the likeliest first.
    pub(crate) async fn passwords_to_try<const N: usize>(
        &self,
        roles: [&str; N],
    ) -> Result<Vec<[SecretString; N]>, VaultError> {
        let mut all = Vec::new();
        for (index, key) in self.all().enumerate() {
            let derived = async {
                let mut of_roles = Vec::with_capacity(N);
                for role in roles {
                    of_roles.push(key.role_passwords(role).await?);
                }
                Ok::<_, VaultError>(of_roles)
            };
            match derived.await {
                Ok(of_roles) => {
                    let sets = of_roles.iter().map(Vec::len).min().unwrap_or(0);
                    all.extend((0..sets).map(|set| -> [SecretString; N] {
                        let one: Vec<SecretString> = of_roles.iter().map(|of| of[set].clone()).collect();
                        one.try_into().expect("there is one for each role")
                    }));
                }
                // One that only helps out may be away.
                Err(error) if index > 0 => {
                    tracing::warn!(%error, "The accepted key {} gives no passwords", hex::encode(key.id()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<dyn KeyWrapper>> {
        std::iter::once(&self.primary).chain(&self.accepted)
    }
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKeys({})", self.ids().join(", "))
    }
}

impl From<MasterKey> for MasterKeys {
    fn from(key: MasterKey) -> Self {
        Self::local(key)
    }
}

impl From<&MasterKey> for MasterKeys {
    fn from(key: &MasterKey) -> Self {
        Self::local(key.clone())
    }
}

impl From<&MasterKeys> for MasterKeys {
    fn from(keys: &MasterKeys) -> Self {
        keys.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    // Security requirement 53.
    #[tokio::test]
    async fn a_wrapped_key_opens_only_for_its_purpose_and_key() {
        let keys = MasterKeys::local(MasterKey::generate());
        let wrapped = keys.wrap("dek|a", &KEY).await.unwrap();
        assert_eq!(*keys.unwrap("dek|a", &wrapped, "key").await.unwrap(), KEY);
        assert!(matches!(keys.unwrap("dek|b", &wrapped, "key").await, Err(VaultError::Sealed(_))));
        let other = MasterKeys::local(MasterKey::generate());
        let error = other.unwrap("dek|a", &wrapped, "key").await.unwrap_err().to_string();
        assert!(error.starts_with("the master key does not open this database's keys"), "{error}");
        assert!(error.contains(&other.ids()[0]) && error.contains(&keys.ids()[0]), "{error}");
        for index in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[index] ^= 1;
            assert!(keys.unwrap("dek|a", &changed, "key").await.is_err(), "opened with byte {index} changed");
            assert!(
                keys.unwrap("dek|a", &wrapped[..index], "key").await.is_err(),
                "opened when cut to {index}"
            );
        }
    }

    // Security requirement 55: at every moment of the two phases each process opens what any other has wrapped.
    #[tokio::test]
    async fn processes_of_neighbouring_phases_open_each_others_keys() {
        let (old, new) = (MasterKey::generate(), MasterKey::generate());
        let phases = [
            MasterKeys::local(old.clone()),
            MasterKeys::local(old.clone()).accepting([new.clone()]),
            MasterKeys::local(new.clone()).accepting([old.clone()]),
        ];
        for pair in phases.windows(2) {
            for (writer, reader) in [(0, 1), (1, 0)] {
                let wrapped = pair[writer].wrap("p", &KEY).await.unwrap();
                assert_eq!(*pair[reader].unwrap("p", &wrapped, "key").await.unwrap(), KEY);
            }
        }
        assert_eq!(phases[2].ids(), [new.id(), old.id()]);
    }

    #[tokio::test]
    async fn a_key_accepted_twice_counts_once() {
        let key = MasterKey::generate();
        let keys = MasterKeys::local(key.clone()).accepting([key.clone(), key]);
        assert_eq!(keys.ids().len(), 1);
        assert_eq!(keys.passwords_to_try(["a", "b", "c"]).await.unwrap().len(), 1);
    }
}
