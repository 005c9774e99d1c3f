//! Lists of the subtasks of tasks, which no list of a project holds.

use application::ports::SourceError;
use serde::{Deserialize, Serialize};

use super::super::circle::Circle;
use super::api::Api;
use super::model::TaskPlace;
use super::names::each;
use super::tasks::{Row, home, place};
use super::walk::going_on;

/// A list of subtasks to be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Parent {
    pub(super) gid: String,
    /// The project of those subtasks that are in none themselves.
    pub(super) project: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) offset: Option<String>,
    #[serde(default)]
    pub(super) level: u8,
    #[serde(default)]
    pub(super) circle: Circle,
}

pub(super) fn parent(place: &TaskPlace, project: &str, level: u8) -> Parent {
    Parent {
        gid: place.gid.clone(),
        project: project.to_owned(),
        offset: None,
        level,
        circle: Circle::default(),
    }
}

/// One page each of several lists of subtasks: the rows with their project, lists that go on or were found below, and
/// tasks that are not there any more.
pub(super) async fn read(
    api: &Api<'_>,
    batch: Vec<Parent>,
    fields: &str,
) -> Result<(Vec<(Option<TaskPlace>, Row)>, Vec<Parent>, Vec<String>), SourceError> {
    let list = |parent: Parent| async move {
        let what = format!("the subtasks of the task {}", parent.gid);
        let path = format!("/tasks/{}/subtasks", parent.gid);
        match api.list(&path, &[("opt_fields", fields)], parent.offset.as_deref(), &what).await {
            Ok(rows) => Ok((parent, Some(rows))),
            Err(error) if matches!(error.upstream_status, Some(403 | 404)) => Ok((parent, None)),
            // The position expired: this list is short and is read from its beginning.
            Err(error) if error.upstream_status == Some(400) && parent.offset.is_some() => {
                let rows = api.list(&path, &[("opt_fields", fields)], None, &what).await?;
                Ok((parent, Some(rows)))
            }
            Err(error) => Err(error),
        }
    };
    let (lists, failed) = each(batch.into_iter().map(list).collect()).await;
    if let Some(error) = failed {
        return Err(error);
    }
    let (mut found, mut rest, mut vanished) = (Vec::new(), Vec::new(), Vec::new());
    for (parent_of, rows) in lists {
        let Some(rows) = rows else {
            vanished.push(parent_of.gid);
            continue;
        };
        for raw in rows.rows {
            let place = place(&raw);
            let own = place.as_ref().and_then(|place| home(&place.memberships, &api.settings));
            let project = own.unwrap_or(&parent_of.project).to_owned();
            if let Some(place) = place.as_ref().filter(|place| place.num_subtasks > 0 && parent_of.level < 10)
            {
                rest.push(parent(place, &project, parent_of.level + 1));
            }
            found.push((place, Row { raw, project }));
        }
        if rows.next.is_some() {
            let mut circle = parent_of.circle.clone();
            going_on(&mut circle, rows.next.as_deref(), &format!("the subtasks of {}", parent_of.gid))?;
            rest.push(Parent { offset: rows.next, circle, ..parent_of });
        }
    }
    Ok((found, rest, vanished))
}
