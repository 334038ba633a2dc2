//! All domains of the host, and the administrator's verbs.
//!
//! Key types: [`Domains`], [`Refusal`]. Events are in `ending.rs`, the host's own start and stop in `host.rs`.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::action::{Action, Platform};
use super::host::Stopping;
use super::memory::{HostResources, footprint_kib};
use super::restart::History;
use super::scheduling::Loads;
use super::state::{After, Asked, DomId, Domain, Hold, Moment, Phase, StartMode};
use crate::config::{CpuSet, DomainConfig, DomainName, MacAddress, Uuid};

/// Numbers from here on are reserved.
const FIRST_RESERVED: u16 = 0x7ff0;
/// Domains at a time.
const MAX_DOMAINS: usize = 512;

/// Why a verb was not carried out. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another domain has this name.
    NameTaken(DomainName),
    /// Not enough memory, in KiB.
    NoMemory {
        /// What the domain would cost.
        needed_kib: u64,
        /// What is free.
        free_kib: u64,
    },
    /// None of the processors it may run on is there.
    NoSuchCpu(CpuSet),
    /// No such domain.
    NoSuchDomain,
    /// No such virtual processor.
    NoSuchVcpu(u32),
    /// It is not alive.
    NotAlive,
    /// As many domains as there can be.
    TooMany,
    /// The host is being stopped.
    HostStops,
}

impl fmt::Display for Refusal {
    /// What is wrong, and a hint on a second line where there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTaken(name) => write!(f, "Domain with name \"{name}\" already exists."),
            Self::NoMemory { needed_kib, free_kib } => write!(
                f,
                "failed to free memory for the domain\nhint: it needs {} MiB, overhead included, and {} MiB are free: lower \
                 memory, or destroy another domain",
                needed_kib.div_ceil(1024),
                free_kib / 1024
            ),
            Self::NoSuchCpu(set) => write!(
                f,
                "Invalid pcpu range: {set}.\nhint: this host does not have these processors"
            ),
            Self::NoSuchDomain => f.write_str("the domain does not exist"),
            Self::NoSuchVcpu(vcpu) => write!(f, "the domain has no VCPU {vcpu}"),
            Self::NotAlive => {
                f.write_str("the domain is not alive\nhint: it is being made, has ended, or is going away")
            }
            Self::TooMany => write!(f, "there are {MAX_DOMAINS} domains, more are not possible"),
            Self::HostStops => f.write_str("the host is being stopped"),
        }
    }
}

/// A domain that is to be made anew when its time has come. Name and memory stay its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) config: DomainConfig,
    pub(super) at_ms: u64,
    pub(super) history: History,
}

/// All domains.
#[derive(Clone, Debug)]
pub struct Domains {
    pub(super) host: HostResources,
    pub(super) domains: BTreeMap<DomId, Domain>,
    pub(super) pending: Vec<Pending>,
    /// Configurations that wait for the one before them.
    pub(super) autostart: VecDeque<DomainConfig>,
    pub(super) stopping: Option<Stopping>,
    pub(super) actions: VecDeque<Action>,
    next_id: u16,
}

impl Domains {
    /// No domains yet.
    #[must_use]
    pub fn new(host: HostResources) -> Self {
        Self {
            host,
            domains: BTreeMap::new(),
            pending: Vec::new(),
            autostart: VecDeque::new(),
            stopping: None,
            actions: VecDeque::new(),
            next_id: 1,
        }
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &HostResources {
        &self.host
    }

    /// All domains, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Domain> {
        self.domains.values()
    }

    /// A domain by number.
    #[must_use]
    pub fn get(&self, id: DomId) -> Option<&Domain> {
        self.domains.get(&id)
    }

