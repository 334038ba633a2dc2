//! GUID partition tables (UEFI 2.10, 5.3), read and checked.
//!
//! Key types: [`Reader`] (says which sectors it wants, so that it works over any disk), [`Table`], [`Partition`]. The primary
//! header is tried first, then the backup in the last sector. What lies on a disk is a guest's or an attacker's: sizes are bounded,
//! sums checked, and partitions that overlap or leave the usable range make the copy of the table invalid.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::crc32::crc32;

const SECTOR: usize = 512;
const SIGNATURE: &[u8; 8] = b"EFI PART";
/// Most bytes of the entries that are read: 512 entries of 128 bytes.
const ENTRY_BYTES_MAX: u32 = 64 << 10;
const PRIMARY: u64 = 1;

/// A GUID, as its bytes lie on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Guid(pub [u8; 16]);

/// Positions of the bytes in the order in which a GUID is written: the first three fields are little-endian.
const WRITTEN_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

impl fmt::Display for Guid {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, at) in WRITTEN_ORDER.into_iter().enumerate() {
            let dash = if matches!(position, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(to, "{dash}{:02x}", self.0[at])?;
        }
        Ok(())
    }
}

impl Guid {
    /// Reads `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, of either case. `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let groups: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        if lengths != [8, 4, 4, 4, 12] {
            return None;
        }
        let digits: Vec<u32> = groups
            .iter()
            .flat_map(|group| group.chars())
            .map(|digit| digit.to_digit(16))
            .collect::<Option<_>>()?;
        let mut bytes = [0; 16];
        for (at, pair) in WRITTEN_ORDER.into_iter().zip(digits.chunks_exact(2)) {
            bytes[at] = (pair[0] << 4 | pair[1]) as u8;
        }
        Some(Self(bytes))
    }
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What kind it is.
    pub kind: Guid,
    /// Its own name.
    pub uuid: Guid,
    /// First sector.
    pub first: u64,
    /// Length in sectors.
    pub sectors: u64,
    /// The name for people.
    pub label: String,
}

/// The partitions of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The disk's GUID.
    pub disk: Guid,
    /// Its partitions, in the order of the table.
    pub partitions: Vec<Partition>,
    /// Whether it was read from the backup because the primary copy is damaged.
    pub from_backup: bool,
}

/// Why a disk has no usable table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GptError {
    /// The header is no GPT header: another kind of table, or none.
    NoHeader,
    /// The header's own sum, size, place or ranges are wrong.
    BadHeader,
    /// The sum over the entries is wrong, or they are too many.
    BadEntries,
    /// A partition leaves the usable sectors or overlaps another. Its index.
    BadPartition(u32),
}

/// What the reader wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// These sectors, for [`Reader::feed`].
    Sectors {
        /// First of them.
        first: u64,
        /// How many; at most 128.
        count: u32,
    },
    /// Nothing: this is the table.
    Table(Table),
    /// Nothing: neither copy is a table. What is wrong with the primary one, and with the backup.
    Nothing(GptError, GptError),
}

#[derive(Clone, Debug)]
struct Header {
    disk: Guid,
    first_usable: u64,
    last_usable: u64,
    entries_at: u64,
    entries: u32,
    entry_bytes: u32,
    entries_sum: u32,
}

#[derive(Clone, Debug)]
enum State {
    Header,
    Entries(Header),
    Done(Need),
}

/// Reads the table of a disk; wants at most four reads.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Sectors of the disk.
    sectors: u64,
    /// Where the copy begins that is being read.
    copy: u64,
    /// What was wrong with the primary copy.
    primary: Option<GptError>,
    state: State,
}

impl Reader {
    /// For a disk of so many sectors.
    #[must_use]
    pub fn new(sectors: u64) -> Self {
        let state = if sectors < 4 {
            State::Done(Need::Nothing(GptError::NoHeader, GptError::NoHeader))
        } else {
            State::Header
        };
        Self {
            sectors,
            copy: PRIMARY,
            primary: None,
            state,
        }
    }

    /// What it wants now.
    #[must_use]
    pub fn need(&self) -> Need {
        match &self.state {
            State::Header => Need::Sectors {
                first: self.copy,
                count: 1,
            },
            State::Entries(header) => Need::Sectors {
                first: header.entries_at,
                count: (header.entries * header.entry_bytes).div_ceil(SECTOR as u32),
            },
            State::Done(need) => need.clone(),
        }
    }

