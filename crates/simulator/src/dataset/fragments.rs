//! Text that many objects repeat (people, labels, URLs) is held once; objects hold a mark
//! in its place. Twenty thousand issues with full user objects so fit in little memory.

use std::fmt;

/// Base of API URLs inside objects. As on the real service, and not this server: a client
/// must not follow URLs it finds in bodies.
pub(crate) const API: &str = "https://api.github.com";
/// Base of the URLs that people follow.
pub(crate) const WEB: &str = "https://github.com";

// Control characters never stand bare in JSON text, so they cannot be mistaken for content.
const OPEN: char = '\u{1}';
const CLOSE: char = '\u{2}';

/// A piece of shared text. `Display` writes the mark that stands for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fragment(usize);

/// `https://api.github.com/repos/<owner>/<name>`
pub(crate) const REPOSITORY_API: Fragment = Fragment(0);
/// `https://github.com/<owner>/<name>`
pub(crate) const REPOSITORY_WEB: Fragment = Fragment(1);

impl fmt::Display for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OPEN}{}{CLOSE}", self.0)
    }
}

/// The shared texts of one repository.
#[derive(Debug)]
pub(crate) struct Fragments(Vec<Box<str>>);

impl Fragments {
    pub(crate) fn new(full_name: &str) -> Self {
        Self(vec![api_base(full_name), web_base(full_name)])
    }

    pub(crate) fn add(&mut self, text: impl Into<Box<str>>) -> Fragment {
        self.0.push(text.into());
        Fragment(self.0.len() - 1)
    }

    pub(crate) fn set(&mut self, fragment: Fragment, text: &str) {
        self.0[fragment.0] = self.compact(text).into();
    }

    pub(crate) fn rename(&mut self, full_name: &str) {
        self.0[REPOSITORY_API.0] = api_base(full_name);
        self.0[REPOSITORY_WEB.0] = web_base(full_name);
    }

    /// Puts marks for the repository's own URLs, so that a renaming reaches them.
    pub(crate) fn compact(&self, text: &str) -> String {
        text.replace(&*self.0[REPOSITORY_API.0], &REPOSITORY_API.to_string())
            .replace(&*self.0[REPOSITORY_WEB.0], &REPOSITORY_WEB.to_string())
    }

    /// The text with every mark replaced.
    pub(crate) fn expand(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() * 3);
        self.expand_into(text, &mut out);
        out
    }

    pub(crate) fn expand_into(&self, text: &str, out: &mut String) {
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            out.push_str(before);
            let Some((mark, after)) = after.split_once(CLOSE) else { break };
            if let Some(fragment) = mark.parse::<usize>().ok().and_then(|index| self.0.get(index)) {
                self.expand_into(fragment, out);
            }
            rest = after;
        }
        out.push_str(rest);
    }
}

fn api_base(full_name: &str) -> Box<str> {
    format!("{API}/repos/{full_name}").into()
}

fn web_base(full_name: &str) -> Box<str> {
    format!("{WEB}/{full_name}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compacted_text_expands_to_itself_and_follows_a_renaming() {
        let mut fragments = Fragments::new("octo/app");
        let text = r#"{"url":"https://api.github.com/repos/octo/app/issues/1","body":"é 1"}"#;
        let compact = fragments.compact(text);
        assert!(compact.len() < text.len());
        assert_eq!(fragments.expand(&compact), text);
        fragments.rename("octo/app2");
        assert!(fragments.expand(&compact).contains("/repos/octo/app2/issues/1"));
    }

    #[test]
    fn fragments_may_hold_fragments() {
        let mut fragments = Fragments::new("octo/app");
        let inner = fragments.add("in");
        let outer = fragments.add(format!("<{inner}>"));
        assert_eq!(fragments.expand(&format!("a{outer}b{outer}")), "a<in>b<in>");
    }
}
