//! Links to files: signed, good for some minutes, and for what they name only. Who follows one needs no key, so that a link
//! says on whose behalf it was made: what that caller may do by then is looked up when it is followed.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{InstanceId, KeyId, Principal, TenantId, UserId};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::LiveService;
use crate::Ctx;
use crate::access::same;
use crate::ports::{MacPurpose, Vault};

/// The form of what follows. Links of another form are refused.
const FORM: u8 = 1;
const MAC: usize = 32;
/// The most characters of one.
const MOST: usize = 2_048;

/// On whose behalf a link was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// The holder of a key.
    Key(KeyId),
    /// A person, with the names of the scopes that they had then.
    User(UserId, Vec<String>),
}

impl Holder {
    /// `None` for Patchbay itself, which follows no links.
    fn of(ctx: &Ctx) -> Option<Self> {
        match &ctx.principal {
            Principal::Key { id, .. } => Some(Self::Key(*id)),
            Principal::User { id, .. } => Some(Self::User(*id, ctx.scopes.names())),
            Principal::System(_) => None,
        }
    }
}

/// What a link leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkTo {
    /// A file of an issue, to be read.
    File {
        /// The key.
        key: String,
        /// The file's id at the tracker.
        id: String,
    },
    /// Room for a file, to be filled.
    Upload(Uuid),
}

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLink {
    /// Whose data.
    pub tenant: TenantId,
    /// On whose behalf.
    pub holder: Holder,
    /// At which instance.
    pub instance: InstanceId,
    /// What it leads to.
    pub to: LinkTo,
    /// When it ends, in seconds since 1970.
    ends: i64,
}

/// A link as it is given out. Whoever has it can follow it.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedLink {
    /// What stands behind the server's own address.
    pub token: String,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

impl std::fmt::Debug for SignedLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedLink").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

pub(super) struct FileLinks {
    vault: Arc<dyn Vault>,
}

impl FileLinks {
    pub(super) fn new(vault: Arc<dyn Vault>) -> Self {
        Self { vault }
    }

    /// `None` for a caller that follows no links.
    pub(super) fn sign(
        &self,
        ctx: &Ctx,
        instance: InstanceId,
        to: LinkTo,
        now: DateTime<Utc>,
        good_for: TimeDelta,
    ) -> Option<SignedLink> {
        let expires_at = now + good_for;
        let link = FileLink {
            tenant: ctx.tenant,
            holder: Holder::of(ctx)?,
            instance,
            to,
            ends: expires_at.timestamp(),
        };
        let mut bytes = vec![FORM];
        bytes.extend(serde_json::to_vec(&link).ok()?);
        bytes.extend(self.mac(&bytes));
        Some(SignedLink { token: URL_SAFE_NO_PAD.encode(bytes), expires_at })
    }

    /// `None` whatever is wrong with it.
    fn read(&self, token: &str, now: DateTime<Utc>) -> Option<FileLink> {
        let bytes = URL_SAFE_NO_PAD.decode(Some(token).filter(|token| token.len() <= MOST)?).ok()?;
        let (signed, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC)?)?;
        if !same(&self.mac(signed), mac.try_into().ok()?) {
            return None;
        }
        let (form, link) = signed.split_first()?;
        let link: FileLink = serde_json::from_slice(link).ok()?;
        (*form == FORM && link.ends > now.timestamp()).then_some(link)
    }

    fn mac(&self, signed: &[u8]) -> [u8; MAC] {
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(signed));
        self.vault.mac(MacPurpose::FileLink, &SecretString::from(digest))
    }
}

impl LiveService {
    /// What a link says, while it is good. `None` whatever is wrong with it: nothing is looked up for what is made up.
    pub fn read_link(&self, token: &str) -> Option<FileLink> {
        self.links.read(token, self.parts.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use domain::{RequestId, Scope, Scopes};

    use super::*;
    use crate::testing::{Memory, moment};

    #[test]
    fn a_link_is_good_for_what_it_names_and_until_it_ends() {
        let links = FileLinks::new(Memory::new());
        let key = KeyId::new(Uuid::from_u128(7));
        let principal = Principal::Key { id: key, name: "k".into() };
        let scopes = Scopes::new([Scope::McpJiraRead]).unwrap();
        let tenant = TenantId::new(Uuid::from_u128(1));
        let ctx = Ctx::new(tenant, principal, scopes.clone(), RequestId::new(Uuid::nil()));
        let instance = InstanceId::new(Uuid::from_u128(5));
        let to = LinkTo::File { key: "ENG-1".into(), id: "10".into() };
        let sign = |ctx: &Ctx| links.sign(ctx, instance, to.clone(), moment(), TimeDelta::minutes(5));
        let signed = sign(&ctx).unwrap();
        assert!(!format!("{signed:?}").contains(&signed.token), "a link is not to be printed");
        let read = links.read(&signed.token, moment()).unwrap();
        assert_eq!((read.tenant, &read.holder, read.instance), (tenant, &Holder::Key(key), instance));
        assert_eq!(read.to, to);
        assert_eq!(links.read(&signed.token, signed.expires_at), None, "it has ended");
        let bytes = URL_SAFE_NO_PAD.decode(&signed.token).unwrap();
        for at in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[at] ^= 1;
            assert_eq!(links.read(&URL_SAFE_NO_PAD.encode(forged), moment()), None, "byte {at}");
        }
        for made_up in ["", "made up", "AQ", &"A".repeat(MOST + 1)] {
            assert_eq!(links.read(made_up, moment()), None, "{made_up}");
        }
        let person = Principal::User { id: UserId::new(Uuid::from_u128(9)), name: "Ann".into() };
        let person = Ctx { principal: person, ..ctx.clone() };
        let read = links.read(&sign(&person).unwrap().token, moment()).unwrap();
        assert_eq!(read.holder, Holder::User(UserId::new(Uuid::from_u128(9)), scopes.names()));
        let itself = Ctx { principal: Principal::System("worker"), ..ctx };
        assert_eq!(sign(&itself), None);
    }
}
