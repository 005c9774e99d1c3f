//! Links between issues.

use std::collections::BTreeMap;

use application::ports::SourceError;
use domain::{ChangedField, ItemLink, WrittenItem};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::super::nearest::nearest;
use super::super::api::{Api, segment};
use super::issue::{Issue, finish};
use super::{rejected, send};

#[derive(Deserialize)]
struct Kinds {
    #[serde(rename = "issueLinkTypes", default)]
    kinds: Vec<Kind>,
}

/// A type of link, with what it says from either end.
#[derive(Debug, Clone, Deserialize)]
struct Kind {
    #[serde(default)]
    name: String,
    #[serde(default)]
    inward: String,
    #[serde(default)]
    outward: String,
}

/// A type of link from the side of the issue that is asked about.
#[derive(Debug)]
struct Side {
    kind: Kind,
    inward: bool,
}

impl Side {
    fn words(&self) -> &str {
        let words = if self.inward { &self.kind.inward } else { &self.kind.outward };
        if words.is_empty() { &self.kind.name } else { words }
    }

    /// Whether it says the same from both ends.
    fn is_symmetric(&self) -> bool {
        self.kind.inward == self.kind.outward
    }
}

/// Both issues, and the link between them that was asked for, if it is there.
struct There {
    issue: Issue,
    other: Issue,
    side: Side,
    link: Option<String>,
}

impl There {
    async fn read(api: &Api<'_>, key: &str, asked: &ItemLink) -> Result<Self, SourceError> {
        let issue = Issue::read(api, key, &["issuelinks"]).await?;
        issue.require_selected(api)?;
        let to = |error: SourceError| SourceError { field: Some("/to".into()), ..error };
        let other = Issue::read(api, &asked.to, &[]).await.map_err(to)?;
        other.require_selected(api).map_err(to)?;
        if issue.id == other.id {
            return Err(rejected("/to", "an issue cannot be linked to itself"));
        }
        let what = "the types of links";
        let kinds: Kinds = api.get(&api.rest("/issueLinkType"), &[], what).await?.json(what)?;
        let side = choose(&kinds.kinds, &asked.kind)?;
        let link = existing(issue.field("issuelinks"), &side, &other);
        Ok(Self { issue, other, side, link })
    }
}

/// Makes a link, or takes it away.
pub(super) async fn link(api: &Api<'_>, key: &str, asked: &ItemLink) -> Result<WrittenItem, SourceError> {
    let There { issue, other, side, link } = There::read(api, key, asked).await?;
    let said = Value::String(format!("{} {}", side.words(), other.key));
    let change = |from: Value, to: Value| vec![ChangedField { field: "links".to_owned(), from, to }];
    let what = format!("the link of {} to {}", issue.key, other.key);
    let (changed, warnings) = match (link, asked.remove) {
        (None, false) => {
            // The issue that says the outward words, such as "blocks", is the inward one of the link
            // (<https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-links/>).
            let (inward, outward) = if side.inward { (&other, &issue) } else { (&issue, &other) };
            let body = json!({"type": {"name": side.kind.name},
                "inwardIssue": {"key": inward.key}, "outwardIssue": {"key": outward.key}});
            send::change(api, Method::POST, &api.rest("/issueLink"), &body, &pointers(), &what).await?;
            (change(Value::Null, said), Vec::new())
        }
        (Some(id), true) => {
            send::delete(api, &api.rest(&format!("/issueLink/{}", segment(&id))), &[], &what).await?;
            (change(said, Value::Null), Vec::new())
        }
        (Some(_), false) => (Vec::new(), vec!["the issues are linked so already".to_owned()]),
        (None, true) => (Vec::new(), vec!["there is no such link between the issues".to_owned()]),
    };
    let told = finish(api, &issue.key, &[], None, &issue.id, warnings).await;
    Ok(WrittenItem { changed, ..told })
}

/// The issue, when the link is there, or gone, as was asked.
pub(super) async fn is_as_asked(
    api: &Api<'_>,
    key: &str,
    asked: &ItemLink,
) -> Result<Option<Issue>, SourceError> {
    let there = There::read(api, key, asked).await?;
    Ok((there.link.is_none() == asked.remove).then_some(there.issue))
}

