//! Instructions that touch device memory, and the page walk that finds them.

use ecusson_vmm::cpu::{Exception, PlainState, Segment, System, gpr};
use ecusson_vmm::decode::{Access, Arithmetic, Code, Operation, decode, fetch, fetch_cr8_write, translate};
use ecusson_vmm::memory::GuestMemory;
use proptest::prelude::*;

use crate::support::Memory;

const MIB: usize = 1 << 20;

/// 64-bit code at privilege level 0, tables at 0x1000.
pub(crate) fn long_mode() -> System {
    let mut system = System {
        cr0: 0x8001_0011,
        cr3: 0x1000,
        cr4: 0x20,
        efer: 0xd00,
        privilege: 0,
        segments: [Segment::default(); 6],
    };
    system.segments[1].attributes = 0xa9b;
    system
}

/// Maps the first 2 MiB one to one with small pages: present, writable, accessed, dirty.
pub(crate) fn map_small(memory: &Memory) {
    let entry = |at: u64, value: u64| memory.write(at, &value.to_le_bytes()).expect("memory");
    entry(0x1000, 0x2003);
    entry(0x2000, 0x3003);
    entry(0x3000, 0x4003);
    for page in 0..512 {
        entry(0x4000 + 8 * page, page << 12 | 0x63);
    }
}

fn load(bytes: &[u8]) -> PlainState {
    let mut state = PlainState::default();
    state.gpr[gpr::RAX] = 0x1122_3344_5566_7788;
    state.gpr[gpr::RCX] = 0xffff_ffff_ffff_ff80;
    let decoded = decode(bytes, 64, 0x1000).expect("decoded");
    assert_eq!(decoded.next_rip, 0x1000 + bytes.len() as u64);
    let Operation::Load(part, extension) = decoded.operation else {
        panic!("a load, not {:?}", decoded.operation)
    };
    part.set(&mut state, extension.apply(0x8899_aabb_ccdd_eeff, decoded.bytes));
    state
}

#[test]
fn loads_extend_and_merge_as_the_processor_does() {
    // mov eax, [rbx]; mov rax, [rbx]; mov ax, [rbx]; mov al, [rbx]; mov ah, [rbx]
    assert_eq!(load(&[0x8b, 0x03]).gpr[0], 0xccdd_eeff);
    assert_eq!(load(&[0x48, 0x8b, 0x03]).gpr[0], 0x8899_aabb_ccdd_eeff);
    assert_eq!(load(&[0x66, 0x8b, 0x03]).gpr[0], 0x1122_3344_5566_eeff);
    assert_eq!(load(&[0x8a, 0x03]).gpr[0], 0x1122_3344_5566_77ff);
    assert_eq!(load(&[0x8a, 0x23]).gpr[0], 0x1122_3344_5566_ff88);
    // movzx eax, byte [rbx]; movsx rax, word [rbx]; movsxd rax, dword [rbx]; movsx eax, byte [rbx]
    assert_eq!(load(&[0x0f, 0xb6, 0x03]).gpr[0], 0xff);
    assert_eq!(load(&[0x48, 0x0f, 0xbf, 0x03]).gpr[0], 0xffff_ffff_ffff_eeff);
    assert_eq!(load(&[0x48, 0x63, 0x03]).gpr[0], 0xffff_ffff_ccdd_eeff);
    assert_eq!(load(&[0x0f, 0xbe, 0x03]).gpr[0], 0xffff_ffff);
    // mov r9d, [r10 + 0x10]; mov sil, [rbx]
    assert_eq!(load(&[0x45, 0x8b, 0x4a, 0x10]).gpr[9], 0xccdd_eeff);
    assert_eq!(load(&[0x40, 0x8a, 0x33]).gpr[6], 0xff);
}

#[test]
fn stores_take_registers_and_immediates() {
    let mut state = PlainState::default();
    state.gpr[gpr::RCX] = 0x1234_5678_9abc_def0;
    let store = |bytes: &[u8]| {
        let decoded = decode(bytes, 64, 0).expect("decoded");
        let Operation::Store(operand) = decoded.operation else {
            panic!("a store, not {:?}", decoded.operation)
        };
        (operand.get(&state), decoded.bytes)
    };
    assert_eq!(store(&[0x89, 0x0b]), (0x9abc_def0, 4));
    assert_eq!(store(&[0x88, 0x2b]), (0xde, 1), "CH");
    assert_eq!(store(&[0xc7, 0x03, 0xff, 0xff, 0xff, 0xff]), (0xffff_ffff, 4));
    assert_eq!(store(&[0x48, 0xc7, 0x03, 0xff, 0xff, 0xff, 0xff]), (u64::MAX, 8));
    assert_eq!(store(&[0xc6, 0x03, 0x7f]), (0x7f, 1));
    assert_eq!(store(&[0x0f, 0xc3, 0x0b]), (0x9abc_def0, 4), "MOVNTI");
}

