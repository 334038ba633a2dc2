//! What a guest does and what its VMM hears of it, on one thread.

use ecusson_abi::vcpu::{event, exit, group, nmi, run};
use ecusson_abi::{Error, root_slots};
use ecusson_rt::Cap;
use ecusson_rt::cap::{Left, run as run_guest};
use ecusson_rt::sys;
use ecusson_test_kit::Kit;

use crate::guest::{CODE, Guest, MEMORY_BYTES, deadline, long_mode, must, word};

/// Each exit of a guest in real mode.
pub(crate) fn exits(kit: &Kit) {
    // mov al, 'A'; out 0xe9, al; in al, 0x10; cpuid; rdmsr; wrmsr; vmmcall; invd; mov [0x9000], al; xsetbv; jmp $
    let guest = Guest::new(
        kit,
        0,
        &[
            0xB0, b'A', 0xE6, 0xE9, 0xE4, 0x10, 0x0F, 0xA2, 0x0F, 0x32, 0x0F, 0x30, 0x0F, 0x01, 0xD9, 0x0F, 0x08, 0xA2,
            0x00, 0x90, 0xEB, 0xFE,
        ],
    );
    guest.adopt();
    let state = &guest.state;
    guest.expect(kit, exit::IO, "output to a port");
    kit.expect_equal(
        state.qualification[0].get() & 0xFFFF_007D,
        0x00E9_0010,
        "one byte to 0xe9",
    );
    kit.expect_equal(state.general[0].get() & 0xFF, u64::from(b'A'), "the byte");
    kit.expect_equal(state.rip.get(), CODE + 2, "the instruction was not executed");
    kit.expect_equal(state.next_rip.get(), CODE + 4, "the next one is known");
    guest.skip(2);
    guest.expect(kit, exit::IO, "input from a port");
    kit.expect_equal(state.qualification[0].get() & 1, 1, "input");
    guest.skip(2);
    for (reason, bytes, what) in [
        (exit::CPUID, 2, "cpuid"),
        (exit::MSR, 2, "rdmsr"),
        (exit::MSR, 2, "wrmsr"),
        (exit::HYPERCALL, 3, "vmmcall"),
        (exit::CACHES, 2, "invd"),
    ] {
        guest.expect(kit, reason, what);
        if reason == exit::MSR {
            kit.expect_equal(state.qualification[0].get(), u64::from(what == "wrmsr"), what);
        }
        guest.skip(bytes);
    }
    guest.expect(kit, exit::MEMORY, "memory that is not there");
    kit.expect_equal(state.qualification[1].get(), 0x9000, "its address");
    kit.expect(state.qualification[0].get() & 2 != 0, "a write");
    guest.skip(3);
    let begin = sys::now();
    let soon = begin + kit.microseconds(20_000);
    kit.expect(
        run_guest(soon, 0) == Ok(Left::Deadline) && sys::now() >= soon,
        "a deadline ends the turn of a guest that spins",
    );
    kit.expect_equal(state.rip.get(), CODE + 20, "where it spins");
    kit.expect(run_guest(begin, 0) == Ok(Left::Deadline), "a deadline that has passed");
    kit.expect(must(guest.vcpu.rights()).0 == 0xFF, "identify");
    refusals(kit, &guest);
    must(guest.vcpu.destroy());
    kit.expect(
        run_guest(deadline(kit), 0).is_err_and(|failure| failure.error == Error::BadState),
        "without a vCPU",
    );
}

