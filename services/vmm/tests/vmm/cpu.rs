//! CPUID, model-specific registers and KVM's paravirtual interface.

use ecusson_vmm::apic::{Fabric, VcpuSet};
use ecusson_vmm::cpu::{Cpuid, Leaf, Msrs, Offer};
use ecusson_vmm::kvm::{ClockScale, HypercallArguments};
use ecusson_vmm::time::Timebase;
use proptest::prelude::*;

fn offer(vcpus: usize) -> Offer {
    Offer {
        vcpus,
        timebase: Timebase::new(2_500_000),
        extended_state: 7,
        tsc_aux: true,
        speculation_control: false,
        tlb_flush: true,
        invariant_tsc: false,
    }
}

/// A processor that has every bit set, with plausible extended state.
fn everything(leaf: u32, subleaf: u32) -> Leaf {
    match (leaf, subleaf) {
        (0, _) => [
            0x20,
            u32::from_le_bytes(*b"Auth"),
            u32::from_le_bytes(*b"cAMD"),
            u32::from_le_bytes(*b"enti"),
        ],
        (0xd, 0) => [0xff, 0x240, 0xa88, 0],
        (0xd, 2) => [256, 576, 0, 0],
        (0xd, 5..=7) => [512, 1024, 0, 0],
        (0x8000_0000, _) => [0x8000_0020, u32::from_le_bytes(*b"Auth"), 0, 0],
        (0x8000_0008, _) => [0x3030, u32::MAX, u32::MAX, u32::MAX],
        _ => [u32::MAX; 4],
    }
}

#[test]
fn a_guest_sees_kvm_and_what_comes_with_it() {
    let cpuid = Cpuid::new(&offer(4), everything);
    let [last, ebx, ecx, edx] = cpuid.query(0, 0x4000_0000, 0, 0, 0);
    assert_eq!(last, 0x4000_0010);
    let signature: Vec<u8> = [ebx, ecx, edx].iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(signature, b"KVMKVMKVM\0\0\0");
    let features = cpuid.query(0, 0x4000_0001, 0, 0, 0)[0];
    for bit in [0, 3, 5, 6, 7, 9, 11, 13, 24] {
        assert_ne!(features & 1 << bit, 0, "feature {bit}");
    }
    assert_eq!(features & (1 << 4 | 1 << 14), 0, "no asynchronous page faults");
    let no_flush = Offer {
        tlb_flush: false,
        ..offer(4)
    };
    let features_without = Cpuid::new(&no_flush, everything).query(0, 0x4000_0001, 0, 0, 0)[0];
    assert_eq!(features ^ features_without, 1 << 9);
    assert_eq!(cpuid.query(0, 0x4000_0010, 0, 0, 0)[..2], [2_500_000, 1_000_000]);
}

#[test]
fn what_nobody_virtualizes_is_hidden() {
    let cpuid = Cpuid::new(&offer(1), everything);
    let [_, _, ecx, edx] = cpuid.query(0, 1, 0, 0, 0);
    let hidden = [3, 5, 6, 7, 8, 14, 15, 18, 27];
    assert!(
        hidden.iter().all(|bit| ecx & 1 << bit == 0),
        "MONITOR, VMX, SMX and others: {ecx:#x}"
    );
    assert!([21, 24, 26, 28, 31].iter().all(|bit| ecx & 1 << bit != 0), "{ecx:#x}");
    assert!(
        [7, 14, 21, 22, 28, 29].iter().all(|bit| edx & 1 << bit == 0),
        "{edx:#x}"
    );
    let [_, ebx, ecx, edx] = cpuid.query(0, 7, 0, 0, 0);
    assert_eq!(
        ebx & (1 << 1 | 1 << 2 | 1 << 4 | 1 << 11 | 1 << 12 | 1 << 16 | 1 << 25),
        0,
        "{ebx:#x}"
    );
    assert_eq!(
        ecx & (1 << 3 | 1 << 5 | 1 << 16),
        0,
        "protection keys, WAITPKG, five levels"
    );
    assert_eq!(edx & (1 << 26 | 1 << 29), 0, "speculation control");
    let [_, _, ecx, edx] = cpuid.query(0, 0x8000_0001, 0, 0, 0);
    assert_eq!(
        ecx & (1 << 2 | 1 << 10 | 1 << 12 | 1 << 22),
        0,
        "SVM, IBS, SKINIT, TOPOEXT"
    );
    assert_ne!(edx & 1 << 29, 0, "long mode");
    assert_eq!(cpuid.query(0, 0x8000_0007, 0, 0, 0)[3], 0);
    for leaf in [
        5,
        0xa,
        0x12,
        0x20,
        0x4000_0002,
        0x5000_0000,
        0x8000_000a,
        0xc000_0000,
        u32::MAX,
    ] {
        assert_eq!(cpuid.query(0, leaf, 0, 0, 0), [0; 4], "leaf {leaf:#x}");
    }
}

#[test]
fn features_without_their_state_are_hidden_with_it() {
    let no_avx = Offer {
        extended_state: 3,
        tsc_aux: false,
        ..offer(1)
    };
    let cpuid = Cpuid::new(&no_avx, everything);
    assert_eq!(cpuid.query(0, 1, 0, 0, 0)[2] & (1 << 12 | 1 << 28 | 1 << 29), 0);
    assert_eq!(cpuid.query(0, 7, 0, 0, 0)[1] & 1 << 5, 0);
    assert_eq!(cpuid.query(0, 0x8000_0001, 0, 0, 0)[3] & 1 << 27, 0, "RDTSCP");
    let none = Offer {
        extended_state: 0,
        ..offer(1)
    };
    let cpuid = Cpuid::new(&none, everything);
    assert_eq!(cpuid.query(0, 1, 0, 1 << 18, 0)[2] & (1 << 26 | 1 << 27), 0);
    assert_eq!((cpuid.query(0, 0, 0, 0, 0)[0], cpuid.extended_state()), (0xb, 0));
}

