//! Destruction in bounded steps, and reclamation of a Memory. An object is gone when the state has it no more, and only then the
//! operation answers `Done`.

use crate::abi::{Error, Kind, MANAGE, PAGE_BYTES, SMALL_BYTES, SWEEP_PAGES, TABLES_A_STEP, holds};
use crate::entry::{Outcome, Reply};
use crate::pages::page_of;
use crate::state::{Cap, Frame, State, ensure};

impl State {
    fn epoch(&self, address: u64) -> u64 {
        self.objects[&address].epoch
    }

    fn step_thread(&mut self, thread: u64) {
        self.condemn(thread);
        self.retire(thread);
        if let Some(caller) = self.first_caller(thread) {
            self.abort_call(caller, Error::Dead);
            return;
        }
        let served = self
            .portals()
            .filter(|(_, portal)| portal.server == Some(thread))
            .map(|(at, _)| at);
        if let Some(portal) = served.min_by_key(|at| self.epoch(*at)) {
            self.portal_mut(portal).server = None;
            return;
        }
        if let Some(notification) = self.note_of(thread) {
            self.unbind_notification(notification);
        }
        if let Some(own) = self.own_of(thread) {
            let context = self.context_mut(own);
            context.armed = None;
            context.home = None;
            context.stack.clear();
        }
        let memory = self.owner_of(page_of(thread));
        if !self.is_current(thread) && self.remove(thread) {
            self.give_page(memory, page_of(thread));
        }
    }

    fn step_domain(&mut self, domain: u64) {
        self.condemn(domain);
        let threads = self
            .threads()
            .filter(|(_, thread)| thread.domain == domain)
            .map(|(at, _)| at);
        if let Some(thread) = threads.min_by_key(|at| self.epoch(*at)) {
            self.step_thread(thread);
            return;
        }
        let (memory, pages) = (self.domain(domain).memory, self.domain(domain).pages);
        if self.remove(domain) {
            (0..=pages).for_each(|index| self.give_page(memory, page_of(domain) + index));
        }
    }

    /// Gives tables of a space back, the root last, then the space.
    fn end_space(&mut self, space: u64) {
        for _ in 0..TABLES_A_STEP {
            let of = self.space_mut(space);
            let memory = of.memory;
            let Some(page) = of.used.pop().or_else(|| of.unused.pop()).or_else(|| of.root.take()) else {
                self.end_small(space);
                return;
            };
            self.give_page(memory, page);
        }
    }

    fn step_space(&mut self, space: u64) {
        self.condemn(space);
        let domain = self
            .domains()
            .find(|(_, domain)| domain.space == space)
            .map(|(at, _)| at);
        let attached = self.regions().filter_map(|(at, region)| Some((region.attachment?, at)));
        let attached = attached.filter(|(attachment, _)| attachment.space == space);
        let first = attached
            .min_by_key(|(attachment, _)| attachment.stamp)
            .map(|(_, at)| at);
        let is_loaded = self.space(space).root.is_some() && self.cores.iter().any(|core| core.loaded == Some(space));
        match (domain, first) {
            (Some(domain), _) => self.step_domain(domain),
            (None, Some(region)) => self.detach_step(region),
            (None, None) if is_loaded => {}
            (None, None) => self.end_space(space),
        }
    }

    fn youngest_slice(&self, region: u64) -> Option<u64> {
        let slices = self
            .regions()
            .filter(|(_, slice)| slice.parent == Some(region))
            .map(|(at, _)| at);
        slices.max_by_key(|at| self.epoch(*at))
    }

    /// A Region's slices from the bottom up, then its own attachment.
    fn step_region(&mut self, region: u64) {
        self.condemn(region);
        let chain = std::iter::successors(Some(region), |region| self.youngest_slice(*region));
        let target = chain.last().unwrap_or(region);
        self.condemn(target);
        self.detach_step(target);
        if self.region(target).attachment.is_none() {
            self.end_small(target);
        }
    }

    /// The time of a context that ends: whoever holds it falls back to its own; who lent it gets none back.
    fn unbind_context(&mut self, context: u64) {
        let of = self.context_mut(context);
        of.armed = None;
        let Some(home) = of.home.take() else { return };
        let holder = of.stack.first().copied();
        of.stack.clear();
        self.thread_mut(home).own_priority = 0;
        if let Some(holder) = holder {
            self.fall_back(holder);
        }
    }

    /// One step for whatever object is at an address.
    fn destroy_step(&mut self, address: u64) {
        match self.kind_of(address) {
            None => return,
            Some(Kind::Thread) => return self.step_thread(address),
            Some(Kind::ProtectionDomain) => return self.step_domain(address),
            Some(Kind::Region) => return self.step_region(address),
            Some(Kind::Space) => return self.step_space(address),
            Some(_) => self.condemn(address),
        }
        match self.kind_of(address) {
            Some(Kind::SchedContext) => self.unbind_context(address),
            Some(Kind::Portal) => self.portal_mut(address).server = None,
            Some(Kind::Notification) => self.unbind_notification(address),
            _ => {}
        }
        self.end_small(address);
    }

    /// The operation DESTROY, also by a capability to an object that is already dying.
    pub(crate) fn destroy(&mut self, cap: Cap) -> Outcome {
        ensure(holds(cap.rights, MANAGE), Error::NoRight, 0)?;
        ensure(self.is_live(cap) || self.is_dying(cap), Error::Dead, 0)?;
        ensure(
            !matches!(cap.kind, Kind::Memory | Kind::Platform | Kind::Vcpu),
            Error::BadArg,
            0,
        )?;
        self.destroy_step(cap.object);
        Ok(if self.objects.contains_key(&cap.object) {
            Reply::Progress(0)
        } else {
            Reply::Done(0)
        })
    }

    /// One sweep over a Memory's pages: destroys one object, or goes past pages that hold none.
    pub(crate) fn reclaim(&mut self, memory: u64) -> Outcome {
        let of = self.memory(memory);
        ensure(!of.is_primal, Error::BadState, 0)?;
        let end = of.first + of.pages;
        let mut at = of.sweep.unwrap_or(of.first);
        for _ in 0..SWEEP_PAGES {
            if at >= end {
                return self.end_reclaim(memory);
            }
            let object = match self.frames.get(&at) {
                None => None,
                Some(Frame::Small { used: 0, .. } | Frame::Returned(_)) => {
                    self.frames.remove(&at);
                    None
                }
                Some(Frame::Small { used, .. }) => {
                    Some(at * PAGE_BYTES + u64::from(used.trailing_zeros()) * SMALL_BYTES)
                }
                Some(Frame::Thread(_) | Frame::Domain(_)) => Some(at * PAGE_BYTES),
                Some(Frame::Table(owner) | Frame::PageTable(owner)) => Some(*owner),
            };
            if let Some(object) = object {
                self.destroy_step(object);
                self.memory_mut(memory).sweep = Some(at);
                return Ok(Reply::Progress(end - at));
            }
            at += 1;
        }
        self.memory_mut(memory).sweep = Some(at);
        Ok(Reply::Progress(end - at))
    }

    fn end_reclaim(&mut self, memory: u64) -> Outcome {
        if !self.is_empty_memory(memory) {
            return Ok(Reply::Progress(0));
        }
        let of = self.memory_mut(memory);
        of.next = of.first;
        of.end = of.first + of.pages;
        of.returned.clear();
        of.roomy.clear();
        of.sweep = None;
        Ok(Reply::Done(0))
    }
}
