//! What mappings must hold, and what may be a mistake in them.

use std::collections::BTreeMap;

use domain::{FieldError, FieldRole, Invalid, Mappings};

use super::near::near;
use crate::ports::{FoundWord, Vocabulary};

/// Most words of one kind.
const MOST_WORDS: usize = 1_000;
/// Longest word, in characters.
const LONGEST: usize = 300;

/// Something that may be a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// JSON Pointer (RFC 6901) to it.
    pub pointer: String,
    /// What is odd about it.
    pub message: String,
    /// What may have been meant.
    pub near: Vec<String>,
}

fn pointer(kind: &str, word: &str) -> String {
    format!("/mappings/{kind}/{}", word.replace('~', "~0").replace('/', "~1"))
}

/// What no mappings may be.
pub(super) fn check(mappings: &Mappings) -> Result<(), Invalid> {
    let mut errors = Vec::new();
    check_words("status", &mappings.status, &mut errors);
    check_words("resolution", &mappings.resolution, &mut errors);
    check_words("type", &mappings.item_type, &mut errors);
    check_words("priority", &mappings.priority, &mut errors);
    check_words("fields", &mappings.fields, &mut errors);
    let mut taken: BTreeMap<FieldRole, &str> = BTreeMap::new();
    for (field, role) in &mappings.fields {
        if let Some(other) = taken.insert(*role, field) {
            errors.push(FieldError {
                pointer: pointer("fields", field),
                message: format!(
                    "has the role {} that the field {other} has too; one may have it",
                    role.as_str()
                ),
                allowed: Vec::new(),
            });
        }
    }
    Invalid::collect(errors)
}

fn check_words<T>(kind: &str, words: &BTreeMap<String, T>, errors: &mut Vec<FieldError>) {
    let mut wrong = |pointer: String, message: String| {
        errors.push(FieldError { pointer, message, allowed: Vec::new() });
    };
    if words.len() > MOST_WORDS {
        wrong(format!("/mappings/{kind}"), format!("must have at most {MOST_WORDS} entries"));
        return;
    }
    for word in words.keys() {
        if word.is_empty() || word.chars().count() > LONGEST || word.contains('\0') {
            let shown: String = word.chars().take(40).collect();
            wrong(pointer(kind, &shown), format!("must have 1 to {LONGEST} characters, without NUL"));
        }
    }
}

/// What speaks of nothing that is stored.
pub(super) fn warnings(mappings: &Mappings, vocabulary: &Vocabulary) -> Vec<Warning> {
    let mut warnings = Vec::new();
    unknown_words("status", mappings.status.keys(), &vocabulary.status, &mut warnings);
    unknown_words("resolution", mappings.resolution.keys(), &vocabulary.resolution, &mut warnings);
    unknown_words("type", mappings.item_type.keys(), &vocabulary.item_type, &mut warnings);
    unknown_words("priority", mappings.priority.keys(), &vocabulary.priority, &mut warnings);
    for field in mappings.fields.keys() {
        if vocabulary.fields.iter().any(|known| known.source_id == *field) {
            continue;
        }
        // People know fields by their names.
        let named = vocabulary.fields.iter().filter(|known| known.name.eq_ignore_ascii_case(field));
        let mut likely: Vec<String> = named.map(|known| known.source_id.clone()).take(3).collect();
        if likely.is_empty() {
            likely = near(field, vocabulary.fields.iter().map(|known| known.source_id.as_str()));
        }
        warnings.push(Warning {
            pointer: pointer("fields", field),
            message: "is the id of no custom field that is stored".into(),
            near: likely,
        });
    }
    warnings
}

fn unknown_words<'a>(
    kind: &str,
    words: impl Iterator<Item = &'a String>,
    known: &[FoundWord],
    warnings: &mut Vec<Warning>,
) {
    for word in words.filter(|word| known.iter().all(|found| found.original != **word)) {
        warnings.push(Warning {
            pointer: pointer(kind, word),
            message: "is found in no stored item; words are compared letter by letter".into(),
            near: near(word, known.iter().map(|found| found.original.as_str())),
        });
    }
}

#[cfg(test)]
mod tests {
    use domain::StatusNorm;

    use super::*;
    use crate::ports::FoundField;

    fn statuses(words: &[&str]) -> Mappings {
        let status = words.iter().map(|word| ((*word).to_owned(), StatusNorm::Done)).collect();
        Mappings { status, ..Mappings::default() }
    }

    #[test]
    fn two_fields_cannot_have_one_role() {
        let fields = [("customfield_1", FieldRole::StoryPoints), ("customfield_2", FieldRole::StoryPoints)];
        let fields = fields.into_iter().map(|(field, role)| (field.to_owned(), role)).collect();
        let error = check(&Mappings { fields, ..Mappings::default() }).expect_err("it is refused");
        assert_eq!(error.errors.len(), 1);
        assert_eq!(error.errors[0].pointer, "/mappings/fields/customfield_2");
    }

    #[test]
    fn an_empty_word_is_refused_where_it_stands() {
        let error = check(&statuses(&["Done", ""])).expect_err("it is refused");
        assert_eq!(error.errors[0].pointer, "/mappings/status/");
        assert!(check(&statuses(&["Done", "To Do"])).is_ok());
    }

    #[test]
    fn an_unknown_word_is_warned_about_with_what_may_have_been_meant() {
        let word = |original: &str| FoundWord { original: original.into(), items: 1, defaults: Vec::new() };
        let vocabulary = Vocabulary { status: vec![word("In Review"), word("a/b")], ..Vocabulary::default() };
        let warnings = warnings(&statuses(&["in review", "In Review", "x/y"]), &vocabulary);
        assert_eq!(warnings.len(), 2);
        assert_eq!(
            (warnings[0].pointer.as_str(), &*warnings[0].near),
            ("/mappings/status/in review", &["In Review".to_owned()][..])
        );
        assert_eq!(warnings[1].pointer, "/mappings/status/x~1y");
    }

    #[test]
    fn a_field_that_is_named_instead_of_identified_is_found() {
        let field = FoundField {
            source_id: "customfield_10016".into(),
            name: "Story points".into(),
            field_type: "number".into(),
        };
        let vocabulary = Vocabulary { fields: vec![field], ..Vocabulary::default() };
        let fields = [("story points".to_owned(), FieldRole::StoryPoints)].into();
        let warnings = warnings(&Mappings { fields, ..Mappings::default() }, &vocabulary);
        assert_eq!(warnings[0].near, ["customfield_10016"]);
    }
}
