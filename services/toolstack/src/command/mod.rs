//! The administrator's commands: words in, text and an exit code out.
//!
//! Key types: [`Commands`] (carries commands out), [`World`] (what they need of the machine beyond the domains),
//! [`Outcome`]. The console on the machine and the client from afar send the same words and show the same text.
//! Called by the toolstack's process; calls [`crate::life`], [`crate::config`] and [`crate::show`].

mod create;
mod host;
mod lists;
mod options;
mod power;
mod scheduling;
mod table;
mod words;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub use table::{COMMANDS, Command, Find, find};
pub use words::split;

use crate::life::{Activity, DomId, Domain, Domains, HostPower, Moment, Refusal};
use crate::show::{Counters, DiskStatus, HostFacts, NicStatus, Row};
use options::Options;
use table::{Needs, help_list, help_of};

/// What was measured of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Processor time in all.
    pub cpu_time_ms: u64,
    /// Percent of one processor lately, times ten.
    pub cpu_permille: u32,
    /// For each of its virtual processors: what it does, and its time.
    pub vcpus: Vec<(Activity, u64)>,
    /// Its devices.
    pub counters: Counters,
}

/// The host's services together, which lists show as domain 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceSample {
    /// Memory that they have.
    pub memory_kib: u64,
    /// Processor time in all.
    pub cpu_time_ms: u64,
    /// Percent of one processor lately, times ten.
    pub cpu_permille: u32,
}

/// Why a configuration could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// There is none of this name.
    NotFound,
    /// It is there, and this is wrong.
    Failed(String),
}

/// What commands need of the machine.
pub trait World {
    /// Clock and fresh random bytes.
    fn moment(&mut self) -> Moment;
    /// What was measured of a domain.
    fn sample(&self, domain: DomId) -> Sample;
    /// The services.
    fn services(&self) -> ServiceSample;
    /// The host.
    fn host(&self) -> HostFacts;
    /// A domain's network cards.
    fn nics(&self, domain: DomId) -> Vec<NicStatus>;
    /// A domain's disks.
    fn disks(&self, domain: DomId) -> Vec<DiskStatus>;
    /// The text of a configuration: a file that the client sent, or one that is kept under this name.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn read_config(&self, name: &str) -> Result<String, ReadError>;
    /// Keeps a configuration under its domain's name.
    ///
    /// # Errors
    /// What is wrong, for people.
    fn keep_config(&mut self, name: &str, text: &str) -> Result<(), String>;
    /// Names of domains that start with the host, in order.
    fn autostart(&self) -> Vec<String>;
    /// Keeps them.
    ///
    /// # Errors
    /// What is wrong, for people.
    fn keep_autostart(&mut self, names: &[String]) -> Result<(), String>;
    /// The kernel's messages.
    fn messages(&self) -> String;
    /// Forgets them.
    fn clear_messages(&mut self);
    /// The toolstack's log.
    fn log(&self) -> String;
}

/// What goes on after a command.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Follow {
    /// Nothing.
    #[default]
    Nothing,
    /// The client is attached to this domain's console, which it leaves with this byte.
    Console {
        /// Which.
        domain: DomId,
        /// Usually `Ctrl-]`.
        escape: u8,
    },
    /// The client waits until these have ended; each end is told by [`ended_line`].
    Wait(Vec<DomId>),
    /// The client shows `top` again and again, this far apart.
    Repeat {
        /// How far.
        delay_s: u32,
    },
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Result.
    pub stdout: String,
    /// Progress and complaints.
    pub stderr: String,
    /// 0 for success.
    pub code: u8,
    /// What goes on.
    pub follow: Follow,
}

impl Outcome {
    /// Success with a result.
    fn shows(stdout: impl Into<String>) -> Self {
        Self {
            stdout: stdout.into(),
            ..Self::default()
        }
    }

    /// Failure with a complaint of one or more lines.
    fn fails(code: u8, complaint: impl Into<String>) -> Self {
        let mut outcome = Self {
            code,
            ..Self::default()
        };
        outcome.complain(complaint);
        outcome
    }

    fn complain(&mut self, line: impl Into<String>) {
        self.stderr.push_str(&line.into());
        self.stderr.push('\n');
    }
}

