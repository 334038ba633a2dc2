//! `info`: the host, a line a field.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;

/// What is known of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Its name.
    pub host: String,
    /// Version of this system, like `0.1.0`.
    pub release: String,
    /// When and from which source it was built.
    pub version: String,
    /// Processors.
    pub cpus: u32,
    /// Cores in a socket.
    pub cores_per_socket: u32,
    /// Threads of a core.
    pub threads_per_core: u32,
    /// Clock of a processor, in kHz.
    pub cpu_khz: u64,
    /// Features by CPUID, as eight words.
    pub hw_caps: [u32; 8],
    /// What virtualization it offers, like `hvm hap`.
    pub virt_caps: Vec<String>,
    /// All memory.
    pub total_kib: u64,
    /// Memory for further domains.
    pub free_kib: u64,
    /// The kernel's command line.
    pub command_line: String,
    /// The compiler.
    pub compiler: String,
}

impl HostFacts {
    /// Names and values, in the order of `xl info`.
    fn fields(&self) -> Vec<(&'static str, String)> {
        let number = |number: u32| number.to_string();
        let caps: Vec<String> = self.hw_caps.iter().map(|word| format!("{word:08x}")).collect();
        let mut version = self.release.splitn(3, '.');
        let (major, minor) = (version.next().unwrap_or("0"), version.next().unwrap_or("0"));
        let extra = version.next().map(|extra| format!(".{extra}")).unwrap_or_default();
        alloc::vec![
            ("host", self.host.clone()),
            ("release", self.release.clone()),
            ("version", self.version.clone()),
            ("machine", "x86_64".to_string()),
            ("nr_cpus", number(self.cpus)),
            ("max_cpu_id", number(self.cpus.saturating_sub(1))),
            ("nr_nodes", number(1)),
            ("cores_per_socket", number(self.cores_per_socket)),
            ("threads_per_core", number(self.threads_per_core)),
            ("cpu_mhz", format!("{}.{:03}", self.cpu_khz / 1000, self.cpu_khz % 1000)),
            ("hw_caps", caps.join(":")),
            ("virt_caps", self.virt_caps.join(" ")),
            ("total_memory", (self.total_kib / 1024).to_string()),
            ("free_memory", (self.free_kib / 1024).to_string()),
            ("sharing_freed_memory", number(0)),
            ("sharing_used_memory", number(0)),
            ("outstanding_claims", number(0)),
            ("free_cpus", number(0)),
            ("xen_major", major.to_string()),
            ("xen_minor", minor.to_string()),
            ("xen_extra", extra),
            ("xen_version", self.release.clone()),
            ("xen_caps", "hvm-3.0-x86_64".to_string()),
            ("xen_scheduler", "credit2".to_string()),
            ("xen_pagesize", number(4096)),
            ("platform_params", "virt_start=0xffff800000000000".to_string()),
            ("xen_changeset", self.version.clone()),
            ("xen_commandline", self.command_line.clone()),
            ("cc_compiler", self.compiler.clone()),
            ("cc_compile_by", String::new()),
            ("cc_compile_domain", String::new()),
            ("cc_compile_date", String::new()),
            ("build_id", String::new()),
            ("xend_config_format", number(4)),
        ]
    }

    /// `info`; `numa` adds what `-n` does.
    #[must_use]
    pub fn info(&self, numa: bool) -> String {
        let mut text = String::new();
        for (name, value) in self.fields() {
            if name == "xen_major" && numa {
                self.topology(&mut text);
            }
            let _ = writeln!(text, "{name:<23}: {value}");
        }
        text
    }

    /// `info FIELD`: the value, or nothing if there is no such field.
    #[must_use]
    pub fn field(&self, name: &str) -> String {
        let field = self.fields().into_iter().find(|(field, _)| *field == name);
        field.map(|(_, value)| format!("{value}\n")).unwrap_or_default()
    }

    fn topology(&self, text: &mut String) {
        text.push_str("cpu_topology           :\ncpu:    core    socket     node\n");
        let threads = self.threads_per_core.max(1);
        let per_socket = threads.saturating_mul(self.cores_per_socket.max(1));
        for cpu in 0..self.cpus {
            let (core, socket) = (cpu % per_socket / threads, cpu / per_socket);
            let _ = writeln!(text, "{cpu:3}:    {core:4}     {socket:4}     {:4}", 0);
        }
        text.push_str("device topology        :\nNo device topology data available\n");
        text.push_str("numa_info              :\nnode:    memsize    memfree    distances\n");
        let (total, free) = (self.total_kib / 1024, self.free_kib / 1024);
        let _ = writeln!(text, "{:4}:    {total:6}     {free:6}      10", 0);
    }
}
