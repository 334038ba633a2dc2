//! Operations of Memory, ProtectionDomain, Thread, SchedContext, Portal and Platform.

use crate::abi::{
    ALL, BIND, CALL, CORE_CONTEXTS, CORE_THREADS, CPU_TIME, Error, FAIR_PRIORITY, GRANT, Kind, LONGEST_PERIOD, MANAGE,
    MAX_REGION_PAGES, MAX_TABLE_PAGES, PAGE_BYTES, POKE_FLAGS, POWER, READ, USER_FLAGS, USER_PAGES, WRITE, holds,
};
use crate::entry::{Outcome, Reply};
use crate::state::{
    Body, Check, Context, Domain, Frame, Memory, Notification, Portal, Region, Run, Space, State, Thread, at, ensure,
};

type Words = [u64; 6];

fn require(held: u64, needed: u64) -> Check<()> {
    ensure(holds(held, needed), Error::NoRight, 0)
}

fn is_user_address(address: u64) -> bool {
    address / PAGE_BYTES < USER_PAGES
}

fn new_memory(first: u64, pages: u64) -> Memory {
    Memory {
        first,
        pages,
        next: first,
        end: first + pages,
        is_primal: false,
        returned: vec![],
        roomy: vec![],
        sweep: None,
    }
}

fn new_region(first: u64, pages: u64, is_device: bool) -> Region {
    let scrubbed = if is_device { pages } else { 0 };
    Region {
        first,
        pages,
        max: ALL,
        is_device,
        depth: 0,
        parent: None,
        scrubbed,
        attachment: None,
    }
}

impl State {
    /// Adds a small object of a Memory that has room, with all rights in the actor's slot `words[2]`.
    fn add_small(&mut self, actor: u64, memory: u64, slot: u64, body: Body) -> u64 {
        let address = self.take_small(memory);
        self.add(address, body, self.thread(actor).domain, slot, ALL);
        address
    }

    // Memory.

    fn split(&mut self, actor: u64, memory: u64, words: &Words) -> Outcome {
        self.usable(memory)?;
        at(2, self.empty_slot(actor, words[2]))?;
        let first = self.run_beside_object(memory, words[1], 0, 1)?;
        self.add_small(actor, memory, words[2], Body::Memory(new_memory(first, words[1])));
        self.memory_mut(memory).end = first;
        Ok(Reply::Done(0))
    }

    fn create_region(&mut self, actor: u64, memory: u64, words: &Words) -> Outcome {
        ensure(words[4] <= 18, Error::BadArg, 4)?;
        let first = self.run_beside_object(memory, words[3], words[4], 3)?;
        self.add_small(
            actor,
            memory,
            words[2],
            Body::Region(new_region(first, words[3], false)),
        );
        self.memory_mut(memory).end = first;
        Ok(Reply::Done(0))
    }

    fn create_space(&mut self, actor: u64, memory: u64, words: &Words) -> Outcome {
        let is_dma = match words[3] {
            0 => false,
            2 => true,
            1 => return Err((Error::Unsupported, 3)),
            _ => return Err((Error::BadArg, 3)),
        };
        self.afford(memory, u64::from(!is_dma), true)?;
        let space = Space {
            is_dma,
            memory,
            ..Space::default()
        };
        let space = self.add_small(actor, memory, words[2], Body::Space(space));
        if !is_dma {
            self.space_mut(space).root = Some(self.take_page(memory, Frame::PageTable(space)));
        }
        Ok(Reply::Done(0))
    }

    fn create_domain(&mut self, actor: u64, memory: u64, words: &Words) -> Outcome {
        let pages = words[3];
        ensure((1..=MAX_TABLE_PAGES).contains(&pages), Error::BadArg, 3)?;
        let space = at(4, self.lookup(actor, words[4], Kind::Space, MANAGE))?;
        ensure(!self.space(space).is_dma, Error::BadType, 4)?;
        ensure(
            self.domains().all(|(_, domain)| domain.space != space),
            Error::Occupied,
            4,
        )?;
        self.afford_run(memory, 1 + pages)?;
        let address = self.take_next(memory, Frame::Domain(memory)) * PAGE_BYTES;
        (0..pages).for_each(|_| {
            self.take_next(memory, Frame::Table(address));
        });
        let domain = Domain {
            pages,
            space,
            memory,
            slots: std::collections::BTreeMap::new(),
        };
        self.add(address, Body::Domain(domain), self.thread(actor).domain, words[2], ALL);
        Ok(Reply::Done(0))
    }

