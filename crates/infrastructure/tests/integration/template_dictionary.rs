//! The words of the dictionary against the database they describe.

#![allow(clippy::disallowed_methods, reason = "helpers of tests")]

use domain::dictionary::TABLES;

use crate::support::TestDb;

#[tokio::test]
async fn every_published_column_is_explained_and_nothing_else() {
    let test = TestDb::new().await;
    let found: Vec<(String, String, String)> = sqlx::query_as(
        "select c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod)
         from pg_class c
         join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'published'
         join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         where c.relkind = 'v' order by c.relname, a.attnum",
    )
    .fetch_all(&mut test.admin().await)
    .await
    .unwrap();
    let explained: Vec<(String, String, String)> = TABLES
        .iter()
        .flat_map(|table| table.columns.iter().map(|column| (table.name, column)))
        .map(|(table, (name, kind, _))| (table.to_owned(), (*name).to_owned(), (*kind).to_owned()))
        .collect();
    let missing: Vec<_> = found.iter().filter(|column| !explained.contains(column)).collect();
    let beyond: Vec<_> = explained.iter().filter(|column| !found.contains(column)).collect();
    assert!(missing.is_empty() && beyond.is_empty(), "not explained: {missing:?}; not there: {beyond:?}");
    assert_eq!(found, explained, "in another order");
    for table in TABLES {
        assert!(!table.purpose.is_empty() && table.columns.iter().all(|(.., meaning)| !meaning.is_empty()));
    }
}
