//! Boards and sprints, in both dialects.

use application::live::{BoardsAsk, SprintsAsk};
use domain::SprintState;

use super::*;

fn boards() -> BoardsAsk {
    BoardsAsk { limit: 50, ..BoardsAsk::default() }
}

fn names(answer: &LiveAnswer, list: &str) -> Vec<String> {
    let rows = answer.content[list].as_array().unwrap();
    rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_boards_of_projects_that_may_be_seen_are_told_and_paging_loses_none() {
    for deployment in DIALECTS {
        let world = World::new(deployment).await;
        let all = world.service.boards(&world.ctx, &boards()).await.unwrap();
        assert_eq!(names(&all, "boards"), ["ENG board", "OPS board"], "{deployment:?}: HR is not selected");
        let ops = world.narrowed(&["OPS"]);
        assert_eq!(names(&world.service.boards(&ops, &boards()).await.unwrap(), "boards"), ["OPS board"]);
        let mut one = BoardsAsk { limit: 1, ..boards() };
        let mut walked = Vec::new();
        loop {
            let page = world.service.boards(&world.ctx, &one).await.unwrap();
            walked.extend(names(&page, "boards"));
            let next = page.content.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            assert_eq!(page.content["has_more"], next.is_some());
            one.cursor = next;
            if one.cursor.is_none() {
                break;
            }
        }
        assert_eq!(walked, ["ENG board", "OPS board"], "{deployment:?}");

        // The third board is there, and not for anybody here.
        let of = |board: &str| SprintsAsk { board: board.into(), limit: 50, ..SprintsAsk::default() };
        for (ctx, board) in [(&world.ctx, "3"), (&ops, "1"), (&world.ctx, "77")] {
            let refused = world.service.sprints(ctx, &of(board)).await.unwrap_err();
            assert!(matches!(refused, Error::NotFound { .. }), "{deployment:?}: {board}: {refused}");
        }
        let active = SprintsAsk { states: vec![SprintState::Active], ..of("2") };
        let told = world.service.sprints(&ops, &active).await.unwrap();
        let sprint = told.content["sprints"][0].clone();
        assert_eq!((told.count, &sprint["state"], &sprint["board"]), (1, &json!("active"), &json!("2")));
        let id = sprint["id"].as_str().unwrap();
        assert_eq!(world.service.sprint(&ops, None, id).await.unwrap().id, id);
        let eng = world.narrowed(&["ENG"]);
        for id in [id, "424242"] {
            let refused = world.service.sprint(&eng, None, id).await.unwrap_err();
            assert!(matches!(refused, Error::NotFound { .. }), "{deployment:?}: {refused}");
        }
    }
}
