//! The first state: root's process, alone, with authority over everything.

use std::collections::BTreeMap;

use crate::abi::{ALL, PAGE_BYTES, SMALL_BYTES};
use crate::state::{Body, Config, Context, Core, Domain, Frame, Memory, Notification, Run, Space, State, Thread};

/// Tables of root's space besides its root table, pages of its table of capabilities.
const TABLES: u64 = 32;
const TABLE_PAGES: u64 = 4;

impl State {
    /// The state in which root's thread runs on core 0, on a machine with one run of free memory and no images.
    #[must_use]
    pub fn boot(config: Config) -> State {
        let first = config.first;
        let (memory, space) = (first * PAGE_BYTES, first * PAGE_BYTES + SMALL_BYTES);
        let domain = (first + TABLES + 2) * PAGE_BYTES;
        let thread = (first + TABLES + TABLE_PAGES + 3) * PAGE_BYTES;
        let mut state = State {
            config,
            epochs: 0,
            stamps: 0,
            objects: BTreeMap::new(),
            frames: BTreeMap::from([(
                first,
                Frame::Small {
                    owner: memory,
                    used: 0b11,
                },
            )]),
            cores: vec![Core::default(); config.cores as usize],
            now: 0,
            flushes: 0,
        };
        state.root_frames(memory, space, domain);
        state.root_domain(memory, space, domain);
        let of = Memory {
            first,
            pages: config.pages,
            next: first + TABLES + TABLE_PAGES + 4,
            end: first + config.pages,
            is_primal: true,
            returned: vec![],
            roomy: vec![first],
            sweep: None,
        };
        state.add(memory, Body::Memory(of), domain, 32, ALL);
        let unused = (first + 2..first + 2 + TABLES).rev().collect();
        let of = Space {
            memory,
            root: Some(first + 1),
            unused,
            ..Space::default()
        };
        state.add(space, Body::Space(of), domain, 2, ALL);
        state.add(thread, Body::Thread(Box::new(Thread::new(domain, 0))), domain, 3, ALL);
        state.begin(memory, domain, thread);
        state
    }

    /// Root's protection domain, with a capability to itself.
    fn root_domain(&mut self, memory: u64, space: u64, domain: u64) {
        // The domain is first here, so that there is a table for the other capabilities; epochs are not compared.
        let slots = BTreeMap::new();
        let root = Domain {
            pages: TABLE_PAGES,
            space,
            memory,
            slots,
        };
        let object = crate::state::Object {
            epoch: 0,
            is_alive: true,
            body: Body::Domain(root),
        };
        self.objects.insert(domain, object);
        let itself = crate::state::Cap {
            object: domain,
            kind: crate::abi::Kind::ProtectionDomain,
            rights: ALL,
            epoch: 0,
        };
        self.domain_mut(domain).slots.insert(1, itself);
    }

    /// What root's pages are used for, besides the first.
    fn root_frames(&mut self, memory: u64, space: u64, domain: u64) {
        let first = self.config.first;
        for page in first + 1..first + TABLES + 2 {
            self.frames.insert(page, Frame::PageTable(space));
        }
        self.frames.insert(first + TABLES + 2, Frame::Domain(memory));
        for page in first + TABLES + 3..first + TABLES + 3 + TABLE_PAGES {
            self.frames.insert(page, Frame::Table(domain));
        }
        self.frames
            .insert(first + TABLES + TABLE_PAGES + 3, Frame::Thread(memory));
    }

    /// Root's small objects, and its start.
    fn begin(&mut self, memory: u64, domain: u64, thread: u64) {
        let platform = self.take_small(memory);
        self.add(platform, Body::Platform, domain, 5, ALL);
        let time = Context {
            budget: 4096,
            period: 4096,
            priority: 30,
            home: Some(thread),
            ..Context::default()
        };
        let context = self.take_small(memory);
        self.add(context, Body::Context(time), domain, 4, ALL);
        let notification = self.take_small(memory);
        self.add(
            notification,
            Body::Notification(Notification {
                bits: 0,
                bound: Some(thread),
            }),
            domain,
            10,
            ALL,
        );
        self.thread_mut(thread).own_priority = 30;
        self.admit(thread);
        assert!(self.runs(thread, Run::Ready), "root is ready");
        self.run_next(0, Some(thread));
    }
}
