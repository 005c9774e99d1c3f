//! Foreign keys as pages of a sync need them.

use crate::support;

use support::TestDb;

/// A page writes under `SET CONSTRAINTS ALL DEFERRED`, which passes over keys that cannot be deferred without a word: they
/// would be planned for each row. Deferred from the start, every other transaction would hear of a wrong key too late.
#[tokio::test]
async fn keys_to_instances_are_checked_at_once_and_can_wait_for_a_pages_end() {
    let test = TestDb::new().await;
    let keys: Vec<(String, bool, bool)> = sqlx::query_as(
        "select conrelid::regclass::text, condeferrable, condeferred from pg_constraint
         where contype = 'f' and confrelid = 'source_instances'::regclass order by 1",
    )
    .fetch_all(&mut test.admin().await)
    .await
    .unwrap();
    assert!(keys.iter().any(|(table, ..)| table == "work_items"), "{keys:?}");
    let wrong: Vec<_> = keys.iter().filter(|(_, can_wait, waits)| !can_wait || *waits).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
