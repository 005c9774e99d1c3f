//! Counts in Redis, for all replicas.

use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Script};
use uuid::Uuid;

use super::GCRA;
use super::address::{RedisAddress, RedisProblem};
use super::cell::{Cell, Outcome};

/// How long it may take to connect, sign in and be answered for the first time.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Notes that a process is there, forgets the silent ones, and counts those that are left.
const BEAT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
";

/// A connection that is there or not.
pub(super) struct Shared {
    address: RedisAddress,
    timeout: Duration,
    gcra: Script,
    beat: Script,
    connection: RwLock<Option<MultiplexedConnection>>,
}

impl Shared {
    pub(super) fn new(address: RedisAddress, timeout: Duration) -> Self {
        Self {
            address,
            timeout,
            gcra: Script::new(GCRA),
            beat: Script::new(BEAT),
            connection: RwLock::new(None),
        }
    }

    pub(super) fn address(&self) -> &RedisAddress {
        &self.address
    }

    pub(super) fn is_there(&self) -> bool {
        self.connection.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Uses the connection no more. Whether there was one.
    pub(super) fn let_go(&self) -> bool {
        self.connection.write().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    /// Connects anew, and takes the connection when it counts within the time-out of a command.
    pub(super) async fn connect(&self) -> Result<(), RedisProblem> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.timeout));
        let client = self.address.client();
        let connecting = client.get_multiplexed_async_connection_with_config(&settings);
        let mut connection = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|error| self.address.problem(&error))?,
            Err(_) => return Err(self.too_slow()),
        };
        let loading = self.gcra.load_async(&mut connection);
        match tokio::time::timeout(CONNECT_TIMEOUT, loading).await {
            Ok(loaded) => loaded.map_err(|error| self.address.problem(&error))?,
            Err(_) => return Err(self.too_slow()),
        };
        let ping = redis::cmd("PING");
        let asking = ping.query_async::<()>(&mut connection);
        match tokio::time::timeout(self.timeout, asking).await {
            Ok(answered) => answered.map_err(|error| self.address.problem(&error))?,
            Err(_) => return Err(self.too_slow()),
        }
        *self.connection.write().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        Ok(())
    }

    /// Counts in every cell or in none.
    pub(super) async fn take(&self, cells: &[Cell], past_the_limit: bool) -> Result<Outcome, RedisProblem> {
        let mut call = self.gcra.prepare_invoke();
        call.arg(u8::from(past_the_limit));
        for cell in cells {
            call.key(&cell.key)
                .arg(micros(cell.interval()))
                .arg(micros(cell.most()))
                .arg(cell.cost)
                .arg(micros(cell.ceiling()));
        }
        let mut connection = self.connection()?;
        let answer: Vec<i64> =
            match tokio::time::timeout(self.timeout, call.invoke_async(&mut connection)).await {
                Ok(answered) => answered.map_err(|error| self.address.problem(&error))?,
                Err(_) => return Err(self.too_slow()),
            };
        outcome(&answer, cells.len()).ok_or_else(|| RedisProblem::Unreachable {
            at: self.address.to_string(),
            why: "it gave an answer that the script cannot give".to_owned(),
        })
    }

    /// Says that this process is there; how many are.
    pub(super) async fn beat(&self, prefix: &str, me: Uuid, ttl: Duration) -> Result<u32, RedisProblem> {
        let mut call = self.beat.prepare_invoke();
        call.key(format!("{prefix}:{{replicas}}"))
            .arg(me.to_string())
            .arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let mut connection = self.connection()?;
        match tokio::time::timeout(self.timeout, call.invoke_async(&mut connection)).await {
            Ok(answered) => answered.map_err(|error| self.address.problem(&error)),
            Err(_) => Err(self.too_slow()),
        }
    }

    fn connection(&self) -> Result<MultiplexedConnection, RedisProblem> {
        let connection = self.connection.read().unwrap_or_else(PoisonError::into_inner).clone();
        connection.ok_or_else(|| RedisProblem::Unreachable {
            at: self.address.to_string(),
            why: "there is no connection".to_owned(),
        })
    }

    fn too_slow(&self) -> RedisProblem {
        RedisProblem::Unreachable { at: self.address.to_string(), why: "it took too long".to_owned() }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("address", &self.address).finish_non_exhaustive()
    }
}

fn outcome(answer: &[i64], cells: usize) -> Option<Outcome> {
    let time = |micros: i64| u64::try_from(micros).ok().map(Duration::from_micros);
    match answer {
        [1, _now, used @ ..] if used.len() == cells => {
            used.iter().map(|&used| time(used)).collect::<Option<Vec<_>>>().map(Outcome::Counted)
        }
        [0, _now, number, wait, used] => {
            let index = usize::try_from(*number).ok()?.checked_sub(1).filter(|index| *index < cells)?;
            Some(Outcome::Refused { index, wait: time(*wait)?, used: time(*used)? })
        }
        _ => None,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
