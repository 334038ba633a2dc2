//! Random entries, chosen so that they often succeed: capabilities of the kind wanted, slots that are free, threads that serve.

use crate::abi::{Kind, NO_DEADLINE};
use crate::entry::{Action, Due, Request};
use crate::state::State;

/// A generator of numbers (xorshift): the same seed gives the same ones.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    pub(crate) fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// True in so many cases of a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A slot of the actor with a capability of a kind, or any number.
    fn slot(&mut self, state: &State, actor: u64, kind: Kind) -> u64 {
        let slots = &state.domain(state.thread(actor).domain).slots;
        let fitting: Vec<u64> = slots
            .iter()
            .filter(|(_, cap)| cap.kind == kind)
            .map(|(slot, _)| *slot)
            .collect();
        if fitting.is_empty() || self.chance(3) {
            self.below(66)
        } else {
            self.of(&fitting)
        }
    }

    fn any_slot(&mut self, state: &State, actor: u64) -> u64 {
        let slots: Vec<u64> = state.domain(state.thread(actor).domain).slots.keys().copied().collect();
        if slots.is_empty() || self.chance(3) {
            self.below(66)
        } else {
            self.of(&slots)
        }
    }

    /// A slot that is free in most cases.
    fn free_slot(&mut self) -> u64 {
        self.below(65)
    }

    fn deadline(&mut self, state: &State) -> u64 {
        if self.chance(25) {
            NO_DEADLINE
        } else {
            state.now.saturating_add(self.below(400)).saturating_sub(20)
        }
    }

    /// What a message sends and opens.
    fn transfer(&mut self, state: &State, actor: u64) -> u64 {
        let sent = if self.chance(40) {
            self.any_slot(state, actor) + 1
        } else {
            0
        };
        let opened = if self.chance(40) { self.free_slot() + 1 } else { 0 };
        sent | self.of(&[0xFF, 0xFF, 0x0F, 0xDF, 0]) << 16 | opened << 32
    }

    fn memory_words(&mut self, state: &State, actor: u64) -> [u64; 6] {
        let free = self.free_slot();
        let pages = self.of(&[1, 1, 2, 3, 4, 8]);
        match self.below(12) {
            0 => [1, pages, free, 0, 0, 0],
            1 | 2 => [3, 0, 0, 0, 0, 0],
            3 => [4, 0, 0, 0, 0, 0],
            4 | 5 => [2, 2, free, pages, self.of(&[0, 0, 1, 2, 19]), 0],
            6 => [2, 3, free, self.of(&[0, 0, 0, 2, 2, 1, 3]), 0, 0],
            7 => [
                2,
                4,
                free,
                self.of(&[1, 1, 2, 0]),
                self.slot(state, actor, Kind::Space),
                0,
            ],
            8 => {
                let domain = self.slot(state, actor, Kind::ProtectionDomain);
                [2, 5, free, domain, self.of(&[0, 0, 0, 1, 1, 2]), self.below(2)]
            }
            9 => [2, self.of(&[6, 8, 8, 9, 10, 13]), free, 0, 0, 0],
            _ => [
                2,
                7,
                free,
                self.slot(state, actor, Kind::Thread),
                self.below(100),
                self.of(&[0, 0, 1, 2]),
            ],
        }
    }

    fn region_words(&mut self, state: &State, actor: u64) -> [u64; 6] {
        match self.below(10) {
            0 | 1 => {
                let memory = self.slot(state, actor, Kind::Memory);
                [
                    1,
                    self.below(3),
                    self.of(&[1, 1, 2, 3, 0]),
                    self.of(&[0xFF, 1, 3, 7]),
                    memory,
                    self.free_slot(),
                ]
            }
            2..=4 => [
                2,
                self.slot(state, actor, Kind::Space),
                self.below(5),
                self.of(&[1, 3, 5, 2]),
                0,
                0,
            ],
            5 | 6 => [3, 0, 0, 0, 0, 0],
            7 | 8 => [4, 0, 0, 0, 0, 0],
            _ => [self.of(&[5, 5, 6, 9]), 0, 0, 0, 0, 0],
        }
    }

    fn thread_words(&mut self, state: &State, actor: u64) -> [u64; 6] {
        match self.below(12) {
            0..=2 => [1, self.of(&[0x1000, 0x40_0000, u64::MAX]), 0x2000, self.below(9), 0, 0],
            3 => [2, 0, 0, 0, 0, 0],
            4 | 5 => [3, 0, 0, 0, 0, 0],
            6 => [4, self.slot(state, actor, Kind::Portal), 0, 0, 0, 0],
            7 => [5, self.below(4), 0, 0, 0, 0],
            8 => [
                6,
                self.below(3) << 8 | self.below(7),
                self.of(&[0x1000, 7, u64::MAX]),
                0,
                0,
                0,
            ],
            9 | 10 => [7, self.slot(state, actor, Kind::Notification), 0, 0, 0, 0],
            _ => [8, 0, 0, 0, 0, 0],
        }
    }

    fn context_words(&mut self, state: &State, actor: u64) -> [u64; 6] {
        match self.below(8) {
            0..=3 => {
                let core = self.of(&[0, 0, 0, 1, 1, 2]);
                let priority = self.of(&[30, 30, 30, 20, 31, 1, 32]);
                let (budget, period) = self.of(&[(100, 100), (100, 100), (60, 200), (200, 100), (0, 5), (10, 900)]);
                [
                    1,
                    self.slot(state, actor, Kind::Platform),
                    core | priority << 8 | 5 << 32,
                    budget,
                    period,
                    0,
                ]
            }
            4..=6 => [2, self.slot(state, actor, Kind::Thread), 0, 0, 0, 0],
            _ => [self.of(&[3, 3, 4]), 0, 0, 0, 0, 0],
        }
    }

    fn words(&mut self, state: &State, actor: u64, kind: Option<Kind>) -> [u64; 6] {
        match kind {
            Some(Kind::Memory) => self.memory_words(state, actor),
            Some(Kind::Region) => self.region_words(state, actor),
            Some(Kind::Space) => match self.below(4) {
                0..=2 => [
                    1,
                    self.slot(state, actor, Kind::Memory),
                    self.of(&[1, 2, 3, 65]),
                    0,
                    0,
                    0,
                ],
                _ => [self.of(&[4, 2, 3, 5]), 0, 0, 0, 0, 0],
            },
            Some(Kind::ProtectionDomain) => match self.below(4) {
                0..=2 => [
                    1,
                    self.any_slot(state, actor),
                    self.free_slot(),
                    self.of(&[0xFF, 0xFF, 0x7F, 0x1F, 1]),
                    0,
                    0,
                ],
                _ => [2, self.any_slot(state, actor).max(6), 0, 0, 0, 0],
            },
            Some(Kind::Thread) => self.thread_words(state, actor),
            Some(Kind::SchedContext) => self.context_words(state, actor),
            Some(Kind::Platform) => {
                let memory = self.slot(state, actor, Kind::Memory);
                [
                    self.of(&[3, 3, 3, 1, 2, 4, 5, 6, 9]),
                    self.of(&[1000, 2000, 30, 1 << 40]),
                    self.below(4),
                    memory,
                    self.free_slot(),
                    0,
                ]
            }
            _ => std::array::from_fn(|_| self.below(9)),
        }
    }

    fn invocation(&mut self, state: &State, actor: u64) -> Request {
        let kind = self.of(&[
            Kind::Memory,
            Kind::Memory,
            Kind::Memory,
            Kind::Region,
            Kind::Region,
            Kind::Region,
            Kind::Space,
            Kind::ProtectionDomain,
            Kind::ProtectionDomain,
            Kind::Thread,
            Kind::Thread,
            Kind::Thread,
            Kind::SchedContext,
            Kind::SchedContext,
            Kind::Portal,
            Kind::Notification,
            Kind::Platform,
        ]);
        let mut slot = self.slot(state, actor, kind);
        let mut words = self.words(state, actor, Some(kind));
        if self.chance(12) {
            // Root's own first objects end seldom, because little happens after that.
            let keep = if self.chance(95) { 11 } else { 0 };
            slot = self.any_slot(state, actor).max(keep);
            words[0] = self.of(&[0xFF, 0xFF, 0xFF, 0xFE]);
        } else if self.chance(4) {
            words = std::array::from_fn(|_| self.below(70));
        }
        Request {
            number: 4,
            first: slot,
            second: 0,
            words,
        }
    }

    fn call(&mut self, state: &State, actor: u64) -> Request {
        let mut words = std::array::from_fn(|_| self.below(4));
        let (number, first, second) = match self.below(100) {
            0..=13 => (0, self.slot(state, actor, Kind::Portal), self.transfer(state, actor)),
            14..=24 => (1, self.deadline(state), self.transfer(state, actor)),
            25..=31 => (2, self.slot(state, actor, Kind::Notification), 0),
            32..=35 => (3, self.deadline(state), 0),
            36..=38 => (self.of(&[5, 6, 7, 8]), 0, 0),
            _ => return self.invocation(state, actor),
        };
        words[0] = self.below(3);
        Request {
            number,
            first,
            second,
            words,
        }
    }

    fn due(&mut self, state: &State) -> Vec<Due> {
        let threads = state
            .threads()
            .filter(|(_, thread)| thread.deadline.is_some())
            .map(|(at, _)| Due::Thread(at));
        let contexts = state
            .contexts()
            .filter(|(_, context)| context.armed.is_some())
            .map(|(at, _)| Due::Context(at));
        let all: Vec<Due> = threads.chain(contexts).collect();
        all.into_iter().filter(|_| self.chance(80)).collect()
    }

    /// What happens on a core next. Threads that nobody would hear of do not fault often.
    pub(crate) fn action(&mut self, state: &State, core: usize) -> Action {
        let actor = state.cores[core].current;
        let is_heard = actor.is_some_and(|actor| state.thread(actor).handler.is_some());
        match (actor, self.below(100)) {
            (None, 0..=89) | (_, 0..=6) => Action::Timer(self.due(state)),
            (None, _) | (_, 7..=9) => Action::Reschedule,
            (_, 10..=12) if is_heard || self.chance(10) => {
                Action::Fault([self.of(&[14, 13, 6]), self.below(8), self.below(0x1_0000)])
            }
            (Some(actor), _) => Action::Call(self.call(state, actor)),
        }
    }
}

