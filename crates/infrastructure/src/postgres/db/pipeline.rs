//! Connections that templates are run on: what begins a transaction, the statement and its end are sent at once, so that
//! a call waits for the server once. sqlx cannot do that, which is why these alone are `tokio-postgres`'.

mod error;
mod pool;
mod tls;

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use application::Ctx;
use futures::future::{Either, select, try_join};
use futures::{FutureExt, StreamExt};
use hashlink::LruCache;
use sqlx::postgres::PgConnectOptions;
use tokio::runtime::{self, Handle};
use tokio::time::timeout;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Connection, Row, RowStream, SimpleQueryMessage, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

pub(crate) use self::error::PipelineError;
pub(super) use self::pool::PipelinePool;
pub(crate) use self::pool::PooledPipeline;
use super::context::context;
use super::template_connection::{SEALED_OVER, TEMPLATE_TIMEOUT_MS, sealing};
use crate::postgres::outage::BEGIN_DEADLINE;
use crate::postgres::seal::SealKey;

/// Statements that stay prepared on a connection: as many as sqlx keeps.
const PREPARED: usize = 100;

type Io = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// What is asked.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) statement: &'a Arc<str>,
    /// The values and, in the same order, what they are declared as.
    pub(crate) values: &'a [&'a (dyn ToSql + Sync)],
    pub(crate) types: &'a [Type],
    pub(crate) timeout_ms: u64,
}

/// A connection. It is moved on by whoever uses it, not by a task of its own, which would have to be woken for each
/// message.
pub(crate) struct Pipeline {
    client: Client,
    /// `None` once it has ended.
    io: Option<Io>,
    prepared: LruCache<Arc<str>, Statement>,
    opened: Instant,
    home: runtime::Id,
}

impl Pipeline {
    /// Connects as the options say, in the same way as sqlx does.
    async fn open(options: &PgConnectOptions) -> Result<Self, PipelineError> {
        // It may read files.
        let options = options.clone();
        let read = tokio::task::spawn_blocking(move || tls::config(&options)).await;
        let (config, tls) = read.map_err(|error| PipelineError::Address(error.into()))??;
        let (client, io) = config.connect(tls).await.map_err(PipelineError::Postgres)?;
        Ok(Self {
            client,
            io: Some(io),
            prepared: LruCache::new(PREPARED),
            opened: Instant::now(),
            home: Handle::current().id(),
        })
    }

    /// The runtime that watches its socket.
    fn home(&self) -> runtime::Id {
        self.home
    }

    fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Whether nothing is known of its end, with what has come in meanwhile.
    async fn is_open(&mut self) -> bool {
        poll_fn(|cx| {
            advance(&mut self.io, cx);
            Poll::Ready(())
        })
        .await;
        self.io.is_some()
    }

    /// Lets nobody be woken by what still comes, which is read by the next who uses it.
    fn rest(&mut self) {
        advance(&mut self.io, &mut Context::from_waker(Waker::noop()));
    }

    /// Asks the server for an answer, behind all that is still on its way.
    async fn ping(&mut self) -> Result<(), PipelineError> {
        let Self { client, io, .. } = self;
        in_time(drive(io, client.batch_execute(""))).await
    }

    /// Runs a statement in a read-only transaction that sees this tenant's rows only and is rolled back behind it. `take`
    /// is given the rows until it wants no more. Whether all was read.
    ///
    /// With a key the transaction is sealed, for the role that sees nothing without.
    async fn query(
        &mut self,
        ctx: &Ctx,
        question: &Question<'_>,
        key: Option<&SealKey>,
        mut take: impl FnMut(Row) -> Result<bool, PipelineError>,
    ) -> Result<bool, PipelineError> {
        let statement = self.prepared(question).await?;
        let mut begin = context("BEGIN READ ONLY", ctx);
        if question.timeout_ms != TEMPLATE_TIMEOUT_MS {
            begin.push_str(&format!("; SET LOCAL statement_timeout = {}", question.timeout_ms));
        }
        if let Some(key) = key {
            begin = self.sealed(ctx, &begin, key).await?;
        }
        let Self { client, io, .. } = self;
        let asking = async {
            let mut rows = pin!(asked(client, &begin, &statement, question.values).await?);
            while let Some(row) = rows.next().await {
                if !take(row.map_err(PipelineError::Postgres)?)? {
                    // Nearly always only the end is left, and there already.
                    return Ok(matches!(rows.next().now_or_never(), Some(None)));
                }
            }
            Ok(true)
        };
        drive(io, asking).await
    }

    /// Begins, and makes the statement that seals: a seal is over the moment the server gives the transaction.
    async fn sealed(&mut self, ctx: &Ctx, begin: &str, key: &SealKey) -> Result<String, PipelineError> {
        let Self { client, io, .. } = self;
        let begin = format!("{begin}; {SEALED_OVER}");
        let told = in_time(drive(io, client.simple_query(&begin))).await?;
        let row = told.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let text = |i: usize| row.and_then(|row| row.try_get(i).ok().flatten());
        let (Some(Ok(backend)), Some(Ok(began_us))) = (text(0).map(str::parse), text(1).map(str::parse))
        else {
            return Err(PipelineError::Unreadable("when a transaction began".into()));
        };
        sealing(ctx, key, backend, began_us).ok_or(PipelineError::NoSealKey)
    }

    /// The statement as the server has it.
    async fn prepared(&mut self, question: &Question<'_>) -> Result<Statement, PipelineError> {
        let Question { statement, types, .. } = question;
        if let Some(known) = self.prepared.get(&**statement).filter(|known| known.params() == *types) {
            return Ok(known.clone());
        }
        let Self { client, io, .. } = self;
        let made = in_time(drive(io, client.prepare_typed(statement, types))).await?;
        self.prepared.insert((*statement).clone(), made.clone());
        Ok(made)
    }
}

/// Sends the beginning, the statement and the rollback at once, and waits for the first two. The answer to the third is
/// read by the next who uses the connection.
async fn asked(
    client: &Client,
    begin: &str,
    statement: &Statement,
    values: &[&(dyn ToSql + Sync)],
) -> Result<RowStream, PipelineError> {
    let rows = async {
        let rows = client.query_raw(statement, values.iter().copied()).await;
        rows.map_err(PipelineError::Postgres)
    };
    // Each is sent when it is first looked at: in this order.
    let both = try_join(in_time(client.batch_execute(begin)), rows);
    let end = client.batch_execute("ROLLBACK");
    match select(pin!(both), pin!(end)).await {
        Either::Left((both, _)) => both.map(|((), rows)| rows),
        Either::Right((_, both)) => both.await.map(|((), rows)| rows),
    }
}

/// The result, or [`PipelineError::TimedOut`] after [`BEGIN_DEADLINE`].
async fn in_time<T>(
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, PipelineError> {
    match timeout(BEGIN_DEADLINE, work).await {
        Ok(result) => result.map_err(PipelineError::Postgres),
        Err(_) => Err(PipelineError::TimedOut),
    }
}

/// Moves the connection on until the work is done.
async fn drive<T>(io: &mut Option<Io>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        advance(io, cx);
        work.as_mut().poll(cx)
    })
    .await
}

/// Sends what is to be sent, and hands out what has come. One that has ended is dropped: whoever waits for an answer is told.
fn advance(io: &mut Option<Io>, cx: &mut Context<'_>) {
    while let Some(open) = io {
        match open.poll_message(cx) {
            Poll::Pending => return,
            // A notice.
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "A connection for templates ended");
                *io = None;
            }
            Poll::Ready(None) => *io = None,
        }
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("opened", &self.opened).finish_non_exhaustive()
    }
}
