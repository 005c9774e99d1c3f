//! The daily metrics that the end of a run leaves.

use application::ports::SyncStore;
use chrono::TimeDelta;
use domain::record::{GoneRecord, ItemRecord, TransitionRecord};
use domain::{PageRecords, StatusNorm};

use crate::postgres_sync::{Fixture, at, item, page};

const DAY: i64 = 86_400;

/// An item that was created on this day, and resolved on that.
fn on_days(number: u32, updated: i64, created: i64, resolved: Option<(i64, StatusNorm)>) -> ItemRecord {
    let mut item = item(number, updated, "a");
    item.created_at = at(created * DAY);
    if let Some((day, status)) = resolved {
        item.status_norm = status;
        item.resolved_at = Some(at(day * DAY) + TimeDelta::hours(2));
    }
    item
}

fn reopened(number: u32, day: i64) -> TransitionRecord {
    TransitionRecord {
        item_ref_key: format!("1#{number}"),
        source_id: format!("e{number}"),
        at: at(day * DAY),
        actor: None,
        from_original: Some("closed".into()),
        from_norm: Some(StatusNorm::Done),
        to_original: "open".into(),
        to_norm: StatusNorm::Todo,
    }
}

/// Day, created, completed, cancelled, reopened, hours, open at the end.
type Row = (i64, i64, i64, i64, i64, f64, i64);

impl Fixture {
    async fn metrics(&self) -> Vec<Row> {
        sqlx::query_as(
            "select (day - (to_timestamp(1780000000) at time zone 'UTC')::date)::bigint, created, completed, cancelled,
                 reopened, lead_time_hours, open_at_end
             from work_item_metrics_daily order by day",
        )
        .fetch_all(&mut self.test.admin().await)
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn days_follow_their_items_and_those_that_stay_the_same_are_not_written() {
    let fixture = Fixture::new().await;
    let ctx = fixture.test.ctx("alpha").await;
    let instance = fixture.instance(&ctx).await;
    let key = fixture.slice(&ctx, instance).await;
    let records = PageRecords {
        items: vec![
            on_days(1, 1, 0, Some((1, StatusNorm::Done))),
            on_days(2, 1, 0, Some((1, StatusNorm::Cancelled))),
            on_days(3, 1, 3, None),
            on_days(4, 1, 5, None),
        ],
        // Of an item that is not there, nothing is counted.
        transitions: vec![reopened(3, 4), reopened(9, 4)],
        ..PageRecords::default()
    };
    fixture.sync.commit_page(&ctx, &key, page(records)).await.unwrap();
    fixture.finish(&ctx, &key).await;
    assert_eq!(
        fixture.metrics().await,
        [
            (0, 2, 0, 0, 0, 0.0, 2),
            (1, 0, 1, 1, 0, 26.0, 0),
            (3, 1, 0, 0, 0, 0.0, 1),
            (4, 0, 0, 0, 1, 0.0, 1),
            (5, 1, 0, 0, 0, 0.0, 2)
        ]
    );

    // One is resolved a day later than it was, and the one of the last day is gone.
    let versions = "select sum(xmin::text::bigint)::bigint from work_item_metrics_daily
         where day < (to_timestamp(1780000000 + 86400) at time zone 'UTC')::date";
    let before = fixture.count(versions).await;
    let key = fixture.slice(&ctx, instance).await;
    let records = PageRecords {
        items: vec![on_days(2, 2, 0, Some((2, StatusNorm::Cancelled)))],
        gone: vec![GoneRecord { item_ref_key: "1#4".into(), reason: "deleted", proof: "410".into() }],
        ..PageRecords::default()
    };
    fixture.sync.commit_page(&ctx, &key, page(records)).await.unwrap();
    fixture.finish(&ctx, &key).await;
    assert_eq!(
        fixture.metrics().await,
        [
            (0, 2, 0, 0, 0, 0.0, 2),
            (1, 0, 1, 0, 0, 26.0, 1),
            (2, 0, 0, 1, 0, 0.0, 0),
            (3, 1, 0, 0, 0, 0.0, 1),
            (4, 0, 0, 0, 1, 0.0, 1)
        ]
    );
    assert_eq!(fixture.count(versions).await, before, "a day that stayed the same was written");
}
