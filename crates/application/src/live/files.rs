//! Files of issues: their text or picture within bounds, or a link by which the whole can be had for some minutes.

mod content;

use bytes::Bytes;
use chrono::TimeDelta;
use domain::{Invalid, Scope};
use futures::StreamExt;
use serde_json::json;

use super::answer::{Draft, LiveAnswer};
use super::links::{FileLink, LinkTo, SignedLink};
use super::reads::or_not_found;
use super::{LiveService, Target, hide};
use crate::ports::{FileBytes, FoundFile, LiveFile, LiveFileAsk, LiveFiles, SourceError, SourceErrorKind};
use crate::{Ctx, Error};

pub use self::content::LiveImage;

/// The most bytes of a file's text that are told.
pub const MOST_TEXT: usize = 32 * 1024;
/// The most bytes of a picture.
pub const MOST_IMAGE: usize = 1024 * 1024;
/// Bytes of an answer with a text: each line end and quotation mark takes two in JSON.
const BYTES: usize = 2 * MOST_TEXT + 8 * 1024;
/// How long a link leads to a file.
const LINKED_FOR: TimeDelta = TimeDelta::minutes(5);

/// As what a file is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileForm {
    /// As a link to the whole.
    #[default]
    Link,
    /// As the text that it is, or the beginning of it.
    Text,
    /// As the picture that it is.
    Image,
}

/// A file that is wanted.
#[derive(Debug, Clone, Default)]
pub struct FileAsk {
    /// The instance's short name; not needed where there is one.
    pub instance: Option<String>,
    /// The issue's key.
    pub key: String,
    /// The file's id or name.
    pub file: String,
    /// As what.
    pub form: FileForm,
}

/// A file as it is told.
#[derive(Debug)]
pub struct FileTold {
    /// What it is, with its text where that was wanted.
    pub answer: LiveAnswer,
    /// Where it can be had.
    pub link: Option<SignedLink>,
    /// What it shows.
    pub image: Option<LiveImage>,
}

/// A file on its way to who follows a link.
pub struct Download {
    /// The file, and the issue it is of.
    pub found: FoundFile,
    /// The instance's short name.
    pub instance: String,
    /// Its content as it comes.
    pub bytes: FileBytes,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("found", &self.found).finish_non_exhaustive()
    }
}

impl LiveService {
    /// A file of an issue. [`Error::NotFound`] whether the issue does not exist or may not be seen; [`Error::Invalid`] when
    /// the file is not what it is wanted as.
    pub async fn file(&self, ctx: &Ctx, ask: &FileAsk) -> Result<FileTold, Error> {
        let target = self.target(ctx, ask.instance.as_deref()).await?;
        let found = self.found_file(ctx, &target, &ask.key, &ask.file).await?;
        let file = &found.file;
        let mut draft = Draft::new();
        let mut told = json!({"key": found.key, "attachment": file});
        let (mut link, mut image) = (None, None);
        match ask.form {
            FileForm::Link => {
                let to = LinkTo::File { key: found.key.clone(), id: file.id.clone() };
                link = self.links.sign(ctx, target.instance.id, to, self.parts.clock.now(), LINKED_FOR);
            }
            FileForm::Text => {
                let (bytes, more) = self.beginning(ctx, &target, file, MOST_TEXT).await?;
                let Some(text) = content::text(&bytes, more) else {
                    return Err(other_form("holds no text: ask for it with as = link, or as = image"));
                };
                if more {
                    draft.cut(format!(
                        "text: the first {} of {} bytes; as = link leads to the whole",
                        bytes.len(),
                        file.size
                    ));
                }
                told["text"] = text.into();
            }
            FileForm::Image => {
                if file.size > MOST_IMAGE as u64 {
                    return Err(too_large());
                }
                let (bytes, more) = self.beginning(ctx, &target, file, MOST_IMAGE).await?;
                if more {
                    return Err(too_large());
                }
                let Some(found) = LiveImage::of(bytes) else {
                    return Err(other_form(
                        "is no PNG, JPEG, GIF or WebP by its content: ask for it with as = link",
                    ));
                };
                told["image_type"] = found.mime_type.into();
                image = Some(found);
            }
        }
        draft.whole(&told, BYTES);
        Ok(FileTold { answer: draft.finish(&target, self.parts.clock.now()), link, image })
    }

