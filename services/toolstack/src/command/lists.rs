//! Commands that only look at domains.

use alloc::format;
use alloc::vec::Vec;

use super::options::Options;
use super::{Commands, Follow, Outcome, Verdict, World};
use crate::config::CpuSet;
use crate::life::{Activity, DomId, Domain, Hold, Phase};
use crate::show::{self, ListOptions, Row, Summary, TopRow, VcpuRow};

impl<W: World> Commands<'_, W> {
    pub(super) fn list(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        if options.words.len() > 1 {
            let super::table::Find::One(command) = super::find("list") else {
                return Ok(Outcome::default());
            };
            return Err(Outcome {
                code: 1,
                ..Outcome::shows(super::help_of(command))
            });
        }
        let rows = self.chosen_rows(&options.words)?;
        if options.has('l') {
            let domains = rows.iter().filter_map(|row| self.domains.get(row.id));
            return Ok(Outcome::shows(show::list_json(
                domains.map(|domain| (domain.id, &domain.config)),
            )));
        }
        let columns = ListOptions {
            verbose: options.has('v'),
            context: options.has('Z'),
            cpupool: options.has('c'),
            numa: options.has('n'),
        };
        Ok(Outcome::shows(show::list(&rows, columns)))
    }

    pub(super) fn vm_list(&mut self) -> Outcome {
        let rows: Vec<Row> = self.rows().into_iter().filter(|row| row.id != DomId(0)).collect();
        Outcome::shows(show::vm_list(&rows))
    }

    pub(super) fn vcpu_list(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        let chosen = self.chosen_rows(&options.words)?;
        let cpus = self.domains.host().cpus;
        let mut rows = Vec::new();
        for row in &chosen {
            match self.domains.get(row.id) {
                Some(domain) => rows.extend(self.vcpus_of(domain)),
                None => rows.extend((0..cpus).map(|cpu| service_vcpu(row, cpu, cpus))),
            }
        }
        Ok(Outcome::shows(show::vcpu_list(&rows, cpus)))
    }

    fn vcpus_of(&self, domain: &Domain) -> Vec<VcpuRow> {
        let sample = self.world.sample(domain.id);
        let runs = domain.phase == Phase::Alive && domain.hold == Hold::Free;
        let row = |vcpu: u32| {
            let (activity, time) = sample
                .vcpus
                .get(vcpu as usize)
                .copied()
                .unwrap_or((Activity::Blocked, 0));
            let activity = if runs { activity } else { Activity::Blocked };
            let place = domain.vcpus.get(vcpu as usize).filter(|_| domain.phase == Phase::Alive);
            VcpuRow {
                name: format!("{}", domain.config.name),
                id: domain.id,
                vcpu,
                online: place.map(|time| (time.core, activity)),
                cpu_time_ms: time,
                hard: domain.config.cpus.of(vcpu),
                soft: domain.config.cpus_soft.of(vcpu),
            }
        };
        (0..domain.config.max_vcpus).map(row).collect()
    }

    pub(super) fn uptime(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        let rows = self.chosen_rows(&options.words)?;
        let text = if options.has('s') {
            show::uptime_short(&rows, self.world.moment().wall_s)
        } else {
            show::uptime(&rows)
        };
        Ok(Outcome::shows(text))
    }

    pub(super) fn network_list(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        self.devices(options, |world, id| show::network_list(id, &world.nics(id)))
    }

    pub(super) fn block_list(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        let known = |outcome: Outcome| Outcome {
            stderr: outcome.stderr.replace(" (rc=-6)", ""),
            ..outcome
        };
        self.devices(options, |world, id| show::block_list(id, &world.disks(id)))
            .map_err(known)
    }

    fn devices(&self, options: &Options<'_>, show: impl Fn(&W, DomId) -> alloc::string::String) -> Verdict<Outcome> {
        let mut outcome = Outcome::default();
        for word in &options.words {
            let id = self.domain(word)?;
            outcome.stdout.push_str(&show(self.world, id));
        }
        Ok(outcome)
    }

    pub(super) fn domid(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        let name = options.word(0);
        let complaint = || format!("Can't get domid of domain name '{name}', maybe this domain does not exist.");
        let found = self
            .domains
            .find(name)
            .map(|domain| domain.id)
            .or((name == "Domain-0").then_some(DomId(0)));
        found
            .map(|id| Outcome::shows(format!("{id}\n")))
            .ok_or_else(|| Outcome::fails(1, complaint()))
    }

    pub(super) fn domname(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        let word = options.word(0);
        if word.is_empty() || !word.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(Outcome::fails(1, "Invalid domain id."));
        }
        let id = word.parse().ok().map(DomId);
        let found = id
            .and_then(|id| self.domains.get(id))
            .map(|domain| domain.config.name.as_str());
        let found = found.or((id == Some(DomId(0))).then_some("Domain-0"));
        let complaint = || format!("Can't get domain name of domain id '{word}', maybe this domain does not exist.");
        found
            .map(|name| Outcome::shows(format!("{name}\n")))
            .ok_or_else(|| Outcome::fails(1, complaint()))
    }

    pub(super) fn top(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        let delay_s = match options.value('d') {
            None => 3,
            Some(text) => text.parse().ok().filter(|&delay| delay > 0).ok_or_else(|| {
                Outcome::fails(1, "Error: Invalid argument.\nhint: -d takes whole seconds, at least 1")
            })?,
        };
        let rows = self.top_rows();
        let facts = self.world.host();
        if options.has('b') {
            return Ok(Outcome::shows(show::top_batch(&rows, facts.total_kib)));
        }
        let summary = Summary {
            wall_s: self.world.moment().wall_s,
            release: &facts.release,
            total_kib: facts.total_kib,
            free_kib: facts.free_kib,
            cpus: facts.cpus,
            cpu_mhz: facts.cpu_khz / 1000,
        };
        let follow = if options.value('i') == Some("1") {
            Follow::Nothing
        } else {
            Follow::Repeat { delay_s }
        };
        Ok(Outcome {
            follow,
            ..Outcome::shows(show::top_screen(&rows, &summary))
        })
    }

    fn top_rows(&mut self) -> Vec<TopRow> {
        let services = self.world.services();
        let rows = self.rows();
        let top = |row: Row| match self.domains.get(row.id) {
            Some(domain) => {
                let sample = self.world.sample(row.id);
                TopRow {
                    cpu_permille: sample.cpu_permille,
                    max_memory_kib: Some(domain.config.max_memory_mib * 1024),
                    counters: sample.counters,
                    row,
                }
            }
            None => TopRow {
                cpu_permille: services.cpu_permille,
                max_memory_kib: None,
                counters: show::Counters::default(),
                row,
            },
        };
        rows.into_iter().map(top).collect()
    }
}

fn service_vcpu(row: &Row, cpu: u32, cpus: u32) -> VcpuRow {
    VcpuRow {
        name: row.name.clone(),
        id: row.id,
        vcpu: cpu,
        online: Some((cpu, Activity::Running)),
        cpu_time_ms: row.cpu_time_ms / u64::from(cpus.max(1)),
        hard: CpuSet::ALL,
        soft: CpuSet::ALL,
    }
}
