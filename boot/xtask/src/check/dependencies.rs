//! Who may know whom: the table of `ARCHITECTURE.md`, held against what cargo says.
//!
//! Key type: [`Rule`]. Only dependencies that end up in the product count; what tests use is free.

use cargo_metadata::{Dependency, DependencyKind};

use crate::workspace::Workspace;

/// What a folder's crates may use.
struct Rule {
    /// The folder, with all below it. The first rule that fits holds.
    folder: &'static str,
    /// Folders of the workspace that may be used; one that ends in `/` stands for all in it. What lies in the same
    /// service or driver may always be used.
    members: &'static [&'static str],
    /// Crates from elsewhere.
    others: Others,
}

/// Which crates from elsewhere.
enum Others {
    /// These.
    Only(&'static [&'static str]),
    /// All but these.
    AllBut(&'static [&'static str]),
}

/// What runs as a process must not bring its own idea of the machine or of locking.
const NOT_IN_A_PROCESS: Others = Others::AllBut(&["x86", "std"]);

const RULES: &[Rule] = &[
    Rule {
        folder: "kernel/abi",
        members: &[],
        others: Others::Only(&["bitfield", "bitflags", "static_assertions"]),
    },
    Rule {
        folder: "kernel/core",
        members: &["kernel/abi"],
        others: Others::Only(&["heapless", "static_assertions"]),
    },
    Rule {
        folder: "kernel/x86",
        members: &["kernel/abi", "kernel/core"],
        // The lock is here because flush counters are read without it; the logger because its trait is unsafe
        // (`specs/adr/0006-lock-and-logger-in-x86.md`).
        others: Others::Only(&["x86", "bitfield", "bitflags", "static_assertions", "defmt"]),
    },
    Rule {
        folder: "kernel/ecusson",
        members: &["kernel/abi", "kernel/core", "kernel/x86"],
        others: Others::Only(&["defmt", "x86", "static_assertions"]),
    },
    Rule {
        folder: "boot/payload",
        members: &["kernel/abi"],
        others: Others::Only(&["static_assertions"]),
    },
    Rule {
        folder: "boot/loader",
        members: &["kernel/abi", "boot/payload"],
        others: Others::AllBut(&["spin", "postcard"]),
    },
    Rule {
        folder: "boot/image",
        members: &["kernel/abi", "boot/payload", "services/lib/manifest"],
        others: Others::AllBut(&["x86"]),
    },
    Rule {
        folder: "boot/xtask",
        members: &["kernel/abi", "services/lib/manifest", "boot/image", "qemu-tests/runner"],
        others: Others::AllBut(&["x86"]),
    },
    Rule {
        folder: "services/lib",
        members: &["kernel/abi", "services/lib/"],
        others: NOT_IN_A_PROCESS,
    },
    Rule {
        folder: "services/switch",
        members: DATA_PATH,
        others: NOT_IN_A_PROCESS,
    },
    Rule {
        folder: "services/block",
        members: DATA_PATH,
        others: NOT_IN_A_PROCESS,
    },
    Rule {
        folder: "services",
        members: &["kernel/abi", "services/lib/"],
        others: NOT_IN_A_PROCESS,
    },
    Rule {
        folder: "drivers",
        members: &[
            "kernel/abi",
            "services/lib/rt",
            "services/lib/proto",
            "services/lib/ring",
            "drivers/lib",
        ],
        others: NOT_IN_A_PROCESS,
    },
    Rule {
        folder: "qemu-tests/runner",
        members: &[],
        others: Others::AllBut(&["x86"]),
    },
    Rule {
        folder: "qemu-tests",
        members: &["kernel/abi", "services/lib/", "drivers/", "qemu-tests/kit"],
        others: NOT_IN_A_PROCESS,
    },
    Rule {
        folder: "specs",
        members: &["kernel/abi", "kernel/core", "specs/"],
        others: Others::AllBut(&["x86"]),
    },
];

/// Switch and block know queues and memory, and nothing of the VMM.
const DATA_PATH: &[&str] = &[
    "kernel/abi",
    "services/lib/rt",
    "services/lib/proto",
    "services/lib/ring",
    "services/lib/guestmem",
    "services/lib/virtqueue",
    "services/lib/rate",
];

/// Fails with every dependency that the table does not allow.
pub(super) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    for package in workspace.members() {
        let folder = workspace.folder(package);
        let Some(rule) = RULES.iter().find(|rule| is_in(&folder, rule.folder)) else {
            faults.push(format!(
                "{folder}: no rule says whom it may know (boot/xtask/src/check/dependencies.rs)"
            ));
            continue;
        };
        let shipped = |dependency: &&Dependency| dependency.kind == DependencyKind::Normal;
        for dependency in package.dependencies.iter().filter(shipped) {
            if let Some(fault) = fault(workspace, &folder, rule, dependency) {
                faults.push(fault);
            }
        }
    }
    anyhow::ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

fn fault(workspace: &Workspace, folder: &str, rule: &Rule, dependency: &Dependency) -> Option<String> {
    let Some(path) = &dependency.path else {
        return (!allows_other(&rule.others, &dependency.name))
            .then(|| format!("{folder} may not use the crate {}", dependency.name));
    };
    let used = path
        .strip_prefix(&workspace.root)
        .map_or(path.as_str(), |path| path.as_str());
    (!allows_member(rule, folder, used)).then(|| format!("{folder} may not use {used}"))
}

fn allows_other(others: &Others, name: &str) -> bool {
    match others {
        Others::Only(names) => names.contains(&name),
        Others::AllBut(names) => !names.contains(&name),
    }
}

fn allows_member(rule: &Rule, folder: &str, used: &str) -> bool {
    let listed = rule.members.iter().any(|member| match member.strip_suffix('/') {
        Some(folder) => is_in(used, folder),
        None => used == *member,
    });
    listed || same_house(folder, used)
}

/// Two crates of one service, driver or test: `services/vmm` and `services/vmm/devices`.
fn same_house(a: &str, b: &str) -> bool {
    let house = |folder: &str| folder.split('/').take(2).collect::<Vec<_>>().join("/");
    ["services", "drivers", "qemu-tests"].iter().any(|top| is_in(a, top)) && house(a) == house(b)
}

fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(folder: &str, used: &str) -> bool {
        let rule = RULES.iter().find(|rule| is_in(folder, rule.folder)).expect("a rule");
        allows_member(rule, folder, used)
    }

    #[test]
    fn services_know_libraries_and_themselves() {
        assert!(allows("services/vmm", "services/lib/virtqueue"));
        assert!(allows("services/vmm", "services/vmm/devices"));
        assert!(!allows("services/vmm", "services/block"));
        assert!(!allows("services/root", "kernel/core"));
    }

    #[test]
    fn the_kernel_looks_down_only() {
        assert!(allows("kernel/ecusson", "kernel/core"));
        assert!(!allows("kernel/core", "kernel/x86"));
        assert!(!allows("kernel/abi", "kernel/core"));
        assert!(!allows("services/switch", "services/vmm"));
        assert!(!allows("drivers/nvme", "services/lib/guestmem"));
    }

    #[test]
    fn crates_from_elsewhere() {
        let core = RULES.iter().find(|rule| rule.folder == "kernel/core").expect("a rule");
        assert!(allows_other(&core.others, "heapless") && !allows_other(&core.others, "spin"));
    }
}
