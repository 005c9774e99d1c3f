//! Tasks read by themselves: where each belongs, or the proof that it is gone.

use application::ports::{SourceError, SourceErrorKind};
use domain::PageRecords;
use domain::record::GoneRecord;

use super::api::Api;
use super::model::TaskPlace;
use super::names::each;
use super::normalize::TASK_FIELDS;
use super::tasks::{Home, Homes, Row, map, place};

/// Tasks that were read by themselves.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// Where each belongs, in the order asked for; `None` for those that are not there.
    pub(super) places: Vec<Option<(TaskPlace, String)>>,
    /// Those with subtasks that are in no project that is read any more.
    pub(super) strayed: Vec<TaskPlace>,
}

/// Reads tasks by themselves. Answers where those belong that are there; what is gone is noted with its proof.
pub(super) async fn read(
    api: &Api<'_>,
    gids: Vec<String>,
    homes: &mut Homes,
    records: &mut PageRecords,
) -> Result<Read, SourceError> {
    let get = |gid: String| async move {
        let what = format!("the task {gid}");
        match api.object(&format!("/tasks/{gid}"), &[("opt_fields", TASK_FIELDS)], &what).await {
            Ok(raw) => Ok((gid, Ok(raw))),
            Err(error) if matches!(error.kind, SourceErrorKind::NotFound | SourceErrorKind::Gone) => {
                Ok((gid, Err(true)))
            }
            Err(error) if error.upstream_status == Some(403) => Ok((gid, Err(false))),
            Err(error) => Err(error),
        }
    };
    let (answers, failed) = each(gids.into_iter().map(get).collect()).await;
    if let Some(error) = failed {
        return Err(error);
    }
    let (mut rows, mut places, mut strayed) = (Vec::new(), Vec::new(), Vec::new());
    for (gid, answer) in answers {
        let raw = match answer {
            Ok(raw) => raw,
            Err(gone) => {
                if gone {
                    records.gone.push(deleted(&gid));
                }
                places.push(None);
                continue;
            }
        };
        let Some(place) = place(&raw) else {
            rows.push(Row { raw, project: String::new() });
            places.push(None);
            continue;
        };
        let project = match homes.find(api, &place).await? {
            Home::Project(project) => project,
            nowhere => {
                // What it is a part of may be hidden from this token, which proves nothing.
                if nowhere == Home::Nowhere {
                    records.gone.push(moved_away(&gid));
                    if place.num_subtasks > 0 {
                        strayed.push(place);
                    }
                }
                places.push(None);
                continue;
            }
        };
        rows.push(Row { raw, project: project.clone() });
        places.push(Some((place, project)));
    }
    map(api, &rows, records).await?;
    Ok(Read { places, strayed })
}

pub(super) fn deleted(gid: &str) -> GoneRecord {
    GoneRecord {
        item_ref_key: gid.to_owned(),
        reason: "deleted",
        proof: format!("GET /tasks/{gid} answered 404"),
    }
}

fn moved_away(gid: &str) -> GoneRecord {
    GoneRecord {
        item_ref_key: gid.to_owned(),
        reason: "transferred",
        proof: format!("GET /tasks/{gid} answered that it is in none of the projects that are read"),
    }
}
