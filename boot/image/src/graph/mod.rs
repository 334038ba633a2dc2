//! Pictures of who may talk to whom, drawn from the composition: what is not in the picture cannot happen.
//!
//! Key functions: [`dot`] for Graphviz, [`svg`] drawn here, without other tools. Called by `./x image --graph FILE`. `layout` places
//! the nodes for `svg`.

mod dot;
mod layout;
mod svg;

pub use dot::dot;
pub use svg::svg;

use ecusson_manifest::Composition;
use ecusson_manifest::composition::{InterruptLine, PortalMode, Process, Start, Target};

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NodeKind {
    Process,
    Region,
    File,
}

/// A process, a shared region or a data file.
#[derive(Clone, Debug)]
struct Node {
    kind: NodeKind,
    /// The name, then one line for each fact.
    lines: Vec<String>,
}

/// How two nodes are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EdgeKind {
    PassiveCall,
    ActiveCall,
    Signal,
    MapRead,
    MapWrite,
    Control,
}

impl EdgeKind {
    /// Every kind with what the legend says of it.
    const ALL: [(EdgeKind, &'static str); 6] = [
        (EdgeKind::PassiveCall, "call, passive portal"),
        (EdgeKind::ActiveCall, "call, active portal"),
        (EdgeKind::Signal, "signal"),
        (EdgeKind::MapRead, "maps read-only"),
        (EdgeKind::MapWrite, "maps read-write"),
        (EdgeKind::Control, "starts and stops"),
    ];

    /// Line colour and dash pattern (SVG and Graphviz both know these).
    fn colour(self) -> &'static str {
        match self {
            Self::PassiveCall => "#1f5fa8",
            Self::ActiveCall => "#a83a1f",
            Self::Signal => "#5a7d2a",
            Self::MapRead => "#999999",
            Self::MapWrite => "#555555",
            Self::Control => "#7a3f9d",
        }
    }

    fn is_dashed(self) -> bool {
        matches!(self, Self::Signal | Self::MapRead | Self::Control)
    }
}

/// A directed edge between nodes.
#[derive(Clone, Debug)]
struct Edge {
    from: usize,
    to: usize,
    kind: EdgeKind,
    label: String,
}

/// The composition as nodes and edges: first the processes, then the regions, then the files.
#[derive(Clone, Debug)]
struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

impl Graph {
    fn new(composition: &Composition) -> Self {
        let mut nodes: Vec<Node> = composition.processes.iter().map(process_node).collect();
        nodes.extend(composition.regions.iter().map(|region| {
            let dma = if region.dma { ", DMA" } else { "" };
            let size = format!("{} KiB{dma}", u64::from(region.pages) * 4);
            Node {
                kind: NodeKind::Region,
                lines: vec![region.name.clone(), size],
            }
        }));
        nodes.extend(composition.files.iter().map(|file| Node {
            kind: NodeKind::File,
            lines: vec![
                file.name.clone(),
                format!("file, {} KiB", file.content.bytes.div_ceil(1024)),
            ],
        }));
        let mut edges = Vec::new();
        for (from, process) in composition.processes.iter().enumerate() {
            let targets = process.capabilities.iter();
            edges
                .extend(targets.filter_map(|capability| edge(composition, from, capability.rights, capability.target)));
        }
        for (from, process) in composition.processes.iter().enumerate() {
            edges.extend(process.controls.iter().map(|control| Edge {
                from,
                to: control.process.into(),
                kind: EdgeKind::Control,
                label: String::new(),
            }));
        }
        edges.retain(|edge: &Edge| edge.from < nodes.len() && edge.to < nodes.len());
        Self { nodes, edges }
    }
}

fn process_node(process: &Process) -> Node {
    let mut lines = vec![process.name.clone()];
    for thread in &process.threads {
        let name = if process.threads.len() > 1 {
            format!("{}: ", thread.name)
        } else {
            String::new()
        };
        let time = match (thread.priority, thread.budget_us < thread.period_us) {
            (1, _) => format!(", weight {}", thread.weight),
            (_, true) => format!(", {} of {} us", thread.budget_us, thread.period_us),
            (_, false) => String::new(),
        };
        lines.push(format!(
            "{name}priority {}, core {}{time}",
            thread.priority, thread.core
        ));
    }
    if process.start == Start::Demand {
        lines.push("started on demand".to_owned());
    }
    if process.memory_pages > 0 {
        lines.push(format!("quota {} KiB", u64::from(process.memory_pages) * 4));
    }
    lines.extend(
        process
            .capabilities
            .iter()
            .filter_map(|capability| device_line(capability.target)),
    );
    Node {
        kind: NodeKind::Process,
        lines,
    }
}

/// What a process holds of the machine itself.
fn device_line(target: Target) -> Option<String> {
    Some(match target {
        Target::Interrupt {
            line: InterruptLine::Gsi { gsi, .. },
            ..
        } => format!("interrupt {gsi}"),
        Target::Interrupt {
            line: InterruptLine::Msi,
            ..
        } => "interrupt by message".to_owned(),
        Target::Ports { first, count } => {
            format!(
                "ports {first:#x}-{:#x}",
                u32::from(first) + u32::from(count).saturating_sub(1)
            )
        }
        Target::Mmio { first_page, pages, .. } => format!("device memory {:#x}, {pages} pages", first_page << 12),
        Target::Platform => "platform".to_owned(),
        Target::DmaSpace => "DMA".to_owned(),
        _ => return None,
    })
}

fn edge(composition: &Composition, from: usize, rights: u8, target: Target) -> Option<Edge> {
    match target {
        Target::Portal { process, portal, .. } => {
            let server = composition.processes.get(usize::from(process))?;
            let portal = server.portals.get(usize::from(portal))?;
            let kind = match portal.mode {
                PortalMode::Passive => EdgeKind::PassiveCall,
                PortalMode::Active => EdgeKind::ActiveCall,
            };
            Some(Edge {
                from,
                to: process.into(),
                kind,
                label: portal.name.clone(),
            })
        }
        Target::Signal {
            process,
            notification,
            bit,
        } => {
            let owner = composition.processes.get(usize::from(process))?;
            let notification = owner.notifications.get(usize::from(notification))?;
            let label = format!("{} bit {bit}", notification.name);
            Some(Edge {
                from,
                to: process.into(),
                kind: EdgeKind::Signal,
                label,
            })
        }
        Target::SharedRegion { region, .. } => {
            let writable = rights & ecusson_abi::Rights::WRITE.0 != 0;
            let kind = if writable {
                EdgeKind::MapWrite
            } else {
                EdgeKind::MapRead
            };
            let to = composition.processes.len() + usize::from(region);
            Some(Edge {
                from,
                to,
                kind,
                label: String::new(),
            })
        }
        Target::File { file, .. } => Some(Edge {
            from,
            to: composition.processes.len() + composition.regions.len() + usize::from(file),
            kind: EdgeKind::MapRead,
            label: String::new(),
        }),
        _ => None,
    }
}
