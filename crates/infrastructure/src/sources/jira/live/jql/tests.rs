use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn seen() -> Vec<Seen> {
    [("10000", "ENG", "Engineering"), ("10001", "OPS", "Operations")]
        .map(|(id, key, name)| Seen {
            id: id.into(),
            key: key.into(),
            name: name.into(),
            issue_types: Vec::new(),
        })
        .to_vec()
}

fn within() -> Bounds {
    Bounds::new(Some(BTreeSet::from(["ENG".to_owned(), "OPS".to_owned()])))
}

fn sent(jql: &str) -> String {
    Query::parse(jql).unwrap().render(Some(&seen()))
}

#[test]
fn a_query_stands_in_brackets_behind_the_projects_and_its_order_outside() {
    assert_eq!(
        sent("status = Done OR summary ~ 'a \"b\\' )' order by priority desc"),
        r#"project in (10000, 10001) AND (status = Done OR summary ~ "a \"b' )") order by priority desc, key ASC"#
    );
    assert_eq!(sent(""), "project in (10000, 10001) ORDER BY updated DESC, key ASC");
    assert_eq!(
        sent("assignee=currentUser() AND cf[10001] in(a,b)"),
        "project in (10000, 10001) AND (assignee=currentUser() AND cf[10001] in(a,b)) ORDER BY updated DESC, key ASC"
    );
    assert_eq!(Query::parse("a = 1").unwrap().render(None), "a = 1 ORDER BY updated DESC, key ASC");
    assert_eq!(Query::parse("ORDER BY key").unwrap().render(None), "project is not EMPTY ORDER BY key");
}

#[test]
fn what_could_leave_the_brackets_is_refused() {
    for jql in [
        "status = Done) OR (project = SECRET",
        ") OR project = SECRET OR (a = b",
        "a = b ORDER BY key) OR (project = SECRET",
        "(a = b ORDER BY key)",
        "a = b ORDER BY key ORDER BY summary",
        "a = b ORDER BY currentUser()",
        "a = b ORDER",
        "a = \"b",
        "a = 'b",
        "a = b\\) OR project = SECRET",
        "a = \"b\\x\"",
        "a = b || project = SECRET",
        "a = b & c = d",
        "!a = b",
        "a = b; project = SECRET",
        "a = b -- \u{0}",
        "a = b\u{a0}OR\u{2028}project = SECRET",
        "a = \"\\u0000\"",
        "a = {b}",
    ] {
        let refused = Query::parse(jql).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("/jql"), "{jql}");
    }
}

#[test]
fn what_may_not_be_seen_is_refused_in_words_that_do_not_tell_whether_it_exists() {
    let check = |jql: &str| Query::parse(jql).unwrap().check(&within(), &seen());
    for jql in [
        "project = SECRET",
        "project in (ENG, SECRET)",
        "project not in (\"Secret plans\")",
        "key = SECRET-1",
        "issuekey in (ENG-1, 'secret-2')",
        "parent = SECRET-1",
        "issue in linkedIssues(SECRET-1)",
        "issue in linkedIssues(\"SECRET-1\", blocks)",
        "\"Epic Link\" = SECRET-4",
        "project was SECRET",
    ] {
        let error = check(jql).unwrap_err();
        assert!(error.message.contains("does not exist among"), "{jql}: {error}");
        assert_eq!(error.allowed, ["ENG", "OPS"]);
    }
    for jql in [
        "project = eng AND key = ENG-7",
        "project in (Engineering, 10001) OR fixVersion = REL-12",
        "project = ENG OR status was Done BEFORE '2026-01-01'",
        "project in projectsLeadByUser() AND summary ~ \"SECRET-1\"",
        "NOT project = OPS AND assignee is EMPTY ORDER BY created",
    ] {
        assert!(check(jql).is_ok(), "{jql}: {:?}", check(jql));
    }
}

/// Reads what is sent as a careful reader would who knows nothing of how it was made.
fn outer_shape(jql: &str) -> (String, String) {
    let inside = jql.strip_prefix("project in (10000, 10001)").expect("the bounds come first");
    let Some(inside) = inside.strip_prefix(" AND (") else { return (String::new(), inside.to_owned()) };
    let (mut depth, mut in_string, mut escaped) = (1_usize, false, false);
    for (at, c) in inside.char_indices() {
        match (in_string, escaped, c) {
            (true, true, _) => escaped = false,
            (true, false, '\\') => escaped = true,
            (_, _, '"') => in_string = !in_string,
            (false, _, '(') => depth += 1,
            (false, _, ')') => {
                depth -= 1;
                if depth == 0 {
                    return (inside[..at].to_owned(), inside[at + 1..].to_owned());
                }
            }
            _ => {}
        }
    }
    panic!("the bracket is never closed: {jql}");
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("project".to_owned()),
        Just("SECRET".to_owned()),
        Just(" OR ".to_owned()),
        Just(" AND ".to_owned()),
        Just(" NOT ".to_owned()),
        Just(" ORDER BY ".to_owned()),
        Just("key".to_owned()),
        Just(" in ".to_owned()),
        Just("=".to_owned()),
        Just("!=".to_owned()),
        Just("(".to_owned()),
        Just(")".to_owned()),
        Just("\"".to_owned()),
        Just("'".to_owned()),
        Just("\\".to_owned()),
        Just("\\\"".to_owned()),
        Just(",".to_owned()),
        Just(" DESC".to_owned()),
        Just("/*".to_owned()),
        Just("--".to_owned()),
        Just("currentUser()".to_owned()),
        Just("\n".to_owned()),
        Just("\\u0029".to_owned()),
        ".{0,3}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn nothing_that_is_sent_reaches_beyond_the_projects(pieces in prop::collection::vec(piece(), 0..24)) {
        let jql = pieces.concat();
        let Ok(query) = Query::parse(&jql) else { return Ok(()) };
        let sent = query.render(Some(&seen()));
        let (_, behind) = outer_shape(&sent);
        let order: Vec<&str> = behind.split_whitespace().take(2).collect();
        prop_assert!(order.len() == 2 && order[0].eq_ignore_ascii_case("order") && order[1].eq_ignore_ascii_case("by"), "{}", sent);
        // Strings aside, no bracket follows.
        let (mut in_string, mut escaped) = (false, false);
        for c in behind.chars() {
            match (in_string, escaped, c) {
                (true, true, _) => escaped = false,
                (true, false, '\\') => escaped = true,
                (_, _, '"') => in_string = !in_string,
                _ => {}
            }
            prop_assert!(in_string || !matches!(c, '(' | ')'), "{}", sent);
        }
        prop_assert!(!sent.chars().any(char::is_control), "{:?}", sent);
        // What was written reads as itself.
        let free = query.render(None);
        let again = Query::parse(&free).expect("it can be read again");
        prop_assert_eq!(again.render(None), free);
    }
}
