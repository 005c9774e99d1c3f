//! The commands, one file each.

pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod key;
pub(crate) mod migrate;
pub(crate) mod serve;
pub(crate) mod tenant;
