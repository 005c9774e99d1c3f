//! The commands, one file each.

pub(crate) mod audit;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod invitation;
pub(crate) mod key;
pub(crate) mod mcp;
pub(crate) mod migrate;
pub(crate) mod operator;
pub(crate) mod serve;
pub(crate) mod template;
pub(crate) mod tenant;
mod ticks;
pub(crate) mod vault;
