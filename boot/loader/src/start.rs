//! The loader's course of action.
//!
//! [`loader_main`] is called by `entry.rs`; it ends in the kernel's entry point or in a halt with one line.

use core::panic::PanicInfo;

use ecusson_abi::boot::{BootInfo, CPU_ENABLED, DIRECT_MAP_BASE, PAGE_BYTES, PhysRange, StackKind, stack_top};
use ecusson_loader::check::check;
use ecusson_loader::firmware::{Firmware, RSDP_BYTES};
use ecusson_loader::paging::{Spaces, Tables, build};
use ecusson_loader::physical::Physical;
use ecusson_loader::place::{Plan, Request, fill, plan, span};
use ecusson_loader::report::{Fault, Report};
use ecusson_loader::{acpi, command_line, empty, memory_map, multiboot2, pvh, wall_clock};
use ecusson_payload::{PAYLOAD_HEADER_BYTES, PAYLOAD_LOCATION_MAGIC, PayloadHeader, PayloadLocation};

use crate::machine::{Cpu, Identity, LEAVE, halt, leave, loader_range, read_cmos, set_control_registers, zero};
use crate::serial::Serial;

/// Where the payload lies; `boot/image` patches the file, and `entry.rs` corrects it when a boot loader loaded us
/// elsewhere.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".payload_location")]
static PAYLOAD_LOCATION: PayloadLocation = PayloadLocation {
    magic: PAYLOAD_LOCATION_MAGIC,
    phys: 0,
    bytes: 0,
};

/// The RSDP's copy follows the structure, the command line has the next page.
const RSDP_OFFSET: u64 = size_of::<BootInfo>() as u64;
const COMMAND_LINE_OFFSET: u64 = (RSDP_OFFSET + RSDP_BYTES as u64).next_multiple_of(PAGE_BYTES);
const BOOT_INFO_BYTES: u64 = COMMAND_LINE_OFFSET + PAGE_BYTES;

const NO_PAYLOAD: Fault = Fault::new("the image holds no payload", "build it with ./x image");
const BAD_PROTOCOL: Fault = Fault::new(
    "started by neither multiboot2 nor PVH",
    "use GRUB 2 with `multiboot2`, or qemu -kernel",
);
const NOT_LISTED: Fault = Fault::new(
    "the ACPI tables don't list the running processor",
    "update the firmware",
);
const UNREACHABLE: Fault = Fault::new(
    "a place chosen below 4 GiB can't be written",
    "report this machine's memory map",
);

/// Entered from `entry.rs` in long mode with the lowest 4 GiB mapped at their physical addresses.
#[unsafe(no_mangle)]
extern "C" fn loader_main(magic: u32, address: u32) -> ! {
    let mut serial = Serial::new();
    let Err(fault) = boot(magic, u64::from(address), &mut serial);
    serial.line(format_args!("{fault}"));
    halt()
}

/// Reads, plans, builds, checks, leaves.
fn boot(magic: u32, address: u64, serial: &mut Serial) -> Result<core::convert::Infallible, Fault> {
    let cpu = Cpu::detect()?;
    // SAFETY: the features were seen; the entry code's tables have neither global nor no-execute entries.
    unsafe { set_control_registers() };
    // SAFETY: this is the loader, once, on the entry code's identity mapping.
    let mut memory = unsafe { Identity::new() };

    let mut firmware = Firmware::empty();
    match magic {
        multiboot2::MAGIC => multiboot2::parse(&memory, address, &mut firmware, serial)?,
        pvh::MAGIC => pvh::parse(&memory, address, &mut firmware, serial)?,
        _ => return Err(BAD_PROTOCOL),
    }
    let mut info = empty::boot_info();
    let rsdp = acpi::read(&memory, &firmware, &mut info, serial)?;
    info.bsp_index = bsp_index(&info, cpu.apic_id).ok_or(NOT_LISTED)?;
    info.framebuffer = firmware.framebuffer;
    info.flags = command_line::flags(firmware.command_line(), serial);
    memory_map::reserved(firmware.regions(), &mut info.reserved, &mut info.reserved_count, serial);
    let mut ram = memory_map::ram(firmware.regions(), serial);
    memory_map::remove_devices(&mut ram, &info);

    // Nothing of the boot protocol is needed from here on: its memory may be overwritten.
    let payload = payload_range()?;
    let header = read_header(&memory, payload)?;
    let cores = info.cpus().iter().filter(|cpu| cpu.flags == CPU_ENABLED).count() as u32;
    let request = Request {
        ram: &ram,
        loader: loader_range(),
        payload,
        header: &header,
        cores,
        boot_info_bytes: BOOT_INFO_BYTES,
        pages: cpu.pages,
    };
    let plan = plan(&request)?;
    place_programs(&mut memory, &plan, &header, payload.base).ok_or(UNREACHABLE)?;
    let mut tables = Tables::new(&mut memory, plan.page_tables, cpu.pages);
    let spaces = build(&mut tables, &plan, ram.as_slice(), &header.kernel, &info, cores)?;
    // SAFETY: the plan gave the frame table memory of its own in RAM; NXE was set above.
    unsafe { zero(&spaces, plan.frame_table) };

    fill(&mut info, &request, &plan, spaces.tables_end)?;
    info.kernel_cr3 = spaces.kernel_cr3;
    info.ap_cr3 = spaces.ap_cr3;
    info.wall_clock_ns = wall_clock::nanoseconds(&info.fadt, read_cmos);
    write_boot_info(&mut memory, &mut info, &firmware, &rsdp).ok_or(UNREACHABLE)?;
    check(&info).map_err(|error| Fault::new(error.message(), "report this machine's memory map"))?;
    enter_kernel(&mut memory, &info, &spaces, header.kernel.entry)
}