    /// Takes the sectors it wanted. Those that could not be read are given as an empty slice.
    pub fn feed(&mut self, bytes: &[u8]) {
        let next = match &self.state {
            State::Header => read_header(bytes, self.copy, self.sectors).map(State::Entries),
            State::Entries(header) => read_entries(bytes, header).map(|partitions| {
                State::Done(Need::Table(Table {
                    disk: header.disk,
                    partitions,
                    from_backup: self.primary.is_some(),
                }))
            }),
            State::Done(_) => return,
        };
        self.state = match (next, self.primary) {
            (Ok(state), _) => state,
            (Err(error), None) => {
                self.primary = Some(error);
                self.copy = self.sectors - 1;
                State::Header
            }
            (Err(error), Some(primary)) => State::Done(Need::Nothing(primary, error)),
        };
    }
}

/// Little-endian fields of what a disk said. Reading behind the end is `None`.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    fn guid(&self, at: usize) -> Option<Guid> {
        self.array(at).map(Guid)
    }
}

/// UEFI 2.10, 5.3.2.
fn read_header(sector: &[u8], at: u64, sectors: u64) -> Result<Header, GptError> {
    if !sector.starts_with(SIGNATURE) {
        return Err(GptError::NoHeader);
    }
    let checked = || {
        let fields = Fields(sector);
        let bytes = usize::try_from(fields.u32(12)?)
            .ok()
            .filter(|bytes| (92..=SECTOR).contains(bytes))?;
        let mut summed = sector.get(..bytes)?.to_vec();
        summed.get_mut(16..20)?.fill(0);
        let header = Header {
            disk: fields.guid(56)?,
            first_usable: fields.u64(40)?,
            last_usable: fields.u64(48)?,
            entries_at: fields.u64(72)?,
            entries: fields.u32(80)?,
            entry_bytes: fields.u32(84)?,
            entries_sum: fields.u32(88)?,
        };
        let in_order = header.first_usable <= header.last_usable && header.last_usable < sectors;
        let right = crc32(&summed) == fields.u32(16)? && fields.u64(24)? == at && in_order;
        right.then_some(header)
    };
    let header = checked().ok_or(GptError::BadHeader)?;
    let bytes = header.entries.checked_mul(header.entry_bytes);
    let sized = header.entry_bytes >= 128 && header.entry_bytes.is_power_of_two() && header.entries > 0;
    let bytes = bytes
        .filter(|bytes| sized && *bytes <= ENTRY_BYTES_MAX)
        .ok_or(GptError::BadEntries)?;
    let end = header.entries_at.checked_add(u64::from(bytes.div_ceil(SECTOR as u32)));
    if end.is_none_or(|end| end > sectors) {
        return Err(GptError::BadEntries);
    }
    Ok(header)
}

/// UEFI 2.10, 5.3.3.
fn read_entries(sectors: &[u8], header: &Header) -> Result<Vec<Partition>, GptError> {
    let bytes = (header.entries * header.entry_bytes) as usize;
    let entries = sectors.get(..bytes).ok_or(GptError::BadEntries)?;
    if crc32(entries) != header.entries_sum {
        return Err(GptError::BadEntries);
    }
    let mut partitions: Vec<Partition> = Vec::new();
    for (index, entry) in (0..).zip(entries.chunks_exact(header.entry_bytes as usize)) {
        let Some(partition) = read_partition(entry, header).map_err(|()| GptError::BadPartition(index))? else {
            continue;
        };
        let end = partition.first + partition.sectors;
        if partitions
            .iter()
            .any(|other| partition.first < other.first + other.sectors && other.first < end)
        {
            return Err(GptError::BadPartition(index));
        }
        partitions.push(partition);
    }
    Ok(partitions)
}

/// An entry; `None` for one that is not used.
fn read_partition(entry: &[u8], header: &Header) -> Result<Option<Partition>, ()> {
    let fields = Fields(entry);
    let kind = fields.guid(0).ok_or(())?;
    if kind == Guid::default() {
        return Ok(None);
    }
    let (first, last) = (fields.u64(32).ok_or(())?, fields.u64(40).ok_or(())?);
    if first < header.first_usable || last < first || last > header.last_usable {
        return Err(());
    }
    let units = entry.get(56..128).ok_or(())?.chunks_exact(2);
    let units = units
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .take_while(|unit| *unit != 0);
    let label = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER));
    Ok(Some(Partition {
        kind,
        uuid: fields.guid(16).ok_or(())?,
        first,
        // `last` is below the disk's number of sectors: no overflow.
        sectors: last - first + 1,
        label: label.collect(),
    }))
}
