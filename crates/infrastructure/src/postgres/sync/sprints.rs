//! Boards, sprints, and when items were in which: set-wise, and only what changed.

use application::ports::StoreError;
use domain::PageRecords;
use domain::record::{BoardRecord, SprintMembershipRecord, SprintRecord};

use super::columns::column;
use super::pages::Target;
use crate::postgres::db::{Tx, store_error};

pub(super) async fn write(tx: &mut Tx, to: &Target<'_>, records: &mut PageRecords) -> Result<(), StoreError> {
    boards(tx, to, &mut records.boards).await?;
    sprints(tx, to, &mut records.sprints).await?;
    memberships(tx, to, &mut records.sprint_memberships, &records.sprint_memberships_of).await
}

async fn boards(tx: &mut Tx, to: &Target<'_>, boards: &mut Vec<BoardRecord>) -> Result<(), StoreError> {
    if boards.is_empty() {
        return Ok(());
    }
    boards.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    boards.dedup_by(|later, first| later.source_id == first.source_id);
    sqlx::query(
        "insert into boards (tenant_id, instance_id, synced_at, source_id, name, kind, project_source_id, url)
         select $1, $2, $3, u.* from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
             as u (source_id, name, kind, project_source_id, url)
         where 0 = (select count(*) from boards t where t.tenant_id = $1 and t.instance_id = $2
             and t.source_id = u.source_id
             and (t.name, t.kind, t.project_source_id, t.url)
                 is not distinct from (u.name, u.kind, u.project_source_id, u.url))
         on conflict (tenant_id, instance_id, source_id) do update set name = excluded.name, kind = excluded.kind,
             project_source_id = excluded.project_source_id, url = excluded.url, synced_at = excluded.synced_at",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.fetched_at)
    .bind(column(boards, |b| b.source_id.as_str()))
    .bind(column(boards, |b| b.name.as_str()))
    .bind(column(boards, |b| b.kind.as_str()))
    .bind(column(boards, |b| b.project_source_id.as_deref()))
    .bind(column(boards, |b| b.url.as_deref()))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

async fn sprints(tx: &mut Tx, to: &Target<'_>, sprints: &mut Vec<SprintRecord>) -> Result<(), StoreError> {
    if sprints.is_empty() {
        return Ok(());
    }
    sprints.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    sprints.dedup_by(|later, first| later.source_id == first.source_id);
    sqlx::query(
        "insert into sprints (tenant_id, instance_id, synced_at, source_id, board_source_id, name, goal, state, start_at,
             end_at, completed_at)
         select $1, $2, $3, u.* from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                 $9::timestamptz[], $10::timestamptz[], $11::timestamptz[])
             as u (source_id, board_source_id, name, goal, state, start_at, end_at, completed_at)
         where 0 = (select count(*) from sprints t where t.tenant_id = $1 and t.instance_id = $2
             and t.source_id = u.source_id
             and (t.board_source_id, t.name, t.goal, t.state, t.start_at, t.end_at, t.completed_at)
                 is not distinct from
                 (u.board_source_id, u.name, u.goal, u.state, u.start_at, u.end_at, u.completed_at))
         on conflict (tenant_id, instance_id, source_id) do update set board_source_id = excluded.board_source_id,
             name = excluded.name, goal = excluded.goal, state = excluded.state, start_at = excluded.start_at,
             end_at = excluded.end_at, completed_at = excluded.completed_at, synced_at = excluded.synced_at",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.fetched_at)
    .bind(column(sprints, |s| s.source_id.as_str()))
    .bind(column(sprints, |s| s.board_source_id.as_deref()))
    .bind(column(sprints, |s| s.name.as_str()))
    .bind(column(sprints, |s| s.goal.as_deref()))
    .bind(column(sprints, |s| s.state.as_str()))
    .bind(column(sprints, |s| s.start_at))
    .bind(column(sprints, |s| s.end_at))
    .bind(column(sprints, |s| s.completed_at))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

/// Writes them, and removes what else is stored of the items that the page holds completely.
async fn memberships(
    tx: &mut Tx,
    to: &Target<'_>,
    memberships: &mut Vec<SprintMembershipRecord>,
    complete: &[String],
) -> Result<(), StoreError> {
    fn key(m: &SprintMembershipRecord) -> (&str, &str, i64) {
        (&m.item_ref_key, &m.sprint_source_id, m.added_at.timestamp_micros())
    }
    memberships.sort_by(|a, b| key(a).cmp(&key(b)));
    memberships.dedup_by(|later, first| key(later) == key(first));
    if !complete.is_empty() {
        sqlx::query(
            "delete from sprint_memberships t where t.tenant_id = $1 and t.instance_id = $2 and t.item_ref_key = any($3)
             and not exists (select 1 from unnest($4::text[], $5::text[], $6::timestamptz[])
                 as u (item_ref_key, sprint_source_id, added_at)
                 where u.item_ref_key = t.item_ref_key and u.sprint_source_id = t.sprint_source_id
                     and u.added_at = t.added_at)",
        )
        .bind(to.ctx.tenant.as_uuid())
        .bind(to.key.instance.as_uuid())
        .bind(complete)
        .bind(column(memberships, |m| m.item_ref_key.as_str()))
        .bind(column(memberships, |m| m.sprint_source_id.as_str()))
        .bind(column(memberships, |m| m.added_at))
        .execute(&mut **tx)
        .await
        .map_err(store_error)?;
    }
    if memberships.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into sprint_memberships (tenant_id, instance_id, item_ref_key, sprint_source_id, added_at, removed_at,
             from_history)
         select $1, $2, u.item_ref_key, u.sprint_source_id, u.added_at, u.removed_at, u.from_history
         from unnest($3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::bool[])
             as u (item_ref_key, sprint_source_id, added_at, removed_at, from_history)
         where 0 = (select count(*) from sprint_memberships t where t.tenant_id = $1 and t.instance_id = $2
             and t.item_ref_key = u.item_ref_key and t.sprint_source_id = u.sprint_source_id and t.added_at = u.added_at
             and t.removed_at is not distinct from u.removed_at and t.from_history = u.from_history)
         on conflict (tenant_id, instance_id, item_ref_key, sprint_source_id, added_at) do update set
             removed_at = excluded.removed_at, from_history = excluded.from_history",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(column(memberships, |m| m.item_ref_key.as_str()))
    .bind(column(memberships, |m| m.sprint_source_id.as_str()))
    .bind(column(memberships, |m| m.added_at))
    // A history that was edited may say that something ended before it began.
    .bind(column(memberships, |m| m.removed_at.map(|removed| removed.max(m.added_at))))
    .bind(column(memberships, |m| m.from_history))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}
