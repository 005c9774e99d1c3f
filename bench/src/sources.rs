//! The trackers that are measured: what the simulator is told to serve, how Patchbay is told to read it, what one can do
//! at least with the pages, and how few requests could do.

use serde_json::{Value, json};

/// A tracker's part in the benchmarks.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) label: &'static str,
    kind: &'static str,
    /// How many items are generated, and in shorter measurements.
    pub(crate) items: u32,
    /// What the simulator takes for a world of so many items, `COUNT` in its place.
    world: (&'static str, &'static str),
    /// Where its API is, behind the tracker's address.
    path: &'static str,
    credentials: fn() -> Value,
    settings: fn() -> Value,
    /// One `INSERT` for each kind of row that the pages hold; `None` where only requests are counted.
    pub(crate) limit: Option<&'static str>,
    /// The fewest requests that could bring everything that was read, counted in the database after the backfill.
    pub(crate) least: &'static str,
}

/// The items alone, 100 a page: `ceil(items / 100)`. The repository is asked for once.
const GITHUB_LEAST: &str = "select 1 + ceil(count(*) / 100.0) from work_items";

/// The repository, and 100 a page of labels, milestones and people. Items come 100 a page. History and comments of an
/// item are one timeline of at most 100 entries; a pull request's size and merge are told by itself alone; reviews and
/// comments on lines are in the timeline, without the comments' text and place, which come 100 a page for the repository.
const GITHUB_ALL_LEAST: &str = "select 4 + ceil(count(*) / 100.0) + count(*)
    + (select count(*) from pull_requests)
    + (select ceil(count(*) / 100.0) from comments where kind = 'review_comment') from work_items";

/// Fields, statuses, the project, its boards and its sprints, once each. Issues come 100 a page where more than ids are
/// asked for, with up to 20 comments and worklogs inside; changelogs come for 1,000 issues at once.
const JIRA_LEAST: &str = "select 5 + ceil(count(*) / 100.0) + ceil(count(*) / 1000.0) from work_items";

/// People and workspaces once; each project with its fields and the first token for its events. Tasks come 100 a page of a
/// project. Parts of a task are in no list but its own, and stories come by task.
const ASANA_LEAST: &str = "select 2 + (select 3 * count(*) from projects)
    + (select sum(ceil(top / 100.0)) from (select count(*) as top from work_items
        where parent_ref_key is null group by project_source_id) as t)
    + (select count(distinct parent_ref_key) from work_items) + count(*) from work_items";

/// Items alone.
pub(crate) const GITHUB: Source = Source {
    label: "github",
    kind: "github",
    items: 20_000,
    world: ("--generate", "acme/app:COUNT:1"),
    path: "",
    credentials: || json!({"kind": "token", "token": "bench"}),
    settings: || json!({"repositories": ["acme/app"], "streams": ["issues"]}),
    limit: Some(include_str!("../sql/sync_limit_github.sql")),
    least: GITHUB_LEAST,
};

/// With history, reviews and comments, which GitHub gives item by item.
pub(crate) const GITHUB_ALL: Source = Source {
    label: "github, all streams",
    items: 2_000,
    settings: || json!({"repositories": ["acme/app"]}),
    limit: None,
    least: GITHUB_ALL_LEAST,
    ..GITHUB
};

/// Jira Cloud with changelogs, comments, worklogs, sprints.
pub(crate) const JIRA: Source = Source {
    label: "jira",
    kind: "jira",
    items: 10_000,
    world: ("--jira", "bench:cloud:ENG:COUNT:4"),
    path: "/jira/bench",
    credentials: || json!({"kind": "basic", "email": "bench@example.org", "token": "bench"}),
    settings: || json!({"projects": ["ENG"]}),
    limit: Some(include_str!("../sql/sync_limit_jira.sql")),
    least: JIRA_LEAST,
};

/// Asana with parts of tasks and stories; so many tasks, and about 60 % more that are parts of them.
pub(crate) const ASANA: Source = Source {
    label: "asana",
    kind: "asana",
    items: 3_000,
    world: ("--asana", "Bench:COUNT:7"),
    path: "/api/1.0",
    credentials: || json!({"kind": "token", "token": "bench"}),
    settings: || json!({}),
    limit: Some(include_str!("../sql/sync_limit_asana.sql")),
    least: ASANA_LEAST,
};

/// Those of the backfill, in the order they are shown.
pub(crate) const ALL: [&Source; 4] = [&GITHUB, &GITHUB_ALL, &JIRA, &ASANA];

impl Source {
    /// What the simulator is started with.
    pub(crate) fn world(&self, items: u32) -> [String; 2] {
        [self.world.0.to_owned(), self.world.1.replace("COUNT", &items.to_string())]
    }

    /// The instance, read from the tracker at this address.
    pub(crate) fn instance(&self, tracker: &str) -> Value {
        json!({
            "source": self.kind, "name": "bench", "base_url": format!("{tracker}{}", self.path),
            "credentials": (self.credentials)(), "settings": (self.settings)(),
        })
    }
}
