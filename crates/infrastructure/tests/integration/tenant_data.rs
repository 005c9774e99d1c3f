//! A tenant with something in every table there is.
#![allow(unreachable_pub, reason = "each test file uses its own part")]

use domain::TenantId;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::support::run;

/// In each column that an export must not hold.
pub const CANARY: &str = "feedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedface";

/// Adds at least one row to every table of tenants, as the superuser. What has to differ between tenants is made of the
/// tenant's id. Its person is a member of no other tenant. Answers the instance and its unfinished run.
pub async fn fill(admin: &mut PgConnection, tenant: TenantId) -> (Uuid, Uuid) {
    let (instance, run_id, item, user) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let secret = format!("'\\x{CANARY}'::bytea");
    let plain = "'\\x0000000000000000000000000000000000000000000000000000000000000001'::bytea";
    let statements = [
        format!("insert into users (id, email) values ('{user}', '{user}@example.com')"),
        format!("insert into user_identities (issuer, subject, user_id) values ('https://idp', '{user}', '{user}')"),
        format!(
            "insert into tenant_data_keys (tenant_id, id, kek_id, wrapped) values ('{tenant}', '{instance}', 'k', {secret})"
        ),
        format!(
            "insert into api_keys (tenant_id, id, public_id, mac, name, kind, scopes)
             values ('{tenant}', '{instance}', 'p{instance}', {secret}, 'a key', 'person', '{{admin}}')"
        ),
        format!(
            "insert into memberships (tenant_id, user_id, role, email) values ('{tenant}', '{user}', 'owner', 'a@example.com')"
        ),
        format!(
            "insert into invitations (tenant_id, id, email, role, mac, invited_by, expires_at)
             values ('{tenant}', '{user}', 'b@example.com', 'viewer', {secret}, 'a', now())"
        ),
        format!(
            "insert into sessions (tenant_id, id, user_id, mac, expires_at) values ('{tenant}', '{user}', '{user}', {secret}, now())"
        ),
        format!(
            "insert into audit_heads (tenant_id, seq, hash, seal) values ('{tenant}', 1, {plain}, {plain})
             on conflict (tenant_id) do nothing"
        ),
        format!(
            "insert into audit_log (tenant_id, seq, id, at, principal_kind, principal_name, request_id, action, outcome,
                 details, hash)
             values ('{tenant}', 1000, '{user}', now(), 'system', 'test', '{user}', 'a.b', 'ok', '{{}}', {plain})"
        ),
        format!("insert into sql_templates (tenant_id, name, updated_by) values ('{tenant}', 'own', 'a')"),
        format!(
            "insert into sql_template_versions (tenant_id, name, number, source, proved, report, created_by)
             values ('{tenant}', 'own', 1, 'select', false, '{{}}', 'a')"
        ),
        format!(
            "insert into idempotency_keys (tenant_id, principal, route, key, fingerprint, state, owner, lease_until, body,
                 expires_at)
             values ('{tenant}', '{user}', 'r', 'k', {plain}, 'done', '{user}', now(), {secret}, now())"
        ),
        format!(
            "insert into source_instances (tenant_id, id, slug, source, name, base_url, settings, status, created_at,
                 updated_at)
             values ('{tenant}', '{instance}', 's', 'github', 'n', 'https://x', '{{}}', 'active', now(), now())"
        ),
        format!("insert into credentials (tenant_id, instance_id, sealed) values ('{tenant}', '{instance}', {secret})"),
        format!(
            "insert into write_intents (tenant_id, id, instance_id, principal, operation, key, fingerprint, marker, state,
                 owner, lease_until, outcome)
             values ('{tenant}', '{user}', '{instance}', '{user}', 'o', 'k', {plain}, 'm', 'done', '{user}', now(), {secret})"
        ),
        format!(
            "insert into bulk_plans (tenant_id, id, instance_id, principal, change, items, expires_at)
             values ('{tenant}', '{user}', '{instance}', '{user}', '{{}}', '[]', now())"
        ),
        format!(
            "insert into uploads (tenant_id, id, instance_id, principal, filename, size, content, digest, expires_at)
             values ('{tenant}', '{user}', '{instance}', '{user}', 'a.bin', octet_length({secret}), {secret}, 'd', now())"
        ),
        format!(
            "insert into projects (tenant_id, id, instance_id, source_id, key, name, url, content_hash, synced_at)
             values ('{tenant}', '{item}', '{instance}', '1', 'acme/app', 'app', 'u', {plain}, now())"
        ),
        format!(
            "insert into source_users (tenant_id, instance_id, source_id, login, kind, as_of, synced_at)
             values ('{tenant}', '{instance}', '1', 'ada', 'person', now(), now())"
        ),
        format!(
            "insert into labels (tenant_id, instance_id, project_source_id, source_id, name, synced_at)
             values ('{tenant}', '{instance}', '1', '1', 'bug', now())"
        ),
        format!(
            "insert into milestones (tenant_id, instance_id, project_source_id, source_id, title, state, url, created_at,
                 updated_at, synced_at)
             values ('{tenant}', '{instance}', '1', '1', 'm', 'open', 'u', now(), now(), now())"
        ),
        items(tenant, instance, 1, 1),
        format!(
            "insert into work_item_details_pending (tenant_id, instance_id, work_item_id, entered_at)
             values ('{tenant}', '{instance}', '{item}', now())"
        ),
        format!(
            "insert into comments (tenant_id, id, instance_id, kind, source_id, item_ref_key, body, url, created_at,
                 updated_at, content_hash, synced_at)
             values ('{tenant}', '{item}', '{instance}', 'comment', '1', '1#1', 'b', 'u', now(), now(), {plain}, now())"
        ),
        format!(
            "insert into work_item_transitions (tenant_id, instance_id, source_id, item_ref_key, at, to_original, to_norm)
             values ('{tenant}', '{instance}', '1', '1#1', now(), 'open', 'todo')"
        ),
        format!(
            "insert into work_item_changes (tenant_id, instance_id, source_id, item_ref_key, at, field)
             values ('{tenant}', '{instance}', '1', '1#1', now(), 'title')"
        ),
        format!(
            "insert into links (tenant_id, instance_id, item_ref_key, type_norm, type_original, to_key, to_url, synced_at)
             values ('{tenant}', '{instance}', '1#1', 'relates', 'r', 'k', 'u', now())"
        ),
        format!(
            "insert into pull_requests (tenant_id, instance_id, item_ref_key, source_id, draft, head_ref, base_ref,
                 additions, deletions, changed_files, commits, synced_at)
             values ('{tenant}', '{instance}', '1#1', '1', false, 'h', 'b', 1, 1, 1, 1, now())"
        ),
        format!(
            "insert into reviews (tenant_id, instance_id, source_id, item_ref_key, state, synced_at)
             values ('{tenant}', '{instance}', '1', '1#1', 'approved', now())"
        ),
        format!(
            "insert into work_item_metrics_daily (tenant_id, instance_id, project_key, day, created, completed, cancelled,
                 reopened, lead_time_hours, open_at_end)
             values ('{tenant}', '{instance}', 'acme/app', now(), 1, 0, 0, 0, 0, 1)"
        ),
        format!(
            "insert into sync_runs (tenant_id, id, instance_id, kind, state)
             values ('{tenant}', '{run_id}', '{instance}', 'backfill', 'queued')"
        ),
        format!(
            "insert into sync_run_events (tenant_id, run_id, seq, kind, message) values ('{tenant}', '{run_id}', 1, 'queued', 'm')"
        ),
        format!(
            "insert into sync_streams (tenant_id, instance_id, stream, project_source_id, updated_at)
             values ('{tenant}', '{instance}', 'issues', '1', now())"
        ),
        format!(
            "insert into sync_dead_letters (tenant_id, id, instance_id, run_id, stream, source_id, error, raw, created_at)
             values ('{tenant}', '{item}', '{instance}', '{run_id}', 'issues', '1', 'e', 'r', now())"
        ),
        format!(
            "insert into work_item_homes (tenant_id, work_item_id, project_source_id, project_key)
             values ('{tenant}', '{item}', '1', 'acme/app')"
        ),
        format!(
            "insert into boards (tenant_id, instance_id, source_id, name, kind, synced_at)
             values ('{tenant}', '{instance}', '1', 'b', 'scrum', now())"
        ),
        format!(
            "insert into sprints (tenant_id, instance_id, source_id, name, state, synced_at)
             values ('{tenant}', '{instance}', '1', 's', 'active', now())"
        ),
        format!(
            "insert into sprint_memberships (tenant_id, instance_id, item_ref_key, sprint_source_id, added_at, from_history)
             values ('{tenant}', '{instance}', '1#1', '1', now(), true)"
        ),
        format!(
            "insert into worklogs (tenant_id, instance_id, source_id, item_ref_key, started_at, seconds, created_at,
                 updated_at, synced_at)
             values ('{tenant}', '{instance}', '1', '1#1', now(), 60, now(), now(), now())"
        ),
        format!(
            "insert into custom_fields (tenant_id, instance_id, source_id, name, field_type, synced_at)
             values ('{tenant}', '{instance}', '1', 'f', 'number', now())"
        ),
        format!("insert into status_map values ('{tenant}', '{instance}', 'Doing', 'in_progress')"),
        format!("insert into resolution_map values ('{tenant}', '{instance}', 'Dropped', 'cancelled')"),
        format!("insert into type_map values ('{tenant}', '{instance}', 'Defect', 'bug')"),
        format!("insert into priority_map values ('{tenant}', '{instance}', 'P1', 'urgent')"),
        format!("insert into field_map values ('{tenant}', '{instance}', '1', 'story_points')"),
        format!("insert into tenant_policies (tenant_id) values ('{tenant}')"),
        format!(
            "insert into webhook_subscriptions (tenant_id, instance_id, token_digest, sealed, managed, state, created_at,
                 updated_at)
             values ('{tenant}', '{instance}', {secret}, {secret}, true, 'active', now(), now())"
        ),
        format!(
            "insert into webhook_deliveries (tenant_id, id, instance_id, delivery_id, event, hints, received_at)
             values ('{tenant}', '{item}', '{instance}', 'd', 'e', '[]', now())"
        ),
        format!(
            "insert into sync_schedules (tenant_id, instance_id, interval_s, jitter_percent, updated_at)
             values ('{tenant}', '{instance}', 300, 10, now())"
        ),
        format!(
            "insert into sync_seen_ids (tenant_id, instance_id, project_source_id, source_id)
             values ('{tenant}', '{instance}', '1', '1')"
        ),
        format!(
            "select graphile_worker.add_job('patchbay', payload => json_build_object('kind', 'sync_slice', 'tenant',
                 '{tenant}', 'instance', '{instance}', 'run', '{run_id}'), job_key => 'run:{run_id}',
                 run_at => now() + interval '1 day')"
        ),
    ];
    for statement in statements {
        run(admin, statement).await;
    }
    (instance, run_id)
}

