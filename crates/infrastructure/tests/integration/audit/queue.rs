//! Records of reads: in batches, within bounds, and none dropped silently.

use std::sync::Arc;
use std::time::{Duration, Instant};

use application::ports::{AuditLog, StoreError};
use domain::{AuditAction, AuditEntry, RequestId, TenantId};
use patchbay_infrastructure::postgres::AuditQueueBounds;
use sqlx::{Acquire, Row};
use uuid::Uuid;

use crate::audit::{call, eventually, records, strict};
use crate::support::{TestDb, ctx, run};

#[tokio::test]
async fn a_read_is_on_the_record_within_a_quarter_of_a_second() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let log = test.log_with(AuditQueueBounds::default());
    // The first write opens a connection.
    log.note(&strict(&alpha), call(0)).await.unwrap();
    for n in 0..10 {
        let begun = Instant::now();
        log.note(&alpha, call(n)).await.unwrap();
        let noted = begun.elapsed();
        let expected = i64::try_from(n + 3).unwrap();
        eventually("the record", async || {
            log.head(&alpha).await.unwrap().is_some_and(|head| head.seq == expected)
        })
        .await;
        let stored = begun.elapsed();
        // Twice the promise, for a busy machine; the linger alone is 100 ms.
        assert!(stored < Duration::from_millis(500), "stored after {stored:?}");
        assert!(noted < Duration::from_millis(50), "a read waited {noted:?} for its record");
    }
}

#[tokio::test]
async fn records_come_back_as_they_were_noted_and_share_a_transaction() {
    let test = TestDb::new().await;
    let mut alpha = test.ctx("alpha").await;
    alpha.origin = Arc::new(application::ctx::Origin {
        address: Some("2001:db8::7".parse().unwrap()),
        client: Some("curl/8\0".to_owned()),
    });
    alpha.request_id = RequestId::new(Uuid::from_u128(77));
    let log = test.log();
    for n in 0..30 {
        log.note(&alpha, call(n)).await.unwrap();
    }
    let odd = AuditEntry::ok(AuditAction::new("tool.call"))
        .to("tool", "a\0b\u{1f}é".repeat(100))
        .with("x", "\0\u{7}");
    log.note(&strict(&alpha), odd).await.unwrap();
    let kept = records(&log, &alpha).await;
    assert_eq!(kept.len(), 32);
    for (n, record) in kept[1..31].iter().enumerate() {
        assert_eq!(record.target, Some(("tool".to_owned(), format!("tool_{n}"))));
        assert_eq!(record.details["rows"], n);
        assert_eq!(record.arguments_digest, Some([7; 32]));
        assert_eq!(record.address, Some("2001:db8::7".parse().unwrap()));
        assert_eq!(record.client.as_deref(), Some("curl/8"));
        assert_eq!(record.request_id, Uuid::from_u128(77));
        assert_eq!((record.principal_kind.as_str(), record.principal_name.as_str()), ("system", "test"));
    }
    assert_eq!(kept[31].target.as_ref().unwrap().1.chars().count(), 200);
    let transactions: i64 =
        sqlx::query("select count(distinct xmin::text) from audit_log where action = 'tool.call'")
            .fetch_one(&mut test.admin().await)
            .await
            .unwrap()
            .get(0);
    assert!(transactions <= 8, "31 records took {transactions} transactions");
    assert_eq!(test.verdict(&alpha).await.broken, None);
}

#[tokio::test]
async fn a_strict_tenants_read_waits_until_its_record_is_stored() {
    let test = TestDb::new().await;
    let alpha = strict(&test.ctx("alpha").await);
    // It does not linger either.
    let log =
        test.log_with(AuditQueueBounds { linger: Duration::from_secs(60), ..AuditQueueBounds::default() });
    for n in 0..20 {
        log.note(&alpha, call(n)).await.unwrap();
        assert_eq!(log.head(&alpha).await.unwrap().unwrap().seq, i64::try_from(n + 2).unwrap());
    }
}

