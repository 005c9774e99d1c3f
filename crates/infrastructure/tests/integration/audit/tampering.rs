//! Whatever is changed behind Patchbay's back shows.

use application::Ctx;
use application::ports::AuditLog;
use domain::{AuditHead, AuditRecord};
use patchbay_infrastructure::postgres::PgAuditLog;
use proptest::prelude::*;
use sqlx::PgConnection;

use crate::audit::{call, records};
use crate::support::{TestDb, run};

/// One thing done to a log as the superuser. Places are fractions of the log's length.
#[derive(Debug, Clone)]
enum Tampering {
    Edit { place: f64, column: usize },
    Delete { place: f64 },
    Swap { place: f64, other: f64 },
    Insert { place: f64 },
    Append,
    CutTail { place: f64 },
    RollBack { place: f64 },
    ForgeHead { column: usize },
    DropHead,
    Renumber { place: f64 },
}

const EDITS: [&str; 15] = [
    "at = at + interval '1 microsecond'",
    "principal_kind = case principal_kind when 'key' then 'user' else 'key' end",
    "principal_id = gen_random_uuid()",
    "principal_name = principal_name || '.'",
    "client = coalesce(client, '') || 'x'",
    "address = '10.9.8.7'",
    "request_id = gen_random_uuid()",
    "action = action || 's'",
    "target_kind = coalesce(target_kind, '') || 's'",
    "target_id = coalesce(target_id, '') || 's'",
    "outcome = case outcome when 'ok' then 'denied' else 'ok' end",
    "arguments_digest = decode(repeat('ab', 32), 'hex')",
    "details = details || ' '",
    "hash = decode(repeat('cd', 32), 'hex')",
    "id = gen_random_uuid()",
];

fn tampering() -> impl Strategy<Value = Tampering> {
    let place = 0.0..1.0;
    prop_oneof![
        4 => (place.clone(), 0..EDITS.len()).prop_map(|(place, column)| Tampering::Edit { place, column }),
        1 => place.clone().prop_map(|place| Tampering::Delete { place }),
        1 => (place.clone(), place.clone()).prop_map(|(place, other)| Tampering::Swap { place, other }),
        1 => place.clone().prop_map(|place| Tampering::Insert { place }),
        1 => Just(Tampering::Append),
        1 => place.clone().prop_map(|place| Tampering::CutTail { place }),
        1 => place.clone().prop_map(|place| Tampering::RollBack { place }),
        1 => (0..3usize).prop_map(|column| Tampering::ForgeHead { column }),
        1 => Just(Tampering::DropHead),
        1 => place.prop_map(|place| Tampering::Renumber { place }),
    ]
}

/// A place of the log, from 1.
fn at(place: f64, length: i64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a place in a short log"
    )]
    let place = (place * length as f64) as i64;
    place + 1
}