/// A statement that adds items `from` to `to` with two labels and the raw object each, the latter with line ends in it.
pub fn items(tenant: TenantId, instance: Uuid, from: u32, to: u32) -> String {
    format!(
        "with n as (select n, gen_random_uuid() as id from generate_series({from}, {to}) n),
         items as (insert into work_items (tenant_id, id, instance_id, source, source_id, ref_key, source_key,
                 project_source_id, project_key, type_norm, type_original, status_norm, status_original, priority_norm,
                 title, body, url, created_at, updated_at, content_hash, synced_at)
             select '{tenant}', id, '{instance}', 'github', n::text, '1#' || n, 'acme/app#' || n, '1', 'acme/app', 'bug',
                 'issue', 'todo', 'open', 'none', 'Item ' || n || ' has a title of some length', repeat('text ', 40),
                 'https://example.com/' || n, now(), now(), '\\x01', now() from n),
         raw as (insert into raw_objects (tenant_id, instance_id, stream, source_id, payload, fetched_at)
             select '{tenant}', '{instance}', 'issues', n::text,
                 ('{{' || chr(10) || '  \"number\": ' || n || ',' || chr(13) || chr(10) || '\"nul\": \"\\u0000\", \"body\": \"'
                  || repeat(md5(n::text), 20) || '\"}}')::json, now() from n)
         insert into work_item_labels (tenant_id, work_item_id, label)
         select '{tenant}', id, label from n, unnest(array['bug', 'n' || n]) as label"
    )
}
