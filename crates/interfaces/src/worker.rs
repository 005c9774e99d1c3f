//! The worker needs no adapter of its own: `application::sync` handles jobs, and the binary connects it to the queue.
