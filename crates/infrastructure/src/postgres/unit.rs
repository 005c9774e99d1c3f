//! One transaction around everything a request writes.
//!
//! The stores go on as they do without: each takes a transaction, and commits it or not. Inside a unit each of those
//! is a savepoint, so a store that fails or is dropped midway undoes its own part and nothing else, and what the
//! request wrote is committed once, at its end, together with its answer.

use std::any::Any;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use application::Ctx;
use application::ctx::UnitOfWork;
use application::ports::StoreError;
use domain::{Grant, TenantId};
use sqlx::{Executor, PgConnection, Postgres, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::db::{Db, store_error};
use super::idempotency::Claim;

/// How long a part of a request waits for another part of the same request. Longer means that a store took a second
/// transaction while it held the first, which would wait for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The unit of work of a request; opened by its first write.
pub(crate) struct PgUnit {
    tenant: TenantId,
    grant: Arc<Grant>,
    state: Arc<Mutex<State>>,
    ended: Arc<AtomicBool>,
    /// The claim that ends with the unit. Behind the state, so that the transaction goes first.
    pub(super) claim: Claim,
}

enum State {
    /// Nothing was written yet.
    Closed,
    Open {
        tx: Transaction<'static, Postgres>,
        step: Step,
    },
    /// Committed, or undone.
    Ended,
}

/// How the transaction stands between two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Everything in it may be committed; there is no savepoint.
    Clean,
    /// A part has begun, and what it did must be undone before anything else happens.
    Undo,
    /// It is not known where the server stands: somebody went away in the middle of a word.
    Broken,
}

impl PgUnit {
    /// A unit for this caller that ends with `claim`.
    pub(super) fn new(ctx: &Ctx, claim: Claim) -> Self {
        Self {
            tenant: ctx.tenant,
            grant: Arc::clone(&ctx.grant),
            state: Arc::new(Mutex::new(State::Closed)),
            ended: Arc::default(),
            claim,
        }
    }

    /// The unit of a context, when it has one.
    pub(super) fn of(ctx: &Ctx) -> Result<Option<&Self>, StoreError> {
        let Some(unit) = &ctx.unit else { return Ok(None) };
        let unit =
            unit.as_any().downcast_ref::<Self>().ok_or_else(|| internal("another store's unit of work"))?;
        // Its transaction sees what the caller it was made for may see.
        if unit.tenant != ctx.tenant || (!Arc::ptr_eq(&unit.grant, &ctx.grant) && unit.grant != ctx.grant) {
            return Err(internal("a unit of work was used for another caller than it was made for"));
        }
        Ok(Some(unit))
    }

    /// A part of the unit, to write in. Opens the unit's transaction when this is the first.
    pub(super) async fn part(&self, db: &Db, ctx: &Ctx) -> Result<Savepoint, StoreError> {
        let mut state = self.lock().await?;
        match &mut *state {
            State::Ended => return Err(ended()),
            State::Closed => {
                let tx = db.begin_unit(ctx).await?;
                *state = State::Open { tx, step: Step::Undo };
            }
            State::Open { tx, step } => {
                let statement = match step {
                    Step::Clean => "SAVEPOINT part",
                    Step::Undo => "ROLLBACK TO SAVEPOINT part",
                    Step::Broken => return Err(broken()),
                };
                *step = Step::Broken;
                tx.execute(statement).await.map_err(store_error)?;
                *step = Step::Undo;
            }
        }
        Ok(Savepoint { state, ended: Arc::clone(&self.ended) })
    }

    /// A part to read in, so that a request reads what it wrote; `None` while nothing was written.
    pub(super) async fn part_if_open(&self, db: &Db, ctx: &Ctx) -> Result<Option<Savepoint>, StoreError> {
        if matches!(&*self.lock().await?, State::Closed) {
            return Ok(None);
        }
        self.part(db, ctx).await.map(Some)
    }

