//! Answers that fit: the longest texts are shortened and the longest lists cut, and each is named.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::text::json_len;

/// Shorter texts and lists are never cut.
const LEAST_CHARS: usize = 80;
const LEAST_ENTRIES: usize = 3;
/// What a cut text ends with.
const MARK: &str = "…";

/// What was cut, by where it stands.
#[derive(Debug, Default)]
pub(super) struct Cuts(BTreeMap<String, Cut>);

#[derive(Debug)]
struct Cut {
    left: usize,
    of: usize,
    what: &'static str,
}

impl Cuts {
    /// One line for each.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(at, cut)| format!("{at}: {} of {} {}", cut.left, cut.of, cut.what)).collect()
    }

    fn note(&mut self, at: String, left: usize, of: usize, what: &'static str) {
        self.0.entry(at).and_modify(|cut| cut.left = left).or_insert(Cut { left, of, what });
    }
}

/// Cuts the value until it takes no more than `budget` bytes, or nothing is left to be cut. `name` is what it is called.
pub(super) fn fit(value: &mut Value, name: &str, budget: usize, cuts: &mut Cuts) {
    let mut excess = json_len(value).saturating_sub(budget);
    while excess > 0 {
        let mut longest = Longest::default();
        longest.look(value, name);
        let Some((at, place, is_list)) = longest.found() else { return };
        let Some(found) = value.pointer_mut(&place) else { return };
        match found {
            _ if is_document(found) => {
                let bytes = json_len(found);
                *found = Value::Null;
                cuts.note(at, 0, bytes, "bytes of a document, which can only be had whole");
            }
            Value::Array(list) if is_list => {
                let of = list.len();
                list.truncate((of / 2).max(LEAST_ENTRIES));
                cuts.note(at, list.len(), of, "entries");
            }
            Value::String(text) => {
                let of = text.chars().count();
                // A character may take several bytes: another round finds out.
                let keep = of.saturating_sub(excess.max(of / 10)).max(LEAST_CHARS);
                let end = text.char_indices().nth(keep).map_or(text.len(), |(end, _)| end);
                text.truncate(end);
                text.push_str(MARK);
                cuts.note(at, keep, of, "characters");
            }
            _ => return,
        }
        excess = json_len(value).saturating_sub(budget);
    }
}

/// A document of a tracker's own, which loses its form when a part is taken away.
fn is_document(value: &Value) -> bool {
    value.get("type").and_then(Value::as_str) == Some("doc")
        && value.get("content").is_some_and(Value::is_array)
}

/// The longest text, and the list that takes most.
#[derive(Debug, Default)]
struct Longest {
    text: Option<(usize, String, String)>,
    list: Option<(usize, String, String)>,
}

impl Longest {
    /// A long text before a list, as entries are worth more than their last words.
    fn found(self) -> Option<(String, String, bool)> {
        match (self.text, self.list) {
            (Some((chars, at, place)), _) if chars > 400 => Some((at, place, false)),
            (_, Some((_, at, place))) => Some((at, place, true)),
            (Some((_, at, place)), None) => Some((at, place, false)),
            (None, None) => None,
        }
    }

    fn look(&mut self, value: &Value, name: &str) {
        self.visit(value, name, "");
    }

    fn visit(&mut self, value: &Value, at: &str, place: &str) {
        match value {
            Value::String(text) => {
                let chars = text.chars().count();
                if chars > LEAST_CHARS + 1 && self.text.as_ref().is_none_or(|(most, ..)| chars > *most) {
                    self.text = Some((chars, at.to_owned(), place.to_owned()));
                }
            }
            Value::Array(values) => {
                let bytes = json_len(value);
                if values.len() > LEAST_ENTRIES && self.list.as_ref().is_none_or(|(most, ..)| bytes > *most) {
                    self.list = Some((bytes, at.to_owned(), place.to_owned()));
                }
                for (i, value) in values.iter().enumerate() {
                    self.visit(value, &format!("{at}[{i}]"), &format!("{place}/{i}"));
                }
            }
            Value::Object(_) if is_document(value) => {
                // To be taken as a whole, like a text as long as that.
                let bytes = json_len(value);
                if self.text.as_ref().is_none_or(|(most, ..)| bytes > *most) {
                    self.text = Some((bytes.max(401), at.to_owned(), place.to_owned()));
                }
            }
            Value::Object(object) => {
                for (name, value) in object {
                    let step = name.replace('~', "~0").replace('/', "~1");
                    let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                    self.visit(value, &at, &format!("{place}/{step}"));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_longest_text_is_cut_first_and_named_with_what_it_was() {
        let mut value = json!({"summary": "short", "description": "x".repeat(5_000), "comments": [{"body": "y".repeat(300)}]});
        let mut cuts = Cuts::default();
        fit(&mut value, "", 1_000, &mut cuts);
        assert!(json_len(&value) <= 1_000);
        assert_eq!(value["summary"], "short");
        assert_eq!(value["comments"][0]["body"].as_str().map(str::len), Some(300));
        let lines = cuts.lines();
        assert!(
            lines[0].starts_with("description: ") && lines[0].ends_with(" of 5000 characters"),
            "{lines:?}"
        );
    }

    #[test]
    fn a_document_goes_as_a_whole_and_a_list_of_short_things_loses_its_end() {
        let mut value = json!({"description": {"type": "doc", "content": [{"text": "x".repeat(900)}]},
            "watchers": (0..200).collect::<Vec<_>>()});
        let mut cuts = Cuts::default();
        fit(&mut value, "", 120, &mut cuts);
        assert_eq!(value["description"], Value::Null);
        assert!(json_len(&value) <= 120, "{value}");
        assert_eq!(cuts.lines().len(), 2, "{cuts:?}");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<i64>().prop_map(Value::from), "\\PC{0,600}".prop_map(Value::from)];
        leaf.prop_recursive(3, 40, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map("[a-z/~]{1,6}", inner, 0..8)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn cutting_ends_and_what_fits_is_left_alone(mut value in any_value(), budget in 100usize..4_000) {
            let before = value.clone();
            let mut cuts = Cuts::default();
            fit(&mut value, "it", budget, &mut cuts);
            if json_len(&before) <= budget {
                prop_assert_eq!(value, before);
                prop_assert!(cuts.lines().is_empty());
            } else if json_len(&value) > budget {
                // Nothing that may be cut is left.
                let mut longest = Longest::default();
                longest.look(&value, "it");
                prop_assert!(longest.found().is_none());
            }
        }
    }
}
