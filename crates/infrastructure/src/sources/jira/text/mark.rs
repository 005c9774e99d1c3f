//! Our marker in texts of things that can carry nothing else: an anchor at the end, which wiki markup renders as nothing
//! (<https://jira.atlassian.com/secure/WikiRendererHelpAction.jspa?section=links>).

const OPENED: &str = "{anchor:patchbay-";

/// The text with the marker behind it.
pub(in super::super) fn put(text: &str, marker: &str) -> String {
    match text.trim_end() {
        "" => anchor(marker),
        text => format!("{text}\n{}", anchor(marker)),
    }
}

/// Whether the text carries the marker.
pub(in super::super) fn is_in(text: &str, marker: &str) -> bool {
    text.contains(&anchor(marker))
}

/// The text as it was meant, of whichever write it is.
pub(in super::super) fn without(text: &str) -> &str {
    let whole = text.trim_end();
    match whole.rfind(OPENED).map(|at| whole.split_at(at)) {
        Some((meant, anchor)) if anchor.find('}') == Some(anchor.len() - 1) => meant.trim_end(),
        _ => text,
    }
}

fn anchor(marker: &str) -> String {
    format!("{{anchor:{marker}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_and_shown_to_nobody() {
        let marker = "patchbay-0193500000007abc8def001122334455";
        let marked = put("Fixed the *fan*.\n", marker);
        assert_eq!(marked, format!("Fixed the *fan*.\n{{anchor:{marker}}}"));
        assert!(is_in(&marked, marker) && !is_in(&marked, "patchbay-other"));
        assert_eq!(without(&marked), "Fixed the *fan*.");
        assert_eq!(without(&put("", marker)), "");
        for kept in ["See {anchor:top}", "{anchor:patchbay-1} and more", "{anchor:patchbay-1", "plain "] {
            assert_eq!(without(kept), kept);
        }
    }
}
