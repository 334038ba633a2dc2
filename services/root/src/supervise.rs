//! Supervision: every fault and every request of a process comes here; what dies is taken away in bounded steps and, if the
//! manifest wants it, made again.
//!
//! Key type: [`Supervisor`], a server of `rt`'s event loop. Between two steps of a teardown root takes signals and calls, so
//! that a large process that dies delays nobody.

use alloc::vec::Vec;
use core::fmt;

use ecusson_abi::{NO_DEADLINE, Words, fault};
use ecusson_manifest::Composition;
use ecusson_manifest::composition::{Process, Start};
use ecusson_proto::supervisor::{BAD_OPERATION, Ended, OK, Request};
use ecusson_rt::cap::kind::Memory;
use ecusson_rt::{Cap, Progress, Server, println, sys};

use crate::backoff::{Backoff, Decision, End};
use crate::budget;
use crate::edges::{self, Owner, Peers};
use crate::label::Caller;
use crate::machine::Machine;
use crate::make::{Maker, Objects};
use crate::report::FaultReport;
use crate::trouble::Trouble;

/// Bytes of a panic's text that are kept.
const TEXT_BYTES: usize = 240;
/// Steps of ending a protection domain right when it dies: enough for each of its threads.
const KILL_STEPS: u32 = 128;
/// Steps of reclaiming between two looks at what else there is to do.
const RECLAIM_STEPS: u32 = 8;

/// Root at work.
#[derive(Debug)]
pub struct Supervisor {
    pub(crate) composition: &'static Composition,
    pub(crate) machine: Machine,
    pub(crate) records: Vec<Record>,
}

/// What root knows of a process.
#[derive(Debug, Default)]
pub(crate) struct Record {
    memory: Option<Cap<Memory>>,
    pub(crate) objects: Option<Objects>,
    pub(crate) state: State,
    backoff: Backoff,
    /// When it was started last.
    started: u64,
    /// What it said before it faulted.
    last_words: Vec<u8>,
    /// How often it was started.
    pub(crate) starts: u64,
    /// How it ended last.
    pub(crate) ended: Option<Ended>,
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// It never was, or it ended for good.
    #[default]
    Ended,
    /// It lives.
    Running,
    /// Its pages are being taken back; then: the time at which it is made again, if it is.
    Dying { again_at: Option<u64> },
    /// It is made again at this time.
    Waiting { again_at: u64 },
}

/// A step from nothing to a running process.
type Stage = fn(&mut Supervisor, usize) -> Result<(), Trouble>;

impl Peers for [Record] {
    fn objects(&self, index: usize) -> Option<&Objects> {
        self.get(index)
            .filter(|record| record.state == State::Running)
            .and_then(|record| record.objects.as_ref())
    }
}

impl Peers for Vec<Record> {
    fn objects(&self, index: usize) -> Option<&Objects> {
        self.as_slice().objects(index)
    }
}

impl Supervisor {
    /// Root before any process exists.
    #[must_use]
    pub fn new(composition: &'static Composition, machine: Machine) -> Self {
        let records = composition.processes.iter().map(|_| Record::default()).collect();
        Self {
            composition,
            machine,
            records,
        }
    }

    /// Makes all processes of the boot, then draws all edges, then starts all: nobody runs before everybody he may talk to exists.
    pub fn start_all(&mut self) {
        for stage in [Self::make, Self::fill, Self::run] as [Stage; 3] {
            for index in 0..self.records.len() {
                let starts_now = self.process(index).is_ok_and(|process| process.start == Start::Boot);
                let is_pending = starts_now && self.records.get(index).is_some_and(|record| !is_dying(record));
                if is_pending && let Err(trouble) = stage(self, index) {
                    self.died(index, Ended::NotMade, format_args!("{trouble}"));
                }
            }
        }
    }