#[tokio::test]
async fn a_strict_tenants_read_fails_when_its_record_cannot_be_stored() {
    let test = TestDb::new().await;
    let alpha = strict(&test.ctx("alpha").await);
    let log = test.log_with(AuditQueueBounds {
        strict_patience: Duration::from_millis(300),
        ..AuditQueueBounds::default()
    });
    let mut admin = test.admin().await;
    let mut lock = admin.begin().await.unwrap();
    sqlx::query("lock table audit_log in access exclusive mode").execute(&mut *lock).await.unwrap();
    let refused = log.note(&alpha, call(1)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    lock.rollback().await.unwrap();
    log.note(&alpha, call(2)).await.unwrap();
}

#[tokio::test]
async fn a_full_queue_makes_callers_wait_and_refuses_them_in_the_end_and_loses_nothing() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let log = Arc::new(test.log_with(AuditQueueBounds {
        records: 40,
        linger: Duration::from_millis(5),
        patience: Duration::from_millis(400),
        ..AuditQueueBounds::default()
    }));
    let mut admin = test.admin().await;
    let mut lock = admin.begin().await.unwrap();
    sqlx::query("lock table audit_log in access exclusive mode").execute(&mut *lock).await.unwrap();
    // One tenant gets half the places.
    let mut taken = 0;
    for n in 0..21 {
        taken += usize::from(log.note(&alpha, call(n)).await.is_ok());
    }
    assert_eq!(taken, 20, "one tenant fills the queue for all");
    for n in 0..20 {
        log.note(&beta, call(n)).await.expect("the other tenant has places left");
    }
    let begun = Instant::now();
    let refused = log.note(&beta, call(20)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(begun.elapsed() >= Duration::from_millis(400), "refused without waiting");
    // Whoever waits when a place becomes free gets it.
    let waiting = {
        let (log, beta) = (log.clone(), beta.clone());
        tokio::spawn(async move { log.note(&beta, call(21)).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    lock.rollback().await.unwrap();
    waiting.await.unwrap().expect("the place that became free was not given");
    assert_eq!(log.close(Duration::from_secs(10)).await, 0);
    assert_eq!(records(&log, &alpha).await.len(), 21);
    assert_eq!(records(&log, &beta).await.len(), 22);
}

#[tokio::test]
async fn a_queue_is_bounded_in_bytes_too_and_takes_one_record_however_large() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let log = test.log_with(AuditQueueBounds {
        bytes: 10_000,
        linger: Duration::from_secs(60),
        patience: Duration::from_millis(50),
        ..AuditQueueBounds::default()
    });
    let large = |size: usize| call(1).with("text", "x".repeat(size));
    log.note(&alpha, large(20_000)).await.expect("an empty queue takes it");
    assert!(log.note(&alpha, large(1)).await.is_err(), "the bytes are not counted");
    assert_eq!(log.close(Duration::from_secs(10)).await, 0);
    assert_eq!(records(&log, &alpha).await.len(), 2);
}

#[tokio::test]
async fn closing_stores_what_waits_and_takes_nothing_more() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let log = test.log_with(AuditQueueBounds {
        linger: Duration::from_secs(60),
        batch: 100,
        ..AuditQueueBounds::default()
    });
    for n in 0..1_050 {
        log.note(&alpha, call(n)).await.unwrap();
    }
    assert_eq!(log.close(Duration::from_secs(20)).await, 0);
    assert_eq!(log.head(&alpha).await.unwrap().unwrap().seq, 1_051);
    let refused = log.note(&alpha, call(1)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(test.verdict(&alpha).await.broken, None);
}

#[tokio::test]
async fn closing_tells_how_many_records_it_could_not_store() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let log = test.log();
    let mut admin = test.admin().await;
    let mut lock = admin.begin().await.unwrap();
    sqlx::query("lock table audit_log in access exclusive mode").execute(&mut *lock).await.unwrap();
    for n in 0..3 {
        log.note(&alpha, call(n)).await.unwrap();
    }
    assert_eq!(log.close(Duration::from_millis(300)).await, 3);
}

#[tokio::test]
async fn what_waits_outlives_lost_connections_and_is_stored_once() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let log = test.log();
    let mut admin = test.admin().await;
    for round in 0..15usize {
        for n in 0..20 {
            log.note(if n % 2 == 0 { &alpha } else { &beta }, call(round * 20 + n)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(u64::try_from(round % 5).unwrap() * 2 + 4)).await;
        sqlx::query(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where datname = current_database() and usename = 'patchbay_app'",
        )
        .execute(&mut admin)
        .await
        .unwrap();
    }
    assert_eq!(log.close(Duration::from_secs(20)).await, 0);
    for ctx in [&alpha, &beta] {
        let verdict = test.verdict(ctx).await;
        assert_eq!((verdict.broken, verdict.records), (None, 151), "records are missing or double");
    }
}

#[tokio::test]
async fn a_tenant_whose_records_cannot_be_written_holds_up_no_other() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let log = test.log();
    let mut admin = test.admin().await;
    let mut lock = admin.begin().await.unwrap();
    sqlx::query("select from audit_heads where tenant_id = $1 for update")
        .bind(alpha.tenant.as_uuid())
        .execute(&mut *lock)
        .await
        .unwrap();
    for n in 0..50 {
        log.note(&alpha, call(n)).await.unwrap();
        log.note(&beta, call(n)).await.unwrap();
    }
    eventually("the other tenant's records", async || log.head(&beta).await.unwrap().unwrap().seq == 51)
        .await;
    lock.rollback().await.unwrap();
    eventually("this tenant's records", async || log.head(&alpha).await.unwrap().unwrap().seq == 51).await;
}

#[tokio::test]
async fn records_of_a_tenant_that_is_gone_hold_up_nothing() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let nobody = ctx(TenantId::new(Uuid::now_v7()));
    let log = test.log();
    log.note(&nobody, call(1)).await.unwrap();
    log.note(&alpha, call(1)).await.unwrap();
    assert_eq!(log.close(Duration::from_secs(10)).await, 0);
    assert_eq!(records(&log, &alpha).await.len(), 2);
}

