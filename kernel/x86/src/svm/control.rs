//! The control block and what goes with it: layout, what is always intercepted, state to and from the state page (AMD APM
//! vol. 2, 15.5 and appendix B).
//!
//! The block is never mapped to user mode. What steers the host in it (intercepts, maps, roots, identifiers) is written on
//! every entry from constants and from the core's objects; of the state page's words each is read once, and those that
//! could harm the host are made harmless. What the processor itself refuses ends as an exit.

use core::cell::Cell;

use ecusson_abi::vcpu::{State, Word, event, group};
use static_assertions::const_assert_eq;

use super::run::code;
use super::{DECODE_ASSISTS, IO_MAP_PAGES, NEXT_RIP, has, nmi};
use crate::percpu::here;
use crate::store::direct;

/// Offsets of words in the control block.
pub(super) mod word {
    pub(crate) const REGISTER_INTERCEPTS: usize = 0x000;
    pub(crate) const EXCEPTION_INTERCEPTS: usize = 0x008;
    pub(crate) const MORE_INTERCEPTS: usize = 0x010;
    pub(crate) const IO_MAP: usize = 0x040;
    pub(crate) const REGISTER_MAP: usize = 0x048;
    pub(crate) const TSC_OFFSET: usize = 0x050;
    /// Address space identifier; `TLB_CONTROL` from bit 32.
    pub(crate) const IDENTIFIER: usize = 0x058;
    pub(crate) const VIRTUAL_INTERRUPT: usize = 0x060;
    pub(crate) const SHADOW: usize = 0x068;
    pub(crate) const EXIT_CODE: usize = 0x070;
    pub(crate) const EXIT_INFO: usize = 0x078;
    pub(crate) const EXIT_EVENT: usize = 0x088;
    pub(crate) const NESTED_PAGING: usize = 0x090;
    pub(crate) const EVENT: usize = 0x0A8;
    pub(crate) const NESTED_ROOT: usize = 0x0B0;
    pub(crate) const NEXT_RIP: usize = 0x0C8;
    pub(crate) const INSTRUCTION: usize = 0x0D0;
    pub(crate) const SEGMENTS: usize = 0x400;
    /// CPL in bits 24 to 31.
    pub(crate) const CPL: usize = 0x4C8;
    pub(crate) const EFER: usize = 0x4D0;
    pub(crate) const RFLAGS: usize = 0x570;
    pub(crate) const RIP: usize = 0x578;
    pub(crate) const RSP: usize = 0x5D8;
    pub(crate) const RAX: usize = 0x5F8;
    pub(crate) const SYSTEM: usize = 0x600;
    pub(crate) const PAT: usize = 0x668;
}

/// Writes to CR8 always (an emulator relies on it).
pub(super) const WRITE_CR8: u64 = 1 << 24;
/// Reads and writes of DR0 to DR3, which the processor does not switch, until the guest uses them.
const DEBUG_ADDRESSES: u64 = 0x000F_000F << 32;
/// #DB and #AC, whose endless repetition would keep interrupts out for ever (15.12); machine checks are the host's. Then from bit
/// 32: INTR, NMI, INIT, VINTR, RDPMC, CPUID, INVD, HLT, INVLPGA, IOIO, MSR, task switches, FERR_FREEZE, shutdown.
const EXCEPTIONS: u64 = 1 << 1 | 1 << 17 | 1 << 18;
const INSTRUCTIONS: u64 = 0xFD44_801B << 32;
/// VMRUN, VMMCALL, VMLOAD, VMSAVE, STGI, CLGI, SKINIT, WBINVD, MONITOR, MWAIT (both), XSETBV, RDPRU.
const MORE: u64 = 0x7E7F;
/// Virtual interrupts are masked by the guest's flags, physical ones by the host's.
const MASKING: u64 = 1 << 24;
/// A virtual interrupt of the highest priority that ignores the guest's task priority: asks for the window.
const WINDOW: u64 = 1 << 8 | 0xF << 16 | 1 << 20;
const EFER_SVME: u64 = 1 << 12;
/// SCE, LME, LMA, NXE, FFXSR, TCE.
const EFER_GUEST: u64 = 0xCD01;
/// CR4, CR3, CR0, DR7 and DR6 lie in this order from 0x548; CR2 elsewhere.
const CR4: usize = 0x548;
const CR2: usize = 0x640;

