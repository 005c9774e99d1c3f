//! A believable Jira out of a seed: teams with epics, sprints, worklogs and changelogs that end where the issues stand.

mod extremes;
mod life;
mod text;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value, json};

use super::calendar::{Calendar, DAY};
use super::catalog::PEOPLE;
use super::content::{self, BILLING, Kind, MOBILE, Product};
use crate::jira::{Board, Catalog, Deployment, Entry, Issue, JiraSite, iso, project_object, zulu};
use crate::timestamp;
pub use extremes::extremes;
use life::{Life, Moment};

/// Working time of a sprint: two weeks.
const SPRINT: i64 = 10 * DAY;

/// A project to make: key, seed, number of issues.
pub type JiraProject<'a> = (&'a str, u64, usize);

/// A site with these projects, ending yesterday. The same arguments on the same day give the same data.
pub fn jira(name: &str, deployment: Deployment, projects: &[JiraProject<'_>]) -> JiraSite {
    jira_until(name, deployment, projects, timestamp::now())
}

/// The same, ending on the day before `end` (seconds since 1970).
pub fn jira_until(name: &str, deployment: Deployment, projects: &[JiraProject<'_>], end: i64) -> JiraSite {
    let cloud = deployment == Deployment::Cloud;
    let mut site = JiraSite::new(name, deployment);
    site.catalog = Catalog::standard(cloud);
    let people: Vec<String> =
        PEOPLE.iter().map(|(name, login)| add_person(&mut site, name, login, cloud)).collect();
    options(&mut site);
    let mut first_id = 10_000;
    for (index, (key, seed, count)) in projects.iter().enumerate() {
        let product = if seed.is_multiple_of(2) { &BILLING } else { &MOBILE };
        let mut team = Team {
            site: &mut site,
            people: &people,
            product,
            calendar: Calendar::until(end),
            rng: SmallRng::seed_from_u64(*seed),
            cloud,
            key,
            project: 10_000 + index as u64,
            board: 1 + index as u64,
            next_entry: 1_000_000 + index as u64 * 10_000_000,
            epics: Vec::new(),
            parents: Vec::new(),
        };
        team.frame();
        team.issues(first_id, *count);
        first_id += *count as u64;
    }
    site
}

fn add_person(site: &mut JiraSite, name: &str, login: &str, cloud: bool) -> String {
    let digest =
        login.bytes().fold(0x5a17_u64, |hash, byte| hash.wrapping_mul(1_099_511_628_211) ^ u64::from(byte));
    let (id, user) = if cloud {
        let id = format!("712020:{digest:016x}");
        let user = json!({
            "accountId": id, "accountType": "atlassian", "displayName": name, "active": true, "timeZone": "Etc/UTC",
            "emailAddress": format!("{login}@example.org")
        });
        (id, user)
    } else {
        let id = format!("JIRAUSER{}", 10_000 + digest % 80_000);
        let user = json!({
            "key": id, "name": login, "displayName": name, "active": true, "timeZone": "Etc/UTC",
            "emailAddress": format!("{login}@example.org")
        });
        (id, user)
    };
    site.catalog.users.insert(id.clone(), user);
    id
}

const TEAMS: [&str; 3] = ["Core", "Growth", "Platform"];
const SEVERITIES: [&str; 3] = ["Minor", "Major", "Critical"];
const CUSTOMERS: [&str; 4] = ["Northwind", "Initech", "Umbrella Stores", "Contoso"];

/// Puts the options of the select fields into their definitions.
fn options(site: &mut JiraSite) {
    for (name, values, first) in [
        ("Team", &TEAMS[..], 10_100),
        ("Severity", &SEVERITIES[..], 10_110),
        ("Customers", &CUSTOMERS[..], 10_120),
    ] {
        let rows: Vec<Value> = values
            .iter()
            .zip(first..)
            .map(|(value, id)| json!({"id": id.to_string(), "value": value}))
            .collect();
        if let Some(field) = site.catalog.fields.iter_mut().find(|field| field["name"] == name) {
            field["options"] = json!(rows);
        }
    }
}

/// One project under way.
struct Team<'a> {
    site: &'a mut JiraSite,
    people: &'a [String],
    product: &'static Product,
    calendar: Calendar,
    rng: SmallRng,
    cloud: bool,
    key: &'a str,
    project: u64,
    board: u64,
    /// Ids of comments, worklogs and changelog entries.
    next_entry: u64,
    epics: Vec<u64>,
    parents: Vec<u64>,
}

impl Team<'_> {
    fn ms(&self, working: i64) -> i64 {
        self.calendar.at(working) * 1000 + working.rem_euclid(997)
    }

    fn entry_id(&mut self) -> u64 {
        self.next_entry += 1;
        self.next_entry
    }

    fn pick_person(&mut self) -> usize {
        self.rng.random_range(0..self.people.len())
    }

    /// The project with its versions and components, its board and sprints.
    fn frame(&mut self) {
        let Product { name, description, .. } = self.product;
        let mut project = project_object(self.project, self.key, name, description, &self.people[0]);
        let base = self.project * 100;
        let components = self
            .product
            .areas
            .iter()
            .zip(0..)
            .map(|((area, _), n)| json!({"id": (base + n).to_string(), "name": area}));
        project["components"] = components.collect();
        let versions = ["2.8", "3.0", "3.1", "3.2"].iter().zip(0..).map(|(name, n)| {
            let released = n < 2;
            json!({"id": (base + 50 + n).to_string(), "name": name, "archived": false, "released": released, "description": ""})
        });
        project["versions"] = versions.collect();
        // The key is new: a site's projects are made once each.
        let _ = self.site.add_project(project);
        let mut sprints = Vec::new();
        for number in 0..=self.calendar.length / SPRINT + 1 {
            let (start, end) = (number * SPRINT, (number + 1) * SPRINT);
            let state = match self.calendar.length {
                now if end <= now => "closed",
                now if start <= now => "active",
                _ => "future",
            };
            let id = self.sprint_id(number);
            let mut sprint = json!({
                "id": id, "name": format!("{} Sprint {}", self.key, number + 1), "state": state,
                "originBoardId": self.board, "goal": content::pick(&mut self.rng, &["", "Fewer retries", "Ready for audit"])
            });
            if state != "future" {
                sprint["startDate"] = json!(zulu(self.ms(start)));
                sprint["endDate"] = json!(zulu(self.ms(end - 1)));
            }
            if state == "closed" {
                sprint["completeDate"] = json!(zulu(self.ms(end - 1)));
            }
            self.site.sprints.insert(id, sprint);
            sprints.push(id);
        }
        self.site.boards.push(Board {
            id: self.board,
            name: format!("{} board", self.key),
            kind: "scrum",
            projects: vec![self.project.to_string()],
            sprints,
        });
    }

    const fn sprint_id(&self, number: i64) -> u64 {
        self.board * 1000 + number.unsigned_abs() + 1
    }

    fn issues(&mut self, first_id: u64, count: usize) {
        let epics = if count < 5 { 0 } else { count / 25 + 1 };
        for index in 0..count {
            let id = first_id + index as u64;
            let share = index.saturating_sub(epics) as f64 / count.max(1) as f64;
            #[expect(clippy::cast_possible_truncation, reason = "seconds of eighteen months")]
            let created = if index < epics {
                index as i64 * 60
            } else {
                (share * (self.calendar.length - DAY) as f64) as i64
            };
            let kind = if index < epics {
                "10001"
            } else if !self.parents.is_empty() && self.rng.random_bool(0.08) {
                "10005"
            } else {
                ""
            };
            let created = created + self.rng.random_range(1..DAY / 4);
            let issue = self.issue(id, index + 1, kind, created);
            self.site.insert(issue);
        }
        self.links(first_id, count);
    }

    fn issue(&mut self, id: u64, number: usize, kind: &str, created: i64) -> Issue {
        let topic = content::topic(&mut self.rng, self.product);
        let body = content::issue_body(&mut self.rng, &topic, self.product);
        let kind = match (kind, topic.kind) {
            ("", Kind::Bug) => "10004",
            ("", Kind::Feature) => "10002",
            ("", Kind::Chore) => "10003",
            (given, _) => given,
        };
        let reporter = self.pick_person();
        let life =
            Life::plan(&mut self.rng, kind == "10001", created, self.calendar.length, self.people.len());
        let mut fields = Map::new();
        let (area, base) = (topic.area as u64, self.project * 100);
        for (name, value) in [
            ("project", json!(self.project.to_string())),
            ("issuetype", json!(kind)),
            ("summary", json!(topic.title)),
            ("description", text::rich(&body, self.cloud)),
            ("status", json!("10000")),
            ("priority", json!(content::pick(&mut self.rng, &["1", "2", "3", "3", "3", "4", "5"]))),
            ("creator", json!(self.people[reporter])),
            ("reporter", json!(self.people[reporter])),
            ("labels", json!([self.product.areas[topic.area].0])),
            ("components", json!([(base + area).to_string()])),
            ("created", json!(iso(self.ms(created)))),
            ("updated", json!(iso(self.ms(created)))),
            ("issuelinks", json!([])),
            ("subtasks", json!([])),
        ] {
            fields.insert(name.to_owned(), value);
        }
        if self.rng.random_bool(0.3) {
            let version = base + 50 + self.rng.random_range(0..4);
            fields.insert("fixVersions".into(), json!([version.to_string()]));
        }
        if kind != "10001" && kind != "10005" {
            self.custom(&mut fields);
            let has_epic = self.rng.random_bool(0.4);
            if let Some(epic) = has_epic.then(|| recent(&mut self.rng, &self.epics)).flatten() {
                let key = self.site.issue(epic).map(|epic| epic.key.clone());
                match self.cloud {
                    true => fields.insert("parent".into(), json!(epic.to_string())),
                    false => fields.insert("customfield_10100".into(), json!(key)),
                };
            }
            self.parents.push(id);
        } else if kind == "10001" {
            self.epics.push(id);
        } else if let Some(parent) = recent(&mut self.rng, &self.parents) {
            fields.insert("parent".into(), json!(parent.to_string()));
            self.site.edit_silently(parent, |parent| {
                if let Some(list) = parent.fields.get_mut("subtasks").and_then(Value::as_array_mut) {
                    list.push(json!(id.to_string()));
                }
            });
        }
        let mut issue = Issue::new(id, &format!("{}-{number}", self.key), fields);
        for (at, moment) in life.moments {
            self.happen(&mut issue, at, moment);
        }
        issue
    }

    fn custom(&mut self, fields: &mut Map<String, Value>) {
        let points = if self.cloud { "customfield_10016" } else { "customfield_10106" };
        let option = |rng: &mut SmallRng, values: &[&str], first: usize| {
            let index = rng.random_range(0..values.len());
            json!({"id": (first + index).to_string(), "value": values[index]})
        };
        if self.rng.random_bool(0.7) {
            fields
                .insert(points.into(), json!(content::pick(&mut self.rng, &[0.5, 1.0, 2.0, 3.0, 5.0, 8.0])));
        }
        fields.insert("customfield_10030".into(), option(&mut self.rng, &TEAMS, 10_100));
        if self.rng.random_bool(0.5) {
            fields.insert("customfield_10031".into(), option(&mut self.rng, &SEVERITIES, 10_110));
        }
        if self.rng.random_bool(0.2) {
            fields.insert("customfield_10032".into(), json!([option(&mut self.rng, &CUSTOMERS, 10_120)]));
        }
        if self.rng.random_bool(0.2) {
            let reviewer = self.pick_person();
            fields.insert("customfield_10035".into(), json!(self.people[reviewer]));
        }
        if self.rng.random_bool(0.1) {
            fields.insert(
                "customfield_10033".into(),
                text::rich("Customers see the **new total** at once.", self.cloud),
            );
        }
    }

    /// Lets something happen: the state changes, and the changelog tells it.
    fn happen(&mut self, issue: &mut Issue, at: i64, moment: Moment) {
        let ms = self.ms(at);
        let stamp = json!(iso(ms));
        let (author, items) = match moment {
            Moment::Comment(who) => {
                let id = self.entry_id();
                let body = text::rich(content::reply(&mut self.rng), self.cloud);
                let value = json!({
                    "id": id.to_string(), "author": self.people[who], "updateAuthor": self.people[who], "body": body,
                    "created": stamp, "updated": stamp, "jsdPublic": true
                });
                issue.comments.push(Entry { id, updated: ms, value });
                (who, Vec::new())
            }
            Moment::Worklog(who, minutes) => {
                let id = self.entry_id();
                let value = json!({
                    "id": id.to_string(), "author": self.people[who], "updateAuthor": self.people[who],
                    "created": stamp, "updated": stamp, "started": iso(ms - minutes * 60_000),
                    "timeSpentSeconds": minutes * 60, "timeSpent": format!("{minutes}m")
                });
                issue.worklogs.push(Entry { id, updated: ms, value });
                (who, Vec::new())
            }
            Moment::Assign(who) => {
                let item = self.reference(issue, "assignee", &json!(self.people[who]));
                (who, vec![item])
            }
            Moment::Status(who, status, resolution) => {
                let mut items = vec![self.reference(issue, "status", &json!(status))];
                issue.fields.insert("statuscategorychangedate".into(), stamp.clone());
                if issue.reference("resolution").as_deref() != resolution {
                    items.push(self.reference(issue, "resolution", &json!(resolution)));
                    issue.fields.insert(
                        "resolutiondate".into(),
                        if resolution.is_some() { stamp.clone() } else { Value::Null },
                    );
                }
                (who, items)
            }
            Moment::Sprint(who, number) => (who, vec![self.sprint(issue, number)]),
        };
        issue.fields.insert("updated".into(), stamp.clone());
        issue.updated = ms;
        if !items.is_empty() {
            let id = self.entry_id().to_string();
            issue
                .histories
                .push(json!({"id": id, "author": self.people[author], "created": stamp, "items": items}));
        }
    }

    fn reference(&self, issue: &mut Issue, field: &str, to: &Value) -> Value {
        let name = |id: &Value| {
            let object = self.site.catalog.of(field).and_then(|objects| objects.get(id.as_str()?));
            object.map_or(Value::Null, |one| {
                if field == "assignee" { one["displayName"].clone() } else { one["name"].clone() }
            })
        };
        let from = issue.fields.insert(field.to_owned(), to.clone()).unwrap_or_default();
        json!({
            "field": field, "fieldtype": "jira", "fieldId": field,
            "from": from, "fromString": name(&from), "to": to, "toString": name(to)
        })
    }

    /// Into a sprint; those before stay, closed.
    fn sprint(&self, issue: &mut Issue, number: i64) -> Value {
        let field = if self.cloud { "customfield_10020" } else { "customfield_10104" };
        let before: Vec<u64> = issue.array(field).iter().filter_map(Value::as_u64).collect();
        let after: Vec<u64> = before.iter().copied().chain([self.sprint_id(number)]).collect();
        let ids = |list: &[u64]| list.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let names = |list: &[u64]| {
            let name =
                |id: &u64| self.site.sprints.get(id).and_then(|one| one["name"].as_str()).unwrap_or_default();
            list.iter().map(name).collect::<Vec<_>>().join(", ")
        };
        let item = json!({
            "field": "Sprint", "fieldtype": "custom", "fieldId": field, "from": ids(&before),
            "fromString": names(&before), "to": ids(&after), "toString": names(&after)
        });
        issue.fields.insert(field.into(), json!(after));
        item
    }

    /// Links between issues that are near each other, told by both.
    fn links(&mut self, first_id: u64, count: usize) {
        for index in 1..count {
            if !self.rng.random_bool(0.12) {
                continue;
            }
            let (own, other) = (
                first_id + index as u64,
                first_id + self.rng.random_range(index.saturating_sub(30)..index) as u64,
            );
            let kind = content::pick(&mut self.rng, &["10000", "10002", "10003", "10003"]);
            let id = self.entry_id().to_string();
            for (from, side, to) in [(own, "outwardIssue", other), (other, "inwardIssue", own)] {
                let row = json!({"id": id, "type": kind, side: to.to_string()});
                self.site.edit_silently(from, |issue| {
                    if let Some(list) = issue.fields.get_mut("issuelinks").and_then(Value::as_array_mut) {
                        list.push(row);
                    }
                });
            }
        }
    }
}