fn refusals(kit: &Kit, guest: &Guest) {
    let failure = guest.vcpu.bind(&Cap::at(root_slots::THREAD));
    kit.expect(
        failure.is_err_and(|failure| failure.error == Error::Occupied && failure.argument == 0),
        "bound already",
    );
    let memory = Cap::at(kit.memory());
    let host = memory.create_vcpu(&Cap::at(root_slots::SPACE), &guest.page, kit.slot());
    kit.expect(
        host.is_err_and(|failure| failure.error == Error::BadType && failure.argument == 3),
        "not a guest space",
    );
    let fresh = must(memory.create_region(1, 0, kit.slot()));
    let unready = memory.create_vcpu(&guest.space, &fresh, kit.slot());
    kit.expect(
        unready.is_err_and(|failure| failure.error == Error::BadState && failure.argument == 4),
        "not scrubbed",
    );
}

/// States that the processor refuses, and what is made harmless.
pub(crate) fn states(kit: &Kit) {
    // mov cr8, rax; mov rax, [0x5000]; out 0x80, al
    let mut guest = Guest::new(
        kit,
        0,
        &[
            0x44, 0x0F, 0x22, 0xC0, 0x48, 0x8B, 0x04, 0x25, 0, 0x50, 0, 0, 0xE6, 0x80,
        ],
    );
    long_mode(&mut guest);
    guest.adopt();
    assert!(guest.window.write(0x5000, &[0x77]).is_ok(), "in memory");
    let state = &guest.state;
    state.cr4.set(1 << 63);
    guest.expect(kit, exit::ENTRY_FAILED, "a reserved bit");
    state.cr4.set(0x620);
    state.event.set(event::VALID | 0x700);
    state.efer.set(0x500 | 1 << 12);
    state.xcr0.set(u64::MAX);
    guest.expect(kit, exit::CR8, "long mode, and CR8");
    kit.expect_equal(state.efer.get(), 0x500, "the guest does not see SVM");
    kit.expect_equal(state.event.get(), 0, "an event that cannot be");
    kit.expect(
        state.xcr0.get() != u64::MAX && state.xcr0.get() & 1 == 1,
        "state components",
    );
    guest.skip(4);
    kit.expect_equal(guest.until_port(kit, "paging"), 0x77, "it reads its memory");
    must(guest.vcpu.destroy());
}

/// The end of a guest.
pub(crate) fn shutdown(kit: &Kit) {
    // lidt [0x2000] (limit 0); int3
    let guest = Guest::new(kit, 0, &[0x0F, 0x01, 0x1E, 0x00, 0x20, 0xCC]);
    guest.adopt();
    guest.expect(kit, exit::SHUTDOWN, "triple fault");
    must(guest.vcpu.destroy());
}

/// Interrupts: injected, held off, asked for.
pub(crate) fn injection(kit: &Kit) {
    // cli; out 0x80, al; sti; nop; nop; jmp $ / at 0x1100: inc byte [0x5000]; iret
    let mut guest = Guest::new(kit, 0, &[0xFA, 0xE6, 0x80, 0xFB, 0x90, 0x90, 0xEB, 0xFE]);
    let handler = [0xFE, 0x06, 0x00, 0x50, 0xE6, 0x80, 0xCF];
    for vector in [0x20_u64, 13, 2] {
        assert!(guest.window.write(vector * 4, &[0x00, 0x11, 0, 0]).is_ok(), "in memory");
    }
    assert!(guest.window.write(0x1100, &handler).is_ok(), "in memory");
    guest.adopt();
    let state = &guest.state;
    guest.until_port(kit, "interrupts off");
    kit.expect(state.rflags.get() & 0x200 == 0, "the guest's flags");
    let left = run_guest(deadline(kit), run::WINDOW);
    kit.expect(left == Ok(Left::Exit(exit::WINDOW)), "the window opens");
    kit.expect(
        state.rflags.get() & 0x200 != 0 && state.shadow.get() == 0,
        "when interrupts are on, behind the next instruction",
    );
    for (count, kind) in [
        (1, event::INTERRUPT | 0x20),
        (2, event::EXCEPTION | 13),
        (3, event::NMI | 2),
    ] {
        state.event.set(event::VALID | kind);
        guest.until_port(kit, "the handler runs");
        kit.expect_equal(word(&guest, 0x5000) & 0xFF, count, "once");
        kit.expect_equal(state.event.get(), 0, "the event is gone");
    }
    let soon = sys::now() + kit.microseconds(20_000);
    kit.expect(run_guest(soon, 0) == Ok(Left::Deadline), "it goes on where it was");
    kit.expect_equal(state.rip.get(), CODE + 6, "where it was");
    must(guest.vcpu.destroy());
}

