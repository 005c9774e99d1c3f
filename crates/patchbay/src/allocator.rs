//! How the allocator gives memory back.

use std::env;

/// Read by mimalloc once, before `main`: milliseconds until freed memory goes back to the system.
/// <https://microsoft.github.io/mimalloc/environment.html>
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// Makes freed memory go back at once, by beginning anew with the variable set; one that the operator has set stays.
///
/// With mimalloc's own delay the buffers of pages that a backfill is through with stay: half of its memory
/// (docs/benchmarks.md). The process keeps its id, and what is wrong with beginning anew is no reason not to begin.
pub(crate) fn give_back_at_once() {
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
        let error = anew.args(arguments).env(PURGE_DELAY, "0").exec();
        eprintln!("patchbay: freed memory is kept a while: {error}");
    }
}
