//! CPUID as a guest sees it: what the host has and the kernel switches, under KVM's signature.
//!
//! Key types: [`Offer`] in, [`Cpuid`] out. All leaves are computed once; an exit is a search in a short table. Features are let
//! through by name: what this page does not know is hidden. AMD APM vol. 3, appendix E; Intel SDM vol. 2, CPUID.

use alloc::vec::Vec;

use crate::kvm::feature;
use crate::layout::VCPUS_MAX;
use crate::time::Timebase;

/// EAX, EBX, ECX, EDX.
pub type Leaf = [u32; 4];

/// What may be offered to a guest.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// vCPUs of the guest, 1 to [`VCPUS_MAX`].
    pub vcpus: usize,
    /// The guest's TSC.
    pub timebase: Timebase,
    /// Components of extended state that the kernel switches; 0 hides XSAVE.
    pub extended_state: u64,
    /// The kernel switches `TSC_AUX`: RDTSCP and RDPID.
    pub tsc_aux: bool,
    /// The kernel switches `SPEC_CTRL` and lets `PRED_CMD` through.
    pub speculation_control: bool,
    /// The kernel flushes a vCPU's translations before it enters the guest, where [`crate::machine::Entry::Run`] asks for it.
    pub tlb_flush: bool,
    /// The TSC never changes its pace and the guest will not move to another machine.
    pub invariant_tsc: bool,
}

/// Leaf 1, EDX: all that a 64-bit processor has but debug store, thermal control and machine checks.
const LEAF_1_EDX: u32 = 0x078b_bb7f;
/// Leaf 1, EDX: more than one processor in the package.
const LEAF_1_EDX_MANY: u32 = 1 << 28;
/// Leaf 1, ECX: SSE3, PCLMULQDQ, SSSE3, FMA, CX16, PCID, SSE4.1, SSE4.2, MOVBE, POPCNT, AES, F16C, RDRAND.
const LEAF_1_ECX: u32 = 1 | 2 | 1 << 9 | 1 << 12 | 1 << 13 | 1 << 17 | 0x18_0000 | 0xc0_0000 | 1 << 25 | 0x6000_0000;
/// Leaf 1, ECX: x2APIC, TSC deadline, hypervisor: ours, whatever the host has.
const LEAF_1_ECX_OURS: u32 = 1 << 21 | 1 << 24 | 1 << 31;
const LEAF_1_ECX_XSAVE: u32 = 1 << 26;
const LEAF_1_ECX_OSXSAVE: u32 = 1 << 27;
const LEAF_1_ECX_AVX: u32 = 1 << 28;
/// Leaf 1, ECX and leaf 7: what computes in AVX registers.
const LEAF_1_ECX_NEEDS_AVX: u32 = 1 << 12 | 1 << 29;
/// Leaf 7, EBX: FSGSBASE, BMI1, SMEP, BMI2, ERMS, INVPCID, FPU segments, RDSEED, ADX, SMAP, CLFLUSHOPT, CLWB, SHA.
const LEAF_7_EBX: u32 = 1 | 1 << 3 | 0x780 | 1 << 13 | 0x1c_0000 | 0x180_0000 | 1 << 29;
const LEAF_7_EBX_AVX2: u32 = 1 << 5;
/// Leaf 7, EBX: AVX-512 foundation, DQ, IFMA, CD, BW, VL.
const LEAF_7_EBX_AVX512: u32 = 1 << 16 | 1 << 17 | 1 << 21 | 1 << 28 | 1 << 30 | 1 << 31;
/// Leaf 7, ECX: UMIP, GFNI.
const LEAF_7_ECX: u32 = 1 << 2 | 1 << 8;
/// Leaf 7, ECX: VAES, VPCLMULQDQ.
const LEAF_7_ECX_AVX: u32 = 1 << 9 | 1 << 10;
/// Leaf 7, ECX: VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ.
const LEAF_7_ECX_AVX512: u32 = 1 << 1 | 1 << 6 | 1 << 11 | 1 << 12 | 1 << 14;
const LEAF_7_ECX_RDPID: u32 = 1 << 22;
/// Leaf 7, EDX: FSRM, SERIALIZE.
const LEAF_7_EDX: u32 = 1 << 4 | 1 << 14;
/// Leaf 7, EDX: IBRS and IBPB, STIBP, SSBD.
const LEAF_7_EDX_SPECULATION: u32 = 1 << 26 | 1 << 27 | 1 << 31;
/// Leaf 6, EAX: the APIC's timer always runs.
const LEAF_6_EAX_ARAT: u32 = 1 << 2;
/// Leaf 13.1, EAX: XSAVEOPT. No compacted forms: their supervisor components would need switching.
const LEAF_D_1_EAX: u32 = 1;
/// Leaf 0x80000001, EDX: what AMD repeats of leaf 1, SYSCALL, NX, MMX extensions, FFXSR, 1 GiB pages, long mode.
const LEAF_81_EDX: u32 = 0x0183_bb7f | 1 << 11 | 1 << 20 | 1 << 22 | 1 << 25 | 1 << 26 | 1 << 29;
const LEAF_81_EDX_RDTSCP: u32 = 1 << 27;
/// Leaf 0x80000001, ECX: LAHF, CR8, ABM, SSE4A, misaligned SSE, PREFETCHW.
const LEAF_81_ECX: u32 = 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8;
/// Leaf 0x80000001, ECX: cores are counted by the old method.
const LEAF_81_ECX_CORES: u32 = 1 << 1;
/// Leaf 0x80000007, EDX: the TSC is invariant.
const LEAF_87_EDX_INVARIANT: u32 = 1 << 8;
/// Leaf 0x80000008, EBX: CLZERO, error pointers, WBNOINVD.
const LEAF_88_EBX: u32 = 1 | 1 << 2 | 1 << 9;
/// Leaf 0x80000008, EBX: IBPB, IBRS, STIBP, SSBD.
const LEAF_88_EBX_SPECULATION: u32 = 1 << 12 | 1 << 14 | 1 << 15 | 1 << 24;

