//! What a start needs to know of a server before there is a schema.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, PgConnection};

/// Whether the database answers within `patience`.
pub async fn reachable(options: &PgConnectOptions, patience: Duration) -> bool {
    let asking = async {
        let connection = PgConnection::connect_with(options).await?;
        connection.close().await
    };
    matches!(tokio::time::timeout(patience, asking).await, Ok(Ok(())))
}

/// Why the server cannot be reached, when it cannot: refused, unknown host, no answer within five seconds.
/// A server that answers, if only to refuse the login, is reached.
pub async fn unreachable(options: &PgConnectOptions) -> Option<String> {
    match tokio::time::timeout(Duration::from_secs(5), PgConnection::connect_with(options)).await {
        Ok(Ok(connection)) => {
            // Nothing was begun on it.
            drop(connection.close().await);
            None
        }
        Ok(Err(sqlx::Error::Io(error))) => Some(error.to_string()),
        Ok(Err(sqlx::Error::Tls(error))) => Some(error.to_string()),
        Ok(Err(_)) => None,
        Err(_) => Some("no answer within 5 s".to_owned()),
    }
}

/// Creates the database unless it is there. `name` is a plain identifier of ours.
pub async fn create_database(server: &PgConnectOptions, name: &'static str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(&server.clone().database("postgres")).await?;
    let known = sqlx::query("select 1 from pg_database where datname = $1")
        .bind(name)
        .fetch_optional(&mut connection);
    if known.await?.is_none() {
        let mut create = sqlx::QueryBuilder::new("create database ");
        create.push(name);
        connection.execute(create.build()).await?;
    }
    connection.close().await
}
