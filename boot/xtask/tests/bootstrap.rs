//! The script `x` on machines that are not this one: stand-ins for rustup, cargo, curl and apt-get in its PATH.
//!
//! What they would catch: a fetch where none is needed, a wrong compiler handed on, a missing package not named.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the script may count on anywhere.
const BARE_MACHINE: &[&str] = &[
    "awk", "cat", "cksum", "cmp", "cp", "dirname", "env", "find", "grep", "head", "mkdir", "mv", "rm", "sed", "sh",
    "timeout", "sort", "tail", "tr",
];

/// What stands for the packages.
const PACKAGES: &[&str] = &[
    "cc",
    "grub-mkrescue",
    "iasl",
    "mformat",
    "qemu-system-x86_64",
    "xorriso",
];

/// A rustup whose pinned toolchain is complete once `libcore-1.rlib` lies in `lib`.
const RUSTUP: &str = r#"
case "$1 $2" in
"toolchain install") : >"$FAKE/lib/libcore-1.rlib"; echo "$@" >>"$FAKE/installs" ;;
"run "*) [ -e "$FAKE/lib/libcore-1.rlib" ] || exit 1; [ "$4" != --print ] || echo "$FAKE/lib" ;;
esac"#;

/// A cargo that "builds" a tool which tells the compiler and its arguments.
const CARGO: &str = r#"
while [ "$1" != --target-dir ]; do shift; done
mkdir -p "$2/debug"
printf '#!/bin/sh\necho "tool $RUSTUP_TOOLCHAIN $*"\n' >"$2/debug/ecusson-xtask"
chmod=$(command -v chmod); "$chmod" +x "$2/debug/ecusson-xtask"
echo "ecusson-xtask: x" >"$2/debug/ecusson-xtask.d"
echo build >>"$FAKE/builds""#;

const SERVER_ANSWERS: &str = "echo 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const SERVER_SILENT: &str = "exit 7";

/// A copy of the repository's top and a PATH of its own.
struct Elsewhere {
    folder: PathBuf,
}

impl Elsewhere {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // Left from an earlier run, or not there.
        let _ = fs::remove_dir_all(&folder);
        for part in ["bin", "lib", "home/.rustup/toolchains/1.96.0-host", "boot/xtask"] {
            fs::create_dir_all(folder.join(part)).expect("makes a folder");
        }
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for file in ["x", "rust-toolchain.toml", "Cargo.toml", "boot/xtask/Cargo.toml"] {
            fs::copy(top.join(file), folder.join(file)).expect("copies");
        }
        fs::write(folder.join("Cargo.lock"), "").expect("writes");
        let here = Self { folder };
        for tool in BARE_MACHINE.iter().chain(&["chmod"]) {
            let real = ["/usr/bin", "/bin"]
                .iter()
                .map(|bin| Path::new(bin).join(tool))
                .find(|path| path.exists());
            symlink(
                real.expect("a tool of every machine"),
                here.folder.join("bin").join(tool),
            )
            .expect("links");
        }
        PACKAGES.iter().for_each(|package| here.stand_in(package, ""));
        // No root here, and no sudo.
        here.stand_in("id", "echo 1000");
        here.stand_in("apt-get", "echo \"$@\" >>\"$FAKE/installs\"");
        here.stand_in("curl", SERVER_SILENT);
        here.stand_in("rustup", RUSTUP);
        here.stand_in("cargo", CARGO);
        here
    }

    fn stand_in(&self, name: &str, script: &str) {
        let file = self.folder.join("bin").join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("writes");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("sets the mode");
    }

    fn has_pinned_toolchain(&self) {
        fs::write(self.folder.join("lib/libcore-1.rlib"), "").expect("writes");
    }

    fn x(&self, wish: &str) -> Output {
        let mut command = Command::new("/bin/sh");
        command.arg("./x").arg("check").current_dir(&self.folder).env_clear();
        command
            .env("PATH", self.folder.join("bin"))
            .env("HOME", self.folder.join("home"))
            .env("FAKE", &self.folder);
        command.env("ECUSSON_TOOLCHAIN", wish).output().expect("starts")
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_complete_machine_installs_nothing_and_builds_once() {
    let machine = Elsewhere::new("complete");
    machine.has_pinned_toolchain();
    let first = machine.x("rustup");
    assert!(text(&first).contains("tool 1.96.0 check"), "{}", text(&first));
    let second = machine.x("rustup");
    assert_eq!(text(&second), "tool 1.96.0 check\n");
    assert_eq!(machine.log("builds"), "build\n");
    assert_eq!(machine.log("installs"), "");
}

#[test]
fn an_edit_builds_again() {
    let machine = Elsewhere::new("edited");
    machine.has_pinned_toolchain();
    machine.x("rustup");
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(machine.folder.join("boot/xtask/Cargo.toml"), "# edited").expect("writes");
    machine.x("rustup");
    assert_eq!(machine.log("builds"), "build\nbuild\n");
}

#[test]
fn rustup_fetches_the_pinned_version_where_its_server_answers() {
    let machine = Elsewhere::new("answers");
    machine.stand_in("curl", SERVER_ANSWERS);
    let output = machine.x("rustup");
    assert!(text(&output).contains("tool 1.96.0 check"), "{}", text(&output));
    assert!(
        machine.log("installs").contains("1.96.0"),
        "{}",
        machine.log("installs")
    );
}

#[test]
fn a_silent_server_is_not_waited_for() {
    let machine = Elsewhere::new("silent");
    let output = machine.x("rustup");
    assert!(!output.status.success());
    assert!(
        text(&output).contains("rustup cannot fetch Rust 1.96.0 from here"),
        "{}",
        text(&output)
    );
    assert_eq!(machine.log("installs"), "");
}

#[test]
fn without_the_right_to_install_the_missing_package_is_named() {
    let machine = Elsewhere::new("missing");
    fs::remove_file(machine.folder.join("bin/xorriso")).expect("removes");
    let output = machine.x("rustup");
    assert!(!output.status.success());
    assert!(
        text(&output).contains("missing package(s): xorriso"),
        "{}",
        text(&output)
    );
    assert_eq!(machine.log("installs"), "");
}
