//! The map of a guest's memory against a model: an array of bytes with holes.

use ecusson_guestmem::{Access, Fault, FaultKind, Gpa, GuestMemory, LayoutError, Mapping};
use proptest::prelude::*;

/// Two mappings that touch, a hole, and one for looking only: 0..64, 64..128, (hole), 256..320.
fn memory() -> GuestMemory {
    GuestMemory::new(vec![
        Mapping::own(Gpa(256), 64).read_only(),
        Mapping::own(Gpa(64), 64),
        Mapping::own(Gpa(0), 64),
    ])
    .unwrap()
}

/// What an access to `bytes` bytes at `address` must say.
fn expected(address: u64, bytes: u64, access: Access) -> Result<(), FaultKind> {
    for at in (0..bytes).map(|offset| address.wrapping_add(offset)) {
        match at {
            0..128 => {}
            256..320 if access == Access::Read => {}
            256..320 => return Err(FaultKind::ReadOnly),
            _ => return Err(FaultKind::Outside),
        }
    }
    Ok(())
}

fn kind(result: Result<(), Fault>) -> Result<(), FaultKind> {
    result.map_err(|fault| fault.kind)
}

proptest! {
    /// Reading gives what was written, wherever pieces begin; nothing outside is written or read; a refused write changes
    /// nothing.
    #[test]
    fn it_is_an_array_with_holes(steps in prop::collection::vec((0_u64..340, 0_usize..140, any::<u8>(), 0..3), 0..40)) {
        let memory = memory();
        let mut model = [0_u8; 128];
        for (address, bytes, byte, what) in steps {
            let data: Vec<u8> = (0..bytes).map(|offset| byte.wrapping_add(offset as u8)).collect();
            let range = address as usize..address as usize + bytes;
            match what {
                0 => {
                    let wanted = expected(address, bytes as u64, Access::Write);
                    prop_assert_eq!(kind(memory.write(Gpa(address), &data)), wanted);
                    if wanted.is_ok() && bytes > 0 { model[range].copy_from_slice(&data); }
                }
                1 => {
                    let wanted = expected(address, bytes as u64, Access::Write);
                    prop_assert_eq!(kind(memory.fill(Gpa(address), bytes, byte)), wanted);
                    if wanted.is_ok() && bytes > 0 { model[range].fill(byte); }
                }
                _ => {
                    let mut found = vec![0xEE; bytes];
                    let wanted = expected(address, bytes as u64, Access::Read);
                    prop_assert_eq!(kind(memory.read(Gpa(address), &mut found)), wanted);
                    if wanted.is_ok() && address < 128 && bytes > 0 { prop_assert_eq!(&found[..], &model[range]); }
                }
            }
            let mut all = [0; 128];
            memory.read(Gpa(0), &mut all).unwrap();
            prop_assert_eq!(all, model);
        }
    }

    /// A copy between memories equals reading and writing, across pieces of either.
    #[test]
    fn copies_are_read_and_write(to in 0_u64..150, from in 0_u64..340, bytes in 0_usize..140, seed: [u8; 32]) {
        let (source, target) = (memory(), memory());
        for (at, byte) in (0..128_u64).zip(seed.iter().cycle()) {
            source.write(Gpa(at), &[*byte ^ at as u8]).unwrap();
        }
        let mut data = vec![0; bytes];
        let wanted = kind(source.read(Gpa(from), &mut data)).and(expected(to, bytes as u64, Access::Write));
        prop_assert_eq!(kind(target.copy(Gpa(to), &source, Gpa(from), bytes)).is_ok(), wanted.is_ok());
        let mut found = vec![0; bytes];
        if wanted.is_ok() {
            target.read(Gpa(to), &mut found).unwrap();
            prop_assert_eq!(found, data);
        }
    }

    /// Any address and length a guest may name: an answer, never more.
    #[test]
    fn any_range_is_answered(address: u64, bytes: u64) {
        let memory = memory();
        let range = memory.range(Gpa(address), bytes, Access::Read);
        if let Ok(range) = range {
            prop_assert!(bytes == 0 || range.address().0 + range.bytes() <= 320);
        }
        prop_assert!(memory.load_u64(Gpa(address)).is_ok() == (address % 8 == 0 && expected(address, 8, Access::Read).is_ok()));
    }
}

#[test]
fn integers_are_little_endian_and_aligned() {
    let memory = memory();
    memory.store_u64(Gpa(8), 0x8877_6655_4433_2211).unwrap();
    memory.store_u16(Gpa(10), 0xAAAA).unwrap();
    memory.store_u32(Gpa(12), 0xBBBB_BBBB).unwrap();
    let mut bytes = [0; 8];
    memory.read(Gpa(8), &mut bytes).unwrap();
    assert_eq!(bytes, [0x11, 0x22, 0xAA, 0xAA, 0xBB, 0xBB, 0xBB, 0xBB]);
    assert_eq!(memory.load_u16(Gpa(8)), Ok(0x2211));
    assert_eq!(memory.load_u32(Gpa(8)), Ok(0xAAAA_2211));
    let fault = |address, kind| {
        Err(Fault {
            address: Gpa(address),
            kind,
        })
    };
    assert_eq!(memory.load_u16(Gpa(9)).map(u64::from), fault(9, FaultKind::Unaligned));
    assert_eq!(
        memory.store_u64(Gpa(12), 0).map(|()| 0),
        fault(12, FaultKind::Unaligned)
    );
    assert_eq!(
        memory.store_u16(Gpa(256), 1).map(|()| 0),
        fault(256, FaultKind::ReadOnly)
    );
    assert_eq!(memory.load_u64(Gpa(128)), fault(128, FaultKind::Outside));
}

#[test]
fn what_is_no_memory_map_is_refused() {
    let refused = |mappings| GuestMemory::new(mappings).unwrap_err();
    assert_eq!(
        refused(vec![Mapping::own(Gpa(0), 64), Mapping::own(Gpa(56), 8)]),
        LayoutError::Overlap(Gpa(56))
    );
    assert_eq!(refused(vec![Mapping::own(Gpa(0), 0)]), LayoutError::BadRange(Gpa(0)));
    assert_eq!(refused(vec![Mapping::own(Gpa(4), 8)]), LayoutError::BadRange(Gpa(4)));
    assert_eq!(
        refused(vec![Mapping::own(Gpa(u64::MAX - 7), 16)]),
        LayoutError::BadRange(Gpa(u64::MAX - 7))
    );
    let many = (0..65).map(|index| Mapping::own(Gpa(index * 8), 8)).collect();
    assert_eq!(refused(many), LayoutError::TooMany);
}

#[test]
fn parts_of_a_range_stay_inside() {
    let range = memory().range(Gpa(16), 32, Access::Write).unwrap();
    assert_eq!(
        range.part(8, 24).map(|part| (part.address(), part.bytes())),
        Some((Gpa(24), 24))
    );
    assert!(range.part(8, 25).is_none() && range.part(u64::MAX, 1).is_none());
}
