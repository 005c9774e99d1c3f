//! The columns that hold sealed values: all there are, so that a new data key reaches every one. The data key's id is
//! bytes 9 to 24 of a value, which SQL counts from one.

use application::Ctx;
use application::ports::SecretRef;
use async_trait::async_trait;
use domain::InstanceId;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::postgres::row_digest;

/// Rows read at once.
pub(super) const BATCH: i64 = 200;

/// A sealed value and the row it is of.
pub(super) struct Found<K> {
    pub(super) row: K,
    pub(super) place: SecretRef,
    pub(super) sealed: Vec<u8>,
}

/// A column of sealed values.
#[async_trait]
pub(super) trait SealedColumn: Send + Sync {
    /// What tells rows apart.
    type Row: Clone + Send + Sync;

    /// The next rows after this one whose value is not under the data key `current`.
    async fn read(
        tx: &mut PgConnection,
        ctx: &Ctx,
        after: Option<&Self::Row>,
        current: Uuid,
    ) -> Result<Vec<Found<Self::Row>>, sqlx::Error>;

    /// Replaces the values that are still the old ones; how many were.
    async fn replace(
        tx: &mut PgConnection,
        ctx: &Ctx,
        changed: &[(Self::Row, Vec<u8>, Vec<u8>)],
    ) -> Result<u64, sqlx::Error>;
}

/// A column of a table whose rows are told apart by one id.
trait ById: Send + Sync {
    /// Of `$1` the tenant, the rows after `$2` that are not under `$3`, up to `$4`: id and value.
    const READ: &'static str;
    /// Of `$1` the tenant, for the ids `$2`: the values `$3` by the values `$4`.
    const REPLACE: &'static str;

    fn place(row: Uuid) -> SecretRef;
}

#[async_trait]
impl<C: ById> SealedColumn for C {
    type Row = Uuid;

    async fn read(
        tx: &mut PgConnection,
        ctx: &Ctx,
        after: Option<&Uuid>,
        current: Uuid,
    ) -> Result<Vec<Found<Uuid>>, sqlx::Error> {
        let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(C::READ)
            .bind(ctx.tenant.as_uuid())
            .bind(after.copied().unwrap_or_default())
            .bind(current)
            .bind(BATCH)
            .fetch_all(tx)
            .await?;
        Ok(rows.into_iter().map(|(row, sealed)| Found { row, place: C::place(row), sealed }).collect())
    }

    async fn replace(
        tx: &mut PgConnection,
        ctx: &Ctx,
        changed: &[(Uuid, Vec<u8>, Vec<u8>)],
    ) -> Result<u64, sqlx::Error> {
        let (rows, old, new) = columns(changed);
        let query = sqlx::query(C::REPLACE).bind(ctx.tenant.as_uuid()).bind(rows).bind(old).bind(new);
        Ok(query.execute(tx).await?.rows_affected())
    }
}

/// `credentials.sealed`
pub(super) struct Credentials;

impl ById for Credentials {
    const READ: &'static str = "select instance_id, sealed from credentials
        where tenant_id = $1 and instance_id > $2 and substring(sealed from 10 for 16) <> uuid_send($3)
        order by instance_id limit $4";
    const REPLACE: &'static str = "update credentials c set sealed = n.new
        from unnest($2::uuid[], $3::bytea[], $4::bytea[]) n (id, old, new)
        where c.tenant_id = $1 and c.instance_id = n.id and c.sealed = n.old";

    fn place(row: Uuid) -> SecretRef {
        SecretRef::InstanceCredential(InstanceId::new(row))
    }
}

/// `write_intents.outcome`
pub(super) struct WriteOutcomes;

impl ById for WriteOutcomes {
    const READ: &'static str = "select id, outcome from write_intents
        where tenant_id = $1 and id > $2 and substring(outcome from 10 for 16) <> uuid_send($3)
        order by id limit $4";
    const REPLACE: &'static str = "update write_intents w set outcome = n.new
        from unnest($2::uuid[], $3::bytea[], $4::bytea[]) n (id, old, new)
        where w.tenant_id = $1 and w.id = n.id and w.outcome = n.old";

    fn place(row: Uuid) -> SecretRef {
        SecretRef::WriteOutcome(row)
    }
}

/// `webhook_subscriptions.sealed`
pub(super) struct Webhooks;

impl ById for Webhooks {
    const READ: &'static str = "select instance_id, sealed from webhook_subscriptions
        where tenant_id = $1 and instance_id > $2 and substring(sealed from 10 for 16) <> uuid_send($3)
        order by instance_id limit $4";
    const REPLACE: &'static str = "update webhook_subscriptions w set sealed = n.new
        from unnest($2::uuid[], $3::bytea[], $4::bytea[]) n (id, old, new)
        where w.tenant_id = $1 and w.instance_id = n.id and w.sealed = n.old";

    fn place(row: Uuid) -> SecretRef {
        SecretRef::Webhook(InstanceId::new(row))
    }
}

/// `idempotency_keys.body`
pub(super) struct IdempotentAnswers;

/// Principal, route and key.
type AnswerRow = (Uuid, String, String);

#[async_trait]
impl SealedColumn for IdempotentAnswers {
    type Row = AnswerRow;

    async fn read(
        tx: &mut PgConnection,
        ctx: &Ctx,
        after: Option<&AnswerRow>,
        current: Uuid,
    ) -> Result<Vec<Found<AnswerRow>>, sqlx::Error> {
        let (principal, route, key) = after.cloned().unwrap_or_default();
        let rows: Vec<(Uuid, String, String, Vec<u8>)> = sqlx::query_as(
            "select principal, route, key, body from idempotency_keys
             where tenant_id = $1 and (principal, route, key) > ($2, $3, $4)
               and substring(body from 10 for 16) <> uuid_send($5)
             order by principal, route, key limit $6",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(principal)
        .bind(route)
        .bind(key)
        .bind(current)
        .bind(BATCH)
        .fetch_all(tx)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(principal, route, key, sealed)| Found {
                place: SecretRef::IdempotentAnswer(row_digest(principal, &route, &key)),
                row: (principal, route, key),
                sealed,
            })
            .collect())
    }

    async fn replace(
        tx: &mut PgConnection,
        ctx: &Ctx,
        changed: &[(AnswerRow, Vec<u8>, Vec<u8>)],
    ) -> Result<u64, sqlx::Error> {
        let (rows, old, new) = columns(changed);
        let principals: Vec<Uuid> = rows.iter().map(|row| row.0).collect();
        let (routes, keys): (Vec<String>, Vec<String>) =
            rows.into_iter().map(|(_, route, key)| (route, key)).unzip();
        let done = sqlx::query(
            "update idempotency_keys i set body = n.new
             from unnest($2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::bytea[]) n (principal, route, key, old, new)
             where i.tenant_id = $1 and i.principal = n.principal and i.route = n.route and i.key = n.key
               and i.body = n.old",
        )
        .bind(ctx.tenant.as_uuid())
        .bind(principals)
        .bind(routes)
        .bind(keys)
        .bind(old)
        .bind(new)
        .execute(tx)
        .await?;
        Ok(done.rows_affected())
    }
}

fn columns<R: Clone>(changed: &[(R, Vec<u8>, Vec<u8>)]) -> (Vec<R>, Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let rows = changed.iter().map(|(row, ..)| row.clone()).collect();
    let old = changed.iter().map(|(_, old, _)| old.clone()).collect();
    let new = changed.iter().map(|(_, _, new)| new.clone()).collect();
    (rows, old, new)
}