/// What `-w` says when a domain has ended, or is gone.
#[must_use]
pub fn ended_line(domain: DomId, reason: Option<crate::life::EndReason>) -> String {
    match reason {
        Some(reason) => format!("Domain {domain} has been shut down, reason code {}", reason.code()),
        None => format!("Domain {domain} has been destroyed"),
    }
}

/// Carries commands out.
#[derive(Debug)]
pub struct Commands<'a, W> {
    /// All domains. What a command changed is in their actions.
    pub domains: &'a mut Domains,
    /// Everything else.
    pub world: &'a mut W,
}

type Verdict<T> = Result<T, Outcome>;

impl<W: World> Commands<'_, W> {
    /// Carries a line out.
    pub fn line(&mut self, line: &str) -> Outcome {
        match split(line) {
            Ok(words) => self.words(&words),
            Err(message) => Outcome::fails(1, message),
        }
    }

    /// Carries words out. A leading `xm` or `xl` may stand before the verb.
    pub fn words(&mut self, words: &[String]) -> Outcome {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let words = match words.as_slice() {
            ["xm" | "xl", rest @ ..] => rest,
            all => all,
        };
        let flags = words
            .iter()
            .take_while(|word| word.starts_with('-') && word.len() > 1)
            .count();
        let (globals, rest) = words.split_at(flags);
        let mut dry = false;
        for letter in globals.iter().flat_map(|word| word.chars().skip(1)) {
            match letter {
                'N' => dry = true,
                'v' | 'f' | 't' | 'T' => {}
                _ => return Outcome::fails(1, "unknown global option"),
            }
        }
        let Some((verb, arguments)) = rest.split_first() else {
            return Outcome {
                code: 1,
                ..Outcome::shows(help_list())
            };
        };
        if *verb == "help" {
            return help(arguments);
        }
        let Find::One(command) = find(verb) else {
            return Outcome::fails(1, "command not implemented");
        };
        if dry && !command.dry_run {
            return Outcome::fails(1, "command does not implement -N (dryrun) option");
        }
        self.run(command, arguments, dry).unwrap_or_else(|outcome| outcome)
    }

    fn run(&mut self, command: &Command, arguments: &[&str], dry: bool) -> Verdict<Outcome> {
        let options = Options::parse(command, arguments)?;
        if options.words.len() < command.least {
            let plural = if command.least > 1 { "s" } else { "" };
            let (name, least) = (command.name, command.least);
            let complaint = format!("'xl {name}' requires at least {least} argument{plural}.\n");
            return Err(Outcome {
                stdout: help_of(command),
                ..Outcome::fails(2, complaint)
            });
        }
        match command.does {
            Needs::Create => self.create(&options, dry),
            Needs::ConfigUpdate => self.config_update(&options, dry),
            Needs::List => self.list(&options),
            Needs::VmList => Ok(self.vm_list()),
            Needs::VcpuList => self.vcpu_list(&options),
            Needs::Uptime => self.uptime(&options),
            Needs::NetworkList => self.network_list(&options),
            Needs::BlockList => self.block_list(&options),
            Needs::Top => self.top(&options),
            Needs::DomId => self.domid(&options),
            Needs::DomName => self.domname(&options),
            Needs::Destroy => self.destroy(&options),
            Needs::Shutdown => self.shutdown(&options),
            Needs::Reboot => self.reboot(&options),
            Needs::Pause => self.pause(&options),
            Needs::Unpause => self.unpause(&options),
            Needs::Rename => self.rename(&options),
            Needs::Console => self.console(&options),
            Needs::VcpuPin => self.vcpu_pin(&options, dry),
            Needs::SchedCredit2 => self.sched_credit2(&options),
            Needs::Info => Ok(self.info(&options)),
            Needs::Dmesg => Ok(self.dmesg(&options)),
            Needs::Log => Ok(Outcome::shows(self.world.log())),
            Needs::Autostart => self.autostart(&options),
            Needs::Host => self.host(&options),
        }
    }

    /// The domain that a word names: a number counts as it is, anything else is a name.
    fn domain(&self, word: &str) -> Verdict<DomId> {
        if !word.is_empty() && word.bytes().all(|digit| digit.is_ascii_digit()) {
            let id = word
                .parse()
                .map(DomId)
                .ok()
                .filter(|&id| id == DomId(0) || self.domains.get(id).is_some());
            return id.ok_or_else(|| Outcome::fails(1, format!("Error: Domain '{word}' does not exist.")));
        }
        match self.domains.find(word) {
            Some(domain) => Ok(domain.id),
            None if word == "Domain-0" => Ok(DomId(0)),
            None => {
                let mut outcome = Outcome::fails(1, format!("{word} is an invalid domain identifier (rc=-6)"));
                if self.domains.waiting().any(|(name, _)| name.as_str() == word) {
                    outcome.complain(format!(
                        "hint: {word} waits to be made anew: `destroy {word}' cancels that"
                    ));
                }
                Err(outcome)
            }
        }
    }

    /// As `domain`, but never domain 0, with which most verbs have nothing to do.
    fn guest(&self, word: &str) -> Verdict<DomId> {
        match self.domain(word)? {
            DomId(0) => Err(Outcome::fails(
                1,
                "Error: Domain-0 stands for the host's own services: use `host'.",
            )),
            id => Ok(id),
        }
    }

    /// Domain 0 and all guests, as lists show them.
    fn rows(&mut self) -> Vec<Row> {
        let now_ms = self.world.moment().now_ms;
        let services = self.world.services();
        let cpus = self.domains.host().cpus;
        let mut rows = alloc::vec![Row {
            name: "Domain-0".to_string(),
            id: DomId(0),
            uuid: crate::config::Uuid([0; 16]),
            memory_kib: services.memory_kib,
            vcpus: cpus,
            state: "r-----".to_string(),
            cpu_time_ms: services.cpu_time_ms,
            uptime_ms: now_ms,
            ended: None,
            weight: 256,
            cap_percent: 0,
        }];
        rows.extend(self.domains.iter().map(|domain| self.row(domain, now_ms)));
        rows
    }

    fn row(&self, domain: &Domain, now_ms: u64) -> Row {
        let sample = self.world.sample(domain.id);
        let runs = sample.vcpus.iter().any(|(activity, _)| *activity == Activity::Running);
        let config = &domain.config;
        Row {
            name: config.name.to_string(),
            id: domain.id,
            uuid: config.uuid.unwrap_or(crate::config::Uuid([0; 16])),
            memory_kib: config.memory_mib * 1024,
            vcpus: config.vcpus,
            state: domain.state_letters(if runs { Activity::Running } else { Activity::Blocked }),
            cpu_time_ms: sample.cpu_time_ms,
            uptime_ms: now_ms.saturating_sub(domain.created_ms),
            ended: domain.ended(),
            weight: config.weight,
            cap_percent: config.cap_percent,
        }
    }

    /// The rows of the domains that words name, of all without words.
    fn chosen_rows(&mut self, words: &[&str]) -> Verdict<Vec<Row>> {
        let ids = words
            .iter()
            .map(|word| self.domain(word))
            .collect::<Verdict<Vec<DomId>>>()?;
        let rows = self.rows();
        if ids.is_empty() {
            return Ok(rows);
        }
        let row = |id: &DomId| rows.iter().find(|row| row.id == *id).cloned();
        Ok(ids.iter().filter_map(row).collect())
    }
}

fn help(arguments: &[&str]) -> Outcome {
    let Some(name) = arguments.first() else {
        return Outcome::shows(help_list());
    };
    match find(name) {
        Find::One(command) => Outcome::shows(help_of(command)),
        _ => Outcome::shows(format!("command \"{name}\" not implemented\n")),
    }
}

/// A refusal as a failure: first line as the library's, exit code by the library's number.
fn refused(refusal: &Refusal) -> Outcome {
    let code = match refusal {
        Refusal::NoMemory { .. } => 5,
        Refusal::NameTaken(_) | Refusal::NoSuchCpu(_) | Refusal::NoSuchVcpu(_) => 6,
        _ => 3,
    };
    let prefix = if matches!(refusal, Refusal::NoMemory { .. } | Refusal::NoSuchCpu(_)) {
        ""
    } else {
        "libxl: error: "
    };
    Outcome::fails(code, format!("{prefix}{refusal}"))
}

/// `host shutdown` and `host reboot`.
fn host_power(word: &str) -> Option<HostPower> {
    match word {
        "shutdown" => Some(HostPower::Off),
        "reboot" => Some(HostPower::Reboot),
        _ => None,
    }
}
