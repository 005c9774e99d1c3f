//! A company whose data is kept apart from every other's.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Slug, TenantId};

/// Whether a tenant is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantStatus {
    /// In use.
    Active,
    /// An operator stopped it: keys and sessions are refused, jobs wait.
    Suspended,
    /// Being deleted: nothing of it is served any more.
    Deleting,
}

impl TenantStatus {
    /// The stored and served name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deleting => "deleting",
        }
    }

    /// Reads a stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Suspended, Self::Deleting].into_iter().find(|status| status.as_str() == text)
    }
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its short name, unique in the installation.
    pub slug: Slug,
    /// Whether it is served.
    pub status: TenantStatus,
    /// Whether reads wait until their audit record is stored.
    pub strict_audit: bool,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}