/// Where in the request Jira's names came from.
fn pointers() -> BTreeMap<String, String> {
    [("type", "/type"), ("inwardIssue", "/to"), ("outwardIssue", "/to")]
        .map(|(name, pointer)| (name.to_owned(), pointer.to_owned()))
        .into()
}

/// The type of link by its name, or by its words for either direction.
fn choose(kinds: &[Kind], given: &str) -> Result<Side, SourceError> {
    let wanted = given.trim().to_lowercase();
    let is = |text: &str| text.trim().to_lowercase() == wanted;
    let outward = kinds.iter().position(|kind| is(&kind.outward) || is(&kind.name));
    let inward = kinds.iter().position(|kind| is(&kind.inward));
    let at = outward.map(|at| (at, false)).or(inward.map(|at| (at, true)));
    if let Some((kind, inward)) = at.and_then(|(at, inward)| Some((kinds.get(at)?.clone(), inward))) {
        return Ok(Side { kind, inward });
    }
    let mut words: Vec<&str> =
        kinds.iter().flat_map(|kind| [kind.outward.as_str(), kind.inward.as_str()]).collect();
    words.retain(|words| !words.is_empty());
    let message = format!("there is no type of link `{}`", given.trim());
    Err(SourceError::unknown_value("/type", message, nearest(given, words)))
}

/// The id of the link among those of an issue.
fn existing(links: &Value, side: &Side, other: &Issue) -> Option<String> {
    let is_other = |end: Option<&Value>| {
        end.is_some_and(|end| {
            end.get("key").and_then(Value::as_str) == Some(&other.key)
                || end.get("id").and_then(Value::as_str) == Some(&other.id)
        })
    };
    let link = links.as_array()?.iter().find(|link| {
        let named = link.get("type").and_then(|kind| kind.get("name")).and_then(Value::as_str);
        let (inward, outward) = (is_other(link.get("inwardIssue")), is_other(link.get("outwardIssue")));
        let ends = if side.is_symmetric() {
            inward || outward
        } else if side.inward {
            inward
        } else {
            outward
        };
        named == Some(&side.kind.name) && ends
    })?;
    match link.get("id")? {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> Vec<Kind> {
        serde_json::from_value(json!([
            {"id": "1", "name": "Blocks", "inward": "is blocked by", "outward": "blocks"},
            {"id": "2", "name": "Relates", "inward": "relates to", "outward": "relates to"},
        ]))
        .unwrap()
    }

    fn chosen(given: &str) -> (String, bool) {
        let side = choose(&kinds(), given).unwrap();
        (side.kind.name.clone(), side.inward)
    }

    #[test]
    fn a_link_is_named_by_its_type_or_by_what_it_says_from_either_end() {
        assert_eq!(chosen("blocks"), ("Blocks".into(), false));
        assert_eq!(chosen("Is blocked by"), ("Blocks".into(), true));
        assert_eq!(chosen("relates to"), ("Relates".into(), false));
        assert_eq!(chosen("RELATES"), ("Relates".into(), false));
        let error = choose(&kinds(), "is blocking").unwrap_err();
        assert_eq!(error.field.as_deref(), Some("/type"));
        assert!(error.allowed.contains(&"is blocked by".to_owned()), "{:?}", error.allowed);
    }

    #[test]
    fn a_link_is_found_by_its_direction() {
        let other: Issue = serde_json::from_value(json!({"id": "7", "key": "ENG-2"})).unwrap();
        let links = json!([
            {"id": "100", "type": {"name": "Blocks"}, "inwardIssue": {"id": "7", "key": "ENG-2"}},
            {"id": 101, "type": {"name": "Relates"}, "inwardIssue": {"id": "7", "key": "ENG-2"}},
        ]);
        let found = |given: &str| existing(&links, &choose(&kinds(), given).unwrap(), &other);
        assert_eq!(found("is blocked by").as_deref(), Some("100"));
        assert_eq!(found("blocks"), None, "it is the other way round");
        assert_eq!(found("relates to").as_deref(), Some("101"));
    }
}
