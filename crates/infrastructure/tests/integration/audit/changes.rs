//! Records of changes: in the change's own transaction.

use application::ports::{InstanceStore, Sealed, StoreError};
use domain::{Instance, InstanceId, InstanceStatus, SourceKind};
use patchbay_infrastructure::postgres::PgInstances;
use sqlx::Row;
use uuid::Uuid;

use crate::audit::{call, records};
use crate::support::{TestDb, cancel_after, run};
use application::ports::AuditLog;

fn instance(name: &str) -> Instance {
    Instance {
        id: InstanceId::new(Uuid::now_v7()),
        slug: name.parse().unwrap(),
        source: SourceKind::new("github"),
        name: name.into(),
        base_url: "https://api.github.com".parse().unwrap(),
        settings: serde_json::json!({"repositories": ["owner/repo"]}),
        status: InstanceStatus::Active,
        created_at: chrono::DateTime::UNIX_EPOCH,
        updated_at: chrono::DateTime::UNIX_EPOCH,
    }
}

// Security requirement 66.
#[tokio::test]
async fn each_change_of_an_instance_and_each_use_of_its_credential_leaves_one_record() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let store = PgInstances::new(test.db.clone(), test.audit());
    let mut one = instance("core");
    store.insert(&alpha, &one, &Sealed(b"c4nary-secret".to_vec())).await.unwrap();
    one.name = "Core".into();
    store.update(&alpha, &one, None).await.unwrap();
    store.update(&alpha, &one, Some(&Sealed(b"c4nary-other".to_vec()))).await.unwrap();
    store.credential(&alpha, one.id).await.unwrap().unwrap();
    store.delete(&alpha, one.id).await.unwrap();
    // Nothing of that id: nothing happened.
    assert!(!store.delete(&alpha, one.id).await.unwrap());
    assert!(!store.update(&alpha, &one, None).await.unwrap());
    assert!(store.credential(&alpha, one.id).await.unwrap().is_none());
    let kept = records(&test.log(), &alpha).await;
    let told: Vec<(&str, &str)> = kept
        .iter()
        .map(|record| (record.action.as_str(), record.target.as_ref().unwrap().0.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("tenant.create", "tenant"),
            ("instance.create", "instance"),
            ("instance.update", "instance"),
            ("instance.update", "instance"),
            ("credential.use", "instance"),
            ("instance.delete", "instance"),
        ]
    );
    assert_eq!(kept[2].details["credential_changed"], false);
    assert_eq!(kept[3].details["credential_changed"], true);
    // Security requirement 57.
    let text = format!("{kept:?}");
    assert!(!text.contains("c4nary"), "{text}");
}

// Security requirement 67.
#[tokio::test]
async fn a_change_whose_record_cannot_be_written_is_not_made() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let store = PgInstances::new(test.db.clone(), test.audit());
    let mut admin = test.admin().await;
    run(
        &mut admin,
        "alter table audit_log add constraint none check (action <> 'instance.create') not valid".into(),
    )
    .await;
    let refused = store.insert(&alpha, &instance("core"), &Sealed(vec![1])).await;
    assert!(matches!(refused, Err(StoreError::Internal(_))), "{refused:?}");
    let left: i64 =
        sqlx::query("select (select count(*) from source_instances) + (select count(*) from credentials)")
            .fetch_one(&mut admin)
            .await
            .unwrap()
            .get(0);
    assert_eq!(left, 0, "the change was made without its record");
    // A use of a secret is refused as well.
    run(&mut admin, "alter table audit_log drop constraint none".into()).await;
    let one = instance("core");
    store.insert(&alpha, &one, &Sealed(vec![1])).await.unwrap();
    run(
        &mut admin,
        "alter table audit_log add constraint none check (action <> 'credential.use') not valid".into(),
    )
    .await;
    assert!(store.credential(&alpha, one.id).await.is_err(), "a credential was handed out without a record");
}

// Security requirement 66.
#[tokio::test]
async fn a_change_and_its_record_are_both_there_or_neither_wherever_the_caller_goes_away() {
    let test = TestDb::new().await;
    let alpha = test.ctx("alpha").await;
    let store = PgInstances::new(test.db.clone(), test.audit());
    let mut admin = test.admin().await;
    for n in 0..120u32 {
        drop(cancel_after(n % 24, store.insert(&alpha, &instance(&format!("i{n}")), &Sealed(vec![]))).await);
        // And from outside: the server ends every connection of the application.
        if n % 10 == 0 {
            let going = instance(&format!("k{n}"));
            let (_, ended) = tokio::join!(
                async { drop(store.insert(&alpha, &going, &Sealed(vec![])).await) },
                sqlx::query(
                    "select count(pg_terminate_backend(pid)) from pg_stat_activity
                     where datname = current_database() and usename = 'patchbay_app'"
                )
                .execute(&mut admin)
            );
            ended.unwrap();
        }
    }
    let log = test.log();
    crate::audit::eventually("the last transactions end", async || {
        sqlx::query(
            "select count(*) from pg_stat_activity where datname = current_database() and usename = 'patchbay_app'
             and state <> 'idle' and backend_xid is not null",
        )
        .fetch_one(&mut test.admin().await)
        .await
        .unwrap()
        .get::<i64, _>(0)
            == 0
    })
    .await;
    let odd: Vec<(Option<String>, Option<String>)> = sqlx::query_as(
        "select i.id::text, l.target_id from source_instances i
         full join (select target_id from audit_log where action = 'instance.create') l on l.target_id = i.id::text
         where i.id is null or l.target_id is null",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert!(odd.is_empty(), "changes without a record, or records without a change: {odd:?}");
    let verdict = log.verify(&alpha, None).await.unwrap();
    assert_eq!(verdict.broken, None);
    assert!(verdict.records > 10, "only {} records: the test cancels too early", verdict.records);
}

// Security requirement 66.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_changes_and_batches_make_one_chain_without_gaps() {
    let test = TestDb::new().await;
    let (alpha, beta) = (test.ctx("alpha").await, test.ctx("beta").await);
    let log = std::sync::Arc::new(test.log());
    // A second process with a queue of its own.
    let other = std::sync::Arc::new(test.log());
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..6usize {
        let ctx = if worker % 3 == 2 { beta.clone() } else { alpha.clone() };
        let store = PgInstances::new(test.db.clone(), test.audit());
        let log = if worker % 2 == 0 { log.clone() } else { other.clone() };
        tasks.spawn(async move {
            for n in 0..25 {
                for m in 0..4 {
                    log.note(&ctx, call(m)).await.unwrap();
                }
                let one = instance(&format!("w{worker}-{n}"));
                store.insert(&ctx, &one, &Sealed(vec![])).await.unwrap();
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!(log.close(std::time::Duration::from_secs(10)).await, 0);
    assert_eq!(other.close(std::time::Duration::from_secs(10)).await, 0);
    for (ctx, workers) in [(&alpha, 4), (&beta, 2)] {
        let verdict = log.verify(ctx, None).await.unwrap();
        assert_eq!(verdict.broken, None);
        assert_eq!(verdict.records, 1 + workers * 25 * 5);
    }
}
