use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap() + TimeDelta::minutes(minutes)
}

fn set(text: &str) -> BTreeSet<String> {
    id_list(Some(text))
}

fn change(minutes: i64, from: &str, to: &str) -> Move {
    Move { at: at(minutes), from: set(from), to: set(to) }
}

type Told = (String, i64, Option<i64>, bool);

fn told(moves: &[Move], now: &str) -> Vec<Told> {
    memberships("1", at(0), at(100), moves, &set(now))
        .into_iter()
        .map(|m| {
            let minutes = |time: DateTime<Utc>| (time - at(0)).num_minutes();
            (m.sprint_source_id, minutes(m.added_at), m.removed_at.map(minutes), m.from_history)
        })
        .collect()
}

#[test]
fn an_issue_is_in_what_it_was_made_with_from_its_beginning() {
    assert_eq!(told(&[], "7"), [("7".into(), 0, None, true)]);
    assert_eq!(told(&[], ""), []);
    assert_eq!(told(&[change(5, "7", "")], ""), [("7".into(), 0, Some(5), true)]);
}

#[test]
fn each_stay_is_an_interval_and_one_may_come_back() {
    let moves = [change(1, "", "7"), change(2, "7", "7, 8"), change(3, "7, 8", "8"), change(4, "8", "8, 7")];
    assert_eq!(
        told(&moves, "7, 8"),
        [("7".into(), 1, Some(3), true), ("8".into(), 2, None, true), ("7".into(), 4, None, true)]
    );
}

#[test]
fn what_no_move_tells_is_a_guess() {
    // A deleted sprint leaves without a move; another one came in without.
    assert_eq!(
        told(&[change(1, "", "7")], "9"),
        [("7".into(), 1, Some(100), false), ("9".into(), 100, None, false)]
    );
    assert_eq!(
        told(&[change(1, "", "7"), change(5, "8", "9")], "9"),
        [("7".into(), 1, Some(5), false), ("8".into(), 1, Some(5), false), ("9".into(), 5, None, true)]
    );
}

#[test]
fn out_and_in_again_at_once_is_one_stay() {
    let moves = [change(1, "", "7"), change(2, "7", ""), change(2, "", "7")];
    assert_eq!(told(&moves, "7"), [("7".into(), 1, None, true)]);
}

#[test]
fn both_forms_of_the_field_are_read() {
    let objects = json!([{"id": 7, "name": "S 7", "state": "closed", "boardId": 8, "goal": "",
        "startDate": "2020-06-12T00:38:51.882Z", "endDate": "2020-06-26T00:38:00.000Z"}]);
    let text = json!([
        "com.atlassian.greenhopper.service.sprint.Sprint@1f39706[id=7,rapidViewId=8,state=CLOSED,\
        name=S 7,startDate=2020-06-12T00:38:51.882Z,endDate=2020-06-26T00:38:00.000Z,completeDate=<null>,sequence=7,goal=]"
    ]);
    let records =
        |value: &Value| in_field(value).into_iter().filter_map(Sprint::into_record).collect::<Vec<_>>();
    assert_eq!(records(&objects), records(&text));
    assert_eq!(records(&objects)[0].board_source_id.as_deref(), Some("8"));
    assert_eq!(names(&text), json!(["S 7"]));
    let odd = json!(["Sprint@1[id=9,state=FUTURE,name=A, b=c,startDate=<null>]"]);
    assert_eq!(records(&odd)[0].name, "A, b=c");
    assert!(records(&json!(["nothing", 7, null])).is_empty());
    assert!(in_field(&Value::Null).is_empty());
}

proptest! {
    /// Asks of every moment between moves, by a plain replay of the changes, what the intervals say.
    #[test]
    fn the_intervals_say_at_every_moment_what_the_changes_say(
        steps in prop::collection::vec((1i64..4, prop::collection::btree_set(0u8..5, 0..4)), 0..12),
        first in prop::collection::btree_set(0u8..5, 0..3),
    ) {
        let name = |ids: &BTreeSet<u8>| ids.iter().map(u8::to_string).collect::<BTreeSet<_>>();
        let (mut time, mut inside, mut moves) = (0, name(&first), Vec::new());
        for (wait, to) in &steps {
            time += wait;
            let to = name(to);
            moves.push(Move { at: at(time), from: inside.clone(), to: to.clone() });
            inside = to;
        }
        let intervals = memberships("1", at(0), at(time), &moves, &inside);
        prop_assert!(intervals.iter().all(|i| i.from_history && i.removed_at.is_none_or(|end| end > i.added_at)));
        for half in 0..=(2 * time + 1) {
            let moment = at(0) + TimeDelta::seconds(half * 30 + 1);
            let by_changes = moves.iter().rev().find(|m| m.at <= moment).map_or_else(|| name(&first), |m| m.to.clone());
            let by_intervals: BTreeSet<String> = intervals
                .iter()
                .filter(|i| i.added_at <= moment && i.removed_at.is_none_or(|end| end > moment))
                .map(|i| i.sprint_source_id.clone())
                .collect();
            prop_assert_eq!(by_changes, by_intervals);
        }
    }
}
