//! Reading the files of a tracker's issues while somebody waits for the answer.

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use serde::Serialize;

use super::{Bounds, Connection, SourceError};

/// One file of an issue.
#[derive(Debug, Clone, Copy)]
pub struct LiveFileAsk<'a> {
    /// The key.
    pub key: &'a str,
    /// The file's id, or its name where no other of the issue has it.
    pub file: &'a str,
    /// What may be seen.
    pub within: &'a Bounds,
}

/// A file as the tracker tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveFile {
    /// Its id.
    pub id: String,
    /// Its name, as whoever attached it gave it.
    pub filename: String,
    /// Its type, as the tracker takes it to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Its bytes.
    pub size: u64,
    /// When it was attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<DateTime<Utc>>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

/// A file, and the issue it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    /// The key now.
    pub key: String,
    /// The file.
    pub file: LiveFile,
}

/// A file's content as it comes. Dropping it ends the request.
pub type FileBytes = BoxStream<'static, Result<Bytes, SourceError>>;

/// Reads files of issues, under the promises of [`LiveReader`](super::LiveReader).
#[async_trait]
pub trait LiveFiles: Send + Sync {
    /// A file of an issue. [`NotFound`](super::SourceErrorKind::NotFound) when there is no such issue, and
    /// [`Rejected`](super::SourceErrorKind::Rejected) with the names of its files when it has no such file.
    async fn find(&self, connection: &Connection, ask: &LiveFileAsk<'_>) -> Result<FoundFile, SourceError>;

    /// The content of a file that was found. No more of it is read than the stream is asked for.
    async fn open(&self, connection: &Connection, file: &LiveFile) -> Result<FileBytes, SourceError>;
}
