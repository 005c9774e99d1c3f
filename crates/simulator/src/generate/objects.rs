//! JSON text of generated objects, with marks for what repeats. Written as text, since
//! twenty thousand issues with their history are made at every start.

use std::fmt::Write as _;

use serde_json::Value;

use super::life::Standing;
use super::plan::Plan;
use crate::dataset::Repository;
use crate::dataset::fragments::{Fragment, REPOSITORY_API as API, REPOSITORY_WEB as WEB};
use crate::dataset::item::Item;
use crate::timestamp::iso;

/// A person who acts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Actor {
    pub(super) object: Fragment,
    pub(super) name: &'static str,
    pub(super) login: &'static str,
    pub(super) association: &'static str,
}

/// What every entry of a history has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event<'a> {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) at: &'a str,
    pub(super) actor: Actor,
}

/// A comment on a line of code.
#[derive(Debug)]
pub(super) struct Note<'a> {
    pub(super) text: &'a str,
    pub(super) path: &'a str,
    pub(super) line: u32,
}

impl Event<'_> {
    /// An event with extra fields, which may replace `commit_id`.
    pub(super) fn with(&self, name: &str, extra: &Value) -> String {
        let commit = extra["commit_id"].as_str();
        let mut text = self.start(name, commit);
        for (key, value) in extra.as_object().into_iter().flatten().filter(|(key, _)| *key != "commit_id") {
            push(&mut text, key, value);
        }
        text.push('}');
        text
    }

    pub(super) fn with_user(&self, name: &str, users: &[(&str, Actor)]) -> String {
        let mut text = self.start(name, None);
        for (key, user) in users {
            push(&mut text, key, user.object);
        }
        text.push('}');
        text
    }

    fn start(&self, name: &str, commit: Option<&str>) -> String {
        let Self { id, at, actor, .. } = self;
        let object = actor.object;
        let commit = commit.map_or_else(
            || r#""commit_id":null,"commit_url":null"#.to_owned(),
            |sha| format!(r#""commit_id":"{sha}","commit_url":"{API}/commits/{sha}""#),
        );
        format!(
            r#"{{"id":{id},"node_id":"EV_lADO{id:08x}","url":"{API}/issues/events/{id}","actor":{object},"event":"{name}",{commit},"created_at":"{at}","performed_via_github_app":null"#
        )
    }

    pub(super) fn comment(&self, body: &str) -> String {
        let Self { id, number, at, actor: Actor { object, association, .. } } = self;
        let (body, reactions) = (quoted(body), reactions(&format!("issues/comments/{id}")));
        format!(
            r#"{{"url":"{API}/issues/comments/{id}","html_url":"{WEB}/issues/{number}#issuecomment-{id}","issue_url":"{API}/issues/{number}","id":{id},"node_id":"IC_kwDO{id:08x}","user":{object},"created_at":"{at}","updated_at":"{at}","author_association":"{association}","body":{body},"reactions":{reactions},"performed_via_github_app":null}}"#
        )
    }

    pub(super) fn commented(&self, body: &str) -> String {
        let mut text = self.comment(body);
        text.pop();
        push(&mut text, "event", r#""commented""#);
        push(&mut text, "actor", self.actor.object);
        text.push('}');
        text
    }

    pub(super) fn cross_referenced(&self, source: u64, title: &str, repository: Fragment) -> String {
        let Self { at, actor, .. } = self;
        let (object, title) = (actor.object, quoted(title));
        let pull = pull_links(source, "null");
        format!(
            r#"{{"actor":{object},"created_at":"{at}","updated_at":"{at}","event":"cross-referenced","source":{{"type":"issue","issue":{{"url":"{API}/issues/{source}","html_url":"{WEB}/pull/{source}","number":{source},"title":{title},"user":{object},"repository":{repository},"pull_request":{pull}}}}}}}"#
        )
    }

    pub(super) fn committed(&self, message: &str) -> String {
        let Self { id, at, actor: Actor { name, login, .. }, .. } = self;
        let (sha, tree, parent) = (sha(*id), sha(id + 7), sha(id + 13));
        let who = format!(r#"{{"name":"{name}","email":"{login}@users.noreply.example.com","date":"{at}"}}"#);
        let message = quoted(message);
        format!(
            r#"{{"sha":"{sha}","node_id":"C_kwDO{sha}","url":"{API}/git/commits/{sha}","html_url":"{WEB}/commit/{sha}","author":{who},"committer":{who},"tree":{{"sha":"{tree}","url":"{API}/git/trees/{tree}"}},"message":{message},"parents":[{{"sha":"{parent}","url":"{API}/git/commits/{parent}","html_url":"{WEB}/commit/{parent}"}}],"verification":{{"verified":false,"reason":"unsigned","signature":null,"payload":null,"verified_at":null}},"event":"committed"}}"#
        )
    }

    /// A review; in the timeline its state is in small letters and it is an event.
    pub(super) fn review(&self, state: &str, body: &str, in_timeline: bool) -> String {
        let Self { id, number, at, actor: Actor { object, association, .. } } = self;
        let (body, sha) = (quoted(body), sha(*id));
        let event = if in_timeline { r#","event":"reviewed""# } else { "" };
        let html = format!("{WEB}/pull/{number}#pullrequestreview-{id}");
        format!(
            r#"{{"id":{id},"node_id":"PRR_kwDO{id:08x}","user":{object},"body":{body},"state":"{state}","html_url":"{html}","pull_request_url":"{API}/pulls/{number}","author_association":"{association}","_links":{{"html":{{"href":"{html}"}},"pull_request":{{"href":"{API}/pulls/{number}"}}}},"submitted_at":"{at}","updated_at":"{at}","commit_id":"{sha}"{event}}}"#
        )
    }

    pub(super) fn review_comment(&self, note: &Note<'_>, review: u64) -> String {
        let Self { id, number, at, actor: Actor { object, association, .. } } = self;
        let Note { text, path, line } = note;
        let (body, sha) = (quoted(text), sha(review));
        let (html, reactions) =
            (format!("{WEB}/pull/{number}#discussion_r{id}"), reactions(&format!("pulls/comments/{id}")));
        let url = format!("{API}/pulls/comments/{id}");
        format!(
            r#"{{"url":"{url}","pull_request_review_id":{review},"id":{id},"node_id":"PRRC_kwDO{id:08x}","diff_hunk":"@@ -{line},6 +{line},9 @@","path":"{path}","commit_id":"{sha}","original_commit_id":"{sha}","user":{object},"body":{body},"created_at":"{at}","updated_at":"{at}","html_url":"{html}","pull_request_url":"{API}/pulls/{number}","author_association":"{association}","_links":{{"self":{{"href":"{url}"}},"html":{{"href":"{html}"}},"pull_request":{{"href":"{API}/pulls/{number}"}}}},"reactions":{reactions},"start_line":null,"original_start_line":null,"start_side":null,"line":{line},"original_line":{line},"side":"RIGHT","original_position":4,"position":4,"subject_type":"line"}}"#
        )
    }
}

/// An item as it stands at the end.
#[derive(Debug)]
pub(super) struct Present<'a> {
    pub(super) standing: &'a Standing,
    pub(super) plan: &'a Plan,
    pub(super) people: &'a [Actor],
    pub(super) labels: String,
    pub(super) milestone: Option<Fragment>,
}

impl Present<'_> {
    fn or_null(value: Option<impl ToString>) -> String {
        value.map_or_else(|| "null".to_owned(), |value| value.to_string())
    }

    fn time(at: Option<i64>) -> String {
        at.map_or_else(|| "null".to_owned(), |at| format!("\"{}\"", iso(at)))
    }

    /// What both forms share, from `title` to `closed_at`.
    fn shared(&self, item: &Item) -> String {
        let author = self.people[self.plan.author];
        let (user, association) = (author.object, author.association);
        let (title, body) = (quoted(&self.standing.title), quoted(&self.plan.body));
        let state = if item.open { "open" } else { "closed" };
        let assignees = self.standing.assignees.iter().map(|index| self.people[*index].object);
        let (assignee, all) = (Self::or_null(assignees.clone().next()), list(assignees));
        let milestone = Self::or_null(self.milestone);
        let closed = Self::time(self.standing.closed.map(|(at, ..)| at));
        let (created, updated, labels) = (iso(item.created_at), iso(item.updated_at), &self.labels);
        format!(
            r#""number":{},"title":{title},"user":{user},"body":{body},"labels":{labels},"state":"{state}","locked":false,"active_lock_reason":null,"assignee":{assignee},"assignees":{all},"milestone":{milestone},"created_at":"{created}","updated_at":"{updated}","closed_at":{closed},"author_association":"{association}""#,
            item.number
        )
    }

    pub(super) fn issue(&self, item: &Item) -> String {
        let Item { number, id, comments, .. } = item;
        let (shared, reactions, comments) =
            (self.shared(item), reactions(&format!("issues/{number}")), comments.len());
        let url = format!("{API}/issues/{number}");
        let closed_by = Self::or_null(self.standing.closed.map(|(_, by, _)| self.people[by].object));
        let reason = match self.standing.closed {
            Some((_, _, reason)) => reason,
            None if self.standing.reopened => Some("reopened"),
            None => None,
        };
        let reason = Self::or_null(reason.map(quoted));
        let (kind, prefix, extra) = if self.plan.is_pull {
            let links = pull_links(*number, &Self::time(self.standing.merged.map(|(at, _)| at)));
            ("pull", "PR", format!(r#","draft":{},"pull_request":{links}"#, self.standing.draft))
        } else {
            let extra = r#","type":null,"sub_issues_summary":{"total":0,"completed":0,"percent_completed":0},"issue_dependencies_summary":{"blocked_by":0,"total_blocked_by":0,"blocking":0,"total_blocking":0}"#;
            ("issues", "I", extra.to_owned())
        };
        format!(
            r#"{{"url":"{url}","repository_url":"{API}","labels_url":"{url}/labels{{/name}}","comments_url":"{url}/comments","events_url":"{url}/events","html_url":"{WEB}/{kind}/{number}","id":{id},"node_id":"{prefix}_kwDO{id:08x}",{shared},"comments":{comments}{extra},"closed_by":{closed_by},"reactions":{reactions},"timeline_url":"{url}/timeline","performed_via_github_app":null,"state_reason":{reason}}}"#
        )
    }

    pub(super) fn pull(&self, item: &Item, id: u64, repository: &Repository) -> String {
        let number = item.number;
        let (shared, url, draft) = (self.shared(item), format!("{API}/pulls/{number}"), self.standing.draft);
        let merged = Self::time(self.standing.merged.map(|(at, _)| at));
        let author = self.people[self.plan.author];
        let (login, user, branch) = (author.login, author.object, branch(number, self.plan));
        let (head, base, merge) = (sha(id), sha(id + 1), sha(id + 2));
        let reviewers = list(self.standing.reviewers.iter().map(|index| self.people[*index].object));
        let repository = repository.object;
        let statuses = format!("{API}/statuses/{head}");
        let issue = format!("{API}/issues/{number}");
        format!(
            r#"{{"url":"{url}","id":{id},"node_id":"PR_kwDO{id:08x}","html_url":"{WEB}/pull/{number}","diff_url":"{WEB}/pull/{number}.diff","patch_url":"{WEB}/pull/{number}.patch","issue_url":"{issue}",{shared},"merged_at":{merged},"merge_commit_sha":"{merge}","requested_reviewers":{reviewers},"requested_teams":[],"draft":{draft},"commits_url":"{url}/commits","review_comments_url":"{url}/comments","review_comment_url":"{API}/pulls/comments{{/number}}","comments_url":"{issue}/comments","statuses_url":"{statuses}","head":{{"label":"{login}:{branch}","ref":"{branch}","sha":"{head}","user":{user},"repo":{repository}}},"base":{{"label":"main","ref":"main","sha":"{base}","user":{user},"repo":{repository}}},"_links":{{"self":{{"href":"{url}"}},"html":{{"href":"{WEB}/pull/{number}"}},"issue":{{"href":"{issue}"}},"comments":{{"href":"{issue}/comments"}},"review_comments":{{"href":"{url}/comments"}},"commits":{{"href":"{url}/commits"}},"statuses":{{"href":"{statuses}"}}}},"auto_merge":null}}"#
        )
    }

    pub(super) fn pull_details(&self, item: &Item, (added, deleted, files): (u32, u32, u32)) -> String {
        let merged_by = self.standing.merged.map(|(_, by)| self.people[by].object);
        let (merged, merged_by) = (merged_by.is_some(), Self::or_null(merged_by));
        let (comments, notes) = (item.comments.len(), item.review_comments.len());
        let (mergeable, mergeable_state) = if item.open { ("true", "clean") } else { ("null", "unknown") };
        let commits = self.standing.commits;
        format!(
            r#"{{"merged":{merged},"mergeable":{mergeable},"rebaseable":{mergeable},"mergeable_state":"{mergeable_state}","merged_by":{merged_by},"comments":{comments},"review_comments":{notes},"maintainer_can_modify":false,"commits":{commits},"additions":{added},"deletions":{deleted},"changed_files":{files}}}"#
        )
    }
}

/// The branch of a pull request: `1042-proration-is-sent-twice`.
pub(super) fn branch(number: u64, plan: &Plan) -> String {
    let words = plan.topic.title.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).take(4).map(str::to_lowercase).collect();
    format!("{number}-{}", words.join("-"))
}

pub(super) fn list(objects: impl Iterator<Item = Fragment>) -> String {
    let objects: Vec<String> = objects.map(|object| object.to_string()).collect();
    format!("[{}]", objects.join(","))
}

/// Forty hex digits that are the same for the same id.
pub(super) fn sha(id: u64) -> String {
    let mixed = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{mixed:016x}{:016x}{:08x}", mixed.rotate_left(23) ^ id, id & 0xffff_ffff)
}

fn pull_links(number: u64, merged_at: &str) -> String {
    format!(
        r#"{{"url":"{API}/pulls/{number}","html_url":"{WEB}/pull/{number}","diff_url":"{WEB}/pull/{number}.diff","patch_url":"{WEB}/pull/{number}.patch","merged_at":{merged_at}}}"#
    )
}

fn reactions(path: &str) -> String {
    format!(
        r#"{{"url":"{API}/{path}/reactions","total_count":0,"+1":0,"-1":0,"laugh":0,"hooray":0,"confused":0,"heart":0,"rocket":0,"eyes":0}}"#
    )
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn push(text: &mut String, key: &str, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(text, r#","{key}":{value}"#);
}