/// Non-maskable interrupts: one that comes while another is handled waits for the end of the handler, and only one does.
pub(crate) fn nmis(kit: &Kit) {
    // out 0x80, al; jmp $ / at 0x1100: inc byte [0x5000]; out 0x80, al; inc byte [0x5001]; iret
    let mut guest = Guest::new(kit, 0, &[0xE6, 0x80, 0xEB, 0xFE]);
    let handler = [0xFE, 0x06, 0x00, 0x50, 0xE6, 0x80, 0xFE, 0x06, 0x01, 0x50, 0xCF];
    assert!(guest.window.write(2 * 4, &[0x00, 0x11, 0, 0]).is_ok(), "in memory");
    assert!(guest.window.write(0x1100, &handler).is_ok(), "in memory");
    guest.adopt();
    let state = &guest.state;
    let inject = |what| {
        state.event.set(event::VALID | event::NMI | 2);
        guest.until_port(kit, what);
    };
    guest.until_port(kit, "before");
    kit.expect_equal(state.nmi.get(), 0, "none is handled");
    let stack = state.general[4].get();
    inject("the first");
    kit.expect_equal(word(&guest, 0x5000) & 0xFFFF, 1, "in its handler");
    kit.expect_equal(state.nmi.get(), nmi::BLOCKED, "and no other is delivered");
    inject("the second");
    kit.expect_equal(word(&guest, 0x5000) & 0xFFFF, 0x0102, "when the first handler is done");
    kit.expect_equal(state.general[4].get(), stack - 6, "and has returned");
    kit.expect_equal(state.dr6.get() & 1 << 14, 0, "by no step that the guest sees");
    kit.expect_equal(word(&guest, stack - 6) >> 32 & 0x100, 0, "nor one that it keeps");
    state.event.set(event::VALID | event::NMI | 2);
    kit.expect(
        run_guest(sys::now(), run::FLUSH) == Ok(Left::Deadline),
        "the third, and no time for it",
    );
    inject("the third");
    kit.expect_equal(word(&guest, 0x5000) & 0xFFFF, 0x0203, "once");
    let soon = sys::now() + kit.microseconds(20_000);
    kit.expect(run_guest(soon, run::FLUSH) == Ok(Left::Deadline), "no more of them");
    kit.expect_equal(state.rip.get(), CODE + 2, "all handlers have returned");
    kit.expect_equal(word(&guest, 0x5000) & 0xFFFF, 0x0303, "three of three");
    kit.expect_equal(state.nmi.get() | state.rflags.get() & 0x100, 0, "nothing remains");
    state.nmi.set(nmi::BLOCKED | nmi::HELD);
    kit.expect(
        run_guest(sys::now() + kit.microseconds(1000), 0) == Ok(Left::Deadline)
            && state.nmi.get() == nmi::BLOCKED | nmi::HELD,
        "as its VMM says",
    );
    state.nmi.set(nmi::HELD);
    guest.until_port(kit, "one that was held back");
    must(guest.vcpu.destroy());
}

