//! The line by which a write is found again: `<!-- patchbay-0192… -->`, invisible when rendered, at the end of a text.
//! It is no part of what is synced.

use chrono::{DateTime, TimeDelta, Utc};

const OPEN: &str = "<!-- patchbay-";
const CLOSE: &str = "-->";
/// How far GitHub's clock may be behind ours.
const SLACK: TimeDelta = TimeDelta::hours(1);

/// The text with a marker behind it.
pub(super) fn mark(text: &str, marker: &str) -> String {
    let (text, line) = (text.trim_end(), line(marker));
    if text.is_empty() { line } else { format!("{text}\n\n{line}") }
}

/// The text with the markers that stood behind the one before.
pub(super) fn keep_marks(text: &str, before: &str) -> String {
    let marks = before[strip(before).len()..].trim();
    match (text.trim_end(), marks) {
        (text, "") => text.to_owned(),
        ("", marks) => marks.to_owned(),
        (text, marks) => format!("{text}\n\n{marks}"),
    }
}

/// Whether the text carries this marker.
pub(super) fn carries(text: &str, marker: &str) -> bool {
    text[strip(text).len()..].contains(&line(marker))
}

/// The text without the markers behind it; any other is unchanged.
pub(super) fn strip(text: &str) -> &str {
    let mut rest = text;
    loop {
        let Some(inside) = rest.trim_end().strip_suffix(CLOSE) else { return rest };
        let Some(at) = inside.rfind(OPEN) else { return rest };
        let name = inside[at + OPEN.len()..].trim_end();
        let own_line = rest[..at].is_empty() || rest[..at].ends_with('\n');
        if name.is_empty() || !own_line || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return rest;
        }
        rest = rest[..at].trim_end();
    }
}

/// When the write was meant, a while earlier: a marker is made of a UUIDv7, which begins with its time. `None` for
/// another.
pub(super) fn not_before(marker: &str) -> Option<DateTime<Utc>> {
    let id = uuid::Uuid::try_parse(marker.strip_prefix("patchbay-")?).ok()?;
    let (seconds, _) = id.get_timestamp()?.to_unix();
    Some(DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)? - SLACK)
}

fn line(marker: &str) -> String {
    let name = marker.strip_prefix("patchbay-").unwrap_or(marker);
    format!("{OPEN}{name} {CLOSE}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARKER: &str = "patchbay-0192f0c0a0007000800000000000002a";

    proptest! {
        #[test]
        fn a_marked_text_is_found_and_synced_as_it_was(text in "(?s).{0,80}", other in "(?s).{0,40}") {
            let text = strip(&text).trim_end().to_owned();
            let marked = mark(&text, MARKER);
            prop_assert!(carries(&marked, MARKER));
            prop_assert_eq!(strip(&marked), &*text);
            let changed = keep_marks(strip(&other), &marked);
            prop_assert!(carries(&changed, MARKER));
            prop_assert_eq!(strip(&changed), strip(&other).trim_end());
        }
    }

    #[test]
    fn only_markers_at_the_end_are_taken_off() {
        for text in [
            "about <!-- patchbay-1 --> and on",
            "inline <!-- patchbay-1 -->",
            "<!-- template -->",
            "<!-- patchbay- -->",
            "<!-- patchbay-a b -->",
            "text\r\n",
            "",
        ] {
            assert_eq!(strip(text), text);
        }
        assert_eq!(strip("a\n\n<!-- patchbay-1 -->\n<!-- patchbay-2 -->\r\n"), "a");
        assert!(!carries("a\n\n<!-- patchbay-12 -->", "patchbay-1"));
    }

    #[test]
    fn a_marker_tells_when_its_write_was_meant() {
        let at = not_before(MARKER).unwrap();
        assert_eq!(at.to_rfc3339(), "2024-11-03T05:40:08+00:00");
        assert_eq!(not_before("patchbay-1"), None);
    }
}
