//! Projects, people, label definitions and milestones.

use std::cmp::Reverse;

use application::Ctx;
use application::ports::{ProjectRef, StoreError};
use domain::record::{LabelRecord, MilestoneRecord, ProjectRecord, UserRecord};
use domain::{InstanceId, PageRecords, ProjectId};
use sha2::{Digest, Sha256};
use sqlx::Row;
use uuid::Uuid;

use super::columns::column;
use super::custom_fields;
use super::pages::Target;
use crate::postgres::db::{Db, Tx, store_error};

pub(super) async fn write(tx: &mut Tx, to: &Target<'_>, records: &mut PageRecords) -> Result<(), StoreError> {
    projects_in(tx, to, &records.projects).await?;
    users(tx, to, &mut records.users).await?;
    labels(tx, to, &mut records.labels).await?;
    milestones(tx, to, &mut records.milestones).await?;
    custom_fields::write(tx, to, &mut records.custom_fields).await
}

async fn projects_in(tx: &mut Tx, to: &Target<'_>, projects: &[ProjectRecord]) -> Result<(), StoreError> {
    if projects.is_empty() {
        return Ok(());
    }
    let mut projects: Vec<&ProjectRecord> = projects.iter().collect();
    projects.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    projects.dedup_by(|later, first| later.source_id == first.source_id);
    rename(tx, to, &projects).await?;
    let hash = |project: &&ProjectRecord| {
        let mut hasher = Sha256::new();
        hasher.update(format!("{}\0{}\0{}\0{}", project.key, project.name, project.url, project.archived));
        hasher.finalize().to_vec()
    };
    sqlx::query(
        "insert into projects (tenant_id, instance_id, synced_at, id, source_id, key, name, url, archived, content_hash)
         select $1, $2, $3, u.* from unnest($4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bool[],
                 $10::bytea[]) as u (id, source_id, key, name, url, archived, hash)
         where 0 = (select count(*) from projects t where t.tenant_id = $1 and t.instance_id = $2
             and t.source_id = u.source_id and t.content_hash = u.hash)
         on conflict (tenant_id, instance_id, source_id) do update set key = excluded.key, name = excluded.name,
             url = excluded.url, archived = excluded.archived, content_hash = excluded.content_hash,
             synced_at = excluded.synced_at",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.fetched_at)
    .bind(column(&projects, |_| Uuid::now_v7()))
    .bind(column(&projects, |p| p.source_id.as_str()))
    .bind(column(&projects, |p| p.key.as_str()))
    .bind(column(&projects, |p| p.name.as_str()))
    .bind(column(&projects, |p| p.url.as_str()))
    .bind(column(&projects, |p| p.archived))
    .bind(column(&projects, hash))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

/// A project that has another key than before takes its items along: they are found by it.
async fn rename(tx: &mut Tx, to: &Target<'_>, projects: &[&ProjectRecord]) -> Result<(), StoreError> {
    // Asked first: to find nothing to change, the statement below reads all items of the projects.
    let renamed: bool = sqlx::query_scalar(
        "select exists (select from unnest($3::text[], $4::text[]) as u (source_id, key)
             join projects p on p.tenant_id = $1 and p.instance_id = $2 and p.source_id = u.source_id and p.key <> u.key)",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(column(projects, |p| p.source_id.as_str()))
    .bind(column(projects, |p| p.key.as_str()))
    .fetch_one(&mut **tx)
    .await
    .map_err(store_error)?;
    if !renamed {
        return Ok(());
    }
    sqlx::query(
        "update work_items w set project_key = u.key, changed_in = pg_current_xact_id()::text::bigint,
             source_key = case when starts_with(w.source_key, p.key)
                 then u.key || substr(w.source_key, length(p.key) + 1) else w.source_key end
         from unnest($3::text[], $4::text[]) as u (source_id, key)
         join projects p on p.tenant_id = $1 and p.instance_id = $2 and p.source_id = u.source_id and p.key <> u.key
         where w.tenant_id = $1 and w.instance_id = $2 and w.project_source_id = u.source_id",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(column(projects, |p| p.source_id.as_str()))
    .bind(column(projects, |p| p.key.as_str()))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

/// A mention says what a user was called then. It counts when it is later than what is stored; one that says the same
/// is noted only now and then, so that reading a list again writes nothing.
async fn users(tx: &mut Tx, to: &Target<'_>, users: &mut Vec<UserRecord>) -> Result<(), StoreError> {
    if users.is_empty() {
        return Ok(());
    }
    // What is said of a user now comes first, then what was said last.
    users.sort_by_cached_key(|user| (user.source_id.clone(), user.as_of.is_some(), Reverse(user.as_of)));
    users.dedup_by(|older, first| {
        let same = older.source_id == first.source_id;
        if same && first.name.is_none() {
            first.name = older.name.take();
        }
        same
    });
    sqlx::query(
        "insert into source_users as t (tenant_id, instance_id, synced_at, source_id, login, name, kind, as_of)
         select $1, $2, $3, u.source_id, u.login, u.name, u.kind, coalesce(u.as_of, $3)
         from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[])
             as u (source_id, login, name, kind, as_of)
         where 0 = (select count(*) from source_users s where s.tenant_id = $1 and s.instance_id = $2
             and s.source_id = u.source_id
             and (s.as_of >= u.as_of
                 or s.login = u.login and s.kind = u.kind and (u.name is null or s.name is not distinct from u.name)
                     and (u.as_of is null or s.as_of > u.as_of - interval '90 days')))
         on conflict (tenant_id, instance_id, source_id) do update set login = excluded.login,
             name = coalesce(excluded.name, t.name), kind = excluded.kind, synced_at = excluded.synced_at,
             as_of = excluded.as_of",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.fetched_at)
    .bind(users.iter().map(|u| u.source_id.as_str()).collect::<Vec<_>>())
    .bind(users.iter().map(|u| u.login.as_str()).collect::<Vec<_>>())
    .bind(users.iter().map(|u| u.name.as_deref()).collect::<Vec<_>>())
    .bind(users.iter().map(|u| u.kind).collect::<Vec<_>>())
    .bind(users.iter().map(|u| u.as_of).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

async fn labels(tx: &mut Tx, to: &Target<'_>, labels: &mut Vec<LabelRecord>) -> Result<(), StoreError> {
    if labels.is_empty() {
        return Ok(());
    }
    labels.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    labels.dedup_by(|later, first| later.source_id == first.source_id);
    sqlx::query(
        "insert into labels (tenant_id, instance_id, synced_at, project_source_id, source_id, name, color, description)
         select $1, $2, $3, u.* from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
             as u (project_source_id, source_id, name, color, description)
         where 0 = (select count(*) from labels s where s.tenant_id = $1 and s.instance_id = $2
             and s.source_id = u.source_id and s.name = u.name and s.color is not distinct from u.color
             and s.description is not distinct from u.description)
         on conflict (tenant_id, instance_id, source_id) do update set project_source_id = excluded.project_source_id,
             name = excluded.name, color = excluded.color, description = excluded.description,
             synced_at = excluded.synced_at",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.fetched_at)
    .bind(labels.iter().map(|l| l.project_source_id.as_str()).collect::<Vec<_>>())
    .bind(labels.iter().map(|l| l.source_id.as_str()).collect::<Vec<_>>())
    .bind(labels.iter().map(|l| l.name.as_str()).collect::<Vec<_>>())
    .bind(labels.iter().map(|l| l.color.as_deref()).collect::<Vec<_>>())
    .bind(labels.iter().map(|l| l.description.as_deref()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

async fn milestones(
    tx: &mut Tx,
    to: &Target<'_>,
    milestones: &mut Vec<MilestoneRecord>,
) -> Result<(), StoreError> {
    if milestones.is_empty() {
        return Ok(());
    }
    milestones.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    milestones.dedup_by(|later, first| later.source_id == first.source_id);
    sqlx::query(
        "insert into milestones (tenant_id, instance_id, synced_at, project_source_id, source_id, title, description,
             state, due_on, url, created_at, updated_at, closed_at)
         select $1, $2, $3, u.* from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::date[],
                 $10::text[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[])
             as u (project_source_id, source_id, title, description, state, due_on, url, created_at, updated_at,
                 closed_at)
         where 0 = (select count(*) from milestones s where s.tenant_id = $1 and s.instance_id = $2
             and s.source_id = u.source_id and s.title = u.title and s.state = u.state
             and s.updated_at = u.updated_at and s.due_on is not distinct from u.due_on
             and s.description is not distinct from u.description)
         on conflict (tenant_id, instance_id, source_id) do update set project_source_id = excluded.project_source_id,
             title = excluded.title, description = excluded.description, state = excluded.state,
             due_on = excluded.due_on, url = excluded.url, created_at = excluded.created_at,
             updated_at = excluded.updated_at, closed_at = excluded.closed_at, synced_at = excluded.synced_at",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.fetched_at)
    .bind(milestones.iter().map(|m| m.project_source_id.as_str()).collect::<Vec<_>>())
    .bind(milestones.iter().map(|m| m.source_id.as_str()).collect::<Vec<_>>())
    .bind(milestones.iter().map(|m| m.title.as_str()).collect::<Vec<_>>())
    .bind(milestones.iter().map(|m| m.description.as_deref()).collect::<Vec<_>>())
    .bind(milestones.iter().map(|m| m.state.as_str()).collect::<Vec<_>>())
    .bind(milestones.iter().map(|m| m.due_on).collect::<Vec<_>>())
    .bind(milestones.iter().map(|m| m.url.as_str()).collect::<Vec<_>>())
    .bind(milestones.iter().map(|m| m.created_at).collect::<Vec<_>>())
    .bind(milestones.iter().map(|m| m.updated_at).collect::<Vec<_>>())
    .bind(milestones.iter().map(|m| m.closed_at).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

/// The projects of an instance, by key.
pub(super) async fn projects(
    db: &Db,
    ctx: &Ctx,
    instance: InstanceId,
) -> Result<Vec<(ProjectId, ProjectRef, String)>, StoreError> {
    let mut tx = db.tenant_read(ctx).await?;
    sqlx::query(
        "select id, source_id, key, name from projects where tenant_id = $1 and instance_id = $2 order by key limit 10000",
    )
    .bind(ctx.tenant.as_uuid())
    .bind(instance.as_uuid())
    .fetch_all(&mut *tx)
    .await
    .map_err(store_error)?
    .iter()
    .map(|row| {
        let project = ProjectRef { source_id: row.try_get("source_id")?, key: row.try_get("key")? };
        Ok((ProjectId::new(row.try_get("id")?), project, row.try_get("name")?))
    })
    .collect::<Result<_, sqlx::Error>>()
    .map_err(store_error)
}
