//! One Jira: its projects, issues and everything they refer to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, ensure};
use axum::body::Bytes;
use serde_json::{Value, json};

use super::catalog::Catalog;
use super::hooks::Hooks;
use super::issue::Issue;
use super::oauth::OAuth;
use crate::timestamp::now_ms;

/// Which of Jira's two products a site is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deployment {
    /// Jira Cloud: REST v3 and v2, account ids, Atlassian Document Format.
    Cloud,
    /// Jira Data Center: REST v2 only, user names and keys, wiki markup.
    DataCenter,
}

/// Who may sign in to a site.
#[derive(Clone)]
pub struct JiraLogin {
    /// With an e-mail address or user name: Basic. Without: Bearer.
    pub user: Option<String>,
    /// The API token, personal access token or access token.
    pub token: String,
    /// Account id (Cloud) or user key (Data Center) that it acts as; the site's first account where absent.
    pub account: Option<String>,
    /// Keys of the projects it sees. `None` is all.
    pub projects: Option<Vec<String>>,
    /// It may look but not change.
    pub read_only: bool,
}

impl JiraLogin {
    /// A login with everything allowed.
    pub fn new(user: Option<&str>, token: &str) -> Self {
        Self {
            user: user.map(str::to_owned),
            token: token.to_owned(),
            account: None,
            projects: None,
            read_only: false,
        }
    }
}

impl std::fmt::Debug for JiraLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JiraLogin")
            .field("user", &self.user)
            .field("account", &self.account)
            .field("projects", &self.projects)
            .finish_non_exhaustive()
    }
}

/// How the site behaves where Jira itself is not of one mind, or can be told.
#[derive(Debug, Clone, Default)]
pub struct JiraSwitches {
    /// A change is found by JQL only so many milliseconds later.
    pub index_lag_ms: i64,
    /// Bulk changelogs tell `created` as seconds since 1970 (as the description's example does), not as ISO 8601.
    pub changelog_epoch_seconds: bool,
    /// Refused basic credentials read as anonymous: 200 with what everybody sees, which is nothing.
    pub anonymous_reads: bool,
    /// At most so many issues on a page of a search, whatever was asked. `None` is Jira's own limits.
    pub page_cap: Option<usize>,
    /// Changes of one issue within a minute before it is refused.
    pub issue_writes_per_minute: Option<usize>,
    /// The most bytes of an attachment; `None` is ten MiB.
    pub upload_limit: Option<u64>,
    /// How long a page token is good, in milliseconds; `None` is seven days.
    pub page_token_ms: Option<i64>,
}

/// A board and what it shows.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    pub(crate) id: u64,
    pub(crate) name: String,
    /// `scrum` or `kanban`; only the first has sprints.
    pub(crate) kind: &'static str,
    /// Ids of projects; the first is its location.
    pub(crate) projects: Vec<String>,
    pub(crate) sprints: Vec<u64>,
}

/// A Jira site, served under `/jira/<name>` and, when it is the first, also under `/`.
#[derive(Debug)]
pub struct JiraSite {
    pub(crate) name: String,
    pub(crate) deployment: Deployment,
    pub(crate) cloud_id: String,
    pub(crate) time_zone: String,
    /// Project objects by id, with `versions` and `components`.
    pub(crate) projects: BTreeMap<u64, Value>,
    issues: BTreeMap<u64, Issue>,
    keys: HashMap<String, u64>,
    order: BTreeSet<(i64, u64)>,
    pub(crate) catalog: Catalog,
    pub(crate) boards: Vec<Board>,
    pub(crate) sprints: BTreeMap<u64, Value>,
    pub(crate) logins: Vec<JiraLogin>,
    /// Accounts (or tokens) whose projects are hidden from now on.
    pub(crate) hidden_projects: BTreeSet<String>,
    pub(crate) archived_projects: BTreeSet<String>,
    pub(crate) worklog_changes: BTreeMap<u64, i64>,
    pub(crate) deleted_worklogs: BTreeMap<u64, i64>,
    pub(crate) oauth: OAuth,
    pub(crate) hooks: Hooks,
    pub(crate) switches: JiraSwitches,
    pub(crate) recent_writes: HashMap<u64, Vec<i64>>,
    /// Contents of files, by their ids.
    pub(crate) files: HashMap<u64, Bytes>,
    /// Progress of bulk operations, by the ids of their tasks, and how often each was asked for.
    pub(crate) tasks: BTreeMap<String, (Value, usize)>,
    next_id: u64,
    last_ms: i64,
}

