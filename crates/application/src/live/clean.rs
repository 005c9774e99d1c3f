//! Texts without what a reader does not see: control characters, and invisible ones that can carry hidden instructions
//! (Unicode tags, bidirectional overrides, zero-width characters).

use serde_json::{Map, Value};

use crate::text::is_plain;

/// Takes invisible characters out of all texts and names of a value; whether there were any.
pub(super) fn clean(value: &mut Value) -> bool {
    match value {
        Value::String(text) => clean_text(text),
        Value::Array(values) => values.iter_mut().fold(false, |found, value| clean(value) | found),
        Value::Object(object) => clean_object(object),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

pub(super) fn clean_object(object: &mut Map<String, Value>) -> bool {
    let mut found = object.values_mut().fold(false, |found, value| clean(value) | found);
    if object.keys().any(|name| !is_plain(name) && name.chars().any(is_hidden)) {
        *object = std::mem::take(object)
            .into_iter()
            .map(|(mut name, value)| {
                clean_text(&mut name);
                (name, value)
            })
            .collect();
        found = true;
    }
    found
}

/// Takes invisible characters out of a text; whether there were any.
pub fn clean_text(text: &mut String) -> bool {
    if is_plain(text) || !text.chars().any(|c| is_hidden(c) || is_joiner(c) || is_selector(c)) {
        return false;
    }
    let before = text.len();
    let mut last = ' ';
    text.retain(|c| {
        // Persian and Indic words and some emoji are written with joiners; between Latin letters they only hide. So it is
        // with selectors of a sign's look, a row of which can spell out anything.
        let kept = match c {
            c if is_joiner(c) => last > '\u{2ff}' && !is_joiner(last),
            c if is_selector(c) => last > '\u{2ff}' && !is_joiner(last) && !is_selector(last),
            c => !is_hidden(c),
        };
        if kept {
            last = c;
        }
        kept
    });
    text.len() < before
}

const fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

const fn is_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}')
}

fn is_hidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nobody_sees_is_taken_out_and_what_is_written_stays() {
        let mut value = json!({
            "a\u{200b}": "pay\u{202e}load \u{e0041}\u{e0042}\u{0}\u{7f}\r\n\tend",
            "list": ["a\u{200d}b", "\u{646}\u{645}\u{6cc}\u{200c}\u{62e}", "👩\u{200d}💻", 1]
        });
        assert!(clean(&mut value));
        assert_eq!(
            value,
            json!({"a": "payload \n\tend", "list": ["ab", "\u{646}\u{645}\u{6cc}\u{200c}\u{62e}", "👩\u{200d}💻", 1]})
        );
        assert!(!clean(&mut json!({"a": "Grüße\n\t日本", "b": "\u{2764}\u{fe0f}\u{200d}\u{1f525}"})));
        let mut spelt = String::from("a\u{fe01}\u{1f600}\u{fe02}\u{fe03}\u{fe04}\u{e0101}b");
        assert!(clean_text(&mut spelt));
        assert_eq!(spelt, "a\u{1f600}\u{fe02}b");
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left_and_cleaning_again_changes_nothing(text in "\\PC{0,40}|[\u{0}-\u{20}\u{200b}-\u{206f}\u{fe00}-\u{fe0f}\u{2764}a]{0,40}") {
            let mut once = Value::String(text);
            clean(&mut once);
            prop_assert!(!once.as_str().unwrap().chars().any(is_hidden));
            let mut twice = once.clone();
            prop_assert!(!clean(&mut twice));
            prop_assert_eq!(once, twice);
        }
    }
}
