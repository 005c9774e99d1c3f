//! Makes JSON from outside fit for PostgreSQL, which takes neither U+0000 nor half a surrogate pair in text.

use std::borrow::Cow;

/// The body as UTF-8 text without `\u0000`, lone surrogates or invalid bytes; each becomes U+FFFD.
///
/// Borrows when there is nothing to change. Text that is not JSON may come out changed, but is valid UTF-8.
pub(super) fn json_text(body: &[u8]) -> Cow<'_, str> {
    // Whole first: the replacing way looks at each character, valid or not.
    let text = std::str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
    if !is_suspect(text.as_bytes()) {
        return text;
    }
    Cow::Owned(replace(&text))
}

/// Whether any escape could be U+0000 or a surrogate. Cheap: says yes too often, never too rarely.
fn is_suspect(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        rest = &rest[at + 1..];
        if matches!(rest, [b'u', b'0', b'0', b'0', b'0', ..] | [b'u', b'd' | b'D', ..]) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

fn replace(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(unit) = escaped_unit(rest) else {
            // Another escape, or a stray backslash: copy it with what it escapes.
            let len = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            out.push_str(&rest[..len]);
            rest = &rest[len..];
            continue;
        };
        let len = match unit {
            0xD800..=0xDBFF if matches!(escaped_unit(&rest[6..]), Some(0xDC00..=0xDFFF)) => 12,
            0 | 0xD800..=0xDFFF => {
                out.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            _ => 6,
        };
        out.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    out.push_str(rest);
    out
}

/// The UTF-16 unit of an escape such as `\u00e9` at the beginning of the text.
fn escaped_unit(text: &str) -> Option<u16> {
    let hex = text.strip_prefix("\\u")?.get(..4)?;
    if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(hex, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::json_text;

    #[test]
    fn clean_text_is_borrowed() {
        for clean in [r#"{"a":"b\n\u003c\\u0000"}"#, "ä\u{1F600}", ""] {
            let out = json_text(clean.as_bytes());
            assert_eq!(out, clean);
            assert!(matches!(out, Cow::Borrowed(_)), "{clean} was copied");
        }
    }

    #[test]
    fn null_characters_and_lone_surrogates_become_replacement_characters() {
        for (dirty, clean) in [
            (r#""a\u0000b""#, r#""a\ufffdb""#),
            (r#""\\\u0000""#, r#""\\\ufffd""#),
            (r#""\\u0000\u0000""#, r#""\\u0000\ufffd""#),
            (r#""\ud800""#, r#""\ufffd""#),
            (r#""\uDFFFx""#, r#""\ufffdx""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\u0000""#, r#""\ufffd\ufffd""#),
        ] {
            assert_eq!(json_text(dirty.as_bytes()), clean, "{dirty}");
        }
        assert_eq!(json_text(b"\"\xff\""), "\"\u{FFFD}\"");
    }

    proptest! {
        #[test]
        fn whatever_comes_in_parses_as_json_without_nulls_afterwards(
            parts in prop::collection::vec(prop_oneof![
                Just(r"\u0000".to_owned()), Just(r"\\".to_owned()), Just(r"\n".to_owned()),
                Just(r"\\u0000".to_owned()),
                (0xD7F0u32..0xE010).prop_map(|unit| format!("\\u{unit:04x}")),
                (0u32..0x100).prop_map(|unit| format!("\\u{unit:04X}")),
                "[^\\\\\"\\x00-\\x1f]{0,4}",
            ], 0..40)
        ) {
            let json = format!("\"{}\"", parts.concat());
            let clean = json_text(json.as_bytes());
            let parsed: String = serde_json::from_str(&clean)
                .map_err(|error| TestCaseError::fail(format!("{json} became {clean}: {error}")))?;
            prop_assert!(!parsed.contains('\0'));
            let again = json_text(clean.as_bytes());
            prop_assert_eq!(again, clean.as_ref());
        }

        #[test]
        fn any_bytes_come_out_as_text_that_stays_as_it_is(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let clean = json_text(&bytes).into_owned();
            let again = json_text(clean.as_bytes());
            prop_assert_eq!(again, clean.as_str());
        }
    }
}
