use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The time.
pub trait Clock: Send + Sync {
    /// Now, in UTC.
    fn now(&self) -> DateTime<Utc>;
}

/// New ids and random bytes.
pub trait Ids: Send + Sync {
    /// A UUIDv7 (RFC 9562): sorts by creation.
    fn uuid(&self) -> Uuid;

    /// Fills `out` from a cryptographically secure generator.
    fn fill(&self, out: &mut [u8]);
}