/// x87, SSE, AVX.
const STATE_AVX: u64 = 7;
/// With the three parts of AVX-512.
const STATE_AVX512: u64 = 0xe7;
/// The longest basic leaf that is offered.
const BASIC_MAX: u32 = 0xd;
const EXTENDED: u32 = 0x8000_0000;
const EXTENDED_MAX: u32 = 0x8000_0008;
const KVM: u32 = 0x4000_0000;
const KVM_FEATURES: u32 = 0x4000_0001;
/// Frequencies of TSC and APIC bus in kHz.
const KVM_FREQUENCIES: u32 = 0x4000_0010;
const BUS_KHZ: u32 = 1_000_000;
const CR4_OSXSAVE: u64 = 1 << 18;
/// Legacy region and header of an XSAVE area.
const STATE_HEADER_END: u32 = 576;

#[derive(Clone, Copy, Debug)]
struct Entry {
    leaf: u32,
    subleaf: u32,
    value: Leaf,
}

/// A guest's CPUID.
#[derive(Clone, Debug)]
pub struct Cpuid {
    /// Ascending by leaf and subleaf.
    table: Vec<Entry>,
    vcpus: u32,
    /// Components of extended state.
    state: u64,
    basic_max: u32,
}

/// Leaves whose value depends on ECX.
fn has_subleaves(leaf: u32) -> bool {
    matches!(leaf, 4 | 7 | 0xb | 0xd)
}

impl Cpuid {
    /// Computes a guest's CPUID; `host` executes CPUID with leaf and subleaf on a processor like the ones the guest will run on.
    #[must_use]
    pub fn new(offer: &Offer, host: impl Fn(u32, u32) -> Leaf) -> Self {
        let vcpus = offer.vcpus.clamp(1, VCPUS_MAX) as u32;
        let [basic_max, ..] = host(0, 0);
        let has_xsave = host(1, 0)[2] & LEAF_1_ECX_XSAVE != 0 && basic_max >= 0xd;
        let [state_low, _, _, state_high] = if has_xsave { host(0xd, 0) } else { [0; 4] };
        let state = (u64::from(state_high) << 32 | u64::from(state_low)) & offer.extended_state;
        // x87 and SSE belong to every XSAVE.
        let state = if state & 3 == 3 { state } else { 0 };
        let mut cpuid = Self {
            table: Vec::new(),
            vcpus,
            state,
            basic_max: if state == 0 { 0xb } else { BASIC_MAX },
        };
        cpuid.add_basic(offer, &host);
        cpuid.add_state(&host);
        cpuid.add_kvm(offer);
        cpuid.add_extended(offer, &host);
        cpuid.table.sort_by_key(|entry| (entry.leaf, entry.subleaf));
        cpuid
    }

