//! API keys: handing them out, narrowing, replacing and ending them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::api_key::{ApiKey, RANDOM_BYTES};
use domain::grant::MOST_ENTRIES;
use domain::{Grant, Invalid, KeyId, KeyKind, Principal, Scope, Scopes, UserId};
use secrecy::SecretString;

use crate::ports::{
    Clock, Ids, Key, KeyStore, ListPage, Listing, MacPurpose, MemberStore, NewKey, Rotation, Vault,
};
use crate::{Ctx, Error};

/// How long a key goes on working beside its successor, unless told otherwise.
pub const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 3600);
/// The longest that two keys of a rotation are both good.
pub const MAX_OVERLAP: Duration = Duration::from_secs(30 * 24 * 3600);

/// The latest end that a key is given.
const LONGEST: TimeDelta = TimeDelta::days(10 * 366);

/// What a new key shall be.
#[derive(Debug, Clone)]
pub struct KeySpec {
    /// Its name.
    pub name: String,
    /// What it is meant for.
    pub kind: KeyKind,
    /// What it may do.
    pub scopes: Scopes,
    /// What it is narrowed to.
    pub grant: Grant,
    /// Whose it is. A person's own key made by themselves is theirs without saying.
    pub user: Option<UserId>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
}

impl KeySpec {
    /// A key that is narrowed to nothing and does not end by itself.
    pub fn new(name: impl Into<String>, kind: KeyKind, scopes: Scopes) -> Self {
        Self { name: name.into(), kind, scopes, grant: Grant::default(), user: None, expires_at: None }
    }
}

/// A key just made. The only moment its text can be shown.
#[derive(Debug)]
pub struct CreatedKey {
    /// What is stored of it.
    pub key: Key,
    /// The key itself.
    pub text: SecretString,
}

/// Use cases around keys. Nobody hands out, replaces or ends a key that may do more than they may.
pub struct KeyService {
    store: Arc<dyn KeyStore>,
    members: Arc<dyn MemberStore>,
    vault: Arc<dyn Vault>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    /// The `<env>` part of new keys.
    env: String,
}

impl KeyService {
    /// Puts the service together. `env` is a short lower-case word that new keys carry, such as `live`.
    pub fn new(
        store: Arc<dyn KeyStore>,
        members: Arc<dyn MemberStore>,
        vault: Arc<dyn Vault>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        env: impl Into<String>,
    ) -> Self {
        Self { store, members, vault, clock, ids, env: env.into() }
    }

    /// Makes a key with scopes and a grant that the caller holds itself.
    pub async fn create(&self, ctx: &Ctx, spec: KeySpec) -> Result<CreatedKey, Error> {
        ctx.require(Scope::KeysWrite)?;
        domain::instance::check_name(&spec.name)?;
        check_grant(&spec.grant)?;
        covered(ctx, &spec.scopes, &spec.grant)?;
        let now = self.clock.now();
        if spec.expires_at.is_some_and(|at| at <= now) {
            return Err(Invalid::one("/expires_at", "must be in the future").into());
        }
        if spec.expires_at.is_some_and(|at| at > now + LONGEST) {
            return Err(
                Invalid::one("/expires_at", "must be within 10 years; leave it out for no end").into()
            );
        }
        if let Some(listed) = spec.grant.instances.as_list()
            && let [unknown, ..] = self.store.unknown_instances(ctx, listed).await?.as_slice()
        {
            let message = format!("names {unknown}, which is not an instance of this tenant");
            return Err(Invalid::one("/grant/instances", message).into());
        }
        let user = match (spec.user, spec.kind) {
            (Some(user), _) => {
                if self.members.find(ctx, user).await?.is_none() {
                    return Err(Invalid::one("/user_id", "is not a member of this tenant").into());
                }
                Some(user)
            }
            (None, KeyKind::Person) => self.person(ctx).await?,
            (None, KeyKind::Assistant | KeyKind::Service) => None,
        };
        let (new, text) = self.generate(now, NewParts { user, ..NewParts::of(spec) });
        self.store.insert(ctx, &new).await?;
        Ok(CreatedKey { key: stored(ctx, new, None), text })
    }

    /// Newest first, the revoked ones included. A narrowed caller sees the keys that are no wider than its own.
    pub async fn list(&self, ctx: &Ctx, page: &ListPage) -> Result<Listing<Key>, Error> {
        ctx.require(Scope::KeysWrite)?;
        Ok(self.store.list(ctx, page).await?)
    }

    /// One key.
    pub async fn get(&self, ctx: &Ctx, id: KeyId) -> Result<Key, Error> {
        ctx.require(Scope::KeysWrite)?;
        self.store.find(ctx, id).await?.ok_or_else(|| unknown(id))
    }

    /// Ends a key; within 5 s nothing accepts it any more. Safe to repeat.
    pub async fn revoke(&self, ctx: &Ctx, id: KeyId) -> Result<(), Error> {
        let key = self.get(ctx, id).await?;
        covered(ctx, &key.scopes, &key.grant)?;
        // Not there any more: somebody else has just done it.
        self.store.revoke(ctx, id).await?;
        Ok(())
    }

