//! What the steps came to.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Timings of the steps and numbers of the tests.
#[derive(Debug)]
pub(super) struct Report {
    lines: Vec<String>,
    junit: PathBuf,
    tests: Option<Counts>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Report {
    pub(super) fn new(target: &Path) -> Report {
        let junit = target.join("nextest/default/junit.xml");
        // An old one would be counted again.
        let _ = fs::remove_file(&junit);
        Report { lines: Vec::new(), junit, tests: None }
    }

    pub(super) fn note(&mut self, step: &str, took: Duration, ok: bool) {
        let verdict = if ok { "ok" } else { "FAILED" };
        let line = format!("== step {step} … {verdict} {:.1} s", took.as_secs_f64());
        println!("{line}");
        self.lines.push(line);
        if !ok {
            self.count_tests();
        }
    }

    /// Adds what nextest wrote about its last run; without nextest there is nothing to add.
    pub(super) fn count_tests(&mut self) {
        let Ok(junit) = fs::read_to_string(&self.junit) else {
            return;
        };
        let _ = fs::remove_file(&self.junit);
        if let Some(more) = counts_in(&junit) {
            let counts = self.tests.get_or_insert_default();
            counts.passed += more.passed;
            counts.failed += more.failed;
        }
    }

    /// The last lines of the whole run.
    pub(super) fn print(&self) {
        println!("\n== summary");
        for line in &self.lines {
            println!("{line}");
        }
        if let Some(Counts { passed, failed }) = self.tests {
            println!("tests: {passed} passed, {failed} failed");
        }
    }
}

/// Reads the head of nextest's JUnit file: `<testsuites … tests="3" failures="1" errors="0" …>`
fn counts_in(junit: &str) -> Option<Counts> {
    let head = junit.split_once("<testsuites")?.1.split_once('>')?.0;
    let number = |name: &str| -> Option<u64> {
        let value = head.split_once(&format!(" {name}=\""))?.1;
        value.split_once('"')?.0.parse().ok()
    };
    let failed = number("failures")? + number("errors")?;
    Some(Counts { passed: number("tests")?.saturating_sub(failed), failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_count_as_failed() {
        let junit = r#"<?xml version="1.0"?>
            <testsuites name="nextest-run" tests="9" failures="1" errors="2" uuid="x">
            <testsuite name="a" tests="5" failures="1" errors="2"></testsuite></testsuites>"#;
        assert_eq!(counts_in(junit), Some(Counts { passed: 6, failed: 3 }));
    }
}
