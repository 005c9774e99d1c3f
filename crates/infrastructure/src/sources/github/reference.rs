//! Reads what is small and has no "changed since": the repository itself, its labels, milestones and users.

use application::ports::{Page, PageRequest, ProjectRef, SourceError};
use domain::PageRecords;
use serde_json::value::RawValue;

use super::api::{Api, rows};
use super::model::{Label, Milestone, Repository, User};
use super::people::People;
use super::settings::Stream;
use super::unmapped::unmapped;
use super::{malformed, normalize};

/// Rows of a full page.
const PAGE_ROWS: usize = 100;

/// The whole stream as one page.
pub(super) async fn fetch(
    api: &Api<'_>,
    stream: Stream,
    project: &ProjectRef,
    request: &PageRequest<'_>,
) -> Result<Page, SourceError> {
    let key = &project.key;
    let (path, what) = match stream {
        Stream::Labels => {
            (format!("/repos/{key}/labels?per_page={PAGE_ROWS}"), format!("the labels of {key}"))
        }
        Stream::Milestones => (
            format!("/repos/{key}/milestones?state=all&per_page={PAGE_ROWS}"),
            format!("the milestones of {key}"),
        ),
        Stream::Users => {
            (format!("/repos/{key}/assignees?per_page={PAGE_ROWS}"), format!("the users of {key}"))
        }
        _ => (format!("/repos/{key}"), format!("the repository {key}")),
    };
    let answer = api.get(&api.url(&path)?, request.validator, &what).await?;
    if answer.not_modified {
        return Ok(Page { not_modified: true, ..Page::default() });
    }
    let single = answer.links.next.is_none();
    let etag = answer.etag().map(str::to_owned);
    let (mut records, mut people) = (PageRecords::default(), People::default());
    let mut row_count = 0;
    if stream == Stream::Repository {
        let text = answer.text();
        let raw: &RawValue = serde_json::from_str(&text)
            .map_err(|error| malformed(format!("GitHub's answer for {what} is no JSON ({error})")))?;
        map_row(stream, project, raw, &mut records, &mut people);
        row_count = 1;
    } else {
        api.all_pages(answer, &what, |text| {
            for raw in rows(text)? {
                map_row(stream, project, raw, &mut records, &mut people);
                row_count += 1;
            }
            Ok(())
        })
        .await?;
    }
    records.users = people.into_records();
    Ok(Page {
        // A full page stays the same when a row is added behind it.
        validator: etag.filter(|_| single && row_count < PAGE_ROWS),
        total_estimate: i64::try_from(row_count).ok(),
        records,
        ..Page::default()
    })
}

fn map_row(
    stream: Stream,
    project: &ProjectRef,
    raw: &RawValue,
    records: &mut PageRecords,
    people: &mut People,
) {
    let text = raw.get();
    let result = match stream {
        Stream::Labels => serde_json::from_str::<Label<'_>>(text)
            .map(|label| records.labels.push(normalize::label(project, &label))),
        Stream::Milestones => serde_json::from_str::<Milestone<'_>>(text)
            .map(|milestone| records.milestones.push(normalize::milestone(project, &milestone, people))),
        Stream::Users => serde_json::from_str::<User<'_>>(text).map(|user| {
            people.meet(Some(&user));
        }),
        _ => serde_json::from_str::<Repository<'_>>(text).map(|repository| {
            people.meet(repository.owner.as_ref());
            records.projects.push(normalize::project(&repository, raw));
        }),
    };
    if let Err(error) = result {
        records.unmapped.push(unmapped(stream, text, &error.to_string()));
    }
}
