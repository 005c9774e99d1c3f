//! Files attached to issues.

use axum::body::Bytes;
use axum::http::StatusCode;
use serde_json::Value;

use super::Write;
use super::change::Change;
use crate::jira::files::{shown, upload_limit};
use crate::jira::reply::Reply;

/// Files in one request.
const MOST: usize = 60;

/// `POST /issue/{idOrKey}/attachments`: a form with fields called `file`, and a header that no page of another site sends.
pub(super) fn attach(write: &mut Write<'_>) -> Result<Reply, Reply> {
    write.call.allow(&[])?;
    let header = |name: &str| write.call.headers.get(name).and_then(|value| value.to_str().ok());
    if header("x-atlassian-token") != Some("no-check") {
        return Err(Reply::error(StatusCode::FORBIDDEN, "XSRF check failed"));
    }
    let boundary = header("content-type")
        .filter(|kind| kind.starts_with("multipart/form-data"))
        .and_then(|kind| kind.split_once("boundary="))
        .map(|(_, boundary)| boundary.trim_matches('"').to_owned());
    let Some(boundary) = boundary else {
        return Err(Reply::error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The request is no multipart/form-data.",
        ));
    };
    let id = write.target()?;
    let files = files(write.call.body, &boundary).ok_or_else(|| {
        Reply::bad_request("The form could not be read, or has fields that are not called 'file'.")
    })?;
    let limit = upload_limit(write.site);
    if files.len() > MOST || files.iter().any(|file| file.content.len() as u64 > limit) {
        let message = format!("The file exceeds its maximum permitted size of {limit} bytes.");
        return Err(Reply::error(StatusCode::PAYLOAD_TOO_LARGE, &message));
    }
    let mut told = Vec::new();
    for File { name, content } in files {
        let (row, item) = write.site.new_file(&write.account, &name, content);
        told.push(shown(&write.call.view(write.site), &row));
        let mut rows = write.issue(id)?.array("attachment").to_vec();
        rows.push(row);
        let value = Value::Array(rows);
        write.apply(id, vec![Change { field: "attachment".to_owned(), value, item: Some(item) }]);
    }
    Ok(Reply::json(&Value::Array(told)))
}

struct File {
    name: String,
    content: Bytes,
}

/// The fields of a form (RFC 7578); `None` when one is not called `file`, or has no file's name.
fn files(body: &Bytes, boundary: &str) -> Option<Vec<File>> {
    let line = format!("--{boundary}");
    let mut found = Vec::new();
    let mut at = find(body, line.as_bytes(), 0)? + line.len();
    while !body.get(at..)?.starts_with(b"--") {
        let head = at + 2;
        let content = find(body, b"\r\n\r\n", head)? + 4;
        let end = find(body, format!("\r\n{line}").as_bytes(), content)?;
        let said = std::str::from_utf8(body.get(head..content)?).ok()?;
        let said = said.lines().find(|line| line.to_lowercase().starts_with("content-disposition:"))?;
        let value =
            |name: &str| Some(said.split_once(&format!("; {name}=\""))?.1.split_once('"')?.0.to_owned());
        if value("name")? != "file" {
            return None;
        }
        found.push(File { name: value("filename")?.replace("%22", "\""), content: body.slice(content..end) });
        at = end + 2 + line.len();
    }
    (!found.is_empty()).then_some(found)
}

fn find(bytes: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let found = bytes.get(from..)?.windows(wanted.len()).position(|window| window == wanted)?;
    Some(from + found)
}
