//! From TOML to [`Manifest`]: types, ranges of numbers, names that are words. Everything that needs a second look at
//! another place of the manifest is `check`'s.
//!
//! Key function: [`Manifest::parse`]. Called by `boot/xtask`; calls `reader`.

use ecusson_abi::{FAIR_PRIORITY, Rights, platform};
use ecusson_manifest::composition::{Dma, InterruptLine, PortalMode, Restart, RestartPolicy, Start};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::instances::expand;
use super::reader::{Problems, TableReader, as_table};
use super::{
    Access, Call, Control, File, FileUse, Interrupt, Machine, Manifest, Map, Mmio, Notification, Platform, Portal,
    Ports, Process, Region, Root, Signal, Thread,
};
use crate::diagnostic::{At, Diagnostic, Source};

/// Version of the manifest format, the key `format`.
pub const FORMAT: u32 = 1;
/// Priority of a process that does not say otherwise.
const DEFAULT_PRIORITY: u8 = 10;
/// Stack of a thread that does not say otherwise.
const DEFAULT_STACK_PAGES: u32 = 4;
/// Period of a thread that does not say otherwise.
const DEFAULT_PERIOD_US: u32 = 10_000;

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// All mistakes of form; with none, the manifest may still be refused by [`crate::check()`].
    pub fn parse(source: &Source) -> Result<Self, Vec<Diagnostic>> {
        let (document, errors) = DeTable::parse_recoverable(&source.text);
        let mut problems: Problems = errors.iter().map(syntax).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut table = TableReader::new("the manifest", 0..0, document.get_ref());
        let manifest = Self::read(&mut table, &mut problems);
        table.finish(&mut problems);
        if problems.is_empty() {
            Ok(manifest)
        } else {
            Err(problems)
        }
    }

    fn read(table: &mut TableReader<'_>, problems: &mut Problems) -> Self {
        let format = table.required_number::<u32>("format", problems);
        if format.value != FORMAT && table.has("format") {
            problems.push(Diagnostic::error(
                "format",
                format.span,
                format!("manifest format {} is not known", format.value),
                format!("this tool reads `format = {FORMAT}`"),
            ));
        }
        let machine = table.table("machine", "[machine]", problems);
        if machine.is_none() {
            table.missing("machine", "a table with `memory_mib`", problems);
        }
        let root = table.table("root", "[root]", problems);
        let regions = table.tables("region", "[[region]]", problems);
        let files = table.named_tables("file", "[file.NAME]", problems);
        let processes = table.tables("process", "[[process]]", problems);
        Self {
            machine: read_machine(machine, problems),
            root: read_root(root, problems),
            regions: regions.into_iter().map(|table| read_region(table, problems)).collect(),
            files: files
                .into_iter()
                .map(|(name, table)| read_file(name, table, problems))
                .collect(),
            processes: processes
                .into_iter()
                .map(|table| read_process(table, problems))
                .collect::<Vec<_>>()
                .into_iter()
                .flat_map(|section| expand(section, problems))
                .collect(),
        }
    }
}

fn syntax(error: &toml::de::Error) -> Diagnostic {
    Diagnostic::error(
        "syntax",
        error.span().unwrap_or(0..0),
        error.message().replace('\n', "; "),
        "the manifest is a TOML 1.0 file, see specs/manifest.md",
    )
}

fn read_machine(table: Option<TableReader<'_>>, problems: &mut Problems) -> Machine {
    let Some(mut table) = table else {
        return Machine {
            span: 0..0,
            memory_mib: At::new(0, 0..0),
            reserve_mib: At::new(0, 0..0),
            cores: At::new(1, 0..0),
            dma: None,
        };
    };
    let machine = Machine {
        span: table.span.clone(),
        memory_mib: table.required_number("memory_mib", problems),
        reserve_mib: table.number_or("reserve_mib", 16, problems),
        cores: table.number_or("cores", 1, problems),
        dma: table.word(
            "dma",
            &[("unconfined", Dma::Unconfined), ("iommu", Dma::Iommu)],
            problems,
        ),
    };
    table.finish(problems);
    machine
}

fn read_root(table: Option<TableReader<'_>>, problems: &mut Problems) -> Root {
    let default = || At::new("ecusson-root".to_owned(), 0..0);
    let Some(mut table) = table else {
        return Root {
            binary: default(),
            priority: At::new(31, 0..0),
        };
    };
    let root = Root {
        binary: table.optional_string("binary", problems).unwrap_or_else(default),
        priority: table.number_or("priority", 31, problems),
    };
    table.finish(problems);
    root
}

fn read_region(mut table: TableReader<'_>, problems: &mut Problems) -> Region {
    let region = Region {
        name: name(&mut table, problems),
        pages: table.required_number("pages", problems),
        dma: table.boolean("dma", problems),
    };
    table.finish(problems);
    region
}

