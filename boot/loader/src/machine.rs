//! The loader's unsafe half: ports, CPUID, control registers, physical memory through the identity mapping, and the
//! jump.
//!
//! Key types: [`Identity`], [`Cpu`]. Used by `main.rs` and `serial.rs`.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};

use ecusson_abi::boot::{DIRECT_MAP_BASE, PAGE_BYTES, PhysRange};
use ecusson_loader::paging::{LargestPage, Spaces};
use ecusson_loader::physical::Physical;
use ecusson_loader::place::REACH;
use ecusson_loader::report::Fault;

unsafe extern "C" {
    static loader_start: u8;
    static loader_end: u8;
    static boot_level4: u8;
}

/// Writes a byte to a port of COM1 or of the CMOS clock.
pub(crate) fn port_out(port: u16, value: u8) {
    // SAFETY: `serial.rs` calls this with COM1's registers, `read_cmos` with the clock's index: neither reaches memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) }
}

/// Reads a byte from such a port.
pub(crate) fn port_in(port: u16) -> u8 {
    let value;
    // SAFETY: as `port_out`.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) }
    value
}

/// Reads a register of the CMOS clock. Bit 7 of its index, which holds NMIs off, stays clear, as it is after boot.
pub(crate) fn read_cmos(index: u8) -> u8 {
    port_out(0x70, index & 0x7F);
    port_in(0x71)
}

/// Stops for ever.
pub(crate) fn halt() -> ! {
    loop {
        // SAFETY: interrupts are off since the entry, so this sleeps until an NMI and then again.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) }
    }
}

/// The loader in memory, bss and stack included, whole pages.
pub(crate) fn loader_range() -> PhysRange {
    let base = &raw const loader_start as u64;
    let end = &raw const loader_end as u64;
    PhysRange {
        base,
        bytes: end - base,
    }
}

/// Physical memory below 4 GiB through the identity mapping made by the entry code.
#[derive(Debug)]
pub(crate) struct Identity(());

impl Identity {
    /// # Safety
    /// Called once, in the loader, with the identity mapping active.
    pub(crate) unsafe fn new() -> Self {
        Identity(())
    }

    /// Whether a range is mapped, does not hold address 0 (no valid Rust address) and is not the running loader.
    fn reachable(base: u64, bytes: u64) -> bool {
        let range = PhysRange { base, bytes };
        base != 0 && base.checked_add(bytes).is_some_and(|end| end <= REACH) && !range.overlaps(loader_range())
    }
}

impl Physical for Identity {
    fn read(&self, base: u64, bytes: u64) -> Option<&[u8]> {
        if !Self::reachable(base, bytes) {
            return None;
        }
        // SAFETY: the range is mapped readable at its physical address, any byte value is a valid u8, and none of it
        // belongs to the loader's own objects. Writers need `&mut self`, so it does not change while the slice lives;
        // other processors are not running. Memory that is a device's yields bytes that the parsers don't trust.
        Some(unsafe { core::slice::from_raw_parts(base as *const u8, bytes as usize) })
    }

    fn write(&mut self, base: u64, bytes: u64) -> Option<&mut [u8]> {
        if !Self::reachable(base, bytes) {
            return None;
        }
        // SAFETY: as in `read`; `&mut self` makes this the only slice.
        Some(unsafe { core::slice::from_raw_parts_mut(base as *mut u8, bytes as usize) })
    }

    fn copy(&mut self, from: u64, to: u64, bytes: u64) -> Option<()> {
        let (source, target) = (PhysRange { base: from, bytes }, PhysRange { base: to, bytes });
        if !Self::reachable(from, bytes) || !Self::reachable(to, bytes) || source.overlaps(target) {
            return None;
        }
        // SAFETY: both ranges are mapped, hold no object of the loader, and do not overlap; `&mut self` excludes
        // slices.
        unsafe { core::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes as usize) }
        Some(())
    }
}

/// What the loader asks the processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// Largest page.
    pub(crate) pages: LargestPage,
    /// APIC id of the running processor.
    pub(crate) apic_id: u32,
}

const NEW_PROCESSOR: &str = "use a 64-bit x86 processor, and switch nothing off in the firmware's setup";

