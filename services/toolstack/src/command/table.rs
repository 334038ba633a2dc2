//! The commands: names, arguments, options, one line of help each.
//!
//! Key type: [`Command`]. What a command does is in the files beside this one.

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

/// What carries a command out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Create,
    ConfigUpdate,
    List,
    VmList,
    VcpuList,
    Uptime,
    NetworkList,
    BlockList,
    Top,
    DomId,
    DomName,
    Destroy,
    Shutdown,
    Reboot,
    Pause,
    Unpause,
    Rename,
    Console,
    VcpuPin,
    SchedCredit2,
    Info,
    Dmesg,
    Log,
    Autostart,
    Host,
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandOption {
    /// Its letter.
    pub short: char,
    /// Its name; empty for none.
    pub long: &'static str,
    /// What follows it.
    pub argument: Option<&'static str>,
    /// What it does.
    pub help: &'static str,
}

/// One command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// Its arguments.
    pub arguments: &'static str,
    /// What it does, without the point.
    pub help: &'static str,
    /// Its options.
    pub options: &'static [CommandOption],
    /// Whether it changes something.
    pub modifies: bool,
    /// Whether it can say what it would do.
    pub dry_run: bool,
    /// Words that it needs.
    pub(super) least: usize,
    pub(super) does: Needs,
}

const fn flag(short: char, long: &'static str, help: &'static str) -> CommandOption {
    CommandOption {
        short,
        long,
        argument: None,
        help,
    }
}

const fn value(short: char, long: &'static str, argument: &'static str, help: &'static str) -> CommandOption {
    CommandOption {
        short,
        long,
        argument: Some(argument),
        help,
    }
}

const CREATE: &[CommandOption] = &[
    flag('c', "", "Connect to the console after the domain is created."),
    flag('d', "", "Enable debug messages."),
    flag('e', "", "Do not wait in the background for the death of the domain."),
    flag('F', "", "Run in foreground until death of the domain."),
    value('f', "defconfig", "FILE", "Use the given configuration file."),
    flag('n', "dryrun", "Dry run - prints the resulting configuration"),
    flag('p', "", "Leave the domain paused after it is created."),
    flag('q', "quiet", "Quiet."),
    flag('V', "vncviewer", "Has no effect here."),
    flag('A', "vncviewer-autopass", "Has no effect here."),
];

const CONFIG_UPDATE: &[CommandOption] = &[
    flag('d', "debug", "Enable debug messages."),
    value('f', "defconfig", "FILE", "Use the given configuration file."),
    flag('q', "quiet", "Quiet."),
];

const LIST: &[CommandOption] = &[
    flag('l', "long", "Output all VM details"),
    flag('v', "verbose", "Prints out UUIDs and security context"),
    flag('Z', "context", "Prints out security context"),
    flag('c', "cpupool", "Prints out the cpupool the domain is in"),
    flag('n', "numa", "Prints out NUMA node affinity"),
];

const STOP: &[CommandOption] = &[
    flag('a', "all", "Choose all domains."),
    flag('w', "wait", "Wait for the domains to end."),
    flag('F', "", "Fall back to the ACPI power button; here it is always used."),
];

const CONSOLE: &[CommandOption] = &[
    value('t', "type", "TYPE", "console type, pv or serial"),
    value('n', "num", "NUMBER", "console number, 0"),
    value('e', "escape", "CHARACTER", "escape character, ^] by default"),
];

const PIN: &[CommandOption] = &[flag('f', "force", "Override the kernel's opinion; has no effect here.")];

const CREDIT2: &[CommandOption] = &[
    value('d', "domain", "DOMAIN", "Domain to modify"),
    value('w', "weight", "WEIGHT", "Weight (int), 1 to 65535"),
    value('c', "cap", "CAP", "Cap (int), percent of one processor, 0 for none"),
    value('p', "cpupool", "CPUPOOL", "Restrict output to CPUPOOL"),
];

const INFO: &[CommandOption] = &[flag('n', "numa", "List host NUMA topology information")];
const DMESG: &[CommandOption] = &[flag('c', "", "Clear dmesg buffer as well as printing it")];
const UPTIME: &[CommandOption] = &[flag('s', "short", "Print short format")];
const DESTROY: &[CommandOption] = &[flag('f', "", "Permit destroying domain 0, which never succeeds here.")];
const TOP: &[CommandOption] = &[
    flag('b', "batch", "Print once, without a summary"),
    value('d', "delay", "SECONDS", "Seconds between updates (default 3)"),
    value('i', "iterations", "N", "Number of updates"),
    flag('f', "full-name", "Has no effect here."),
];

const fn command(
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    least: usize,
    does: Needs,
) -> Command {
    Command {
        name,
        arguments,
        help,
        options: &[],
        modifies: false,
        dry_run: false,
        least,
        does,
    }
}

impl Command {
    const fn with(self, options: &'static [CommandOption]) -> Self {
        Self { options, ..self }
    }

    const fn modifies(self) -> Self {
        Self { modifies: true, ..self }
    }

    const fn dry(self) -> Self {
        Self { dry_run: true, ..self }
    }
}

