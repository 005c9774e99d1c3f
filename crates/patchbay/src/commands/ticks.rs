//! What a process does by the clock. A worker: starting runs that are due, looking after webhooks, and removing old deliveries
//! and files that nobody attached; the database gives each piece of work to one of them. A server of live tools: storing what
//! was read.

use std::time::{Duration, Instant};

use application::live::NoticedOutcome;
use application::{Error, Services};
use interfaces::metrics::LIVE_READ_ITEMS;
use tokio_util::sync::CancellationToken;

/// How often it is looked what is due and what was read: a sync begins within moments of its time, and a look is one small
/// statement, or none when nothing was read.
const EVERY: Duration = Duration::from_secs(1);
/// How often instances without a schedule get theirs.
const GIVE_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked which webhooks have to be looked after.
const LOOK_AFTER_EVERY: Duration = Duration::from_secs(60);
/// How often old deliveries and uploads are removed.
const PRUNE_EVERY: Duration = Duration::from_secs(10 * 60);

/// Something done now and then.
struct Now {
    every: Duration,
    last: Option<Instant>,
}

impl Now {
    fn and_then(every: Duration) -> Self {
        Self { every, last: None }
    }

    fn is_time(&mut self) -> bool {
        let due = self.last.is_none_or(|last| last.elapsed() >= self.every);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }
}

/// Ticks until `stop` fires. Looking after webhooks calls trackers, so it does not stand in the way of schedules.
pub(super) async fn tick(services: Services, stop: CancellationToken) -> anyhow::Result<()> {
    tokio::join!(schedules(&services, &stop), webhooks(&services, &stop));
    Ok(())
}

/// Stores what was read live until `stop` fires. What is under way then is left to the next sync.
pub(super) async fn store_noticed(services: Services, stop: CancellationToken) -> anyhow::Result<()> {
    let mut failing = false;
    while waited(&stop, EVERY).await {
        let NoticedOutcome { stored, current, left, dropped, failed } = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            outcome = services.live.store_noticed() => outcome,
        };
        for (outcome, items) in
            [("stored", stored), ("current", current), ("left", left), ("dropped", dropped)]
        {
            metrics::counter!(LIVE_READ_ITEMS, "outcome" => outcome).increment(items);
        }
        note("What was read live could not be stored", &mut failing, failed.map_or(Ok(()), Err));
    }
    Ok(())
}

async fn schedules(services: &Services, stop: &CancellationToken) {
    let (mut give, mut failing) = (Now::and_then(GIVE_EVERY), false);
    while waited(stop, EVERY).await {
        let given = match give.is_time() {
            true => services.schedules.give_missing().await,
            false => Ok(()),
        };
        let started = services.schedules.start_due().await.map(drop);
        note("Runs that are due could not be started", &mut failing, given.and(started));
    }
}

async fn webhooks(services: &Services, stop: &CancellationToken) {
    let mut prune = Now::and_then(PRUNE_EVERY);
    let mut failing = false;
    while waited(stop, LOOK_AFTER_EVERY).await {
        let looked = tokio::select! {
            // A call to a tracker that is cut off is made again by whoever looks next.
            () = stop.cancelled() => return,
            looked = services.webhooks.look_after() => looked.map(drop),
        };
        note("Webhooks could not be looked after", &mut failing, looked);
        if prune.is_time() {
            let mut pruned = services.webhooks.prune().await;
            while matches!(pruned, Ok(1..)) && !stop.is_cancelled() {
                pruned = services.webhooks.prune().await;
            }
            note("Old webhook deliveries could not be removed", &mut failing, pruned.map(drop));
            let mut pruned = services.live.prune_uploads().await;
            while matches!(pruned, Ok(1..)) && !stop.is_cancelled() {
                pruned = services.live.prune_uploads().await;
            }
            note("Files that were not attached could not be removed", &mut failing, pruned.map(drop));
        }
    }
}

/// Says what fails once, until it works again.
fn note(what: &str, failing: &mut bool, outcome: Result<(), Error>) {
    match outcome {
        Ok(()) => *failing = false,
        Err(error) if !*failing => {
            *failing = true;
            tracing::warn!(error = &error as &dyn std::error::Error, "{what}; trying again");
        }
        Err(_) => {}
    }
}

/// `false` when it is time to end.
async fn waited(stop: &CancellationToken, time: Duration) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(time) => true,
    }
}
