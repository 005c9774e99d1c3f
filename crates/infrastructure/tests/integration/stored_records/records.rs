//! Boards, sprints, memberships, worklogs, fields, homes; comments and links that are complete.

use application::ports::{InstanceStore, SyncStore};
use domain::record::{
    BoardRecord, CommentRecord, CustomFieldRecord, HomeRecord, LinkRecord, ProjectRecord,
    SprintMembershipRecord, SprintRecord, UserRef, WorklogRecord,
};
use domain::{BoardKind, PageRecords, SprintState};
use patchbay_infrastructure::postgres::{PgInstances, PgWorkItems};
use serde_json::json;
use serde_json::value::RawValue;

use super::{Fixture, at, item, items, page};

fn sprint(id: u32, name: &str) -> SprintRecord {
    SprintRecord {
        source_id: id.to_string(),
        board_source_id: Some("5".into()),
        name: name.into(),
        goal: Some("Ship\0 it".into()),
        state: SprintState::Active,
        start_at: Some(at(0)),
        end_at: Some(at(100)),
        completed_at: None,
    }
}

pub(super) fn membership(item: u32, sprint: u32, added: i64, removed: Option<i64>) -> SprintMembershipRecord {
    SprintMembershipRecord {
        item_ref_key: format!("ref-{item}"),
        sprint_source_id: sprint.to_string(),
        added_at: at(added),
        removed_at: removed.map(at),
        from_history: true,
    }
}

fn worklog(id: u32, seconds: i64, updated: i64) -> WorklogRecord {
    WorklogRecord {
        source_id: id.to_string(),
        item_ref_key: "ref-1".into(),
        author: Some(UserRef { source_id: "7".into(), name: "ada".into() }),
        started_at: at(0),
        seconds,
        comment: None,
        created_at: at(0),
        updated_at: at(updated),
    }
}

pub(super) fn comment(id: &str, item: u32) -> CommentRecord {
    CommentRecord {
        source_id: id.into(),
        kind: "comment",
        item_ref_key: format!("ref-{item}"),
        author: None,
        body: "text".into(),
        url: String::new(),
        path: None,
        created_at: at(0),
        updated_at: at(0),
    }
}

pub(super) fn link(item: u32, to: &str) -> LinkRecord {
    LinkRecord {
        source_id: String::new(),
        item_ref_key: format!("ref-{item}"),
        to_ref_key: None,
        to_key: to.into(),
        to_url: String::new(),
        type_norm: "blocks",
        type_original: "blocks".into(),
    }
}

fn everything() -> PageRecords {
    PageRecords {
        items: vec![item(1, "To Do"), item(2, "To Do")],
        boards: vec![BoardRecord {
            source_id: "5".into(),
            name: "Board".into(),
            kind: BoardKind::Scrum,
            project_source_id: Some("1".into()),
            url: None,
        }],
        sprints: vec![sprint(10, "One"), sprint(11, "Two"), sprint(10, "One")],
        sprint_memberships: vec![
            membership(1, 10, 0, Some(5)),
            membership(1, 11, 5, None),
            membership(2, 10, 0, None),
        ],
        sprint_memberships_of: vec!["ref-1".into(), "ref-2".into()],
        worklogs: vec![worklog(1, 60, 1), worklog(2, 90, 1), worklog(1, 61, 2)],
        custom_fields: vec![CustomFieldRecord {
            source_id: "f1".into(),
            name: "Size".into(),
            field_type: "number".into(),
        }],
        comments: vec![comment("a", 1), comment("b", 1), comment("c", 2)],
        comments_of: vec!["ref-1".into(), "ref-2".into()],
        links: vec![link(1, "APP-2"), link(1, "APP-3"), link(2, "APP-9")],
        links_of: vec!["ref-1".into(), "ref-2".into()],
        ..PageRecords::default()
    }
}

const VERSIONS: &str = "select format('%s %s', t, v) from (
    select 'boards' as t, xmin::text as v from boards union all select 'sprints', xmin::text from sprints
    union all select 'memberships', xmin::text from sprint_memberships
    union all select 'worklogs', xmin::text from worklogs union all select 'fields', xmin::text from custom_fields
    union all select 'links', xmin::text from links union all select 'comments', xmin::text from comments
    union all select 'items', xmin::text from work_items) x order by 1";

#[tokio::test]
async fn a_page_read_again_leaves_every_row_as_it_was() {
    let fixture = Fixture::new().await;
    let key = fixture.slice().await;
    fixture.sync.commit_page(&fixture.ctx, &key, page(everything())).await.unwrap();
    let before = fixture.texts(VERSIONS).await;
    let again = fixture.sync.commit_page(&fixture.ctx, &key, page(everything())).await.unwrap();
    assert_eq!((again.counts.upserted, again.counts.unchanged, again.counts.comments), (0, 2, 0));
    assert_eq!(fixture.texts(VERSIONS).await, before, "a row that did not change was written");
    assert_eq!(fixture.count("select count(*) from sprints where goal = 'Ship\u{fffd} it'").await, 2);
    assert_eq!(
        fixture.count("select sum(seconds)::bigint from worklogs").await,
        151,
        "the newer of two stays"
    );
}

