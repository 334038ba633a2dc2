//! Time: who may run, budgets, who holds which context. The next thread is not computed: [`State::allowed`] says which may be.

use crate::abi::MAX_CALL_DEPTH;
use crate::state::{Context, Run, State};

impl Context {
    pub(crate) fn is_depleted(&self) -> bool {
        self.budget < self.period && self.budget <= self.used
    }

    /// Begins a new period if the current one is over.
    pub(crate) fn roll(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.window);
        if self.period != 0 && self.period <= elapsed {
            self.window = now - elapsed % self.period;
            self.used = 0;
        }
    }

    /// Charges time that ended now; what lies before the current period counts for the past one.
    fn charge(&mut self, ticks: u64, now: u64) {
        self.total += ticks;
        self.used += ticks;
        self.roll(now);
        if self.used == 0 {
            self.used = ticks.min(now.saturating_sub(self.window));
        }
    }
}

impl State {
    /// A kernel entry begins: whoever ran is charged.
    pub(crate) fn charge_current(&mut self, core: usize, time: u64) {
        self.now = time;
        let ticks = time.saturating_sub(self.cores[core].charged);
        if let Some(context) = self.cores[core].current.and_then(|thread| self.held_by(thread)) {
            self.context_mut(context).charge(ticks, time);
        }
        self.cores[core].charged = time;
    }

    // Relations, from their other end.

    pub(crate) fn held_by(&self, thread: u64) -> Option<u64> {
        self.contexts()
            .find(|(_, context)| context.stack.first() == Some(&thread))
            .map(|(at, _)| at)
    }

    pub(crate) fn lent_by(&self, thread: u64) -> Option<u64> {
        self.contexts()
            .find(|(_, context)| context.stack.iter().skip(1).any(|lender| *lender == thread))
            .map(|(at, _)| at)
    }

    pub(crate) fn own_of(&self, thread: u64) -> Option<u64> {
        self.contexts()
            .find(|(_, context)| context.home == Some(thread))
            .map(|(at, _)| at)
    }

    pub(crate) fn caller_of(&self, thread: u64) -> Option<u64> {
        let serves = |call: crate::state::Call| call.is_served && call.server == thread;
        self.threads()
            .find(|(_, caller)| caller.call.is_some_and(serves))
            .map(|(at, _)| at)
    }

    pub(crate) fn note_of(&self, thread: u64) -> Option<u64> {
        self.notifications()
            .find(|(_, notification)| notification.bound == Some(thread))
            .map(|(at, _)| at)
    }

    /// Served calls above a thread.
    pub(crate) fn depth(&self, thread: u64) -> usize {
        std::iter::successors(self.caller_of(thread), |caller| self.caller_of(*caller))
            .take(MAX_CALL_DEPTH)
            .count()
    }

    // Whose time it is.

    pub(crate) fn run_own(&mut self, thread: u64) {
        let is_anywhere = self.held_by(thread).is_some() || self.lent_by(thread).is_some();
        if let Some(own) = self
            .own_of(thread)
            .filter(|own| !is_anywhere && self.context(*own).stack.is_empty())
        {
            self.context_mut(own).stack.push(thread);
        }
    }

    pub(crate) fn lend(&mut self, caller: u64, server: u64) {
        let is_anywhere = self.held_by(server).is_some() || self.lent_by(server).is_some();
        if let Some(context) = self.held_by(caller).filter(|_| !is_anywhere) {
            self.context_mut(context).stack.insert(0, server);
        }
    }

    /// A thread has back what it lent, from whoever along the chain holds it.
    pub(crate) fn take_back(&mut self, thread: u64) {
        if let Some(context) = self.lent_by(thread) {
            let stack = &mut self.context_mut(context).stack;
            let index = stack.iter().position(|lender| *lender == thread).unwrap_or(0);
            stack.drain(..index);
        }
    }

    /// A thread holds nothing any more, unless it was lent.
    pub(crate) fn let_go(&mut self, thread: u64) {
        if let Some(context) = self
            .held_by(thread)
            .filter(|context| self.context(*context).stack.len() == 1)
        {
            self.context_mut(context).stack.clear();
        }
    }