/// Does it, and tells the first place where it must show.
async fn tamper(admin: &mut PgConnection, ctx: &Ctx, what: &Tampering, length: i64) -> i64 {
    let tenant = ctx.tenant;
    let log = format!("audit_log where tenant_id = '{tenant}'");
    let columns = "id, at, principal_kind, principal_id, principal_name, client, address, request_id, action, target_kind,
        target_id, outcome, arguments_digest, details";
    match *what {
        Tampering::Edit { place, column } => {
            let place = at(place, length);
            let set = EDITS[column];
            run(admin, format!("update audit_log set {set} where tenant_id = '{tenant}' and seq = {place}"))
                .await;
            place
        }
        Tampering::Delete { place } => {
            let place = at(place, length);
            run(admin, format!("delete from {log} and seq = {place}")).await;
            place
        }
        Tampering::Swap { place, other } => {
            let (one, two) = (at(place, length - 1), length);
            let (one, two) = if at(other, length) > one { (one, at(other, length)) } else { (one, two) };
            run(
                admin,
                format!(
                    "update audit_log set seq = -seq where tenant_id = '{tenant}' and seq in ({one}, {two})"
                ),
            )
            .await;
            run(
                admin,
                format!(
                    "update audit_log set seq = {one} + {two} + seq where tenant_id = '{tenant}' and seq < 0"
                ),
            )
            .await;
            one
        }
        Tampering::Insert { place } => {
            let place = at(place, length);
            run(
                admin,
                format!(
                    "update audit_log set seq = -seq - 1 where tenant_id = '{tenant}' and seq >= {place}"
                ),
            )
            .await;
            run(admin, format!("update audit_log set seq = -seq where tenant_id = '{tenant}' and seq < 0"))
                .await;
            run(
                admin,
                format!(
                    "insert into audit_log (tenant_id, seq, {columns}, hash)
                     select tenant_id, {place}, {columns}, hash from {log} and seq = {place} + 1"
                ),
            )
            .await;
            // The copy itself fits its place only where it stood; the one behind it never does.
            place + 1
        }
        Tampering::Append => {
            run(
                admin,
                format!(
                    "insert into audit_log (tenant_id, seq, {columns}, hash)
                     select tenant_id, seq + 1, {columns}, hash from {log} and seq = {length}"
                ),
            )
            .await;
            length + 1
        }
        Tampering::CutTail { place } => {
            let place = at(place, length);
            run(admin, format!("delete from {log} and seq >= {place}")).await;
            place
        }
        Tampering::RollBack { place } => {
            let place = at(place, length - 1);
            run(admin, format!("delete from {log} and seq > {place}")).await;
            run(
                admin,
                format!(
                    "update audit_heads set seq = {place}, hash = (select hash from {log} and seq = {place})
                     where tenant_id = '{tenant}'"
                ),
            )
            .await;
            place
        }
        Tampering::ForgeHead { column } => {
            let set = [
                "seq = seq + 1",
                "hash = decode(repeat('ef', 32), 'hex')",
                "seal = decode(repeat('ef', 32), 'hex')",
            ];
            run(admin, format!("update audit_heads set {} where tenant_id = '{tenant}'", set[column])).await;
            if column == 0 { length + 1 } else { length }
        }
        Tampering::DropHead => {
            run(admin, format!("delete from audit_heads where tenant_id = '{tenant}'")).await;
            length
        }
        Tampering::Renumber { place } => {
            let place = at(place, length);
            run(
                admin,
                format!(
                    "update audit_log set seq = seq + 1000 where tenant_id = '{tenant}' and seq = {place}"
                ),
            )
            .await;
            place
        }
    }
}

/// A chain of changes, single records and batches.
async fn chain(test: &TestDb, log: &PgAuditLog, slug: &str, shape: &[usize]) -> (Ctx, Vec<AuditRecord>) {
    let ctx = test.ctx(slug).await;
    let mut expected = 1;
    for &batch in shape {
        for n in 0..batch {
            log.note(&ctx, call(n)).await.unwrap();
        }
        expected += batch;
        crate::audit::eventually("the batch", async || {
            log.head(&ctx).await.unwrap().is_some_and(|head| head.seq == i64::try_from(expected).unwrap())
        })
        .await;
    }
    let records = records(log, &ctx).await;
    (ctx, records)
}

// Security requirement 66.
#[test]
fn any_one_tampering_with_any_chain_is_found_at_its_place() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (test, log) = runtime.block_on(async {
        let test = TestDb::new().await;
        let log = test.log();
        (test, log)
    });
    let config = ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() };
    let number = std::cell::Cell::new(0);
    proptest!(config, |(shape in prop::collection::vec(1usize..6, 1..4), what in tampering())| {
        number.set(number.get() + 1);
        let slug = format!("t{}", number.get());
        runtime.block_on(async {
            let (ctx, before) = chain(&test, &log, &slug, &shape).await;
            let length = i64::try_from(before.len()).unwrap();
            let sound = log.verify(&ctx, None).await.unwrap();
            prop_assert_eq!(&sound.broken, &None);
            prop_assert_eq!(sound.records, length);
            let place = tamper(&mut test.admin().await, &ctx, &what, length).await;
            let found = log.verify(&ctx, None).await.unwrap();
            let Some((at, why)) = found.broken else { panic!("{what:?} of {length} records was not found") };
            prop_assert_eq!(at, place, "{:?} of {} records: {}", what, length, why);
            Ok(())
        })?;
    });
    runtime.block_on(async move { drop((log, test)) });
}

