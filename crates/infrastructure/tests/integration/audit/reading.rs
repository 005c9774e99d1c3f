//! Lists and exports: one tenant's, filtered, in pages and in one picture.

use application::Ctx;
use application::ports::{AuditFilter, AuditLog, ListPage};
use domain::{AuditAction, AuditEntry, AuditOutcome, KeyId, Principal};
use futures::{StreamExt, TryStreamExt};
use patchbay_infrastructure::postgres::PgAuditLog;
use uuid::Uuid;

use crate::audit::{call, newest, records, strict};
use crate::support::TestDb;

async fn filled(test: &TestDb) -> (PgAuditLog, Ctx, Ctx, Uuid) {
    let log = test.log();
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let key = Uuid::now_v7();
    let mut by_key = alpha.clone();
    by_key.principal = Principal::Key { id: KeyId::new(key), name: "bot".into() };
    for n in 0..10 {
        log.note(&by_key, call(n)).await.unwrap();
        log.note(&beta, call(n)).await.unwrap();
    }
    let denied =
        AuditEntry::ok(AuditAction::new("access.deny")).to("route", "GET /x").ended(AuditOutcome::Denied);
    log.note(&by_key, denied).await.unwrap();
    for action in [
        AuditAction::new("instance.create"),
        AuditAction::new("instances.other"),
        AuditAction::new("template.run"),
    ] {
        log.note(&strict(&alpha), AuditEntry::ok(action).to("instance", "i1")).await.unwrap();
    }
    log.note(&strict(&beta), call(99)).await.unwrap();
    (log, alpha, beta, key)
}

fn actions(records: &[domain::AuditRecord]) -> Vec<&str> {
    records.iter().map(|record| record.action.as_str()).collect()
}

#[tokio::test]
async fn each_filter_lists_what_it_says_newest_first() {
    let test = TestDb::new().await;
    let (log, alpha, _, key) = filled(&test).await;
    let all = newest(&log, &alpha, &AuditFilter::default()).await;
    assert_eq!(all.len(), 15);
    assert!(all.windows(2).all(|pair| pair[0].seq == pair[1].seq + 1));
    let with = |change: fn(&mut AuditFilter)| {
        let mut filter = AuditFilter::default();
        change(&mut filter);
        filter
    };
    let mine = AuditFilter { principal: Some(key), ..AuditFilter::default() };
    assert_eq!(newest(&log, &alpha, &mine).await.len(), 11);
    for (filter, expected) in [
        (with(|f| f.action = Some("instance.create".into())), vec!["instance.create"]),
        (with(|f| f.action = Some("instance.".into())), vec!["instance.create"]),
        (with(|f| f.action = Some("instance".into())), vec![]),
        (with(|f| f.action = Some("template.".into())), vec!["template.run"]),
        (with(|f| f.action = Some("t%".into())), vec![]),
        (with(|f| f.outcome = Some("denied".into())), vec!["access.deny"]),
        (
            with(|f| f.target_kind = Some("instance".into())),
            vec!["template.run", "instances.other", "instance.create"],
        ),
        (
            with(|f| {
                f.target_kind = Some("tool".into());
                f.target_id = Some("tool_3".into());
            }),
            vec!["tool.call"],
        ),
        (with(|f| f.until = Some(chrono::DateTime::UNIX_EPOCH)), vec![]),
    ] {
        assert_eq!(actions(&newest(&log, &alpha, &filter).await), expected, "{filter:?}");
    }
    let since = AuditFilter { since: Some(all[2].at), ..AuditFilter::default() };
    let until = AuditFilter { until: Some(all[2].at), ..AuditFilter::default() };
    let (after, before) = (newest(&log, &alpha, &since).await, newest(&log, &alpha, &until).await);
    assert_eq!(after.len() + before.len(), all.len(), "a moment belongs to one side");
    assert!(after.iter().any(|record| record.seq == all[2].seq));
}

