//! What the processor is and can do, from CPUID, once for each core (Intel SDM vol. 2, CPUID; AMD APM vol. 3, appendix E).
//!
//! Key types: [`Features`], [`Vendor`]. Read by [`crate::control`], [`crate::mitigations`], [`crate::clock`],
//! [`crate::fpu`] and [`crate::apic`]; `ecusson` asks for [`Features::missing`] first of all.

use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};

/// Who made the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// Intel.
    Intel,
    /// AMD, and Hygon, whose processors are AMD's.
    Amd,
    /// Somebody else.
    Other,
}

/// The leaf, or zeroes if it lies above the last one of its range.
fn leaf(number: u32, sub: u32) -> CpuidResult {
    const NONE: CpuidResult = CpuidResult {
        eax: 0,
        ebx: 0,
        ecx: 0,
        edx: 0,
    };
    let last = __cpuid(number & 0xC000_0000).eax;
    if number > last {
        NONE
    } else {
        __cpuid_count(number, sub)
    }
}

const fn bit(register: u32, index: u32) -> bool {
    register >> index & 1 != 0
}

/// What a processor has. One field a fact; names as the manuals have them.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Features {
    pub vendor: Vendor,
    pub family: u32,
    pub model: u32,
    /// Runs under a hypervisor.
    pub hypervisor: bool,
    pub apic: bool,
    pub x2apic: bool,
    pub tsc: bool,
    pub tsc_deadline: bool,
    pub syscall: bool,
    pub no_execute: bool,
    pub global_pages: bool,
    pub page_attribute_table: bool,
    pub machine_check: bool,
    pub fxsr: bool,
    pub sse2: bool,
    pub xsave: bool,
    pub xsaveopt: bool,
    pub avx: bool,
    pub avx512: bool,
    /// FXSAVE and FXRSTOR always transfer the x87 error pointers (AMD).
    pub restores_error_pointers: bool,
    pub smep: bool,
    pub smap: bool,
    pub umip: bool,
    pub hyper_threads: bool,
    pub svm: bool,
    /// SVM: features (EDX of leaf 0x8000000A) and address space identifiers.
    pub svm_features: u32,
    pub svm_identifiers: u32,
    /// Pages of 1 GiB.
    pub huge_pages: bool,
    pub protection_keys: bool,
    pub speculation: Speculation,
}

/// What CPUID and ARCH_CAPABILITIES say about speculation (Intel: "CPUID enumeration and architectural MSRs";
/// AMD: "Architecture guidelines for indirect branch control", APM vol. 3 appendix E).
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Speculation {
    pub ibrs: bool,
    pub ibpb: bool,
    pub stibp: bool,
    pub ssbd: bool,
    pub md_clear: bool,
    pub restricted_transactions: bool,
    pub bhi_control: bool,
    /// IBRS may be left on for good (AMD).
    pub ibrs_always_on: bool,
    pub automatic_ibrs: bool,
    /// ARCH_CAPABILITIES; 0 where the register does not exist.
    pub capabilities: u64,
}

impl Features {
    /// Asks this core. Reads ARCH_CAPABILITIES where CPUID announces it.
    #[must_use]
    pub fn detect() -> Self {
        let (one, seven) = (leaf(1, 0), leaf(7, 0));
        let (extended, sizes) = (leaf(0x8000_0001, 0), leaf(0x8000_0008, 0));
        let (family, model) = family_model(one.eax);
        let xsave = bit(one.ecx, 26);
        let avx = xsave && bit(one.ecx, 28);
        Self {
            vendor: vendor(),
            family,
            model,
            hypervisor: bit(one.ecx, 31),
            apic: bit(one.edx, 9),
            x2apic: bit(one.ecx, 21),
            tsc: bit(one.edx, 4),
            tsc_deadline: bit(one.ecx, 24),
            syscall: bit(extended.edx, 11),
            no_execute: bit(extended.edx, 20),
            global_pages: bit(one.edx, 13),
            page_attribute_table: bit(one.edx, 16),
            machine_check: bit(one.edx, 7) && bit(one.edx, 14),
            fxsr: bit(one.edx, 24),
            sse2: bit(one.edx, 25) && bit(one.edx, 26),
            xsave,
            xsaveopt: xsave && bit(leaf(0xD, 1).eax, 0),
            avx,
            avx512: avx && bit(seven.ebx, 16),
            restores_error_pointers: bit(sizes.ebx, 2),
            smep: bit(seven.ebx, 7),
            smap: bit(seven.ebx, 20),
            umip: bit(seven.ecx, 2),
            hyper_threads: bit(one.edx, 28) && one.ebx >> 16 & 0xFF > 1,
            svm: bit(extended.ecx, 2),
            svm_features: leaf(0x8000_000A, 0).edx,
            svm_identifiers: leaf(0x8000_000A, 0).ebx,
            huge_pages: bit(extended.edx, 26),
            protection_keys: bit(seven.ecx, 3),
            speculation: Speculation::detect(seven, sizes),
        }
    }

