//! What somebody may have meant by a name that a tracker does not know.

/// How many are named.
const MOST: usize = 10;

/// All known names where they are few, otherwise those nearest to the one given, the nearest first.
pub(super) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let wanted = given.trim().to_lowercase();
    let mut ranked: Vec<(usize, &str)> =
        known.into_iter().map(|name| (distance(&wanted, &name.to_lowercase()), name)).collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(MOST).map(|(_, name)| name.to_owned()).collect()
}

/// Edits between two names; parts of each other are nearer than anything that must be edited much.
fn distance(wanted: &str, name: &str) -> usize {
    let edits = edits(wanted, name);
    let part = !wanted.is_empty() && (name.contains(wanted) || wanted.contains(name));
    if part { edits.min(2) } else { edits }
}

/// Levenshtein's distance, over the first 100 characters.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(100).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().take(100).enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = corner + usize::from(a != *b);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant_comes_first() {
        let known = ["bug", "enhancement", "documentation", "good first issue", "Duplicate"];
        assert_eq!(nearest("bugs", known)[0], "bug");
        assert_eq!(nearest("docs", ["dock", "documentation", "docs: api"])[0], "dock");
        assert_eq!(nearest("first", known)[0], "good first issue");
        assert_eq!(nearest("duplicated", known)[0], "Duplicate");
    }

    #[test]
    fn no_more_than_ten_are_named() {
        let many: Vec<String> = (0..500).map(|i| format!("label {i}")).collect();
        assert_eq!(nearest("", many.iter().map(String::as_str)).len(), 10);
        assert!(nearest("x", []).is_empty());
    }
}