    // Who may run.

    pub(crate) fn set_run(&mut self, thread: u64, run: Run) {
        self.thread_mut(thread).run = run;
    }

    pub(crate) fn runs(&self, thread: u64, run: Run) -> bool {
        self.thread(thread).run == run
    }

    pub(crate) fn is_current(&self, thread: u64) -> bool {
        self.cores[self.thread(thread).core as usize].current == Some(thread)
    }

    /// A held thread becomes ready if it is not stopped and has time left.
    fn make_eligible(&mut self, thread: u64) {
        let Some(held) = self.held_by(thread).filter(|_| !self.thread(thread).is_stopped) else {
            return;
        };
        let now = self.now;
        let context = self.context_mut(held);
        context.roll(now);
        if context.is_depleted() {
            context.armed = context.armed.or(Some(context.window + context.period));
        } else {
            self.set_run(thread, Run::Ready);
        }
    }

    /// The higher of a thread's own priority and that of a caller who lent it time.
    fn renew_priority(&mut self, thread: u64) {
        let is_lent = self.held_by(thread) != self.own_of(thread);
        let lender = self.caller_of(thread).filter(|_| is_lent);
        let lent = lender.map_or(0, |lender| self.thread(lender).priority);
        let thread = self.thread_mut(thread);
        thread.priority = thread.own_priority.max(lent);
    }

    fn take_own(&mut self, thread: u64) {
        if self.held_by(thread).is_none() {
            self.run_own(thread);
        }
    }

    /// A thread that waits for nothing any more: ready, or held if it may not run.
    pub(crate) fn admit(&mut self, thread: u64) {
        self.take_own(thread);
        self.renew_priority(thread);
        self.set_run(thread, Run::Held);
        self.make_eligible(thread);
    }

    /// Takes a thread off the processor or out of the ready ones.
    pub(crate) fn hold(&mut self, thread: u64) {
        if matches!(self.thread(thread).run, Run::Ready | Run::Running) {
            self.set_run(thread, Run::Held);
        }
    }

    /// A thread that lost the time it ran on goes on with its own, if it has some.
    pub(crate) fn fall_back(&mut self, thread: u64) {
        match self.thread(thread).run {
            Run::Ready | Run::Held => self.admit(thread),
            Run::Running => {
                self.take_own(thread);
                self.renew_priority(thread);
                if self.held_by(thread).is_none() {
                    self.set_run(thread, Run::Held);
                }
            }
            _ => {}
        }
    }

    /// After a change of a context's parameters: its holder's place is computed anew.
    pub(crate) fn reconsider(&mut self, context: u64) {
        let Some(holder) = self.context(context).stack.first().copied() else {
            return;
        };
        if matches!(self.thread(holder).run, Run::Ready | Run::Held) {
            self.admit(holder);
        } else {
            self.renew_priority(holder);
        }
    }

    // The choice.

    /// Whoever ran is put back among the ready ones.
    pub(crate) fn put_back(&mut self, core: usize) {
        if let Some(thread) = self.cores[core]
            .current
            .filter(|thread| self.runs(*thread, Run::Running))
        {
            self.set_run(thread, Run::Held);
            self.make_eligible(thread);
        }
    }

    /// Who may run next on a core, after [`State::put_back`]: a ready thread than which none has a higher priority; nobody, if none is ready.
    pub(crate) fn allowed(&self, core: usize) -> Vec<Option<u64>> {
        let ready = || {
            self.threads()
                .filter(|(_, thread)| thread.run == Run::Ready && thread.core == core as u64)
        };
        let Some(highest) = ready().map(|(_, thread)| thread.priority).max() else {
            return vec![None];
        };
        ready()
            .filter(|(_, thread)| thread.priority == highest)
            .map(|(at, _)| Some(at))
            .collect()
    }

    pub(crate) fn run_next(&mut self, core: usize, choice: Option<u64>) {
        if let Some(thread) = choice {
            self.set_run(thread, Run::Running);
        }
        self.cores[core].current = choice;
    }
}
