//! Which station is behind which port.
//!
//! Key type: [`Stations`]. Called by `switch.rs`.

use alloc::collections::BTreeMap;

use crate::frame::VlanId;
use crate::mac::Mac;
use crate::port::PortId;

type Key = (VlanId, Mac);

#[derive(Clone, Copy, Debug)]
struct Learned {
    port: PortId,
    seen_ns: u64,
}

/// Stations that ports are bound to, and those learned from what they sent.
#[derive(Debug)]
pub(crate) struct Stations {
    fixed: BTreeMap<Key, PortId>,
    learned: BTreeMap<Key, Learned>,
    /// Learned stations of each port.
    counts: BTreeMap<PortId, usize>,
    per_port: usize,
    age_ns: u64,
    /// When all were looked through last.
    expired_ns: u64,
}

/// Looking through all stations is done once in this time at most: frames from new addresses must not cost that much each.
const EXPIRE_PAUSE_NS: u64 = 1_000_000_000;

impl Stations {
    pub(crate) fn new(per_port: usize, age_ns: u64) -> Self {
        Self {
            fixed: BTreeMap::new(),
            learned: BTreeMap::new(),
            counts: BTreeMap::new(),
            per_port,
            age_ns,
            expired_ns: 0,
        }
    }

    /// Binds a station to a port; `false` if it is bound already. Whoever was learned under that address is forgotten.
    pub(crate) fn bind(&mut self, key: Key, port: PortId) -> bool {
        if self.fixed.contains_key(&key) {
            return false;
        }
        self.forget(key);
        self.fixed.insert(key, port);
        true
    }

    /// Forgets all stations of a port.
    pub(crate) fn remove_port(&mut self, port: PortId) {
        self.fixed.retain(|_, owner| *owner != port);
        self.learned.retain(|_, learned| learned.port != port);
        self.counts.remove(&port);
    }

    fn forget(&mut self, key: Key) {
        if let Some(learned) = self.learned.remove(&key)
            && let Some(count) = self.counts.get_mut(&learned.port)
        {
            *count = count.saturating_sub(1);
        }
    }

    /// Notes that a station sent from a port. `false` if the address is bound to another port: the frame is forged.
    pub(crate) fn learn(&mut self, key: Key, port: PortId, now_ns: u64) -> bool {
        if let Some(owner) = self.fixed.get(&key) {
            return *owner == port;
        }
        if let Some(learned) = self.learned.get_mut(&key)
            && learned.port == port
        {
            learned.seen_ns = now_ns;
            return true;
        }
        // A station that moved, or a new one.
        self.forget(key);
        if self.count(port) >= self.per_port && now_ns.saturating_sub(self.expired_ns) >= EXPIRE_PAUSE_NS {
            self.expire(now_ns);
        }
        // Without room its frames still pass, and those for it go to all ports where strangers may be.
        if self.count(port) < self.per_port {
            self.learned.insert(key, Learned { port, seen_ns: now_ns });
            *self.counts.entry(port).or_default() += 1;
        }
        true
    }

    fn count(&self, port: PortId) -> usize {
        self.counts.get(&port).copied().unwrap_or(0)
    }

    /// Forgets those that were silent too long.
    fn expire(&mut self, now_ns: u64) {
        self.expired_ns = now_ns;
        let (age_ns, counts) = (self.age_ns, &mut self.counts);
        self.learned.retain(|_, learned| {
            let keep = now_ns.saturating_sub(learned.seen_ns) <= age_ns;
            if !keep && let Some(count) = counts.get_mut(&learned.port) {
                *count = count.saturating_sub(1);
            }
            keep
        });
    }

    /// The port of a station, if it is known and not silent too long.
    pub(crate) fn find(&self, key: Key, now_ns: u64) -> Option<PortId> {
        let learned = || {
            let learned = self.learned.get(&key)?;
            (now_ns.saturating_sub(learned.seen_ns) <= self.age_ns).then_some(learned.port)
        };
        self.fixed.get(&key).copied().or_else(learned)
    }

    /// How many are known by learning.
    pub(crate) fn learned(&self) -> usize {
        self.learned.len()
    }
}
