//! A believable repository out of a seed: a small team's issues and pull requests over
//! eighteen months. Names, people and companies in it are made up.

mod calendar;
mod catalog;
mod content;
mod jira;
mod life;
mod objects;
mod plan;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use serde_json::json;

use crate::dataset::Repository;
use crate::timestamp;
use calendar::Calendar;
use content::{BILLING, MOBILE};
pub use jira::{JiraProject, extremes as jira_extremes, jira, jira_until};
use life::Renderer;

/// A repository with `issues` items, about a third of them pull requests, ending yesterday.
///
/// The same arguments on the same day give the same data. An even seed is a billing
/// service, an odd one a mobile app.
pub fn repository(full_name: &str, seed: u64, issues: usize) -> Repository {
    repository_until(full_name, seed, issues, timestamp::now())
}

/// The same, ending on the day before `end` (seconds since 1970), for tests that must not depend on the date.
pub fn repository_until(full_name: &str, seed: u64, issues: usize, end: i64) -> Repository {
    let calendar = Calendar::until(end);
    let mut rng = SmallRng::seed_from_u64(seed);
    let product = if seed.is_multiple_of(2) { &BILLING } else { &MOBILE };
    // Every repository has its own range of ids, so that two served together never share one.
    let spread =
        full_name.bytes().fold(seed, |hash, byte| hash.wrapping_mul(131).wrapping_add(u64::from(byte)));
    let first_id = 2_000_000_000 + (spread % 100_000) * 10_000_000;
    let object = catalog::repository(full_name, 500_000_000 + spread % 100_000_000, product, calendar);
    let mut repository = Repository::new(full_name, &object);
    repository.people = catalog::people();
    repository.labels = catalog::labels(full_name, product, first_id);
    repository.milestones = catalog::milestones(full_name, calendar, first_id + 100);
    repository.next_id = first_id + 1000;
    let plans = plan::items(&mut rng, product, calendar.length, issues);
    let mut renderer = Renderer::new(&mut repository, calendar, rng);
    for (plan, number) in plans.iter().zip(1..) {
        let item = renderer.item(&mut repository, plan, number);
        repository.insert(item);
    }
    renderer.count_milestones(&mut repository);
    let open = repository.items.values().filter(|item| item.open).count();
    let mut object = repository.value(&repository.object.to_string());
    object["open_issues_count"] = json!(open);
    object["open_issues"] = json!(open);
    repository.fragments.set(repository.object, &object.to_string());
    repository
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: i64 = 1_795_262_103;

    #[test]
    fn the_same_seed_gives_the_same_data_and_another_seed_does_not() {
        let text = |seed| {
            let repository = repository_until("octo/billing", seed, 60, END);
            repository.items.values().map(|item| repository.fragments.expand(&item.issue)).collect::<String>()
        };
        assert_eq!(text(4), text(4));
        assert_ne!(text(4), text(6));
    }

    #[test]
    fn every_object_is_json_and_agrees_with_its_index() {
        let repository = repository_until("octo/billing", 7, 400, END);
        let time = |value: &serde_json::Value| value.as_str().and_then(timestamp::parse_iso);
        for item in repository.items.values() {
            let issue = repository.value(&item.issue);
            assert_eq!(issue["number"], item.number);
            assert_eq!(time(&issue["updated_at"]), Some(item.updated_at));
            assert_eq!(issue["state"] == "open", item.open);
            assert_eq!(issue["comments"], item.comments.len());
            assert_eq!(issue["labels"].as_array().map(Vec::len), Some(item.labels.len()));
            assert_eq!(issue["pull_request"].is_object(), item.pull.is_some());
            assert!(issue["user"]["received_events_url"].is_string(), "{issue}");
            assert!(item.updated_at < END);
            let rows = item.comments.iter().chain(&item.reviews).chain(&item.review_comments);
            for row in rows.chain(&item.timeline) {
                assert!(repository.value(&row.text).is_object(), "{}", row.text);
            }
            if let Some(pull) = &item.pull {
                let full = repository.value(&pull.full());
                assert_ne!(full["id"], issue["id"], "a pull request has an id of its own");
                assert_eq!(full["merged"] == true, full["merged_at"].is_string());
                assert_eq!(full["state"], issue["state"]);
            }
        }
    }

    #[test]
    fn a_repository_has_the_variety_of_a_real_one() {
        let repository = repository_until("octo/app", 3, 600, END);
        assert_eq!(repository.items.len(), 600);
        assert!((150..280).contains(&repository.pull_request_count()));
        let events: std::collections::BTreeSet<&str> =
            repository.items.values().flat_map(|item| &item.timeline).map(|row| &*row.event).collect();
        for event in [
            "labeled",
            "unlabeled",
            "assigned",
            "milestoned",
            "renamed",
            "commented",
            "closed",
            "reopened",
            "cross-referenced",
            "review_requested",
            "reviewed",
            "committed",
            "merged",
            "head_ref_deleted",
            "ready_for_review",
        ] {
            assert!(events.contains(event), "no {event} among {events:?}");
        }
        assert!(repository.items.values().any(|item| !item.review_comments.is_empty()));
        let open = repository.items.values().filter(|item| item.open).count();
        assert!((60..300).contains(&open), "{open} open");
    }
}
