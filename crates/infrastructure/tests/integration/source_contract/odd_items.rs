//! Items that are not what the tracker's description promises: parts that are null, words nobody has heard of, texts of
//! megabytes. One of them never keeps the others out.

use super::store::Installation;
use super::world::{Tracker, trackers};
use super::*;

/// JSON Pointers to every part of a value, the upper ones first; of a list only the first entry.
fn parts(value: &Value) -> Vec<String> {
    fn below(value: &Value, at: &str, depth: usize, found: &mut Vec<(usize, String)>) {
        let mut add = |name: &str, value: &Value| {
            // Addresses of pictures are as good as endless, and read by nobody.
            if !name.contains("avatar") {
                let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                found.push((depth, at.clone()));
                below(value, &at, depth + 1, found);
            }
        };
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| add(name, value)),
            Value::Array(rows) => rows.iter().take(1).for_each(|value| add("0", value)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    below(value, "", 0, &mut found);
    found.sort();
    found.into_iter().map(|(_, at)| at).collect()
}

#[tokio::test]
async fn an_item_with_a_null_where_there_is_to_be_none_is_kept_or_told_and_the_others_are_read() {
    for tracker in trackers().await {
        let planned = Arc::new(std::sync::Mutex::new(BTreeMap::<String, String>::new()));
        let plan = planned.clone();
        let essential = tracker.world.essential();
        tracker.edit_items(move |world, rows| {
            let mut plan = plan.lock().unwrap();
            for row in rows {
                let Some(id) = world.row_id(row) else { continue };
                if !plan.contains_key(&id) {
                    let taken: BTreeSet<&String> = plan.values().collect();
                    // What is a part of one that nobody can name cannot be found either.
                    let leaf = row.get("num_subtasks").and_then(Value::as_u64).unwrap_or(0) == 0;
                    let all = parts(row);
                    // Those that matter most come first.
                    let first = all.iter().filter(|part| essential.contains(&part.as_str()));
                    let mut open = first.chain(&all).filter(|part| leaf || *part != essential[0]);
                    let next = open.find(|part| !taken.contains(part)).cloned();
                    plan.extend(next.map(|part| (id.clone(), part)));
                }
                if let Some(part) = plan.get(&id) {
                    *row.pointer_mut(part).unwrap_or(&mut Value::Null) = Value::Null;
                }
            }
        });
        let read = tracker.read(None, |_| ()).await;
        assert!(read.errors.is_empty(), "{}: {:?}", tracker.name(), read.errors);
        let plan = planned.lock().unwrap();
        assert!(plan.len() > 40, "{}: {} parts were tried", tracker.name(), plan.len());
        let told: BTreeSet<&str> = read.all.unmapped.iter().map(|broken| broken.source_id.as_str()).collect();
        for part in essential {
            assert!(plan.values().any(|tried| tried == part), "{}: {part} was not tried", tracker.name());
        }
        for (id, part) in &*plan {
            let what = format!("{}: an item without {part}", tracker.name());
            if !essential.contains(&part.as_str()) {
                let why = read.all.unmapped.iter().find(|broken| broken.source_id == *id);
                assert!(read.items.contains_key(id), "{what} is not kept: {:?}", why.map(|why| &why.error));
            } else if *part != essential[0] {
                assert!(told.contains(id.as_str()), "{what} is not told");
            }
        }
        let unnamed = told.iter().any(|id| !plan.contains_key(*id));
        assert!(unnamed, "{}: one without an id is not told", tracker.name());
        assert!(
            read.items.len() + essential.len() >= tracker.there().len(),
            "{}: items are lost",
            tracker.name()
        );
    }
}

/// The first row of the first page becomes something else; answers its id.
fn first_item(
    tracker: &Tracker,
    edit: impl Fn(&dyn world::World, &mut Value) + Send + 'static,
) -> Arc<std::sync::OnceLock<String>> {
    let chosen = Arc::new(std::sync::OnceLock::new());
    let choose = chosen.clone();
    tracker.edit_items(move |world, rows| {
        for row in rows {
            if let Some(id) = world.row_id(row)
                && *choose.get_or_init(|| id.clone()) == id
            {
                edit(world, row);
            }
        }
    });
    chosen
}

#[tokio::test]
async fn words_that_nobody_has_heard_of_are_kept_and_read_in_a_defined_way() {
    for tracker in trackers().await {
        let chosen = first_item(&tracker, |world, row| world.put_unknown_words(row));
        let read = tracker.read(None, |_| ()).await;
        assert!(
            read.errors.is_empty() && read.all.unmapped.is_empty(),
            "{}: {:?}",
            tracker.name(),
            read.all.unmapped
        );
        tracker.assert_are(&read.items, false, "with unknown words");
        let item = read.item(chosen.get().unwrap()).unwrap();
        let words = (
            item.type_norm,
            item.type_original.clone(),
            item.status_norm,
            item.status_original.clone(),
            item.priority_norm,
            item.priority_original.clone(),
        );
        assert_eq!(words, tracker.world.unknown_words(), "{}", tracker.name());
    }
}

#[tokio::test]
async fn an_unknown_kind_of_event_is_kept_as_a_change_and_fails_nothing() {
    for tracker in trackers().await {
        let world = tracker.world.clone();
        tracker.proxy.after(move |asked, answer| {
            if world.asks_details(asked) {
                answer.edit(|body| {
                    world.put_unknown_event(body);
                });
            }
        });
        let read = tracker.read(None, |_| ()).await;
        let details = tracker.details(&read).await;
        assert!(details.errors.is_empty(), "{}: {:?}", tracker.name(), details.errors);
        assert!(details.unmapped.is_empty(), "{}: {:?}", tracker.name(), details.unmapped);
        let kept = details.fields.contains(tracker.world.unknown_event());
        assert!(kept, "{}: {:?}", tracker.name(), details.fields);
    }
}

#[tokio::test]
async fn a_text_of_four_megabytes_is_stored_and_the_items_around_it_too() {
    for tracker in trackers().await {
        let name = tracker.there().into_keys().nth(8).unwrap();
        tracker.world.lengthen(tracker.control(), &name, 4 << 20);
        let installation = Installation::of(&tracker).await;
        installation.succeeds(RunKind::Backfill).await;
        installation.assert_is(&tracker, "with a text of four megabytes").await;
        assert!(installation.longest_text().await > 4_000_000, "{}", tracker.name());
    }
}

#[test]
fn every_part_of_an_item_is_found_once() {
    let value = json!({"b": [{"c": 1}, {"d": 2}], "a/x": null, "avatarUrls": {"48": ""}});
    assert_eq!(parts(&value), ["/a~1x", "/b", "/b/0", "/b/0/c"]);
}
