//! Plays toolstack and console for one domain: gives the VMM what the domain is made of, starts it, prints its console line by
//! line, and ends the test when the guest has switched itself off.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;

use ecusson_abi::{NO_DEADLINE, Rights, Transfer};
use ecusson_manifest::BootTable;
use ecusson_manifest::layout::{FREE_BASE, PAGE_BYTES, slots};
use ecusson_proto::vmm::{Description, Part, Reply, Request, State};
use ecusson_ring::{Consumer, Producer, bytes};
use ecusson_rt::cap::kind::{Memory, Notification, Portal, Region};
use ecusson_rt::cap::wait;
use ecusson_rt::environment::shared_words;
use ecusson_rt::window::{Access, Window};
use ecusson_rt::{Cap, environment, println, sys};

/// Port that ends QEMU, and the values for a test that held and one that did not.
const DEBUG_EXIT: u16 = 0xF4;
const SUCCESS: u8 = 0x10;
const FAILURE: u8 = 0x11;
/// Slots from here on are nobody's.
const FIRST_FREE_SLOT: u64 = 128;
/// What the guest's shell says before it takes commands.
const GREETING: &[u8] = b"Enter 'help'";

ecusson_rt::entry!(main);

fn main(_: u16) -> ! {
    ecusson_rt::heap!(64 << 10);
    let Some(table) = environment() else { sys::fault() };
    let mut toolstack = Toolstack::new(&table, Domain::of_process());
    toolstack.start();
    toolstack.watch()
}

/// The domain, from the image's file `domain`: lines of `key = value`.
struct Domain {
    vcpus: u8,
    memory_mib: u64,
    kernel: &'static str,
    initrd: &'static str,
    command_line: &'static str,
    /// What is typed once the shell is there.
    commands: &'static str,
}

impl Domain {
    fn of_process() -> Self {
        let file = environment::file("domain").and_then(|file| file.map().ok());
        let text = file
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
            .unwrap_or_default();
        let value = |key: &str| {
            let mut pairs = text.lines().filter_map(|line| line.split_once(" = "));
            pairs.find(|(name, _)| *name == key).map_or("", |(_, value)| value)
        };
        Self {
            vcpus: value("vcpus").parse().unwrap_or(1),
            memory_mib: value("memory_mib").parse().unwrap_or(256),
            kernel: value("kernel"),
            initrd: value("initrd"),
            command_line: value("command_line"),
            commands: value("commands"),
        }
    }
}

/// What this process has of the domain.
struct Toolstack {
    domain: Domain,
    vmm: Cap<Portal>,
    memory: Cap<Memory>,
    next_slot: u64,
    output: Consumer<'static>,
    input: Producer<'static>,
    /// Tells the VMM that something was typed.
    typed: (Cap<Notification>, u8),
    line: Vec<u8>,
}

impl Toolstack {
    fn new(table: &BootTable<'_>, domain: Domain) -> Self {
        let output = shared_words("console-out").and_then(Consumer::new);
        let input = shared_words("console-in").and_then(Producer::new);
        match (table.portal("vmm.control"), output, input, table.signal("typed")) {
            (Some(portal), Some(output), Some(input), Some((typed, bit))) => Self {
                domain,
                vmm: Cap::at(portal.into()),
                memory: Cap::at(slots::MEMORY.into()),
                next_slot: FIRST_FREE_SLOT,
                output,
                input,
                typed: (Cap::at(typed.into()), bit),
                line: Vec::new(),
            },
            _ => panic!("the manifest lacks an edge"),
        }
    }

    fn slot(&mut self) -> u64 {
        self.next_slot += 1;
        self.next_slot - 1
    }

    fn request(&self, request: Request) -> Reply {
        let words = self
            .vmm
            .call(request.encode())
            .unwrap_or_else(|failure| panic!("{failure}"));
        Reply::decode(&words).unwrap_or(Reply::Refused)
    }

