//! A private PostgreSQL cluster, started from server programs found on the machine.
//!
//! It listens on a unix socket only, works as root and as a user, and ends with the process that
//! started it, even when that is killed. The demo, small single-node installations and the tests
//! use it.

mod binaries;
mod cluster;
mod data_dir;
mod run_as;
mod server_process;
mod supervised;

pub use binaries::{Binaries, NotFound, OLDEST_MAJOR, find_binaries};
pub use cluster::{Cluster, Durability, Options};
pub use data_dir::default_data_dir;
pub use run_as::is_root;
pub use supervised::{Launch, Supervised};