    /// Ends the unit and hands over its transaction, without anything that was not committed by its store.
    pub(super) async fn end(&self, db: &Db, ctx: &Ctx) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut state = self.lock().await?;
        self.ended.store(true, Ordering::SeqCst);
        match std::mem::replace(&mut *state, State::Ended) {
            State::Ended => Err(ended()),
            State::Closed => db.begin_unit(ctx).await,
            State::Open { tx, step: Step::Clean } => Ok(tx),
            State::Open { mut tx, step: Step::Undo } => {
                tx.execute("ROLLBACK TO SAVEPOINT part").await.map_err(store_error)?;
                Ok(tx)
            }
            State::Open { step: Step::Broken, .. } => Err(broken()),
        }
    }

    /// Ends the unit and undoes everything in it.
    pub(super) async fn undo(&self) -> Result<(), StoreError> {
        let mut state = self.lock_any().await?;
        self.ended.store(true, Ordering::SeqCst);
        match std::mem::replace(&mut *state, State::Ended) {
            State::Open { tx, .. } => tx.rollback().await.map_err(store_error),
            State::Closed | State::Ended => Ok(()),
        }
    }

    async fn lock(&self) -> Result<OwnedMutexGuard<State>, StoreError> {
        let state = self.lock_any().await?;
        if self.ended.load(Ordering::SeqCst) { Err(ended()) } else { Ok(state) }
    }

    async fn lock_any(&self) -> Result<OwnedMutexGuard<State>, StoreError> {
        let free = Arc::clone(&self.state).lock_owned();
        tokio::time::timeout(LONGEST_WAIT, free).await.map_err(|_| {
            internal(
                "a second transaction was asked for while the request held one, and waited for it in vain",
            )
        })
    }
}

impl UnitOfWork for PgUnit {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn abandon(&self) {
        self.ended.store(true, Ordering::SeqCst);
        // Where a part is still being written, its end closes the unit.
        if let Ok(mut state) = self.state.try_lock() {
            *state = State::Ended;
        }
        self.claim.give_up();
    }
}

impl fmt::Debug for PgUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PgUnit")
    }
}

/// A part of a unit: what one store does in one go. Unless it is committed, it is undone before anything else happens
/// in the unit.
pub(super) struct Savepoint {
    state: OwnedMutexGuard<State>,
    ended: Arc<AtomicBool>,
}

impl Savepoint {
    /// Makes the part one with the unit. It is stored when that is committed.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        let State::Open { tx, step } = &mut *self.state else {
            return Err(sqlx::Error::Protocol("the unit of work has ended".into()));
        };
        *step = Step::Broken;
        let released = tx.execute("RELEASE SAVEPOINT part").await;
        *step = match &released {
            Ok(_) => Step::Clean,
            // A statement of the part had failed.
            Err(sqlx::Error::Database(_)) => Step::Undo,
            Err(_) => Step::Broken,
        };
        released.map(drop)
    }
}

impl Deref for Savepoint {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match &*self.state {
            State::Open { tx, .. } => tx,
            State::Closed | State::Ended => unreachable!("only the holder of the lock ends a unit"),
        }
    }
}

impl DerefMut for Savepoint {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match &mut *self.state {
            State::Open { tx, .. } => tx,
            State::Closed | State::Ended => unreachable!("only the holder of the lock ends a unit"),
        }
    }
}

impl Drop for Savepoint {
    fn drop(&mut self) {
        if self.ended.load(Ordering::SeqCst) {
            *self.state = State::Ended;
        }
    }
}

impl fmt::Debug for Savepoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Savepoint")
    }
}

fn internal(what: &'static str) -> StoreError {
    StoreError::Internal(what.into())
}

fn ended() -> StoreError {
    internal("the request's unit of work has ended")
}

fn broken() -> StoreError {
    StoreError::Unavailable(
        "a part of the request was given up halfway; nothing of the request is kept".into(),
    )
}
