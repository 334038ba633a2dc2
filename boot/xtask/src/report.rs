//! What passed and what failed, from all kinds of checks and tests into one closing line.
//!
//! Called by [`crate::check`] and [`crate::test`].

use std::time::Instant;

/// Running count of steps and tests.
#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: usize,
    failed: Vec<String>,
}

impl Report {
    /// Runs a step that counts as one test.
    pub(crate) fn step(&mut self, title: &str, work: impl FnOnce() -> anyhow::Result<()>) {
        eprintln!("--- {title}");
        let started = Instant::now();
        match work() {
            Ok(()) => self.pass(&format!("{title} ({:.1} s)", started.elapsed().as_secs_f32())),
            Err(error) => {
                eprintln!("{error:#}");
                self.fail(title);
            }
        }
    }

    /// Counts and tells one success.
    pub(crate) fn pass(&mut self, title: &str) {
        println!("ok      {title}");
        self.passed += 1;
    }

    /// Counts and tells one failure.
    pub(crate) fn fail(&mut self, title: &str) {
        println!("FAILED  {title}");
        self.failed.push(title.to_owned());
    }

    /// Counts tests that another program ran and told of.
    pub(crate) fn add(&mut self, passed: usize, failed: Vec<String>) {
        self.passed += passed;
        self.failed.extend(failed);
    }

    /// The closing lines; an error if anything failed, or if nothing was tested.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        println!();
        for title in &self.failed {
            println!("failed: {title}");
        }
        println!("{} passed, {} failed", self.passed, self.failed.len());
        anyhow::ensure!(self.failed.is_empty(), "something failed");
        anyhow::ensure!(self.passed > 0, "there was nothing to test");
        Ok(())
    }
}
