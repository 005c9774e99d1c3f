//! A database for one test, and a look into it that no row-level security narrows.

use std::collections::BTreeMap;
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection, QueryBuilder, Row};

fn new_name() -> String {
    format!("e2e_{}", uuid::Uuid::new_v4().simple())
}

/// A database of a test's own; dropped with [`Database::drop`].
#[derive(Debug)]
pub struct Database {
    name: String,
    /// The server's address, as an administrator.
    server: String,
    admin: PgConnectOptions,
    #[expect(clippy::disallowed_types, reason = "the tests look from outside, as the administrator")]
    pool: sqlx::PgPool,
}

impl Database {
    /// Creates it on this server, empty.
    pub async fn create_on(server: String) -> anyhow::Result<Self> {
        Self::make(server, &new_name(), None).await
    }

    /// Creates it on this server as a copy of another one, to which nobody may be connected.
    pub(crate) async fn from_template(server: String, template: &str) -> anyhow::Result<Self> {
        Self::make(server, &new_name(), Some(template)).await
    }

    /// Creates an empty one of this name.
    pub(crate) async fn named(server: String, name: &str) -> anyhow::Result<Self> {
        Self::make(server, name, None).await
    }

    async fn make(server: String, name: &str, template: Option<&str>) -> anyhow::Result<Self> {
        let admin = PgConnectOptions::from_str(&server)?;
        let mut connection = PgConnection::connect_with(&admin).await?;
        let mut create = QueryBuilder::new("create database ");
        create.push(name);
        if let Some(template) = template {
            create.push(" template ").push(template);
        }
        connection.execute(create.build()).await?;
        let pool = PgPoolOptions::new().max_connections(2).connect_lazy_with(admin.clone().database(name));
        Ok(Self { name: name.to_owned(), server, admin, pool })
    }

    /// Moves it to a table space in this folder, which is empty and belongs to the server. Nobody may be connected.
    pub async fn move_to(&self, folder: &std::path::Path) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect_with(&self.admin).await?;
        let mut create = QueryBuilder::new("create tablespace ");
        create.push(&self.name).push("_space location '").push(folder.display()).push("'");
        connection.execute(create.build()).await?;
        let mut alter = QueryBuilder::new("alter database ");
        alter.push(&self.name).push(" set tablespace ").push(&self.name).push("_space");
        connection.execute(alter.build()).await?;
        Ok(())
    }

    /// Runs a script as the administrator.
    pub(crate) async fn run(&self, script: &'static str) -> anyhow::Result<()> {
        sqlx::raw_sql(script).execute(&self.pool).await?;
        Ok(())
    }

    /// The address, as `PATCHBAY_DATABASE_URL` takes it.
    pub fn url(&self) -> anyhow::Result<String> {
        let given = self.server.as_str();
        let (front, query) = given.split_once('?').unwrap_or((given, ""));
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

    /// Changes rows, as the administrator.
    pub async fn execute(&self, sql: &'static str, argument: &str) -> anyhow::Result<u64> {
        Ok(sqlx::query(sql).bind(argument).execute(&self.pool).await?.rows_affected())
    }

    /// Every table, partitions and not their parents: schema and name.
    async fn tables(&self) -> anyhow::Result<Vec<String>> {
        let sql = "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema') order by 1";
        self.texts(sql).await
    }

    /// The tables with a column `tenant_id`.
    async fn tenant_tables(&self) -> anyhow::Result<Vec<String>> {
        let sql = "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' where c.relkind = 'r' order by 1";
        self.texts(sql).await
    }

    /// The ids of everything a tenant has.
    pub async fn ids_of(&self, tenant: &str) -> anyhow::Result<Vec<String>> {
        let mut ids = Vec::new();
        for table in self.tenant_tables().await? {
            let mut query = QueryBuilder::new("select to_jsonb(t)->>'id' as id from ");
            query.push(&table).push(" t where to_jsonb(t) ? 'id' and tenant_id = ").push_bind(tenant);
            for row in query.push("::uuid").build().fetch_all(&self.pool).await? {
                ids.push(row.try_get(0)?);
            }
        }
        Ok(ids)
    }

    /// How many rows each table has of a tenant, and a digest of all they hold but the moments of their last use.
    pub async fn rows_of(&self, tenant: &str) -> anyhow::Result<BTreeMap<String, (i64, String)>> {
        let mut rows = BTreeMap::new();
        for table in self.tenant_tables().await? {
            let mut query = QueryBuilder::new(
                "select count(*), coalesce(md5(string_agg(row, '|' order by row)), '') from
                (select (to_jsonb(t) - 'last_used_at' - 'last_seen_at')::text as row from ",
            );
            query.push(&table).push(" t where tenant_id = ").push_bind(tenant).push("::uuid) rows");
            let row = query.build().fetch_one(&self.pool).await?;
            rows.insert(table, (row.try_get(0)?, row.try_get(1)?));
        }
        Ok(rows)
    }

    /// Everything that is stored, one text for each table: what a dump would hold, binary columns in hex.
    pub async fn dump(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut dump = BTreeMap::new();
        for table in self.tables().await? {
            let mut query = QueryBuilder::new("select coalesce(string_agg(t::text, E'\\n'), '') from ");
            query.push(&table).push(" t");
            let text = query.build().fetch_one(&self.pool).await?.try_get(0)?;
            dump.insert(table, text);
        }
        Ok(dump)
    }

    /// Removes it, whoever is still connected.
    pub async fn drop(self) -> anyhow::Result<()> {
        self.pool.close().await;
        let mut connection = PgConnection::connect_with(&self.admin).await?;
        let mut drop = QueryBuilder::new("drop database if exists ");
        drop.push(&self.name).push(" with (force)");
        connection.execute(drop.build()).await?;
        Ok(())
    }
}