/// One of the last.
fn recent(rng: &mut SmallRng, of: &[u64]) -> Option<u64> {
    let recent = &of[of.len().saturating_sub(40)..];
    (!recent.is_empty()).then(|| recent[rng.random_range(0..recent.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: i64 = 1_795_262_103;

    #[test]
    fn changelogs_end_where_the_issues_stand_and_carry_over_is_among_them() {
        let site = jira_until("acme", Deployment::Cloud, &[("ENG", 4, 300), ("APP", 5, 100)], END);
        assert_eq!(site.issue_count(), 400);
        let mut carried = 0;
        for issue in site.issues() {
            for (field, of) in [("status", "status"), ("assignee", "assignee")] {
                let mut items = issue.histories.iter().flat_map(|one| one["items"].as_array().unwrap());
                let last = items.rfind(|item| item["fieldId"] == field);
                if let Some(item) = last {
                    assert_eq!(item["to"].as_str().map(str::to_owned), issue.reference(of), "{}", issue.key);
                }
            }
            let items: Vec<&Value> = issue
                .histories
                .iter()
                .flat_map(|one| one["items"].as_array().unwrap())
                .filter(|item| item["field"] == "Sprint")
                .collect();
            let ids = issue
                .array("customfield_10020")
                .iter()
                .map(|id| id.to_string())
                .collect::<Vec<_>>()
                .join(", ");
            assert_eq!(items.last().map_or("", |item| item["to"].as_str().unwrap()), ids);
            carried += usize::from(items.len() > 1);
            assert!(issue.updated / 1000 < END && issue.created <= issue.updated, "{}", issue.key);
            let times: Vec<&str> =
                issue.histories.iter().map(|one| one["created"].as_str().unwrap()).collect();
            assert!(times.is_sorted(), "{times:?}");
        }
        assert!(carried > 20, "{carried}");
        assert!(site.worklog_count() > 50 && site.comment_count() > 200 && site.link_count() > 40);
    }

    #[test]
    fn the_same_seed_gives_the_same_data_and_another_seed_does_not() {
        let text = |seed| {
            let site = jira_until("acme", Deployment::DataCenter, &[("ENG", seed, 60)], END);
            site.issues().map(|issue| json!([issue.fields, issue.histories]).to_string()).collect::<String>()
        };
        assert_eq!(text(4), text(4));
        assert_ne!(text(4), text(6));
    }
}