impl JiraSite {
    /// An empty site.
    pub fn new(name: &str, deployment: Deployment) -> Self {
        let digest = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            name: name.to_owned(),
            deployment,
            cloud_id: format!("{:08x}-5a17-4c0d-8e11-{:012x}", digest >> 32, digest & 0xffff_ffff_ffff),
            time_zone: "Etc/UTC".to_owned(),
            projects: BTreeMap::new(),
            issues: BTreeMap::new(),
            keys: HashMap::new(),
            order: BTreeSet::new(),
            catalog: Catalog::default(),
            boards: Vec::new(),
            sprints: BTreeMap::new(),
            logins: Vec::new(),
            hidden_projects: BTreeSet::new(),
            archived_projects: BTreeSet::new(),
            worklog_changes: BTreeMap::new(),
            deleted_worklogs: BTreeMap::new(),
            oauth: OAuth::default(),
            hooks: Hooks::default(),
            switches: JiraSwitches::default(),
            recent_writes: HashMap::new(),
            files: HashMap::new(),
            tasks: BTreeMap::new(),
            // Above the ids that data sets bring along, of comments and histories as well.
            next_id: 900_000_000,
            last_ms: 0,
        }
    }

    /// Lets somebody in; the first call ends that everybody is let in.
    #[must_use]
    pub fn with_login(mut self, login: JiraLogin) -> Self {
        self.logins.push(login);
        self
    }

    /// The name in its address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id in the gateway's addresses, `/ex/jira/<cloud id>`.
    pub fn cloud_id(&self) -> &str {
        &self.cloud_id
    }

    /// How many issues there are.
    pub fn issue_count(&self) -> usize {
        self.issues.len()
    }

    /// How many comments all issues have.
    pub fn comment_count(&self) -> usize {
        self.issues.values().map(|issue| issue.comments.len()).sum()
    }

    /// How many changelog entries all issues have.
    pub fn history_count(&self) -> usize {
        self.issues.values().map(|issue| issue.histories.len()).sum()
    }

    /// How many entries of changelogs change this field.
    pub fn count_history_items(&self, field: &str) -> usize {
        let items = |history: &Value| {
            let items = history["items"].as_array().into_iter().flatten();
            items.filter(|item| item["field"] == field).count()
        };
        self.issues.values().flat_map(|issue| &issue.histories).map(items).sum()
    }

    /// How many worklogs all issues have.
    pub fn worklog_count(&self) -> usize {
        self.issues.values().map(|issue| issue.worklogs.len()).sum()
    }

    /// How many links the issues show, both ends counted where both issues are here.
    pub fn link_count(&self) -> usize {
        self.issues.values().map(|issue| issue.array("issuelinks").len()).sum()
    }

    /// Ids of the issues that show this link.
    pub(crate) fn linked_by(&self, link: &str) -> Vec<u64> {
        let shows = |issue: &&Issue| issue.array("issuelinks").iter().any(|row| row["id"] == link);
        self.issues.values().filter(shows).map(|issue| issue.id).collect()
    }

    /// How many sprints there are.
    pub fn sprint_count(&self) -> usize {
        self.sprints.len()
    }

    /// Keys of the projects.
    pub fn project_keys(&self) -> Vec<String> {
        self.projects.values().filter_map(|project| Some(project["key"].as_str()?.to_owned())).collect()
    }

    /// Keys of all issues.
    pub fn issue_keys(&self) -> Vec<String> {
        self.issues.values().map(|issue| issue.key.clone()).collect()
    }

    /// Keys of all issues, each with its last change in milliseconds since 1970.
    pub fn issue_times(&self) -> BTreeMap<String, i64> {
        self.issues.values().map(|issue| (issue.key.clone(), issue.updated)).collect()
    }

    pub(crate) fn is_cloud(&self) -> bool {
        self.deployment == Deployment::Cloud
    }

    pub(crate) fn issues(&self) -> impl Iterator<Item = &Issue> {
        self.issues.values()
    }

    pub(crate) fn issues_from(&self, id: u64) -> impl Iterator<Item = &Issue> {
        self.issues.range(id..).map(|(_, issue)| issue)
    }

    pub(crate) fn by_updated(&self, from: i64) -> impl Iterator<Item = &Issue> {
        self.order.range((from, 0)..).filter_map(|(_, id)| self.issues.get(id))
    }

    pub(crate) fn issue(&self, id: u64) -> Option<&Issue> {
        self.issues.get(&id)
    }

    /// By id, key or former key.
    pub(crate) fn find(&self, id_or_key: &str) -> Option<&Issue> {
        let id = match id_or_key.parse() {
            Ok(id) => id,
            Err(_) => *self.keys.get(&id_or_key.to_uppercase())?,
        };
        self.issues.get(&id)
    }

    /// Adds or replaces an issue as it is.
    pub(crate) fn insert(&mut self, issue: Issue) {
        self.keys.insert(issue.key.clone(), issue.id);
        if let Some(old) = self.issues.get(&issue.id) {
            self.order.remove(&(old.updated, old.id));
        }
        self.order.insert((issue.updated, issue.id));
        for worklog in &issue.worklogs {
            self.worklog_changes.insert(worklog.id, worklog.updated);
        }
        self.next_id = self.next_id.max(issue.id + 1);
        self.issues.insert(issue.id, issue);
    }

    /// Changes an issue; it is then newer than everything before.
    pub(crate) fn edit(&mut self, id: u64, change: impl FnOnce(&mut Issue, i64)) -> bool {
        let at = self.tick();
        self.edit_at(id, at, change)
    }

    pub(crate) fn edit_at(&mut self, id: u64, at: i64, change: impl FnOnce(&mut Issue, i64)) -> bool {
        let Some(issue) = self.issues.get_mut(&id) else { return false };
        self.order.remove(&(issue.updated, id));
        issue.touch(at);
        change(issue, at);
        self.order.insert((issue.updated, id));
        true
    }

    /// Changes an issue without it being updated, as some of Jira's changes do.
    pub(crate) fn edit_silently(&mut self, id: u64, change: impl FnOnce(&mut Issue)) {
        if let Some(issue) = self.issues.get_mut(&id) {
            change(issue);
        }
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<Issue> {
        let issue = self.issues.remove(&id)?;
        self.order.remove(&(issue.updated, id));
        self.keys.retain(|_, known| *known != id);
        let at = self.tick();
        for worklog in &issue.worklogs {
            self.worklog_changes.remove(&worklog.id);
            self.deleted_worklogs.insert(worklog.id, at);
        }
        Some(issue)
    }

    pub(crate) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// The site's time: real, but never the same twice.
    pub(crate) fn tick(&mut self) -> i64 {
        self.last_ms = now_ms().max(self.last_ms + 1);
        self.last_ms
    }

    pub(crate) fn project(&self, id_or_key: &str) -> Option<&Value> {
        match id_or_key.parse::<u64>() {
            Ok(id) => self.projects.get(&id),
            Err(_) => self.projects.values().find(|project| {
                project["key"].as_str().is_some_and(|key| key.eq_ignore_ascii_case(id_or_key))
            }),
        }
    }

    /// The next key of a project.
    pub(crate) fn next_key(&self, project: &str) -> String {
        let prefix = format!("{project}-");
        let used = self.keys.keys().filter_map(|key| key.strip_prefix(&prefix)?.parse::<u64>().ok()).max();
        format!("{project}-{}", used.unwrap_or(0) + 1)
    }

    pub(crate) fn board(&self, id: u64) -> Option<&Board> {
        self.boards.iter().find(|board| board.id == id)
    }

    /// Issues change now, in this order. Named by keys.
    pub(crate) fn touch(&mut self, keys: &[String]) -> anyhow::Result<()> {
        for key in keys {
            let id = self.find(key).with_context(|| format!("there is no issue {key}"))?.id;
            self.edit(id, |_, _| ());
        }
        Ok(())
    }

    /// Moves an issue to another project: same id, new key; the old key leads to it.
    pub(crate) fn move_issue(&mut self, key: &str, to: &str) -> anyhow::Result<String> {
        let id = self.find(key).with_context(|| format!("there is no issue {key}"))?.id;
        let target = self.project(to).with_context(|| format!("there is no project {to}"))?;
        let (project, new_key) =
            (target["id"].clone(), self.next_key(target["key"].as_str().unwrap_or_default()));
        self.edit(id, |issue, _| {
            issue.key.clone_from(&new_key);
            issue.fields.insert("project".into(), project);
        });
        self.keys.insert(new_key.clone(), id);
        Ok(new_key)
    }

    /// Deletes an issue. Its links vanish from the others, which are not updated by it.
    pub(crate) fn delete_issue(&mut self, key: &str) -> anyhow::Result<Issue> {
        let id = self.find(key).with_context(|| format!("there is no issue {key}"))?.id;
        let gone = self.remove(id).with_context(|| format!("there is no issue {key}"))?;
        let name = id.to_string();
        for other in self.issues.values_mut() {
            for field in ["issuelinks", "subtasks"] {
                if let Some(rows) = other.fields.get_mut(field).and_then(Value::as_array_mut) {
                    rows.retain(|row| !points_at(row, &name));
                }
            }
        }
        Ok(gone)
    }

    /// Changes a sprint's object, which updates no issue.
    pub(crate) fn edit_sprint(&mut self, id: u64, change: &Value) -> anyhow::Result<()> {
        let sprint = self.sprints.get_mut(&id).with_context(|| format!("there is no sprint {id}"))?;
        let (Some(sprint), Some(change)) = (sprint.as_object_mut(), change.as_object()) else {
            anyhow::bail!("a sprint is an object");
        };
        ensure!(!change.contains_key("id"), "a sprint keeps its id");
        sprint.extend(change.clone());
        Ok(())
    }

    pub(crate) fn add_project(&mut self, project: Value) -> anyhow::Result<()> {
        let id =
            project["id"].as_str().and_then(|id| id.parse().ok()).context("a project has a number as id")?;
        ensure!(project["key"].is_string(), "project {id} has no key");
        self.projects.insert(id, project);
        Ok(())
    }

    /// The account a login acts as.
    pub(crate) fn account<'a>(&'a self, login: &'a JiraLogin) -> &'a str {
        let first = || self.catalog.users.keys().next().map_or("", String::as_str);
        login.account.as_deref().unwrap_or_else(first)
    }

    pub(crate) fn sees(&self, login: &JiraLogin, project: &str) -> bool {
        let Some(project) = self.project(project) else { return false };
        let key = project["key"].as_str().unwrap_or_default();
        let granted = login.projects.as_ref().is_none_or(|keys| keys.iter().any(|one| one == key));
        granted && !self.hidden_projects.contains(key)
    }

    /// The object of a sprint inside an issue's field.
    pub(crate) fn sprint_in_issue(&self, id: u64) -> Value {
        let Some(sprint) = self.sprints.get(&id) else { return Value::Null };
        let mut sprint = sprint.clone();
        if let Some(object) = sprint.as_object_mut() {
            if let Some(board) = object.remove("originBoardId") {
                object.insert("boardId".into(), board);
            }
            object.remove("self");
        }
        sprint
    }
}

fn points_at(row: &Value, id: &str) -> bool {
    let is = |value: &Value| value == id || value["id"] == id;
    is(row) && row.is_string()
        || is(&row["inwardIssue"])
        || is(&row["outwardIssue"])
        || row["id"] == id && row["type"].is_null()
}

/// Adds what a site's description of a project lacks.
pub(crate) fn project_object(id: u64, key: &str, name: &str, description: &str, lead: &str) -> Value {
    json!({
        "id": id.to_string(), "key": key, "name": name, "description": description, "lead": lead,
        "projectTypeKey": "software", "simplified": false, "style": "classic", "isPrivate": false,
        "versions": [], "components": [], "issueTypes": []
    })
}