/// Halting: blocks until something happens.
pub(crate) fn halting(kit: &Kit) {
    // hlt; mov al, 1; out 0x80, al; hlt; jmp $
    let guest = Guest::new(kit, 0, &[0xF4, 0xB0, 1, 0xE6, 0x80, 0xF4, 0xEB, 0xFE]);
    guest.adopt();
    let state = &guest.state;
    let soon = sys::now() + kit.microseconds(20_000);
    kit.expect(
        run_guest(soon, 0) == Ok(Left::Deadline) && sys::now() >= soon,
        "a halted guest waits for the deadline",
    );
    kit.expect(state.halted.get() == 1 && state.rip.get() == CODE + 1, "and says so");
    kit.expect(
        run_guest(soon + 1, run::HALTED) == Ok(Left::Deadline),
        "halted as it was",
    );
    let _ = sys::signal(root_slots::NOTIFICATION, 0b101);
    kit.expect(
        run_guest(deadline(kit), run::HALTED) == Ok(Left::Signal(0b101)),
        "pending signals come first",
    );
    must(guest.vcpu.kick());
    kit.expect(
        run_guest(deadline(kit), run::HALTED) == Ok(Left::Exit(exit::KICK)),
        "so does a kick",
    );
    kit.expect_equal(guest.until_port(kit, "it goes on when told to"), 1, "behind the halt");
    let left = run_guest(deadline(kit), run::WINDOW);
    kit.expect(
        left == Ok(Left::Exit(exit::HALT)),
        "a halt while the VMM wants to inject",
    );
    must(guest.vcpu.destroy());
}

/// Doorbells: a port that signals and does not end the turn.
pub(crate) fn doorbells(kit: &Kit) {
    // mov dx, 0x510; out dx, ax; mov dx, 0x512; out dx, ax; in ax, dx; jmp $
    let code = [0xBA, 0x10, 5, 0xEF, 0xBA, 0x12, 5, 0xEF, 0xED, 0xEB, 0xFE];
    let guest = Guest::new(kit, 0, &code);
    guest.adopt();
    let notification = Cap::at(root_slots::NOTIFICATION);
    must(guest.space.intercept(0x510, &notification, 9));
    let other = Cap::at(kit.create(ecusson_abi::Kind::Notification, [0; 3]));
    must(guest.space.intercept(0x512, &other, 1));
    kit.expect(
        run_guest(deadline(kit), 0) == Ok(Left::Signal(1 << 9)),
        "the doorbell rings",
    );
    kit.expect_equal(guest.state.rip.get(), CODE + 4, "the write is done");
    guest.expect(kit, exit::IO, "input is not intercepted");
    kit.expect_equal(guest.state.rip.get(), CODE + 8, "nobody heard of the other doorbell");
    must(other.destroy());
    guest.state.rip.set(CODE + 4);
    guest.state.load.set(group::GENERAL);
    guest.expect(kit, exit::IO, "a doorbell whose notification ended");
    let bad = guest.space.intercept(1, &notification, 64);
    kit.expect(
        bad.is_err_and(|failure| failure.error == Error::BadArg && failure.argument == 3),
        "bit 64",
    );
    must(guest.vcpu.destroy());
}

/// Memory taken from a guest is out of its reach at once.
pub(crate) fn memory(kit: &Kit) {
    // mov al, [0x6000]; out 0x80, al; jmp to the beginning
    let mut guest = Guest::new(kit, 0, &[0xA0, 0x00, 0x60, 0xE6, 0x80, 0xEB, 0xF9]);
    guest.adopt();
    assert!(guest.window.write(0x6000, &[5]).is_ok(), "in memory");
    kit.expect_equal(guest.until_port(kit, "before"), 5, "it reads");
    must(guest.memory.detach());
    guest.expect(kit, exit::MEMORY, "not even its code is left");
    kit.expect(
        guest.state.qualification[1].get() < MEMORY_BYTES,
        "an address of its own",
    );
    must(guest.memory.attach(&guest.space, 0, ecusson_abi::Rights(7)));
    kit.expect_equal(guest.until_port(kit, "after"), 5, "it goes on");
    must(guest.space.destroy());
    kit.expect(
        run_guest(deadline(kit), 0).is_err_and(|failure| failure.error == Error::Dead),
        "without a space",
    );
    must(guest.vcpu.destroy());
}
