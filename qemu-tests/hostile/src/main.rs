//! A hostile process against the kernel: ten million system calls with random and adversarial arguments, from threads on
//! every core, in rounds. The process has authority over itself, over memory and over processor time, so that it can make,
//! share and destroy objects of most kinds, itself included; when a round ends nothing of it may be left. At the end the
//! kernel checks its own state.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use ecusson_abi::{Kind, NO_DEADLINE, Rights, Syscall, Transfer, ops, root_slots};
use ecusson_rt::sys;
use ecusson_test_kit::{Kit, Process, Share, Worker, print};

ecusson_rt::root_entry!(main, stack: 32768);

/// System calls in all.
const CALLS: u64 = 10_000_000;
/// System calls of one round at most: then everything is taken back and begun anew.
const ROUND: u64 = 200_000;
/// `VcpuRun` without a vCPU, and numbers of system calls that do not exist.
const UNKNOWN: [u64; 3] = [Syscall::VcpuRun as u64, 8, u64::MAX];
/// Threads on each core.
const THREADS: u64 = 2;
/// Slots of the hostile table that arguments mostly name.
const SLOTS: u64 = 96;

/// Calls made so far.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A stream of numbers (xorshift, 64 bits).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A plausible or an extreme argument.
    fn argument(&mut self) -> u64 {
        const EXTREMES: [u64; 8] = [
            0,
            u64::MAX,
            1 << 63,
            0xFFFF_8000_0000_0000,
            0x7FFF_FFFF_FFFF,
            4096,
            1 << 32,
            0x1_0000_0900,
        ];
        match self.below(16) {
            0 => self.next(),
            1 => EXTREMES[self.below(8) as usize],
            2 | 3 => self.below(4096),
            4..=8 => self.below(16),
            _ => self.below(SLOTS),
        }
    }

    fn transfer(&mut self) -> Transfer {
        Transfer(if self.below(4) == 0 {
            self.next() & 0x0000_007F_00FF_007F
        } else {
            0
        })
    }

    fn deadline(&mut self) -> u64 {
        if self.below(64) == 0 {
            NO_DEADLINE
        } else {
            sys::now().wrapping_add(self.below(40_000))
        }
    }
}

/// One random system call.
fn attack(random: &mut Random) {
    let words = [
        random.below(9),
        random.argument(),
        random.argument(),
        random.argument(),
        random.argument(),
        0,
    ];
    let mut words = words;
    words[5] = random.argument();
    match random.below(32) {
        0 => words[0] = ops::DESTROY,
        1 => words[0] = random.next(),
        2 => words[0] = ops::IDENTIFY,
        _ => {}
    }
    let slot = random.argument();
    match random.below(16) {
        0 => drop(sys::call(slot, words)),
        1 => drop(sys::call_transfer(slot, random.transfer(), words)),
        2 => drop(sys::reply_wait(random.deadline(), words)),
        3 => drop(sys::reply_wait_transfer(random.deadline(), random.transfer(), words)),
        4 => drop(sys::signal(slot, random.next())),
        5 => drop(sys::wait(random.deadline())),
        6 => sys::yield_now(),
        7 => drop(sys::raw(UNKNOWN[random.below(3) as usize], slot, random.next(), words)),
        _ => drop(sys::invoke(slot, words)),
    }
}

fn drop<T>(_: T) {}

extern "C" fn hostile(seed: u64) -> ! {
    let mut random = Random(seed | 1);
    loop {
        attack(&mut random);
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the hostile process may do: everything to itself and to a Memory of its own, time on every core at low priorities.
fn authority(kit: &Kit, process: Process, workers: &[Worker]) {
    let own = kit.slot();
    kit.must(kit.memory(), [ops::memory::SPLIT, 400, own, 0, 0, 0]);
    let region = kit.create(Kind::Region, [8, 0, 0]);
    kit.must(region, [ops::region::SCRUB, 0, 0, 0, 0, 0]);
    let mut next = 1;
    let mut give = |slot: u64, rights: Rights| {
        let words = [ops::protection_domain::GRANT, slot, next, u64::from(rights.0), 0, 0];
        kit.must(process.domain, words);
        next += 1;
    };
    give(process.domain, Rights::ALL);
    give(process.space, Rights::ALL);
    give(own, Rights::ALL);
    give(region, Rights::ALL);
    give(
        root_slots::PLATFORM,
        Rights::CPU_TIME
            .with(Rights::IRQ)
            .with(Rights::MMIO)
            .with(Rights::PORTS),
    );
    for worker in workers {
        give(worker.notification, Rights::ALL);
        give(worker.context, Rights::ALL);
        give(worker.thread, Rights::READ.with(Rights::WRITE).with(Rights::GRANT));
    }
    for (index, worker) in workers.iter().enumerate() {
        for mode in [ops::portal::PASSIVE, ops::portal::ACTIVE] {
            give(kit.portal(*worker, index as u64, mode), Rights::ALL);
        }
    }
}

/// One round: a process, its attack, its end.
fn round(kit: &Kit, number: u64) {
    let process = kit.process();
    let mut workers = [None; 16];
    let threads = (THREADS * kit.cores).min(16);
    for (index, place) in (0..threads).zip(&mut workers) {
        let share = Share::unlimited(index % kit.cores, 5 + index / kit.cores);
        *place = Some(kit.worker(process.domain, share, 0));
    }
    let mut list = [Worker {
        thread: 0,
        context: 0,
        notification: 0,
        stack: 0,
    }; 16];
    let mut count = 0;
    for (to, worker) in list.iter_mut().zip(workers.iter().flatten()) {
        *to = *worker;
        count += 1;
    }
    let workers = list.get(..count).unwrap_or_default();
    authority(kit, process, workers);
    for (index, worker) in (1..).zip(workers) {
        kit.start(
            *worker,
            hostile,
            number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index << 40,
        );
    }
    let begin = COUNT.load(Ordering::Relaxed);
    let mut last = begin;
    loop {
        kit.sleep_us(2_000);
        let now = COUNT.load(Ordering::Relaxed);
        if now == last || now - begin > ROUND {
            break;
        }
        last = now;
    }
    kit.reset();
}

fn main() -> ! {
    let kit = Kit::new();
    let mut rounds = 0;
    let mut next_report = 0;
    while COUNT.load(Ordering::Relaxed) < CALLS {
        rounds += 1;
        round(&kit, rounds);
        if COUNT.load(Ordering::Relaxed) >= next_report {
            next_report += CALLS / 10;
            kit.expect(kit.check_kernel(), "the kernel's state is well-formed after a round");
            print(format_args!(
                "hostile: {} calls in {rounds} rounds",
                COUNT.load(Ordering::Relaxed)
            ));
        }
    }
    let is_well = kit.check_kernel();
    kit.expect(is_well, "the kernel's state is well-formed at the end");
    if is_well {
        print(format_args!(
            "hostile: the kernel is well-formed after {} calls",
            COUNT.load(Ordering::Relaxed)
        ));
    }
    kit.end()
}
