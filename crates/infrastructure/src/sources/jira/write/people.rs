//! Finding the person a name stands for among those an issue may be given to, or who may see it.

use application::ports::SourceError;
use serde_json::{Value, json};

use super::super::super::nearest::nearest;
use super::super::api::Api;
use super::super::model::User;

/// Jira's default, and enough to see whether a name is the only one.
const MOST: &str = "50";

/// Who may be meant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Among<'a> {
    /// Whom issues of a project may be given to.
    Project(&'a str),
    /// Whom an issue may be given to.
    Issue(&'a str),
    /// Who may see an issue.
    Viewers(&'a str),
}

impl<'a> Among<'a> {
    fn scope(self) -> (&'static str, &'a str) {
        match self {
            Self::Project(key) => ("project", key),
            Self::Issue(key) | Self::Viewers(key) => ("issueKey", key),
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Project(_) | Self::Issue(_) => "/user/assignable/search",
            Self::Viewers(_) => "/user/viewissue/search",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Project(_) | Self::Issue(_) => "nobody an issue can be assigned to here",
            Self::Viewers(_) => "nobody who may see the issue",
        }
    }
}

/// The person of this account id, login, e-mail address or display name, as Jira takes them.
pub(super) async fn find(
    api: &Api<'_>,
    among: Among<'_>,
    given: &str,
    pointer: &str,
) -> Result<Value, SourceError> {
    find_user(api, among, given, pointer).await.map(|user| reference(&user))
}

/// As [`find`], with all that Jira shows of them.
pub(super) async fn find_user(
    api: &Api<'_>,
    among: Among<'_>,
    given: &str,
    pointer: &str,
) -> Result<User, SourceError> {
    let given = given.trim().trim_start_matches('@');
    let asks: &[&str] = if !api.is_cloud() {
        &["username"]
    } else if looks_like_account_id(given) {
        &["accountId", "query"]
    } else {
        &["query"]
    };
    let mut seen: Vec<User> = Vec::new();
    for ask in asks {
        let query = [among.scope(), (*ask, given), ("maxResults", MOST)];
        let what = "the people of an issue";
        seen = api.get(&api.rest(among.path()), &query, what).await?.json(what)?;
        if let Some(at) = choose(&seen, given, pointer)? {
            return Ok(seen.swap_remove(at));
        }
    }
    let names: Vec<String> = seen.iter().filter_map(name).collect();
    Err(SourceError::unknown_value(
        pointer,
        format!("{} is called `{given}`", among.words()),
        nearest(given, names.iter().map(String::as_str)),
    ))
}

/// Cloud's ids are 24 hexadecimal digits, or a number and a UUID behind a colon.
fn looks_like_account_id(given: &str) -> bool {
    given.contains(':') || (given.len() == 24 && given.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Which of them is meant.
fn choose(seen: &[User], given: &str, pointer: &str) -> Result<Option<usize>, SourceError> {
    let same =
        |text: &Option<String>| text.as_ref().is_some_and(|text| text.to_lowercase() == given.to_lowercase());
    let by_id = |user: &User| same(&user.account_id) || same(&user.key) || same(&user.name);
    let by_name = |user: &&User| same(&user.email_address) || same(&user.display_name);
    if let Some(at) = seen.iter().position(by_id) {
        return Ok(Some(at));
    }
    let mut found = seen.iter().enumerate().filter(|(_, user)| by_name(user));
    let Some((first, _)) = found.next() else { return Ok(None) };
    if found.next().is_none() {
        return Ok(Some(first));
    }
    let ids =
        seen.iter().filter(by_name).filter_map(|user| user.account_id.clone().or_else(|| user.name.clone()));
    Err(SourceError::unknown_value(
        pointer,
        format!("several people are called `{given}`: name the one that is meant by id"),
        ids.collect(),
    ))
}

fn reference(user: &User) -> Value {
    match (&user.account_id, &user.name) {
        (Some(id), _) => json!({"accountId": id}),
        (None, name) => json!({"name": name.as_ref().or(user.key.as_ref())}),
    }
}

/// The name that people see.
pub(super) fn name(user: &User) -> Option<String> {
    user.display_name.clone().or_else(|| user.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_is_chosen_and_two_of_a_name_are_told_apart_by_id() {
        let seen: Vec<User> = serde_json::from_value(json!([
            {"accountId": "1:a", "displayName": "Ann Lee", "emailAddress": "ann@acme.test"},
            {"accountId": "1:b", "displayName": "Bo Lee"}, {"accountId": "1:c", "displayName": "Bo Lee"},
        ]))
        .unwrap();
        let choose = |given| {
            choose(&seen, given, "/assignees/0").map(|at| at.and_then(|at| seen.get(at)).map(reference))
        };
        assert_eq!(choose("ann@ACME.test").unwrap(), Some(json!({"accountId": "1:a"})));
        assert_eq!(choose("ann lee").unwrap(), Some(json!({"accountId": "1:a"})));
        assert_eq!(choose("Ann").unwrap(), None, "a part of a name is nobody's name");
        assert_eq!(choose("Bo Lee").unwrap_err().allowed, ["1:b", "1:c"]);
        assert_eq!(choose("1:c").unwrap(), Some(json!({"accountId": "1:c"})));
        assert!(
            looks_like_account_id("5b10a2844c20165700ede21g")
                || looks_like_account_id("5b10a2844c20165700ede210")
        );
    }
}
