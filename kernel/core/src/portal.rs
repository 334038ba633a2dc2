//! Portals: entry points into a server thread, with a label that tells the server who calls.

use core::cell::Cell;

use ecusson_abi::{Rights, Words, ops};

use crate::kernel::{Answer, Failure, Kernel, Outcome};
use crate::list::Links;
use crate::name::{Header, Ref, object};
use crate::store::Store;
use crate::thread::Thread;

/// A portal.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Portal {
    /// Epoch.
    pub header: Header,
    /// The server; none once that is destroyed.
    pub server: Cell<Option<Ref<Thread>>>,
    /// What the server sees of the caller.
    pub label: Cell<u64>,
    /// [`ops::portal::PASSIVE`] or `ACTIVE`.
    pub mode: Cell<u64>,
    /// In the server's list.
    pub siblings: Links<Portal>,
}

object!(Portal, Small, portal);

impl Portal {
    /// Links of the server's list.
    #[must_use]
    pub fn sibling_links(&self) -> &Links<Self> {
        &self.siblings
    }

    /// Whether the server runs on the caller's time.
    #[must_use]
    #[inline(always)]
    pub fn is_passive(&self) -> bool {
        self.mode.get() == ops::portal::PASSIVE
    }
}

impl<S: Store> Kernel<S> {
    /// `Portal.label`.
    pub(crate) fn portal_operation(&self, name: Ref<Portal>, rights: Rights, words: &Words) -> Answer {
        Failure::require(rights, Rights::MANAGE)?;
        match words[0] {
            ops::portal::LABEL => Ok(Outcome::Done(self.store.portal(name).label.replace(words[1]))),
            _ => Err(Failure::BAD_OPERATION),
        }
    }

    /// Severs a portal from its server.
    pub(crate) fn unlink_portal(&self, name: Ref<Portal>) {
        let portal = self.store.portal(name);
        if let Some(server) = portal.server.take() {
            self.store
                .thread(server)
                .portals
                .remove(&self.store, name, Portal::sibling_links);
        }
    }
}
