//! A checked configuration as text that parses to the same.

use alloc::string::{String, ToString};

use super::cpus::Affinity;
use super::domain::{ClockBase, DomainConfig, DomainType, Migration, Policies};
use super::syntax::{Document, Value};

impl DomainConfig {
    /// As `xl.cfg`: name, memory and processors always, everything else where it is not as usual.
    #[must_use]
    pub fn print(&self) -> String {
        let usual = Self::new(self.name.clone());
        let mut document = Document::default();
        document.push("name", Value::text(self.name.as_str()));
        if let Some(uuid) = self.uuid {
            document.push("uuid", Value::text(uuid.to_string()));
        }
        match self.kind {
            DomainType::Pv => {}
            DomainType::Pvh => document.push("type", Value::text("pvh")),
            DomainType::Hvm => document.push("type", Value::text("hvm")),
        }
        self.print_resources(&mut document);
        if self.weight != usual.weight {
            document.push("cpu_weight", Value::number(self.weight));
        }
        if self.cap_percent != usual.cap_percent {
            document.push("cap", Value::number(self.cap_percent));
        }
        self.print_kernel(&mut document);
        self.print_policies(&mut document);
        let texts = |texts: &mut dyn Iterator<Item = String>| Value::list(texts.map(Value::text).collect());
        if !self.disks.is_empty() {
            document.push("disk", texts(&mut self.disks.iter().map(ToString::to_string)));
        }
        if !self.vifs.is_empty() {
            document.push("vif", texts(&mut self.vifs.iter().map(ToString::to_string)));
        }
        if self.clock == ClockBase::Local {
            document.push("localtime", Value::number(1));
        }
        if self.clock_offset_s != usual.clock_offset_s {
            // The grammar has no negative numbers.
            document.push("rtc_timeoffset", Value::text(self.clock_offset_s.to_string()));
        }
        if self.migration == Migration::Forbidden {
            document.push("nomigrate", Value::number(1));
        }
        document.to_string()
    }

    fn print_resources(&self, document: &mut Document) {
        document.push("memory", Value::number(self.memory_mib));
        if self.max_memory_mib != self.memory_mib {
            document.push("maxmem", Value::number(self.max_memory_mib));
        }
        document.push("vcpus", Value::number(self.vcpus));
        if self.max_vcpus != self.vcpus {
            document.push("maxvcpus", Value::number(self.max_vcpus));
        }
        for (key, affinity) in [("cpus", &self.cpus), ("cpus_soft", &self.cpus_soft)] {
            match affinity {
                _ if *affinity == Affinity::default() => {}
                Affinity::Same(set) => document.push(key, Value::text(set.to_string())),
                Affinity::Each(sets) => {
                    document.push(
                        key,
                        Value::list(sets.iter().map(|set| Value::text(set.to_string())).collect()),
                    );
                }
            }
        }
    }

    fn print_kernel(&self, document: &mut Document) {
        for (key, file) in [("kernel", &self.kernel), ("ramdisk", &self.ramdisk)] {
            if let Some(file) = file {
                document.push(key, Value::text(file));
            }
        }
        if !self.cmdline.is_empty() {
            document.push("cmdline", Value::text(&self.cmdline));
        }
    }

    fn print_policies(&self, document: &mut Document) {
        let (own, usual) = (&self.on, Policies::default());
        let all = [
            ("on_poweroff", own.poweroff, usual.poweroff),
            ("on_reboot", own.reboot, usual.reboot),
            ("on_watchdog", own.watchdog, usual.watchdog),
            ("on_crash", own.crash, usual.crash),
            ("on_soft_reset", own.soft_reset, usual.soft_reset),
        ];
        for (key, policy, usual) in all {
            if policy != usual {
                document.push(key, Value::text(policy.word()));
            }
        }
    }
}