fn read_file(name: At<String>, mut table: TableReader<'_>, problems: &mut Problems) -> File {
    check_name(&name, true, problems);
    let file = File {
        name,
        path: table.string("path", problems),
        bytes: 0,
    };
    table.finish(problems);
    file
}

/// A name: letters, digits, `-` and `_`, so that `process.portal` can be split and log lines stay readable.
fn name(table: &mut TableReader<'_>, problems: &mut Problems) -> At<String> {
    let name = table.string("name", problems);
    check_name(&name, table.has("name"), problems);
    name
}

fn check_name(name: &At<String>, present: bool, problems: &mut Problems) {
    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if present && (name.is_empty() || name.len() > 48 || !name.chars().all(word)) {
        problems.push(Diagnostic::error(
            "name",
            name.span.clone(),
            format!("`{name}` is not a name"),
            "names have 1 to 48 letters, digits, `-` and `_`",
        ));
    }
}

fn read_process(mut table: TableReader<'_>, problems: &mut Problems) -> Process {
    let name = name(&mut table, problems);
    let process = Process {
        span: table.span.clone(),
        section: name.clone(),
        name,
        instances: table.number("instances", problems),
        start: table
            .word("start", &[("boot", Start::Boot), ("demand", Start::Demand)], problems)
            .unwrap_or(At::new(Start::Boot, table.span.clone())),
        binary: table.string("binary", problems),
        memory_pages: table.number_or("memory_pages", 0, problems),
        capability_slots: table.number_or("capability_slots", 256, problems),
        receive_slots: table.number_or("receive_slots", 0, problems),
        guest: table.boolean("guest", problems),
        dma: table.boolean("dma", problems),
        manage_self: table.boolean("manage_self", problems),
        restart: read_restart(&mut table, problems),
        threads: read_threads(&mut table, problems),
        portals: each(&mut table, "portal", "[[process.portal]]", problems, read_portal),
        notifications: each(
            &mut table,
            "notification",
            "[[process.notification]]",
            problems,
            read_notification,
        ),
        calls: edges(&mut table, "calls", problems, read_call),
        signals: each(&mut table, "signals", "an entry of `signals`", problems, read_signal),
        maps: each(&mut table, "maps", "an entry of `maps`", problems, read_map),
        controls: each(&mut table, "controls", "an entry of `controls`", problems, read_control),
        files: edges(&mut table, "files", problems, read_file_use),
        interrupts: each(
            &mut table,
            "interrupt",
            "[[process.interrupt]]",
            problems,
            read_interrupt,
        ),
        ports: each(&mut table, "ports", "[[process.ports]]", problems, read_ports),
        mmio: each(&mut table, "mmio", "[[process.mmio]]", problems, read_mmio),
        platform: table
            .table("platform", "[process.platform]", problems)
            .map(|table| read_platform(table, problems)),
    };
    table.finish(problems);
    process
}

/// Reads every table of an array with `read`, and looks for keys that `read` does not know.
fn each<'t, T>(
    table: &mut TableReader<'t>,
    key: &'static str,
    what: &'static str,
    problems: &mut Problems,
    read: fn(&mut TableReader<'t>, &mut Problems) -> T,
) -> Vec<T> {
    let tables = table.tables(key, what, problems);
    tables
        .into_iter()
        .map(|mut table| {
            let value = read(&mut table, problems);
            table.finish(problems);
            value
        })
        .collect()
}

/// Reads an array whose entries may be plain strings.
fn edges<'t, T>(
    table: &mut TableReader<'t>,
    key: &'static str,
    problems: &mut Problems,
    read: fn(&'t Spanned<DeValue<'t>>, &mut Problems) -> Option<T>,
) -> Vec<T> {
    table
        .array(key, problems)
        .into_iter()
        .filter_map(|value| read(value, problems))
        .collect()
}

fn read_restart(table: &mut TableReader<'_>, problems: &mut Problems) -> Restart {
    let mut restart = Restart {
        policy: RestartPolicy::OnFailure,
        backoff_ms: 100,
        backoff_max_ms: 10_000,
        give_up_after: 0,
    };
    let words = [
        ("always", RestartPolicy::Always),
        ("on-failure", RestartPolicy::OnFailure),
        ("never", RestartPolicy::Never),
    ];
    // Short form: restart = "never"; long form: a table with back-off.
    if table.value("restart").is_some_and(|value| value.get_ref().is_str()) {
        if let Some(policy) = table.word("restart", &words, problems) {
            restart.policy = policy.value;
        }
        return restart;
    }
    let Some(mut inner) = table.table("restart", "`restart`", problems) else {
        return restart;
    };
    if let Some(policy) = inner.word("policy", &words, problems) {
        restart.policy = policy.value;
    }
    let backoff = inner.number_or("backoff_ms", restart.backoff_ms, problems);
    let longest = inner.number_or("backoff_max_ms", restart.backoff_max_ms.max(backoff.value), problems);
    restart.backoff_ms = backoff.value;
    restart.backoff_max_ms = longest.value;
    restart.give_up_after = inner.number_or("give_up_after", restart.give_up_after, problems).value;
    if backoff.value > longest.value {
        problems.push(
            Diagnostic::error(
                "backoff",
                longest.span,
                format!(
                    "the longest pause ({} ms) is shorter than the first ({} ms)",
                    longest.value, backoff.value
                ),
                "make `backoff_max_ms` at least `backoff_ms`",
            )
            .context(backoff.span, "the first pause"),
        );
    }
    inner.finish(problems);
    restart
}

