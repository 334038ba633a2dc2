//! Ranges of I/O ports that a process may use.

use core::cell::Cell;

use ecusson_abi::{Error, Rights, Words, ops};

use crate::kernel::{Answer, Failure, Kernel, Outcome};
use crate::list::Links;
use crate::name::{Header, Ref, object};
use crate::percpu::Effect;
use crate::protection_domain::ProtectionDomain;
use crate::store::Store;
use crate::thread::{Thread, flag};

/// Ranges a protection domain can have: what a switch to it costs is bounded.
const MAX_RANGES: u32 = 8;

/// Threads whose flag an attachment sets at most, in one step; a domain attaches its ports before it has many threads.
const MAX_FLAGGED_THREADS: usize = 64;

/// A range of I/O ports.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Ports {
    /// Epoch.
    pub header: Header,
    /// First port.
    pub first: Cell<u16>,
    /// Last port.
    pub last: Cell<u16>,
    /// Who may use them.
    pub domain: Cell<Option<Ref<ProtectionDomain>>>,
    /// In that domain's list.
    pub siblings: Links<Ports>,
}

object!(Ports, Small, ports);

impl Ports {
    /// Links of a domain's list.
    #[must_use]
    pub fn sibling_links(&self) -> &Links<Self> {
        &self.siblings
    }
}

impl<S: Store> Kernel<S> {
    /// `Ports.attach`.
    pub(crate) fn ports_operation(
        &self,
        actor: Ref<Thread>,
        name: Ref<Ports>,
        rights: Rights,
        words: &Words,
    ) -> Answer {
        Failure::require(rights, Rights::MANAGE)?;
        if words[0] != ops::ports::ATTACH {
            return Err(Failure::BAD_OPERATION);
        }
        let domain_name = self.argument::<ProtectionDomain>(self.store.thread(actor), words, 1, Rights::MANAGE)?;
        let (ports, domain) = (self.store.ports(name), self.store.protection_domain(domain_name));
        if ports.domain.get().is_some() {
            return Err(Failure::at(Error::Occupied, 0));
        }
        let threads = || domain.threads.iter(&self.store, Thread::sibling_links);
        let is_large = threads().nth(MAX_FLAGGED_THREADS).is_some();
        if domain.ports_count.get() >= MAX_RANGES || is_large {
            return Err(Failure::at(Error::Occupied, 1));
        }
        // Nothing may fail from here on.
        ports.domain.set(Some(domain_name));
        domain.ports.push_back(&self.store, name, Ports::sibling_links);
        domain.ports_count.set(domain.ports_count.get() + 1);
        for thread in threads() {
            self.store.thread(thread).set_flag(flag::PORTS);
        }
        self.ports_changed(domain_name);
        Ok(Outcome::Done(0))
    }

    /// The port ranges of a thread's domain, first and last port.
    pub fn ports_of(&self, name: Ref<Thread>) -> impl Iterator<Item = (u16, u16)> + '_ {
        let domain = self.store.thread(name).domain.get();
        let ports = domain.map(|domain| {
            self.store
                .protection_domain(domain)
                .ports
                .iter(&self.store, Ports::sibling_links)
        });
        ports
            .into_iter()
            .flatten()
            .map(|name| (self.store.ports(name).first.get(), self.store.ports(name).last.get()))
    }

    /// Takes a port range from its domain.
    pub(crate) fn unlink_ports(&self, name: Ref<Ports>) {
        if let Some(domain_name) = self.store.ports(name).domain.take() {
            let domain = self.store.protection_domain(domain_name);
            domain.ports.remove(&self.store, name, Ports::sibling_links);
            domain.ports_count.set(domain.ports_count.get() - 1);
            self.ports_changed(domain_name);
        }
    }

    /// Has every core that runs a thread of a domain load the domain's ports anew.
    fn ports_changed(&self, domain: Ref<ProtectionDomain>) {
        self.effect(Effect::PortsChanged);
        for core in self.cores.iter().take(self.core_count()) {
            let runs = core.current.get().and_then(|name| self.store.thread(name).domain.get());
            if runs == Some(domain) && core.index.get() != self.here.get() {
                self.send_ipi(core.index.get());
            }
        }
    }
}
