//! Notifications: 64 one-bit signals; waiting takes them all at once.

use core::cell::Cell;

use ecusson_abi::{Event, Status};

use crate::kernel::Kernel;
use crate::name::{Header, Ref, object};
use crate::store::Store;
use crate::thread::{State, Thread, flag};

/// A notification.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Notification {
    /// Epoch.
    pub header: Header,
    /// Signals nobody has taken yet.
    pub bits: Cell<u64>,
    /// The thread that takes them.
    pub thread: Cell<Option<Ref<Thread>>>,
}

object!(Notification, Small, notification);

impl<S: Store> Kernel<S> {
    /// Adds signals; wakes the bound thread if it waits and has time to run on.
    pub(crate) fn signal(&self, name: Ref<Notification>, bits: u64) {
        let notification = self.store.notification(name);
        notification.bits.set(notification.bits.get() | bits);
        let Some(waiter) = notification.thread.get() else {
            return;
        };
        if notification.bits.get() == 0 {
            return;
        }
        let thread = self.store.thread(waiter);
        match thread.state() {
            State::Waiting | State::WaitingSignal if thread.has_time() => {
                self.cancel_deadline(waiter);
                thread.clear_flag(flag::SIGNALS);
                thread.finish(Status::event(Event::Signal), notification.bits.take());
                self.make_ready(waiter);
            }
            _ => {
                thread.set_flag(flag::SIGNALS);
                self.disturb(thread);
            }
        }
    }

    /// Takes the signals that are pending for a thread; 0 if none are.
    pub(crate) fn take_signals(&self, thread: &Thread) -> u64 {
        if !thread.has(flag::SIGNALS) {
            return 0;
        }
        thread.clear_flag(flag::SIGNALS);
        thread
            .notification
            .get()
            .map_or(0, |name| self.store.notification(name).bits.take())
    }

    /// Binds a notification to a thread; both are free.
    pub(crate) fn bind_notification(&self, name: Ref<Notification>, waiter: Ref<Thread>) {
        self.store.notification(name).thread.set(Some(waiter));
        self.store.thread(waiter).notification.set(Some(name));
        self.signal(name, 0);
    }

    /// Severs a notification from its thread.
    pub(crate) fn unbind_notification(&self, name: Ref<Notification>) {
        if let Some(waiter) = self.store.notification(name).thread.take() {
            let thread = self.store.thread(waiter);
            thread.notification.set(None);
            thread.clear_flag(flag::SIGNALS);
        }
    }
}
