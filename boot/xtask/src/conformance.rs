//! `./x conformance`: the specification's proofs, the exploration of the real core, and the ledger of what is claimed.
//!
//! Called by people and by [`crate::test`]. Calls Coq (`coq_makefile`, `make`, `coqchk`) on a copy of `specs/coq`, so that nothing
//! is built between the sources, OCaml for `specs/oracle`, and cargo for `specs/model` and `specs/explore`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::commands::{capture, cargo, pass};
use crate::report::Report;
use crate::workspace::Workspace;

/// The ledger's table begins below this line of `specs/README.md`.
const LEDGER: &str = "## The ledger";

/// Random steps that the two models are compared on, and the seed of the first sequence.
const COMPARED_STEPS: &str = "200000";
const COMPARED_SEED: &str = "1000";

/// Runs everything and prints the ledger.
pub(crate) fn run(workspace: &Workspace, report: &mut Report) {
    let build = workspace.root.join("target/ecusson/coq");
    report.step("proofs of the model", || prove(workspace, &build));
    report.step("proofs checked anew, without axioms", || check_proofs(&build));
    report.step("oracle", || oracle(workspace, &build));
    report.step("model and oracle agree", || compare(workspace, &build));
    report.step("exploration of the core, set ci", || explore(workspace));
    report.step("ledger and theorems name each other", || {
        pass(cargo(workspace, "test").args(["--quiet", "-p", "ecusson-explore", "--test", "ledger"]))
    });
    report.step("ledger", || print_ledger(workspace));
}

/// Builds the proofs; Coq shows each file as it comes to it.
fn prove(workspace: &Workspace, build: &Path) -> anyhow::Result<()> {
    let source = workspace.root.join("specs/coq");
    for file in files_of(&source)? {
        let target = build.join(file.strip_prefix(&source)?);
        copy_if_changed(&file, &target)?;
    }
    let mut makefile = Command::new("coq_makefile");
    capture(
        makefile
            .current_dir(build)
            .args(["-f", "_CoqProject", "-o", "CoqMakefile"]),
    )?;
    let mut make = Command::new("make");
    pass(make.current_dir(build).args(["-s", "-j2", "-f", "CoqMakefile"]))
}

/// Coq's own checker goes through all compiled proofs again, and says what they rest on.
fn check_proofs(build: &Path) -> anyhow::Result<()> {
    let mut checker = Command::new("coqchk");
    let module = "Ecusson.Examples";
    let output = capture(
        checker
            .current_dir(build)
            .args(["-silent", "-o", "-Q", ".", "Ecusson", module]),
    )?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    anyhow::ensure!(has_no_axioms(&said), "the proofs rest on axioms:\n{said}");
    Ok(())
}

/// Whether the summary of `coqchk -o` says that there are none.
fn has_no_axioms(summary: &str) -> bool {
    let mut lines = summary.lines().skip_while(|line| !line.starts_with("* Axioms:"));
    lines.next().is_some_and(|line| line.trim_end().ends_with("<none>"))
}

/// Extracts the model, builds the program around it, and runs its example.
fn oracle(workspace: &Workspace, build: &Path) -> anyhow::Result<()> {
    let source = workspace.root.join("specs/oracle");
    for name in ["Extract.v", "oracle.ml"] {
        copy_if_changed(&source.join(name), &build.join(name))?;
    }
    let in_build =
        |program: &str, arguments: &[&str]| capture(Command::new(program).current_dir(build).args(arguments));
    in_build("coqc", &["-Q", ".", "Ecusson", "Extract.v"])?;
    let sources = ["kernel_model.mli", "kernel_model.ml", "oracle.ml", "-o", "oracle"];
    let compiler = ["ocamlopt", "-w", "-a", "-package", "zarith", "-linkpkg"];
    in_build("ocamlfind", &[&compiler[..], &sources[..]].concat())?;
    let steps = std::fs::File::open(source.join("example.steps"))?;
    let said = capture(Command::new(build.join("oracle")).stdin(steps))?;
    let expected = std::fs::read(source.join("example.expected"))?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    anyhow::ensure!(said.stdout == expected, "not what example.expected says:\n{text}");
    Ok(())
}

/// Makes random steps with the Rust model and with the oracle.
fn compare(workspace: &Workspace, build: &Path) -> anyhow::Result<()> {
    let mut command = cargo(workspace, "run");
    command.args(["--quiet", "--profile", "explore", "-p", "ecusson-model", "--"]);
    pass(command.arg(build.join("oracle")).args([COMPARED_STEPS, COMPARED_SEED]))
}

fn explore(workspace: &Workspace) -> anyhow::Result<()> {
    let mut command = cargo(workspace, "run");
    pass(command.args(["--quiet", "--profile", "explore", "-p", "ecusson-explore", "--", "ci"]))
}

fn print_ledger(workspace: &Workspace) -> anyhow::Result<()> {
    let path = workspace.root.join("specs/README.md");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let rows = ledger_rows(&text);
    anyhow::ensure!(!rows.is_empty(), "{} has no table below {LEDGER:?}", path.display());
    for row in &rows {
        println!("{:>8}  {:<60}  {}", row[0], row[1], row[2]);
    }
    for word in ["proved", "exhaustive", "tested", "open"] {
        let count = rows.iter().filter(|row| row[2].contains(word)).count();
        println!("{count:>8}  rows with the word {word}");
    }
    Ok(())
}

/// Number, property and status of each row of the ledger.
fn ledger_rows(text: &str) -> Vec<[&str; 3]> {
    let below = text.split_once(LEDGER).map_or("", |(_, below)| below);
    let section = below.split("\n## ").next().unwrap_or(below);
    let cells = section.lines().filter(|line| line.starts_with('|')).skip(2);
    cells
        .filter_map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            Some([cells.next()?, cells.next()?, cells.next()?])
        })
        .collect()
}

/// The files below a folder.
fn files_of(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_of(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// Copies a file whose copy is not the same, so that what was built of it stays good otherwise.
fn copy_if_changed(from: &Path, to: &Path) -> anyhow::Result<()> {
    let new = std::fs::read(from)?;
    if std::fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::{has_no_axioms, ledger_rows};

    /// Catches: a checker's summary that is taken for clean although it lists something, or nothing at all.
    #[test]
    fn axioms_are_seen() {
        assert!(has_no_axioms("CONTEXT SUMMARY\n* Axioms: <none>\n* Constants"));
        assert!(!has_no_axioms("* Axioms:\n    Coq.Logic.classic\n"));
        assert!(!has_no_axioms("* Theory: Set is predicative\n"));
    }

    /// Catches: a row of the ledger that is not printed.
    #[test]
    fn the_ledger_is_read() {
        let text = "## The ledger\n\n| | property | status | how |\n|---|---|---|---|\n| 1 | a | proved | x |\n\n## Else\n| 2 | b | c | d |\n";
        assert_eq!(ledger_rows(text), [["1", "a", "proved"]]);
    }
}