    /// A domain by name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Domain> {
        self.iter().find(|domain| domain.config.name.as_str() == name)
    }

    /// Names of domains that are waiting to be made anew, with the time at which they are.
    pub fn waiting(&self) -> impl Iterator<Item = (&DomainName, u64)> {
        self.pending.iter().map(|pending| (&pending.config.name, pending.at_ms))
    }

    /// Memory in use or promised.
    #[must_use]
    pub fn used_kib(&self) -> u64 {
        let configs = self.domains.values().map(|domain| &domain.config);
        let configs = configs.chain(self.pending.iter().map(|pending| &pending.config));
        configs.map(|config| footprint_kib(config, &self.host)).sum()
    }

    /// Memory for further domains.
    #[must_use]
    pub fn free_kib(&self) -> u64 {
        self.host.memory_kib.saturating_sub(self.used_kib())
    }

    /// Hands what is to be done over, in order.
    pub fn carry_out(&mut self, platform: &mut impl Platform) {
        while let Some(action) = self.actions.pop_front() {
            platform.perform(action);
        }
    }

    /// Makes a domain.
    ///
    /// # Errors
    /// Name taken, no memory, no such processors, too many domains, or the host stops.
    pub fn create(&mut self, config: DomainConfig, start: StartMode, moment: &Moment) -> Result<DomId, Refusal> {
        self.check_new(&config)?;
        let needed_kib = footprint_kib(&config, &self.host);
        let free_kib = self.free_kib();
        if needed_kib > free_kib {
            return Err(Refusal::NoMemory { needed_kib, free_kib });
        }
        Ok(self.make(config, start, History::default(), moment))
    }

    /// All that a new domain needs but memory.
    pub(super) fn check_new(&self, config: &DomainConfig) -> Result<(), Refusal> {
        if self.stopping.is_some() {
            return Err(Refusal::HostStops);
        }
        self.check_name(&config.name, None)?;
        self.check_cpus(config)?;
        if self.domains.len() + self.pending.len() >= MAX_DOMAINS {
            return Err(Refusal::TooMany);
        }
        Ok(())
    }

    fn check_name(&self, name: &DomainName, own: Option<DomId>) -> Result<(), Refusal> {
        let taken = self
            .iter()
            .any(|domain| domain.config.name == *name && Some(domain.id) != own);
        let waits = self.pending.iter().any(|pending| pending.config.name == *name);
        if taken || waits || name.as_str() == "Domain-0" {
            return Err(Refusal::NameTaken(name.clone()));
        }
        Ok(())
    }

    fn check_cpus(&self, config: &DomainConfig) -> Result<(), Refusal> {
        let host = CpuSet::first(self.host.cpus);
        let sets = (0..config.max_vcpus).map(|vcpu| config.cpus.of(vcpu));
        let nowhere = sets.into_iter().find(|set| set.and(host).is_empty());
        nowhere.map_or(Ok(()), |set| Err(Refusal::NoSuchCpu(set)))
    }

    /// Makes a domain whose checks are done. Nothing may fail here.
    pub(super) fn make(
        &mut self,
        mut config: DomainConfig,
        start: StartMode,
        history: History,
        moment: &Moment,
    ) -> DomId {
        let id = self.take_id();
        config.uuid.get_or_insert(Uuid::from_random(moment.random));
        self.fill_macs(&mut config, moment);
        let domain = Domain {
            id,
            config: config.clone(),
            phase: Phase::Building,
            hold: match start {
                StartMode::Running => Hold::Free,
                StartMode::Paused => Hold::Paused,
            },
            created_ms: moment.now_ms,
            alive_ms: moment.now_ms,
            asked: None,
            after: After::Vanish,
            history,
            vcpus: Vec::new(),
            next_config: None,
        };
        self.domains.insert(id, domain);
        self.actions.push_back(Action::Build {
            domain: id,
            config: Box::new(config),
        });
        id
    }

    fn take_id(&mut self) -> DomId {
        // There are fewer domains than numbers, so that one is free.
        for _ in 0..FIRST_RESERVED {
            let id = DomId(self.next_id);
            self.next_id = if self.next_id + 1 >= FIRST_RESERVED {
                1
            } else {
                self.next_id + 1
            };
            if !self.domains.contains_key(&id) {
                return id;
            }
        }
        DomId(FIRST_RESERVED - 1)
    }

    /// Gives network cards without an address one that no other card here has.
    fn fill_macs(&self, config: &mut DomainConfig, moment: &Moment) {
        let [a, b, c, d, ..] = moment.random;
        let mut next = u32::from_be_bytes([a, b, c, d]) & 0x7f_ffff;
        let others = self.domains.values().flat_map(|domain| &domain.config.vifs);
        let mut taken: Vec<MacAddress> = others.chain(&config.vifs).filter_map(|vif| vif.mac).collect();
        for vif in config.vifs.iter_mut().filter(|vif| vif.mac.is_none()) {
            let address = |number: u32| {
                let [_, a, b, c] = number.to_be_bytes();
                MacAddress::from_random([a, b, c])
            };
            // Each turn passes an address that is taken, of which there are fewer than 2^23.
            while taken.contains(&address(next)) {
                next = (next + 1) & 0x7f_ffff;
            }
            vif.mac = Some(address(next));
            taken.push(address(next));
        }
    }

    pub(super) fn alive(&mut self, id: DomId) -> Result<&mut Domain, Refusal> {
        let domain = self.domains.get_mut(&id).ok_or(Refusal::NoSuchDomain)?;
        if domain.phase == Phase::Alive {
            Ok(domain)
        } else {
            Err(Refusal::NotAlive)
        }
    }

    /// Holds a domain. One that is held stays so.
    ///
    /// # Errors
    /// No such domain, or it has ended.
    pub fn pause(&mut self, id: DomId) -> Result<(), Refusal> {
        let domain = self.domains.get_mut(&id).ok_or(Refusal::NoSuchDomain)?;
        match domain.phase {
            Phase::Building => domain.hold = Hold::Paused,
            Phase::Alive if domain.hold == Hold::Free => {
                domain.hold = Hold::Paused;
                self.actions.push_back(Action::Stop { domain: id });
            }
            Phase::Alive => {}
            Phase::Preserved(_) | Phase::Dying(_) => return Err(Refusal::NotAlive),
        }
        Ok(())
    }

    /// Lets a domain go on. One that is not held stays so.
    ///
    /// # Errors
    /// No such domain, or it has ended.
    pub fn unpause(&mut self, id: DomId) -> Result<(), Refusal> {
        let domain = self.domains.get_mut(&id).ok_or(Refusal::NoSuchDomain)?;
        match domain.phase {
            Phase::Building => domain.hold = Hold::Free,
            Phase::Alive if domain.hold == Hold::Paused => {
                domain.hold = Hold::Free;
                self.actions.push_back(Action::Run { domain: id });
            }
            Phase::Alive => {}
            Phase::Preserved(_) | Phase::Dying(_) => return Err(Refusal::NotAlive),
        }
        Ok(())
    }

    /// Asks the guest to power off. A held one hears it when it is unpaused.
    ///
    /// # Errors
    /// No such domain, or it is not alive.
    pub fn shutdown(&mut self, id: DomId) -> Result<(), Refusal> {
        self.ask(id, Asked::PowerOff)
    }

    /// Asks the guest to power off, and makes it anew then, as `on_reboot` says.
    ///
    /// # Errors
    /// No such domain, or it is not alive.
    pub fn reboot(&mut self, id: DomId) -> Result<(), Refusal> {
        self.ask(id, Asked::Reboot)
    }

    fn ask(&mut self, id: DomId, asked: Asked) -> Result<(), Refusal> {
        self.alive(id)?.asked = Some(asked);
        self.actions.push_back(Action::PowerButton { domain: id });
        Ok(())
    }

    /// Takes a domain down without asking it. Whatever was to follow does not.
    ///
    /// # Errors
    /// No such domain.
    pub fn destroy(&mut self, id: DomId) -> Result<(), Refusal> {
        let domain = self.domains.get_mut(&id).ok_or(Refusal::NoSuchDomain)?;
        domain.after = After::Vanish;
        self.take_down(id, None);
        Ok(())
    }

    /// Forgets a domain that waits to be made anew. Whether there was one.
    pub fn cancel_restart(&mut self, name: &str) -> bool {
        let before = self.pending.len();
        self.pending.retain(|pending| pending.config.name.as_str() != name);
        self.pending.len() < before
    }

    /// Begins to take a domain down, if that has not begun.
    pub(super) fn take_down(&mut self, id: DomId, reason: Option<super::state::EndReason>) {
        let Some(domain) = self.domains.get_mut(&id) else {
            return;
        };
        if matches!(domain.phase, Phase::Dying(_)) {
            return;
        }
        domain.phase = Phase::Dying(reason.or(domain.ended()));
        self.actions.push_back(Action::Destroy { domain: id });
    }

    /// Gives a domain another name.
    ///
    /// # Errors
    /// No such domain, or the name is taken.
    pub fn rename(&mut self, id: DomId, name: DomainName) -> Result<(), Refusal> {
        if !self.domains.contains_key(&id) {
            return Err(Refusal::NoSuchDomain);
        }
        self.check_name(&name, Some(id))?;
        if let Some(domain) = self.domains.get_mut(&id) {
            if let Some(next) = &mut domain.next_config {
                next.name = name.clone();
            }
            domain.config.name = name;
        }
        Ok(())
    }

    /// What the domain is made with when it is made anew. Its name and UUID stay.
    ///
    /// # Errors
    /// No such domain, or it could not be made so.
    pub fn update_config(&mut self, id: DomId, mut config: DomainConfig) -> Result<(), Refusal> {
        let domain = self.domains.get(&id).ok_or(Refusal::NoSuchDomain)?;
        self.check_cpus(&config)?;
        let own_kib = footprint_kib(&domain.config, &self.host);
        let (needed_kib, free_kib) = (footprint_kib(&config, &self.host), self.free_kib() + own_kib);
        if needed_kib > free_kib {
            return Err(Refusal::NoMemory { needed_kib, free_kib });
        }
        config.name = domain.config.name.clone();
        config.uuid = domain.config.uuid;
        if let Some(domain) = self.domains.get_mut(&id) {
            domain.next_config = Some(config);
        }
        Ok(())
    }

    /// Changes weight and cap, where given.
    ///
    /// # Errors
    /// No such domain.
    pub fn set_scheduling(&mut self, id: DomId, weight: Option<u16>, cap_percent: Option<u32>) -> Result<(), Refusal> {
        let domain = self.domains.get_mut(&id).ok_or(Refusal::NoSuchDomain)?;
        domain.config.weight = weight.unwrap_or(domain.config.weight).max(1);
        domain.config.cap_percent = cap_percent.unwrap_or(domain.config.cap_percent);
        self.balance();
        Ok(())
    }

    /// Says where a virtual processor (all of them without a number) must and should run; `None` leaves it.
    ///
    /// # Errors
    /// No such domain, virtual processor, or processor.
    pub fn pin(
        &mut self,
        id: DomId,
        vcpu: Option<u32>,
        hard: Option<CpuSet>,
        soft: Option<CpuSet>,
    ) -> Result<(), Refusal> {
        let host = CpuSet::first(self.host.cpus);
        let domain = self.domains.get_mut(&id).ok_or(Refusal::NoSuchDomain)?;
        let vcpus = domain.config.max_vcpus;
        if let Some(vcpu) = vcpu.filter(|&vcpu| vcpu >= vcpus) {
            return Err(Refusal::NoSuchVcpu(vcpu));
        }
        if let Some(set) = hard.into_iter().chain(soft).find(|set| set.and(host).is_empty()) {
            return Err(Refusal::NoSuchCpu(set));
        }
        for one in vcpu.map_or(0..vcpus, |vcpu| vcpu..vcpu + 1) {
            if let Some(set) = hard {
                domain.config.cpus.set(one, vcpus, set);
            }
            if let Some(set) = soft {
                domain.config.cpus_soft.set(one, vcpus, set);
            }
        }
        self.balance();
        Ok(())
    }

    /// Gives every living domain's processors their time anew, and says so where it changed.
    pub(super) fn balance(&mut self) {
        let mut loads = Loads::new(self.host.cpus);
        for domain in self.domains.values_mut().filter(|domain| domain.phase == Phase::Alive) {
            let vcpus = loads.place(&domain.config, &domain.vcpus);
            if vcpus != domain.vcpus {
                domain.vcpus.clone_from(&vcpus);
                self.actions.push_back(Action::Schedule {
                    domain: domain.id,
                    vcpus,
                });
            }
        }
    }

    pub(super) fn log(&mut self, text: String) {
        self.actions.push_back(Action::Log(text));
    }
}
