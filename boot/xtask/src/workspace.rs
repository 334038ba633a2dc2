//! What cargo says of the workspace, and where each package runs.
//!
//! Key types: [`Workspace`], [`RunsOn`]. Called by every command; calls `cargo metadata`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cargo_metadata::{Metadata, MetadataCommand, Package, TargetKind};

/// The target of everything that runs without an operating system.
pub(crate) const BARE_TARGET: &str = "x86_64-unknown-none";

/// `package.metadata.ecusson.runs-on` of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunsOn {
    /// Nothing said: a program or library of the developer's or administrator's machine.
    Host,
    /// `"machine"`: built for the bare machine only.
    Machine,
    /// `"both"`: a library for the machine, tested on the host.
    Both,
}

/// The loaded workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Top of the repository.
    pub(crate) root: PathBuf,
    /// Where cargo builds; ours is the folder `ecusson` in it.
    pub(crate) target: PathBuf,
    /// Packages, targets and the resolved dependencies.
    pub(crate) metadata: Metadata,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> anyhow::Result<Self> {
        // Where this source lies, unless the binary was carried elsewhere.
        let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
        let root = match built_in {
            Some(root) if root.join("Cargo.toml").exists() => root.to_path_buf(),
            _ => std::env::current_dir()?,
        };
        let mut command = MetadataCommand::new();
        command.current_dir(&root).cargo_path(cargo_program()).no_deps();
        let metadata = command.exec().context("cargo metadata failed")?;
        let target = metadata.target_directory.clone().into_std_path_buf();
        Ok(Self { root, target, metadata })
    }

    /// All members.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.metadata.workspace_packages().into_iter()
    }

    /// The names of the members for which `choose` holds.
    pub(crate) fn names(&self, choose: impl Fn(RunsOn) -> bool) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for package in self.members() {
            if choose(runs_on(package)?) {
                names.push(package.name.to_string());
            }
        }
        Ok(names)
    }

    /// A member's folder, from the top of the repository: `kernel/core`.
    pub(crate) fn folder(&self, package: &Package) -> String {
        let folder = package
            .manifest_path
            .parent()
            .map_or(Path::new(""), |path| path.as_std_path());
        folder.strip_prefix(&self.root).unwrap_or(folder).display().to_string()
    }

    /// A folder of our own in cargo's target folder, made if it is not there.
    pub(crate) fn output(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.target.join("ecusson").join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }
}

/// Where a member runs.
pub(crate) fn runs_on(package: &Package) -> anyhow::Result<RunsOn> {
    let said = &package.metadata["ecusson"]["runs-on"];
    match said.as_str() {
        None if said.is_null() => Ok(RunsOn::Host),
        Some("machine") => Ok(RunsOn::Machine),
        Some("both") => Ok(RunsOn::Both),
        _ => anyhow::bail!(
            "{}: runs-on must be \"machine\" or \"both\", not {said}",
            package.manifest_path
        ),
    }
}

/// Whether a member has a program.
pub(crate) fn has_binary(package: &Package) -> bool {
    package
        .targets
        .iter()
        .any(|target| target.kind.contains(&TargetKind::Bin))
}

/// The cargo that the script `x` chose.
pub(crate) fn cargo_program() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}
