//! The state as text, exactly as the oracle prints it: without epochs, stamps and times. Sequences print oldest first.

use std::fmt::Write as _;

use crate::md5;
use crate::state::{Body, Frame, Object, Run, State};

fn or_dash(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn body(object: &Object) -> String {
    match &object.body {
        Body::Memory(m) => format!("memory {} {} {} {} {}", m.first, m.pages, m.next, m.end, m.is_primal),
        Body::Region(r) => {
            format!(
                "region {} {} {} {} {} {}",
                r.first,
                r.pages,
                r.max,
                r.is_device,
                r.depth,
                or_dash(r.parent)
            )
        }
        Body::Space(s) => format!("space {} {}", s.is_dma, s.memory),
        Body::Domain(d) => format!("domain {} {} {}", d.pages, d.space, d.memory),
        Body::Thread(t) => format!("thread {}", t.domain),
        Body::Context(_) => "context".to_owned(),
        Body::Portal(_) => "portal".to_owned(),
        Body::Notification(_) => "notification".to_owned(),
        Body::Platform => "platform".to_owned(),
    }
}

fn frame(frame: &Frame) -> String {
    match frame {
        Frame::Small { owner, used } => format!("small {owner} {used}"),
        Frame::Thread(owner) => format!("thread {owner}"),
        Frame::Domain(owner) => format!("domain {owner}"),
        Frame::Table(owner) => format!("table {owner}"),
        Frame::PageTable(owner) => format!("page-table {owner}"),
        Frame::Returned(owner) => format!("returned {owner}"),
    }
}

fn run(run: Run) -> &'static str {
    match run {
        Run::Inactive => "inactive",
        Run::Running => "running",
        Run::Ready => "ready",
        Run::Held => "held",
        Run::Waiting => "waiting",
        Run::WaitingSignal => "waiting-signal",
        Run::Calling => "calling",
    }
}

/// Numbers, with spaces between.
pub(crate) fn join(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

impl State {
    /// The whole state, a line for each thing.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::with_capacity(4096);
        self.write(&mut out).expect("a String takes everything");
        out
    }

    /// The MD5 sum of the text.
    #[must_use]
    pub fn digest(&self) -> String {
        md5::sum(self.text().as_bytes())
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        for (at, object) in &self.objects {
            let life = if object.is_alive { "alive" } else { "dying" };
            writeln!(out, "object {at} {life} {}", body(object))?;
        }
        for (at, domain) in self.domains() {
            for (slot, cap) in &domain.slots {
                let life = if self.is_live(*cap) { "live" } else { "dead" };
                writeln!(
                    out,
                    "slot {at} {slot} kind {} object {} rights {} {life}",
                    cap.kind as u64, cap.object, cap.rights
                )?;
            }
        }
        for (page, of) in &self.frames {
            writeln!(out, "page {page} {}", frame(of))?;
        }
        for (at, region) in self.regions() {
            if let Some(a) = region.attachment {
                writeln!(
                    out,
                    "attached {at} space {} at {} rights {} mapped {}",
                    a.space, a.page, a.rights, a.mapped
                )?;
            }
        }
        for (at, space) in self.spaces() {
            for (page, (frame, rights)) in &space.map {
                writeln!(out, "mapped {at} {page} page {frame} rights {rights}")?;
            }
        }
        self.write_threads(out)?;
        self.write_links(out)
    }

    fn write_threads(&self, out: &mut String) -> std::fmt::Result {
        for (at, t) in self.threads() {
            write!(
                out,
                "thread {at} {} core {} stopped {} faulting {} ",
                run(t.run),
                t.core,
                t.is_stopped,
                t.is_faulting
            )?;
            write!(
                out,
                "signals {} priority {} deadline {} ",
                t.has_signals,
                t.priority,
                or_dash(t.deadline)
            )?;
            writeln!(out, "registers {}", join(&t.registers))?;
        }
        for (at, thread) in self.threads() {
            if let Some(call) = thread.call {
                writeln!(
                    out,
                    "call {at} {} {}",
                    if call.is_served { "served-by" } else { "queued-at" },
                    call.server
                )?;
            }
        }
        Ok(())
    }

    fn write_links(&self, out: &mut String) -> std::fmt::Result {
        for (at, context) in self.contexts().filter(|(_, context)| !context.stack.is_empty()) {
            writeln!(out, "time {at} holder-then-lenders {}", join(&context.stack))?;
        }
        for (at, home) in self.contexts().filter_map(|(at, context)| Some((at, context.home?))) {
            writeln!(out, "own {at} of {home}")?;
        }
        for (at, server) in self.portals().filter_map(|(at, portal)| Some((at, portal.server?))) {
            writeln!(out, "portal {at} to {server}")?;
        }
        for (at, thread) in self.notifications().filter_map(|(at, of)| Some((at, of.bound?))) {
            writeln!(out, "notification {at} of {thread}")?;
        }
        for (at, notification) in self.notifications() {
            writeln!(out, "bits {at} {}", notification.bits)?;
        }
        for (index, core) in self.cores.iter().enumerate() {
            writeln!(out, "core {index} current {}", or_dash(core.current))?;
        }
        Ok(())
    }
}
