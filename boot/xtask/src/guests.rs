//! Kernel and initial RAM disk of guests, made of Debian's packages, once.
//!
//! Key function: [`provide`]. An image's manifest names them as files below `target/ecusson/guests/`; [`crate::image`] asks for them
//! when it reads the manifest. Calls apt to fetch the packages; nothing is installed.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::commands::capture;
use crate::workspace::Workspace;

/// Where they are made.
const FOLDER: &str = "guests";
/// The kernel as Debian packs it: a bzImage.
const BZIMAGE: &str = "linux-bzimage";
/// The same kernel unpacked: ELF with a PVH note.
const ELF: &str = "linux";
/// Initial RAM disk: BusyBox, a shell, the modules below.
const INITRD: &str = "initrd";
/// The package that depends on the current kernel.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";
const SHELL_PACKAGE: &str = "busybox-static";
/// Loaded in this order.
const MODULES: &[&str] = &[
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "drivers/block/virtio_blk",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "drivers/char/hw_random/virtio-rng",
];
/// First process of the guest.
const INIT: &str = include_str!("../../guests/init");
/// Raised when what is made of the packages changes.
const RECIPE: &str = "1";

/// The kernel's payload: LZ4 in its legacy form (`Documentation/x86/boot.rst`, payload_offset).
mod header {
    pub(super) const SETUP_SECTORS: usize = 0x1f1;
    pub(super) const PAYLOAD_OFFSET: usize = 0x248;
    pub(super) const PAYLOAD_LENGTH: usize = 0x24c;
    pub(super) const SECTOR: usize = 512;
}

/// Makes them all if one of these files lies in their folder, unless they are there.
pub(crate) fn provide(workspace: &Workspace, paths: &[PathBuf]) -> anyhow::Result<()> {
    let folder = workspace.output(FOLDER)?;
    let is_ours = |path: &PathBuf| {
        let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
        parent.is_some() && parent == folder.canonicalize().ok()
    };
    if !paths.iter().any(is_ours) {
        return Ok(());
    }
    let stamp = folder.join("made");
    let recipe = format!("{RECIPE} {KERNEL_PACKAGE} {SHELL_PACKAGE} {MODULES:?}\n{INIT}");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == recipe) {
        return Ok(());
    }
    eprintln!("--- guests: fetching {KERNEL_PACKAGE} and {SHELL_PACKAGE} from Debian, once");
    make(&folder).context("the guests' kernel and initial RAM disk could not be made")?;
    fs::write(stamp, recipe)?;
    Ok(())
}

fn make(folder: &Path) -> anyhow::Result<()> {
    let tree = folder.join("packages");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    fs::create_dir_all(&tree)?;
    for package in [current_kernel()?, SHELL_PACKAGE.to_owned()] {
        unpack(&package, &tree)?;
    }
    let kernel = fs::read(only_file(&tree.join("boot"), "vmlinuz-")?)?;
    fs::write(folder.join(ELF), unpack_kernel(&kernel)?)?;
    fs::write(folder.join(BZIMAGE), kernel)?;
    fs::write(folder.join(INITRD), initial_disk(&tree)?)?;
    fs::remove_dir_all(&tree)?;
    Ok(())
}

/// The package of the kernel that the distribution has now.
fn current_kernel() -> anyhow::Result<String> {
    let output = capture(Command::new("apt-cache").args(["depends", KERNEL_PACKAGE]))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let found = names.find(|name| name.starts_with("linux-image-"));
    Ok(found
        .with_context(|| format!("apt knows no {KERNEL_PACKAGE}; as root: apt-get update"))?
        .to_owned())
}

/// Fetches a package and unpacks its files.
fn unpack(package: &str, tree: &Path) -> anyhow::Result<()> {
    let here = tree.join("fetched");
    fs::create_dir_all(&here)?;
    // Root's apt would hand the download to a user who may not write here.
    let mut fetch = Command::new("apt-get");
    fetch.args(["-q", "-o", "APT::Sandbox::User=root", "download", package]);
    capture(fetch.current_dir(&here))
        .with_context(|| format!("{package} can't be fetched; as root: apt-get update"))?;
    let file = only_file(&here, package)?;
    capture(Command::new("dpkg-deb").arg("-x").arg(&file).arg(tree))?;
    fs::remove_file(file)?;
    Ok(())
}

/// The one file in a folder whose name begins so.
fn only_file(folder: &Path, prefix: &str) -> anyhow::Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut fitting = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    let first = fitting
        .next()
        .with_context(|| format!("no {prefix} in {}", folder.display()))?;
    Ok(first.path())
}

/// The ELF file in a bzImage.
fn unpack_kernel(bzimage: &[u8]) -> anyhow::Result<Vec<u8>> {
    let word = |at: usize| {
        let bytes = bzimage.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(|bytes| u32::from_le_bytes(bytes) as usize)
    };
    let payload = || {
        let setup = match *bzimage.get(header::SETUP_SECTORS)? {
            0 => 4,
            sectors => usize::from(sectors),
        };
        let start = (setup + 1) * header::SECTOR + word(header::PAYLOAD_OFFSET)?;
        bzimage.get(start..start + word(header::PAYLOAD_LENGTH)?)
    };
    let payload = payload().context("the kernel has no payload")?;
    let mut elf = Vec::new();
    // The last four bytes are the length, which the format does not know.
    let (compressed, _) = payload.split_at(payload.len().saturating_sub(4));
    lz4_flex::frame::FrameDecoder::new(compressed)
        .read_to_end(&mut elf)
        .context("the kernel is not packed as LZ4")?;
    anyhow::ensure!(elf.starts_with(b"\x7fELF"), "the kernel's payload is no ELF file");
    Ok(elf)
}

/// A newc archive with BusyBox, the modules and `init`.
fn initial_disk(tree: &Path) -> anyhow::Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "proc", "sys", "tmp", "mnt", "modules", "etc"] {
        archive.add(folder, 0o040_755, &[])?;
    }
    let busybox = tree.join("bin/busybox");
    archive.add("bin/busybox", 0o100_755, &fs::read(&busybox)?)?;
    let applets = capture(Command::new(&busybox).arg("--list"))?;
    for applet in String::from_utf8_lossy(&applets.stdout).lines() {
        if applet != "busybox" {
            archive.add(&format!("bin/{applet}"), 0o120_777, b"busybox")?;
        }
    }
    let modules = only_file(&tree.join("lib/modules"), "")?.join("kernel");
    let mut order = String::new();
    for module in MODULES {
        let (_, name) = module.rsplit_once('/').unwrap_or(("", module));
        let bytes =
            fs::read(modules.join(format!("{module}.ko"))).with_context(|| format!("the kernel has no {module}"))?;
        archive.add(&format!("modules/{name}.ko"), 0o100_644, &bytes)?;
        order.push_str(name);
        order.push('\n');
    }
    archive.add("modules/order", 0o100_644, order.as_bytes())?;
    archive.add("init", 0o100_755, INIT.as_bytes())?;
    archive.finish()
}

/// An archive that is being written.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    files: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) -> anyhow::Result<()> {
        self.files += 1;
        let length = u32::try_from(content.len()).context("a file of 4 GiB")?;
        let entry = cpio::newc::Builder::new(name).ino(self.files).mode(mode).nlink(1);
        let mut writer = entry.write(&mut self.bytes, length);
        std::io::Write::write_all(&mut writer, content)?;
        writer.finish()?;
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<Vec<u8>> {
        cpio::newc::trailer(&mut self.bytes)?;
        Ok(self.bytes)
    }
}
