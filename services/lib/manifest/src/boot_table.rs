//! The boot table: what one process got, by name. Decoded in place, entry by entry, without a heap.
//!
//! Key types: [`BootTable`], [`Entry`]. `boot/image` encodes it (feature `composition`), root maps it read-only at
//! [`crate::layout::BOOT_TABLE_ADDRESS`], `rt` reads it.
//!
//! The bytes: magic `ECBT`, version (u16, little-endian), then postcard: a [`Header`] and `entries` times an [`Entry`].

use serde::{Deserialize, Serialize};

use crate::{DecodeError, strip_header};

/// First bytes of a boot table.
pub const MAGIC: &[u8; 4] = b"ECBT";

/// What a process knows about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header<'a> {
    /// Name of the process in the manifest.
    pub process: &'a str,
    /// Threads that root starts: each begins at the program's entry point with its index in rdi.
    pub threads: u16,
    /// Pages of the memory quota in [`crate::layout::slots::MEMORY`]; 0: no quota, the slot is empty.
    pub memory_pages: u32,
    /// First of the slots kept free for received capabilities.
    pub receive_first: u16,
    /// How many they are.
    pub receive_count: u16,
    /// How many entries follow.
    pub entries: u16,
}

/// One thing the manifest gave to the process. Names are those of the manifest; `slot` is an index into the process's own
/// capability table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry<'a> {
    /// A portal to call (CALL).
    Call {
        /// Local name: `server.portal` unless the edge says `as = "..."`.
        name: &'a str,
        /// Where it is.
        slot: u16,
    },
    /// A client of a portal that this process serves: which label is whom. No slot.
    Client {
        /// The served portal.
        portal: &'a str,
        /// Name of the calling process.
        client: &'a str,
        /// What the server gets with each of its calls; see [`label`].
        label: u64,
    },
    /// One of the process's own notifications (SIGNAL, BIND).
    Notification {
        /// Its name.
        name: &'a str,
        /// Where it is.
        slot: u16,
    },
    /// A bit of an own notification that somebody else signals. No slot.
    Signalled {
        /// The own notification.
        notification: &'a str,
        /// Name of the process that signals.
        by: &'a str,
        /// The bit, 0 to 63.
        bit: u8,
    },
    /// Another process's notification to signal (SIGNAL).
    Signal {
        /// Local name: `owner.notification` unless the edge says `as = "..."`.
        name: &'a str,
        /// Where it is.
        slot: u16,
        /// The bit to signal, 0 to 63.
        bit: u8,
    },
    /// A shared region, mapped by root before the first thread starts.
    Region {
        /// Its name.
        name: &'a str,
        /// Where the capability is.
        slot: u16,
        /// Where it is mapped.
        address: u64,
        /// Its length.
        pages: u32,
        /// Whether it is mapped writable.
        writable: bool,
    },
    /// Device memory, mapped by root before the first thread starts.
    Mmio {
        /// Its name.
        name: &'a str,
        /// Where the capability is.
        slot: u16,
        /// Where it is mapped.
        address: u64,
        /// Its length.
        pages: u32,
    },
    /// An interrupt (MANAGE): to be bound by the process to `notification_slot` and `bit`.
    Interrupt {
        /// Its name.
        name: &'a str,
        /// Where it is.
        slot: u16,
        /// Slot of the own notification it signals.
        notification_slot: u16,
        /// The bit it signals, 0 to 63.
        bit: u8,
    },
    /// I/O ports, attached by root before the first thread starts.
    Ports {
        /// Its name.
        name: &'a str,
        /// Where the capability is.
        slot: u16,
        /// The first port.
        first: u16,
        /// How many ports.
        count: u16,
    },
    /// The Platform object with the rights of the manifest.
    Platform {
        /// Where it is.
        slot: u16,
        /// Its rights, as [`ecusson_abi::Rights`].
        rights: u8,
    },
    /// A Dma space (MANAGE).
    Dma {
        /// Where it is.
        slot: u16,
    },
    /// A data file of the image: a Region (READ) of whole pages, zeros behind the last byte. Mapped by nobody yet.
    File {
        /// Local name: that of the file unless the entry says `as = "..."`.
        name: &'a str,
        /// Where the capability is.
        slot: u16,
        /// A place for it that nothing else takes and whose page tables are paid for; aligned to 2 MiB.
        address: u64,
        /// Its length in bytes.
        bytes: u64,
    },
    /// A process that this one starts and stops, by the requests of `ecusson_proto::supervisor` to root. No slot.
    Controlled {
        /// Its name: `section.N` for an instance.
        name: &'a str,
        /// What it is called in the requests: its place among all that this process controls.
        number: u16,
        /// Slot of the own notification by which root says that it ended.
        notification_slot: u16,
        /// The bit that says so, 0 to 63.
        bit: u8,
    },
}

