//! A guest of a few instructions: 32 KiB of memory from address 0, one vCPU, which begins in real mode at [`CODE`].

use ecusson_abi::vcpu::{State, exit, group};
use ecusson_abi::{Kind, Rights, ops, root_slots};
use ecusson_rt::Cap;
use ecusson_rt::cap::kind::{Memory, Region, Space, Vcpu};
use ecusson_rt::cap::{Left, StatePage, run};
use ecusson_rt::window::{Access, Window};
use ecusson_test_kit::{Kit, PAGE};

/// Where code is put, and where execution begins.
pub(crate) const CODE: u64 = 0x1000;
/// Pages of memory.
pub(crate) const PAGES: u64 = 8;
/// Virtual pages of this program where guests' memory and state pages are seen, one pair a guest.
const WINDOWS: u64 = 0x40_0000;
/// Access to memory, for guests and for this program.
const ALL: Rights = Rights(7);

/// The guest and its objects.
pub(crate) struct Guest {
    /// Its memory.
    pub(crate) memory: Cap<Region>,
    /// The same memory in this program.
    pub(crate) window: Window,
    /// Region of the state page.
    pub(crate) page: Cap<Region>,
    /// State page.
    pub(crate) state: StatePage,
    /// Its space.
    pub(crate) space: Cap<Space>,
    /// Its processor.
    pub(crate) vcpu: Cap<Vcpu>,
}

impl Guest {
    /// Makes a guest that will run `code`; `number` keeps guests apart that exist at the same time.
    pub(crate) fn new(kit: &Kit, number: u64, code: &[u8]) -> Self {
        let memory = Cap::<Memory>::at(kit.memory());
        // Tables of this program come from the Memory that it was made from.
        let _ = Cap::<Space>::at(root_slots::SPACE).fund(&Cap::at(root_slots::MEMORY), 4);
        let space = Cap::<Space>::at(kit.create(Kind::Space, [ops::space::GUEST, 0, 0]));
        kit.must(space.slot(), [ops::space::FUND, kit.memory(), 8, 0, 0, 0]);
        let whole = Cap::<Region>::at(kit.create(Kind::Region, [PAGES, 0, 0]));
        must(whole.scrub());
        let of_guest = must(whole.slice(0, PAGES, ALL, &memory, kit.slot()));
        must(of_guest.attach(&space, 0, ALL));
        let root = Cap::at(root_slots::SPACE);
        let mut window = must(Window::open(&whole, &root, WINDOWS + number * 32, Access::ReadWrite));
        assert!(window.write(CODE, code).is_ok(), "the code fits");
        let page = Cap::<Region>::at(kit.create(Kind::Region, [1, 0, 0]));
        must(page.scrub());
        let vcpu = must(memory.create_vcpu(&space, &page, kit.slot()));
        let state = must(StatePage::open(&page, &root, WINDOWS + number * 32 + 16));
        real_mode(&state);
        Self {
            memory: of_guest,
            window,
            page,
            state,
            space,
            vcpu,
        }
    }

    /// Has this thread run it.
    pub(crate) fn adopt(&self) {
        must(self.vcpu.bind(&Cap::at(root_slots::THREAD)));
    }

    /// Runs it until something other than `reason` happens; what is expected is counted.
    pub(crate) fn expect(&self, kit: &Kit, reason: u64, what: &str) {
        let left = run(deadline(kit), 0);
        if left != Ok(Left::Exit(reason)) {
            ecusson_test_kit::print(format_args!(
                "{what}: {left:?}, reason {} {:x?} {:#x} rip {:#x}",
                self.state.reason.get(),
                self.state.qualification[0],
                self.state.qualification[1].get(),
                self.state.rip.get()
            ));
        }
        kit.expect(left == Ok(Left::Exit(reason)), what);
    }

    /// Goes on so many bytes behind the instruction that caused an exit.
    pub(crate) fn skip(&self, bytes: u64) {
        self.state.rip.set(self.state.rip.get() + bytes);
        self.state.load.set(group::GENERAL);
    }

    /// Runs it until it writes to port 0x80; the rest of the program depends on it.
    pub(crate) fn until_port(&self, kit: &Kit, what: &str) -> u64 {
        self.expect(kit, exit::IO, what);
        let port = self.state.qualification[0].get() >> 16;
        kit.expect_equal(port, 0x80, what);
        self.state.rip.set(self.state.next_rip.get());
        self.state.load.set(group::GENERAL);
        self.state.general[0].get() & 0xFF
    }
}

/// A second from now.
pub(crate) fn deadline(kit: &Kit) -> u64 {
    ecusson_rt::sys::now() + kit.microseconds(1_000_000)
}

/// The result of what must succeed.
pub(crate) fn must<T>(result: Result<T, ecusson_rt::Failure>) -> T {
    match result {
        Ok(value) => value,
        Err(failure) => panic!("{failure}"),
    }
}

/// The state after reset, but for where execution begins.
fn real_mode(state: &State) {
    const CODE_SEGMENT: u64 = 0x9B << 16 | 0xFFFF << 32;
    const DATA_SEGMENT: u64 = 0x93 << 16 | 0xFFFF << 32;
    const TABLE: u64 = 0xFFFF << 32;
    let kinds = [
        DATA_SEGMENT,
        CODE_SEGMENT,
        DATA_SEGMENT,
        DATA_SEGMENT,
        DATA_SEGMENT,
        DATA_SEGMENT,
        TABLE,
        TABLE | 0x82 << 16,
        TABLE,
        TABLE | 0x8B << 16,
    ];
    for (segment, kind) in state.segments.iter().zip(kinds) {
        segment[0].set(kind);
    }
    state.cr0.set(0x10);
    state.dr6.set(0xFFFF_0FF0);
    state.dr7.set(0x400);
    state.xcr0.set(1);
    state.pat.set(0x0007_0406_0007_0406);
    state.rflags.set(2);
    state.rip.set(CODE);
    state.general[4].set(0x7F00);
    state.save.set(group::ALL);
}

/// Puts a real-mode guest into long mode: page tables at 0x2000, identity for the first 2 MiB.
pub(crate) fn long_mode(guest: &mut Guest) {
    for (address, entry) in [(0x2000_u64, 0x3003_u64), (0x3000, 0x4003), (0x4000, 0x83)] {
        assert!(guest.window.write(address, &entry.to_le_bytes()).is_ok(), "in memory");
    }
    let state = &guest.state;
    state.cr0.set(0x8000_0011);
    state.cr3.set(0x2000);
    state.cr4.set(0x620);
    state.efer.set(0x500);
    state.segments[1][0].set(0xA9B << 16 | 0xFFFF_FFFF << 32);
}

/// Bytes of guest memory, as a number.
pub(crate) fn word(guest: &Guest, address: u64) -> u64 {
    let mut bytes = [0; 8];
    assert!(guest.window.read(address, &mut bytes).is_ok(), "in memory");
    u64::from_le_bytes(bytes)
}

/// Size of guest memory.
pub(crate) const MEMORY_BYTES: u64 = PAGES * PAGE;