#[test]
fn what_is_not_emulated_is_refused() {
    // add eax, ebx; movups xmm0, [rbx]; cpuid; lgdt [rbx]; nothing at all; half an instruction
    for bytes in [
        &[0x01, 0xd8][..],
        &[0x0f, 0x10, 0x03],
        &[0x0f, 0xa2],
        &[0x0f, 0x01, 0x13],
        &[],
        &[0x48],
    ] {
        assert_eq!(decode(bytes, 64, 0), None, "{bytes:x?}");
    }
    // movsd xmm0, [rbx] has the name of a string instruction.
    assert_eq!(decode(&[0xf2, 0x0f, 0x10, 0x03], 64, 0), None);
}

#[test]
fn arithmetic_sets_the_flags() {
    let flags = |kind: Arithmetic, left, right, bytes| kind.apply(left, right, bytes, 0x2);
    assert_eq!(
        flags(Arithmetic::Add, 0xff, 1, 1),
        (0, 0x57),
        "carry, parity, adjust, zero"
    );
    assert_eq!(
        flags(Arithmetic::Add, 0x7f, 1, 1),
        (0x80, 0x892),
        "sign, overflow, adjust"
    );
    assert_eq!(flags(Arithmetic::Subtract, 0, 1, 4), (0xffff_ffff, 0x97), "borrow");
    assert_eq!(flags(Arithmetic::Subtract, 5, 5, 8), (0, 0x46));
    assert_eq!(
        Arithmetic::And.apply(0xf0, 0x3c, 4, 0x8d7),
        (0x30, 0x06),
        "flags from before are gone"
    );
    assert_eq!(flags(Arithmetic::Xor, 1, 0x8000, 2), (0x8001, 0x82));
}

#[test]
fn the_walk_checks_rights_and_marks_pages() {
    let memory = Memory::new(2 * MIB);
    map_small(&memory);
    let mut system = long_mode();
    let entry = |page: u64, bits: u64| {
        memory
            .write(0x4000 + 8 * page, &(0x9000 | bits).to_le_bytes())
            .expect("memory");
    };
    entry(7, 1);
    assert_eq!(translate(&memory, &system, 0x7123, Access::Read), Ok(0x9123));
    assert_eq!(memory.u64(0x4038), 0x9021, "accessed");
    let fault = |address, code| Err(Exception::page_fault(address, code));
    assert_eq!(translate(&memory, &system, 0x7123, Access::Write), fault(0x7123, 3));
    system.cr0 &= !0x1_0000;
    assert_eq!(
        translate(&memory, &system, 0x7123, Access::Write),
        Ok(0x9123),
        "no write protection"
    );
    assert_eq!(memory.u64(0x4038), 0x9061, "dirty");
    entry(7, 1 | 1 << 63);
    assert_eq!(translate(&memory, &system, 0x7000, Access::Fetch), fault(0x7000, 17));
    entry(7, 0);
    assert_eq!(translate(&memory, &system, 0x7000, Access::Read), fault(0x7000, 0));
    system.privilege = 3;
    assert_eq!(translate(&memory, &system, 0x8000, Access::Write), fault(0x8000, 7));
    assert_eq!(
        translate(&memory, &system, 1 << 50, Access::Read),
        Err(Exception::GENERAL_PROTECTION)
    );
    assert!(translate(&memory, &system, 0xffff_8000_0000_0000, Access::Read).is_err());
    // Tables in nowhere.
    system.cr3 = 1 << 45;
    assert_eq!(translate(&memory, &system, 0x8000, Access::Read), fault(0x8000, 4));
}

#[test]
fn all_forms_of_tables_are_walked() {
    let memory = Memory::new(2 * MIB);
    let write = |at: u64, bytes: &[u8]| memory.write(at, bytes).expect("memory");
    let mut system = long_mode();
    // 32-bit: a 4 MiB page and a small one.
    (system.efer, system.cr4) = (0, 0x10);
    write(0x1000 + 4 * 3, &0x0040_2083_u32.to_le_bytes());
    write(0x1000, &0x0000_2003_u32.to_le_bytes());
    write(0x2000 + 4 * 5, &0x0000_9003_u32.to_le_bytes());
    assert_eq!(
        translate(&memory, &system, 0x00c1_2345, Access::Read),
        Ok(0x1_0041_2345)
    );
    assert_eq!(translate(&memory, &system, 0x5678, Access::Write), Ok(0x9678));
    assert_eq!(memory.u32(0x2014), 0x9063);
    // PAE: a 2 MiB page.
    system.cr4 = 0x20;
    system.cr3 = 0x3020;
    write(0x3020 + 8, &0x4001_u64.to_le_bytes());
    write(0x4000 + 8 * 2, &0x4060_00e3_u64.to_le_bytes());
    assert_eq!(translate(&memory, &system, 0x4041_2345, Access::Write), Ok(0x4061_2345));
    // Long mode: a 1 GiB page. No paging: what it says.
    system.efer = 0x500;
    system.cr3 = 0x5000;
    write(0x5000, &0x6003_u64.to_le_bytes());
    write(0x6000 + 8, &0x8000_00e3_u64.to_le_bytes());
    assert_eq!(translate(&memory, &system, 0x5234_5678, Access::Read), Ok(0x9234_5678));
    system.cr0 = 1;
    assert_eq!(
        translate(&memory, &system, 0x1_2345_6789, Access::Read),
        Ok(0x2345_6789)
    );
}