// Security requirement 66.
#[tokio::test]
async fn what_is_written_after_a_tampering_does_not_heal_it() {
    let test = TestDb::new().await;
    let log = test.log();
    for (n, what) in [
        Tampering::RollBack { place: 0.5 },
        Tampering::CutTail { place: 0.5 },
        Tampering::ForgeHead { column: 0 },
        Tampering::ForgeHead { column: 1 },
        Tampering::ForgeHead { column: 2 },
        Tampering::DropHead,
        Tampering::Edit { place: 0.5, column: 0 },
    ]
    .into_iter()
    .enumerate()
    {
        let (ctx, _) = chain(&test, &log, &format!("t{n}"), &[3, 3]).await;
        tamper(&mut test.admin().await, &ctx, &what, 7).await;
        log.note(&crate::audit::strict(&ctx), call(1)).await.expect("work goes on");
        log.note(&crate::audit::strict(&ctx), call(2)).await.expect("work goes on");
        assert!(log.verify(&ctx, None).await.unwrap().broken.is_some(), "{what:?} is healed");
    }
}

// Security requirement 66.
#[tokio::test]
async fn a_log_put_back_to_an_earlier_time_as_a_whole_shows_against_a_head_that_was_kept() {
    let test = TestDb::new().await;
    let log = test.log();
    let (ctx, _) = chain(&test, &log, "alpha", &[4]).await;
    let tenant = ctx.tenant;
    let mut admin = test.admin().await;
    run(&mut admin, "create table kept_head as select * from audit_heads".to_owned()).await;
    log.note(&crate::audit::strict(&ctx), call(5)).await.unwrap();
    log.note(&crate::audit::strict(&ctx), call(6)).await.unwrap();
    let kept = log.head(&ctx).await.unwrap().unwrap();
    assert_eq!(log.verify(&ctx, Some(&kept)).await.unwrap().broken, None);

    run(&mut admin, format!("delete from audit_log where tenant_id = '{tenant}' and seq > 5")).await;
    run(
        &mut admin,
        format!(
            "update audit_heads h set seq = k.seq, hash = k.hash, seal = k.seal from kept_head k
             where h.tenant_id = k.tenant_id and h.tenant_id = '{tenant}'"
        ),
    )
    .await;
    assert_eq!(log.verify(&ctx, None).await.unwrap().broken, None, "alone, it is a log as it once was");
    let (place, why) = log.verify(&ctx, Some(&kept)).await.unwrap().broken.unwrap();
    assert_eq!(place, 6, "{why}");
    // With other records in place of those cut off it shows as well.
    for n in 0..4 {
        log.note(&crate::audit::strict(&ctx), call(n)).await.unwrap();
    }
    let (place, why) = log.verify(&ctx, Some(&kept)).await.unwrap().broken.unwrap();
    assert_eq!(place, kept.seq, "{why}");
    let other = AuditHead { seq: 3, hash: [1; 32] };
    assert_eq!(log.verify(&ctx, Some(&other)).await.unwrap().broken.unwrap().0, 3);
}

// Security requirement 66.
#[tokio::test]
async fn a_record_of_another_tenant_does_not_fit() {
    let test = TestDb::new().await;
    let log = test.log();
    let (alpha, _) = chain(&test, &log, "alpha", &[2]).await;
    let (beta, _) = chain(&test, &log, "beta", &[2]).await;
    let mut admin = test.admin().await;
    for table in ["audit_log", "audit_heads"] {
        run(&mut admin, format!("delete from {table} where tenant_id = '{}'", alpha.tenant)).await;
        run(
            &mut admin,
            format!("update {table} set tenant_id = '{}' where tenant_id = '{}'", alpha.tenant, beta.tenant),
        )
        .await;
    }
    assert_eq!(log.verify(&alpha, None).await.unwrap().broken.unwrap().0, 1);
}

#[tokio::test]
async fn the_application_can_neither_change_nor_remove_what_is_on_the_record() {
    let test = TestDb::new().await;
    let ctx = test.ctx("alpha").await;
    let mut app = test.connect("patchbay_app").await;
    run(&mut app, format!("set app.current_tenant_id = '{}'", ctx.tenant)).await;
    for statement in [
        "update audit_log set action = 'x'",
        "delete from audit_log",
        "truncate audit_log",
        "delete from audit_heads",
    ] {
        let refused = sqlx::query(statement).execute(&mut app).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "42501", "{statement}");
    }
}