/// The threads: `[[process.thread]]` tables, each with the process's own keys as defaults, or one thread `main`.
fn read_threads(table: &mut TableReader<'_>, problems: &mut Problems) -> Vec<Thread> {
    let tables = table.tables("thread", "[[process.thread]]", problems);
    let main = At::new("main".to_owned(), table.span.clone());
    let pattern = read_thread(table, main, None, problems);
    if tables.is_empty() {
        return vec![pattern];
    }
    let mut threads = Vec::new();
    for mut table in tables {
        let name = name(&mut table, problems);
        threads.push(read_thread(&mut table, name, Some(&pattern), problems));
        table.finish(problems);
    }
    threads
}

fn read_thread(
    table: &mut TableReader<'_>,
    name: At<String>,
    pattern: Option<&Thread>,
    problems: &mut Problems,
) -> Thread {
    let span = table.span.clone();
    let weight = table
        .number("weight", problems)
        .or_else(|| pattern.and_then(|pattern| pattern.weight.clone()));
    let default_priority = if weight.is_some() {
        FAIR_PRIORITY
    } else {
        DEFAULT_PRIORITY
    };
    let budget = table.number("budget_us", problems);
    let period = table.number("period_us", problems);
    let inherited = |own: Option<At<u32>>, from: fn(&Thread) -> &At<u32>, default: u32| {
        own.or_else(|| pattern.map(|pattern| from(pattern).clone()))
            .unwrap_or(At::new(default, span.clone()))
    };
    let period_us = inherited(period, |thread| &thread.period_us, DEFAULT_PERIOD_US);
    let budget_us = inherited(budget, |thread| &thread.budget_us, period_us.value);
    Thread {
        core: table
            .number("core", problems)
            .unwrap_or_else(|| pattern.map_or(At::new(0, span.clone()), |pattern| pattern.core.clone())),
        priority: table.number("priority", problems).unwrap_or_else(|| {
            pattern.map_or(At::new(default_priority, span.clone()), |pattern| {
                pattern.priority.clone()
            })
        }),
        stack_pages: inherited(
            table.number("stack_pages", problems),
            |thread| &thread.stack_pages,
            DEFAULT_STACK_PAGES,
        ),
        fpu: table
            .optional("fpu", "true or false", problems, DeValue::as_bool)
            .unwrap_or_else(|| pattern.map_or(At::new(false, span.clone()), |pattern| pattern.fpu.clone())),
        name,
        weight,
        budget_us,
        period_us,
    }
}

fn read_portal(table: &mut TableReader<'_>, problems: &mut Problems) -> Portal {
    let words = [("passive", PortalMode::Passive), ("active", PortalMode::Active)];
    if !table.has("mode") {
        table.missing(
            "mode",
            "\"passive\" (runs on the caller's time) or \"active\" (on the server's)",
            problems,
        );
    }
    Portal {
        name: name(table, problems),
        mode: table
            .word("mode", &words, problems)
            .unwrap_or(At::new(PortalMode::Passive, table.span.clone())),
        thread: table.optional_string("thread", problems),
        guests: table.boolean("guests", problems),
    }
}

fn read_notification(table: &mut TableReader<'_>, problems: &mut Problems) -> Notification {
    Notification {
        name: name(table, problems),
        thread: table.optional_string("thread", problems),
        slot: table.number("slot", problems),
    }
}

fn read_call<'t>(value: &'t Spanned<DeValue<'t>>, problems: &mut Problems) -> Option<Call> {
    if let Some(portal) = value.get_ref().as_str() {
        let portal = At::new(portal.to_owned(), value.span());
        return Some(Call {
            portal,
            alias: None,
            thread: None,
            slot: None,
        });
    }
    let mut table = as_table("an entry of `calls`", value, problems)?;
    let call = Call {
        portal: table.string("portal", problems),
        alias: table.optional_string("as", problems),
        thread: table.optional_string("thread", problems),
        slot: table.number("slot", problems),
    };
    table.finish(problems);
    Some(call)
}