    fn create_thread(&mut self, actor: u64, memory: u64, words: &Words) -> Outcome {
        let domain = at(3, self.lookup(actor, words[3], Kind::ProtectionDomain, MANAGE))?;
        let core = words[4];
        ensure(core < self.config.cores, Error::BadArg, 4)?;
        ensure(words[5] <= 1, Error::BadArg, 5)?;
        ensure(
            self.threads().filter(|(_, thread)| thread.core == core).count() < CORE_THREADS,
            Error::NoMemory,
            4,
        )?;
        self.afford(memory, 1, false)?;
        let address = self.take_page(memory, Frame::Thread(memory)) * PAGE_BYTES;
        let thread = Body::Thread(Box::new(Thread::new(domain, core)));
        self.add(address, thread, self.thread(actor).domain, words[2], ALL);
        Ok(Reply::Done(0))
    }

    fn create_portal(&mut self, actor: u64, memory: u64, words: &Words) -> Outcome {
        let server = at(3, self.lookup(actor, words[3], Kind::Thread, MANAGE))?;
        ensure(words[5] <= 1, Error::BadArg, 5)?;
        let portal = Portal {
            label: words[4],
            is_active: words[5] == 1,
            server: Some(server),
        };
        self.create_plain(actor, memory, words, Body::Portal(portal))
    }

    fn create_plain(&mut self, actor: u64, memory: u64, words: &Words, body: Body) -> Outcome {
        self.afford(memory, 0, true)?;
        self.add_small(actor, memory, words[2], body);
        Ok(Reply::Done(0))
    }

    fn create(&mut self, actor: u64, memory: u64, words: &Words) -> Outcome {
        self.usable(memory)?;
        let kind = Kind::of(words[1]).ok_or((Error::BadArg, 1))?;
        at(2, self.empty_slot(actor, words[2]))?;
        match kind {
            Kind::Region => self.create_region(actor, memory, words),
            Kind::Space => self.create_space(actor, memory, words),
            Kind::ProtectionDomain => self.create_domain(actor, memory, words),
            Kind::Thread => self.create_thread(actor, memory, words),
            Kind::SchedContext => self.create_plain(actor, memory, words, Body::Context(Context::default())),
            Kind::Portal => self.create_portal(actor, memory, words),
            Kind::Notification => self.create_plain(actor, memory, words, Body::Notification(Notification::default())),
            Kind::Vcpu => Err((Error::Unsupported, 1)),
            Kind::Memory | Kind::Interrupt | Kind::Ports | Kind::Platform => Err((Error::BadArg, 1)),
        }
    }

    pub(crate) fn memory_operation(&mut self, actor: u64, memory: u64, held: u64, words: &Words) -> Outcome {
        require(
            held,
            match words[0] {
                1..=3 => MANAGE,
                4 => READ,
                _ => return Err((Error::BadArg, 0)),
            },
        )?;
        match words[0] {
            1 => self.split(actor, memory, words),
            2 => self.create(actor, memory, words),
            3 => self.reclaim(memory),
            _ => {
                let of = self.memory(memory);
                Ok(Reply::Words(self.available(memory), [0, of.pages, of.first, 0, 0, 0]))
            }
        }
    }

    // ProtectionDomain.

    fn grant(&mut self, actor: u64, domain: u64, words: &Words) -> Outcome {
        let cap = self.cap_at(actor, words[1]).ok_or((Error::BadCap, 1))?;
        ensure(holds(cap.rights, GRANT), Error::NoRight, 1)?;
        ensure(self.is_live(cap), Error::Dead, 1)?;
        ensure(self.has_slot(domain, words[2]), Error::BadCap, 2)?;
        ensure(!self.domain(domain).slots.contains_key(&words[2]), Error::Occupied, 2)?;
        self.copy_cap(cap, domain, words[2], words[3] & 0xFF);
        Ok(Reply::Done(0))
    }

    pub(crate) fn domain_operation(&mut self, actor: u64, domain: u64, held: u64, words: &Words) -> Outcome {
        require(held, MANAGE)?;
        match words[0] {
            1 => self.grant(actor, domain, words),
            2 => {
                let dropped = self.domain_mut(domain).slots.remove(&words[1]);
                ensure(dropped.is_some(), Error::BadCap, 1)?;
                Ok(Reply::Done(0))
            }
            _ => Err((Error::BadArg, 0)),
        }
    }

    // Thread.

    fn stop(&mut self, thread: u64) {
        self.thread_mut(thread).is_stopped = true;
        self.hold(thread);
    }