    /// CPUID as vCPU `vcpu` executes it with these registers of its own.
    #[must_use]
    pub fn query(&self, vcpu: u32, leaf: u32, subleaf: u32, cr4: u64, xcr0: u64) -> Leaf {
        let leaf = self.clamp(leaf);
        let key = (leaf, if has_subleaves(leaf) { subleaf } else { 0 });
        let found = self
            .table
            .binary_search_by_key(&key, |entry| (entry.leaf, entry.subleaf))
            .ok()
            .and_then(|index| self.table.get(index));
        let mut value = found.map_or([0; 4], |entry| entry.value);
        match key {
            (1, _) => {
                value[1] |= vcpu << 24;
                if cr4 & CR4_OSXSAVE != 0 && value[2] & LEAF_1_ECX_XSAVE != 0 {
                    value[2] |= LEAF_1_ECX_OSXSAVE;
                }
            }
            (0xb, subleaf) => {
                value[2] |= subleaf & 0xff;
                value[3] = vcpu;
            }
            (0xd, 0) => value[1] = self.state_bytes(xcr0),
            _ => {}
        }
        value
    }

    /// Components of extended state that a guest may switch on in XCR0.
    #[must_use]
    pub fn extended_state(&self) -> u64 {
        self.state
    }

    /// Beyond the last leaf of a range: Intel gives the last basic leaf, AMD zeroes; zeroes harm nobody.
    fn clamp(&self, leaf: u32) -> u32 {
        let last = match leaf {
            0..KVM => self.basic_max,
            KVM..=KVM_FREQUENCIES => KVM_FREQUENCIES,
            EXTENDED.. => EXTENDED_MAX,
            _ => 0,
        };
        if leaf <= last { leaf } else { u32::MAX }
    }

    fn add(&mut self, leaf: u32, subleaf: u32, value: Leaf) {
        self.table.push(Entry { leaf, subleaf, value });
    }

    fn has_avx(&self) -> bool {
        self.state & STATE_AVX == STATE_AVX
    }

    fn has_avx512(&self) -> bool {
        self.state & STATE_AVX512 == STATE_AVX512
    }

    /// Bits to number the vCPUs with.
    fn id_bits(&self) -> u32 {
        self.vcpus.next_power_of_two().trailing_zeros()
    }

    fn add_basic(&mut self, offer: &Offer, host: &impl Fn(u32, u32) -> Leaf) {
        let [_, vendor_b, vendor_c, vendor_d] = host(0, 0);
        self.add(0, 0, [self.basic_max, vendor_b, vendor_c, vendor_d]);
        let [signature, misc, ecx, edx] = host(1, 0);
        let mut allowed = LEAF_1_ECX;
        if self.state != 0 {
            allowed |= LEAF_1_ECX_XSAVE;
        }
        allowed = if self.has_avx() {
            allowed | LEAF_1_ECX_AVX
        } else {
            allowed & !LEAF_1_ECX_NEEDS_AVX
        };
        let many = if self.vcpus > 1 { LEAF_1_EDX_MANY } else { 0 };
        let ebx = misc & 0xff00 | self.vcpus << 16;
        self.add(
            1,
            0,
            [signature, ebx, ecx & allowed | LEAF_1_ECX_OURS, edx & LEAF_1_EDX | many],
        );
        self.add(2, 0, host(2, 0));
        for index in 0..4 {
            let [eax, ebx, ecx, edx] = host(4, index);
            if eax & 0x1f == 0 {
                break;
            }
            // Each vCPU is a core with its own caches but the last level, which all share.
            let sharing = if eax >> 5 & 7 >= 3 { self.vcpus - 1 } else { 0 };
            let eax = eax & 0x3fff | sharing << 14 | (self.vcpus - 1) << 26;
            self.add(4, index, [eax, ebx, ecx, edx]);
        }
        self.add(6, 0, [LEAF_6_EAX_ARAT, 0, 0, 0]);
        self.add_leaf_7(offer, host);
        self.add(0xb, 0, [0, 1, 1 << 8, 0]);
        self.add(0xb, 1, [self.id_bits(), self.vcpus, 2 << 8, 0]);
    }

