//! The daily metrics of an instance's projects, recomputed set-wise when a run has changed something.

use application::Ctx;
use application::ports::StoreError;
use domain::InstanceId;

use crate::postgres::db::{Tx, store_error};

/// Days are UTC. Writes only days whose figures changed, and removes those that no longer have any.
///
/// A first backfill ends before any statistics of its tables exist, when a join can be planned as each row with each. So
/// items of transitions are looked up by their key (the instance is compared in a way that no index is looked for by), and
/// what is stored is met in a full join, which has no such plan.
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
             cross join lateral (
                 select w.project_key, w.deleted_at from work_items w
                 where w.tenant_id = $1 and w.instance_id is not distinct from $2 and w.ref_key = t.item_ref_key
                 offset 0) w
             where t.tenant_id = $1 and t.instance_id = $2 and w.deleted_at is null
                 and t.from_norm in ('done', 'cancelled') and t.to_norm not in ('done', 'cancelled')
         ), days as (
             select project_key, day, sum(created) as created, sum(completed) as completed,
                 sum(cancelled) as cancelled, sum(reopened) as reopened, sum(hours) as hours,
                 sum(sum(created - completed - cancelled)) over (partition by project_key order by day) as open_at_end
             from facts group by project_key, day
         ), stored as (
             select ctid as place, project_key, day, created, completed, cancelled, reopened, lead_time_hours, open_at_end
             from work_item_metrics_daily where tenant_id = $1 and instance_id = $2
         ), both_sides as materialized (
             select d.*, s.place,
                 (s.created, s.completed, s.cancelled, s.reopened, s.lead_time_hours, s.open_at_end)
                     is distinct from (d.created, d.completed, d.cancelled, d.reopened, d.hours, d.open_at_end) as differs
             from days d full join stored s on s.project_key = d.project_key and s.day = d.day
         ), gone as (
             delete from work_item_metrics_daily
             where tenant_id = $1 and ctid = any (array(select place from both_sides where day is null))
         )
         insert into work_item_metrics_daily as m (tenant_id, instance_id, project_key, day, created, completed,
             cancelled, reopened, lead_time_hours, open_at_end)
         select $1, $2, project_key, day, created, completed, cancelled, reopened, hours, open_at_end
         from both_sides where day is not null and differs
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
