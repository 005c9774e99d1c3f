//! The mark by which a task or comment that Patchbay wrote is found again.
//!
//! An app (OAuth) may give a task an external id and ask for it by that. With a personal token there is no such field,
//! comments have none at all, and search costs extra and lags behind. There the mark is written at the end of the text in
//! characters that take no room: nobody sees them, lists of tasks and stories hand them back, and texts are stored
//! without them. It keeps the 128 bits of the write's id, two in each character.
//!
//! Asana's description says nothing of such characters. Should it come to take them out, a task of just that text, without
//! any mark and made since, counts as the one that was written ([`is_unmarked`]). A comment of the same words may as well be
//! somebody else's, so that whether it was written stays open. Nothing is sent twice.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

const PREFIX: &str = "patchbay-";
/// Two bits each. All are plain text to Asana's HTML.
const DIGITS: [char; 4] = ['\u{200B}', '\u{200C}', '\u{200D}', '\u{2060}'];
/// Stands before and after the digits, so that joiners which belong to the text are told from a mark.
const FENCE: char = '\u{2063}';
const DIGIT_COUNT: usize = 64;

fn id(marker: &str) -> Option<Uuid> {
    Uuid::try_parse(marker.strip_prefix(PREFIX)?).ok()
}

/// The mark as text that nobody sees; empty when it is none of ours.
pub(super) fn hidden(marker: &str) -> String {
    let Some(id) = id(marker) else { return String::new() };
    let bits = id.as_u128();
    let digit = |i: usize| DIGITS[usize::try_from(bits >> (126 - 2 * i) & 3).unwrap_or_default()];
    let mut text = String::from(FENCE);
    text.extend((0..DIGIT_COUNT).map(digit));
    text.push(FENCE);
    text
}

/// Whether the text carries this mark.
pub(super) fn is_on(text: &str, marker: &str) -> bool {
    let hidden = hidden(marker);
    !hidden.is_empty() && text.contains(&hidden)
}

/// Whether the text carries no mark, and was made no earlier than the write was meant, by clocks that are `slack` apart.
pub(super) fn is_unmarked(
    text: &str,
    made_at: Option<DateTime<Utc>>,
    marker: &str,
    slack: TimeDelta,
) -> bool {
    let meant = made_at_ms(marker).and_then(DateTime::from_timestamp_millis);
    let since = meant.zip(made_at).is_some_and(|(meant, made)| made >= meant - slack);
    since && strip(text) == text
}

/// The HTML with the mark at its end.
pub(super) fn put(html: &str, marker: &str) -> String {
    let html = strip(html);
    match html.rfind("</body>") {
        Some(end) => format!("{}{}{}", &html[..end], hidden(marker), &html[end..]),
        None => format!("<body>{html}{}</body>", hidden(marker)),
    }
}

/// The text without marks.
pub(super) fn strip(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(FENCE) {
        out.push_str(&rest[..at]);
        let behind = &rest[at + FENCE.len_utf8()..];
        match mark_length(behind) {
            Some(length) => rest = &behind[length..],
            None => {
                out.push(FENCE);
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}

/// How long the digits of a mark and the fence behind them are, when they stand here.
fn mark_length(text: &str) -> Option<usize> {
    let mut chars = text.char_indices();
    for _ in 0..DIGIT_COUNT {
        chars.next().filter(|(_, c)| DIGITS.contains(c))?;
    }
    let (at, fence) = chars.next()?;
    (fence == FENCE).then_some(at + fence.len_utf8())
}

/// When the write was first meant: its id tells the time it was made, in milliseconds since 1970.
pub(super) fn made_at_ms(marker: &str) -> Option<i64> {
    let (seconds, nanoseconds) = id(marker)?.get_timestamp()?.to_unix();
    i64::try_from(seconds).ok()?.checked_mul(1_000)?.checked_add(i64::from(nanoseconds / 1_000_000))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARKER: &str = "patchbay-0193500000007abc8def001122334455";

    #[test]
    fn a_mark_is_found_again_and_gone_after_stripping() {
        let html = put("<body>Text <b>bold</b></body>", MARKER);
        assert!(is_on(&html, MARKER) && html.ends_with("</body>"));
        assert!(!is_on(&html, "patchbay-0193500000007abc8def001122334456"));
        assert_eq!(strip(&html), "<body>Text <b>bold</b></body>");
        assert_eq!(put(&html, MARKER), html, "a second mark replaces the first");
        assert!(put("plain", MARKER).starts_with("<body>plain"));
        assert_eq!(made_at_ms(MARKER), Some(0x0193_5000_0000));
        assert!(!is_on("text", "other"));
    }

    proptest! {
        #[test]
        fn stripping_takes_nothing_but_marks(text in "[\\PC\u{200B}\u{200D}\u{2063}]{0,80}", bits: u128) {
            let marker = format!("patchbay-{}", Uuid::from_u128(bits).simple());
            prop_assert_eq!(&strip(&text), &text);
            let marked = format!("{text}{}", hidden(&marker));
            prop_assert!(is_on(&marked, &marker));
            prop_assert_eq!(strip(&marked), text);
        }
    }
}
