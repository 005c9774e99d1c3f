//! Secrets from flags, environment or files; every mistake is reported at once.

use std::path::Path;

use anyhow::{Context, bail};
use infrastructure::vault::{MasterKey, MasterKeys, TransitKey, TransitSettings, TransitToken};
use secrecy::{ExposeSecret, SecretString};

use crate::cli::{DatabaseArgs, TransitArgs, WrapWith};

/// The value itself, or the content of the file, without the line end.
pub(crate) fn given(value: Option<&String>, file: Option<&Path>) -> anyhow::Result<Option<SecretString>> {
    match (value, file) {
        (Some(value), _) => Ok(Some(value.trim().to_owned().into())),
        (None, Some(path)) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(Some(text.trim().to_owned().into()))
        }
        (None, None) => Ok(None),
    }
}

/// The database URL, when one is configured.
pub(crate) fn database_url(args: &DatabaseArgs) -> anyhow::Result<Option<SecretString>> {
    given(args.database_url.as_ref(), args.database_url_file.as_deref())
}

/// The master keys. There is no start without a good one.
pub(crate) fn master_key(args: &DatabaseArgs) -> anyhow::Result<MasterKeys> {
    let mut wrong = Vec::new();
    let mut report = |error: anyhow::Error| wrong.push(format!("{error:#}"));
    let local = local_key(args).unwrap_or_else(|error| {
        report(error);
        None
    });
    let accepted = accepted_keys(args).unwrap_or_else(|error| {
        report(error);
        Vec::new()
    });
    let transit = transit_key(&args.transit).unwrap_or_else(|error| {
        report(error);
        None
    });
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    let keys = match (local, transit, args.transit.wrap_with) {
        (Some(local), None, None | Some(WrapWith::MasterKey)) => MasterKeys::local(local),
        (None, Some(transit), None | Some(WrapWith::Transit)) => MasterKeys::transit(transit),
        (Some(local), Some(transit), Some(WrapWith::MasterKey)) => {
            MasterKeys::local(local).accepting_transit(transit)
        }
        (Some(local), Some(transit), Some(WrapWith::Transit)) => {
            MasterKeys::transit(transit).accepting([local])
        }
        (Some(_), Some(_), None) => bail!(
            "both PATCHBAY_MASTER_KEY and PATCHBAY_TRANSIT_URL are set, and only one key can wrap: unset one, or, \
             while one replaces the other, name the one that wraps with PATCHBAY_WRAP_WITH (master-key or transit)"
        ),
        (Some(_), None, Some(WrapWith::Transit)) | (None, Some(_), Some(WrapWith::MasterKey)) => {
            bail!("PATCHBAY_WRAP_WITH names a key that is not configured")
        }
        (None, None, _) => bail!(
            "PATCHBAY_MASTER_KEY is not set. It encrypts the stored credentials. Make one with \
             `openssl rand -base64 32`, keep a copy in a safe place, and set PATCHBAY_MASTER_KEY or \
             PATCHBAY_MASTER_KEY_FILE; or set PATCHBAY_TRANSIT_URL to a key service"
        ),
    };
    Ok(keys.accepting(accepted))
}

fn local_key(args: &DatabaseArgs) -> anyhow::Result<Option<MasterKey>> {
    given(args.master_key.as_ref(), args.master_key_file.as_deref())?
        .map(|text| MasterKey::parse(text.expose_secret()).context("PATCHBAY_MASTER_KEY cannot be used"))
        .transpose()
}

fn accepted_keys(args: &DatabaseArgs) -> anyhow::Result<Vec<MasterKey>> {
    let text = given(args.master_keys_accepted.as_ref(), args.master_keys_accepted_file.as_deref())?;
    let Some(text) = text else { return Ok(Vec::new()) };
    let parts = text.expose_secret().split(|c: char| c == ',' || c.is_whitespace());
    parts
        .filter(|part| !part.is_empty())
        .enumerate()
        .map(|(index, part)| {
            MasterKey::parse(part)
                .with_context(|| format!("key {} of PATCHBAY_MASTER_KEYS_ACCEPTED cannot be used", index + 1))
        })
        .collect()
}

fn transit_key(args: &TransitArgs) -> anyhow::Result<Option<TransitKey>> {
    let Some(url) = args.transit_url.clone() else { return Ok(None) };
    let token = match (&args.transit_token, &args.transit_token_file) {
        (Some(token), _) => TransitToken::Value(token.trim().to_owned().into()),
        (None, Some(path)) => TransitToken::File(path.clone()),
        (None, None) => bail!(
            "PATCHBAY_TRANSIT_URL needs PATCHBAY_TRANSIT_TOKEN or PATCHBAY_TRANSIT_TOKEN_FILE: a token that may \
             update encrypt/{key}, decrypt/{key} and hmac/{key}",
            key = args.transit_key
        ),
    };
    let settings =
        TransitSettings { url, mount: args.transit_mount.clone(), key: args.transit_key.clone(), token };
    Ok(Some(TransitKey::new(settings).context("the key service cannot be used")?))
}