    fn give(&self, part: Part, region: &Cap<Region>) {
        let mut transfer = Transfer(0);
        transfer.set_send_slot_plus_one(region.slot() as u16 + 1);
        transfer.set_send_rights(0xFF);
        let sent = self.vmm.call_transfer(transfer, Request::Give(part).encode());
        let (words, _) = sent.unwrap_or_else(|failure| panic!("{part:?}: {failure}"));
        self.expect_done(Reply::decode(&words), "giving a part");
    }

    fn expect_done(&self, reply: Option<Reply>, what: &str) {
        if reply != Some(Reply::Done) {
            self.fail(what);
        }
    }

    /// What the VMM says went wrong.
    fn trouble(&self) -> String {
        let mut text = Vec::new();
        while let Reply::Trouble(piece) = self.request(Request::Trouble {
            from: text.len() as u64,
        }) {
            if piece.as_bytes().is_empty() {
                break;
            }
            text.extend_from_slice(piece.as_bytes());
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn fail(&self, what: &str) -> ! {
        println!("tester: {what}: {}", self.trouble());
        end(FAILURE)
    }

    fn start(&mut self) {
        let slot = self.slot();
        let page = must(self.memory.create_region(1, 0, slot));
        must(page.scrub());
        let own = Cap::at(slots::SPACE.into());
        let mut window = must(Window::open(&page, &own, FREE_BASE / PAGE_BYTES, Access::ReadWrite));
        let description = Description {
            name: "guest",
            vcpus: self.domain.vcpus,
            kernel: self.domain.kernel,
            initrd: self.domain.initrd,
            command_line: self.domain.command_line,
        };
        let mut bytes = [0; 512];
        let written = description
            .encode(&mut bytes)
            .is_some_and(|used| window.write(0, used).is_ok());
        assert!(written, "the description fits");
        must(window.close(&page));
        self.give(Part::Description, &page);
        let slot = self.slot();
        let pages = (self.domain.memory_mib << 20) / PAGE_BYTES;
        let whole = must(self.memory.create_region(pages, 9, slot));
        must(whole.scrub());
        for (part, rights) in [
            (Part::Memory { page: 0 }, Rights(7)),
            (Part::View { page: 0 }, Rights(3)),
        ] {
            let slot = self.slot();
            let rights = Rights(rights.0 | Rights::MANAGE.0 | Rights::GRANT.0);
            let slice = must(whole.slice(0, pages, rights, &self.memory, slot));
            self.give(part, &slice);
        }
        println!("tester: starting");
        let reply = self.request(Request::Start);
        self.expect_done(Some(reply), "starting");
        println!("tester: started");
    }

    /// Prints the console until the guest is at its end.
    fn watch(&mut self) -> ! {
        loop {
            let bits = wait(NO_DEADLINE).unwrap_or_default();
            self.print();
            if bits & 1 != 0 {
                let state = self.request(Request::State);
                println!("tester: the guest is {state:?} {}", self.trouble());
                let wanted = matches!(state, Reply::State(State::PoweredOff | State::Reset));
                end(if wanted { SUCCESS } else { FAILURE })
            }
        }
    }

    fn type_in(&mut self, mut text: &[u8]) {
        while !text.is_empty() {
            let (descriptor, count) = bytes::pack(text);
            assert!(self.input.push(descriptor).is_ok(), "the ring has room for a line");
            text = &text[count..];
        }
        must(self.typed.0.signal(1 << self.typed.1));
    }

    fn print(&mut self) {
        while let Ok(Some(descriptor)) = self.output.pop() {
            let (bytes, count) = bytes::unpack(&descriptor);
            for &byte in bytes.iter().take(count) {
                if byte == b'\n' {
                    println!("guest: {}", String::from_utf8_lossy(&self.line));
                    if self.line.starts_with(GREETING) {
                        self.type_in(self.domain.commands.as_bytes());
                        self.type_in(b"\n");
                    }
                    self.line.clear();
                } else if byte != b'\r' {
                    self.line.push(byte);
                }
            }
        }
    }
}

fn must<T>(result: Result<T, ecusson_rt::Failure>) -> T {
    result.unwrap_or_else(|failure| panic!("{failure}"))
}

fn end(value: u8) -> ! {
    sys::out_byte(DEBUG_EXIT, value);
    ecusson_rt::exit(1)
}
