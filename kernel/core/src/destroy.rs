//! Destruction, in bounded steps. The first step condemns the object, which kills every capability to it;
//! the following ones unlink whatever still names it; the last gives its room back. When a step answers
//! [`Step::Done`] nothing names the object any more.

use ecusson_abi::{Error, Kind, Rights};

use crate::cap::Capability;
use crate::interrupt::Interrupt;
use crate::kernel::{Answer, Failure, Kernel, Outcome};
use crate::memory::Memory;
use crate::name::{Frame, Object, Ref};
use crate::notification::Notification;
use crate::platform::Platform;
use crate::portal::Portal;
use crate::ports::Ports;
use crate::protection_domain::ProtectionDomain;
use crate::region::Region;
use crate::sched_context::SchedContext;
use crate::space::Space;
use crate::store::Store;
use crate::thread::Thread;

/// Whether a destruction is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Nothing names the object any more; its room is free.
    Done,
    /// Do it again.
    Again,
}

/// Pages of tables that one step gives back.
const TABLES_A_STEP: usize = 64;

impl<S: Store> Kernel<S> {
    /// The operation `DESTROY` of every kind. Unlike others it accepts a capability to an object that is
    /// already being destroyed, so that whoever began can finish.
    pub(crate) fn destroy(&self, capability: Capability) -> Answer {
        Failure::require(capability.rights(), Rights::MANAGE)?;
        if !self.is_live(capability) && !self.is_dying(capability) {
            return Err(Failure::at(Error::Dead, 0));
        }
        let address = capability.address();
        let step = match capability.kind() {
            Some(Kind::Thread) => Ref::new(address).map(|name| self.destroy_thread(name)),
            Some(Kind::ProtectionDomain) => Ref::new(address).map(|name| self.destroy_domain(name)),
            Some(Kind::Memory | Kind::Platform) | None => return Err(Failure::BAD_OPERATION),
            Some(_) => Some(self.destroy_small_at(address)),
        };
        match step {
            Some(Step::Again) => Ok(Outcome::Progress(0)),
            _ => Ok(Outcome::Done(0)),
        }
    }

    fn is_dying(&self, capability: Capability) -> bool {
        let address = capability.address();
        let is_object = self.store.frame(Frame::of_address(address)).has_tag(capability.tag());
        is_object && capability.epoch != 0 && self.store.header(address).dying.get() == capability.epoch
    }

    /// One step for whatever small object is at an address.
    pub(crate) fn destroy_small_at(&self, address: u64) -> Step {
        match self.store.header(address).kind() {
            Some(Kind::Region) => Ref::new(address).map_or(Step::Done, |name| self.destroy_region(name)),
            Some(Kind::Space) => Ref::new(address).map_or(Step::Done, |name| self.destroy_space(name)),
            Some(Kind::Vcpu) => Ref::new(address).map_or(Step::Done, |name| self.destroy_vcpu(name)),
            Some(Kind::SchedContext) => self.finish_small::<SchedContext>(address, Self::unbind_context),
            Some(Kind::Portal) => self.finish_small::<Portal>(address, Self::unlink_portal),
            Some(Kind::Notification) => self.finish_small::<Notification>(address, Self::unbind_notification),
            Some(Kind::Interrupt) => self.finish_small::<Interrupt>(address, Self::unlink_interrupt),
            Some(Kind::Ports) => self.finish_small::<Ports>(address, Self::unlink_ports),
            Some(Kind::Memory) => self.finish_small::<Memory>(address, |_, _| {}),
            Some(Kind::Platform) => self.finish_small::<Platform>(address, |_, _| {}),
            _ => Step::Done,
        }
    }

    /// Destroys an object that one step suffices for.
    fn finish_small<T: Object>(&self, address: u64, unlink: fn(&Self, Ref<T>)) -> Step {
        if let Some(name) = Ref::<T>::new(address) {
            T::of(&self.store, name).header().condemn();
            unlink(self, name);
            self.give_small(name);
        }
        Step::Done
    }

