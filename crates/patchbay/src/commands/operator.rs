//! What commands about one tenant begin with: the database opened, the tenant found.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use application::Ctx;
use domain::Slug;
use infrastructure::postgres::{AuditChain, Db, PoolSizes};
use infrastructure::vault::PgVault;
use url::Url;

use super::tenant::{explain, prepare};
use crate::cli::DatabaseArgs;
use crate::config;
use crate::database::Database;
use crate::wire::Identities;

/// An operator at work on one tenant.
pub(crate) struct Operator {
    pub(crate) identities: Identities,
    pub(crate) db: Db,
    pub(crate) audit: AuditChain,
    pub(crate) ctx: Ctx,
    database: Database,
}

impl Operator {
    /// Opens the database and finds the tenant of this slug.
    pub(crate) async fn open(
        args: &DatabaseArgs,
        tenant: &str,
        public_url: Option<Url>,
    ) -> anyhow::Result<Self> {
        let slug: Slug = tenant.parse().context("the tenant's slug is wrong")?;
        let master = config::master_key(args)?;
        let database = Database::open(args, &master).await?;
        let db = database.connect(PoolSizes { app: 2, reader: 1, queue: 1 });
        prepare(&database, &db, &master).await?;
        let vault = Arc::new(PgVault::open(db.clone(), master).await?);
        let audit = vault.audit_chain();
        let identities = Identities::new(&db, vault, "live", public_url);
        let tenant = identities.access.get_tenant(&slug).await.map_err(explain)?;
        let ctx = identities.access.operator(tenant.id);
        Ok(Self { identities, db, audit, ctx, database })
    }

    /// Closes the connections, and a private database with them.
    pub(crate) async fn close(self) -> anyhow::Result<ExitCode> {
        self.db.close().await;
        self.database.close().await?;
        Ok(ExitCode::SUCCESS)
    }
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Operator({})", self.ctx.tenant)
    }
}
