//! Doing a run, slice by slice.

/// How much a slice does before it makes room for others.
#[derive(Debug, Clone, Copy)]
pub struct SliceLimits;

/// Does runs.
#[derive(Debug)]
pub struct SyncEngine;