    fn process(&self, index: usize) -> Result<&'static Process, Trouble> {
        self.composition.processes.get(index).ok_or(Trouble::Index("a process"))
    }

    fn record(&mut self, index: usize) -> Result<&mut Record, Trouble> {
        self.records.get_mut(index).ok_or(Trouble::Index("a process"))
    }

    /// Makes a process; it is `Running` from here on, as far as edges to it are concerned.
    fn make(&mut self, index: usize) -> Result<(), Trouble> {
        let process = self.process(index)?;
        let (machine, composition) = (&self.machine, self.composition);
        let record = self.records.get_mut(index).ok_or(Trouble::Index("a process"))?;
        if record.memory.is_none() {
            record.memory = Some(machine.take_memory(budget::process_pages(composition, index))?);
        }
        let memory = record.memory.as_ref().ok_or(Trouble::Index("memory"))?;
        let before = machine.slots_in_use();
        let made = Maker {
            machine,
            composition,
            index,
            process,
            memory,
        }
        .make();
        record.objects = Some(made.inspect_err(|_| machine.release_all_but(&before))?);
        record.state = State::Running;
        Ok(())
    }

    /// A process whose table is to be filled; `None` if it does not exist.
    fn owner(&self, index: usize) -> Option<Owner<'_>> {
        let objects = self.records.objects(index)?;
        let memory = self.records.get(index)?.memory.as_ref()?;
        let process = self.composition.processes.get(index)?;
        Some(Owner {
            machine: &self.machine,
            files: &self.composition.files,
            index,
            process,
            memory,
            objects,
        })
    }

    fn fill(&mut self, index: usize) -> Result<(), Trouble> {
        let owner = self.owner(index).ok_or(Trouble::Index("a process"))?;
        edges::fill(&owner, &self.records)
    }

    fn run(&mut self, index: usize) -> Result<(), Trouble> {
        let process = self.process(index)?;
        let record = self.record(index)?;
        record.started = sys::now();
        record.starts += 1;
        record
            .objects
            .as_ref()
            .ok_or(Trouble::Index("a process"))?
            .start(process)
    }

    /// Makes a process again, and gives those who knew it what they need to reach it.
    fn restart(&mut self, index: usize) -> Result<(), Trouble> {
        self.make(index)?;
        self.fill(index)?;
        for other in 0..self.records.len() {
            if let Some(owner) = self.owner(other) {
                edges::renew(&owner, index, &self.records)?;
            }
        }
        self.run(index)
    }

    /// A process is at its end: stops it, says why, and decides what comes next.
    pub(crate) fn died(&mut self, index: usize, ended: Ended, reason: fmt::Arguments<'_>) {
        let end = End::of(ended);
        let (Ok(process), now) = (self.process(index), sys::now()) else {
            return;
        };
        let Some(record) = self.records.get_mut(index).filter(|record| !is_dying(record)) else {
            return;
        };
        if let Some(objects) = &record.objects {
            kill(objects);
        }
        let ran_ms = match record.state {
            State::Running => self.machine.ms_of_ticks(now.saturating_sub(record.started)),
            _ => 0,
        };
        let decision = match process.start {
            Start::Boot => record.backoff.decide(&process.restart, end, ran_ms),
            Start::Demand => Decision::Stay,
        };
        record.ended = Some(ended);
        let again_at = match decision {
            Decision::Restart { after_ms } => Some(now + self.machine.ticks_of_us(after_ms * 1000)),
            Decision::Stay | Decision::GiveUp { .. } => None,
        };
        record.state = State::Dying { again_at };
        record.last_words.clear();
        let name = &process.name;
        match decision {
            Decision::Restart { after_ms } => println!("root: {name} died: {reason}; restarting in {after_ms} ms"),
            Decision::GiveUp { restarts } => {
                println!("root: {name} died: {reason}; giving up after {restarts} restarts");
            }
            Decision::Stay if end == End::Finished || ended == Ended::Stopped => println!("root: {name} {reason}"),
            Decision::Stay => println!("root: {name} died: {reason}; not restarted"),
        }
    }

    fn faulted(&mut self, index: usize, words: &Words) {
        let said = self
            .records
            .get_mut(index)
            .map(|record| core::mem::take(&mut record.last_words));
        let said = said.unwrap_or_default();
        let report = FaultReport::new(words);
        let ended = Ended::Faulted(report.vector());
        match core::str::from_utf8(&said) {
            Ok(text) if !text.is_empty() => self.died(index, ended, format_args!("{text}")),
            _ => self.died(index, ended, format_args!("{report}")),
        }
    }

    fn request(&mut self, index: usize, words: &Words) -> Words {
        let code = |code| [code, 0, 0, 0, 0, 0];
        match Request::decode(words) {
            Some(Request::Panic(piece)) => {
                let Some(record) = self.records.get_mut(index) else {
                    return code(BAD_OPERATION);
                };
                let room = TEXT_BYTES.saturating_sub(record.last_words.len());
                record
                    .last_words
                    .extend(piece.as_bytes().iter().take(room).map(|byte| printable(*byte)));
                code(OK)
            }
            Some(Request::Exit { code: exit }) => {
                self.died(index, Ended::Exited(exit), format_args!("exited with code {exit}"));
                code(OK)
            }
            Some(Request::Control { number, order }) => self.control(index, number, order),
            None => code(BAD_OPERATION),
        }
    }

    /// Some steps of taking a process away.
    fn reclaim(&mut self, index: usize) {
        let Some(record) = self.records.get_mut(index) else {
            return;
        };
        let State::Dying { again_at } = record.state else {
            return;
        };
        if let Some(memory) = &record.memory {
            for step in 0..=RECLAIM_STEPS {
                match memory.reclaim_step() {
                    Ok(Progress::Done) => break,
                    Ok(Progress::More(_)) if step < RECLAIM_STEPS => {}
                    Ok(Progress::More(_)) => return,
                    // Cannot be: root holds it with every right. Its pages are given up rather than used in doubt.
                    Err(failure) => {
                        println!("root: memory of process {index} is lost: {failure}");
                        record.memory = None;
                        break;
                    }
                }
            }
        }
        if let Some(objects) = record.objects.take() {
            objects.release(&self.machine);
        }
        record.state = again_at.map_or(State::Ended, |again_at| State::Waiting { again_at });
        if again_at.is_none() {
            self.gone(index);
        }
    }

    /// A process is gone for now: its pages are there for others, and its controller hears of it.
    fn gone(&mut self, index: usize) {
        let pages = budget::process_pages(self.composition, index);
        let memory = self.records.get_mut(index).and_then(|record| record.memory.take());
        memory
            .into_iter()
            .for_each(|memory| self.machine.keep_memory(pages, memory));
        self.tell_controller(index);
    }
}

