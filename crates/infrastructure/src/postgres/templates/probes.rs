//! Two tenants that are nobody's, with a little data of every kind: templates are run for both when they are proved, and
//! neither answer may hold anything of the other.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "statements of this file's own constants; no text comes from outside"
)]

use application::Ctx;
use application::ports::{RowSet, StoreError};
use domain::authored::ProbeRun;
use domain::{RequestId, TenantId};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

use crate::postgres::Db;
use crate::postgres::db::store_error;

/// One of them. Its ids begin with `id_prefix` and its texts hold `mark`; what both have in common (the project
/// `probe/app`, its items' keys, days, states) is there to be confused by a template that forgets whose rows it joins.
#[derive(Debug)]
pub(super) struct Probe {
    number: u8,
    /// Different ones, so that counts differ.
    items: u8,
}

/// Both of them.
pub(super) const PROBES: [Probe; 2] = [Probe { number: 1, items: 3 }, Probe { number: 2, items: 5 }];

/// A project that both have; taken as an argument.
pub(super) const PROJECT: &str = "probe/app";

/// More than this of one value is not looked at: a mark stands early in each text of theirs.
const LOOKED_AT: usize = 4_096;

impl Probe {
    fn id_prefix(&self) -> String {
        format!("00000000-0000-7000-800{}-", self.number)
    }

    fn mark(&self) -> String {
        format!("patchbay-probe-{}", self.number)
    }

    fn tenant(&self) -> TenantId {
        TenantId::new(Uuid::from_u128(0x7000_8000_0000_0000_0000 + (u128::from(self.number) << 48)))
    }

    /// To act for it.
    pub(super) fn ctx(&self) -> Ctx {
        Ctx::system(self.tenant(), "template proof", RequestId::new(Uuid::now_v7()))
    }

    /// What an answer for this one says.
    pub(super) fn judge(&self, answer: &RowSet) -> ProbeRun {
        let own = self.signs();
        let other: Vec<String> =
            PROBES.iter().filter(|probe| probe.number != self.number).flat_map(Self::signs).collect();
        let mut run = ProbeRun { rows: answer.rows.len() as u64, marked: 0, foreign: 0 };
        for row in &answer.rows {
            for value in row {
                run.marked += u64::from(holds(value, &own));
                run.foreign += u64::from(holds(value, &other));
            }
        }
        run
    }

    /// What its values are recognised by.
    fn signs(&self) -> Vec<String> {
        vec![self.id_prefix(), self.mark()]
    }
}