    /// The file that a link leads to, for the caller on whose behalf it was made, as far as they may have it now.
    pub async fn download(&self, ctx: &Ctx, link: &FileLink) -> Result<Download, Error> {
        ctx.require(Scope::McpJiraRead)?;
        let gone = || Error::not_found("the file that this link led to");
        let LinkTo::File { key, id } = &link.to else { return Err(gone()) };
        let target = self.target_of(ctx, link.instance).await?;
        let found = self.found_file(ctx, &target, key, id).await.map_err(|error| match error {
            // It was taken away since.
            Error::Source(error) if error.kind == SourceErrorKind::Rejected => gone(),
            other => other,
        })?;
        // A file may be called like another one's id.
        if found.file.id != *id {
            return Err(gone());
        }
        let (files, file) = (self.files_of(&target)?, &found.file);
        let bytes = self.ask(ctx, &target, |c| async move { files.open(&c, file).await }).await;
        let bytes = bytes.map_err(|error| or_not_found(error, || "the file that this link led to".into()))?;
        Ok(Download { bytes, instance: target.instance.slug.to_string(), found })
    }

    fn files_of<'a>(&self, target: &'a Target) -> Result<&'a dyn LiveFiles, Error> {
        target.reader()?.files().ok_or_else(|| {
            let message = "Patchbay reads no files of this tracker: open them in the tracker itself";
            SourceError::new(SourceErrorKind::Unsupported, message).into()
        })
    }

    async fn found_file(
        &self,
        ctx: &Ctx,
        target: &Target,
        key: &str,
        file: &str,
    ) -> Result<FoundFile, Error> {
        hide::refuse_files(target.within.hidden())?;
        let files = self.files_of(target)?;
        let ask = LiveFileAsk { key, file, within: &target.within };
        let ask = &ask;
        let found = self.ask(ctx, target, |c| async move { files.find(&c, ask).await }).await;
        let found = found.map_err(|error| or_not_found(error, || format!("the issue {key}")))?;
        // The adapter promises it. What is another's is worth a second look.
        match target.within.allows_issue(&found.key) {
            true => Ok(found),
            false => Err(Error::not_found(format!("the issue {key}"))),
        }
    }

    /// So many bytes of a file, and whether there are more. No more is read.
    async fn beginning(
        &self,
        ctx: &Ctx,
        target: &Target,
        file: &LiveFile,
        most: usize,
    ) -> Result<(Bytes, bool), Error> {
        let files = self.files_of(target)?;
        let read = self.ask(ctx, target, |c| async move { first(files.open(&c, file).await?, most).await });
        read.await.map_err(|error| or_not_found(error, || format!("the file {}", file.filename)))
    }
}

async fn first(mut bytes: FileBytes, most: usize) -> Result<(Bytes, bool), SourceError> {
    let mut read = Vec::new();
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk?;
        let room = most - read.len();
        if chunk.len() > room {
            read.extend_from_slice(chunk.get(..room).unwrap_or_default());
            return Ok((read.into(), true));
        }
        read.extend_from_slice(&chunk);
    }
    Ok((read.into(), false))
}

fn other_form(message: &str) -> Error {
    Invalid::one("/as", message).into()
}

fn too_large() -> Error {
    other_form(&format!("is larger than {} KiB: ask for it with as = link", MOST_IMAGE / 1024))
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn coming(chunks: &[&'static str]) -> FileBytes {
        stream::iter(chunks.iter().map(|&chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect::<Vec<_>>())
            .boxed()
    }

    #[tokio::test]
    async fn no_more_is_taken_than_is_told() {
        for (chunks, most, told, more) in [
            (&["abc", "def"][..], 6, "abcdef", false),
            (&["abc", "def"], 5, "abcde", true),
            (&["abc", "def"], 3, "abc", true),
            (&[], 3, "", false),
        ] {
            let (read, rest) = first(coming(chunks), most).await.unwrap();
            assert_eq!((&read[..], rest), (told.as_bytes(), more));
        }
        // Nothing is asked for behind the end.
        let endless = stream::iter(["ab"]).chain(stream::pending()).map(|text| Ok(Bytes::from(text))).boxed();
        assert_eq!(first(endless, 1).await.unwrap(), (Bytes::from("a"), true));
        let broken = stream::iter([Err(SourceError::new(SourceErrorKind::Unavailable, "gone"))]).boxed();
        assert!(first(broken, 1).await.is_err());
    }
}
