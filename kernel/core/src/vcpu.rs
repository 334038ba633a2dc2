//! vCPUs: who runs a guest's processor, when `VcpuRun` returns, doorbells.
//!
//! A thread in `VcpuRun` has [`flag::GUEST`]; where others would go on in user mode it goes on in its guest. A halted guest's
//! thread waits like one in `Wait`. What the processor does is the machine layer's: it asks [`Kernel::guest_entry`] before it
//! enters a guest, and reports each exit to [`Kernel::guest_exit`], both under the lock. A vCPU stays pinned while a core has
//! it loaded ([`crate::percpu::Core::guest`]); space and state page are capabilities, looked at again on every entry.

use core::cell::Cell;

use ecusson_abi::vcpu::{exit, run};
use ecusson_abi::{Error, Event, NO_DEADLINE, Rights, Status, Words, ops};

use crate::cap::{Capability, CapabilityCell};
use crate::destroy::Step;
use crate::kernel::{Failure, Kernel, Outcome};
use crate::memory::{Memory, Place, SmallObjects};
use crate::name::{Frame, Header, Object, Ref, object};
use crate::notification::Notification;
use crate::percpu::Core;
use crate::region::Region;
use crate::space::{Space, SpaceKind};
use crate::store::{Store, Tag};
use crate::thread::{State, Thread, flag};

/// Words of a doorbell: port and bit with [`IN_USE`], capability to the notification.
const DOORBELL_WORDS: u64 = 4;
const IN_USE: u64 = 1 << 63;

/// A guest's processor.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Vcpu {
    /// Epoch.
    pub header: Header,
    /// The thread that runs it.
    pub thread: Cell<Option<Ref<Thread>>>,
    /// Its guest's memory.
    pub space: CapabilityCell,
    /// Region whose first page is the state page.
    pub state: CapabilityCell,
    /// Its two pages: general registers and FPU state; the processor's control block.
    pub pages: [Cell<Frame>; 2],
    /// Why `VcpuRun` returned last, for the state page.
    pub reason: Cell<u64>,
    /// Whether the next entry has to read the state page.
    pub load: Cell<bool>,
    /// Whether the VMM waits for the guest to take interrupts.
    pub window: Cell<bool>,
    /// Whether the guest is halted.
    pub halted: Cell<bool>,
    /// Whether its translations have to go before the next entry.
    pub flush: Cell<bool>,
    /// Whether somebody kicked it and nobody heard of it yet.
    pub kicked: Cell<bool>,
}

object!(Vcpu, Small, vcpu);

/// Why a guest left the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GuestExit {
    /// `HLT`.
    Halt,
    /// A write to an I/O port that is no string.
    PortWrite(u16),
    /// What only the VMM can handle; of [`exit`].
    Report(u64),
}

/// What the machine layer needs to enter a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GuestEntry {
    /// The vCPU.
    pub vcpu: Ref<Vcpu>,
    /// Physical address of the root of the nested page tables.
    pub root: u64,
    /// Generation of the last flush of the guest's translations that was asked for.
    pub flush: u64,
    /// The state page.
    pub state: Frame,
}

impl<S: Store> Kernel<S> {
    /// Operations of Vcpu.
    pub(crate) fn vcpu_operation(
        &self,
        actor: Ref<Thread>,
        name: Ref<Vcpu>,
        rights: Rights,
        words: &Words,
    ) -> Result<Outcome, Failure> {
        match words[0] {
            ops::vcpu::BIND => {
                Failure::require(rights, Rights::MANAGE)?;
                self.bind_vcpu(actor, name, words)
            }
            ops::vcpu::KICK => {
                Failure::require(rights, Rights::SIGNAL)?;
                self.kick(name);
                Ok(Outcome::Done(0))
            }
            _ => Err(Failure::BAD_OPERATION),
        }
    }