    /// Makes a successor with the same scopes and grant. The older key goes on working for `overlap`, so that whoever
    /// uses it can change over without a failed request.
    pub async fn rotate(&self, ctx: &Ctx, id: KeyId, overlap: Option<Duration>) -> Result<CreatedKey, Error> {
        ctx.require(Scope::KeysWrite)?;
        let overlap = overlap.unwrap_or(DEFAULT_OVERLAP);
        if overlap > MAX_OVERLAP {
            return Err(Invalid::one("/overlap_s", "must be between 0 and 2592000, which is 30 days").into());
        }
        let old = self.get(ctx, id).await?;
        covered(ctx, &old.scopes, &old.grant)?;
        let now = self.clock.now();
        if !old.is_active(now) {
            return Err(over(id));
        }
        let parts = NewParts {
            name: old.name,
            kind: old.kind,
            scopes: old.scopes,
            grant: old.grant,
            user: old.user,
            // As long again as the older one was meant to last.
            expires_at: old.expires_at.map(|expires| now + (expires - old.created_at).min(LONGEST)),
        };
        let (new, text) = self.generate(now, parts);
        let until = now + TimeDelta::from_std(overlap).unwrap_or(TimeDelta::zero());
        match self.store.rotate(ctx, id, &new, until).await? {
            Rotation::Done => Ok(CreatedKey { key: stored(ctx, new, Some(id)), text }),
            Rotation::NotFound => Err(over(id)),
            Rotation::TwoActive => Err(Error::Conflict {
                what: format!("the key {id} is being rotated already: two keys of it are good"),
                hint: "wait for the older one to end, or revoke it with DELETE /api/v1/keys/{id}".into(),
            }),
        }
    }

    /// The person who acts: signed in, or by a key of their own.
    async fn person(&self, ctx: &Ctx) -> Result<Option<UserId>, Error> {
        match &ctx.principal {
            Principal::User { id, .. } => Ok(Some(*id)),
            Principal::Key { id, .. } => Ok(self.store.find(ctx, *id).await?.and_then(|key| key.user)),
            Principal::System(_) => Ok(None),
        }
    }

    fn generate(&self, now: DateTime<Utc>, parts: NewParts) -> (NewKey, SecretString) {
        let mut random = zeroize::Zeroizing::new([0u8; RANDOM_BYTES]);
        self.ids.fill(random.as_mut());
        let key = ApiKey::generate(&self.env, &random);
        let new = NewKey {
            id: KeyId::new(self.ids.uuid()),
            public_id: key.public_id().to_owned(),
            mac: self.vault.mac(MacPurpose::ApiKey, key.secret()),
            name: parts.name.trim().to_owned(),
            kind: parts.kind,
            scopes: parts.scopes,
            grant: parts.grant,
            user: parts.user,
            created_at: now,
            expires_at: parts.expires_at,
        };
        (new, key.reveal())
    }
}

impl std::fmt::Debug for KeyService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyService")
    }
}

struct NewParts {
    name: String,
    kind: KeyKind,
    scopes: Scopes,
    grant: Grant,
    user: Option<UserId>,
    expires_at: Option<DateTime<Utc>>,
}

impl NewParts {
    fn of(spec: KeySpec) -> Self {
        let KeySpec { name, kind, scopes, grant, user, expires_at } = spec;
        Self { name, kind, scopes, grant, user, expires_at }
    }
}

fn stored(ctx: &Ctx, new: NewKey, rotated_from: Option<KeyId>) -> Key {
    Key {
        id: new.id,
        public_id: new.public_id,
        name: new.name,
        kind: new.kind,
        scopes: new.scopes,
        grant: new.grant,
        user: new.user,
        created_at: new.created_at,
        created_by: Some(ctx.principal.label().to_owned()),
        expires_at: new.expires_at,
        last_used_at: None,
        revoked_at: None,
        revoked_by: None,
        rotated_from,
    }
}

/// Fails when a key of these scopes and this grant may do more than the caller.
fn covered(ctx: &Ctx, scopes: &Scopes, grant: &Grant) -> Result<(), Error> {
    if let Some(needed) = scopes.iter().find(|&scope| !ctx.scopes.allow(scope)) {
        return Err(Error::Forbidden { needed });
    }
    if !ctx.grant.covers(grant) {
        return Err(Error::Exceeds {
            what: "the caller's own key is narrowed to fewer instances, projects, templates or toolsets",
        });
    }
    Ok(())
}

fn check_grant(grant: &Grant) -> Result<(), Invalid> {
    let lengths = [
        ("instances", grant.instances.as_list().map(|list| list.len())),
        ("projects_read", grant.projects_read.as_list().map(|list| list.len())),
        ("projects_write", grant.projects_write.as_list().map(|list| list.len())),
        ("templates", grant.templates.as_list().map(|list| list.len())),
    ];
    for (name, length) in lengths {
        if length.is_some_and(|length| length > MOST_ENTRIES) {
            return Err(Invalid::one(
                format!("/grant/{name}"),
                format!("must have at most {MOST_ENTRIES} entries"),
            ));
        }
    }
    let named = |name: &String| {
        (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    if grant.templates.as_list().is_some_and(|list| !list.iter().all(named)) {
        return Err(Invalid::one(
            "/grant/templates",
            "must be names of templates: a-z, 0-9 and underscores, such as find_work_items",
        ));
    }
    Ok(())
}

fn unknown(id: KeyId) -> Error {
    Error::not_found(format!("the key {id}"))
}

fn over(id: KeyId) -> Error {
    Error::Conflict { what: format!("the key {id} is revoked or over"), hint: "create a new key".into() }
}
