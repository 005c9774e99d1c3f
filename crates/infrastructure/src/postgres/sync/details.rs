//! What belongs to an item: its history, links, pull request, reviews, sprints and time booked. Set-wise, and only what
//! changed.
//!
//! Here and beside, what is stored already is counted for each row rather than left out by `not exists`. That would be an
//! anti-join, which PostgreSQL makes by reading the whole table while it has no statistics, as in a first backfill.

use std::collections::HashMap;

use application::ports::StoreError;
use domain::record::{ChangeRecord, PullRequestRecord, ReviewRecord, TransitionRecord};
use domain::{PageRecords, StatusNorm};

use super::columns::{column, name};
use super::pages::Target;
use super::{links, pending, sprints, worklogs};
use crate::postgres::db::{Tx, store_error};

/// Writes them and takes the items off the list of those to be read. Returns how many transitions were new or changed.
pub(super) async fn write(
    tx: &mut Tx,
    to: &Target<'_>,
    records: &mut PageRecords,
) -> Result<i64, StoreError> {
    let written = transitions(tx, to, &mut records.transitions, &records.transition_defaults).await?;
    changes(tx, to, &mut records.changes).await?;
    links::write(tx, to, &mut records.links, &records.links_of).await?;
    pull_requests(tx, to, &mut records.pull_requests).await?;
    reviews(tx, to, &mut records.reviews).await?;
    sprints::write(tx, to, records).await?;
    worklogs::write(tx, to, &mut records.worklogs).await?;
    worklogs::remove(tx, to, &records.worklogs_gone).await?;
    pending::done(tx, to, &records.details_done).await?;
    Ok(written)
}

async fn transitions(
    tx: &mut Tx,
    to: &Target<'_>,
    transitions: &mut Vec<TransitionRecord>,
    defaults: &HashMap<String, (Option<StatusNorm>, StatusNorm)>,
) -> Result<i64, StoreError> {
    if transitions.is_empty() {
        return Ok(0);
    }
    transitions.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    transitions.dedup_by(|later, first| later.source_id == first.source_id);
    let result = sqlx::query(
        "insert into work_item_transitions (tenant_id, instance_id, source_id, item_ref_key, at, actor, from_original,
             from_norm, to_original, to_norm, from_default, to_default)
         select $1, $2, u.* from unnest($3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[],
                 $9::text[], $10::text[], $11::text[], $12::text[])
             as u (source_id, item_ref_key, at, actor, from_original, from_norm, to_original, to_norm, from_default,
                 to_default)
         where 0 = (select count(*) from work_item_transitions t where t.tenant_id = $1 and t.instance_id = $2
             and t.source_id = u.source_id and t.item_ref_key = u.item_ref_key and t.at = u.at
             and t.to_original = u.to_original and t.to_norm = u.to_norm
             and (t.from_original, t.from_norm, t.from_default, t.to_default)
                 is not distinct from (u.from_original, u.from_norm, u.from_default, u.to_default))
         on conflict (tenant_id, instance_id, source_id) do update set item_ref_key = excluded.item_ref_key,
             at = excluded.at, actor = excluded.actor, from_original = excluded.from_original,
             from_norm = excluded.from_norm, to_original = excluded.to_original, to_norm = excluded.to_norm,
             from_default = excluded.from_default, to_default = excluded.to_default",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(column(transitions, |t| t.source_id.as_str()))
    .bind(column(transitions, |t| t.item_ref_key.as_str()))
    .bind(column(transitions, |t| t.at))
    .bind(column(transitions, |t| name(t.actor.as_ref())))
    .bind(column(transitions, |t| t.from_original.as_deref()))
    .bind(column(transitions, |t| t.from_norm.map(StatusNorm::as_str)))
    .bind(column(transitions, |t| t.to_original.as_str()))
    .bind(column(transitions, |t| t.to_norm.as_str()))
    .bind(column(transitions, |t| {
        let said = defaults.get(&t.source_id).map(|(from, _)| *from);
        // Empty: the adapter knew none.
        said.filter(|said| *said != t.from_norm).map(|said| said.map_or("", StatusNorm::as_str))
    }))
    .bind(column(transitions, |t| {
        let said = defaults.get(&t.source_id).map(|(_, to)| *to);
        said.filter(|said| *said != t.to_norm).map(StatusNorm::as_str)
    }))
    .execute(&mut **tx)
    .await
    .map_err(store_error)?;
    Ok(i64::try_from(result.rows_affected()).unwrap_or(i64::MAX))
}

