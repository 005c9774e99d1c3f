use super::*;

fn page(json: &str) -> Found<'_> {
    Found::read(json, "the issues").unwrap()
}

/// A page of one time.
fn by_time(found: &Found<'_>, at: &Position, updated: Option<i64>) -> Result<Option<Position>, SourceError> {
    super::by_time(found, at, updated, updated)
}

#[test]
fn cloud_goes_on_until_it_says_that_it_is_the_last_page() {
    let at = Position { from: Some(5), ..Position::default() };
    let next = by_token(&page(r#"{"issues":[{"id":"1"}],"nextPageToken":"a","isLast":false}"#), &at, Some(7))
        .unwrap();
    let next = next.unwrap();
    assert_eq!((next.token.as_deref(), next.from, next.seen), (Some("a"), Some(5), Some(7)));
    // Fewer rows than asked for, or none in the middle, do not end it.
    assert!(
        by_token(&page(r#"{"issues":[],"nextPageToken":"b","isLast":false}"#), &next, None)
            .unwrap()
            .is_some()
    );
    for last in [
        r#"{"issues":[{"id":"1"}],"isLast":true}"#,
        r#"{"issues":[{"id":"1"}]}"#,
        r#"{"issues":[],"nextPageToken":"x","isLast":true}"#,
    ] {
        assert!(by_token(&page(last), &next, None).unwrap().is_none(), "{last}");
    }
}

#[test]
fn a_token_that_comes_again_is_an_error() {
    let go = |at: &Position, token: &str, id: u32| {
        let json = format!(r#"{{"issues":[{{"id":"{id}"}}],"nextPageToken":"{token}","isLast":false}}"#);
        by_token(&page(&json), at, None)
    };
    let one = go(&Position::default(), "a", 1).unwrap().unwrap();
    assert_eq!(go(&one, "a", 2).unwrap_err().kind, SourceErrorKind::Malformed);
    let two = go(&one, "b", 2).unwrap().unwrap();
    assert!(go(&two, "a", 3).is_err());
    let three = go(&two, "c", 2).unwrap().unwrap();
    assert!(go(&three, "d", 2).is_err(), "two pages in a row without anything new");
    assert!(go(&three, "d", 9).is_ok());
}

#[test]
fn data_center_goes_on_by_time_and_by_number_only_within_one_second() {
    let rows = |count: usize, start: u64, total: u64| {
        let issues = vec![r#"{"id":"1"}"#; count].join(",");
        format!(r#"{{"startAt":{start},"maxResults":100,"total":{total},"issues":[{issues}]}}"#)
    };
    let at = Position::default();
    let next = by_time(&page(&rows(100, 0, 250)), &at, Some(10_500)).unwrap().unwrap();
    assert_eq!((next.from, next.start), (Some(10_000), 0));
    // The whole page has the second that was asked for.
    let within = by_time(&page(&rows(100, 0, 250)), &next, Some(10_900)).unwrap().unwrap();
    assert_eq!((within.from, within.start), (Some(10_000), 90));
    let on = by_time(&page(&rows(100, 90, 250)), &within, Some(12_000)).unwrap().unwrap();
    assert_eq!((on.from, on.start), (Some(12_000), 0));
    assert!(by_time(&page(&rows(70, 180, 250)), &within, Some(10_100)).unwrap().is_none());
    assert!(by_time(&page(&rows(0, 0, 250)), &at, None).is_err());
    assert!(by_time(&page(r#"{"issues":[]}"#), &at, None).is_err());
}

#[test]
fn a_refused_token_is_replaced_by_the_last_change_seen_but_not_for_ever() {
    let refused = || SourceError { upstream_status: Some(400), ..malformed("bad token") };
    let at = Position { token: Some("t".into()), seen: Some(9), from: Some(1), ..Position::default() };
    let Some(Cursor(next)) = recover(refused(), &at).unwrap().next else { panic!("the pass ended") };
    let next = Position::deserialize(&next).unwrap();
    assert_eq!((next.from, next.token.clone()), (Some(9), None));
    let again = Position { token: Some("u".into()), ..next };
    assert!(recover(refused(), &again).is_err(), "it would go round in circles");
    assert!(recover(refused(), &Position { seen: Some(10), ..again }).is_ok());
    assert!(recover(refused(), &Position::default()).is_err(), "there is no token to blame");
}

#[test]
fn of_an_issue_that_is_twice_on_a_page_the_last_row_counts() {
    let found = page(r#"{"issues":[{"id":"1","v":1},{"id":"2"},{"id":"1","v":2},{"odd":1}]}"#);
    let kept: Vec<&str> = last_rows(&found.issues).iter().map(|raw| raw.get()).collect();
    assert_eq!(kept, [r#"{"id":"2"}"#, r#"{"id":"1","v":2}"#, r#"{"odd":1}"#]);
}

#[test]
fn a_page_that_says_there_is_more_and_not_where_is_an_error() {
    let at = Position { token: Some("t".into()), ..Position::default() };
    for lost in
        [r#"{"issues":[],"isLast":false}"#, r#"{"issues":[{"id":"1"}],"nextPageToken":"","isLast":false}"#]
    {
        assert_eq!(by_token(&page(lost), &at, None).unwrap_err().kind, SourceErrorKind::Malformed, "{lost}");
    }
    assert!(Found::read("{}", "the issues").is_err(), "an answer without issues is no page of them");
}

#[test]
fn rows_from_before_what_was_asked_for_are_passed_over_in_their_own_window() {
    let rows = |start: u64| {
        let issues = vec![r#"{"id":"1"}"#; 100].join(",");
        format!(r#"{{"startAt":{start},"maxResults":100,"total":900,"issues":[{issues}]}}"#)
    };
    let (first, second) = (rows(0), rows(90));
    let at = Position { from: Some(90_000), ..Position::default() };
    // As a server tells that knows whole minutes only.
    let next = super::by_time(&page(&first), &at, Some(60_000), Some(85_000)).unwrap().unwrap();
    assert_eq!((next.from, next.start, next.coarse), (Some(60_000), 90, true));
    let within = super::by_time(&page(&second), &next, Some(84_000), Some(119_000)).unwrap().unwrap();
    assert_eq!((within.from, within.start), (Some(60_000), 180));
    let behind = super::by_time(&page(&second), &next, Some(84_000), Some(121_000)).unwrap().unwrap();
    assert_eq!((behind.from, behind.start, behind.coarse), (Some(121_000), 0, false));
}
