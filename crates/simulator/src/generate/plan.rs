//! The life of an item, before it becomes JSON: who did what at which working second.

use rand::RngExt as _;
use rand::rngs::SmallRng;

use super::calendar::DAY;
use super::catalog::{MILESTONES, OUTSIDERS, PEOPLE, PRIORITY_LABELS};
use super::content::{self, Kind, Product, Topic, pick};

/// An item and everything that happens to it, in no order.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) author: usize,
    pub(super) topic: Topic,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) created: i64,
    pub(super) is_pull: bool,
    pub(super) draft: bool,
    pub(super) happenings: Vec<(i64, usize, Happening)>,
}

/// Something that somebody (the second field of a happening) did.
#[derive(Debug)]
pub(super) enum Happening {
    Labeled(String),
    Unlabeled(String),
    Assigned(usize),
    Milestoned(usize),
    Renamed { from: String, to: String },
    Commented(&'static str),
    Closed { reason: Option<&'static str>, by_merge: bool },
    Reopened,
    CrossReferenced { number: u64, title: String },
    ReviewRequested(usize),
    Committed(String),
    Reviewed { state: &'static str, body: &'static str, notes: Vec<(&'static str, &'static str)> },
    ReadyForReview,
    Merged,
    HeadRefDeleted,
}

/// Plans the items of a repository in order of their numbers, which start at 1.
pub(super) fn items(rng: &mut SmallRng, product: &Product, length: i64, count: usize) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::with_capacity(count);
    // Issues a pull request may still resolve.
    let mut waiting: Vec<usize> = Vec::new();
    let step = (length / i64::try_from(count.max(1)).unwrap_or(1)).max(1);
    for index in 0..count {
        let created = i64::try_from(index).unwrap_or_default() * step + rng.random_range(0..step);
        if rng.random_bool(0.35) {
            let resolves = if waiting.is_empty() || rng.random_bool(0.3) {
                None
            } else {
                Some(waiting.swap_remove(rng.random_range(0..waiting.len())))
            };
            let plan = pull(rng, product, created, resolves.map(|issue| (issue, &plans[issue])));
            if let Some(issue) = resolves {
                resolve(&mut plans[issue], &plan, number(index));
            }
            plans.push(plan);
        } else {
            plans.push(issue(rng, product, created));
            if rng.random_bool(0.6) {
                waiting.push(index);
            }
            if waiting.len() > 40 {
                let left_over = waiting.remove(0);
                close_some_day(rng, &mut plans[left_over]);
            }
            if waiting.last() != Some(&index) {
                close_some_day(rng, &mut plans[index]);
            }
        }
    }
    plans
}

fn number(index: usize) -> u64 {
    index as u64 + 1
}

fn issue(rng: &mut SmallRng, product: &Product, created: i64) -> Plan {
    let topic = content::topic(rng, product);
    let author = person(rng);
    let mut plan = Plan {
        author,
        title: topic.title.clone(),
        body: content::issue_body(rng, &topic, product),
        created,
        is_pull: false,
        draft: false,
        happenings: Vec::new(),
        topic,
    };
    let lead = member(rng);
    label_by_topic(&mut plan, product, lead, created + rng.random_range(60..7200));
    if rng.random_bool(0.6) {
        plan.add(
            created + rng.random_range(3600..DAY),
            lead,
            Happening::Labeled(pick(rng, &PRIORITY_LABELS).into()),
        );
    }
    if rng.random_bool(0.7) {
        let when = created + rng.random_range(3600..3 * DAY);
        let (by, to) = (member(rng), member(rng));
        plan.add(when, by, Happening::Assigned(to));
    }
    if rng.random_bool(0.45) {
        let milestone = created / (13 * 5 * DAY);
        let milestone = usize::try_from(milestone).unwrap_or_default().min(MILESTONES.len() - 1);
        plan.add(created + rng.random_range(7200..4 * DAY), lead, Happening::Milestoned(milestone));
    }
    if rng.random_bool(0.08) {
        let to = std::mem::take(&mut plan.title);
        plan.title = to.split(" when ").next().unwrap_or(&to).to_owned();
        let from = plan.title.clone();
        plan.add(created + rng.random_range(600..DAY), lead, Happening::Renamed { from, to });
    }
    if rng.random_bool(0.12) {
        let when = created + rng.random_range(DAY..8 * DAY);
        plan.add(when, lead, Happening::Labeled("blocked".into()));
        plan.add(when + rng.random_range(DAY..6 * DAY), lead, Happening::Unlabeled("blocked".into()));
    }
    talk(rng, &mut plan, 10);
    plan
}

fn pull(rng: &mut SmallRng, product: &Product, created: i64, resolves: Option<(usize, &Plan)>) -> Plan {
    let created = resolves.map_or(created, |(_, issue)| created.max(issue.created + 1800));
    let topic = resolves.map_or_else(|| content::topic(rng, product), |(_, issue)| issue.topic.clone());
    let author = person(rng);
    let closes = resolves.map(|(issue, _)| number(issue));
    let mut plan = Plan {
        author,
        title: content::change_title(&topic),
        body: content::pull_body(rng, &topic, product, closes),
        created,
        is_pull: true,
        draft: rng.random_bool(0.25),
        happenings: Vec::new(),
        topic,
    };
    label_by_topic(&mut plan, product, author, created + rng.random_range(30..600));
    for commit in 0..rng.random_range(1..5) {
        let message = if commit == 0 { plan.title.clone() } else { "Address review comments".to_owned() };
        plan.add(created + commit * rng.random_range(600..DAY), author, Happening::Committed(message));
    }
    let mut clock = created + rng.random_range(300..5400);
    if plan.draft {
        clock += rng.random_range(3600..3 * DAY);
        plan.add(clock, author, Happening::ReadyForReview);
    }
    let reviewer = other(rng, author);
    plan.add(clock + 60, author, Happening::ReviewRequested(reviewer));
    talk(rng, &mut plan, 4);
    if rng.random_bool(0.4) {
        clock += rng.random_range(1800..2 * DAY);
        let notes = (0..rng.random_range(1..4))
            .map(|_| (content::review_note(rng), content::path(rng, product)))
            .collect();
        let state = if rng.random_bool(0.6) { "changes_requested" } else { "commented" };
        plan.add(clock, reviewer, Happening::Reviewed { state, body: "", notes });
    }
    clock += rng.random_range(1800..3 * DAY);
    match rng.random_range(0..100) {
        0..82 => {
            let body = if rng.random_bool(0.5) { "Looks good to me." } else { "" };
            plan.add(clock, reviewer, Happening::Reviewed { state: "approved", body, notes: Vec::new() });
            clock += rng.random_range(300..DAY);
            plan.add(clock, author, Happening::Merged);
            plan.add(clock, author, Happening::Closed { reason: None, by_merge: true });
            plan.add(clock + 5, author, Happening::HeadRefDeleted);
        }
        82..93 => plan.add(clock + 6 * DAY, author, Happening::Closed { reason: None, by_merge: false }),
        _ => {}
    }
    plan
}

/// The issue hears of the pull request, and closes when that merges.
fn resolve(issue: &mut Plan, pull: &Plan, number: u64) {
    let title = pull.title.clone();
    issue.add(pull.created, pull.author, Happening::CrossReferenced { number, title });
    let merged = pull.happenings.iter().find(|(_, _, what)| matches!(what, Happening::Merged));
    if let Some((when, by, _)) = merged {
        issue.add(*when + 2, *by, Happening::Closed { reason: Some("completed"), by_merge: true });
    }
}

fn close_some_day(rng: &mut SmallRng, plan: &mut Plan) {
    if rng.random_bool(0.2) {
        return;
    }
    let by = member(rng);
    let mut when = plan.created + rng.random_range(DAY / 2..25 * DAY);
    let reason = match rng.random_range(0..100) {
        0..80 => "completed",
        80..95 => "not_planned",
        _ => "duplicate",
    };
    plan.add(when, by, Happening::Closed { reason: Some(reason), by_merge: false });
    if reason == "completed" && rng.random_bool(0.1) {
        when += rng.random_range(DAY..10 * DAY);
        plan.add(when, person(rng), Happening::Reopened);
        when += rng.random_range(DAY..15 * DAY);
        plan.add(when, by, Happening::Closed { reason: Some("completed"), by_merge: false });
    }
}

fn label_by_topic(plan: &mut Plan, product: &Product, by: usize, when: i64) {
    let kind = match plan.topic.kind {
        Kind::Bug => "bug",
        Kind::Feature => "enhancement",
        Kind::Chore => "maintenance",
    };
    plan.add(when, by, Happening::Labeled(kind.to_owned()));
    let area = product.areas[plan.topic.area].0;
    plan.add(when, by, Happening::Labeled(format!("area: {area}")));
}

fn talk(rng: &mut SmallRng, plan: &mut Plan, days: i64) {
    // Most items get a few comments, some many.
    let most = if rng.random_bool(0.1) { 14 } else { 5 };
    for _ in 0..rng.random_range(0..most) {
        let when = plan.created + rng.random_range(600..days * DAY);
        let by = person(rng);
        plan.add(when, by, Happening::Commented(content::reply(rng)));
    }
}

impl Plan {
    fn add(&mut self, when: i64, by: usize, what: Happening) {
        self.happenings.push((when, by, what));
    }
}

fn member(rng: &mut SmallRng) -> usize {
    rng.random_range(0..PEOPLE.len() - OUTSIDERS)
}

/// Anybody; people outside the team now and then.
fn person(rng: &mut SmallRng) -> usize {
    if rng.random_bool(0.15) { rng.random_range(0..PEOPLE.len()) } else { member(rng) }
}

fn other(rng: &mut SmallRng, than: usize) -> usize {
    let one = member(rng);
    if one == than { (one + 1) % (PEOPLE.len() - OUTSIDERS) } else { one }
}