fn read_signal(table: &mut TableReader<'_>, problems: &mut Problems) -> Signal {
    Signal {
        notification: table.string("notification", problems),
        bit: table.required_number("bit", problems),
        alias: table.optional_string("as", problems),
        slot: table.number("slot", problems),
    }
}

fn read_map(table: &mut TableReader<'_>, problems: &mut Problems) -> Map {
    let words = [("read-only", Access::ReadOnly), ("read-write", Access::ReadWrite)];
    if !table.has("access") {
        table.missing("access", "\"read-only\" or \"read-write\"", problems);
    }
    Map {
        region: table.string("region", problems),
        access: table
            .word("access", &words, problems)
            .unwrap_or(At::new(Access::ReadOnly, table.span.clone())),
        slot: table.number("slot", problems),
    }
}

fn read_control(table: &mut TableReader<'_>, problems: &mut Problems) -> Control {
    Control {
        process: table.string("process", problems),
        notification: table.string("notification", problems),
        bit: table.required_number("bit", problems),
    }
}

fn read_file_use<'t>(value: &'t Spanned<DeValue<'t>>, problems: &mut Problems) -> Option<FileUse> {
    if let Some(file) = value.get_ref().as_str() {
        return Some(FileUse {
            file: At::new(file.to_owned(), value.span()),
            alias: None,
            slot: None,
        });
    }
    let mut table = as_table("an entry of `files`", value, problems)?;
    let used = FileUse {
        file: table.string("file", problems),
        alias: table.optional_string("as", problems),
        slot: table.number("slot", problems),
    };
    table.finish(problems);
    Some(used)
}

fn read_interrupt(table: &mut TableReader<'_>, problems: &mut Problems) -> Interrupt {
    Interrupt {
        name: name(table, problems),
        line: read_line(table, problems),
        notification: table.string("notification", problems),
        bit: table.required_number("bit", problems),
        slot: table.number("slot", problems),
    }
}

/// `gsi = N` with `trigger`, or `msi = true`.
fn read_line(table: &mut TableReader<'_>, problems: &mut Problems) -> At<InterruptLine> {
    let gsi = table.number::<u32>("gsi", problems);
    let msi = table.boolean("msi", problems);
    let level = platform::LEVEL as u8;
    let low = platform::ACTIVE_LOW as u8;
    let words = [
        ("edge", 0),
        ("level", level),
        ("edge-low", low),
        ("level-low", level | low),
    ];
    let trigger = table.word("trigger", &words, problems);
    match (gsi, msi.value) {
        (Some(gsi), false) => gsi.map(|gsi| InterruptLine::Gsi {
            gsi,
            trigger: trigger.map_or(0, |at| at.value),
        }),
        (None, true) => At::new(InterruptLine::Msi, msi.span),
        (gsi, _) => {
            problems.push(Diagnostic::error(
                "interrupt-line",
                gsi.map_or(table.span.clone(), |gsi| gsi.span),
                "an interrupt is either a line or a message",
                "write `gsi = N` or `msi = true`, one of them",
            ));
            At::new(InterruptLine::Msi, table.span.clone())
        }
    }
}

fn read_ports(table: &mut TableReader<'_>, problems: &mut Problems) -> Ports {
    Ports {
        name: name(table, problems),
        first: table.required_number("first", problems),
        count: table.number_or("count", 1, problems),
        slot: table.number("slot", problems),
    }
}

fn read_mmio(table: &mut TableReader<'_>, problems: &mut Problems) -> Mmio {
    Mmio {
        name: name(table, problems),
        address: table.required_number("address", problems),
        pages: table.number_or("pages", 1, problems),
        slot: table.number("slot", problems),
    }
}

fn read_platform(mut table: TableReader<'_>, problems: &mut Problems) -> Platform {
    let known = [
        ("irq", Rights::IRQ),
        ("ports", Rights::PORTS),
        ("mmio", Rights::MMIO),
        ("cpu-time", Rights::CPU_TIME),
        ("power", Rights::POWER),
    ];
    let mut rights = Rights::NONE;
    let span = table.value("rights").map_or(table.span.clone(), Spanned::span);
    for word in table.array("rights", problems) {
        let found = word.get_ref().as_str().unwrap_or_default();
        match known.iter().find(|(name, _)| *name == found) {
            Some((_, right)) => rights = rights.with(*right),
            None => problems.push(Diagnostic::error(
                "platform-right",
                word.span(),
                "this is not a right of the platform",
                "rights are \"irq\", \"ports\", \"mmio\", \"cpu-time\" and \"power\"",
            )),
        }
    }
    if !table.has("rights") {
        table.missing("rights", "an array of rights", problems);
    }
    let slot = table.number("slot", problems);
    table.finish(problems);
    Platform {
        rights: At::new(rights.0, span),
        slot,
    }
}
