//! The loader on kernels made for the test: what lands where, and each thing that a file can have wrong.

use ecusson_vmm::layout::{Layout, MEMORY_ABOVE_4G};
use ecusson_vmm::loader::{Boot, LoadError, Mode, load};
use proptest::prelude::*;

use crate::support::Memory;

const MIB: usize = 1 << 20;
const RSDP: u64 = 0xe_0000;

fn layout(bytes: usize) -> Layout {
    Layout::new(bytes as u64).expect("enough memory")
}

fn boot<'a>(kernel: &'a [u8], initrd: Option<&'a [u8]>) -> Boot<'a> {
    Boot {
        kernel,
        initrd,
        command_line: "console=ttyS0",
        rsdp: RSDP,
        layout: layout(32 * MIB),
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// One setup sector behind the boot sector, then 4 KiB of code.
fn bzimage() -> Vec<u8> {
    let mut file = vec![0; 2 * 512];
    file[0x1f1] = 1;
    put(&mut file, 0x1fe, &0xaa55_u16.to_le_bytes());
    file[0x201] = 0x6a;
    put(&mut file, 0x202, b"HdrS");
    put(&mut file, 0x206, &0x020f_u16.to_le_bytes());
    file[0x211] = 1;
    put(&mut file, 0x22c, &0x7fff_ffff_u32.to_le_bytes());
    put(&mut file, 0x230, &(2 * MIB as u32).to_le_bytes());
    file[0x234] = 1;
    put(&mut file, 0x236, &3_u16.to_le_bytes());
    put(&mut file, 0x238, &2047_u32.to_le_bytes());
    put(&mut file, 0x258, &(16 * MIB as u64).to_le_bytes());
    put(&mut file, 0x260, &(4 * MIB as u32).to_le_bytes());
    file.extend((0..4096).map(|byte| byte as u8));
    file
}

/// A kernel of one segment at 1 MiB, 4 KiB in the file and 8 KiB in memory, with a PVH note for 0x100040.
fn elf() -> Vec<u8> {
    let mut file = vec![0; 0x200];
    put(&mut file, 0, b"\x7fELF\x02\x01\x01");
    put(&mut file, 16, &2_u16.to_le_bytes());
    put(&mut file, 18, &62_u16.to_le_bytes());
    put(&mut file, 20, &1_u32.to_le_bytes());
    put(&mut file, 32, &64_u64.to_le_bytes());
    put(&mut file, 52, &64_u16.to_le_bytes());
    put(&mut file, 54, &56_u16.to_le_bytes());
    put(&mut file, 56, &2_u16.to_le_bytes());
    let mut header = |at: usize, kind: u32, offset: u64, address: u64, in_file: u64, in_memory: u64| {
        put(&mut file, at, &kind.to_le_bytes());
        for (field, value) in [(8, offset), (24, address), (32, in_file), (40, in_memory), (48, 4)] {
            put(&mut file, at + field, &value.to_le_bytes());
        }
    };
    header(64, 1, 0x200, MIB as u64, 0x1000, 0x2000);
    header(120, 4, 0x100, 0, 20, 20);
    put(&mut file, 0x100, &4_u32.to_le_bytes());
    put(&mut file, 0x104, &4_u32.to_le_bytes());
    put(&mut file, 0x108, &18_u32.to_le_bytes());
    put(&mut file, 0x10c, b"Xen\0");
    put(&mut file, 0x110, &0x10_0040_u32.to_le_bytes());
    file.extend(vec![0xcc; 0x1000]);
    file
}

#[test]
fn a_bzimage_starts_in_long_mode_with_its_zero_page() {
    let memory = Memory::new(32 * MIB);
    let state = load(&memory, &boot(&bzimage(), Some(b"initrd"))).expect("loads");
    assert_eq!(state.mode, Mode::Long);
    assert_eq!(state.rip, 16 * MIB as u64 + 0x200);
    assert_eq!((state.cs.selector, state.data.selector), (0x10, 0x18));
    assert_eq!(memory.bytes(16 * MIB as u64, 4096), bzimage()[1024..]);
    let page = state.rsi;
    assert_eq!(memory.bytes(page + 0x202, 4), b"HdrS");
    assert_eq!(memory.bytes(page + 0x210, 1), [0xff]);
    assert_eq!(memory.u64(page + 0x70), RSDP);
    assert_eq!(memory.bytes(memory.u32(page + 0x228).into(), 14), b"console=ttyS0\0");
    let initrd = memory.u32(page + 0x218);
    assert_eq!(memory.u32(page + 0x21c), 6);
    assert_eq!(memory.bytes(initrd.into(), 6), b"initrd");
    assert_eq!(initrd as usize, 32 * MIB - 4096, "as high as memory allows");
    // The map: the last line ends where memory ends or is reserved; nothing overlaps.
    let mut end = 0;
    let mut usable = 0;
    for line in 0..u64::from(memory.bytes(page + 0x1e8, 1)[0]) {
        let at = page + 0x2d0 + 20 * line;
        assert!(memory.u64(at) >= end);
        end = memory.u64(at) + memory.u64(at + 8);
        usable += if memory.u32(at + 16) == 1 {
            memory.u64(at + 8)
        } else {
            0
        };
    }
    assert_eq!(usable as usize, 31 * MIB + 0x9_fc00);
}

#[test]
fn page_tables_map_four_gib_one_to_one() {
    let memory = Memory::new(32 * MIB);
    let state = load(&memory, &boot(&bzimage(), None)).expect("loads");
    assert_eq!(state.cr0 & 0x8000_0001, 0x8000_0001);
    assert_eq!((state.cr4, state.efer), (0x20, 0x500));
    for address in [0_u64, 0x20_0000, 0xfee0_0000, 0xffff_ffff] {
        let level_3 = memory.u64(state.cr3) & !0xfff;
        let level_2 = memory.u64(level_3 + 8 * (address >> 30)) & !0xfff;
        let entry = memory.u64(level_2 + 8 * (address >> 21 & 511));
        assert_eq!(entry, (address & !0x1f_ffff) | 0x83);
    }
    // Flat segments with the attributes that the state says.
    assert_eq!(memory.u64(state.gdt.base + 0x10), 0x00af_9b00_0000_ffff);
    assert_eq!(memory.u64(state.gdt.base + 0x18), 0x00cf_9300_0000_ffff);
}

#[test]
fn an_elf_kernel_starts_by_its_pvh_note() {
    let memory = Memory::new(32 * MIB);
    for page in 0..8 {
        use ecusson_vmm::memory::GuestMemory;
        memory.write(MIB as u64 + page * 4096, &[0xee; 4096]).expect("memory");
    }
    let state = load(&memory, &boot(&elf(), Some(b"initrd"))).expect("loads");
    assert_eq!((state.mode, state.rip), (Mode::Protected, 0x10_0040));
    assert_eq!(state.cr0, 0x11);
    assert_eq!(memory.bytes(MIB as u64, 0x1000), vec![0xcc; 0x1000]);
    assert_eq!(memory.bytes(MIB as u64 + 0x1000, 0x1000), vec![0; 0x1000], "cleared");
    let info = state.rbx;
    assert_eq!((memory.u32(info), memory.u32(info + 4)), (0x336e_c578, 1));
    assert_eq!(memory.u32(info + 12), 1, "modules");
    let module = memory.u64(info + 16);
    assert_eq!(memory.bytes(memory.u64(module), 6), b"initrd");
    assert_eq!(memory.u64(module + 8), 6);
    assert_eq!(memory.bytes(memory.u64(info + 24), 14), b"console=ttyS0\0");
    assert_eq!(memory.u64(info + 32), RSDP);
    assert_eq!(memory.u64(memory.u64(info + 40) + 8), 0x9_fc00);
}

#[test]
fn what_is_wrong_with_a_kernel_is_named() {
    let memory = Memory::new(32 * MIB);
    let try_with = |at: usize, bytes: &[u8]| {
        let mut file = bzimage();
        put(&mut file, at, bytes);
        load(&memory, &boot(&file, None)).expect_err("refused").to_string()
    };
    assert!(try_with(0x202, b"Hdrs").contains("neither"));
    assert!(try_with(0x206, &[0x0b, 2]).contains("protocol 2.11"));
    assert!(try_with(0x211, &[0]).contains("zImage"));
    assert!(try_with(0x236, &[0, 0]).contains("XLF_KERNEL_64"));
    assert!(try_with(0x230, &[3, 0, 1]).contains("kernel_alignment"));
    assert!(try_with(0x258, &[0xff; 8]).contains("pref_address"));
    assert!(try_with(0x263, &[0x10]).contains("ends at 0x2000000"));
    assert!(try_with(0x1f1, &[64]).contains("protected-mode code"));
    let mut file = elf();
    file[0x10c] = b'Y';
    assert_eq!(load(&memory, &boot(&file, None)), Err(LoadError::NoPvhNote));
    file = elf();
    file[18] = 3;
    assert!(matches!(
        load(&memory, &boot(&file, None)),
        Err(LoadError::BadElf { what: "machine" })
    ));
    let file = elf();
    let error = load(&memory, &boot(&file[..0x300], None)).expect_err("refused");
    assert_eq!(error.to_string(), "kernel: the file ends before its segments");
}

#[test]
fn what_does_not_fit_is_refused() {
    let memory = Memory::new(32 * MIB);
    let initrd = vec![0; 13 * MIB];
    let error = load(&memory, &boot(&bzimage(), Some(&initrd))).expect_err("refused");
    assert!(matches!(error, LoadError::InitrdDoesNotFit { kernel_end, .. } if kernel_end as usize == 20 * MIB));
    let long = "x".repeat(2048);
    for kernel in [bzimage(), elf()] {
        let boot = Boot {
            command_line: &long,
            ..boot(&kernel, None)
        };
        let error = load(&memory, &boot).expect_err("refused");
        assert!(matches!(
            error,
            LoadError::CommandLineTooLong {
                bytes: 2048,
                limit: 2047
            }
        ));
    }
}

#[test]
fn memory_beyond_three_gib_goes_on_at_four() {
    let layout = layout(5 << 30);
    assert_eq!(layout.below_4g().bytes, 3 << 30);
    let above = layout.above_4g().expect("memory above");
    assert_eq!((above.start, above.bytes), (MEMORY_ABOVE_4G, 2 << 30));
    assert!(layout.pci_window_64().start >= above.end());
    assert_eq!(Layout::new(1 << 20), None);
    assert_eq!(Layout::new(3 << 30).and_then(Layout::above_4g), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Damaged files are loaded or refused, and never stop anything.
    #[test]
    fn damaged_kernels_stop_nothing(
        is_elf in any::<bool>(),
        damage in prop::collection::vec((0_usize..0x400, any::<u8>()), 1..8),
        length in 0_usize..0x1400,
    ) {
        let mut file = if is_elf { elf() } else { bzimage() };
        for (at, byte) in damage {
            file[at] = byte;
        }
        let memory = Memory::new(32 * MIB);
        let _ = load(&memory, &boot(&file, Some(b"initrd")));
        let _ = load(&memory, &boot(&file[..length.min(file.len())], None));
    }
}
