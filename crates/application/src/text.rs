//! What each text of an answer is asked: whether it is plain, and how long it is as JSON. Both look at many bytes at a
//! time, as most texts are plain and short.

use serde_json::{Map, Value};

/// How many bytes a value takes as JSON, as `serde_json` writes it without spaces.
#[must_use]
pub fn json_len(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(true) => 4,
        Value::Bool(false) => 5,
        Value::Number(number) => match number.as_i64() {
            Some(n) => n.unsigned_abs().max(1).ilog10() as usize + 1 + usize::from(n < 0),
            None => number.to_string().len(),
        },
        Value::String(text) => string_len(text),
        Value::Array(values) => json_array_len(values),
        Value::Object(object) => json_object_len(object),
    }
}

/// How many bytes the values take as a JSON object: braces, names, colons, commas and what stands between them.
#[must_use]
pub fn json_object_len(object: &Map<String, Value>) -> usize {
    let entries = object.iter().map(|(name, value)| string_len(name) + 1 + json_len(value));
    2 + object.len().saturating_sub(1) + entries.sum::<usize>()
}

/// How many bytes the values take as a JSON array: brackets, commas and what stands between them.
#[must_use]
pub fn json_array_len(values: &[Value]) -> usize {
    2 + values.len().saturating_sub(1) + values.iter().map(json_len).sum::<usize>()
}

/// Whether there are only visible characters of ASCII in a text, spaces, line ends and tabs.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    let plain = |b: u8| (0x20..0x7f).contains(&b) | (b == b'\n') | (b == b'\t');
    // No early end within a piece: so the compiler takes many bytes at once.
    text.as_bytes().chunks(PIECE).all(|piece| piece.iter().fold(true, |all, &b| all & plain(b)))
}

/// Bytes that are looked at together; as many as a byte can count.
const PIECE: usize = 255;

fn string_len(text: &str) -> usize {
    let escaped = |&b: &u8| u8::from((b < 0x20) | (b == b'"') | (b == b'\\'));
    let count = |piece: &[u8]| usize::from(piece.iter().map(escaped).sum::<u8>());
    let one_more = text.as_bytes().chunks(PIECE).map(count).sum::<usize>();
    let four_more = match one_more {
        0 => 0,
        _ => text.bytes().filter(|b| *b < 0x20 && !b"\x08\x0c\n\r\t".contains(b)).count(),
    };
    2 + text.len() + one_more + 4 * four_more
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn the_length_is_that_of_what_is_written(
            texts in vec("[\u{0}-\u{7f}é\u{10ffff}]{0,9}|\\PC{250,600}", 0..5),
            wholes in vec(any::<i64>(), 0..4),
            large in any::<u64>(),
            numbers in vec(any::<f64>(), 0..4),
            yes in any::<bool>(),
        ) {
            let named: Map<String, Value> =
                texts.iter().map(|text| (text.clone(), Value::from(texts.len()))).collect();
            let value = json!({"texts": texts, "wholes": wholes, "large": large, "numbers": numbers, "yes": yes,
                               "none": null, "empty": [[], {}, ""], "named": named});
            prop_assert_eq!(json_len(&value), value.to_string().len());
        }

        #[test]
        fn plain_is_what_has_nothing_but_ascii_that_is_seen(text in "[ -~\n\t]{0,600}", other in "[^ -~\n\t]", at in 0..600_usize) {
            prop_assert!(is_plain(&text));
            let mut spoilt = text;
            spoilt.insert_str(at.min(spoilt.len()), &other);
            prop_assert!(!is_plain(&spoilt));
        }
    }

    #[test]
    fn the_ends_of_whole_numbers_are_counted_as_they_are_written() {
        for n in [0, 9, 10, -1, -10, i64::MAX, i64::MIN] {
            assert_eq!(json_len(&n.into()), n.to_string().len());
        }
    }
}
