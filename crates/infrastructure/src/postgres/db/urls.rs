//! Where the database is, as each of its roles, and how many connections each may have.

use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;

use crate::postgres::bootstrap::LOGINS;
use crate::vault::{MasterKeys, VaultError};

/// One address per role of the database.
#[derive(Debug, Clone)]
pub struct DbUrls {
    /// May create roles and objects; used by `migrate` only.
    pub admin: PgConnectOptions,
    /// `patchbay_app`: API, MCP and worker.
    pub app: PgConnectOptions,
    /// `patchbay_reader`: SQL templates.
    pub reader: PgConnectOptions,
    /// `patchbay_author`: SQL templates that tenants write.
    pub author: PgConnectOptions,
    /// `patchbay_queue`: owns the job queue.
    pub queue: PgConnectOptions,
    /// What the roles' passwords follow, when the server asks for them: a rotation of the master key changes them.
    pub keys: Option<MasterKeys>,
}

impl DbUrls {
    /// Derives the addresses of the four roles from the administrator's: same server and database, the role's own
    /// name, and its password from `password_of`.
    pub fn derive(admin: PgConnectOptions, password_of: impl Fn(&str) -> Option<String>) -> Self {
        let role = |name: &str| {
            let options = admin.clone().username(name);
            match password_of(name) {
                Some(password) => options.password(&password),
                None => options,
            }
        };
        Self {
            app: role("patchbay_app"),
            reader: role("patchbay_reader"),
            author: role("patchbay_author"),
            queue: role("patchbay_queue"),
            admin,
            keys: None,
        }
    }

    /// As [`Self::derive`], with the passwords that follow from the master keys.
    pub async fn with_keys(admin: PgConnectOptions, keys: &MasterKeys) -> Result<Self, VaultError> {
        let passwords = keys.passwords_to_set(LOGINS).await?;
        let password_of = |role: &str| {
            let at = LOGINS.iter().position(|login| *login == role)?;
            Some(passwords[at].expose_secret().to_owned())
        };
        Ok(Self { keys: Some(keys.clone()), ..Self::derive(admin, password_of) })
    }
}

/// Most connections of each pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolSizes {
    /// For API, MCP and worker.
    pub app: u32,
    /// For SQL templates.
    pub reader: u32,
    /// For the job queue.
    pub queue: u32,
}

impl PoolSizes {
    /// For the templates that tenants write: fewer, so that these never crowd out the shipped ones.
    pub(super) fn author(&self) -> u32 {
        (self.reader / 4).max(1)
    }
}

impl Default for PoolSizes {
    fn default() -> Self {
        Self { app: 16, reader: 16, queue: 4 }
    }
}