    /// Starting what another core runs has that core let go of it first, and says so: the one failure that changes something.
    fn start(&mut self, actor: u64, thread: u64, words: &Words) -> Outcome {
        ensure(is_user_address(words[1]), Error::BadArg, 1)?;
        if thread != actor && self.is_current(thread) {
            if !self.runs(thread, Run::Inactive) {
                self.stop(thread);
            }
            return Err((Error::Busy, 0));
        }
        self.retire(thread);
        let of = self.thread_mut(thread);
        of.is_stopped = false;
        of.registers = [0; 18];
        of.registers[8] = words[3];
        of.registers[15] = USER_FLAGS;
        of.registers[16] = words[1];
        of.registers[17] = words[2];
        self.admit(thread);
        Ok(if thread == actor { Reply::Gone } else { Reply::Done(0) })
    }

    fn resume(&mut self, thread: u64) {
        self.thread_mut(thread).is_stopped = false;
        if self.runs(thread, Run::Held) {
            self.admit(thread);
        }
    }

    fn inspectable(&self, thread: u64) -> Check<()> {
        let of = self.thread(thread);
        ensure(
            of.is_stopped || of.is_faulting || of.run == Run::Inactive,
            Error::BadState,
            0,
        )?;
        ensure(!self.is_current(thread), Error::Busy, 0)
    }

    fn peek(&self, thread: u64, words: &Words) -> Outcome {
        self.inspectable(thread)?;
        ensure(words[1] < 3, Error::BadArg, 1)?;
        let first = words[1] as usize * 6;
        Ok(Reply::Words(
            0,
            std::array::from_fn(|index| self.thread(thread).registers[first + index]),
        ))
    }

    fn poke(&mut self, thread: u64, words: &Words) -> Outcome {
        self.inspectable(thread)?;
        let (group, index) = (words[1] >> 8, words[1] & 0xFF);
        ensure(group < 3 && index < 6, Error::BadArg, 1)?;
        let register = (group * 6 + index) as usize;
        ensure(register != 16 || is_user_address(words[2]), Error::BadArg, 2)?;
        let value = if register == 15 {
            words[2] & POKE_FLAGS | USER_FLAGS
        } else {
            words[2]
        };
        self.thread_mut(thread).registers[register] = value;
        Ok(Reply::Done(0))
    }

    fn bind_thread(&mut self, actor: u64, thread: u64, words: &Words) -> Outcome {
        let notification = at(1, self.lookup(actor, words[1], Kind::Notification, BIND))?;
        ensure(self.note_of(thread).is_none(), Error::Occupied, 0)?;
        ensure(self.notification(notification).bound.is_none(), Error::Occupied, 1)?;
        self.notification_mut(notification).bound = Some(thread);
        self.signal(notification, 0);
        Ok(Reply::Done(0))
    }

    fn thread_state(&self, thread: u64) -> u64 {
        let of = self.thread(thread);
        let run = match of.run {
            Run::Inactive => 0,
            Run::Running | Run::Ready | Run::Held => 1,
            Run::Waiting | Run::WaitingSignal => 2,
            Run::Calling => 3,
        };
        run + if of.is_stopped { 0x100 } else { 0 }
    }

    pub(crate) fn thread_operation(&mut self, actor: u64, thread: u64, held: u64, words: &Words) -> Outcome {
        require(
            held,
            match words[0] {
                5 | 8 => READ,
                6 => WRITE,
                _ => MANAGE,
            },
        )?;
        match words[0] {
            1 => return self.start(actor, thread, words),
            2 => self.stop(thread),
            3 => self.resume(thread),
            4 => {
                at(1, self.lookup(actor, words[1], Kind::Portal, CALL))?;
                self.thread_mut(thread).handler = self.cap_at(actor, words[1]);
            }
            5 => return self.peek(thread, words),
            6 => return self.poke(thread, words),
            7 => return self.bind_thread(actor, thread, words),
            8 => {
                return Ok(Reply::Words(
                    self.thread_state(thread),
                    [0, self.thread(thread).core, 0, 0, 0, 0],
                ));
            }
            _ => return Err((Error::BadArg, 0)),
        }
        Ok(Reply::Done(0))
    }

    // SchedContext.

    fn may_move(&self, thread: u64) -> bool {
        let has_callers = self
            .threads()
            .any(|(_, caller)| caller.call.is_some_and(|call| call.server == thread));
        matches!(self.thread(thread).run, Run::Inactive | Run::Held) && !has_callers
    }

