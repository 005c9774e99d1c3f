//! Who and what the items refer to: people, labels, milestones, the repository itself.

use serde_json::{Value, json};

use super::calendar::{Calendar, DAY};
use super::content::Product;
use crate::dataset::fragments::{API, WEB};
use crate::dataset::person::{id_of, person};
use crate::timestamp::iso;

/// Names and logins, all made up. The last [`OUTSIDERS`] are not in the team.
pub(super) const PEOPLE: [(&str, &str); 12] = [
    ("Marta Lindqvist", "marta-lindqvist"),
    ("Deniz Okafor", "denizokafor"),
    ("Jun Harada", "jharada"),
    ("Priya Venkat", "priyavenkat"),
    ("Tomás Ribeiro", "tribeiro"),
    ("Anneke de Boer", "anneke-db"),
    ("Samuel Oyelaran", "soyelaran"),
    ("Ilse Brandt", "ilsebrandt"),
    ("Nadia Haddad", "nhaddad-dev"),
    ("Oskar Wieczorek", "owieczorek"),
    ("Leah Castellanos", "leahcast"),
    ("Ravi Thakkar", "ravithakkar"),
];
pub(super) const OUTSIDERS: usize = 2;

pub(super) const PRIORITY_LABELS: [&str; 4] =
    ["priority: low", "priority: normal", "priority: high", "priority: urgent"];

const LABELS: [(&str, &str, &str); 11] = [
    ("bug", "d73a4a", "Something does not work"),
    ("enhancement", "a2eeef", "New feature or request"),
    ("maintenance", "c5def5", "No change for users"),
    ("blocked", "b60205", "Waits for somebody else"),
    ("good first issue", "7057ff", "Good for newcomers"),
    ("needs design", "f9d0c4", "Design has to look first"),
    ("customer", "fbca04", "Reported by a customer"),
    ("priority: low", "e6e6e6", "When there is time"),
    ("priority: normal", "bfdadc", "Next in line"),
    ("priority: high", "d93f0b", "This week"),
    ("priority: urgent", "b60205", "Now"),
];

pub(super) const MILESTONES: [&str; 6] = ["2.6", "2.7", "2.8", "3.0", "3.1", "3.2"];

pub(super) fn people() -> Vec<Value> {
    PEOPLE.iter().map(|(_, login)| person(login, id_of(login))).collect()
}

pub(super) fn labels(full_name: &str, product: &Product, first_id: u64) -> Vec<Value> {
    let areas = product.areas.iter().map(|(area, _)| (format!("area: {area}"), "0e8a16", ""));
    let plain = LABELS.iter().map(|(name, color, description)| ((*name).to_owned(), *color, *description));
    let all = plain.chain(areas).zip(first_id..);
    all.map(|((name, color, description), id)| {
        let encoded = name.replace(' ', "%20");
        json!({
            "id": id, "node_id": format!("LA_kwDO{id:08x}"), "name": name, "color": color, "default": false,
            "description": Some(description).filter(|text| !text.is_empty()),
            "url": format!("{API}/repos/{full_name}/labels/{encoded}")
        })
    })
    .collect()
}

/// One milestone a quarter; all but the last two are closed.
pub(super) fn milestones(full_name: &str, calendar: Calendar, first_id: u64) -> Vec<Value> {
    let quarter = calendar.length / 6;
    MILESTONES
        .iter()
        .zip(0_i64..)
        .map(|(title, index)| {
            let (number, id) = (index + 1, first_id + index.unsigned_abs());
            let due = calendar.at((index + 1) * quarter + 5 * DAY);
            let created = calendar.at(index * quarter);
            let closed = index < 4;
            let url = format!("{API}/repos/{full_name}/milestones/{number}");
            json!({
                "url": url, "html_url": format!("{WEB}/{full_name}/milestone/{number}"), "labels_url": format!("{url}/labels"),
                "id": id, "node_id": format!("MI_kwDO{id:08x}"), "number": number, "title": title,
                "description": format!("Everything that ships with {title}"),
                "creator": person(PEOPLE[0].1, id_of(PEOPLE[0].1)), "open_issues": 0, "closed_issues": 0,
                "state": if closed { "closed" } else { "open" },
                "created_at": iso(created), "updated_at": iso(if closed { due } else { created }),
                "due_on": iso(due), "closed_at": closed.then(|| iso(due))
            })
        })
        .collect()
}

/// Schema `full-repository`, without the URLs nobody asks for.
pub(super) fn repository(full_name: &str, id: u64, product: &Product, calendar: Calendar) -> Value {
    let (owner, name) = full_name.split_once('/').unwrap_or(("octo", full_name));
    let mut owner_object = person(owner, id_of(owner));
    owner_object["type"] = json!("Organization");
    let api = format!("{API}/repos/{full_name}");
    json!({
        "id": id, "node_id": format!("R_kgDO{id:08x}"), "name": name, "full_name": full_name, "private": true,
        "owner": owner_object, "html_url": format!("{WEB}/{full_name}"), "description": product.description,
        "fork": false, "url": api, "issues_url": format!("{api}/issues{{/number}}"), "pulls_url": format!("{api}/pulls{{/number}}"),
        "labels_url": format!("{api}/labels{{/name}}"), "milestones_url": format!("{api}/milestones{{/number}}"),
        "issue_comment_url": format!("{api}/issues/comments{{/number}}"), "assignees_url": format!("{api}/assignees{{/user}}"),
        "clone_url": format!("{WEB}/{full_name}.git"), "homepage": null, "language": product.language,
        "default_branch": "main", "visibility": "private", "archived": false, "disabled": false,
        "has_issues": true, "has_projects": true, "has_wiki": false, "is_template": false, "topics": [],
        "forks_count": 0, "stargazers_count": 4, "watchers_count": 4, "size": 18_204, "open_issues_count": 0,
        "license": null, "permissions": {"admin": false, "maintain": false, "push": true, "triage": true, "pull": true},
        "created_at": iso(calendar.at(0)), "updated_at": iso(calendar.at(calendar.length - 1)),
        "pushed_at": iso(calendar.at(calendar.length - 1))
    })
}
