//! Trackers that limit, are slow or fail, and callers that go away.

use simulator::{FaultKind, FaultMatch, FaultRule};

use super::*;

fn fault(world: &World, path: &str, times: u32, kind: FaultKind) {
    let matching =
        FaultMatch { path_contains: Some(path.into()), times: Some(times), ..FaultMatch::default() };
    world.simulator.control().add_fault(FaultRule { matching, kind });
}

fn source_error(outcome: Result<LiveAnswer, Error>) -> application::ports::SourceError {
    match outcome {
        Err(Error::Source(error)) => error,
        other => panic!("no answer of the tracker: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_told_at_once_and_nothing_is_sent_before_its_time() {
    for deployment in DIALECTS {
        let world = World::new(deployment).await;
        world.issue(&world.ctx, "ENG-1").await.unwrap();
        let limit = FaultKind::RateLimited { retry_after_s: 60, as_http_date: false, omit_header: false };
        fault(&world, "/issue/", 1, limit);
        let before = world.simulator.control().stats().requests;
        let told = source_error(world.issue(&world.ctx, "ENG-1").await);
        assert_eq!((told.upstream_status, told.retry_after), (Some(429), Some(Duration::from_secs(60))));
        assert_eq!(world.simulator.control().stats().requests, before + 1, "{deployment:?}");
        for _ in 0..3 {
            let again = source_error(world.issue(&world.ctx, "ENG-1").await);
            assert!(again.retry_after.is_some_and(|wait| wait <= Duration::from_secs(60)), "{again:?}");
        }
        let stats = world.simulator.control().stats();
        assert_eq!((stats.requests, stats.violations), (before + 1, 0), "{deployment:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_tried_three_times_and_a_short_one_not_noticed() {
    let bounds = LiveLimits { pause: Duration::from_millis(1), ..LiveLimits::default() };
    let world = World::within(Deployment::Cloud, bounds).await;
    world.issue(&world.ctx, "ENG-1").await.unwrap();
    fault(&world, "/issue/", 2, FaultKind::Reset);
    assert!(world.issue(&world.ctx, "ENG-1").await.is_ok());
    fault(&world, "/issue/", 100, FaultKind::ServerError { status: 503 });
    let before = world.simulator.control().stats().requests;
    let told = source_error(world.issue(&world.ctx, "ENG-1").await);
    assert_eq!(told.upstream_status, Some(503));
    assert_eq!(world.simulator.control().stats().requests - before, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_is_too_slow_is_not_waited_for() {
    let bounds = LiveLimits { deadline: Duration::from_millis(400), ..LiveLimits::default() };
    let world = World::within(Deployment::Cloud, bounds).await;
    fault(&world, "/issue/", 100, FaultKind::Slow { ms: 600_000 });
    let told = source_error(world.issue(&world.ctx, "ENG-1").await);
    assert!(told.message.contains("did not answer within"), "{told}");
    assert!(told.retry_after.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_ends_the_request_to_the_tracker() {
    // The smallest Jira: an issue that never comes, and a note of when its caller has gone.
    let (gone_tx, gone) = tokio::sync::oneshot::channel::<()>();
    let (asked_tx, asked) = tokio::sync::oneshot::channel::<()>();
    struct OnDrop(Option<tokio::sync::oneshot::Sender<()>>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            if let Some(tx) = self.0.take() {
                let _ = tx.send(());
            }
        }
    }
    let signals = Arc::new(std::sync::Mutex::new(Some((asked_tx, OnDrop(Some(gone_tx))))));
    let router = axum::Router::new()
        .route(
            "/rest/api/3/serverInfo",
            axum::routing::get(|| async {
                r#"{"deploymentType":"Cloud","version":"1","baseUrl":"http://x"}"#
            }),
        )
        .fallback(move || {
            let signals = signals.clone();
            async move {
                let taken = signals.lock().unwrap().take();
                let _held = taken.map(|(asked, on_drop)| {
                    let _ = asked.send(());
                    on_drop
                });
                std::future::pending::<&str>().await
            }
        });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });

    let world = World::new(Deployment::Cloud).await;
    world.connect(&world.ctx, "silent", &format!("http://{address}"), json!({})).await;
    let ask = IssueAsk {
        instance: Some("silent".into()),
        key: "ENG-1".into(),
        max_chars: 20_000,
        ..IssueAsk::default()
    };
    {
        let call = world.service.issue(&world.ctx, &ask);
        tokio::select! {
            answer = call => panic!("it answered: {answer:?}"),
            asked = asked => asked.unwrap(),
        }
    }
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("the request has ended").unwrap();
}