    pub(crate) fn create_vcpu(&self, actor: &Thread, place: &Place<'_>, words: &Words) -> Result<Outcome, Failure> {
        if self.guest_pages.get() == 0 {
            return Err(Failure::at(Error::Unsupported, 1));
        }
        let space = self.argument::<Space>(actor, words, 3, Rights::MANAGE)?;
        if self.store.space(space).kind() != SpaceKind::Guest {
            return Err(Failure::at(Error::BadType, 3));
        }
        let state = self.argument::<Region>(actor, words, 4, Rights::READ.with(Rights::WRITE))?;
        let region = self.store.region(state);
        if region.is_device.get() || region.scrubbed.get() == 0 {
            return Err(Failure::at(Error::BadState, 4));
        }
        self.afford(place.memory, 2, SmallObjects::One)?;
        // Nothing may fail from here on.
        if let Some(name) = self.make_small::<Vcpu>(place, Rights::ALL) {
            let vcpu = self.store.vcpu(name);
            vcpu.space.set(self.weak(space));
            vcpu.state.set(self.weak(state));
            for page in &vcpu.pages {
                if let Some(frame) = self.take_page(place.memory) {
                    self.store.frame(frame).assign(Tag::Vcpu, name);
                    page.set(frame);
                }
            }
        }
        Ok(Outcome::Done(0))
    }

    /// A link to a living object that may end without asking.
    fn weak<T: Object>(&self, name: Ref<T>) -> Capability {
        Capability::new(name, T::of(&self.store, name).header().epoch.get(), Rights::NONE)
    }

    fn bind_vcpu(&self, actor: Ref<Thread>, name: Ref<Vcpu>, words: &Words) -> Result<Outcome, Failure> {
        let target = if words[1] == 0 {
            actor
        } else {
            let found = self.lookup::<Thread>(self.store.thread(actor), words[1], Rights::MANAGE);
            found.map_err(|error| Failure::at(error, 1))?
        };
        let (vcpu, thread) = (self.store.vcpu(name), self.store.thread(target));
        for (partner, argument) in [(vcpu.thread.get().is_some(), 0), (thread.vcpu.get().is_some(), 1)] {
            if partner {
                return Err(Failure::at(Error::Occupied, argument));
            }
        }
        vcpu.thread.set(Some(target));
        thread.vcpu.set(Some(name));
        Ok(Outcome::Done(0))
    }

    fn kick(&self, name: Ref<Vcpu>) {
        let vcpu = self.store.vcpu(name);
        vcpu.kicked.set(true);
        let Some(thread_name) = vcpu.thread.get() else { return };
        let thread = self.store.thread(thread_name);
        if thread.has(flag::GUEST) && thread.state() == State::WaitingSignal {
            vcpu.kicked.set(false);
            self.leave_guest(thread_name, Status::event(Event::Exit), exit::KICK);
            self.make_ready(thread_name);
        }
        self.disturb(thread);
    }

    /// Has a thread that is in its guest on another core look up.
    pub(crate) fn disturb(&self, thread: &Thread) {
        if thread.has(flag::GUEST) && thread.state() == State::Running {
            self.send_ipi(thread.core());
        }
    }

    /// System call `VcpuRun`.
    ///
    /// # Errors
    /// `BadState` without a vCPU, `Dead` if its space or state page is gone; argument 0.
    pub(crate) fn vcpu_run(&self, actor: Ref<Thread>, deadline: u64, flags: u64) -> Result<Outcome, Failure> {
        let thread = self.store.thread(actor);
        let name = thread.vcpu.get().ok_or(Failure::at(Error::BadState, 0))?;
        self.entry_of(name).ok_or(Failure::at(Error::Dead, 0))?;
        let vcpu = self.store.vcpu(name);
        // Nothing may fail from here on.
        vcpu.load.set(true);
        vcpu.window.set(flags & run::WINDOW != 0);
        vcpu.halted.set(flags & run::HALTED != 0);
        if flags & run::FLUSH != 0 {
            vcpu.flush.set(true);
        }
        thread.set_flag(flag::GUEST);
        if self.may_enter(actor, vcpu) {
            if deadline != NO_DEADLINE && deadline <= self.now.get() {
                self.leave_guest(actor, Status::event(Event::Deadline), 0);
            } else {
                self.arm_deadline(actor, deadline);
                if vcpu.halted.get() {
                    self.halt(thread);
                }
            }
        }
        Ok(Outcome::Gone)
    }

