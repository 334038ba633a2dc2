//! What is checked on each step of the real kernel.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ecusson_abi::{Error, NO_DEADLINE, Rights, Syscall, ops};
use ecusson_core::Store;
use ecusson_core::cap::Capability;
use ecusson_core::host::CANONICAL_NOW;
use ecusson_core::thread::State;

use crate::action::{Action, Entry};
use crate::machine::{self, Answer, CORES, Machine};
use crate::report::{Matrix, Outcome};
use crate::universe::Universe;

/// A check that failed and what it saw.
pub type Finding = (&'static str, String);

/// What came of a step.
#[derive(Debug)]
pub enum Step {
    /// The action was not possible.
    Impossible,
    /// The state is as before.
    Same,
    /// The machine holds another state; its canonical words.
    New,
}

/// One worker's machine and buffers.
#[derive(Debug)]
pub struct Judge<'u> {
    universe: &'u Universe,
    machine: Machine,
    /// Words of the state the steps start from.
    pub source: Vec<u64>,
    /// Words of the state after the last step.
    pub next: Vec<u64>,
    /// Words after the last step, before they were made canonical.
    pub raw: Vec<u64>,
    capabilities: Vec<(u64, u64, Capability)>,
    last_epoch: u64,
    is_loaded: bool,
    /// Operation x result.
    pub matrix: Matrix,
    /// Steps compared with a fast path.
    pub fast_steps: u64,
}

impl<'u> Judge<'u> {
    /// A worker for a universe.
    #[must_use]
    pub fn new(universe: &'u Universe) -> Self {
        let machine = (universe.start)();
        machine.canonicalize();
        let mut judge = Self {
            universe,
            machine,
            source: Vec::new(),
            next: Vec::new(),
            raw: Vec::new(),
            capabilities: Vec::new(),
            last_epoch: 0,
            is_loaded: false,
            matrix: Matrix::new(),
            fast_steps: 0,
        };
        judge.machine.save(&mut judge.source);
        judge
    }

    /// Checks the invariants of the first state.
    ///
    /// # Errors
    /// The first violation.
    pub fn first(&self) -> Result<(), Finding> {
        self.invariants()
    }

    /// Goes on from another state, whose words are in `source`.
    pub fn begin(&mut self) {
        self.machine.load(&self.source);
        self.is_loaded = true;
        self.capabilities.clear();
        self.capabilities
            .extend(machine::capabilities(&self.machine).filter(|(_, _, capability)| !capability.is_none()));
        let epochs = machine::capabilities(&self.machine).map(|(_, _, capability)| capability.epoch >> 4);
        self.last_epoch = epochs.max().unwrap_or(0).max(self.machine.last_epoch());
    }

