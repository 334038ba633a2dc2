//! What instruction counts hide: loads, stores and serialising instructions of each figure, from a trace of every
//! instruction that QEMU executed.
//!
//! QEMU logs the address of each instruction of the kernel and of the benchmark ([`arguments`]); the benchmark marks the
//! stretches that count and says on the console of how many repetitions they are; [`count`] adds up what the instructions at
//! these addresses do. What the processor itself reads and writes to deliver an exception is no instruction's and not
//! counted. An iteration of a repeated string instruction counts as an instruction, as it does under `-icount`.
//! Called by [`super::measure`]; calls [`super::code`].

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::Context as _;

use super::Figures;
use super::code::Code;

/// The crate of the benchmark, whose functions delimit the stretches.
const BENCHMARK: &str = "ecusson_kernel_bench";
/// First address of the kernel's half.
const KERNEL: u64 = 1 << 63;

/// One line `TRACE key repetitions span` of the console.
struct Figure {
    key: String,
    repetitions: u64,
    /// Of each stretch, only the kernel's last part before the user code in which it ends.
    last_entry_only: bool,
}

/// QEMU's further arguments: one instruction at a time, its address into a file.
pub(super) fn arguments(code: &Code, log: &Path) -> Vec<String> {
    let ranges: Vec<String> = code
        .ranges()
        .map(|(first, length)| format!("{first:#x}+{length:#x}"))
        .collect();
    let words = ["-singlestep", "-d", "exec,nochain", "-dfilter"];
    let mut arguments: Vec<String> = words.map(str::to_owned).to_vec();
    arguments.extend([ranges.join(","), "-D".to_owned(), log.display().to_string()]);
    arguments
}

/// The figures of a run: for each key of its console the averages `key_traced` (instructions), `key_loads`, `key_stores` and
/// `key_serialising`.
pub(super) fn count(code: &mut Code, log: &Path, console: &str) -> anyhow::Result<Figures> {
    let file = File::open(log).with_context(|| format!("cannot read {}", log.display()))?;
    let mut stretches = Stretches::new(code)?;
    let mut executed = Executed::default();
    for line in BufReader::with_capacity(1 << 20, file).lines() {
        if let Some(address) = executed.next(&line?)? {
            stretches.take(address);
        }
    }
    if let Some(address) = executed.last.take() {
        stretches.take(address);
    }
    let wanted = read_wanted(console)?;
    anyhow::ensure!(
        !wanted.is_empty() && wanted.len() == stretches.finished.len(),
        "the trace has {} figures, the console {}",
        stretches.finished.len(),
        wanted.len()
    );
    let mut figures = Figures::new();
    for (figure, stretches) in wanted.iter().zip(&stretches.finished) {
        add_up(code, figure, stretches, &mut figures)?;
    }
    Ok(figures)
}

/// The `TRACE` lines of a console.
fn read_wanted(console: &str) -> anyhow::Result<Vec<Figure>> {
    let mut wanted = Vec::new();
    for line in console.lines() {
        let Some((_, figure)) = line.split_once("TRACE ") else {
            continue;
        };
        let words: Vec<&str> = figure.split_whitespace().collect();
        let &[key, repetitions, span @ ("all" | "last-entry")] = words.as_slice() else {
            anyhow::bail!("not a traced figure: {line}");
        };
        wanted.push(Figure {
            key: key.to_owned(),
            repetitions: repetitions.parse().with_context(|| line.to_owned())?,
            last_entry_only: span == "last-entry",
        });
    }
    Ok(wanted)
}

fn add_up(code: &mut Code, figure: &Figure, stretches: &[Vec<u64>], figures: &mut Figures) -> anyhow::Result<()> {
    let mut sums = [0_u64; 4];
    for stretch in stretches {
        let counted = if figure.last_entry_only {
            last_entry(stretch)
        } else {
            stretch
        };
        for &address in counted {
            let effects = code.effects(address)?;
            let each = [1, effects.loads, effects.stores, effects.serialising];
            sums.iter_mut().zip(each).for_each(|(sum, more)| *sum += more);
        }
    }
    anyhow::ensure!(figure.repetitions > 0, "{} was never repeated", figure.key);
    for (what, sum) in ["traced", "loads", "stores", "serialising"].iter().zip(sums) {
        figures.insert(format!("{}_{what}", figure.key), sum / figure.repetitions);
    }
    Ok(())
}