    fn halt(&self, thread: &Thread) {
        if thread.caller.get().is_none() {
            thread.sched_context.set(None);
        }
        thread.set_state(State::WaitingSignal);
    }

    /// Ends `VcpuRun` for signals or a kick, if there are some; else the guest may go on.
    fn may_enter(&self, name: Ref<Thread>, vcpu: &Vcpu) -> bool {
        let thread = self.store.thread(name);
        let bits = self.take_signals(thread);
        if bits != 0 {
            self.leave_guest(name, Status::event(Event::Signal), bits);
        } else if vcpu.kicked.take() {
            self.leave_guest(name, Status::event(Event::Exit), exit::KICK);
        }
        thread.has(flag::GUEST)
    }

    /// Ends a thread's `VcpuRun`. Its state page is written unless the VMM's own changes there are still to be read.
    pub(crate) fn leave_guest(&self, name: Ref<Thread>, status: Status, second: u64) {
        let thread = self.store.thread(name);
        self.cancel_deadline(name);
        thread.finish(status, second);
        let vcpu = thread.vcpu.get().map(|vcpu| self.store.vcpu(vcpu));
        if let Some(vcpu) = vcpu.filter(|vcpu| !vcpu.load.get()) {
            vcpu.reason.set(second);
            thread.set_flag(flag::LEFT_GUEST);
        }
    }

    /// Before the machine layer enters the guest of its current thread: what it needs, or nothing if `VcpuRun` ended.
    pub fn guest_entry(&self, name: Ref<Thread>) -> Option<GuestEntry> {
        let vcpu = self.store.thread(name).vcpu.get()?;
        let entry = self.entry_of(vcpu);
        if entry.is_none() {
            self.leave_guest(name, Status::error(Error::Dead), 0);
        }
        entry.filter(|_| self.may_enter(name, self.store.vcpu(vcpu)))
    }

    /// What belongs to a vCPU, while it exists.
    pub fn entry_of(&self, vcpu: Ref<Vcpu>) -> Option<GuestEntry> {
        let parts = self.store.vcpu(vcpu);
        let space = self.store.space(self.live::<Space>(parts.space.get())?);
        let state = self.store.region(self.live::<Region>(parts.state.get())?);
        Some(GuestEntry {
            vcpu,
            root: Frame(space.root.get()).address(),
            flush: space.flush.get(),
            state: Frame(state.first.get()),
        })
    }

    /// The guest of the current thread left the processor. Whether its instruction is done and must be skipped.
    pub fn guest_exit(&self, reason: GuestExit) -> bool {
        let Some(name) = self.core(self.here.get()).current.get() else {
            return false;
        };
        let thread = self.store.thread(name);
        let vcpu_name = thread.vcpu.get().filter(|_| thread.has(flag::GUEST));
        let Some(vcpu_name) = vcpu_name else { return false };
        let vcpu = self.store.vcpu(vcpu_name);
        let report = |reason| self.leave_guest(name, Status::event(Event::Exit), reason);
        match reason {
            GuestExit::PortWrite(port) if self.ring(vcpu, port) => return true,
            GuestExit::PortWrite(_) => report(exit::IO),
            GuestExit::Report(reason) => report(reason),
            // Stopped meanwhile: it halts again when it goes on.
            GuestExit::Halt if thread.state() != State::Running => {}
            GuestExit::Halt => {
                vcpu.halted.set(true);
                if vcpu.window.get() {
                    report(exit::HALT);
                } else if self.may_enter(name, vcpu) {
                    thread.set_flag(flag::LEFT_GUEST);
                    self.halt(thread);
                }
                return true;
            }
        }
        false
    }

    // Doorbells