#[tokio::test]
async fn what_a_complete_page_does_not_hold_goes_and_that_of_other_items_stays() {
    let fixture = Fixture::new().await;
    let key = fixture.slice().await;
    fixture.sync.commit_page(&fixture.ctx, &key, page(everything())).await.unwrap();
    let records = PageRecords {
        sprint_memberships: vec![membership(1, 11, 5, Some(4))],
        sprint_memberships_of: vec!["ref-1".into()],
        comments: vec![comment("b", 1)],
        comments_of: vec!["ref-1".into()],
        comments_gone: vec![("comment", "c".into())],
        links_of: vec!["ref-1".into()],
        worklogs_gone: vec!["2".into()],
        ..PageRecords::default()
    };
    fixture.sync.commit_page(&fixture.ctx, &key, page(records)).await.unwrap();
    let memberships = "select format('%s %s %s', item_ref_key, sprint_source_id, removed_at = added_at)
        from sprint_memberships order by 1";
    assert_eq!(
        fixture.texts(memberships).await,
        ["ref-1 11 t", "ref-2 10 "],
        "an end before the beginning is at it"
    );
    assert_eq!(fixture.texts("select source_id from comments order by 1").await, ["b"]);
    assert_eq!(fixture.texts("select to_key from links").await, ["APP-9"]);
    assert_eq!(fixture.texts("select source_id from worklogs").await, ["1"]);
}

#[tokio::test]
async fn items_linked_twice_have_two_links_and_each_goes_by_itself() {
    let fixture = Fixture::new().await;
    let key = fixture.slice().await;
    let linked = |links: [(&str, &str); 2]| PageRecords {
        items: vec![item(1, "To Do")],
        links: links
            .map(|(words, id)| LinkRecord {
                source_id: id.into(),
                type_norm: "relates",
                type_original: words.into(),
                ..link(1, "APP-2")
            })
            .into(),
        links_of: vec!["ref-1".into()],
        ..PageRecords::default()
    };
    let links = "select type_original || ' ' || source_id from links order by 1";
    for (told, kept) in [
        ([("relates to", "5"), ("relates to", "6")], vec!["relates to 5", "relates to 6"]),
        ([("relates to", "6"), ("relates to", "6")], vec!["relates to 6"]),
        ([("connected", ""), ("cross-referenced", "")], vec!["connected ", "cross-referenced "]),
        ([("cross-referenced", ""), ("cross-referenced", "")], vec!["cross-referenced "]),
    ] {
        fixture.sync.commit_page(&fixture.ctx, &key, page(linked(told))).await.unwrap();
        assert_eq!(fixture.texts(links).await, kept);
    }
}

#[tokio::test]
async fn an_item_is_in_the_projects_that_hold_it_now_and_leaves_nothing_with_its_instance() {
    let fixture = Fixture::new().await;
    let home = |project: &str, section: &str| HomeRecord {
        project_source_id: project.into(),
        project_key: project.into(),
        section: Some(section.into()),
    };
    let mut first = item(1, "To Do");
    first.homes = vec![home("1", "Inbox"), home("2", "Later"), home("1", "Inbox")];
    fixture.store(items(vec![first])).await;
    let homes = "select project_source_id || ' ' || section from work_item_homes order by 1";
    assert_eq!(fixture.texts(homes).await, ["1 Inbox", "2 Later"]);
    let mut moved = item(1, "Doing");
    moved.homes = vec![home("1", "Doing"), home("3", "New")];
    fixture.store(items(vec![moved])).await;
    assert_eq!(fixture.texts(homes).await, ["1 Doing", "3 New"]);
    let instances = PgInstances::new(fixture.test.db.clone(), fixture.test.audit());
    assert!(instances.delete(&fixture.ctx, fixture.instance).await.unwrap());
    assert_eq!(fixture.count("select count(*) from work_item_homes").await, 0);
    assert_eq!(fixture.count("select count(*) from sprints").await, 0);
}

#[tokio::test]
async fn a_renamed_project_takes_its_items_along_among_many_in_one_page() {
    let fixture = Fixture::new().await;
    let project = |id: u32, key: &str| ProjectRecord {
        source_id: id.to_string(),
        key: key.into(),
        name: key.into(),
        url: String::new(),
        archived: false,
        raw: RawValue::from_string("{}".into()).unwrap(),
    };
    let all = |first: &str| {
        (1..=300).map(|n| project(n, &if n == 1 { first.into() } else { format!("P{n}") })).collect()
    };
    let records = |projects| PageRecords { projects, ..PageRecords::default() };
    fixture.store(page(records(all("APP")))).await;
    fixture.store(items(vec![item(1, "To Do")])).await;
    fixture.store(page(records(all("NEW")))).await;
    assert_eq!(fixture.count("select count(*) from projects").await, 300);
    assert_eq!(fixture.texts("select project_key || ' ' || source_key from work_items").await, ["NEW NEW-1"]);
}

#[tokio::test]
async fn an_item_is_served_with_its_size_and_the_sprints_it_is_in() {
    use application::ports::WorkItemStore;
    let fixture = Fixture::new().await;
    let mut sized = item(1, "To Do");
    (sized.story_points, sized.spent_s, sized.start_on) = (Some(2.5), Some(60), Some(at(0).date_naive()));
    sized.custom_fields = json!({"a\0": "b\0"});
    let records = everything();
    fixture.store(page(PageRecords { items: vec![sized], ..records })).await;
    let store = PgWorkItems::new(fixture.test.db.clone());
    let page = application::ports::ListPage { limit: 10, cursor: None };
    let found =
        store.list(&fixture.ctx, &domain::WorkItemFilter::default(), &page).await.unwrap().items.remove(0);
    assert_eq!(
        (found.story_points, found.spent_s, found.start_on),
        (Some(2.5), Some(60), Some(at(0).date_naive()))
    );
    assert_eq!(found.sprints, ["Two"], "it has left the first");
    assert_eq!(found.custom_fields, json!({"a\u{fffd}": "b\u{fffd}"}));
}