/// Registers of a vCPU that the control block does not have. Entry code uses the first fields.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Block {
    /// As `State::general`; rax and rsp are in the control block.
    pub(super) general: [Cell<u64>; 16],
    /// Physical address of the control block.
    pub(super) vmcb: Cell<u64>,
    /// Core that it has an identifier on, plus one, and that core's generation.
    pub(super) core: Cell<u64>,
    pub(super) generation: Cell<u64>,
    /// Generation of its space that its translations are not older than.
    pub(super) flush: Cell<u64>,
    pub(super) xcr0: Cell<u64>,
    pub(super) debug: Cell<[u64; 4]>,
    /// What [`super::nmi`] knows, and where the guest's `IRET` is.
    pub(super) nmi: Cell<u64>,
    pub(super) iret: Cell<u64>,
    /// Whether the guest has used DR0 to DR3.
    pub(super) has_debug: Cell<bool>,
    /// Whether the control block has a state that was read from the state page and accepted.
    pub(super) is_valid: Cell<bool>,
}
const_assert_eq!(core::mem::offset_of!(Block, vmcb), 128);

impl Block {
    pub(super) fn control(&self) -> &Control {
        // SAFETY: the page belongs to the same vCPU (`super::prepare` wrote its address).
        unsafe { &*(direct(self.vmcb.get()) as *const Control) }
    }
}

/// A control block.
#[repr(C, align(4096))]
pub(super) struct Control([Cell<u64>; 512]);

/// Copies words between a state page and a control block.
fn take(to: &[Cell<u64>], from: &[Word]) {
    to.iter().zip(from).for_each(|(to, from)| to.set(from.get()));
}
fn give(from: &[Cell<u64>], to: &[Word]) {
    from.iter().zip(to).for_each(|(from, to)| to.set(from.get()));
}

impl Control {
    pub(super) fn get(&self, offset: usize) -> u64 {
        self.0[offset / 8].get()
    }

    pub(super) fn set(&self, offset: usize, value: u64) {
        self.0[offset / 8].set(value);
    }

    /// Writes everything that steers the host.
    pub(super) fn arm(&self, maps: u64, root: u64, wants_window: bool, has_debug: bool) {
        let debug = if has_debug { 0 } else { DEBUG_ADDRESSES };
        let window = if wants_window { WINDOW } else { 0 };
        let priority = self.get(word::VIRTUAL_INTERRUPT) & 0xF;
        for (offset, value) in [
            (word::REGISTER_INTERCEPTS, WRITE_CR8 | debug),
            (word::EXCEPTION_INTERCEPTS, EXCEPTIONS | INSTRUCTIONS),
            (word::MORE_INTERCEPTS, MORE),
            (word::IO_MAP, maps),
            (word::REGISTER_MAP, maps + IO_MAP_PAGES * ecusson_abi::PAGE_BYTES),
            (word::VIRTUAL_INTERRUPT, MASKING | window | priority),
            (word::NESTED_PAGING, 1),
            (word::NESTED_ROOT, root),
        ] {
            self.set(offset, value);
        }
    }

