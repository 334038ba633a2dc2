//! I/O ports of the kernel's own devices.
//!
//! Called by the modules that drive one: [`crate::serial`], [`crate::pic`], [`crate::clock`], [`crate::power`].

/// Reading and writing of one width.
macro_rules! width {
    ($type:ty, $read:ident by $input:ident, $write:ident by $output:ident) => {
        /// Reads a port.
        ///
        /// # Safety
        /// The port belongs to a device the kernel drives, and reading it in the device's present state is what its driver means.
        #[inline]
        #[must_use]
        pub(crate) unsafe fn $read(port: u16) -> $type {
            // SAFETY: ring 0; by this function's contract.
            unsafe { x86::io::$input(port) }
        }

        /// Writes to a port.
        ///
        /// # Safety
        /// As for reading, and what the write makes the device do touches no memory that is in use.
        #[inline]
        pub(crate) unsafe fn $write(port: u16, value: $type) {
            // SAFETY: ring 0; by this function's contract.
            unsafe { x86::io::$output(port, value) }
        }
    };
}

width!(u8, read_u8 by inb, write_u8 by outb);
width!(u16, read_u16 by inw, write_u16 by outw);
width!(u32, read_u32 by inl, write_u32 by outl);
