//! Pages: many of them, the same again, in circles, empty, with rows that were on another one, and cut short. The items
//! in the end are those of the tracker, and nothing is read for ever.

use super::proxy::Answer;
use super::store::Installation;
use super::world::{Tracker, trackers};
use super::*;

/// More requests than any of these walks may take.
const FAR_TOO_MANY: usize = 1_500;

#[tokio::test]
async fn a_backfill_and_a_sweep_bring_the_items_of_the_tracker_and_no_other() {
    for tracker in trackers().await {
        tracker.page_by_page();
        let read = tracker.read(None, |_| ()).await;
        assert!(read.errors.is_empty(), "{}: {:?}", tracker.name(), read.errors);
        assert!(read.all.unmapped.is_empty(), "{}: {:?}", tracker.name(), read.all.unmapped);
        tracker.assert_are(&read.items, true, "read");
        let ids: BTreeSet<String> = read.items.keys().cloned().collect();
        assert_eq!(tracker.sweep().await.unwrap(), ids, "{}", tracker.name());
    }
}

/// Makes every question for items be answered with one of the first answers again, as `which` says by its number;
/// `None` lets it pass.
fn replay(tracker: &Tracker, which: impl Fn(usize) -> Option<usize> + Send + 'static) {
    let (world, mut before, mut count) = (tracker.world.clone(), Vec::<Answer>::new(), 0);
    tracker.proxy.after(move |asked, answer| {
        if !world.asks_items(asked) || answer.status != StatusCode::OK {
            return;
        }
        count += 1;
        match which(count).and_then(|earlier| before.get(earlier - 1)) {
            Some(earlier) => *answer = earlier.clone(),
            None => before.push(answer.clone()),
        }
    });
}

#[tokio::test]
async fn a_page_that_comes_again_costs_no_item() {
    for tracker in trackers().await {
        for (again, of) in [(2, 1), (3, 1), (3, 2), (4, 2)] {
            tracker.page_by_page();
            replay(&tracker, move |count| (count == again).then_some(of));
            let read = tracker.read(None, |_| ()).await;
            let what = format!("page {of} again in place of page {again}");
            assert!(read.errors.len() <= 1, "{}, {what}: {:?}", tracker.name(), read.errors);
            tracker.assert_are(&read.items, true, &what);
            tracker.proxy.clear();
        }
    }
}

#[tokio::test]
async fn pages_that_lead_in_a_circle_end_in_a_clear_error() {
    for tracker in trackers().await {
        // The same one for ever, two by turns, and a circle of five behind a beginning of two.
        for (round, first) in [(1, 0), (2, 0), (5, 2)] {
            let circle =
                move |count: usize| (count > first + round).then(|| first + 1 + (count - 1 - first) % round);
            tracker.page_by_page();
            replay(&tracker, circle);
            let what = format!("{}, a circle of {round}", tracker.name());
            let reading = tokio::time::timeout(Duration::from_secs(60), tracker.try_read());
            let error = reading.await.expect(&what).err().expect(&what);
            assert_eq!(error.kind, SourceErrorKind::Malformed, "{what}: {error}");
            assert!(error.message.contains("does not move on"), "{what}: {error}");
            assert!(tracker.proxy.passed() < FAR_TOO_MANY, "{what}: {} requests", tracker.proxy.passed());
            tracker.proxy.clear();

            tracker.page_by_page();
            replay(&tracker, circle);
            let sweeping = tokio::time::timeout(Duration::from_secs(60), tracker.sweep());
            let error = sweeping.await.expect(&what).expect_err(&what);
            assert_eq!(error.kind, SourceErrorKind::Malformed, "{what}, ids: {error}");
            assert!(tracker.proxy.passed() < FAR_TOO_MANY, "{what}, ids: {}", tracker.proxy.passed());
            tracker.proxy.clear();
        }
    }
}

/// Puts the rows of the page before on each page, and some of its own twice.
async fn double_rows(tracker: &Tracker) {
    tracker.proxy.clear();
    tracker.page_by_page();
    let projects = tracker.adapter.list_projects(&tracker.connection).await.unwrap();
    let (world, mut last) = (tracker.world.clone(), BTreeMap::<usize, Vec<Value>>::new());
    tracker.proxy.after(move |asked, answer| {
        let project = projects.iter().position(|project| world.asks_project(asked, project));
        let Some(project) = project.filter(|_| world.asks_items(asked)) else { return };
        answer.edit(|body| {
            let Some(rows) = world.rows(body) else { return };
            let own = rows.clone();
            rows.splice(0..0, last.remove(&project).unwrap_or_default());
            rows.extend(own.iter().take(3).cloned());
            last.insert(project, own);
        });
    });
}

#[tokio::test]
async fn rows_that_are_on_two_pages_or_twice_on_one_are_stored_once() {
    for tracker in trackers().await {
        let installation = Installation::of(&tracker).await;
        for kind in [RunKind::Backfill, RunKind::Reconcile] {
            double_rows(&tracker).await;
            installation.succeeds(kind).await;
            installation.assert_is(&tracker, kind.as_str()).await;
        }
    }
}

#[tokio::test]
async fn items_that_change_between_pages_are_neither_lost_nor_left_old() {
    for tracker in trackers().await {
        let installation = Installation::of(&tracker).await;
        let mut oldest: Vec<(i64, String)> =
            tracker.there().into_iter().map(|(name, updated)| (updated, name)).collect();
        oldest.sort();
        let moving: Vec<String> = oldest.iter().take(20).map(|(_, name)| name.clone()).collect();
        tracker.page_by_page();
        let (world, control) = (tracker.world.clone(), tracker.control().clone());
        tracker.on_items(move |count, _| {
            // A few each time, those that were read already among them.
            if count % 2 == 0 {
                let from = count % moving.len();
                world.touch(&control, &moving[from..(from + 4).min(moving.len())]);
            }
            None
        });
        installation.succeeds(RunKind::Backfill).await;
        tracker.proxy.clear();
        // What changed behind the walk is brought by the next one.
        installation.succeeds(RunKind::Incremental).await;
        installation.assert_is(&tracker, "after rows moved between pages").await;
    }
}

#[tokio::test]
async fn an_answer_that_lacks_its_list_is_an_error_and_no_end() {
    for tracker in trackers().await {
        for body in [
            "{}",
            "",
            "null",
            "[",
            "<html><body>Welcome to the portal</body></html>",
            "{\"issues\": [], \"isLast\": false}",
        ] {
            // Asana's and GitHub's lists have another form, and Data Center's tells how many there are.
            tracker
                .on_items(move |count, _| (count == 1).then(|| Answer::new(200, "application/json", body)));
            let read = tracker.read(None, |_| ()).await;
            let what = format!("{}: {body:?}", tracker.name());
            let kinds: Vec<_> = read.errors.iter().map(|error| error.kind).collect();
            assert_eq!(kinds, [SourceErrorKind::Malformed], "{what}");
            tracker.assert_are(&read.items, true, body);
            tracker.proxy.clear();
        }
    }
}
