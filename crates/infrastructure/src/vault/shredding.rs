//! Crypto-shredding: without its data keys nothing a tenant has stored in secret can be opened again, in no copy.

use application::Ctx;
use domain::{AuditAction, AuditEntry};
use uuid::Uuid;

use super::{PgVault, VaultError};
use crate::postgres::store_error;

const SHREDDED: AuditAction = AuditAction::new("vault.shred");

impl PgVault {
    /// Destroys the tenant's data keys, the retired ones too; their number. Safe to repeat.
    ///
    /// This process forgets them at once, every other within five minutes; until then it may still open what they have
    /// sealed, and for one minute seal with them, which then is lost. What a backup holds stays sealed by keys that the
    /// backup holds wrapped: it is out of reach once the master key it was made under is gone, or the backup is.
    pub async fn shred(&self, ctx: &Ctx) -> Result<usize, VaultError> {
        let mut tx = self.db.own_tx(ctx).await?;
        let ids: Vec<Uuid> =
            sqlx::query_scalar("delete from tenant_data_keys where tenant_id = $1 returning id")
                .bind(ctx.tenant.as_uuid())
                .fetch_all(&mut *tx)
                .await
                .map_err(store_error)?;
        let entry = AuditEntry::ok(SHREDDED).to("tenant", ctx.tenant).with("data_keys", ids.len());
        self.audit_chain.record(&mut tx, ctx, &entry).await?;
        tx.commit().await.map_err(store_error)?;
        self.data_keys.forget(ctx.tenant, &ids).await;
        Ok(ids.len())
    }
}
