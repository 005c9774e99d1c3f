//! Every kind of failure: what it is taken for, how long to wait, that no secret is in it, and that the same call works
//! when it is over.

use application::ports::SourceErrorKind as Kind;

use super::proxy::Answer;
use super::world::trackers;
use super::*;

/// What is answered to the first question for items, what that is, and how many seconds to wait.
fn refusals() -> Vec<(Answer, Kind, Option<u64>)> {
    let said = |status: u16| Answer::refusal(status, &format!("no, said the tracker to {TOKEN}"));
    let page = |status: u16| Answer::new(status, "text/html", "<html><h1>Something is wrong</h1></html>");
    let date = "Sat, 21 Nov 2026 12:00:00 GMT";
    let in_date =
        |answer: Answer| answer.with("date", date).with("retry-after", "Sat, 21 Nov 2026 12:01:30 GMT");
    vec![
        (said(400), Kind::Rejected, None),
        (said(401), Kind::Unauthorized, None),
        (page(401), Kind::Unauthorized, None),
        (said(403), Kind::Forbidden, None),
        (page(403), Kind::Forbidden, None),
        (said(404), Kind::NotFound, None),
        (page(404), Kind::NotFound, None),
        (said(410), Kind::Gone, None),
        (said(422), Kind::Rejected, None),
        (said(429).with("retry-after", "7"), Kind::RateLimited, Some(7)),
        (in_date(said(429)), Kind::RateLimited, Some(90)),
        (page(429), Kind::RateLimited, Some(60)),
        (page(429).with("retry-after", "soon"), Kind::RateLimited, Some(60)),
        (page(408), Kind::Unavailable, None),
        (page(425), Kind::Unavailable, None),
        (said(500), Kind::Unavailable, None),
        (page(502), Kind::Unavailable, None),
        (page(503), Kind::Unavailable, None),
        (said(503).with("retry-after", "7"), Kind::Unavailable, Some(7)),
        (in_date(page(503)), Kind::Unavailable, Some(90)),
        (page(504), Kind::Unavailable, None),
        (page(200), Kind::Malformed, None),
        (Answer::new(200, "application/json", "[{\"id\": 1, \"tit"), Kind::Malformed, None),
        (Answer::new(200, "application/json", "{\"data\": [{\"gid\": \"1\""), Kind::Malformed, None),
        (Answer::new(204, "application/json", ""), Kind::Malformed, None),
    ]
}

#[tokio::test]
async fn a_failure_says_what_kind_it_is_and_the_same_call_goes_on_where_it_was() {
    for tracker in trackers().await {
        for (answer, kind, wait) in refusals() {
            let what =
                format!("{}: {} {:?}", tracker.name(), answer.status, String::from_utf8_lossy(&answer.body));
            tracker.page_by_page();
            tracker.on_items(move |count, _| (count == 1 || count == 4).then(|| answer.clone()));
            let read = tracker.read(None, |_| ()).await;
            // 400 to the position of a page may mean that it expired: then the list is begun anew without a word.
            let least = if what.contains("400") { 1 } else { 2 };
            assert!((least..=2).contains(&read.errors.len()), "{what}: {:?}", read.errors);
            for error in &read.errors {
                assert_eq!(error.kind, kind, "{what}: {error:?}");
                assert_eq!(error.retry_after.map(|wait| wait.as_secs()), wait, "{what}: {error:?}");
                let transient = matches!(kind, Kind::RateLimited | Kind::Unavailable | Kind::Malformed);
                assert_eq!(error.kind.is_transient(), transient, "{what}");
                let told = format!("{error:?} {error}");
                assert!(!told.contains(TOKEN), "{what}: the token is told: {told}");
                assert!(!told.contains("<h1>"), "{what}: a page is told: {told}");
                assert!(error.message.len() > 15, "{what}: {told}");
            }
            tracker.assert_are(&read.items, true, &what);
            tracker.proxy.clear();
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_an_outage_and_a_slow_one_is_waited_for() {
    for tracker in trackers().await {
        for (kind, failures) in [
            (FaultKind::Reset, 2),
            (FaultKind::TruncatedBody, 2),
            (FaultKind::Slow { ms: 700 }, 0),
            (FaultKind::ServerError { status: 503 }, 2),
            (FaultKind::UnauthorizedOnce, 2),
        ] {
            let what = format!("{kind:?}");
            tracker.page_by_page();
            let (control, fault) = (tracker.control().clone(), kind.clone());
            tracker.on_items(move |count, asked| {
                if count == 1 || count == 3 {
                    let path_contains = asked.target.split('?').next().map(str::to_owned);
                    let matching = FaultMatch { path_contains, ..FaultMatch::default() };
                    control.add_fault(FaultRule { matching, kind: fault.clone() });
                }
                None
            });
            let read = tracker.read(None, |_| ()).await;
            let expected = if matches!(kind, FaultKind::UnauthorizedOnce) {
                Kind::Unauthorized
            } else {
                Kind::Unavailable
            };
            assert_eq!(read.errors.len(), failures, "{}, {what}: {:?}", tracker.name(), read.errors);
            assert!(
                read.errors.iter().all(|error| error.kind == expected),
                "{}: {:?}",
                tracker.name(),
                read.errors
            );
            tracker.assert_are(&read.items, true, &what);
            tracker.control().clear_faults();
            tracker.proxy.clear();
        }
    }
}