    /// Takes over what the VMM changed.
    pub(super) fn load(&self, block: &Block, state: &State) {
        let groups = if block.is_valid.get() {
            state.load.get()
        } else {
            group::ALL
        };
        state.load.set(0);
        block.is_valid.set(true);
        self.set(word::EVENT, harmless_event(state.event.get()));
        self.set(word::SHADOW, state.shadow.get() & 1);
        block.nmi.set(state.nmi.get() & nmi::SHOWN);
        if groups & group::GENERAL != 0 {
            take(&block.general, &state.general);
            self.set(word::RAX, state.general[0].get());
            self.set(word::RSP, state.general[4].get());
            self.set(word::RIP, state.rip.get());
            self.set(word::RFLAGS, state.rflags.get());
        }
        if groups & group::CONTROL != 0 {
            for (index, from) in [&state.cr4, &state.cr3, &state.cr0, &state.dr7, &state.dr6]
                .into_iter()
                .enumerate()
            {
                self.set(CR4 + 8 * index, from.get());
            }
            self.set(CR2, state.cr2.get());
            self.set(word::VIRTUAL_INTERRUPT, state.cr8.get() & 0xF);
            self.set(word::EFER, state.efer.get() & EFER_GUEST | EFER_SVME);
            block.xcr0.set(harmless_components(state.xcr0.get()));
        }
        if groups & group::SEGMENTS != 0 {
            take(&self.0[word::SEGMENTS / 8..], state.segments.as_flattened());
            let level = self.get(word::SEGMENTS + 2 * 16) >> 21 & 3;
            self.set(word::CPL, level << 24);
        }
        if groups & group::SYSTEM != 0 {
            take(&self.0[word::SYSTEM / 8..], &state.system);
            self.set(word::PAT, state.pat.get());
        }
        if groups & group::TIME != 0 {
            self.set(word::TSC_OFFSET, state.tsc_offset.get());
        }
    }

    /// Address of the instruction behind the one that caused the exit, 0 if the processor does not say.
    pub(super) fn next_rip(&self) -> u64 {
        match self.get(word::EXIT_CODE) {
            code::IO => self.get(word::EXIT_INFO + 8),
            _ if has(NEXT_RIP) => self.get(word::NEXT_RIP),
            _ => 0,
        }
    }

    /// Tells the VMM.
    pub(super) fn save(&self, block: &Block, state: &State) {
        state.event.set(self.get(word::EVENT));
        state.shadow.set(self.get(word::SHADOW) & 1);
        state.nmi.set(block.nmi.get() & nmi::SHOWN);
        give(&self.0[word::EXIT_INFO / 8..], &state.qualification);
        state.next_rip.set(self.next_rip());
        let fetched = if has(DECODE_ASSISTS) {
            [0, 8].map(|offset| self.get(word::INSTRUCTION + offset))
        } else {
            [0; 2]
        };
        state
            .instruction
            .iter()
            .zip(fetched)
            .for_each(|(to, from)| to.set(from));
        give(&block.general, &state.general);
        state.general[0].set(self.get(word::RAX));
        state.general[4].set(self.get(word::RSP));
        state.rip.set(self.get(word::RIP));
        state.rflags.set(self.get(word::RFLAGS));
        for (index, to) in [&state.cr4, &state.cr3, &state.cr0, &state.dr7, &state.dr6]
            .into_iter()
            .enumerate()
        {
            to.set(self.get(CR4 + 8 * index));
        }
        state.cr2.set(self.get(CR2));
        state.cr8.set(self.get(word::VIRTUAL_INTERRUPT) & 0xF);
        state.efer.set(self.get(word::EFER) & EFER_GUEST);
        state.xcr0.set(block.xcr0.get());
        let wanted = state.save.get();
        if wanted & group::SEGMENTS != 0 {
            give(&self.0[word::SEGMENTS / 8..], state.segments.as_flattened());
        }
        if wanted & group::SYSTEM != 0 {
            give(&self.0[word::SYSTEM / 8..], &state.system);
            state.pat.set(self.get(word::PAT));
        }
        if wanted & group::TIME != 0 {
            state.tsc_offset.set(self.get(word::TSC_OFFSET));
        }
    }
}

/// The event, if the processor can inject it (15.20).
fn harmless_event(wanted: u64) -> u64 {
    let (kind, vector) = (wanted & 0x700, wanted & 0xFF);
    let is_possible = match kind {
        event::INTERRUPT | event::NMI | 0x400 => true,
        event::EXCEPTION => vector < 32 && vector != 2,
        _ => false,
    };
    if wanted & event::VALID != 0 && is_possible {
        wanted & 0xFFFF_FFFF_8000_0FFF
    } else {
        0
    }
}

/// State components that `XSETBV` takes (Intel SDM vol. 1, 13.3): some of the host's, AVX with SSE, AVX-512 whole and with AVX.
fn harmless_components(wanted: u64) -> u64 {
    let mut components = wanted & here().guest.xcr0.get() | 1;
    for (bits, need) in [(4, 2), (0xE0, 0xE4)] {
        if components & need != need {
            components &= !bits;
        }
    }
    components
}