/// All commands, in the order in which help lists them.
pub const COMMANDS: &[Command] = &[
    command(
        "create",
        "<ConfigFile> [options] [vars]",
        "Create a domain from config file <filename>",
        0,
        Needs::Create,
    )
    .with(CREATE)
    .modifies()
    .dry(),
    command(
        "config-update",
        "<Domain> <ConfigFile> [options] [vars]",
        "Update a running domain's saved configuration, used when rebuilding the domain after reboot",
        1,
        Needs::ConfigUpdate,
    )
    .with(CONFIG_UPDATE)
    .modifies()
    .dry(),
    command(
        "list",
        "[options] [Domain]",
        "List information about all/some domains",
        0,
        Needs::List,
    )
    .with(LIST),
    command(
        "destroy",
        "[options] <Domain>",
        "Terminate a domain immediately",
        1,
        Needs::Destroy,
    )
    .with(DESTROY)
    .modifies(),
    command(
        "shutdown",
        "[options] <-a|Domain>",
        "Issue a shutdown signal to a domain",
        0,
        Needs::Shutdown,
    )
    .with(STOP)
    .modifies(),
    command(
        "reboot",
        "[options] <-a|Domain>",
        "Issue a reboot signal to a domain",
        0,
        Needs::Reboot,
    )
    .with(STOP)
    .modifies(),
    command("pause", "<Domain>", "Pause execution of a domain", 1, Needs::Pause).modifies(),
    command("unpause", "<Domain>", "Unpause a paused domain", 1, Needs::Unpause).modifies(),
    command(
        "console",
        "[options] <Domain>",
        "Attach to domain's console",
        1,
        Needs::Console,
    )
    .with(CONSOLE),
    command(
        "vcpu-list",
        "[Domain, ...]",
        "List the VCPUs for all/some domains",
        0,
        Needs::VcpuList,
    ),
    command(
        "vcpu-pin",
        "[option] <Domain> <VCPU|all> <Hard affinity|-|all> <Soft affinity|-|all>",
        "Set which CPUs a VCPU can use",
        3,
        Needs::VcpuPin,
    )
    .with(PIN)
    .modifies()
    .dry(),
    command(
        "vm-list",
        "",
        "List guest domains, excluding dom0, stubdoms, etc.",
        0,
        Needs::VmList,
    ),
    command("info", "-n, --numa", "Get information about Xen host", 0, Needs::Info).with(INFO),
    command(
        "sched-credit2",
        "[-d <Domain> [-w[=WEIGHT]|-c[=CAP]]] [-p CPUPOOL]",
        "Get/set credit2 scheduler parameters",
        0,
        Needs::SchedCredit2,
    )
    .with(CREDIT2)
    .modifies(),
    command(
        "domid",
        "<DomainName>",
        "Convert a domain name to domain id",
        1,
        Needs::DomId,
    ),
    command(
        "domname",
        "<DomainId>",
        "Convert a domain id to domain name",
        1,
        Needs::DomName,
    ),
    command(
        "rename",
        "<Domain> <NewDomainName>",
        "Rename a domain",
        2,
        Needs::Rename,
    )
    .modifies(),
    command("dmesg", "[-c]", "Read and/or clear dmesg buffer", 0, Needs::Dmesg).with(DMESG),
    command("log", "", "Print the toolstack's log", 0, Needs::Log),
    command("top", "", "Monitor a host and the domains in real time", 0, Needs::Top).with(TOP),
    command(
        "network-list",
        "<Domain(s)>",
        "List virtual network interfaces for a domain",
        1,
        Needs::NetworkList,
    ),
    command(
        "block-list",
        "<Domain(s)>",
        "List virtual block devices for a domain",
        1,
        Needs::BlockList,
    ),
    command(
        "uptime",
        "[-s] [Domain]",
        "Print uptime for all/some domains",
        0,
        Needs::Uptime,
    )
    .with(UPTIME),
    command(
        "autostart",
        "[<add|remove> <Name>]",
        "List or change the domains that start with the host",
        0,
        Needs::Autostart,
    )
    .modifies(),
    command(
        "host",
        "<shutdown|reboot>",
        "Stop all domains in order, then the host",
        1,
        Needs::Host,
    )
    .modifies(),
];

/// What a word may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// This command.
    One(&'static Command),
    /// Several begin so.
    Ambiguous,
    /// None does.
    Nothing,
}

/// The command of a name, or of the beginning of only one.
#[must_use]
pub fn find(word: &str) -> Find {
    if let Some(command) = COMMANDS.iter().find(|command| command.name == word) {
        return Find::One(command);
    }
    let mut fitting = COMMANDS
        .iter()
        .filter(|command| !word.is_empty() && command.name.starts_with(word));
    match (fitting.next(), fitting.next()) {
        (Some(command), None) => Find::One(command),
        (Some(_), Some(_)) => Find::Ambiguous,
        (None, _) => Find::Nothing,
    }
}

/// All commands with their lines of help.
pub(super) fn help_list() -> String {
    let mut text = String::from("Usage xl [-vfNtT] <subcommand> [args]\n\nxl full list of subcommands:\n\n");
    for Command { name, help, .. } in COMMANDS {
        // Writing into a string cannot fail, here and below.
        let _ = writeln!(text, " {name:<19} {help}");
    }
    text
}

/// One command's help.
pub(super) fn help_of(command: &Command) -> String {
    let Command {
        name,
        arguments,
        help,
        options,
        modifies,
        dry_run,
        ..
    } = command;
    let force = if *modifies { "f" } else { "" };
    let dry = if *dry_run { "N" } else { "" };
    let mut text = format!("Usage: xl [-vtT{force}{dry}] {name} {arguments}\n\n{help}.\n\n");
    if options.is_empty() {
        return text;
    }
    text.push_str("Options:\n\n");
    for option in *options {
        let short = format!("-{}", option.short);
        let long = if option.long.is_empty() {
            String::new()
        } else {
            format!(", --{}", option.long)
        };
        let argument = option
            .argument
            .map(|argument| format!(" {argument}"))
            .unwrap_or_default();
        let _ = writeln!(text, "{:<30}{}", format!("{short}{long}{argument}"), option.help);
    }
    text
}
