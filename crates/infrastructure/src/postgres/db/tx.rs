//! Transactions as stores see them.

use std::ops::{Deref, DerefMut};

use sqlx::{Executor, PgConnection, Postgres, Transaction};

use crate::postgres::unit::Savepoint;

/// Checks what was deferred. A check is one look by a primary key, so that one plan does for all rows: the custom plans
/// that the application's statements need would be made anew for each of them.
const CHECK_REFERENCES: &str =
    "SET LOCAL plan_cache_mode = force_generic_plan; SET CONSTRAINTS ALL IMMEDIATE";

/// A transaction: one of its own, or a part of the request's [unit of work](PgUnit). Commit it, or everything done in it
/// is undone.
#[derive(Debug)]
pub(crate) struct Tx(pub(super) Inner);

#[derive(Debug)]
pub(super) enum Inner {
    Own(Transaction<'static, Postgres>),
    /// One whose references to instances are checked right before it is committed.
    Deferred(Transaction<'static, Postgres>),
    Part(Savepoint),
}

impl Tx {
    /// Keeps what was done; a part is stored when its unit is.
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self.checked().await?.0 {
            Inner::Own(tx) | Inner::Deferred(tx) => tx.commit().await,
            Inner::Part(part) => part.commit().await,
        }
    }

    /// Checks now what would be right before the commit. What comes behind is planned once for a connection: look-ups of
    /// single rows by a whole key, in tables that no page writes many rows to.
    pub(crate) async fn checked(self) -> Result<Self, sqlx::Error> {
        match self.0 {
            Inner::Deferred(mut tx) => {
                tx.execute(CHECK_REFERENCES).await?;
                Ok(Self(Inner::Own(tx)))
            }
            other => Ok(Self(other)),
        }
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match &self.0 {
            Inner::Own(tx) | Inner::Deferred(tx) => tx,
            Inner::Part(part) => part,
        }
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match &mut self.0 {
            Inner::Own(tx) | Inner::Deferred(tx) => tx,
            Inner::Part(part) => part,
        }
    }
}