fn is_dying(record: &Record) -> bool {
    matches!(record.state, State::Dying { .. } | State::Waiting { .. })
}

/// What may go to a terminal.
fn printable(byte: u8) -> u8 {
    if byte == b' ' || byte.is_ascii_graphic() {
        byte
    } else {
        b'?'
    }
}

/// Ends all threads of a process at once. What a core still runs is asked to leave; the reclaiming waits for it.
fn kill(objects: &Objects) {
    for _ in 0..KILL_STEPS {
        match objects.domain.destroy_step() {
            Ok(Progress::More(_)) => {}
            Ok(Progress::Done) | Err(_) => return,
        }
    }
}

impl Server for Supervisor {
    fn call(&mut self, label: u64, words: Words) -> Words {
        match Caller::of(label) {
            Some(Caller::Fault { process, .. }) => {
                self.faulted(process, &words);
                [fault::STOP, 0, 0, 0, 0, 0]
            }
            Some(Caller::Request { process }) => self.request(process, &words),
            None => [BAD_OPERATION, 0, 0, 0, 0, 0],
        }
    }

    fn deadline(&mut self, now: u64) {
        for index in 0..self.records.len() {
            match self.records.get(index).map(|record| record.state) {
                Some(State::Dying { .. }) => self.reclaim(index),
                Some(State::Waiting { again_at }) if again_at <= now => {
                    if let Some(record) = self.records.get_mut(index) {
                        record.state = State::Ended;
                    }
                    if let Err(trouble) = self.restart(index) {
                        self.died(index, Ended::NotMade, format_args!("{trouble}"));
                    }
                }
                _ => {}
            }
        }
    }

    fn next_deadline(&self) -> u64 {
        let deadlines = self.records.iter().map(|record| match record.state {
            State::Dying { .. } => 0,
            State::Waiting { again_at } => again_at,
            State::Ended | State::Running => NO_DEADLINE,
        });
        deadlines.min().unwrap_or(NO_DEADLINE)
    }
}
