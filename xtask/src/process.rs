//! Running other programs so that Ctrl-C leaves nothing behind.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Whether somebody asked this program to stop.
///
/// Once it exists, Ctrl-C no longer ends the program at once: the running child, which the
/// terminal tells as well, may finish cleanly, and what was started is stopped in order.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(crate) fn listen() -> Result<Interrupt> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag)).context("cannot listen for signals")?;
        }
        Ok(Interrupt(flag))
    }

    /// Runs `command` to its end; fails when it does, and when this program is asked to stop.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        self.check()?;
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot run {name}"))?;
        let status = self.wait(&mut child)?;
        self.check()?;
        if !status.success() {
            bail!("{} failed: {status}", shown(command));
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus> {
        let mut asked: Option<Instant> = None;
        let mut told = false;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if self.0.load(Ordering::Relaxed) {
                let waited = asked.get_or_insert_with(Instant::now).elapsed();
                if waited > Duration::from_secs(3) && !told {
                    // The signal came to us alone.
                    told = true;
                    Command::new("/bin/sh").args(["-c", &format!("kill -TERM {}", child.id())]).status()?;
                }
                if waited > Duration::from_secs(20) {
                    child.kill()?;
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Runs a program whose output only matters when it fails.
pub(crate) fn run_quietly(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{} failed:\n{}", shown(command), String::from_utf8_lossy(&said).trim_end());
    }
    Ok(())
}

fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    let mut words = vec![program];
    words.extend(arguments.map(std::borrow::Cow::into_owned));
    format!("`{}`", words.join(" "))
}