/// What root does first, so that there are threads that serve and are served: invocations, by slot and words. Slots of root: 1 its
/// domain, 2 its space, 3 its thread, 5 the Platform, 32 its Memory.
pub(crate) const BEGINNING: &[(u64, [u64; 6])] = &[
    // Three threads, two of them on core 0; time for each.
    (32, [2, 5, 12, 1, 0, 0]),
    (32, [2, 5, 13, 1, 0, 0]),
    (32, [2, 5, 14, 1, 1, 0]),
    (32, [2, 6, 15, 0, 0, 0]),
    (32, [2, 6, 16, 0, 0, 0]),
    (32, [2, 6, 17, 0, 0, 0]),
    (15, [1, 5, 30 << 8, 100, 100, 0]),
    (16, [1, 5, 30 << 8, 60, 200, 0]),
    (17, [1, 5, 30 << 8 | 1, 100, 100, 0]),
    (15, [2, 12, 0, 0, 0, 0]),
    (16, [2, 13, 0, 0, 0, 0]),
    (17, [2, 14, 0, 0, 0, 0]),
    // A portal to each, notifications, who hears of faults.
    (32, [2, 7, 18, 12, 77, 0]),
    (32, [2, 7, 19, 13, 78, 1]),
    (32, [2, 7, 20, 14, 79, 1]),
    (32, [2, 8, 21, 0, 0, 0]),
    (32, [2, 8, 22, 0, 0, 0]),
    (12, [7, 21, 0, 0, 0, 0]),
    (14, [7, 22, 0, 0, 0, 0]),
    (13, [4, 18, 0, 0, 0, 0]),
    (3, [4, 19, 0, 0, 0, 0]),
    // A Region that can be attached, a Memory that can be reclaimed.
    (32, [2, 2, 23, 3, 0, 0]),
    (23, [4, 0, 0, 0, 0, 0]),
    (32, [1, 9, 24, 0, 0, 0]),
    (12, [1, 0x1000, 0x2000, 1, 0, 0]),
    (13, [1, 0x1000, 0x2000, 2, 0, 0]),
    (14, [1, 0x1000, 0x2000, 3, 0, 0]),
];

/// One of the steps of [`BEGINNING`].
pub(crate) fn beginning(index: usize) -> Action {
    let (first, words) = BEGINNING[index];
    Action::Call(Request {
        number: 4,
        first,
        second: 0,
        words,
    })
}
