//! The ids of all tasks of a project, and tasks read by themselves.

use application::ports::{
    FetchedItems, IdPage, ItemAddress, ListedId, ProjectRef, SourceError, SourceErrorKind,
};
use domain::{Cursor, PageRecords};
use serde::{Deserialize, Serialize};

use super::super::circle::Circle;
use super::api::Api;
use super::model::TaskPlace;
use super::names::each;
use super::settings::is_gid;
use super::subtasks::{Parent, parent};
use super::tasks::{Homes, home, place};
use super::walk::{going_on, restartable};
use super::{malformed, singles, stories, subtasks};

const FIELDS: &str =
    "is_rendered_as_separator,memberships,memberships.project,modified_at,num_subtasks,resource_subtype";
/// Lists of subtasks read for one page.
const PARENTS_PER_PAGE: usize = 30;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    #[serde(default)]
    listed: bool,
    #[serde(default)]
    offset: Option<String>,
    #[serde(default)]
    restarts: u32,
    #[serde(default)]
    parents: Vec<Parent>,
    #[serde(default)]
    circle: Circle,
}

/// One page of ids.
pub(super) async fn list_ids(
    api: &Api<'_>,
    project: &ProjectRef,
    cursor: Option<&Cursor>,
) -> Result<IdPage, SourceError> {
    let mut position = match cursor {
        Some(Cursor(cursor)) => Position::deserialize(cursor)
            .map_err(|_| malformed("the stored position of the list of ids has an unknown form"))?,
        None => Position::default(),
    };
    let gid = project.source_id.as_str();
    let mut page = IdPage::default();
    if position.parents.is_empty() && !position.listed {
        let what = format!("the tasks of the project {gid}");
        let query = [("project", gid), ("opt_fields", FIELDS)];
        let rows =
            restartable(api, "/tasks", &query, &mut position.offset, &mut position.restarts, &what).await?;
        if let Some(rows) = rows {
            going_on(&mut position.circle, rows.next.as_deref(), &what)?;
            let places = rows.rows.iter().filter_map(|raw| place(raw));
            for place in places.filter(|place| home(&place.memberships, &api.settings).unwrap_or(gid) == gid)
            {
                if place.num_subtasks > 0 {
                    position.parents.push(parent(&place, gid, 0));
                }
                page.ids.push(listed(&place));
            }
            position.offset = rows.next;
            position.listed = position.offset.is_none();
        } else {
            position.circle = Circle::default();
        }
    } else {
        let count = position.parents.len().min(PARENTS_PER_PAGE);
        let batch = position.parents.split_off(position.parents.len() - count);
        let (found, mut rest, _) = subtasks::read(api, batch, FIELDS).await?;
        let own = found.iter().filter(|(_, row)| row.project == gid);
        page.ids.extend(own.filter_map(|(place, _)| place.as_ref()).map(listed));
        position.parents.append(&mut rest);
    }
    if !(position.listed && position.parents.is_empty()) {
        let next = serde_json::to_value(&position);
        page.next = Some(Cursor(
            next.map_err(|error| malformed(format!("the position cannot be written ({error})")))?,
        ));
    }
    Ok(page)
}

fn listed(place: &TaskPlace) -> ListedId {
    ListedId { source_id: place.gid.clone(), key: None, updated_at: place.modified_at }
}

/// Tasks by themselves, with their stories.
pub(super) async fn fetch_items(api: &Api<'_>, items: &[ItemAddress]) -> Result<FetchedItems, SourceError> {
    let mut fetched = FetchedItems::default();
    let mut wanted = Vec::with_capacity(items.len());
    for item in items {
        let gid = [&item.source_id, &item.ref_key, &item.key].into_iter().flatten().find(|gid| is_gid(gid));
        match gid {
            Some(gid) => wanted.push((item.clone(), gid.clone())),
            None => fetched.invisible.push((item.clone(), "the item has no gid of Asana".to_owned())),
        }
    }
    let mut records = PageRecords::default();
    let gids = wanted.iter().map(|(_, gid)| gid.clone()).collect();
    let places = singles::read(api, gids, &mut Homes::default(), &mut records).await?.places;
    let mut there = Vec::new();
    for ((address, gid), place) in wanted.into_iter().zip(places) {
        if place.is_some() {
            there.push(gid);
        } else if records.gone.iter().all(|gone| gone.item_ref_key != gid)
            && records.unmapped.iter().all(|broken| broken.source_id != gid)
        {
            fetched.invisible.push((address, format!("Asana does not show the task {gid} to this token")));
        }
    }
    let (read, failed) = each(there.into_iter().map(|gid| stories::read(api, gid)).collect()).await;
    if let Some(error) = failed.filter(|error| error.kind != SourceErrorKind::NotFound) {
        return Err(error);
    }
    read.into_iter().for_each(|own| records.append(own));
    fetched.records = records;
    Ok(fetched)
}