// No key refers from a record to its tenant: the head of the chain does, and whoever adds a record has locked it.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_tenant_that_is_deleted_while_it_is_recorded_nothing_stays_and_of_others_all() {
    let test = TestDb::new().await;
    let mut tenants = Vec::new();
    for n in 0..9 {
        tenants.push(test.ctx(&format!("t{n}")).await);
    }
    let log =
        test.log_with(AuditQueueBounds { linger: Duration::from_millis(2), ..AuditQueueBounds::default() });
    let (stays, go) = tenants.split_first().unwrap();
    let noting = async {
        for n in 0..400 {
            for tenant in &tenants {
                log.note(tenant, call(n)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let deleting = async {
        let mut admin = test.admin().await;
        for tenant in go {
            tokio::time::sleep(Duration::from_millis(30)).await;
            eventually("a record", async || log.head(tenant).await.unwrap().is_some_and(|head| head.seq > 1))
                .await;
            sqlx::query("delete from tenants where id = $1")
                .bind(tenant.tenant.as_uuid())
                .execute(&mut admin)
                .await
                .unwrap();
        }
    };
    tokio::join!(noting, deleting);
    assert_eq!(log.close(Duration::from_secs(10)).await, 0);
    let left: Vec<(Uuid, i64)> = sqlx::query_as("select tenant_id, count(*) from audit_log group by 1")
        .fetch_all(&mut test.admin().await)
        .await
        .unwrap();
    // One record is of the tenant's creation.
    assert_eq!(left, [(stays.tenant.as_uuid(), 401)]);
    assert_eq!(test.verdict(stays).await.broken, None);
}

// Security requirement 67.
#[tokio::test]
async fn a_record_that_the_database_refuses_is_tried_again_and_not_dropped() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let log = test.log();
    let mut admin = test.admin().await;
    run(
        &mut admin,
        "alter table audit_log add constraint none check (action <> 'tool.call') not valid".into(),
    )
    .await;
    for n in 0..5 {
        log.note(&alpha, call(n)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    run(&mut admin, "alter table audit_log drop constraint none".into()).await;
    assert_eq!(log.close(Duration::from_secs(10)).await, 0);
    assert_eq!(records(&log, &alpha).await.len(), 6);
}

#[tokio::test]
async fn records_of_many_tenants_share_a_transaction_and_one_whose_chain_is_held_follows_alone() {
    let test = TestDb::new().await;
    let mut tenants = Vec::new();
    for n in 0..12 {
        tenants.push(test.ctx(&format!("t{n}")).await);
    }
    let log = test.log_with(AuditQueueBounds::default());
    let mut holder = test.admin().await;
    let mut held = holder.begin().await.unwrap();
    sqlx::query("select from audit_heads where tenant_id = $1 for update")
        .bind(tenants[0].tenant.as_uuid())
        .execute(&mut *held)
        .await
        .unwrap();
    for n in 0..5 {
        for tenant in &tenants {
            log.note(tenant, call(n)).await.unwrap();
        }
    }
    for tenant in &tenants[1..] {
        // One record is of the tenant's creation.
        eventually("the records", async || log.head(tenant).await.unwrap().is_some_and(|head| head.seq == 6))
            .await;
    }
    let transactions: i64 =
        sqlx::query_scalar("select count(distinct xmin::text) from audit_log where action = 'tool.call'")
            .fetch_one(&mut test.admin().await)
            .await
            .unwrap();
    assert!(transactions <= 5, "{transactions} transactions for 55 records of 11 tenants");
    assert_eq!(log.head(&tenants[0]).await.unwrap().unwrap().seq, 1, "written past the holder of the chain");
    held.commit().await.unwrap();
    eventually("the held tenant's records", async || {
        log.head(&tenants[0]).await.unwrap().is_some_and(|head| head.seq == 6)
    })
    .await;
    for tenant in &tenants {
        let verdict = test.verdict(tenant).await;
        assert_eq!((verdict.records, verdict.broken), (6, None));
    }
}
