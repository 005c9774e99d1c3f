//! The generator of requests from an API's description.

use std::path::PathBuf;

use anyhow::Result;

use super::python;
use crate::workspace::Workspace;

/// Installs it in the versions that the repository names.
pub(crate) fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    Ok(python::ensure(workspace, "schemathesis")?.join("st"))
}
