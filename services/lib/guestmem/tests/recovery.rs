//! A mapping that goes away is an error: each kind of access, with pages of the host taken away and the host's signal
//! handler in the place of the fault handler.

use std::sync::Once;

use ecusson_guestmem::{Access, Fault, FaultKind, Gpa, GuestMemory, Mapping, recovery};

const PAGE: usize = 4096;

/// What a handler of faults does on the machine: an instruction pointer between the labels goes on at `resume`.
extern "C" fn on_fault(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let labels = recovery();
    // SAFETY: the host passes a context of this type to handlers with SA_SIGINFO.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let instruction = &mut registers[libc::REG_RIP as usize];
    if (labels.first..labels.end).contains(&(*instruction as u64)) {
        *instruction = labels.resume as i64;
    } else {
        // SAFETY: ends this process; not one of the accesses under test.
        unsafe { libc::_exit(99) };
    }
}

fn handle_faults() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: a zeroed sigaction is valid; the handler is async-signal-safe: it only changes the context.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()), 0);
        }
    });
}

/// Two pages of guest memory, of which the second is not there.
fn half_gone() -> GuestMemory {
    handle_faults();
    // SAFETY: a fresh anonymous mapping that nothing else refers to; its second page is made inaccessible, never reused.
    let mapping = unsafe {
        let address = libc::mmap(
            std::ptr::null_mut(),
            2 * PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(address, libc::MAP_FAILED);
        assert_eq!(libc::mprotect(address.byte_add(PAGE), PAGE, libc::PROT_NONE), 0);
        Mapping::at(Gpa(0), address.expose_provenance(), 2 * PAGE, Access::Write)
    };
    GuestMemory::new(vec![mapping]).unwrap()
}

const SECOND: Gpa = Gpa(PAGE as u64);

fn gone<T>(address: Gpa) -> Result<T, Fault> {
    Err(Fault {
        address,
        kind: FaultKind::Gone,
    })
}

#[test]
fn every_access_to_what_went_away_is_an_error() {
    let memory = half_gone();
    assert_eq!(memory.load_u16(SECOND), gone(SECOND));
    assert_eq!(memory.load_u32(SECOND), gone(SECOND));
    assert_eq!(memory.load_u64(SECOND), gone(SECOND));
    assert_eq!(memory.store_u16(SECOND, 1), gone(SECOND));
    assert_eq!(memory.store_u32(SECOND, 1), gone(SECOND));
    assert_eq!(memory.store_u64(SECOND, 1), gone(SECOND));
    assert_eq!(memory.compare_exchange_u64(SECOND, 0, 1), gone(SECOND));
    assert_eq!(memory.fill(SECOND, 100, 1), gone(SECOND));
    assert_eq!(memory.read(SECOND, &mut [0; 3]), gone(SECOND));
    assert_eq!(memory.write(SECOND, &[0; 3]), gone(SECOND));
    assert_eq!(memory.copy(SECOND, &memory, Gpa(0), 64), gone(SECOND));
    assert_eq!(memory.copy(Gpa(0), &memory, SECOND, 64), gone(Gpa(0)));
}

#[test]
fn a_copy_that_ends_early_leaves_the_rest_of_the_program_whole() {
    let memory = half_gone();
    let across = Gpa(PAGE as u64 - 20);
    assert_eq!(memory.write(across, &[7; 40]), gone(across));
    // What was there got the bytes, in words; nothing else changed, and the memory that is left goes on.
    let mut bytes = [0; 24];
    memory.read(Gpa(PAGE as u64 - 24), &mut bytes).unwrap();
    assert_eq!(bytes[..4], [0; 4]);
    assert_eq!(bytes[4..20], [7; 16]);
    assert_eq!(memory.load_u64(Gpa(0)), Ok(0));
}
