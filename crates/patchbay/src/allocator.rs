//! How the allocator gives memory back.

use std::env;

/// Read by mimalloc once, before `main`: milliseconds until freed memory goes back to the system.
/// <https://microsoft.github.io/mimalloc/environment.html>
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// When freed memory goes back to the system.
#[derive(Debug, Clone, Copy)]
pub(crate) enum GiveBack {
    /// At once, where syncs run: with mimalloc's own delay the buffers of pages that a backfill is through with stay, half
    /// of its memory.
    AtOnce,
    /// After a millisecond, where requests are answered only: much of it is wanted again by then, and each page that is
    /// given back makes all threads forget it, a third of a call's time.
    Soon,
}

/// Sets when freed memory goes back, by beginning anew with the variable set; one that the operator has set stays
/// (docs/benchmarks.md has the figures). The process keeps its id, and what is wrong with beginning anew is no reason not to
/// begin.
pub(crate) fn give_back(when: GiveBack) {
    #[cfg(unix)]
    if env::var_os(PURGE_DELAY).is_none()
        && let Ok(program) = env::current_exe()
    {
        use std::os::unix::process::CommandExt;

        let mut arguments = env::args_os();
        let mut anew = std::process::Command::new(program);
        if let Some(name) = arguments.next() {
            anew.arg0(name);
        }
        let delay = match when {
            GiveBack::AtOnce => "0",
            GiveBack::Soon => "1",
        };
        let error = anew.args(arguments).env(PURGE_DELAY, delay).exec();
        eprintln!("patchbay: freed memory is kept a while: {error}");
    }
}