    fn add_leaf_7(&mut self, offer: &Offer, host: &impl Fn(u32, u32) -> Leaf) {
        if host(0, 0)[0] < 7 {
            return;
        }
        let [_, ebx, ecx, edx] = host(7, 0);
        let (mut allowed_b, mut allowed_c, mut allowed_d) = (LEAF_7_EBX, LEAF_7_ECX, LEAF_7_EDX);
        if self.has_avx() {
            allowed_b |= LEAF_7_EBX_AVX2;
            allowed_c |= LEAF_7_ECX_AVX;
        }
        if self.has_avx512() {
            allowed_b |= LEAF_7_EBX_AVX512;
            allowed_c |= LEAF_7_ECX_AVX512;
        }
        if offer.tsc_aux {
            allowed_c |= LEAF_7_ECX_RDPID;
        }
        if offer.speculation_control {
            allowed_d |= LEAF_7_EDX_SPECULATION;
        }
        self.add(7, 0, [0, ebx & allowed_b, ecx & allowed_c, edx & allowed_d]);
    }

    /// Leaf 13: the components of extended state, at the places that the host's processor gives them.
    fn add_state(&mut self, host: &impl Fn(u32, u32) -> Leaf) {
        if self.state == 0 {
            return;
        }
        for component in 2..63 {
            if self.state >> component & 1 != 0 {
                let [bytes, offset, ..] = host(0xd, component);
                self.add(0xd, component, [bytes, offset, 0, 0]);
            }
        }
        self.add(0xd, 1, [host(0xd, 1)[0] & LEAF_D_1_EAX, 0, 0, 0]);
        let largest = self.state_bytes(self.state);
        self.add(0xd, 0, [self.state as u32, 0, largest, (self.state >> 32) as u32]);
    }

    /// Bytes of an XSAVE area for the components in `xcr0`.
    fn state_bytes(&self, xcr0: u64) -> u32 {
        if self.state == 0 {
            return 0;
        }
        let components = self.table.iter().filter(|entry| {
            entry.leaf == 0xd && entry.subleaf >= 2 && xcr0.checked_shr(entry.subleaf).is_some_and(|rest| rest & 1 != 0)
        });
        components
            .map(|entry| entry.value[0].saturating_add(entry.value[1]))
            .fold(STATE_HEADER_END, u32::max)
    }

    fn add_kvm(&mut self, offer: &Offer) {
        let signature = [b"KVMK", b"VMKV", b"M\0\0\0"].map(|part| u32::from_le_bytes(*part));
        self.add(KVM, 0, [KVM_FREQUENCIES, signature[0], signature[1], signature[2]]);
        let features = if offer.tlb_flush {
            feature::ALL
        } else {
            feature::ALL & !feature::TLB_FLUSH
        };
        self.add(KVM_FEATURES, 0, [features, 0, 0, 0]);
        self.add(KVM_FREQUENCIES, 0, [offer.timebase.khz(), BUS_KHZ, 0, 0]);
    }

    fn add_extended(&mut self, offer: &Offer, host: &impl Fn(u32, u32) -> Leaf) {
        let [_, vendor_b, vendor_c, vendor_d] = host(EXTENDED, 0);
        self.add(EXTENDED, 0, [EXTENDED_MAX, vendor_b, vendor_c, vendor_d]);
        let [signature, brand, ecx, edx] = host(EXTENDED + 1, 0);
        let rdtscp = if offer.tsc_aux { LEAF_81_EDX_RDTSCP } else { 0 };
        let is_amd = vendor_b == u32::from_le_bytes(*b"Auth");
        let cores = if is_amd && self.vcpus > 1 { LEAF_81_ECX_CORES } else { 0 };
        self.add(
            EXTENDED + 1,
            0,
            [
                signature,
                brand,
                ecx & LEAF_81_ECX | cores,
                edx & (LEAF_81_EDX | rdtscp),
            ],
        );
        // Name of the processor, caches and TLBs of AMD.
        for leaf in EXTENDED + 2..=EXTENDED + 6 {
            self.add(leaf, 0, host(leaf, 0));
        }
        let invariant = if offer.invariant_tsc { LEAF_87_EDX_INVARIANT } else { 0 };
        self.add(EXTENDED + 7, 0, [0, 0, 0, host(EXTENDED + 7, 0)[3] & invariant]);
        let [addresses, ebx, ..] = host(EXTENDED + 8, 0);
        let speculation = if offer.speculation_control {
            LEAF_88_EBX_SPECULATION
        } else {
            0
        };
        let ecx = self.id_bits() << 12 | (self.vcpus - 1);
        self.add(
            EXTENDED + 8,
            0,
            [addresses & 0xffff, ebx & (LEAF_88_EBX | speculation), ecx, 0],
        );
    }
}
