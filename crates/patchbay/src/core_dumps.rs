//! A core dump would hold the master key and everything it opens.

use rustix::process::{Resource, Rlimit, setrlimit};
use tracing::warn;

/// Keeps this process, and what it starts, from leaving core dumps. Where the system refuses, it says so and goes on.
pub(crate) fn forbid() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        warn!(%error, "Core dumps cannot be switched off; a crash may write keys to disk");
    }
    // The limit alone does not hold where the system hands dumps to a program.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        warn!(%error, "The process cannot be made undumpable; a crash may hand keys to the system's dump handler");
    }
}