/// The label that a server sees when client number `client` (from 0, in the manifest's order) calls its portal number
/// `portal` (from 0, in the order of the server's section): the portal in the upper half, the client plus one in the lower.
#[must_use]
pub const fn label(portal: u16, client: u16) -> u64 {
    (portal as u64) << 32 | (client as u64 + 1)
}

/// Splits a label into portal and client number, both from 0. `None` if the label is not one that [`label`] makes.
#[must_use]
pub fn split_label(label: u64) -> Option<(u16, u16)> {
    let portal = u16::try_from(label >> 32).ok()?;
    let client = u16::try_from((label & 0xFFFF_FFFF).checked_sub(1)?).ok()?;
    Some((portal, client))
}

/// A boot table that was looked through once: every entry decodes.
#[derive(Clone, Copy, Debug)]
pub struct BootTable<'a> {
    header: Header<'a>,
    entries: &'a [u8],
}

impl<'a> BootTable<'a> {
    /// Reads the header and decodes every entry once. Bytes behind the last entry (the rest of the page) are ignored.
    ///
    /// # Errors
    /// [`DecodeError`] when these are not the bytes that `boot/image` wrote.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let body = strip_header(bytes, MAGIC)?;
        let (header, entries): (Header<'a>, _) = postcard::take_from_bytes(body).map_err(|_| DecodeError::Malformed)?;
        let table = Self { header, entries };
        if table.entries().count() == usize::from(header.entries) {
            Ok(table)
        } else {
            Err(DecodeError::Malformed)
        }
    }

    /// What the process knows about itself.
    #[must_use]
    pub fn header(&self) -> &Header<'a> {
        &self.header
    }

    /// All entries, in the manifest's order within each kind.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut rest = self.entries;
        (0..self.header.entries).map_while(move |_| {
            let (entry, behind) = postcard::take_from_bytes(rest).ok()?;
            rest = behind;
            Some(entry)
        })
    }

    /// Slot of the portal with this local name.
    #[must_use]
    pub fn portal(&self, wanted: &str) -> Option<u16> {
        self.entries().find_map(|entry| match entry {
            Entry::Call { name, slot } if name == wanted => Some(slot),
            _ => None,
        })
    }

    /// Slot of the own notification with this name.
    #[must_use]
    pub fn notification(&self, wanted: &str) -> Option<u16> {
        self.entries().find_map(|entry| match entry {
            Entry::Notification { name, slot } if name == wanted => Some(slot),
            _ => None,
        })
    }

    /// Slot and bit of the signal edge with this local name.
    #[must_use]
    pub fn signal(&self, wanted: &str) -> Option<(u16, u8)> {
        self.entries().find_map(|entry| match entry {
            Entry::Signal { name, slot, bit } if name == wanted => Some((slot, bit)),
            _ => None,
        })
    }

    /// The entry of the shared region with this name.
    #[must_use]
    pub fn region(&self, wanted: &str) -> Option<Entry<'a>> {
        self.entries()
            .find(|entry| matches!(entry, Entry::Region { name, .. } if *name == wanted))
    }

    /// The entry of the data file with this local name.
    #[must_use]
    pub fn file(&self, wanted: &str) -> Option<Entry<'a>> {
        self.entries()
            .find(|entry| matches!(entry, Entry::File { name, .. } if *name == wanted))
    }

    /// Name of the client behind a label that came with a call.
    #[must_use]
    pub fn client(&self, wanted: u64) -> Option<&'a str> {
        self.entries().find_map(|entry| match entry {
            Entry::Client { client, label, .. } if label == wanted => Some(client),
            _ => None,
        })
    }
}

/// Encodes a boot table; `header.entries` is set from `entries`.
///
/// # Errors
/// [`TooManyEntries`] when there are more than 65,535 of them.
#[cfg(feature = "composition")]
pub fn encode(header: &Header<'_>, entries: &[Entry<'_>]) -> Result<alloc::vec::Vec<u8>, TooManyEntries> {
    let count = u16::try_from(entries.len()).map_err(|_| TooManyEntries)?;
    let mut bytes = alloc::vec::Vec::from(*MAGIC);
    bytes.extend(crate::VERSION.to_le_bytes());
    let header = Header {
        entries: count,
        ..*header
    };
    // Writing to a vector fails only where the allocator does, and then it does not return.
    bytes = postcard::to_extend(&header, bytes).map_err(|_| TooManyEntries)?;
    for entry in entries {
        bytes = postcard::to_extend(entry, bytes).map_err(|_| TooManyEntries)?;
    }
    Ok(bytes)
}

/// A boot table with more entries than its count can say.
#[cfg(feature = "composition")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyEntries;
