//! A database as `patchbay migrate` leaves it: made once for a build of the program, and cloned for each test.
//! Migrating takes longer than much of what is tested.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::Context;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, PgConnection, QueryBuilder};

use crate::{Database, Patchbay};

/// The master key of all clones, as their secrets are. Worth nothing elsewhere.
pub(crate) const MASTER_KEY: &str = "9f2c41d07be85a36c1f09d7a54e8b2631d6ea7f4085b93cc2e7d18f6a0b4359e";

/// Held while the template is made; an arbitrary number.
const LOCK: i64 = 0x7061_7463_6532_6574;

/// Rights on a database itself are not cloned with it.
const RIGHTS: &str = include_str!("../../../crates/infrastructure/src/postgres/bootstrap/database.sql");

/// A database of a test's own, migrated under [`MASTER_KEY`]. The first caller makes the template, others wait.
pub(crate) async fn clone() -> anyhow::Result<Database> {
    let server = crate::setting("PATCHBAY_TEST_DATABASE_URL")?;
    let (family, template) = names()?;
    let mut connection = PgConnection::connect_with(&server.parse::<PgConnectOptions>()?).await?;
    sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await?;
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(&template)
        .fetch_one(&mut connection)
        .await?;
    if !exists {
        make(&server, &family, &template, &mut connection).await.context("the template of databases")?;
    }
    // The lock ends with the connection.
    connection.close().await?;
    let database = Database::from_template(server, &template).await?;
    database.run(RIGHTS).await?;
    Ok(database)
}

async fn make(
    server: &str,
    family: &str,
    template: &str,
    connection: &mut PgConnection,
) -> anyhow::Result<()> {
    // Those of earlier builds, and what a test left that was ended meanwhile.
    let old: Vec<String> =
        sqlx::query_scalar("select datname from pg_database where starts_with(datname, $1)")
            .bind(family)
            .fetch_all(&mut *connection)
            .await?;
    for name in old {
        let mut drop = QueryBuilder::new("drop database if exists ");
        drop.push(name).push(" with (force)");
        connection.execute(drop.build()).await?;
    }
    let unfinished = format!("{template}_new");
    Patchbay::migrated(Database::named(server.to_owned(), &unfinished).await?, MASTER_KEY.to_owned()).await?;
    let mut rename = QueryBuilder::new("alter database ");
    rename.push(unfinished).push(" rename to ").push(template);
    connection.execute(rename.build()).await?;
    Ok(())
}

/// What the names of all templates of the program begin with, and the name of this build's.
fn names() -> anyhow::Result<(String, String)> {
    let program = PathBuf::from(crate::setting("PATCHBAY_TEST_BIN")?);
    let about = program.metadata().with_context(|| format!("{} is not built", program.display()))?;
    let family = format!("e2e_template_{:016x}_", hash(&program));
    let template = format!("{family}{:016x}", hash(&(about.len(), about.modified()?)));
    Ok((family, template))
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
