//! How often something may be done.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::Invalid;

/// So many in so long, with a burst: the rate of the generic cell rate algorithm (GCRA).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many in a window.
    pub count: NonZeroU32,
    /// The window.
    pub window: Duration,
    /// How many at once.
    pub burst: NonZeroU32,
}

impl Quota {
    /// So many in so many seconds. Zero counts as one.
    pub const fn per(count: u32, seconds: u32, burst: u32) -> Self {
        Self {
            count: at_least_one(count),
            window: Duration::from_secs(at_least_one(seconds).get() as u64),
            burst: at_least_one(burst),
        }
    }

    /// The time one costs.
    pub fn interval(&self) -> Duration {
        self.window / self.count.get()
    }
}

const fn at_least_one(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}s:{}", self.count, self.window.as_secs(), self.burst)
    }
}

impl FromStr for Quota {
    type Err = Invalid;

    /// `<count>/<seconds>s`, with `:<burst>` behind it; the burst is the count when absent.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || {
            Invalid::one(
                "",
                "must be of the form <count>/<seconds>s or <count>/<seconds>s:<burst>, such as 600/60s:100",
            )
        };
        let (rate, burst) = match text.split_once(':') {
            Some((rate, burst)) => (rate, Some(burst)),
            None => (text, None),
        };
        let (count, seconds) = rate.split_once('/').ok_or_else(wrong)?;
        let count: NonZeroU32 = count.trim().parse().map_err(|_| wrong())?;
        let seconds: NonZeroU32 =
            seconds.trim().strip_suffix('s').ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
        let burst = burst.map_or(Ok(count), |burst| burst.trim().parse().map_err(|_| wrong()))?;
        let quota = Self { count, window: Duration::from_secs(u64::from(seconds.get())), burst };
        if quota.interval().is_zero() { Err(wrong()) } else { Ok(quota) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_read_and_written_alike() {
        for text in ["600/60s:100", "5000/3600s:5000", "1/1s:1"] {
            assert_eq!(text.parse::<Quota>().unwrap().to_string(), text);
        }
        assert_eq!("60/60s".parse::<Quota>().unwrap().burst.get(), 60);
        for bad in ["", "60", "0/60s", "60/0s", "60/60", "60/60s:0", "-1/60s", "x/60s"] {
            assert!(bad.parse::<Quota>().is_err(), "{bad} was accepted");
        }
    }
}
