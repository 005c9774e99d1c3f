//! The system's clock and random generator.

use application::ports::{Clock, Ids};
use chrono::{DateTime, Utc};
use rand::Rng;
use uuid::Uuid;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock for everybody")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// UUIDv7 and the thread's cryptographically secure generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIds;

impl Ids for SystemIds {
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn fill(&self, out: &mut [u8]) {
        rand::rng().fill_bytes(out);
    }
}
