//! What a file is by its content, whatever its name and the tracker say.

use bytes::Bytes;

/// A picture.
#[derive(Clone, PartialEq, Eq)]
pub struct LiveImage {
    /// Its type.
    pub mime_type: &'static str,
    /// The whole file.
    pub bytes: Bytes,
}

impl LiveImage {
    /// `None` for what is none of the types that assistants can look at. SVG is none: it is a program.
    pub(super) fn of(bytes: Bytes) -> Option<Self> {
        let starts = |with: &[u8]| bytes.starts_with(with);
        let mime_type = if starts(b"\x89PNG\r\n\x1a\n") {
            "image/png"
        } else if starts(b"\xff\xd8\xff") {
            "image/jpeg"
        } else if starts(b"GIF87a") || starts(b"GIF89a") {
            "image/gif"
        } else if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            "image/webp"
        } else {
            return None;
        };
        Some(Self { mime_type, bytes })
    }
}

impl std::fmt::Debug for LiveImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LiveImage({}, {} bytes)", self.mime_type, self.bytes.len())
    }
}

/// The text of a file in UTF-8, or in UTF-16 that says so; `None` when it holds something else. When it was `cut`, what is
/// left of a last character is left out.
pub(super) fn text(bytes: &[u8], cut: bool) -> Option<String> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes, cut)?,
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes, cut)?,
        _ => {
            let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            match std::str::from_utf8(rest) {
                Ok(text) => text.to_owned(),
                Err(error) if cut && error.error_len().is_none() => {
                    std::str::from_utf8(rest.get(..error.valid_up_to())?).ok()?.to_owned()
                }
                Err(_) => return None,
            }
        }
    };
    // No text has them, and most other files do.
    (!text.contains('\0')).then_some(text)
}

fn wide(bytes: &[u8], unit: fn([u8; 2]) -> u16, cut: bool) -> Option<String> {
    let pairs = bytes.chunks_exact(2);
    if !cut && !pairs.remainder().is_empty() {
        return None;
    }
    let mut units: Vec<u16> = pairs.map(|pair| unit([pair[0], pair[1]])).collect();
    if cut && matches!(units.last(), Some(0xd800..=0xdbff)) {
        units.pop();
    }
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_known_by_its_first_bytes() {
        let kind =
            |bytes: &'static [u8]| LiveImage::of(Bytes::from_static(bytes)).map(|image| image.mime_type);
        assert_eq!(kind(b"\x89PNG\r\n\x1a\nrest"), Some("image/png"));
        assert_eq!(kind(b"\xff\xd8\xff\xe0rest"), Some("image/jpeg"));
        assert_eq!(kind(b"GIF89a"), Some("image/gif"));
        assert_eq!(kind(b"RIFF\x10\0\0\0WEBPVP8 "), Some("image/webp"));
        for other in [&b""[..], b"RIFF\x10\0\0\0WAVE", b"<svg xmlns='x'/>", b"%PDF-1.7", b"\x89PNG", b"RIFF"]
        {
            assert_eq!(kind(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_text_is_read_whole_or_up_to_where_it_was_cut() {
        assert_eq!(text("Grüße".as_bytes(), false).as_deref(), Some("Grüße"));
        assert_eq!(text(b"\xef\xbb\xbfa", false).as_deref(), Some("a"));
        assert_eq!(text(b"\xff\xfeh\0i\0", false).as_deref(), Some("hi"));
        assert_eq!(text(b"\xfe\xff\0h\0i", false).as_deref(), Some("hi"));
        assert_eq!(text(b"", false).as_deref(), Some(""));
        let half = &"Grü".as_bytes()[..3];
        assert_eq!((text(half, true).as_deref(), text(half, false)), (Some("Gr"), None));
        assert_eq!(text(b"\xff\xfeh\0\x3d\xd8", true).as_deref(), Some("h"), "half a pair");
        assert_eq!(text(b"\xff\xfeh\0i", true).as_deref(), Some("h"), "half a unit");
        for other in [&b"a\0b"[..], b"\xff\xd8\xff\xe0", b"a\xffb", b"\xff\xfeh"] {
            assert_eq!(text(other, false), None, "{other:?}");
        }
        assert_eq!(text(b"a\xffbcdef", true), None);
    }
}