    /// One step of destroying a thread.
    pub(crate) fn destroy_thread(&self, name: Ref<Thread>) -> Step {
        let thread = self.store.thread(name);
        thread.header.condemn();
        self.retire(name);
        if let Some(caller) = self.first_caller(thread) {
            self.abort_call(caller, Error::Dead);
            return Step::Again;
        }
        if let Some(portal) = thread.portals.first() {
            self.unlink_portal(portal);
            return Step::Again;
        }
        if let Some(notification) = thread.notification.get() {
            self.unbind_notification(notification);
        }
        if let Some(vcpu) = thread.vcpu.take() {
            self.store.vcpu(vcpu).thread.set(None);
        }
        if let Some(context) = thread.own_sched_context.take() {
            self.cancel_replenishment(context);
            self.store.sched_context(context).thread.set(None);
        }
        if self.is_current(name) {
            // Its core must let go of it first; it was asked to.
            self.send_ipi(thread.core());
            return Step::Again;
        }
        if let Some(domain) = thread.domain.take() {
            self.store
                .protection_domain(domain)
                .threads
                .remove(&self.store, name, Thread::sibling_links);
        }
        let counter = &self.core(thread.core()).threads;
        counter.set(counter.get().saturating_sub(1));
        thread.header.dying.set(0);
        self.release_page(name.frame());
        Step::Done
    }

    /// Gives an object's page back to its Memory.
    fn release_page(&self, frame: Frame) {
        match self.store.frame(frame).owner::<Memory>() {
            Some(memory) => self.give_page(memory, frame),
            None => self.store.frame(frame).clear(),
        }
    }

    /// One step of destroying a protection domain: its threads, its ports, its table.
    pub(crate) fn destroy_domain(&self, name: Ref<ProtectionDomain>) -> Step {
        let domain = self.store.protection_domain(name);
        domain.header.condemn();
        if let Some(thread) = domain.threads.first() {
            // A thread that runs on another core is asked to leave; others can be destroyed meanwhile.
            let _ = self.destroy_thread(thread);
            return Step::Again;
        }
        if let Some(ports) = domain.ports.first() {
            self.unlink_ports(ports);
            return Step::Again;
        }
        if let Some(space) = domain.space.take() {
            self.store.space(space).domain.set(None);
        }
        let (pages, memory) = (domain.table_pages.get(), domain.memory.get());
        domain.header.dying.set(0);
        for page in 0..=pages {
            let frame = Frame(name.frame().0 + page);
            match memory {
                Some(memory) => self.give_page(memory, frame),
                None => self.store.frame(frame).clear(),
            }
        }
        Step::Done
    }

    /// One step of destroying a space: its process, its attachments, its tables.
    pub(crate) fn destroy_space(&self, name: Ref<Space>) -> Step {
        let space = self.store.space(name);
        space.header.condemn();
        if let Some(domain) = space.domain.get() {
            let _ = self.destroy_domain(domain);
            return Step::Again;
        }
        if let Some(region) = space.attachments.first() {
            let _ = self.detach_step(region);
            return Step::Again;
        }
        // A core that went idle from here may still have the root table loaded.
        let root = Frame(space.root.get()).address();
        for core in self.cores.iter().take(self.core_count()) {
            if self.uses_root(core, root) {
                self.send_ipi(core.index.get());
                return Step::Again;
            }
        }
        for _ in 0..TABLES_A_STEP {
            match self.last_table(space) {
                Some(frame) => self.release_table(space, frame),
                None => {
                    self.give_small(name);
                    return Step::Done;
                }
            }
        }
        Step::Again
    }

    /// A table of a space that is to be given back, unlinked.
    fn last_table(&self, space: &Space) -> Option<Frame> {
        for head in [&space.used_head, &space.unused_head] {
            let frame = Frame(head.get());
            if frame.0 != 0 {
                head.set(self.store.frame(frame).next().map_or(0, |next| next.0));
                return Some(frame);
            }
        }
        Some(Frame(space.root.take())).filter(|root| root.0 != 0)
    }

    fn release_table(&self, space: &Space, frame: Frame) {
        match space.memory.get() {
            Some(memory) => self.give_page(memory, frame),
            None => self.store.frame(frame).clear(),
        }
    }

    /// One step of destroying a region: its slices from the bottom up, then its own attachment.
    pub(crate) fn destroy_region(&self, name: Ref<Region>) -> Step {
        self.store.region(name).header.condemn();
        let target = self.deepest_slice(name);
        self.store.region(target).header.condemn();
        if self.detach_step(target) == Step::Again {
            return Step::Again;
        }
        self.disown(target);
        self.give_small(target);
        if target == name { Step::Done } else { Step::Again }
    }
}
