//! Memory of Regions, as this process sees it: mapped, copied to and from, unmapped.
//!
//! Key type: [`Window`]. Root uses it to fill the data segments of the processes it starts; services use it for heaps.
//! Memory that others write at the same time is the business of `ecusson-ring`.

use ecusson_abi::{PAGE_BYTES, Rights};

use crate::cap::kind::{Region, Space};
use crate::cap::{Cap, Failure};

/// An attached Region. It stays attached until [`Window::close`].
#[derive(Debug)]
pub struct Window {
    address: u64,
    bytes: u64,
    access: Access,
}

/// How a window is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// A place that is not inside a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfWindow;

impl Window {
    /// Attaches a whole Region to this process's own space, at a virtual page that the caller keeps free for it. The kernel
    /// refuses places where something is mapped, so that a window never overlays this program's own memory.
    ///
    /// # Errors
    /// Those of `attach`: `Occupied` for the place or an attached Region, `NoMemory` with the table pages that are missing.
    pub fn open(region: &Cap<Region>, space: &Cap<Space>, page: u64, access: Access) -> Result<Self, Failure> {
        let rights = match access {
            Access::ReadOnly => Rights::READ,
            Access::ReadWrite => Rights::READ.with(Rights::WRITE),
        };
        region.attach(space, page, rights)?;
        let pages = region.info()?.pages;
        Ok(Self {
            address: page * PAGE_BYTES,
            bytes: pages * PAGE_BYTES,
            access,
        })
    }

    /// Detaches it again.
    ///
    /// # Errors
    /// Those of `detach`: `Dead` when the Region ended meanwhile, which unmapped it already.
    pub fn close(self, region: &Cap<Region>) -> Result<(), Failure> {
        region.detach()
    }

    /// Length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where this process sees it. A number: what lies there is reached by this window's functions, or by those of whoever
    /// the window is given up to (`ecusson-guestmem`).
    #[must_use]
    pub fn address(&self) -> u64 {
        self.address
    }

    /// How it is mapped.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    fn place(&self, offset: u64, length: usize) -> Result<*mut u8, OutOfWindow> {
        let end = offset.checked_add(length as u64).ok_or(OutOfWindow)?;
        if end <= self.bytes {
            Ok((self.address + offset) as *mut u8)
        } else {
            Err(OutOfWindow)
        }
    }

    /// Copies bytes into it.
    ///
    /// # Errors
    /// [`OutOfWindow`] beyond its end, or when it is read-only.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), OutOfWindow> {
        if self.access == Access::ReadOnly {
            return Err(OutOfWindow);
        }
        let to = self.place(offset, bytes.len())?;
        // SAFETY: `to` and so many bytes behind it lie in a mapping of this window, which nothing of this program's
        // overlaps (`open`), so that source and target are apart. A Region that ended makes this fault, which ends the
        // thread and harms nobody.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Copies bytes out of it.
    ///
    /// # Errors
    /// [`OutOfWindow`] beyond its end.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), OutOfWindow> {
        let from = self.place(offset, bytes.len())?;
        // SAFETY: as in `write`.
        unsafe { core::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies from another window.
    ///
    /// # Errors
    /// [`OutOfWindow`] beyond the end of either.
    pub fn copy(&mut self, offset: u64, from: &Self, from_offset: u64, bytes: u64) -> Result<(), OutOfWindow> {
        let length = usize::try_from(bytes).map_err(|_| OutOfWindow)?;
        if self.access == Access::ReadOnly {
            return Err(OutOfWindow);
        }
        let (from, to) = (from.place(from_offset, length)?, self.place(offset, length)?);
        // SAFETY: as in `write`; two windows are two mappings. Should both show the same pages, `copy` allows it.
        unsafe { core::ptr::copy(from, to, length) };
        Ok(())
    }

    /// Its bytes, for ever; for Regions that nobody can write. `None` for a window that is mapped writable.
    ///
    /// # Safety
    /// Nobody writes the Region's pages, and the Region lives as long as this process.
    #[must_use]
    pub unsafe fn leak_constant(self) -> Option<&'static [u8]> {
        if self.access == Access::ReadWrite {
            return None;
        }
        let length = usize::try_from(self.bytes).ok()?;
        // SAFETY: mapped by `open`; constant and everlasting by the contract.
        Some(unsafe { core::slice::from_raw_parts(self.address as *const u8, length) })
    }

    /// Its place, given up for ever to whoever wants memory.
    pub(crate) fn leak_writable(self) -> Option<(*mut u8, usize)> {
        let length = usize::try_from(self.bytes).ok()?;
        if self.access == Access::ReadWrite {
            Some((self.address as *mut u8, length))
        } else {
            None
        }
    }
}

/// The composition that the image tool wrote, for root alone: maps it at a virtual page of root's choice.
///
/// # Errors
/// Those of `attach`; in another process than root `BadType` or `BadCap`.
pub fn composition(page: u64) -> Result<&'static [u8], Failure> {
    use ecusson_abi::root_slots;
    let region = Cap::<Region>::at(root_slots::COMPOSITION);
    let window = Window::open(&region, &Cap::<Space>::at(root_slots::SPACE), page, Access::ReadOnly)?;
    // SAFETY: the kernel gives the only capability to these pages, in this slot, without WRITE; root never destroys it.
    Ok(unsafe { window.leak_constant() }.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_outside_a_window_are_refused() {
        // Never dereferenced: every place is refused before.
        let mut window = Window {
            address: 0x1000,
            bytes: 0x1000,
            access: Access::ReadOnly,
        };
        assert_eq!(window.write(0, &[1]), Err(OutOfWindow));
        window.access = Access::ReadWrite;
        assert_eq!(window.write(0xFFF, &[1, 2]), Err(OutOfWindow));
        assert_eq!(window.write(u64::MAX, &[1]), Err(OutOfWindow));
        assert_eq!(window.read(0x1001, &mut []), Err(OutOfWindow));
    }
}