/// The running processor among those listed.
fn bsp_index(info: &BootInfo, apic_id: u32) -> Option<u32> {
    let found = info
        .cpus()
        .iter()
        .position(|cpu| cpu.apic_id == apic_id && cpu.flags == CPU_ENABLED)?;
    Some(found as u32)
}

/// Where the payload was loaded.
fn payload_range() -> Result<PhysRange, Fault> {
    // SAFETY: a valid static; volatile, because it is another one in the file than at compile time, and the entry
    // code adds to `phys` how far from its link address the payload was loaded.
    let location = unsafe { (&raw const PAYLOAD_LOCATION).read_volatile() };
    if location.magic != PAYLOAD_LOCATION_MAGIC || location.bytes == 0 {
        return Err(NO_PAYLOAD);
    }
    Ok(PhysRange {
        base: location.phys,
        bytes: location.bytes,
    })
}

/// The payload's header, checked.
fn read_header(memory: &Identity, payload: PhysRange) -> Result<PayloadHeader, Fault> {
    let bytes = memory
        .read(payload.base, PAYLOAD_HEADER_BYTES as u64)
        .ok_or(NO_PAYLOAD)?;
    let header = PayloadHeader::from_bytes(bytes);
    header
        .check(payload.bytes)
        .map_err(|error| Fault::new(error.message(), "build the image again with ./x image"))?;
    Ok(header)
}

/// Copies kernel and root to their frames; everything that is not in the payload becomes zero.
fn place_programs(memory: &mut Identity, plan: &Plan, header: &PayloadHeader, payload: u64) -> Option<()> {
    memory.write(plan.kernel.base, plan.kernel.bytes)?.fill(0);
    let first = span(&header.kernel).base;
    for segment in header.kernel.used() {
        let target = plan.kernel.base + (segment.vaddr - first);
        memory.copy(payload + segment.file_offset, target, segment.file_bytes)?;
    }
    for (segment, placed) in header.root.used().iter().zip(&plan.root) {
        let rest = segment.memory_bytes - segment.file_bytes;
        memory.copy(payload + segment.file_offset, placed.phys, segment.file_bytes)?;
        memory.write(placed.phys + segment.file_bytes, rest)?.fill(0);
    }
    Some(())
}

/// Writes `info`, the RSDP's copy and the command line to their pages.
fn write_boot_info(
    memory: &mut Identity,
    info: &mut BootInfo,
    firmware: &Firmware,
    rsdp: &[u8; RSDP_BYTES],
) -> Option<()> {
    let base = info.boot_info_phys.base;
    let text = firmware.command_line();
    info.rsdp_phys = base + RSDP_OFFSET;
    info.command_line = PhysRange {
        base: base + COMMAND_LINE_OFFSET,
        bytes: text.len() as u64,
    };
    memory.write(base, BOOT_INFO_BYTES)?.fill(0);
    memory.write(info.rsdp_phys, RSDP_BYTES as u64)?.copy_from_slice(rsdp);
    memory
        .write(info.command_line.base, info.command_line.bytes)?
        .copy_from_slice(text);
    // SAFETY: a plain structure of integers without padding (its size is pinned as the sum of its fields).
    let bytes = unsafe { core::slice::from_raw_parts((&raw const *info).cast::<u8>(), size_of::<BootInfo>()) };
    memory.write(base, bytes.len() as u64)?.copy_from_slice(bytes);
    Some(())
}

/// Puts the last instructions into the trampoline page and goes.
fn enter_kernel(
    memory: &mut Identity,
    info: &BootInfo,
    spaces: &Spaces,
    entry: u64,
) -> Result<core::convert::Infallible, Fault> {
    let page = memory
        .write(info.trampoline_phys, LEAVE.len() as u64)
        .ok_or(UNREACHABLE)?;
    page.copy_from_slice(&LEAVE);
    let stack = stack_top(info.bsp_index, StackKind::Main) - 8;
    let virt = DIRECT_MAP_BASE + info.boot_info_phys.base;
    // SAFETY: the page was just written and is in both spaces; `build` mapped the kernel's segments, of which the
    // checked header says that one holds the entry, and the stacks of every enabled core, of which the running one is
    // one.
    unsafe { leave(info.trampoline_phys, spaces.ap_cr3, stack, entry, virt) }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    Serial::new().line(format_args!(
        "internal fault, {}; report it with the machine's log",
        info.message()
    ));
    halt()
}