impl Cpu {
    /// Looks at the running processor.
    ///
    /// # Errors
    /// Something that the kernel needs is missing.
    pub(crate) fn detect() -> Result<Self, Fault> {
        let basic = __cpuid(1);
        let extended = __cpuid(0x8000_0001);
        let needed = [
            (basic.edx, 4, "the processor has no time stamp counter"),
            (basic.edx, 5, "the processor has no model specific registers"),
            (basic.edx, 9, "the processor has no local APIC, or it is switched off"),
            (basic.edx, 13, "the processor has no global pages"),
            (basic.edx, 16, "the processor has no page attribute table"),
            (basic.edx, 24, "the processor has no FXSAVE"),
            (basic.edx, 26, "the processor has no SSE2"),
            (extended.edx, 11, "the processor has no SYSCALL"),
            (extended.edx, 20, "the processor has no NX bit, or it is switched off"),
        ];
        for (register, bit, what) in needed {
            if register & 1 << bit == 0 {
                return Err(Fault::new(what, NEW_PROCESSOR));
            }
        }
        let pages = if extended.edx & 1 << 26 != 0 {
            LargestPage::OneGib
        } else {
            LargestPage::TwoMib
        };
        // Leaf 0Bh gives all 32 bits of the id where it exists (Intel SDM vol. 2, CPUID).
        let topology = if __cpuid(0).eax >= 0xB {
            Some(__cpuid_count(0xB, 0))
        } else {
            None
        };
        let apic_id = topology
            .filter(|leaf| leaf.ebx != 0)
            .map_or(basic.ebx >> 24, |leaf| leaf.edx);
        Ok(Cpu { pages, apic_id })
    }
}

/// Sets the control registers to what the kernel's entry promises (see `BootInfo`).
///
/// # Safety
/// `Cpu::detect` succeeded; long mode is on; the loader's page tables use neither global nor no-execute bits.
pub(crate) unsafe fn set_control_registers() {
    const CR0: u64 = 0x8001_0033;
    const CR4: u64 = 0x6A0;
    // SAFETY: the features were seen in CPUID; WP changes nothing in ring 0 for tables that are all writable.
    unsafe {
        asm!("mov cr0, {}", in(reg) CR0, options(nostack, preserves_flags));
        asm!("mov cr4, {}", in(reg) CR4, options(nostack, preserves_flags));
        // EFER: LME and NXE (bits 8 and 11), written whole.
        asm!("wrmsr", in("ecx") 0xC000_0080u32, in("eax") 0x900u32, in("edx") 0u32, options(nostack, preserves_flags));
    }
}

/// Zeroes RAM through the direct map, which, unlike the identity mapping, reaches all of it.
///
/// # Safety
/// `spaces` was built by `paging::build`, `range` lies in RAM, is not the kernel's, and nothing uses it. NXE is on.
pub(crate) unsafe fn zero(spaces: &Spaces, range: PhysRange) {
    let upper = (PAGE_BYTES / 2) as usize;
    // SAFETY: the loader's root table is a page of its own bss that nobody reads but the processor; its upper half
    // was empty, so no translation is cached that this changes. The kernel's root is mapped below 4 GiB. Then the
    // range is mapped writable.
    unsafe {
        let ours = (&raw const boot_level4 as u64 + PAGE_BYTES / 2) as *mut u8;
        core::ptr::copy((spaces.kernel_cr3 + PAGE_BYTES / 2) as *const u8, ours, upper);
        let target = (DIRECT_MAP_BASE + range.base) as *mut u8;
        core::ptr::write_bytes(target, 0, range.bytes as usize);
    }
}

/// The code that leaves the loader: `mov cr3, rax; mov rsp, rcx; jmp rdx`. It runs in the trampoline page, the only
/// one that has the same address in both worlds.
pub(crate) const LEAVE: [u8; 8] = [0x0f, 0x22, 0xd8, 0x48, 0x89, 0xcc, 0xff, 0xe2];

/// Goes to the kernel and never comes back.
///
/// # Safety
/// `trampoline` holds [`LEAVE`] and is mapped executable at its physical address in the running space and in `cr3`;
/// `entry` and `stack` are mapped there as code and as a stack.
pub(crate) unsafe fn leave(trampoline: u64, cr3: u64, stack: u64, entry: u64, info: u64) -> ! {
    // SAFETY: the caller's promise; the registers are those that `LEAVE` and the kernel's entry expect.
    unsafe {
        asm!("cli", "cld", "jmp r8", in("r8") trampoline, in("rax") cr3, in("rcx") stack, in("rdx") entry,
            in("rdi") info, options(noreturn))
    }
}
