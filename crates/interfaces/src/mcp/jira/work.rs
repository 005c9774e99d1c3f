//! The set `work`: time booked, and who watches.

use application::Ctx;
use application::ports::ItemWrite;
use domain::{NewWorklog, TimeSpent, Watching};
use serde_json::{Map, Value};

use super::super::outcome::{Answer, Failure};
use super::arguments::{flag, issue_key, moment, needed, only, owned};
use super::schemas::work::{ADD_WORKLOG, SET_WATCHER};
use super::tools::{FIELD, JiraTools};
use super::writes::TEXT;

type Arguments = Map<String, Value>;

/// Characters of a span.
const SPAN: usize = 40;

impl JiraTools {
    pub(super) async fn work(&self, ctx: &Ctx, name: &str, given: &Arguments) -> Result<Answer, Failure> {
        match name {
            ADD_WORKLOG => self.add_worklog(ctx, given).await,
            SET_WATCHER => self.set_watcher(ctx, given).await,
            _ => Err(Failure::UnknownTool(name.to_owned())),
        }
    }

    async fn add_worklog(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(given, &["key", "time_spent", "started", "comment", "idempotency_key", "dry_run", "instance"])?;
        let Some(spent) = TimeSpent::parse(&needed(given, "time_spent", SPAN)?) else {
            return Err(Failure::invalid(
                "/time_spent",
                "must be whole weeks, days, hours and minutes, the longest first, like 1h 30m or 2d",
            ));
        };
        let worklog =
            NewWorklog { spent, started: moment(given, "started")?, comment: owned(given, "comment", TEXT)? };
        self.write(ctx, given, ItemWrite::Worklog(issue_key(given)?, worklog)).await
    }

    async fn set_watcher(&self, ctx: &Ctx, given: &Arguments) -> Result<Answer, Failure> {
        only(given, &["key", "user", "watching", "dry_run", "instance"])?;
        let watching = Watching {
            user: needed(given, "user", FIELD)?,
            watching: match given.get("watching") {
                None | Some(Value::Null) => true,
                Some(_) => flag(given, "watching")?,
            },
        };
        self.write(ctx, given, ItemWrite::Watch(issue_key(given)?, watching)).await
    }
}
