//! Many cases side by side: a case takes as many of this machine's cores as it emulates.
//!
//! Called by xtask's `test`; calls [`crate::case::run`].

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::case::{self, Outcome};
use crate::description::Case;
use crate::machine::ImageFiles;

/// A case and the image it boots.
#[derive(Debug, Clone)]
pub struct Job {
    /// What to run.
    pub case: Case,
    /// What it boots.
    pub image: ImageFiles,
}

/// What is left to do, and the cores nobody uses.
struct Pool {
    waiting: VecDeque<Job>,
    free_cores: u32,
}

struct Shared {
    pool: Mutex<Pool>,
    core_freed: Condvar,
    host_cores: u32,
}

/// Runs all jobs, files into `folder`; `tell` hears of each outcome as it comes. Returns the outcomes in that order.
pub fn run_all(jobs: Vec<Job>, folder: &Path, tell: &(dyn Fn(&Outcome) + Sync)) -> Vec<Outcome> {
    let host_cores = thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    let shared = Shared {
        pool: Mutex::new(Pool {
            waiting: longest_first(jobs),
            free_cores: host_cores,
        }),
        core_freed: Condvar::new(),
        host_cores,
    };
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..host_cores {
            scope.spawn(|| {
                while let Some((job, taken)) = shared.take() {
                    let patience = job.case.cores.div_ceil(taken);
                    let outcome = case::run(&job.case, &job.image, folder, job.case.test.description.clock, patience);
                    tell(&outcome);
                    lock(&outcomes).push(outcome);
                    shared.give_back(taken);
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The big ones first, so that none of them is left alone at the end.
fn longest_first(mut jobs: Vec<Job>) -> VecDeque<Job> {
    jobs.sort_by_key(|job| std::cmp::Reverse((job.case.cores, job.case.test.description.timeout_s)));
    jobs.into()
}

impl Shared {
    /// The next job that fits the free cores, and how many it took. `None` when nothing is left.
    fn take(&self) -> Option<(Job, u32)> {
        let mut pool = lock(&self.pool);
        loop {
            if pool.waiting.is_empty() {
                return None;
            }
            let free = pool.free_cores;
            let fits = |job: &Job| job.case.cores.min(self.host_cores) <= free;
            if let Some(job) = pool
                .waiting
                .iter()
                .position(fits)
                .and_then(|at| pool.waiting.remove(at))
            {
                let taken = job.case.cores.min(self.host_cores);
                pool.free_cores -= taken;
                return Some((job, taken));
            }
            pool = self.core_freed.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, cores: u32) {
        lock(&self.pool).free_cores += cores;
        self.core_freed.notify_all();
    }
}

/// A thread that panicked left the list whole: it is never changed in several steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
