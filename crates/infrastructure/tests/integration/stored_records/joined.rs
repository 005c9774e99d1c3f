//! Pages that hold some items' comments, links or memberships completely, written together.

use application::ports::SyncStore;
use domain::PageRecords;
use domain::record::{CommentRecord, LinkRecord};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::records::{comment, link, membership};
use super::{Fixture, page};

/// What a page says: objects by their number and item, and the items it says that of completely.
#[derive(Debug, Clone)]
struct Said {
    comments: Vec<(u32, u32)>,
    links: Vec<(u32, u32)>,
    memberships: Vec<(u32, u32)>,
    complete: [Vec<u32>; 3],
}

fn said() -> impl Strategy<Value = Said> {
    let objects = || prop::collection::vec((1..4_u32, 1..4_u32), 0..4);
    // A comment is of one item.
    let comments = prop::collection::btree_map(1..4_u32, 1..4_u32, 0..4).prop_map(Vec::from_iter);
    let of = || prop::sample::subsequence(vec![1, 2, 3], 0..=3);
    (comments, objects(), objects(), [of(), of(), of()])
        .prop_map(|(comments, links, memberships, complete)| Said { comments, links, memberships, complete })
}

/// The page, told apart from others by what its objects say.
fn records(said: &Said, number: i64) -> PageRecords {
    let refs = |items: &[u32]| items.iter().map(|item| format!("ref-{item}")).collect::<Vec<_>>();
    let [comments_of, links_of, sprint_memberships_of] = said.complete.each_ref().map(|items| refs(items));
    let told = number.to_string();
    PageRecords {
        comments: said
            .comments
            .iter()
            .map(|&(id, item)| CommentRecord { body: told.clone(), ..comment(&id.to_string(), item) })
            .collect(),
        links: said
            .links
            .iter()
            .map(|&(to, item)| LinkRecord { to_url: told.clone(), ..link(item, &format!("APP-{to}")) })
            .collect(),
        sprint_memberships: said
            .memberships
            .iter()
            .map(|&(sprint, item)| membership(item, sprint, 0, Some(number)))
            .collect(),
        comments_of,
        links_of,
        sprint_memberships_of,
        ..PageRecords::default()
    }
}

const STORED: &str = "select format('comment %s %s %s', source_id, item_ref_key, body) as t from comments
    union all select format('link %s %s %s', item_ref_key, to_key, to_url) from links
    union all select format('sprint %s %s %s', item_ref_key, sprint_source_id, removed_at) from sprint_memberships
    order by 1";

#[tokio::test]
async fn complete_lists_on_joined_pages_leave_what_one_page_after_the_other_leaves() {
    let (apart, together) = (Fixture::new().await, Fixture::new().await);
    let (key, joined_key) = (apart.slice().await, together.slice().await);
    let mut runner = TestRunner::deterministic();
    let mut most = 0;
    // What one pair leaves is what the next one finds.
    for number in 0..60 {
        let (first, second) = (said(), said()).new_tree(&mut runner).unwrap().current();
        let pages = || (page(records(&first, 2 * number + 1)), page(records(&second, 2 * number + 2)));
        let (one, other) = pages();
        apart.sync.commit_page(&apart.ctx, &key, one).await.unwrap();
        apart.sync.commit_page(&apart.ctx, &key, other).await.unwrap();
        let (mut one, other) = pages();
        one.join(other);
        together.sync.commit_page(&together.ctx, &joined_key, one).await.unwrap();
        let stored = apart.texts(STORED).await;
        assert_eq!(together.texts(STORED).await, stored, "{first:?}, then {second:?}");
        most = most.max(stored.len());
    }
    assert!(most > 6, "at most {most} objects were stored at once");
}