#[test]
fn instructions_are_fetched_across_pages() {
    let memory = Memory::new(2 * MIB);
    map_small(&memory);
    // mov dword [rbx], 1
    memory.write(0x9ffe, &[0xc7, 0x03, 1, 0, 0, 0]).expect("memory");
    let decoded = fetch(&memory, &long_mode(), 0x9ffe, &Code::UNKNOWN).expect("fetched");
    assert_eq!((decoded.bytes, decoded.next_rip), (4, 0xa004));
    memory.write(0x4000 + 8 * 10, &[0; 8]).expect("memory");
    assert_eq!(
        fetch(&memory, &long_mode(), 0x9ffe, &Code::UNKNOWN),
        Err(Exception::INVALID_OPCODE)
    );
    memory.write(0x9ffe, &[0x89, 0x0b]).expect("memory");
    assert!(
        fetch(&memory, &long_mode(), 0x9ffe, &Code::UNKNOWN).is_ok(),
        "the next page need not be there"
    );
    // Bytes that the processor kept are taken as they are: mov [rbx], rcx.
    let kept = Code::new(&[0x48, 0x89, 0x0b, 0xcc]);
    assert_eq!(
        fetch(&memory, &long_mode(), 0, &kept).map(|decoded| decoded.next_rip),
        Ok(3)
    );
    // Half of it was kept: the rest is read.
    memory.write(0x8000, &[0x48, 0x89, 0x0b]).expect("memory");
    let half = fetch(&memory, &long_mode(), 0x8000, &Code::new(&[0x48, 0x89]));
    assert_eq!(half.map(|decoded| decoded.next_rip), Ok(0x8003));
    // mov cr8, rdx; mov cr8, r9; mov cr3, rdx
    for (code, expected) in [
        ([0x44, 0x0f, 0x22, 0xc2], Some(2)),
        ([0x45, 0x0f, 0x22, 0xc1], Some(9)),
        ([0x0f, 0x22, 0xda, 0x90], None),
    ] {
        memory.write(0x8000, &code).expect("memory");
        let write = fetch_cr8_write(&memory, &long_mode(), 0x8000);
        assert_eq!(
            write.map(|write| (write.register, write.next_rip)).ok(),
            expected.map(|register| (register, 0x8004))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any bytes are decoded or refused, and what is decoded ends where the processor would go on.
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in any::<[u8; 15]>(), length in 0_usize..=15, bits in 0_usize..3, rip in any::<u32>()) {
        let bits = [16, 32, 64][bits];
        if let Some(decoded) = decode(&bytes[..length], bits, rip.into()) {
            let mask = if bits == 64 { u64::MAX } else { 0xffff_ffff };
            let advance = decoded.next_rip.wrapping_sub(rip.into()) & mask;
            prop_assert!((1..=15).contains(&advance) || bits == 16);
            prop_assert!([1, 2, 4, 8].contains(&decoded.bytes));
        }
    }

    /// Any tables, any registers: an address or a fault.
    #[test]
    fn any_tables_are_walked(seed in any::<[u64; 16]>(), cr0 in any::<u64>(), cr3 in any::<u64>(), cr4 in any::<u64>(), efer in any::<u64>(), linear in any::<u64>()) {
        let memory = Memory::new(64 * 1024);
        for (index, word) in seed.iter().cycle().take(8192).enumerate() {
            memory.write(8 * index as u64, &(word & 0xf_ffff | 1).to_le_bytes()).expect("memory");
        }
        let system = System { cr0, cr3: cr3 & 0xffff, cr4, efer, ..long_mode() };
        for access in [Access::Read, Access::Write, Access::Fetch] {
            let _ = translate(&memory, &system, linear, access);
            let _ = translate(&memory, &system, linear & 0xffff_ffff, access);
        }
        let _ = fetch(&memory, &system, linear, &Code::UNKNOWN);
    }
}
