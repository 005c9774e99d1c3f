//! Files of issues. Where one is had is made of its id and the instance's address, never taken from what Jira tells.

use std::time::Duration;

use application::ports::{FileBytes, FoundFile, LiveFile, LiveFileAsk, SourceError, SourceErrorKind};
use futures::{StreamExt, stream};
use tokio::time::timeout;

use super::super::api::{Api, segment, unanswered};
use super::super::model::{Attachment, Issue};
use super::issue::{parse, person};
use super::no_issue;
use crate::egress::{EgressError, OpenResponse};

/// How long the next part of a file may take to come.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);
/// Names that are told when none is the one that was asked for.
const MOST_NAMES: usize = 50;

/// A file of an issue, by id or by name.
pub(super) async fn find(api: &Api<'_>, ask: &LiveFileAsk<'_>) -> Result<FoundFile, SourceError> {
    if !ask.within.allows_issue(ask.key) {
        return Err(no_issue(ask.key));
    }
    let what = format!("the issue {}", ask.key);
    let query = [("fields", "attachment"), ("updateHistory", "false")];
    let answer = api.get(&api.rest(&format!("/issue/{}", segment(ask.key))), &query, &what).await;
    let answer = answer.map_err(|error| match error.kind {
        SourceErrorKind::NotFound => no_issue(ask.key),
        _ => error,
    })?;
    let text = answer.text();
    let issue: Issue<'_> = parse(&text, ask.key)?;
    // An issue that moved answers to its old key.
    if !ask.within.allows_issue(&issue.key) {
        return Err(no_issue(ask.key));
    }
    let files = issue.get::<Vec<Attachment>>("attachment").unwrap_or_default();
    let file = pick(files, ask.file, &issue.key)?;
    Ok(FoundFile { key: issue.key, file })
}

/// The file of this id, or the only one of this name.
fn pick(files: Vec<Attachment>, wanted: &str, key: &str) -> Result<LiveFile, SourceError> {
    let wanted = wanted.trim();
    let refused = |message: String, allowed: Vec<String>| SourceError {
        field: Some("/attachment".into()),
        allowed,
        ..SourceError::new(SourceErrorKind::Rejected, message)
    };
    let mut known: Vec<LiveFile> = files.into_iter().filter_map(told).collect();
    if let Some(at) = known.iter().position(|file| file.id == wanted) {
        return Ok(known.swap_remove(at));
    }
    let named: Vec<usize> = (0..known.len()).filter(|&at| known[at].filename == wanted).collect();
    match named[..] {
        [at] => Ok(known.swap_remove(at)),
        [] => {
            let names = known.into_iter().map(|file| file.filename).take(MOST_NAMES).collect();
            Err(refused(format!("{key} has no file of this id or name"), names))
        }
        _ => {
            let ids = named.into_iter().map(|at| known[at].id.clone()).take(MOST_NAMES).collect();
            Err(refused(format!("{key} has several files of this name: give the id of one"), ids))
        }
    }
}

fn told(file: Attachment) -> Option<LiveFile> {
    Some(LiveFile {
        // It becomes a part of an address.
        id: file.id.filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))?,
        filename: file.filename,
        mime_type: file.mime_type,
        size: file.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        created: file.created.map(|time| time.0),
        author: person(file.author),
    })
}

/// A file's content. Cloud gives it itself when it is told not to redirect to where it is stored
/// (<https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-attachments/>); Data Center at the
/// address that its attachments tell as `content`.
pub(super) async fn open(api: &Api<'_>, file: &LiveFile) -> Result<FileBytes, SourceError> {
    let what = format!("the file {}", file.filename);
    let response = match api.is_cloud() {
        true => {
            let path = api.rest(&format!("/attachment/content/{}", segment(&file.id)));
            api.open(&path, &[("redirect", "false")], &what).await?
        }
        false => {
            let path = format!("/secure/attachment/{}/{}", segment(&file.id), segment(&file.filename));
            api.open(&path, &[], &what).await?
        }
    };
    Ok(stream::unfold(Some(response), next).boxed())
}

async fn next(
    open: Option<OpenResponse>,
) -> Option<(Result<bytes::Bytes, SourceError>, Option<OpenResponse>)> {
    let mut response = open?;
    match timeout(LONGEST_SILENCE, response.chunk()).await {
        Ok(Ok(Some(chunk))) => Some((Ok(chunk), Some(response))),
        Ok(Ok(None)) => None,
        Ok(Err(error)) => Some((Err(unanswered(&error)), None)),
        Err(_) => Some((Err(unanswered(&EgressError::Timeout)), None)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_is_known_by_its_id_or_by_a_name_that_no_other_has() {
        let files = || -> Vec<Attachment> {
            let files = json!([{"id": "10", "filename": "a.txt", "size": 1}, {"id": 11, "filename": "b.txt"},
                {"id": "12", "filename": "b.txt"}, {"id": "13", "filename": "10"}, {"id": "../x", "filename": "x"}]);
            serde_json::from_value(files).unwrap()
        };
        let id = |wanted: &str| pick(files(), wanted, "ENG-1").map(|file| file.id);
        assert_eq!(id("a.txt").unwrap(), "10");
        assert_eq!(id("10").unwrap(), "10", "an id comes before a name");
        assert_eq!(id("11").unwrap(), "11");
        assert_eq!(id("b.txt").unwrap_err().allowed, ["11", "12"]);
        let unknown = id("c.txt").unwrap_err();
        assert_eq!(
            (unknown.kind, unknown.field.as_deref()),
            (SourceErrorKind::Rejected, Some("/attachment"))
        );
        assert_eq!(unknown.allowed, ["a.txt", "b.txt", "b.txt", "10"]);
        assert!(id("x").is_err(), "what is no number never gets into an address");
    }
}
