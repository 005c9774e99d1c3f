//! What happens to an issue, in working time: planned, started, carried over, done.

use rand::RngExt as _;
use rand::rngs::SmallRng;

use super::super::calendar::DAY;
use super::SPRINT;

/// One thing that happens, and who does it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moment {
    Comment(usize),
    Worklog(usize, i64),
    Assign(usize),
    Status(usize, &'static str, Option<&'static str>),
    Sprint(usize, i64),
}

/// In order of time.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) moments: Vec<(i64, Moment)>,
}

const PROGRESS: &str = "10001";
const REVIEW: &str = "10002";
const DONE: &str = "10003";
const FIXED: Option<&str> = Some("10000");
const GIVEN_UP: [Option<&str>; 3] = [Some("10001"), Some("10002"), Some("10003")];

impl Life {
    pub(super) fn plan(rng: &mut SmallRng, epic: bool, created: i64, now: i64, people: usize) -> Self {
        let mut moments: Vec<(i64, Moment)> = Vec::new();
        let who = rng.random_range(0..people);
        for _ in 0..rng.random_range(0..6) {
            let at = created + rng.random_range(DAY / 10..15 * DAY);
            moments.push((at, Moment::Comment(rng.random_range(0..people))));
        }
        if !epic && rng.random_bool(0.08) {
            let at = created + rng.random_range(DAY..20 * DAY);
            let why = GIVEN_UP[rng.random_range(0..GIVEN_UP.len())];
            moments.push((at, Moment::Status(who, DONE, why)));
        } else if epic {
            moments.push((created + DAY, Moment::Assign(who)));
            moments.push((created + 2 * DAY, Moment::Status(who, PROGRESS, None)));
        } else if rng.random_bool(0.85) {
            Self::work(rng, &mut moments, created, who);
        }
        moments.retain(|(at, _)| *at < now);
        moments.sort_by_key(|(at, _)| *at);
        Self { moments }
    }

    fn work(rng: &mut SmallRng, moments: &mut Vec<(i64, Moment)>, created: i64, who: usize) {
        let first = created / SPRINT + rng.random_range(1..3);
        let start = first * SPRINT;
        // Before the sprint starts, where there is time.
        moments.push(((start - DAY / 2).max(created + 60), Moment::Sprint(who, first)));
        moments.push((start + rng.random_range(60..DAY), Moment::Assign(who)));
        let begun = start + rng.random_range(DAY..5 * DAY);
        moments.push((begun, Moment::Status(who, PROGRESS, None)));
        let sprints = rng.random_range(0..10);
        let carried = match sprints {
            0..6 => 0,
            6..9 => 1,
            _ => 2,
        };
        for number in 1..=carried {
            moments.push(((first + number) * SPRINT + 30, Moment::Sprint(who, first + number)));
        }
        let last = (first + carried) * SPRINT;
        let review = last.max(begun) + rng.random_range(DAY / 2..3 * DAY);
        moments.push((review, Moment::Status(who, REVIEW, None)));
        for _ in 0..rng.random_range(0..3) {
            moments
                .push((rng.random_range(begun..review), Moment::Worklog(who, rng.random_range(2..30) * 10)));
        }
        let done = review + rng.random_range(DAY / 4..DAY);
        moments.push((done, Moment::Status(who, DONE, FIXED)));
        if rng.random_bool(0.06) {
            moments.push((done + DAY, Moment::Status(who, PROGRESS, None)));
            moments.push((done + 3 * DAY, Moment::Status(who, DONE, FIXED)));
        }
    }
}
