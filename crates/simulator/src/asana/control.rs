//! Changes behind the clients' back, in process and over HTTP under `/__control/asana`:
//!
//! | call | does |
//! |---|---|
//! | `POST workspaces {"name","seed","count"}` → `{"gid","projects"}` | serves one more generated workspace |
//! | `POST tasks/touch {"task"}`, `tasks/complete`, `tasks/delete` | changes it now |
//! | `POST tasks/move {"task","section"}`, `tasks/comment {"task","text"}` | moves it; comments on it |
//! | `POST tokens/expire`, `offsets/expire` | event tokens answer 412; offsets answer 400 |
//! | `POST projects/hide {"project","hidden"}` | 403 from now on, or no more |

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::Uri;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Value, json};

use super::world::AsanaWorkspace;
use super::{generate, hooks};
use crate::{Control, Shared};

impl Control {
    /// Serves one more workspace.
    pub fn add_asana(&self, workspace: AsanaWorkspace) {
        self.0.asana_mut().add(workspace);
    }

    /// All workspaces as they are now.
    pub fn asana(&self) -> Vec<AsanaWorkspace> {
        self.0.asana_mut().workspaces.clone()
    }

    /// A task changes now.
    pub fn touch_asana(&self, task: &str) {
        self.0.asana_mut().changed(task);
        hooks::deliver(&self.0);
    }

    /// Renames a task now.
    ///
    /// # Errors
    /// When it is not there.
    pub fn rename_asana(&self, task: &str, name: &str) -> anyhow::Result<()> {
        let mut world = self.0.asana_mut();
        world.task_mut(task).with_context(|| format!("there is no task {task}"))?.name = name.to_owned();
        world.changed(task);
        drop(world);
        hooks::deliver(&self.0);
        Ok(())
    }

    /// Sets a task's text without a trace, as large as may be.
    ///
    /// # Errors
    /// When it is not there.
    pub fn set_asana_notes(&self, task: &str, html_notes: String) -> anyhow::Result<()> {
        let mut world = self.0.asana_mut();
        world.task_mut(task).with_context(|| format!("there is no task {task}"))?.html_notes = html_notes;
        Ok(())
    }

    /// Changes the texts of a task's stories without a trace.
    pub fn edit_asana_stories(&self, task: &str, edit: impl Fn(&str) -> String) {
        let mut world = self.0.asana_mut();
        for story in world.task_mut(task).into_iter().flat_map(|task| &mut task.stories) {
            for name in ["text", "html_text"] {
                if let Some(text) = story.get(name).and_then(Value::as_str) {
                    story[name] = json!(edit(text));
                }
            }
        }
    }

    /// Completes a task.
    pub fn complete_asana(&self, task: &str, user: &str) {
        let mut world = self.0.asana_mut();
        let at = world.tick();
        if let Some(task) = world.task_mut(task) {
            task.completed_at = Some(at);
        }
        world.story(task, user, "marked_complete", json!({}));
        world.changed(task);
        drop(world);
        hooks::deliver(&self.0);
    }

    /// Comments on a task; answers the comment's gid.
    pub fn comment_asana(&self, task: &str, user: &str, text: &str) -> String {
        let more = json!({"text": text, "html_text": format!("<body>{text}</body>")});
        let story = self.0.asana_mut().story(task, user, "comment_added", more);
        hooks::deliver(&self.0);
        story
    }

    /// Puts a task into a section, in whichever project that is.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn move_asana(&self, task: &str, section: &str, user: &str) -> anyhow::Result<()> {
        self.0.asana_mut().put(task, section, user)?;
        hooks::deliver(&self.0);
        Ok(())
    }

    /// Takes a task out of a project.
    ///
    /// # Errors
    /// When it is not in it.
    pub fn remove_asana(&self, task: &str, project: &str) -> anyhow::Result<()> {
        self.0.asana_mut().take_out(task, project)
    }

    /// Deletes a task with its subtasks.
    ///
    /// # Errors
    /// When it is not there.
    pub fn delete_asana(&self, task: &str) -> anyhow::Result<()> {
        self.0.asana_mut().delete(task)?;
        hooks::deliver(&self.0);
        Ok(())
    }

    /// Makes every event token too old.
    pub fn expire_asana_tokens(&self) {
        self.0.asana_mut().tokens.clear();
    }

    /// Makes every offset too old.
    pub fn expire_asana_offsets(&self) {
        self.0.asana_mut().offsets.clear();
    }

    /// Takes away, or gives back, the sight of a project.
    pub fn hide_asana(&self, project: &str, hidden: bool) {
        if let Some(project) = self.0.asana_mut().project_mut(project) {
            project.hidden = hidden;
        }
    }

    /// How many webhooks there are.
    pub fn asana_webhook_count(&self) -> usize {
        self.0.asana_mut().webhooks.len()
    }

    /// Drops a webhook, as Asana does with a target that does not answer for a day.
    pub fn drop_asana_webhooks(&self) {
        self.0.asana_mut().webhooks.clear();
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Input {
    name: String,
    seed: u64,
    count: usize,
    task: String,
    section: String,
    text: String,
    project: String,
    hidden: bool,
}

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/{*call}", post(serve))
}

async fn serve(State(shared): State<Arc<Shared>>, uri: Uri, body: Bytes) -> Response {
    let call = uri.path().trim_start_matches('/');
    let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
    let (status, answer) = match serde_json::from_slice::<Input>(body) {
        Err(error) => (StatusCode::BAD_REQUEST, json!({"message": error.to_string()})),
        Ok(input) => match act(&Control::new(shared), call, &input) {
            Ok(answer) => (StatusCode::OK, answer),
            Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, json!({"message": format!("{error:#}")})),
        },
    };
    (status, [(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}

fn act(control: &Control, call: &str, input: &Input) -> anyhow::Result<Value> {
    let user = || {
        let workspaces = control.asana();
        let user = workspaces.iter().flat_map(|workspace| &workspace.users).next();
        user.map(|user| user.gid.clone()).unwrap_or_default()
    };
    match call {
        "workspaces" => {
            let workspace = generate::workspace(&input.name, input.seed, input.count);
            let projects: Vec<&String> = workspace.projects.iter().map(|project| &project.gid).collect();
            let answer = json!({"gid": workspace.gid, "projects": projects});
            control.add_asana(workspace);
            return Ok(answer);
        }
        "tasks/touch" => control.touch_asana(&input.task),
        "tasks/complete" => control.complete_asana(&input.task, &user()),
        "tasks/delete" => control.delete_asana(&input.task)?,
        "tasks/move" => control.move_asana(&input.task, &input.section, &user())?,
        "tasks/comment" => {
            return Ok(json!({"gid": control.comment_asana(&input.task, &user(), &input.text)}));
        }
        "tokens/expire" => control.expire_asana_tokens(),
        "offsets/expire" => control.expire_asana_offsets(),
        "projects/hide" => control.hide_asana(&input.project, input.hidden),
        other => anyhow::bail!("there is no control call asana/{other}"),
    }
    Ok(Value::Null)
}
