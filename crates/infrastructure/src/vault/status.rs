//! Which keys wrap what, and what is left of earlier rotations.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{PgVault, VaultError, deployment};
use crate::postgres::store_error;

/// What one wrapping key, or one version of it, wraps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedBy {
    /// The key's id, and its version when a key service holds it.
    pub key: String,
    /// Tenants' data keys under it.
    pub data_keys: i64,
    /// Secrets of the installation under it.
    pub secrets: i64,
    /// Whether this process can open them.
    pub opens: bool,
}

/// The vault as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultStatus {
    /// What wraps from now on.
    pub current: String,
    /// The keys this process opens with, the wrapping one first.
    pub accepted: Vec<String>,
    /// Everything that wraps something.
    pub wrapped_by: Vec<WrappedBy>,
    /// Data keys that still open, and seal no more.
    pub retired: i64,
    /// When the first of those was retired.
    pub oldest_retired: Option<DateTime<Utc>>,
    /// When the oldest data key was made that still seals.
    pub oldest_current: Option<DateTime<Utc>>,
}

impl VaultStatus {
    /// Keys under another than the one that wraps now: to be rewrapped.
    pub fn left(&self) -> i64 {
        self.wrapped_by.iter().filter(|by| by.key != self.current).map(|by| by.data_keys + by.secrets).sum()
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    kek_id: String,
    retired: bool,
    keys: i64,
    oldest: Option<DateTime<Utc>>,
}

impl PgVault {
    /// Looks at every key of the installation. No tenant's name or id is in it.
    pub async fn status(&self) -> Result<VaultStatus, VaultError> {
        let master = self.data_keys.master();
        let current = master.current().await?;
        let accepted = master.ids();
        let mut tx = self.db.system_tx().await?;
        let rows: Vec<Row> =
            sqlx::query_as("select kek_id, retired, keys, oldest from public.data_key_usage()")
                .fetch_all(&mut *tx)
                .await
                .map_err(store_error)?;
        drop(tx);
        let mut counts: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for row in &rows {
            counts.entry(row.kek_id.clone()).or_default().0 += row.keys;
        }
        for (_, key) in deployment::wrapped_with(&self.db).await? {
            counts.entry(key).or_default().1 += 1;
        }
        let opens = |key: &str| accepted.iter().any(|id| key.split(':').next() == Some(id));
        let of = |retired: bool| rows.iter().filter(move |row| row.retired == retired);
        Ok(VaultStatus {
            wrapped_by: counts
                .into_iter()
                .map(|(key, (data_keys, secrets))| WrappedBy { opens: opens(&key), key, data_keys, secrets })
                .collect(),
            retired: of(true).map(|row| row.keys).sum(),
            oldest_retired: of(true).filter_map(|row| row.oldest).min(),
            oldest_current: of(false).filter_map(|row| row.oldest).min(),
            current,
            accepted,
        })
    }
}