    /// Takes an action from the source state and judges it.
    ///
    /// # Errors
    /// The check that failed.
    pub fn step(&mut self, action: &Action) -> Result<Step, Finding> {
        if !self.is_loaded {
            self.machine.load(&self.source);
            self.is_loaded = true;
        }
        if !machine::is_possible(&self.machine, action) {
            return Ok(Step::Impossible);
        }
        let fast = self.fast_path(action)?;
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let answers = machine::enter(&self.machine, action);
            if let Some(sabotage) = self.universe.sabotage {
                sabotage(&self.machine, action);
            }
            answers
        }));
        let answers = attempt
            .map_err(|panic| ("no-panic", message_of(panic.as_ref())))?
            .unwrap_or_default();
        self.count(action, &answers);
        self.raw.clear();
        self.machine.save(&mut self.raw);
        let rights = self.rights(action);
        let invariants = self.invariants();
        let told = self.everyone_was_told();
        self.finish();
        let is_same = self.next == self.source;
        self.is_loaded = is_same;
        let frame = self.frame(action, &answers, is_same);
        let fast = fast.map_or(Ok(()), |fast| self.agrees(&fast));
        invariants.and(rights).and(told).and(frame).and(fast)?;
        Ok(if is_same { Step::Same } else { Step::New })
    }

    /// Makes the state canonical and saves it.
    fn finish(&mut self) {
        self.machine.canonicalize();
        self.next.clear();
        self.machine.save(&mut self.next);
    }

    fn invariants(&self) -> Result<(), Finding> {
        self.machine
            .check()
            .map_err(|finding| (finding.invariant, format!("at {:#x}", finding.address)))
    }

    fn count(&mut self, action: &Action, answers: &[Answer]) {
        if answers.is_empty() {
            *self.matrix.entry((action.row, Outcome::Silent)).or_default() += 1;
        }
        for answer in answers {
            let row = match answer.before {
                _ if answer.is_actor => action.row,
                State::Called | State::Queued => "call",
                State::Waiting => "reply-wait",
                State::WaitingSignal => "wait",
                _ => continue,
            };
            *self.matrix.entry((row, Outcome::of(answer.status))).or_default() += 1;
        }
    }

    /// Rights never grow along a grant: what is new in a slot was there before with GRANT and no fewer rights, or its object
    /// is new.
    fn rights(&self, action: &Action) -> Result<(), Finding> {
        for (frame, slot, capability) in machine::capabilities(&self.machine) {
            let is_old = self
                .capabilities
                .iter()
                .any(|&(f, s, old)| (f, s) == (frame, slot) && old == capability);
            if capability.is_none() || is_old || capability.epoch >> 4 > self.last_epoch {
                continue;
            }
            let same_object = |old: &Capability| old.epoch == capability.epoch && old.address() == capability.address();
            let covers = |old: &Capability| old.rights().has(Rights::GRANT) && old.rights().has(capability.rights());
            let has_source = self
                .capabilities
                .iter()
                .any(|(_, _, old)| same_object(old) && covers(old));
            if !has_source {
                let detail = format!("{}: {capability:x?} in page {frame} slot {slot}", action.row);
                return Err(("rights-never-grow", detail));
            }
        }
        Ok(())
    }

    /// Every core that must choose anew was sent an interrupt.
    fn everyone_was_told(&self) -> Result<(), Finding> {
        let sent = (0..CORES).fold(0, |mask, index| mask | self.machine.core(index).ipi_mask.get());
        for index in 0..CORES {
            let core = self.machine.core(index);
            let current = core.current.get().map(|name| self.machine.store.thread(name));
            let is_running = current.is_some_and(|thread| thread.state() == State::Running);
            let priority = if is_running {
                current.map_or(0, |thread| thread.priority.get()) + 1
            } else {
                0
            };
            let has_left = current.is_some() && !is_running;
            let must_choose = has_left || core.ready_bitmap.get().checked_shr(u32::from(priority)).unwrap_or(0) != 0;
            if must_choose && sent >> index & 1 == 0 {
                return Err(("told-to-choose", format!("core {index} was sent no interrupt")));
            }
        }
        Ok(())
    }

    /// What a fast path makes of the case: the words, and the result if it has one. The source state is loaded again afterwards.
    fn fast_path(&mut self, action: &Action) -> Result<Option<Fast>, Finding> {
        let core = self.machine.core(action.core);
        // Who was stopped meanwhile repeats a slow call later; a fast one still goes through before the interrupt arrives.
        if core
            .current
            .get()
            .is_none_or(|actor| self.machine.store.thread(actor).state() != State::Running)
        {
            return Ok(None);
        }
        if !has_fast_path(&action.entry) {
            return Ok(None);
        }
        let attempt = catch_unwind(AssertUnwindSafe(|| self.try_fast_path(action)));
        let result = attempt.map_err(|panic| ("no-panic", message_of(panic.as_ref())))?;
        if result.is_some() {
            machine::leave(&self.machine, action.core);
            self.serve_interrupt(action.core);
        }
        self.finish();
        let is_same = self.next == self.source;
        if result.is_none() && !is_same {
            return Err((
                "fast-path-refuses-untouched",
                format!("{} changed the state and refused", action.row),
            ));
        }
        if !is_same {
            self.machine.load(&self.source);
        }
        self.fast_steps += u64::from(result.is_some());
        Ok(result.map(|_| Fast {
            words: self.next.clone(),
            row: action.row,
        }))
    }

    fn try_fast_path(&self, action: &Action) -> Option<u64> {
        let machine = &self.machine;
        let core = machine.core(action.core);
        match action.entry {
            Entry::Fault => machine.fast_fault(core, machine::FAULT).map(|()| 0),
            Entry::Call(Syscall::Call, slot, ..) => machine.fast_call(core, slot),
            Entry::Call(Syscall::ReplyWait, first, second, words) => machine
                .fast_reply_wait(core)
                .or_else(|| {
                    machine::load_registers(machine, action.core, Syscall::ReplyWait, first, second, words);
                    machine.fast_saved(core, CANONICAL_NOW).map(|_| ())
                })
                .map(|()| 0),
            Entry::Call(Syscall::Yield, ..) => {
                machine::load_registers(machine, action.core, Syscall::Yield, 0, 0, [0; 6]);
                machine.fast_saved(core, CANONICAL_NOW).map(|_| 0)
            }
            Entry::Call(Syscall::Signal, slot, _, words) => machine.fast_signal(core, slot, words[0]).map(|()| 0),
            Entry::Call(_, slot, _, [ops::IDENTIFY, ..]) => machine.fast_identify(core, slot),
            Entry::Call(_, slot, _, [_, space, page, rights, ..]) => {
                machine.fast_attach(core, slot, [space, page, rights])
            }
            _ => None,
        }
    }

    /// The slow path chooses anew on its way out; after a fast one the interrupt that is on its way has the core do it.
    fn serve_interrupt(&self, core: u8) {
        let was_sent = (0..CORES).any(|sender| self.machine.core(sender).ipi_mask.get() >> core & 1 == 1);
        if was_sent || self.machine.core(core).reschedule.get() {
            machine::enter(
                &self.machine,
                &Action {
                    core,
                    entry: Entry::Reschedule,
                    row: "",
                    is_query: false,
                },
            );
        }
    }

    fn agrees(&self, fast: &Fast) -> Result<(), Finding> {
        if fast.words == self.next {
            return Ok(());
        }
        let differing = fast
            .words
            .iter()
            .zip(&self.next)
            .enumerate()
            .filter(|(_, (left, right))| left != right);
        let places: Vec<String> = differing
            .map(|(at, (fast, slow))| format!("word {at} {fast:#x}/{slow:#x}"))
            .take(12)
            .collect();
        Err((
            "fast-path-agrees",
            format!("{} (fast/slow): {}", fast.row, places.join(", ")),
        ))
    }

    /// A failed operation, and one that only asks, changed nothing: the state is the one that an entry without any operation leads to.
    fn frame(&mut self, action: &Action, answers: &[Answer], is_same: bool) -> Result<(), Finding> {
        let Some(answer) = answers.first().filter(|answer| answer.is_actor && !is_same) else {
            return Ok(());
        };
        let Some(status) = answer.status else { return Ok(()) };
        // `start` of a thread that another core runs has that core let go of it, and says so with `Busy`.
        let check = match status.failure() {
            Some(Error::Busy) => return Ok(()),
            Some(_) => "failure-changes-nothing",
            None if action.is_query => "query-changes-nothing",
            None => return Ok(()),
        };
        let after = std::mem::take(&mut self.next);
        self.machine.load(&self.source);
        machine::enter(
            &self.machine,
            &Action {
                entry: Entry::Reschedule,
                ..*action
            },
        );
        self.finish();
        let is_idle = self.next == after;
        self.next = after;
        self.is_loaded = false;
        if is_idle {
            Ok(())
        } else {
            Err((
                check,
                format!("{} answered {status:?} and changed the state", action.row),
            ))
        }
    }
}

/// Whether entry code tries a fast path.
fn has_fast_path(entry: &Entry) -> bool {
    match *entry {
        Entry::Fault => true,
        Entry::Call(call, first, second, words) => match call {
            Syscall::Call => second == 0,
            Syscall::ReplyWait => first == NO_DEADLINE && second == 0,
            Syscall::Signal | Syscall::Yield => true,
            Syscall::Invoke => words[0] == ops::IDENTIFY || words[0] == ops::region::ATTACH,
            _ => false,
        },
        _ => false,
    }
}

/// What a fast path made of a step.
struct Fast {
    words: Vec<u64>,
    row: &'static str,
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "panic".to_owned())
}