    fn configure(&mut self, actor: u64, context: u64, words: &Words) -> Outcome {
        at(1, self.lookup(actor, words[1], Kind::Platform, CPU_TIME))?;
        let (core, priority, weight) = (words[2] & 0xFF, words[2] >> 8 & 0xFF, words[2] >> 32);
        let is_fair = priority == FAIR_PRIORITY;
        let has_weight = !is_fair || (1..=0xFFFF).contains(&weight);
        ensure(
            core < self.config.cores && priority < 32 && has_weight,
            Error::BadArg,
            2,
        )?;
        ensure(words[3] != 0 && words[3] <= words[4], Error::BadArg, 3)?;
        ensure(words[4] <= LONGEST_PERIOD, Error::BadArg, 4)?;
        let old = self.context(context).clone();
        let moves = old.period == 0 || old.core != core;
        let there = self
            .contexts()
            .filter(|(_, context)| context.period != 0 && context.core == core)
            .count();
        ensure(!moves || there < CORE_CONTEXTS, Error::NoMemory, 2)?;
        ensure(
            !moves || old.home.is_none_or(|thread| self.may_move(thread)),
            Error::BadState,
            0,
        )?;
        *self.context_mut(context) = Context {
            budget: words[3],
            period: words[4],
            window: self.now,
            used: 0,
            core,
            priority,
            armed: None,
            ..old
        };
        if let Some(home) = self.context(context).home {
            let thread = self.thread_mut(home);
            thread.own_priority = priority;
            thread.core = if moves { core } else { thread.core };
            self.reconsider(context);
        }
        Ok(Reply::Done(0))
    }

    fn bind_context(&mut self, actor: u64, context: u64, words: &Words) -> Outcome {
        let thread = at(1, self.lookup(actor, words[1], Kind::Thread, MANAGE))?;
        let of = self.context(context).clone();
        ensure(of.period != 0, Error::BadState, 0)?;
        ensure(of.home.is_none() && self.own_of(thread).is_none(), Error::Occupied, 1)?;
        ensure(of.core == self.thread(thread).core, Error::BadArg, 1)?;
        self.context_mut(context).home = Some(thread);
        self.thread_mut(thread).own_priority = of.priority;
        if self.runs(thread, Run::Held) && self.held_by(thread).is_none() {
            self.admit(thread);
        }
        Ok(Reply::Done(0))
    }

    pub(crate) fn context_operation(&mut self, actor: u64, context: u64, held: u64, words: &Words) -> Outcome {
        require(
            held,
            match words[0] {
                1 | 2 => MANAGE,
                3 => READ,
                _ => return Err((Error::BadArg, 0)),
            },
        )?;
        match words[0] {
            1 => self.configure(actor, context, words),
            2 => self.bind_context(actor, context, words),
            _ => Ok(Reply::Done(self.context(context).total)),
        }
    }

    // Portal, Platform.

    pub(crate) fn portal_operation(&mut self, portal: u64, held: u64, words: &Words) -> Outcome {
        require(held, MANAGE)?;
        ensure(words[0] == 1, Error::BadArg, 0)?;
        Ok(Reply::Done(std::mem::replace(
            &mut self.portal_mut(portal).label,
            words[1],
        )))
    }

    fn device_region(&mut self, actor: u64, words: &Words) -> Outcome {
        let (first, pages) = (words[1], words[2]);
        ensure(pages != 0 && pages <= MAX_REGION_PAGES, Error::BadArg, 2)?;
        let end = first.saturating_add(pages);
        ensure(end <= 1 << 40, Error::BadArg, 1)?;
        let is_ram = self.config.first < end && first < self.config.first + self.config.pages;
        ensure(!is_ram, Error::NoRight, 1)?;
        let memory = self.place(actor, (3, words[3]), (4, words[4]))?;
        self.add_small(actor, memory, words[4], Body::Region(new_region(first, pages, true)));
        Ok(Reply::Done(0))
    }

    pub(crate) fn platform_operation(&mut self, actor: u64, held: u64, words: &Words) -> Outcome {
        match words[0] {
            1 => require(held, 1)?,
            2 => require(held, 2)?,
            3 => require(held, 4)?,
            4 | 6 => require(held, POWER)?,
            5 => return Ok(Reply::Words(self.config.cores, [0, 1_000_000, 0, 0, 0, 0])),
            _ => return Err((Error::BadArg, 0)),
        }
        match words[0] {
            3 => self.device_region(actor, words),
            4 => {
                ensure(words[1] <= 1, Error::BadArg, 1)?;
                Ok(Reply::Done(0))
            }
            _ => Err((Error::Unsupported, 0)),
        }
    }
}
