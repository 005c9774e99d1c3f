//! Finding people.

use domain::Invalid;

use super::LiveService;
use super::answer::{Draft, LiveAnswer};
use super::reads::{UsersAsk, or_not_found, require_project};
use crate::ports::LiveUsersAsk;
use crate::{Ctx, Error};

const LIST_BYTES: usize = 16 * 1024;

impl LiveService {
    /// People by a part of their name. Who is narrowed to some projects finds who issues of those can be given to.
    pub async fn users(&self, ctx: &Ctx, ask: &UsersAsk) -> Result<LiveAnswer, Error> {
        let target = self.target(ctx, ask.instance.as_deref()).await?;
        let only = match (&ask.project, target.within.as_list()) {
            (Some(project), _) => {
                require_project(&target, project)?;
                Some(project.as_str())
            }
            (None, None) => None,
            (None, Some(keys)) => match (keys.first(), keys.len()) {
                (Some(only), 1) => Some(only.as_str()),
                _ => {
                    let message = "is required: name one of the projects that you may see";
                    return Err(Invalid::not_one_of("/project", message, keys.iter().take(20)).into());
                }
            },
        };
        let users = LiveUsersAsk { query: &ask.query, project: only, limit: ask.limit };
        let (reader, users) = (target.reader()?, &users);
        let found = self.ask(ctx, &target, |c| async move { reader.users(&c, users).await }).await;
        let what = || only.map_or_else(|| "the tracker's people".into(), |key| format!("the project {key}"));
        let found = found.map_err(|error| or_not_found(error, what))?;
        let mut draft = Draft::new();
        draft.rows("users", &found, LIST_BYTES, |user| user.name.clone());
        if found.len() >= ask.limit {
            draft.cut(format!("users: the first {}; narrow them with query", found.len()));
        }
        Ok(draft.finish(&target, self.parts.clock.now()))
    }
}