async fn changes(tx: &mut Tx, to: &Target<'_>, changes: &mut Vec<ChangeRecord>) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    changes.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    changes.dedup_by(|later, first| later.source_id == first.source_id);
    // An event of a history does not change once it is there.
    sqlx::query(
        "insert into work_item_changes (tenant_id, instance_id, source_id, item_ref_key, at, actor, field, from_value,
             to_value)
         select $1, $2, u.* from unnest($3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[],
                 $9::text[]) as u (source_id, item_ref_key, at, actor, field, from_value, to_value)
         on conflict (tenant_id, instance_id, source_id) do nothing",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(column(changes, |c| c.source_id.as_str()))
    .bind(column(changes, |c| c.item_ref_key.as_str()))
    .bind(column(changes, |c| c.at))
    .bind(column(changes, |c| name(c.actor.as_ref())))
    .bind(column(changes, |c| c.field.as_ref()))
    .bind(column(changes, |c| c.from.as_deref()))
    .bind(column(changes, |c| c.to.as_deref()))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

async fn pull_requests(
    tx: &mut Tx,
    to: &Target<'_>,
    pulls: &mut Vec<PullRequestRecord>,
) -> Result<(), StoreError> {
    if pulls.is_empty() {
        return Ok(());
    }
    pulls.sort_by(|a, b| a.item_ref_key.cmp(&b.item_ref_key));
    pulls.dedup_by(|later, first| later.item_ref_key == first.item_ref_key);
    // Read only for items that changed, so writing them without comparing costs little.
    sqlx::query(
        "insert into pull_requests (tenant_id, instance_id, synced_at, item_ref_key, source_id, draft, head_ref, base_ref,
             merged_at, merged_by, merge_sha, additions, deletions, changed_files, commits, requested_reviewers)
         select $1, $2, $3, u.item_ref_key, u.source_id, u.draft, u.head_ref, u.base_ref, u.merged_at, u.merged_by,
             u.merge_sha, u.additions, u.deletions, u.changed_files, u.commits,
             string_to_array(u.requested_reviewers, ' ')
         from unnest($4::text[], $5::text[], $6::bool[], $7::text[], $8::text[], $9::timestamptz[], $10::text[],
                 $11::text[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::text[])
             as u (item_ref_key, source_id, draft, head_ref, base_ref, merged_at, merged_by, merge_sha, additions,
                 deletions, changed_files, commits, requested_reviewers)
         on conflict (tenant_id, instance_id, item_ref_key) do update set source_id = excluded.source_id,
             draft = excluded.draft, head_ref = excluded.head_ref, base_ref = excluded.base_ref,
             merged_at = excluded.merged_at, merged_by = excluded.merged_by, merge_sha = excluded.merge_sha,
             additions = excluded.additions, deletions = excluded.deletions,
             changed_files = excluded.changed_files, commits = excluded.commits,
             requested_reviewers = excluded.requested_reviewers, synced_at = excluded.synced_at",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.fetched_at)
    .bind(column(pulls, |p| p.item_ref_key.as_str()))
    .bind(column(pulls, |p| p.source_id.as_str()))
    .bind(column(pulls, |p| p.draft))
    .bind(column(pulls, |p| p.head_ref.as_str()))
    .bind(column(pulls, |p| p.base_ref.as_str()))
    .bind(column(pulls, |p| p.merged_at))
    .bind(column(pulls, |p| name(p.merged_by.as_ref())))
    .bind(column(pulls, |p| p.merge_sha.as_deref()))
    .bind(column(pulls, |p| p.additions))
    .bind(column(pulls, |p| p.deletions))
    .bind(column(pulls, |p| p.changed_files))
    .bind(column(pulls, |p| p.commits))
    // Logins hold no spaces.
    .bind(column(pulls, |p| p.requested_reviewers.join(" ")))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}

async fn reviews(tx: &mut Tx, to: &Target<'_>, reviews: &mut Vec<ReviewRecord>) -> Result<(), StoreError> {
    if reviews.is_empty() {
        return Ok(());
    }
    reviews.sort_by(|a, b| a.source_id.cmp(&b.source_id));
    reviews.dedup_by(|later, first| later.source_id == first.source_id);
    sqlx::query(
        "insert into reviews (tenant_id, instance_id, synced_at, source_id, item_ref_key, author, author_source_id, state,
             body, submitted_at)
         select $1, $2, $3, u.* from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                 $10::timestamptz[]) as u (source_id, item_ref_key, author, author_source_id, state, body, submitted_at)
         where 0 = (select count(*) from reviews t where t.tenant_id = $1 and t.instance_id = $2
             and t.source_id = u.source_id and t.state = u.state and t.body is not distinct from u.body
             and t.submitted_at is not distinct from u.submitted_at)
         on conflict (tenant_id, instance_id, source_id) do update set item_ref_key = excluded.item_ref_key,
             author = excluded.author, author_source_id = excluded.author_source_id, state = excluded.state,
             body = excluded.body, submitted_at = excluded.submitted_at, synced_at = excluded.synced_at",
    )
    .bind(to.ctx.tenant.as_uuid())
    .bind(to.key.instance.as_uuid())
    .bind(to.fetched_at)
    .bind(column(reviews, |r| r.source_id.as_str()))
    .bind(column(reviews, |r| r.item_ref_key.as_str()))
    .bind(column(reviews, |r| name(r.author.as_ref())))
    .bind(column(reviews, |r| r.author.as_ref().map(|user| user.source_id.as_str())))
    .bind(column(reviews, |r| r.state.as_str()))
    .bind(column(reviews, |r| r.body.as_deref()))
    .bind(column(reviews, |r| r.submitted_at))
    .execute(&mut **tx)
    .await
    .map(drop)
    .map_err(store_error)
}
