//! Time as a team spends it: weekdays, eight to six, UTC.

/// Seconds of a working day.
pub(super) const DAY: i64 = 10 * 3600;
const WEEKS: i64 = 78;
const MONDAY_OFFSET: i64 = 3; // 1970-01-01 was a Thursday.

/// Maps working seconds since the start to times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calendar {
    first_monday: i64,
    /// Working seconds from the start to the end.
    pub(super) length: i64,
}

impl Calendar {
    /// About eighteen months that end before the day of `end`, given in seconds since 1970.
    pub(super) fn until(end: i64) -> Self {
        let day = end.div_euclid(86_400);
        let weekday = (day + MONDAY_OFFSET).rem_euclid(7);
        let first_monday = day - weekday - WEEKS * 7;
        Self { first_monday, length: (WEEKS * 5 + weekday.min(5)) * DAY }
    }

    pub(super) fn at(self, working: i64) -> i64 {
        let (day, second) = (working.div_euclid(DAY), working.rem_euclid(DAY));
        let (week, weekday) = (day.div_euclid(5), day.rem_euclid(5));
        (self.first_monday + week * 7 + weekday) * 86_400 + 8 * 3600 + second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_works_at_night_or_on_weekends_or_in_the_future() {
        let end = 1_795_262_103; // Saturday 2026-11-21
        let calendar = Calendar::until(end);
        for working in (0..calendar.length).step_by(9_973) {
            let at = calendar.at(working);
            assert!((8..18).contains(&(at.rem_euclid(86_400) / 3600)), "{at}");
            assert!((at.div_euclid(86_400) + MONDAY_OFFSET).rem_euclid(7) < 5, "{at}");
            assert!(at < end);
        }
    }
}
