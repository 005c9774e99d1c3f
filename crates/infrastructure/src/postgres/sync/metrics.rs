//! The daily metrics of an instance's projects, recomputed set-wise when a run has changed something.

use application::Ctx;
use application::ports::StoreError;
use domain::InstanceId;

use crate::postgres::db::{Tx, store_error};

/// Days are UTC. Writes only days whose figures changed, and removes those that no longer have any.
pub(in crate::postgres) async fn refresh(
    tx: &mut Tx,
    ctx: &Ctx,
    instance: InstanceId,
) -> Result<(), StoreError> {
    sqlx::query(
        "with facts as (
             select project_key, (created_at at time zone 'UTC')::date as day, 1 as created, 0 as completed,
                 0 as cancelled, 0 as reopened, 0::float8 as hours
             from work_items where tenant_id = $1 and instance_id = $2 and deleted_at is null
             union all
             select project_key, (resolved_at at time zone 'UTC')::date, 0, (status_norm = 'done')::int,
                 (status_norm = 'cancelled')::int, 0,
                 case when status_norm = 'done' then extract(epoch from resolved_at - created_at)::float8 / 3600 else 0 end
             from work_items where tenant_id = $1 and instance_id = $2 and deleted_at is null
                 and resolved_at is not null and status_norm in ('done', 'cancelled')
             union all
             select w.project_key, (t.at at time zone 'UTC')::date, 0, 0, 0, 1, 0
             from work_item_transitions t
             join work_items w on w.tenant_id = t.tenant_id and w.instance_id = t.instance_id and w.ref_key = t.item_ref_key
             where t.tenant_id = $1 and t.instance_id = $2 and w.tenant_id = $1 and w.deleted_at is null
                 and t.from_norm in ('done', 'cancelled') and t.to_norm not in ('done', 'cancelled')
         ), days as (
             select project_key, day, sum(created) as created, sum(completed) as completed,
                 sum(cancelled) as cancelled, sum(reopened) as reopened, sum(hours) as hours,
                 sum(sum(created - completed - cancelled)) over (partition by project_key order by day) as open_at_end
             from facts group by project_key, day
         ), gone as (
             delete from work_item_metrics_daily m where m.tenant_id = $1 and m.instance_id = $2
                 and not exists (select 1 from days d where d.project_key = m.project_key and d.day = m.day)
         )
         insert into work_item_metrics_daily as m (tenant_id, instance_id, project_key, day, created, completed,
             cancelled, reopened, lead_time_hours, open_at_end)
         select $1, $2, d.project_key, d.day, d.created, d.completed, d.cancelled, d.reopened, d.hours, d.open_at_end
         from days d
         where not exists (select 1 from work_item_metrics_daily o where o.tenant_id = $1 and o.instance_id = $2
             and o.project_key = d.project_key and o.day = d.day and o.created = d.created
             and o.completed = d.completed and o.cancelled = d.cancelled and o.reopened = d.reopened
             and o.lead_time_hours = d.hours and o.open_at_end = d.open_at_end)
         on conflict (tenant_id, instance_id, project_key, day) do update set created = excluded.created,
             completed = excluded.completed, cancelled = excluded.cancelled, reopened = excluded.reopened,
             lead_time_hours = excluded.lead_time_hours, open_at_end = excluded.open_at_end",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}
