//! Clock, ids, vault and health.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Memory, moment};
use crate::Ctx;
use crate::ports::{Clock, Health, HealthCheck, Ids, MacPurpose, Sealed, SecretRef, StoreError, Vault};

impl Memory {
    /// Makes the process unfit to serve, for this reason.
    pub fn fall_ill(&self, problem: &str) {
        self.state().problem = Some(problem.to_owned());
    }
}

/// Stands still.
impl Clock for Memory {
    fn now(&self) -> DateTime<Utc> {
        moment()
    }
}

/// Counts, so that ids are new, sorted, and the same in every run of a test.
impl Ids for Memory {
    fn uuid(&self) -> Uuid {
        let mut state = self.state();
        state.ids += 1;
        Uuid::from_u128(state.ids)
    }

    fn fill(&self, out: &mut [u8]) {
        // SplitMix64: what is made of a few bits of each byte is new every time, too.
        let mut state = self.uuid().as_u64_pair().1;
        for bytes in out.chunks_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let mixed = (mixed ^ (mixed >> 31)).to_le_bytes();
            bytes.copy_from_slice(&mixed[..bytes.len()]);
        }
    }
}

/// Encrypts nothing, but opens only for whom and where it was sealed.
#[async_trait]
impl Vault for Memory {
    async fn seal(&self, ctx: &Ctx, place: SecretRef, plaintext: &[u8]) -> Result<Sealed, StoreError> {
        self.reach("vault.seal").await?;
        Ok(Sealed([label(ctx, place).as_bytes(), plaintext].concat()))
    }

    async fn open(
        &self,
        ctx: &Ctx,
        place: SecretRef,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        self.reach("vault.open").await?;
        let plaintext = sealed.0.strip_prefix(label(ctx, place).as_bytes());
        let plaintext = plaintext.ok_or_else(|| StoreError::Internal("sealed for another place".into()))?;
        Ok(Zeroizing::new(plaintext.to_vec()))
    }

    fn mac(&self, _: MacPurpose, secret: &SecretString) -> [u8; 32] {
        mac(secret)
    }
}

fn label(ctx: &Ctx, place: SecretRef) -> String {
    format!("{}/{place:?}:", ctx.tenant)
}

/// No hash, but another value for another secret of up to 32 bytes.
pub(super) fn mac(secret: &SecretString) -> [u8; 32] {
    let mut mac = [0u8; 32];
    for (place, byte) in mac.iter_mut().zip(secret.expose_secret().bytes()) {
        *place = byte;
    }
    mac
}

#[async_trait]
impl Health for Memory {
    async fn check(&self) -> Vec<HealthCheck> {
        let problem = self.state().problem.clone();
        vec![HealthCheck { name: "database", result: problem.map_or(Ok(()), Err) }]
    }
}
