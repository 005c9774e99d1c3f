//! Secrets from flags, environment or files; every mistake is reported at once.

use std::path::Path;

use anyhow::{Context, bail};
use infrastructure::vault::MasterKey;
use secrecy::{ExposeSecret, SecretString};

use crate::cli::DatabaseArgs;

/// The value itself, or the content of the file, without the line end.
fn given(value: Option<&String>, file: Option<&Path>) -> anyhow::Result<Option<SecretString>> {
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

/// The master key. There is no start without a good one.
pub(crate) fn master_key(args: &DatabaseArgs) -> anyhow::Result<MasterKey> {
    match given(args.master_key.as_ref(), args.master_key_file.as_deref())? {
        Some(text) => MasterKey::parse(text.expose_secret()).context("PATCHBAY_MASTER_KEY cannot be used"),
        None => bail!(
            "PATCHBAY_MASTER_KEY is not set. It encrypts the stored credentials. Make one with \
             `openssl rand -base64 32`, keep a copy in a safe place, and set PATCHBAY_MASTER_KEY or \
             PATCHBAY_MASTER_KEY_FILE"
        ),
    }
}
