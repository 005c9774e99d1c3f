//! The `Link` header.

use http::{HeaderMap, header};
use url::Url;

/// Links of an answer, as written there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    pub(super) next: Option<String>,
    pub(super) last: Option<String>,
}

impl Links {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut links = Self::default();
        for value in headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok()) {
            let mut rest = value;
            // Commas occur inside the URLs too: go from bracket to bracket.
            while let Some((target, behind)) =
                rest.split_once('<').and_then(|(_, behind)| behind.split_once('>'))
            {
                let (parameters, next) = behind
                    .split_once('<')
                    .map_or((behind, ""), |(parameters, _)| (parameters, &behind[parameters.len()..]));
                if has_relation(parameters, "next") {
                    links.next = Some(target.to_owned());
                } else if has_relation(parameters, "last") {
                    links.last = Some(target.to_owned());
                }
                rest = next;
            }
        }
        links
    }

    /// The number of pages, where `last` tells one.
    pub(super) fn pages(&self) -> Option<i64> {
        let last = Url::parse(self.last.as_ref()?).ok()?;
        let page = last.query_pairs().find(|(name, _)| name == "page")?;
        page.1.parse().ok().filter(|pages| *pages > 0)
    }
}

fn has_relation(parameters: &str, relation: &str) -> bool {
    parameters.split([';', ',']).any(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else { return false };
        name.trim().eq_ignore_ascii_case("rel")
            && value.trim().trim_matches('"').split_ascii_whitespace().any(|word| word == relation)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(text: &str) -> Links {
        let mut headers = HeaderMap::new();
        headers.insert(header::LINK, HeaderValue::from_str(text).unwrap());
        Links::read(&headers)
    }

    #[test]
    fn next_and_last_are_found_wherever_they_stand() {
        let links = read(
            r#"<https://h/x?labels=a,b&page=1>; rel="prev", <https://h/x?labels=a,b&page=3>; rel="next", <https://h/x?per_page=100&page=9>; rel="last""#,
        );
        assert_eq!(links.next.as_deref(), Some("https://h/x?labels=a,b&page=3"));
        assert_eq!(links.pages(), Some(9));
        assert_eq!(
            read(r#"<https://h/x?after=abc>; rel=next"#).next.as_deref(),
            Some("https://h/x?after=abc")
        );
    }

    #[test]
    fn other_relations_and_rubbish_are_no_next_page() {
        for text in
            ["", "<", "<x", r#"<https://h>; rel="prev""#, r#"; rel="next""#, "<https://h>; title=next"]
        {
            assert_eq!(read(text), Links::default(), "{text}");
        }
    }
}