#[tokio::test]
async fn pages_make_up_the_whole_list() {
    let test = TestDb::new().await;
    let (log, alpha, ..) = filled(&test).await;
    let mut seen = Vec::new();
    let mut page = ListPage { limit: 4, cursor: None };
    loop {
        let listing = log.list(&alpha, &AuditFilter::default(), &page).await.unwrap();
        assert!(listing.items.len() <= 4);
        seen.extend(listing.items.iter().map(|record| record.seq));
        match listing.next {
            Some(next) => page.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, (1..=15).rev().collect::<Vec<i64>>());
}

// Security requirement 1.
#[tokio::test]
async fn no_record_of_another_tenant_is_listed_exported_or_verified() {
    let test = TestDb::new().await;
    let (log, alpha, beta, key) = filled(&test).await;
    let foreign = AuditFilter { principal: Some(key), ..AuditFilter::default() };
    assert!(newest(&log, &beta, &foreign).await.is_empty());
    let (of_alpha, of_beta) = (records(&log, &alpha).await, records(&log, &beta).await);
    assert_eq!((of_alpha.len(), of_beta.len()), (15, 12));
    let shared = of_alpha.iter().filter(|one| of_beta.iter().any(|other| one.id == other.id)).count();
    assert_eq!(shared, 0);
    assert_eq!(log.verify(&beta, None).await.unwrap().records, 12);
    let unknown = crate::support::ctx(domain::TenantId::new(Uuid::now_v7()));
    assert!(records(&log, &unknown).await.is_empty());
    assert_eq!(log.head(&unknown).await.unwrap(), None);
    // A cursor made for one list means nothing in another tenant's.
    let page = ListPage {
        limit: 50,
        cursor: log
            .list(&alpha, &AuditFilter::default(), &ListPage { limit: 2, cursor: None })
            .await
            .unwrap()
            .next,
    };
    let listed = log.list(&beta, &AuditFilter::default(), &page).await.unwrap();
    assert!(listed.items.iter().all(|record| of_beta.iter().any(|own| own.id == record.id)));
}

#[tokio::test]
async fn an_export_is_one_picture_however_long_it_takes_and_holds_no_connection() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let log = test.log();
    // More than one chunk.
    for n in 0..2_500 {
        log.note(&alpha, call(n)).await.unwrap();
    }
    log.note(&strict(&alpha), call(2_500)).await.unwrap();
    let head = log.head(&alpha).await.unwrap().unwrap();
    assert_eq!(head.seq, 2_502);
    // More exports begun than there are connections, and none read to its end.
    let mut exports: Vec<_> = (0..20).map(|_| log.export(&alpha, AuditFilter::default(), head.seq)).collect();
    for export in &mut exports {
        assert_eq!(export.next().await.unwrap().unwrap().seq, 1);
    }
    for n in 0..10 {
        log.note(&strict(&alpha), call(n)).await.expect("connections are left");
    }
    let rest: Vec<_> = exports.pop().unwrap().try_collect().await.unwrap();
    let places: Vec<i64> = rest.iter().map(|record| record.seq).collect();
    assert_eq!(places, (2..=2_502).collect::<Vec<i64>>(), "records that came later, or some missing");
    assert_eq!(rest.last().unwrap().hash, head.hash);
}

#[tokio::test]
async fn changes_are_found_by_an_index_among_ever_so_many_reads() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let mut admin = test.admin().await;
    sqlx::query(
        "insert into audit_log (tenant_id, seq, id, at, principal_kind, principal_name, request_id, action, outcome, details, hash)
         select $1, n, gen_random_uuid(), now(), 'key', 'k', gen_random_uuid(),
             case when n % 5000 = 0 then 'instance.update' else 'tool.call' end, 'ok', '{}', decode(repeat('00', 32), 'hex')
         from generate_series(2, 40000) n",
    )
    .bind(alpha.tenant.as_uuid())
    .execute(&mut admin)
    .await
    .unwrap();
    sqlx::query("vacuum analyze audit_log").execute(&mut admin).await.unwrap();
    let mut app = test.connect("patchbay_app").await;
    crate::support::run(&mut app, format!("set app.current_tenant_id = '{}'", alpha.tenant)).await;
    for condition in [
        "action = 'instance.update'",
        "action ^@ 'instance.' and action <> 'tool.call' and action <> 'template.run'",
    ] {
        let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "explain select * from audit_log where tenant_id = '{}' and {condition} order by seq desc limit 50",
            alpha.tenant
        )))
        .fetch_all(&mut app)
        .await
        .unwrap();
        assert!(plan.iter().any(|line| line.contains("audit_log_changes")), "{condition}: {plan:#?}");
    }
}