/// The kernel's instructions between the last user code that was left and the one in which the stretch ends.
fn last_entry(stretch: &[u64]) -> &[u64] {
    let is_user = |&address: &u64| address < KERNEL;
    let end = stretch
        .iter()
        .rposition(|address| !is_user(address))
        .map_or(0, |last| last + 1);
    let kernel_and_before = &stretch[..end];
    let begin = kernel_and_before.iter().rposition(is_user).map_or(0, |last| last + 1);
    &kernel_and_before[begin..]
}

/// Reads QEMU's log a line behind: a line may take back the one before.
#[derive(Default)]
struct Executed {
    last: Option<u64>,
}

impl Executed {
    /// The address of an instruction that was executed for certain.
    ///
    /// `Trace 0: 0x7f.. [code segment base/address/flags/flags] symbol`: about to be executed.
    /// `Stopped execution of TB chain before 0x7f.. [address]`: it was not.
    fn next(&mut self, line: &str) -> anyhow::Result<Option<u64>> {
        if line.starts_with("Stopped execution") {
            self.last = None;
            return Ok(None);
        }
        let Some(place) = line.strip_prefix("Trace ") else {
            return Ok(None);
        };
        let address = place
            .split('/')
            .nth(1)
            .and_then(|text| u64::from_str_radix(text, 16).ok());
        let address = address.with_context(|| format!("not an instruction of a trace: {line}"))?;
        Ok(self.last.replace(address))
    }
}

/// The marked stretches, figure by figure.
struct Stretches {
    mark: u64,
    report: u64,
    open: Option<Vec<u64>>,
    closed: Vec<Vec<u64>>,
    finished: Vec<Vec<Vec<u64>>>,
}

impl Stretches {
    fn new(code: &Code) -> anyhow::Result<Self> {
        Ok(Self {
            mark: code.function(BENCHMARK, "mark")?,
            report: code.function(BENCHMARK, "report_span")?,
            open: None,
            closed: Vec::new(),
            finished: Vec::new(),
        })
    }

    fn take(&mut self, address: u64) {
        if address == self.mark {
            match self.open.take() {
                Some(stretch) => self.closed.push(stretch),
                None => self.open = Some(Vec::new()),
            }
        } else if address == self.report {
            self.finished.push(std::mem::take(&mut self.closed));
        } else if let Some(stretch) = &mut self.open {
            stretch.push(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: u64 = 0xFFFF_FFFF_8000_0000;

    #[test]
    fn an_instruction_that_was_stopped_before_does_not_count() {
        let mut executed = Executed::default();
        let mut next = |line: &str| executed.next(line).expect("reads");
        assert_eq!(
            next("Trace 0: 0x7f [0000000000000000/0000000000201800/18c0/ff02] "),
            None
        );
        assert_eq!(
            next("Trace 0: 0x7f [0000000000000000/0000000000201802/18c0/ff02] "),
            Some(0x20_1800)
        );
        assert_eq!(
            next("Stopped execution of TB chain before 0x7f [0000000000201802] "),
            None
        );
        assert_eq!(
            next("Trace 0: 0x7f [0000000000000000/0000000000201802/18c0/ff02] "),
            None
        );
        assert!(executed.next("Trace 0: what is this").is_err());
    }

    #[test]
    fn only_the_kernels_last_stretch_counts_for_an_interrupt() {
        assert_eq!(last_entry(&[1, K, K + 1, 2, 3, K + 2, K + 3, 4, 5]), [K + 2, K + 3]);
        assert_eq!(last_entry(&[1, 2]), [] as [u64; 0]);
    }

    #[test]
    fn stretches_lie_between_marks_and_belong_to_the_next_report() {
        let mut stretches = Stretches {
            mark: 10,
            report: 20,
            open: None,
            closed: Vec::new(),
            finished: Vec::new(),
        };
        for address in [1, 10, 2, 3, 10, 4, 20, 10, 5, 10, 10, 6, 10, 20] {
            stretches.take(address);
        }
        assert_eq!(stretches.finished, [vec![vec![2, 3]], vec![vec![5], vec![6]]]);
    }

    #[test]
    fn the_console_says_what_was_repeated() {
        let wanted = read_wanted("x\r\nTRACE map_page 40 all\r\nTRACE i 10 last-entry\n").expect("reads");
        assert!(wanted[0].repetitions == 40 && !wanted[0].last_entry_only && wanted[1].last_entry_only);
        assert!(read_wanted("TRACE map_page 40 some").is_err());
    }
}
