//! Callers in a closed loop through one phase after the other: what one phase changes is seen beside the phases before and
//! after it, by the same callers over the same connections.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// Asks once and waits for the answer. It is told the phase.
pub(crate) type Asking<'a> = Box<dyn FnMut(usize) -> Result<Asked> + Send + 'a>;

/// One request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// Which of several kinds of requests it was.
    pub(crate) kind: usize,
    pub(crate) took: Duration,
    /// Whether it was answered as it should be.
    pub(crate) well: bool,
}

/// What the callers look at.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    phase: AtomicUsize,
    stop: AtomicBool,
}

impl Stage {
    /// What ends from now on belongs to this phase.
    pub(crate) fn enter(&self, phase: usize) {
        self.phase.store(phase, Ordering::SeqCst);
    }
}

/// Lets the callers ask until `conduct`, which goes through the phases, is done. Every request with the phase it ended in.
pub(crate) fn play<T>(
    callers: Vec<Asking<'_>>,
    conduct: impl FnOnce(&Stage) -> Result<T>,
) -> Result<(T, Vec<(usize, Asked)>)> {
    let stage = Stage::default();
    thread::scope(|scope| {
        let callers: Vec<_> = callers
            .into_iter()
            .map(|mut ask| {
                let stage = &stage;
                scope.spawn(move || {
                    let mut all = Vec::new();
                    loop {
                        let asked = ask(stage.phase.load(Ordering::SeqCst))?;
                        all.push((stage.phase.load(Ordering::SeqCst), asked));
                        if stage.stop.load(Ordering::SeqCst) {
                            return Ok::<_, anyhow::Error>(all);
                        }
                    }
                })
            })
            .collect();
        let conducted = conduct(&stage);
        stage.stop.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for caller in callers {
            all.extend(caller.join().map_err(|_| anyhow!("a caller ended abruptly"))??);
        }
        Ok((conducted?, all))
    })
}

/// A caller that asks once in this time, as long as answers come in time. What it then waits for its turn counts: a server
/// that stands still makes all those late who would have come meanwhile.
pub(crate) fn paced<'a>(every: Duration, mut ask: Asking<'a>) -> Asking<'a> {
    let mut due = Instant::now();
    Box::new(move |phase| {
        due += every;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let asked = ask(phase)?;
        Ok(Asked { took: due.elapsed(), ..asked })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(kind: usize) -> Asked {
        Asked { kind, took: Duration::ZERO, well: true }
    }

    #[test]
    fn a_request_belongs_to_the_phase_it_ended_in() {
        let caller: Asking<'_> = Box::new(|phase| {
            thread::sleep(Duration::from_millis(1));
            Ok(asked(phase))
        });
        let ((), all) = play(vec![caller], |stage| {
            for phase in [1, 2] {
                stage.enter(phase);
                thread::sleep(Duration::from_millis(30));
            }
            Ok(())
        })
        .unwrap();
        // It may have begun in the one before.
        assert!(all.iter().all(|(ended, asked)| asked.kind <= *ended), "{all:?}");
        assert!([1, 2].iter().all(|phase| all.iter().any(|(ended, _)| ended == phase)), "{all:?}");
    }

    #[test]
    fn a_caller_that_fails_ends_it_all_with_its_error() {
        let caller: Asking<'_> = Box::new(|_| Err(anyhow!("no answer")));
        assert_eq!(play(vec![caller], |_| Ok(())).unwrap_err().to_string(), "no answer");
    }
}