    /// `Space.intercept`.
    pub(crate) fn intercept(&self, actor: Ref<Thread>, name: Ref<Space>, words: &Words) -> Result<Outcome, Failure> {
        let space = self.store.space(name);
        let notification = self.argument::<Notification>(self.store.thread(actor), words, 2, Rights::SIGNAL)?;
        if space.kind() != SpaceKind::Guest {
            return Err(Failure::at(Error::BadState, 0));
        }
        let port = u16::try_from(words[1]).map_err(|_| Failure::at(Error::BadArg, 1))?;
        if words[3] > 63 {
            return Err(Failure::at(Error::BadArg, 3));
        }
        if space.doorbells.get() == 0 {
            let table = self.take_table(name).ok_or(Failure::at(Error::NoMemory, 1))?;
            space.doorbells.set(table.0);
        }
        let place = self.doorbell(space, port).ok_or(Failure::at(Error::Busy, 0))?;
        let capability = self.weak(notification);
        let words = [
            u64::from(port) | words[3] << 16 | IN_USE,
            capability.word,
            capability.epoch,
        ];
        for (index, word) in (place..).zip(words) {
            self.store.entry(Frame(space.doorbells.get()), index).set(word);
        }
        Ok(Outcome::Done(0))
    }

    /// Where a port's doorbell is, or the first free place.
    fn doorbell(&self, space: &Space, port: u16) -> Option<u64> {
        let table = Frame(space.doorbells.get());
        let mut places = (0..1 << S::TABLE_BITS).step_by(DOORBELL_WORDS as usize);
        places.find(|&place| {
            let word = self.store.entry(table, place).get();
            word == 0 || word as u16 == port
        })
    }

    /// A guest wrote to a port: signals its doorbell, if it has one.
    fn ring(&self, vcpu: &Vcpu, port: u16) -> bool {
        let space = self.live::<Space>(vcpu.space.get()).map(|name| self.store.space(name));
        let Some(space) = space.filter(|space| space.doorbells.get() != 0) else {
            return false;
        };
        let Some(place) = self.doorbell(space, port) else {
            return false;
        };
        let word = |index| self.store.entry(Frame(space.doorbells.get()), place + index).get();
        let capability = Capability {
            word: word(1),
            epoch: word(2),
        };
        let notification = self.live::<Notification>(capability).filter(|_| word(0) != 0);
        if let Some(name) = notification {
            self.signal(name, 1 << (word(0) >> 16 & 63));
        }
        notification.is_some()
    }

    // The end

    /// Whether a core uses a root table: in CR3, or for the guest it has loaded.
    pub(crate) fn uses_root(&self, core: &Core, root: u64) -> bool {
        let guest = core.guest.get().map(|vcpu| self.store.vcpu(vcpu).space.get());
        let space = guest.and_then(Capability::name::<Space>);
        let nested = space.map_or(0, |space| Frame(self.store.space(space).root.get()).address());
        root != 0 && (core.loaded_root.get() == root || nested == root)
    }

    /// One step of destroying a vCPU: its thread gets `Dead`; a core that has it loaded must let go of it.
    pub(crate) fn destroy_vcpu(&self, name: Ref<Vcpu>) -> Step {
        let vcpu = self.store.vcpu(name);
        vcpu.header.condemn();
        if let Some(thread_name) = vcpu.thread.take() {
            let thread = self.store.thread(thread_name);
            thread.vcpu.set(None);
            if thread.has(flag::GUEST) {
                self.disturb(thread);
                self.leave_guest(thread_name, Status::error(Error::Dead), 0);
                thread.set_flag(flag::LEFT_GUEST);
                if thread.state() == State::WaitingSignal {
                    self.make_ready(thread_name);
                }
            }
        }
        let mut cores = self.cores.iter().take(self.core_count());
        if let Some(core) = cores.find(|core| core.guest.get() == Some(name)) {
            self.send_ipi(core.index.get());
            return Step::Again;
        }
        if let Some(memory) = self.store.frame(name.frame()).owner::<Memory>() {
            vcpu.pages.iter().for_each(|page| self.give_page(memory, page.get()));
        }
        self.give_small(name);
        Step::Done
    }
}
