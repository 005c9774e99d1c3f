//! A database for one test, and a look into it that no row-level security narrows.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection, Row};

/// A fresh, empty database; dropped with [`Database::drop`].
#[derive(Debug)]
pub struct Database {
    name: String,
    admin: PgConnectOptions,
    #[expect(clippy::disallowed_types, reason = "the tests look from outside, as the administrator")]
    pool: sqlx::PgPool,
}

impl Database {
    /// Creates it on the server of the test run.
    pub async fn create() -> anyhow::Result<Self> {
        let admin = PgConnectOptions::from_str(&crate::setting("PATCHBAY_TEST_DATABASE_URL")?)?;
        let name = format!("e2e_{}", uuid::Uuid::new_v4().simple());
        let mut connection = PgConnection::connect_with(&admin).await?;
        let mut create = sqlx::QueryBuilder::new("create database ");
        create.push(&name);
        connection.execute(create.build()).await?;
        let pool = PgPoolOptions::new().max_connections(2).connect_lazy_with(admin.clone().database(&name));
        Ok(Self { name, admin, pool })
    }

    /// The address, as `PATCHBAY_DATABASE_URL` takes it.
    pub fn url(&self) -> anyhow::Result<String> {
        let given = crate::setting("PATCHBAY_TEST_DATABASE_URL")?;
        let (front, query) = given.split_once('?').unwrap_or((&given, ""));
        let server = front.rsplit_once('/').map_or(front, |(server, _)| server);
        Ok(format!("{server}/{}{}{query}", self.name, if query.is_empty() { "" } else { "?" }))
    }

    /// One number.
    pub async fn count(&self, sql: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query(sql).fetch_one(&self.pool).await?.try_get(0)?)
    }

    /// One number about one tenant; `$1` is its slug.
    pub async fn count_of(&self, tenant: &str, sql: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query(sql).bind(tenant).fetch_one(&self.pool).await?.try_get(0)?)
    }

    /// The first column of every row, as text.
    pub async fn texts(&self, sql: &'static str) -> anyhow::Result<Vec<String>> {
        let rows = sqlx::query(sql).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    /// Removes it, whoever is still connected.
    pub async fn drop(self) -> anyhow::Result<()> {
        self.pool.close().await;
        let mut connection = PgConnection::connect_with(&self.admin).await?;
        let mut drop = sqlx::QueryBuilder::new("drop database if exists ");
        drop.push(&self.name).push(" with (force)");
        connection.execute(drop.build()).await?;
        Ok(())
    }
}
