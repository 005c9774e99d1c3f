//! Words that may have been meant.

/// Most words that are named.
const MOST: usize = 3;

/// The known words that are most like this one, the likest first; none when none is like it.
pub(super) fn near<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let asked = folded(word);
    let bound = (asked.len() / 3).max(2);
    let mut found: Vec<(usize, &str)> = known
        .filter_map(|candidate| {
            let other = folded(candidate);
            let begins = asked.len() >= 3 && (other.starts_with(&asked) || asked.starts_with(&other));
            let distance = distance(&asked, &other);
            (distance <= bound || begins && !other.is_empty()).then_some((distance, candidate))
        })
        .collect();
    found.sort();
    found.into_iter().take(MOST).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// Letters and digits in lower case: trackers differ in spaces, hyphens and case.
fn folded(word: &str) -> Vec<char> {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(100).collect()
}

/// How many letters to insert, remove or replace.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = here;
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_case_space_or_a_letter_is_near() {
        let known = ["In Progress", "In Review", "Done", "To Do"];
        let near = |word| near(word, known.iter().copied());
        assert_eq!(near("in-progress"), ["In Progress"]);
        assert_eq!(near("In Reveiw"), ["In Review"]);
        assert_eq!(near("todo"), ["To Do"]);
        assert!(near("Blocked").is_empty());
    }

    #[test]
    fn the_distance_counts_letters() {
        let of = |a: &str, b: &str| distance(&folded(a), &folded(b));
        assert_eq!((of("kitten", "sitting"), of("", "abc"), of("abc", "abc")), (3, 3, 0));
    }
}