    /// The first thing the kernel cannot do without that this processor lacks, as a line for the console.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        let needs = [
            (
                self.no_execute,
                "no-execute pages (NX); switch it on in the firmware setup",
            ),
            (self.syscall, "SYSCALL"),
            (self.apic, "a local APIC; switch it on in the firmware setup"),
            (self.tsc, "a time stamp counter"),
            (self.page_attribute_table, "the page attribute table (PAT)"),
            (self.fxsr && self.sse2, "FXSR and SSE2"),
        ];
        needs.into_iter().find(|(has, _)| !has).map(|(_, name)| name)
    }
}

impl Speculation {
    fn detect(seven: CpuidResult, sizes: CpuidResult) -> Self {
        let further = leaf(0x8000_0021, 0);
        let bhi_control = bit(leaf(7, 2).edx, 4) && leaf(7, 0).eax >= 2;
        let capabilities = if bit(seven.edx, 29) {
            // SAFETY: CPUID leaf 7 announces the register.
            unsafe { crate::msr::read(crate::msr::ARCH_CAPABILITIES) }
        } else {
            0
        };
        Self {
            ibrs: bit(seven.edx, 26) || bit(sizes.ebx, 14),
            ibpb: bit(seven.edx, 26) || bit(sizes.ebx, 12),
            stibp: bit(seven.edx, 27) || bit(sizes.ebx, 15),
            ssbd: bit(seven.edx, 31) || bit(sizes.ebx, 24),
            md_clear: bit(seven.edx, 10),
            restricted_transactions: bit(seven.ebx, 11),
            bhi_control,
            ibrs_always_on: bit(sizes.ebx, 16),
            automatic_ibrs: bit(further.eax, 8),
            capabilities,
        }
    }
}

fn vendor() -> Vendor {
    let zero = __cpuid(0);
    let mut name = [0; 12];
    let parts = [zero.ebx, zero.edx, zero.ecx];
    for (to, from) in name.iter_mut().zip(parts.into_iter().flat_map(u32::to_le_bytes)) {
        *to = from;
    }
    match &name {
        b"GenuineIntel" => Vendor::Intel,
        b"AuthenticAMD" | b"HygonGenuine" => Vendor::Amd,
        _ => Vendor::Other,
    }
}

/// Family and model, with their extensions added (Intel SDM vol. 2, CPUID, "version information").
const fn family_model(eax: u32) -> (u32, u32) {
    let base = eax >> 8 & 0xF;
    let family = if base == 0xF { base + (eax >> 20 & 0xFF) } else { base };
    let extended = if base == 0xF || base == 6 { eax >> 16 & 0xF } else { 0 };
    (family, extended << 4 | eax >> 4 & 0xF)
}

/// Leaf 0x15 and 0x16 and the hypervisor's timing leaf: TSC ticks in a second, as far as CPUID knows.
#[must_use]
pub fn tsc_frequency_by_cpuid(features: &Features) -> Option<u64> {
    let crystal = leaf(0x15, 0);
    let base_mhz = u64::from(leaf(0x16, 0).eax & 0xFFFF);
    if crystal.eax != 0 && crystal.ebx != 0 {
        if crystal.ecx != 0 {
            return Some(u64::from(crystal.ecx) * u64::from(crystal.ebx) / u64::from(crystal.eax));
        }
        if base_mhz != 0 {
            return Some(base_mhz * 1_000_000);
        }
    }
    if features.hypervisor {
        let last = __cpuid(0x4000_0000).eax;
        if (0x4000_0010..0x4001_0000).contains(&last) {
            let khz = u64::from(__cpuid(0x4000_0010).eax);
            return (khz != 0).then_some(khz * 1000);
        }
    }
    None
}

/// Bytes of the standard XSAVE area for the state components that XCR0 enables now.
#[must_use]
pub fn xsave_bytes() -> u32 {
    leaf(0xD, 0).ebx
}
