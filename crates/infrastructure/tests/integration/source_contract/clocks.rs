//! Clocks and times: a tracker's clock that is minutes away from ours, and times that know whole minutes only.

use chrono::NaiveDateTime;

use super::store::Installation;
use super::world::{Tracker, trackers};
use super::*;

/// The part of a time that is the same in all of the trackers' ways to write one: `2026-11-21T09:15:03`.
const LENGTH: usize = 19;

/// Changes every time in a text by `change`, which is given whole seconds. Colons may be `%3A`.
fn with_times(text: &str, change: impl Fn(NaiveDateTime) -> NaiveDateTime) -> String {
    let plain = text.replace("%3A", ":");
    let shape = |part: &str| {
        part.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            _ => byte.is_ascii_digit(),
        })
    };
    let (mut out, mut rest) = (String::with_capacity(plain.len()), plain.as_str());
    while let Some(first) = rest.chars().next() {
        let part = rest.get(..LENGTH).filter(|part| shape(part));
        match part.and_then(|part| NaiveDateTime::parse_from_str(part, "%Y-%m-%dT%H:%M:%S").ok()) {
            Some(time) => {
                out.push_str(&change(time).format("%Y-%m-%dT%H:%M:%S").to_string());
                rest = &rest[LENGTH..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// Changes the milliseconds that a search asks from: `updated >= 1763716503123`.
fn with_milliseconds(jql: &str, change: impl Fn(i64) -> i64) -> String {
    let mut out = String::new();
    let mut rest = jql;
    while let Some(at) = rest.find(">= ") {
        let (before, behind) = rest.split_at(at + 3);
        out.push_str(before);
        let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        match behind[..digits].parse::<i64>() {
            Ok(ms) => out.push_str(&change(ms).to_string()),
            Err(_) => out.push_str(&behind[..digits]),
        }
        rest = &behind[digits..];
    }
    out + rest
}

/// Makes the tracker's clock go so far ahead of ours: every time it tells is later, every one it is asked for as well.
fn set_clock_ahead(tracker: &Tracker, ahead: TimeDelta) {
    tracker.proxy.before(move |asked| {
        asked.target = with_times(&asked.target, |time| time - ahead);
        let body = with_milliseconds(asked.text(), |ms| ms - ahead.num_milliseconds());
        asked.body = body.into();
        None
    });
    tracker.proxy.after(move |_, answer| {
        let body = with_times(std::str::from_utf8(&answer.body).unwrap(), |time| time + ahead);
        answer.body = body.into();
        let date = answer.headers.get(header::DATE).and_then(|date| date.to_str().ok());
        if let Some(date) = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) {
            let date = (date + ahead).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            answer.headers.insert(header::DATE, date.parse().unwrap());
        }
    });
}

#[tokio::test]
async fn a_clock_that_is_minutes_ahead_or_behind_loses_no_change() {
    for tracker in trackers().await {
        for minutes in [7, -7] {
            let ahead = TimeDelta::minutes(minutes);
            let what = format!("with a clock {minutes} minutes ahead");
            tracker.page_by_page();
            set_clock_ahead(&tracker, ahead);
            let installation = Installation::of(&tracker).await;
            installation.succeeds(RunKind::Backfill).await;
            installation.assert_is_later(&tracker, ahead, &what).await;
            for round in 0..3 {
                let names: Vec<String> = tracker.there().into_keys().skip(round * 7).step_by(11).collect();
                tracker.world.touch(tracker.control(), &names);
                installation.succeeds(RunKind::Incremental).await;
                installation.assert_is_later(&tracker, ahead, &what).await;
            }
            tracker.proxy.clear();
        }
    }
}

#[tokio::test]
async fn many_items_of_one_minute_are_read_without_loss_where_times_are_whole_minutes() {
    for tracker in trackers().await {
        let whole_minute =
            |time: NaiveDateTime| time - TimeDelta::seconds(time.and_utc().timestamp().rem_euclid(60));
        tracker.page_by_page();
        tracker.proxy.before(move |asked| {
            // As a JQL literal would: the seconds of what is asked for are cut off.
            asked.target = with_times(&asked.target, whole_minute);
            asked.body = with_milliseconds(asked.text(), |ms| ms - ms.rem_euclid(60_000)).into();
            None
        });
        let world = tracker.world.clone();
        tracker.proxy.after(move |asked, answer| {
            if world.asks_items(asked) {
                let body = with_times(std::str::from_utf8(&answer.body).unwrap(), whole_minute);
                answer.body = body.into();
            }
        });
        // Far more than a page, all within the same minute or two.
        let names: Vec<String> = tracker.there().into_keys().take(70).collect();
        tracker.world.touch(tracker.control(), &names);
        let installation = Installation::of(&tracker).await;
        installation.succeeds(RunKind::Backfill).await;
        installation.assert_names(&tracker, "after a backfill in whole minutes").await;
        let more: Vec<String> = tracker.there().into_keys().skip(30).take(60).collect();
        tracker.world.touch(tracker.control(), &more);
        installation.succeeds(RunKind::Incremental).await;
        installation.assert_names(&tracker, "after a sync in whole minutes").await;
        installation.succeeds(RunKind::Reconcile).await;
        installation.assert_names(&tracker, "after a comparison in whole minutes").await;
    }
}

#[test]
fn times_and_milliseconds_are_found_wherever_they_stand() {
    let later = |time: NaiveDateTime| time + TimeDelta::minutes(7);
    assert_eq!(
        with_times("a=2026-11-21T09%3A55%3A03Z&\u{e4} 2026-11-21T09:55:03.123+0000", later),
        "a=2026-11-21T10:02:03Z&\u{e4} 2026-11-21T10:02:03.123+0000"
    );
    assert_eq!(with_times("2026-11-21T09:55", later), "2026-11-21T09:55");
    assert_eq!(with_milliseconds("updated >= 1000 AND x >= y", |ms| ms + 5), "updated >= 1005 AND x >= y");
}