fn holds(value: &Value, signs: &[String]) -> bool {
    match value {
        Value::String(text) => {
            let end = (0..=LOOKED_AT.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
            let text = &text[..end.unwrap_or(0)];
            signs.iter().any(|sign| text.contains(sign.as_str()))
        }
        Value::Array(values) => values.iter().any(|value| holds(value, signs)),
        Value::Object(values) => values.values().any(|value| holds(value, signs)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Makes the two tenants where they are not there yet, as the application, under their own policies. Operators' lists
/// leave them out; they have no keys, no credentials and no schedules, so nothing is ever done for them. Safe to repeat.
pub(super) async fn seed(db: &Db) -> Result<(), StoreError> {
    for probe in &PROBES {
        let mut tx = db.own_tx(&probe.ctx()).await?;
        for statement in statements(probe) {
            tx.execute(AssertSqlSafe(statement)).await.map_err(store_error)?;
        }
        tx.commit().await.map_err(store_error)?;
    }
    Ok(())
}

fn statements(probe: &Probe) -> Vec<String> {
    let (tenant, mark, prefix, items) = (probe.tenant(), probe.mark(), probe.id_prefix(), probe.items);
    let id = |n: u32| format!("{prefix}{n:012x}");
    let (instance, run, project) = (id(0x100), id(0x101), id(0x102));
    let at = "timestamptz '2026-01-05 10:00Z'";
    // Of each item: its number n, its id and what others call it.
    let each = format!(
        "(select n, ('{prefix}' || lpad(to_hex(n + 512), 12, '0'))::uuid as id, 'probe#' || n as ref_key
          from generate_series(1, {items}) n) i"
    );
    let hanging = |table: &str, columns: &str, values: &str| {
        format!(
            "insert into {table} (tenant_id, instance_id, item_ref_key, {columns})
             select '{tenant}', '{instance}', i.ref_key, {values} from {each} on conflict do nothing"
        )
    };
    let of_instance = |table: &str, columns: &str, values: &str| {
        format!(
            "insert into {table} (tenant_id, instance_id, {columns}) values ('{tenant}', '{instance}', {values})
             on conflict do nothing"
        )
    };
    vec![
        format!("insert into tenants (id, slug, status) values ('{tenant}', '{mark}', 'probe') on conflict do nothing"),
        format!(
            "insert into source_instances (tenant_id, id, slug, source, name, base_url, settings, status, created_at,
                 updated_at, synced_at, backfilled_at)
             values ('{tenant}', '{instance}', 'probe', 'github', '{mark}', 'https://{mark}.invalid', '{{}}', 'paused',
                 {at}, {at}, {at}, {at}) on conflict do nothing"
        ),
        of_instance(
            "projects",
            "id, source_id, key, name, url, content_hash, synced_at",
            &format!("'{project}', '1', '{PROJECT}', '{mark}', 'https://{mark}.invalid', '', {at}"),
        ),
        format!(
            "insert into work_items (tenant_id, id, instance_id, source, source_id, ref_key, source_key,
                 project_source_id, project_key, type_norm, type_original, status_norm, status_original,
                 resolution_original, priority_norm, priority_original, title, body, assignee, assignees, reporter, labels,
                 milestone, due_on, url, custom_fields, created_at, updated_at, resolved_at, content_hash, synced_at,
                 parent_ref_key, story_points, status_category)
             select '{tenant}', i.id, '{instance}', 'github', i.n::text, i.ref_key, '{PROJECT}#' || i.n, '1', '{PROJECT}',
                 case when i.n % 2 = 0 then 'bug' else 'task' end, '{mark}',
                 case i.n % 3 when 0 then 'done' when 1 then 'todo' else 'in_progress' end, '{mark}', '{mark}', 'high',
                 '{mark}', '{mark} probe item ' || i.n, '{mark} probe', '{mark}', array['{mark}'], '{mark}',
                 array['{mark}'], '{mark}', date '2026-02-01', 'https://{mark}.invalid/' || i.n,
                 jsonb_build_object('probe', '{mark}'), {at}, now() - i.n * interval '1 day',
                 case when i.n % 3 = 0 then now() - interval '1 day' end, '', {at},
                 case when i.n > 1 then 'probe#1' end, i.n, '{mark}'
             from {each} on conflict do nothing"
        ),
        format!(
            "insert into work_item_labels (tenant_id, work_item_id, label) select '{tenant}', i.id, '{mark}' from {each}
             on conflict do nothing"
        ),
        hanging(
            "comments",
            "id, kind, source_id, author, body, url, created_at, updated_at, content_hash, synced_at",
            &format!(
                "i.id, 'comment', i.n::text, '{mark}', '{mark} probe', 'https://{mark}.invalid', {at}, {at}, '', {at}"
            ),
        ),
        hanging(
            "work_item_transitions",
            "source_id, at, actor, from_original, from_norm, to_original, to_norm",
            &format!(
                "i.n::text, now() - interval '2 days', '{mark}', '{mark}', 'todo', '{mark}', 'in_progress'"
            ),
        ),
        hanging(
            "work_item_changes",
            "source_id, at, actor, field, from_value, to_value",
            &format!("i.n::text, now() - interval '1 day', '{mark}', 'title', '{mark}', '{mark}'"),
        ),
        hanging(
            "links",
            "type_norm, type_original, to_ref_key, to_key, to_url, synced_at",
            &format!(
                "'blocked_by', '{mark}', 'probe#1', '{PROJECT}#1', 'https://{mark}.invalid', {at}"
            ),
        ),
        hanging(
            "pull_requests",
            "source_id, draft, head_ref, base_ref, additions, deletions, changed_files, commits, synced_at",
            &format!("i.n::text, false, '{mark}', '{mark}', 1, 1, 1, 1, {at}"),
        ),
        hanging(
            "reviews",
            "source_id, author, state, body, submitted_at, synced_at",
            &format!("i.n::text, '{mark}', 'approved', '{mark}', {at}, {at}"),
        ),
        hanging(
            "sprint_memberships",
            "sprint_source_id, added_at, from_history",
            &format!("'{mark}', {at}, true"),
        ),
        hanging(
            "worklogs",
            "source_id, author, started_at, seconds, comment, created_at, updated_at, synced_at",
            &format!("i.n::text, '{mark}', {at}, 60, '{mark}', {at}, {at}, {at}"),
        ),
        of_instance(
            "boards",
            "source_id, name, kind, url, synced_at",
            &format!("'{mark}', '{mark}', 'scrum', 'https://{mark}.invalid', {at}"),
        ),
        of_instance(
            "sprints",
            "source_id, board_source_id, name, goal, state, start_at, end_at, synced_at",
            &format!(
                "'{mark}', '{mark}', '{mark}', '{mark}', 'active', now() - interval '3 days',
                 now() + interval '11 days', {at}"
            ),
        ),
        of_instance(
            "work_item_metrics_daily",
            "project_key, day, created, completed, cancelled, reopened, lead_time_hours, open_at_end",
            &format!("'{PROJECT}', (now() at time zone 'UTC')::date - 1, {items}, 1, 0, 0, 24, {items}"),
        ),
        of_instance(
            "sync_runs",
            "id, kind, state, upserted, failed, error_code, error_hint, created_at, started_at, finished_at",
            &format!("'{run}', 'incremental', 'partial', {items}, 1, '{mark}', '{mark}', {at}, {at}, {at}"),
        ),
        of_instance(
            "sync_dead_letters",
            "id, run_id, stream, source_id, error, raw, created_at",
            &format!("'{}', '{run}', 'issues', '{mark}', '{mark}', '', {at}", id(0x103)),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn answer(values: &[Value]) -> RowSet {
        RowSet {
            columns: Arc::default(),
            rows: vec![values.to_vec()],
            bytes: 0,
            truncated: false,
            next: None,
        }
    }

    #[test]
    fn a_tenants_id_begins_with_what_its_ids_are_recognised_by() {
        for probe in &PROBES {
            assert!(probe.tenant().to_string().starts_with(&probe.id_prefix()), "{}", probe.tenant());
        }
        assert_ne!(PROBES[0].tenant(), PROBES[1].tenant());
    }

    #[test]
    fn values_of_the_other_one_are_found_in_texts_lists_and_ids() {
        let [one, two] = &PROBES;
        let theirs = two.tenant().to_string();
        let judged = one.judge(&answer(&[
            json!("x patchbay-probe-1 y"),
            json!(["a", "patchbay-probe-2"]),
            json!(theirs),
            json!({"a": "patchbay-probe-2"}),
            json!(7),
            Value::Null,
        ]));
        assert_eq!(judged, ProbeRun { rows: 1, marked: 1, foreign: 3 });
        assert_eq!(two.judge(&answer(&[json!("patchbay-probe-1")])).foreign, 1);
    }
}
