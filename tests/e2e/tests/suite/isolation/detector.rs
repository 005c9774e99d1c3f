//! Looks into every answer for anything that is another tenant's.

use std::collections::HashMap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Knows the words and ids of every tenant. An id that is new belongs to the tenant that was first told it.
pub(crate) struct Detector {
    words: Vec<Vec<String>>,
    owners: Mutex<HashMap<String, usize>>,
}

impl Detector {
    /// `words[i]` stand in everything that tenant `i` has, and nowhere else.
    pub(crate) fn new(words: Vec<Vec<String>>) -> Self {
        Self { words, owners: Mutex::default() }
    }

    /// Takes an id down as this tenant's. `Err` when it is known as another's.
    pub(crate) fn learn(&self, id: &str, tenant: usize) -> Result<(), String> {
        let mut owners = self.owners.lock().expect("nobody fails while holding it");
        let owner = *owners.entry(id.to_owned()).or_insert(tenant);
        if owner == tenant { Ok(()) } else { Err(format!("{id} is of tenant {owner}, not of {tenant}")) }
    }

    /// How many ids are known.
    pub(crate) fn known(&self) -> usize {
        self.owners.lock().expect("nobody fails while holding it").len()
    }

    /// What of others stands in an answer to this tenant, that the tenant did not say itself in `asked`.
    pub(crate) fn check(&self, tenant: usize, asked: &str, answer: &str) -> Vec<String> {
        let mut text = answer.to_owned();
        for token in opaque(answer) {
            text.push('\n');
            text.push_str(&token);
        }
        let mut found = Vec::new();
        for (other, words) in self.words.iter().enumerate().filter(|(other, _)| *other != tenant) {
            for word in words {
                if text.contains(word.as_str()) && !asked.contains(word.as_str()) {
                    found.push(format!("the word {word} of tenant {other}"));
                }
            }
        }
        for id in ids(&text) {
            if !asked.contains(id)
                && let Err(why) = self.learn(id, tenant)
            {
                found.push(why);
            }
        }
        found
    }
}

/// The UUIDs in a text.
pub(crate) fn ids(text: &str) -> impl Iterator<Item = &str> {
    // From its first hyphen, which is found much faster than the rest could be tried everywhere.
    text.match_indices('-').filter_map(|(hyphen, _)| {
        let id = text.get(hyphen.checked_sub(8)?..hyphen + 28)?;
        let is_id = id.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        });
        is_id.then_some(id)
    })
}

/// What the cursors and the like in a text hold: every long word that is base64 of a text.
fn opaque(text: &str) -> Vec<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '/' | '='));
    // An id as it is has 36 characters.
    let long = text.split(word).filter(|word| word.len() >= 40);
    long.filter_map(|word| {
        let word = word.trim_end_matches('=');
        let bytes = URL_SAFE_NO_PAD.decode(word).or_else(|_| STANDARD_NO_PAD.decode(word)).ok()?;
        String::from_utf8(bytes).ok()
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: &str = "019aa5b4-6a2e-7c61-9df2-0b54f1a3c001";
    const THEIRS: &str = "019aa5b4-6a2e-7c61-9df2-0b54f1a3c002";

    #[test]
    fn foreign_words_and_ids_are_found_also_inside_cursors_unless_the_caller_said_them() {
        let detector = Detector::new(vec![vec!["canaryone".into()], vec!["canarytwo".into()]]);
        detector.learn(THEIRS, 1).unwrap();
        assert!(detector.check(0, "", &format!("{MINE} canaryone")).is_empty());
        assert_eq!(detector.check(0, "", "xcanarytwox").len(), 1);
        assert_eq!(detector.check(0, "", &format!("{{\"id\":\"{THEIRS}\"}}")).len(), 1);
        assert!(detector.check(0, THEIRS, THEIRS).is_empty());
        let cursor = URL_SAFE_NO_PAD.encode(format!("{{\"after\":\"x\",\"id\":\"{THEIRS}\"}}"));
        assert_eq!(detector.check(0, "", &cursor).len(), 1);
        assert_eq!(detector.check(1, "", MINE).len(), 1, "an id told to one tenant is its own");
    }
}
