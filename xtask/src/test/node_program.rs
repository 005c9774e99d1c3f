//! Programs of others that the end-to-end tests run with Node.js: the official MCP clients and conformance suite, an
//! authorization server, and Prism.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Node;
use crate::process::run_quietly;
use crate::workspace::Workspace;

/// Copies `tests/e2e/<name>` to the target directory and installs its packages there.
///
/// The scripts are copied too, since Node.js looks for packages from where a script stands. Packages
/// are installed again only when the lock file has changed.
pub(super) fn install(workspace: &Workspace, node: &Node, name: &str) -> Result<PathBuf> {
    let source = workspace.root.join("tests/e2e").join(name);
    let directory = workspace.target.join(name);
    fs::create_dir_all(&directory)?;
    for entry in fs::read_dir(&source).with_context(|| format!("cannot read {}", source.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), directory.join(entry.file_name()))?;
        }
    }

    let wanted = fs::read_to_string(directory.join("package-lock.json"))?;
    let installed = directory.join("node_modules/.installed-lock.json");
    if fs::read_to_string(&installed).is_ok_and(|lock| lock == wanted) {
        return Ok(directory);
    }
    eprintln!("== fetching the packages of {name} from npm");
    run_quietly(
        node.npm().args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&directory),
    )?;
    fs::write(installed, wanted)?;
    Ok(directory)
}