#[test]
fn extended_state_and_topology_follow_the_vcpu() {
    let cpuid = Cpuid::new(&offer(6), everything);
    assert_ne!(cpuid.query(0, 1, 0, 1 << 18, 0)[2] & 1 << 27, 0, "OSXSAVE follows CR4");
    assert_eq!(cpuid.query(0, 0xd, 0, 0, 3), [7, 576, 832, 0]);
    assert_eq!(cpuid.query(0, 0xd, 0, 0, 7)[1], 832);
    assert_eq!(cpuid.query(0, 0xd, 2, 0, 7), [256, 576, 0, 0]);
    assert_eq!(cpuid.query(0, 0xd, 5, 0, 7), [0; 4]);
    assert_eq!(cpuid.query(5, 1, 0, 0, 0)[1] >> 16, 5 << 8 | 6);
    assert_eq!(cpuid.query(5, 0xb, 0, 0, 0), [0, 1, 0x100, 5]);
    assert_eq!(cpuid.query(5, 0xb, 1, 0, 0), [3, 6, 0x201, 5]);
    assert_eq!(cpuid.query(5, 0xb, 2, 0, 0), [0, 0, 2, 5]);
    assert_eq!(cpuid.query(0, 0x8000_0008, 0, 0, 0)[2], 3 << 12 | 5);
}

#[test]
fn registers_that_linux_probes_are_there_and_others_fault() {
    let mut msrs = Msrs::default();
    assert_eq!(msrs.read(0x277), Ok(0x0007_0406_0007_0406));
    msrs.write(0x277, 0x0007_0406_0107_0506).expect("write-combining");
    assert_eq!(msrs.page_attributes(), 0x0007_0406_0107_0506);
    assert!(msrs.write(0x277, 2).is_err(), "no such memory type");
    assert_eq!(msrs.read(0xfe), Ok(0x508));
    msrs.write(0x20f, 0x800).expect("the last variable range");
    assert_eq!(msrs.read(0x20f), Ok(0x800));
    assert!(msrs.write(0x2ff, 1 << 20).is_err() && msrs.write(0x250, 2).is_err());
    for msr in [0x3b, 0x48, 0x210, 0x3f1, 0xc000_0080, 0xc001_0114, u32::MAX] {
        assert!(msrs.read(msr).is_err() && msrs.write(msr, 0).is_err(), "{msr:#x}");
    }
}

fn call(number: u64, words: [u64; 4], privilege: u8) -> HypercallArguments {
    HypercallArguments {
        number,
        words,
        privilege,
    }
}

#[test]
fn hypercalls_reach_other_vcpus() {
    let fabric = Fabric::new(4);
    let done = call(10, [0b1011, 0, 1, 0xfb], 0).carry_out(&fabric);
    assert_eq!(
        (done.result, done.kicks),
        (2, VcpuSet(0b0110)),
        "1, 2 and a fifth that is not there"
    );
    assert!(fabric.take(2).expect("an interrupt").edge.contains(0xfb));
    assert_eq!(call(10, [0, 1, u64::MAX, 0xfb], 0).carry_out(&fabric).result, 0);
    assert_eq!(
        call(10, [1, 0, 0, 0x5fb], 0).carry_out(&fabric).result as i64,
        -22,
        "INIT"
    );
    assert_eq!(call(5, [0, 3, 0, 0], 0).carry_out(&fabric).kicks, VcpuSet(0b1000));
    assert!(call(11, [2, 0, 0, 0], 0).carry_out(&fabric).yields);
    assert_eq!(call(10, [1, 0, 0, 0xfb], 3).carry_out(&fabric).result as i64, -1);
    assert_eq!(call(77, [0; 4], 0).carry_out(&fabric).result as i64, -1000);
}

proptest! {
    /// The guest's arithmetic agrees with the exact value to one part in a billion.
    #[test]
    fn the_clock_is_precise(khz in 1_000_u32..10_000_000, seconds in 0_u64..1_000_000) {
        let ticks = seconds * u64::from(khz) * 1000;
        let ns = ClockScale::new(Timebase::new(khz)).ns(ticks);
        let error = ns.abs_diff(seconds * 1_000_000_000);
        prop_assert!(error <= seconds + 1, "{} ns in {} s", error, seconds);
    }

    #[test]
    fn any_frequency_has_a_scale(khz in any::<u32>(), ticks in any::<u64>()) {
        let _ = ClockScale::new(Timebase::new(khz)).ns(ticks);
    }

    #[test]
    fn cpuid_answers_everything(vcpus in 0_usize..20, leaf in any::<u32>(), subleaf in any::<u32>(), state in any::<u64>(), host in any::<[u32; 4]>()) {
        let offer = Offer { extended_state: state, ..offer(vcpus) };
        let cpuid = Cpuid::new(&offer, |_, _| host);
        for leaf in [leaf, leaf % 32, leaf | 0x8000_0000, 0x8000_0000 | (leaf % 32), 0x4000_0000 | (leaf % 32)] {
            let _ = cpuid.query(3, leaf, subleaf % 70, u64::MAX, u64::MAX);
            let _ = cpuid.query(3, leaf, subleaf, 0, 0);
        }
    }

    #[test]
    fn registers_survive_anything(msr in 0_u32..0x400, value in any::<u64>()) {
        let mut msrs = Msrs::default();
        for msr in [msr, 0xc000_0000 | msr, 0xc001_0000 | msr, 0xc001_1000 | msr] {
            if msrs.write(msr, value).is_ok() {
                let _ = msrs.read(msr);
            }
        }
    }
}
