//! The fast paths: what a system call costs when nothing unusual is the case.
//!
//! Each answers `None` before it changed anything if the case is not the usual one; the slow path then does
//! the whole call. The machine layer calls them under the kernel lock with the message registers live;
//! none of them reads or writes a message word.

use ecusson_abi::{Kind, MAX_CALL_DEPTH, Rights, Status, Syscall};

use crate::kernel::Kernel;
use crate::notification::Notification;
use crate::percpu::Core;
use crate::portal::Portal;
use crate::store::Store;
use crate::thread::{State, Thread};

impl<S: Store> Kernel<S> {
    /// `Call` of a passive portal whose server waits on this core. The server becomes current on the
    /// caller's scheduling context; the result is the portal's label.
    ///
    /// The caller was the highest-priority thread of the core and the server runs at no less, so that the
    /// scheduler need not be asked.
    #[inline(always)]
    pub fn fast_call(&self, core: &Core, slot: u64) -> Option<u64> {
        let caller_name = core.current.get()?;
        let caller = self.store.thread(caller_name);
        let capability = self.capability(caller, slot)?;
        if !capability.permits(Kind::Portal, Rights::CALL) {
            return None;
        }
        let portal = self.store.portal(self.live::<Portal>(capability)?);
        let server_name = portal.server.get()?;
        let server = self.store.thread(server_name);
        let running = core.running_word.get();
        let waiting = running ^ (State::Running as u32 ^ State::Waiting as u32);
        let usual = caller.run.get() == running && server.run.get() == waiting && portal.is_passive();
        let depth = caller.depth.get() + 1;
        if !usual || depth >= MAX_CALL_DEPTH {
            return None;
        }
        // Nothing may fail from here on. Whoever runs has time to lend (`ready-has-time`).
        caller.run.set(running ^ (State::Running as u32 ^ State::Called as u32));
        caller.callee.set(Some(server_name));
        server.run.set(running);
        server.sched_context.set(caller.sched_context.take());
        server.caller.set(Some(caller_name));
        server.depth.set(depth);
        server
            .priority
            .set(caller.priority.get().max(server.own_priority.get()));
        core.current.set(Some(server_name));
        Some(portal.label.get())
    }

    /// `ReplyWait` without deadline, to a caller on this core that lent its time, when neither signals nor
    /// callers wait and no thread became ready above the caller.
    #[inline(always)]
    pub fn fast_reply_wait(&self, core: &Core) -> Option<()> {
        let server = self.store.thread(core.current.get()?);
        let caller_name = server.caller.get()?;
        let caller = self.store.thread(caller_name);
        let running = core.running_word.get();
        let called = running ^ (State::Running as u32 ^ State::Called as u32);
        let usual = server.run.get() == running && caller.run.get() == called;
        let is_lent = caller.sched_context.get().is_none();
        let priority = caller.priority.get() & 31;
        if !usual || !is_lent || core.ready_bitmap.get() >> priority > 1 {
            return None;
        }
        // Nothing may fail from here on.
        server
            .run
            .set(running ^ (State::Running as u32 ^ State::Waiting as u32));
        server.caller.set(None);
        server.depth.set(0);
        caller.run.set(running);
        caller.sched_context.set(server.sched_context.take());
        caller.callee.set(None);
        core.current.set(Some(caller_name));
        Some(())
    }

    /// The system call in the context, if it is `Yield`: to the first of the ready equals, when nobody above is ready and neither side's time has a limit or a weight,
    /// so that no timer changes. Unlike the other fast paths it comes after the registers are saved.
    #[inline(always)]
    pub fn fast_yield(&self, core: &Core, now: u64) -> Option<()> {
        let name = core.current.get()?;
        let thread = self.store.thread(name);
        if thread.context.rax.get() != Syscall::Yield as u64 {
            return None;
        }
        let level = thread.priority.get() & 31;
        let equals = &core.ready[usize::from(level)];
        let next_name = equals.first()?;
        let next = self.store.thread(next_name);
        let running = core.running_word.get();
        let is_usual = thread.run.get() == running && core.ready_bitmap.get() >> level == 1;
        let context = self.store.sched_context(thread.sched_context.get()?);
        let next_context = self.store.sched_context(next.sched_context.get()?);
        let is_plain = context.is_plain() && next_context.is_plain();
        if !is_usual || !is_plain || core.reschedule.get() {
            return None;
        }
        // Nothing may fail from here on.
        context.total.set(
            context
                .total
                .get()
                .wrapping_add(now.saturating_sub(core.charged_since.get())),
        );
        core.charged_since.set(now);
        equals.remove(&self.store, next_name, Thread::queue_links);
        equals.push_back(&self.store, name, Thread::queue_links);
        thread.set_state(State::Ready);
        thread.finish(Status::DONE, 0);
        next.set_state(State::Running);
        core.current.set(Some(next_name));
        Some(())
    }

    /// `Signal` of a notification whose thread, if it has one, does not wait.
    #[inline(always)]
    pub fn fast_signal(&self, core: &Core, slot: u64, bits: u64) -> Option<()> {
        let actor = self.store.thread(core.current.get()?);
        let capability = self.capability(actor, slot)?;
        if !capability.permits(Kind::Notification, Rights::SIGNAL) {
            return None;
        }
        let notification = self.store.notification(self.live::<Notification>(capability)?);
        if let Some(waiter) = notification.thread.get() {
            let thread: &Thread = self.store.thread(waiter);
            let is_pending = thread.has(crate::thread::flag::SIGNALS);
            if !is_pending {
                return None;
            }
        }
        notification.bits.set(notification.bits.get() | bits);
        Some(())
    }

    /// `Invoke` of `IDENTIFY`: kind and rights of a living capability.
    #[inline(always)]
    pub fn fast_identify(&self, core: &Core, slot: u64) -> Option<u64> {
        let actor = self.store.thread(core.current.get()?);
        let capability = self.capability(actor, slot)?;
        if !self.is_live(capability) {
            return None;
        }
        Some(capability.identity())
    }
}
