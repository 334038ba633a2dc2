//! A machine of which every reading is known, and a person at its console.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ecusson_toolstack::command::{Commands, Outcome, ReadError, Sample, ServiceSample, World};
use ecusson_toolstack::config::MacAddress;
use ecusson_toolstack::life::{Action, Activity, DomId, Event, Moment};
use ecusson_toolstack::show::{Counters, DeviceState, DiskStatus, HostFacts, NicStatus};

use crate::support::Host;

/// Files and kept records, by name.
type Files = RefCell<BTreeMap<String, String>>;

struct Machine<'a> {
    moment: Moment,
    files: &'a Files,
    messages: &'a mut String,
    autostart: &'a mut Vec<String>,
}

impl World for Machine<'_> {
    fn moment(&mut self) -> Moment {
        self.moment
    }

    fn sample(&self, _: DomId) -> Sample {
        Sample {
            cpu_time_ms: 2500,
            cpu_permille: 125,
            vcpus: vec![(Activity::Running, 1000), (Activity::Blocked, 1500)],
            counters: Counters::default(),
        }
    }

    fn services(&self) -> ServiceSample {
        ServiceSample {
            memory_kib: 16 << 10,
            cpu_time_ms: 1500,
            cpu_permille: 10,
        }
    }

    fn host(&self) -> HostFacts {
        HostFacts {
            host: "ecusson".to_string(),
            release: "0.1.0".to_string(),
            version: String::new(),
            cpus: 2,
            cores_per_socket: 2,
            threads_per_core: 1,
            cpu_khz: 2_000_000,
            hw_caps: [0; 8],
            virt_caps: Vec::new(),
            total_kib: 1 << 20,
            free_kib: 512 << 10,
            command_line: String::new(),
            compiler: String::new(),
        }
    }

    fn nics(&self, _: DomId) -> Vec<NicStatus> {
        let mac = MacAddress([0, 0x16, 0x3e, 1, 2, 3]);
        vec![NicStatus {
            devid: 0,
            mac,
            state: DeviceState::InitWait,
            doorbell: -1,
            transmit_queue: -1,
            receive_queue: -1,
        }]
    }

    fn disks(&self, _: DomId) -> Vec<DiskStatus> {
        Vec::new()
    }

    fn read_config(&self, name: &str) -> Result<String, ReadError> {
        self.files.borrow().get(name).cloned().ok_or(ReadError::NotFound)
    }

    fn keep_config(&mut self, name: &str, text: &str) -> Result<(), String> {
        self.files.borrow_mut().insert(name.to_string(), text.to_string());
        Ok(())
    }

    fn autostart(&self) -> Vec<String> {
        self.autostart.clone()
    }

    fn keep_autostart(&mut self, names: &[String]) -> Result<(), String> {
        *self.autostart = names.to_vec();
        Ok(())
    }

    fn messages(&self) -> String {
        self.messages.clone()
    }

    fn clear_messages(&mut self) {
        self.messages.clear();
    }

    fn log(&self) -> String {
        "toolstack says\n".to_string()
    }
}

/// Domains, files, and what was typed.
pub(crate) struct Console {
    host: Host,
    pub(crate) files: Files,
    messages: String,
    autostart: Vec<String>,
}

impl Console {
    pub(crate) fn new() -> Self {
        let (host, files) = (Host::new(), Files::default());
        Self {
            host,
            files,
            messages: "kernel says\n".to_string(),
            autostart: Vec::new(),
        }
    }

    pub(crate) fn file(&self, name: &str, text: &str) {
        self.files.borrow_mut().insert(name.to_string(), text.to_string());
    }

    pub(crate) fn types(&mut self, line: &str) -> Outcome {
        let moment = self.host.moment;
        let (messages, autostart) = (&mut self.messages, &mut self.autostart);
        let mut world = Machine {
            moment,
            files: &self.files,
            messages,
            autostart,
        };
        Commands {
            domains: &mut self.host.domains,
            world: &mut world,
        }
        .line(line)
    }

    /// What a command that succeeds without complaint prints.
    #[track_caller]
    pub(crate) fn prints(&mut self, line: &str) -> String {
        let outcome = self.types(line);
        assert_eq!((outcome.stderr.as_str(), outcome.code), ("", 0), "{line}");
        outcome.stdout
    }

    /// What a command that fails says.
    #[track_caller]
    pub(crate) fn complains(&mut self, line: &str) -> String {
        let outcome = self.types(line);
        assert_eq!((outcome.stdout.as_str(), outcome.code > 0), ("", true), "{line}");
        outcome.stderr
    }

    pub(crate) fn alive(&mut self, name: &str) -> DomId {
        self.host.start(name, "")
    }

    pub(crate) fn happens(&mut self, event: Event) {
        self.host.happens(event);
    }

    pub(crate) fn actions(&mut self) -> Vec<Action> {
        self.host.take()
    }

    pub(crate) fn letters(&self, name: &str) -> String {
        self.host.letters(self.host.domains.find(name).unwrap().id)
    }
}
