//! The comparison with the oracle: sequences of random steps, each made by this model and by the program extracted from Coq's.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use crate::entry::{Action, Due};
use crate::random::{BEGINNING, Random, beginning};
use crate::state::{Config, State};
use crate::text::join;

/// Steps of a sequence at most; each begins with a new machine.
const SEQUENCE: usize = 400;

/// A step as a line of the oracle's input, and the line that this model expects for it.
struct Step {
    line: String,
    expected: String,
}

/// One sequence, which its seed determines.
struct Sequence {
    random: Random,
    state: State,
    time: u64,
    /// Steps of the beginning that are made.
    begun: usize,
    results: BTreeMap<(String, u64), u64>,
}

/// What was compared.
#[derive(Debug, Default)]
pub struct Summary {
    /// Steps that agreed.
    pub steps: u64,
    /// How often each operation came to each status word.
    pub results: BTreeMap<(String, u64), u64>,
}

fn or_dash(choice: Option<u64>) -> String {
    choice.map_or_else(|| "-".to_owned(), |choice| choice.to_string())
}

fn action_words(action: &Action) -> (&'static str, String) {
    match action {
        Action::Call(request) => (
            "call",
            format!(
                " {} {} {} {}",
                request.number,
                request.first,
                request.second,
                join(&request.words)
            ),
        ),
        Action::Fault(fault) => ("fault", format!(" {}", join(fault))),
        Action::Timer(due) => ("timer", due.iter().map(due_words).collect()),
        Action::Reschedule => ("reschedule", String::new()),
    }
}

fn due_words(due: &Due) -> String {
    match due {
        Due::Thread(at) => format!(" thread {at}"),
        Due::Context(at) => format!(" context {at}"),
    }
}

impl Sequence {
    fn begin(seed: u64) -> (Sequence, Step) {
        let mut random = Random::new(seed);
        let config = Config {
            small_objects: random.of(&[4, 8]),
            slots_per_page: 16,
            table_bits: random.of(&[1, 1, 2]),
            table_levels: 3,
            cores: 2,
            first: random.of(&[1, 17]),
            pages: random.of(&[72, 72, 96]),
        };
        let state = State::boot(config);
        let c = config;
        let sizes = [
            c.small_objects,
            c.slots_per_page,
            c.table_bits,
            c.table_levels,
            c.cores,
            c.first,
            c.pages,
        ];
        let step = Step {
            line: format!("machine {}", join(&sizes)),
            expected: format!("ok digest {}", state.digest()),
        };
        (
            Sequence {
                random,
                state,
                time: 0,
                begun: 0,
                results: BTreeMap::new(),
            },
            step,
        )
    }

    /// The machine's own step: a flush, or another root table.
    fn quiet(&mut self, core: usize) -> Step {
        let line = if self.random.chance(50) {
            self.state.flushed(core);
            format!("flushed {core}")
        } else {
            let current = self.state.cores[core].current;
            let space = current.map(|thread| self.state.domain(self.state.thread(thread).domain).space);
            self.state.loaded(core, space);
            format!("loaded {core} {}", or_dash(space))
        };
        Step {
            line,
            expected: format!("ok digest {}", self.state.digest()),
        }
    }

    /// The next step of the beginning, a few of which are left out; after that whatever comes.
    fn entry(&mut self, core: usize) -> (usize, Action) {
        while self.begun < BEGINNING.len() {
            self.begun += 1;
            if self.random.chance(97) {
                return (0, beginning(self.begun - 1));
            }
        }
        let is_idle = self.state.cores[core].current.is_none();
        self.time += self.random.below(if is_idle { 300 } else { 30 });
        (core, self.random.action(&self.state, core))
    }

    /// Whether nothing happens any more: nobody runs, and no time will wake anybody.
    fn is_over(&self) -> bool {
        let is_idle = self.state.cores.iter().all(|core| core.current.is_none());
        let is_due = self.state.threads().any(|(_, thread)| thread.deadline.is_some())
            || self.state.contexts().any(|(_, context)| context.armed.is_some());
        is_idle && !is_due
    }

    fn next(&mut self) -> Step {
        let core = self.random.below(2) as usize;
        if self.random.chance(7) {
            return self.quiet(core);
        }
        let (core, action) = self.entry(core);
        let actor = self.state.cores[core].current;
        let row = self.row(actor, &action);
        let old = self.random.chance(1).then(|| self.state.clone());
        self.state.enter(core, self.time, &action);
        let allowed = self.state.allowed(core);
        let choice = if old.is_some() {
            self.random.of(&[None, Some(7), actor])
        } else {
            self.random.of(&allowed)
        };
        let (name, rest) = action_words(&action);
        let line = format!("{name} {core} {} {}{rest}", self.time, or_dash(choice));
        let expected = match self.state.choose(core, choice) {
            Ok(()) => format!(
                "ok next {} {} digest {}",
                or_dash(choice),
                self.result(actor, row),
                self.state.digest()
            ),
            Err(allowed) => {
                self.state = old.expect("only a choice that was made without asking is refused");
                let allowed: Vec<String> = allowed.into_iter().map(or_dash).collect();
                format!("refused choice {} allowed {}", or_dash(choice), allowed.join(" "))
            }
        };
        Step { line, expected }
    }

    /// What the step is called in the matrix: the call, or the kind of object and the number of its operation.
    fn row(&self, actor: Option<u64>, action: &Action) -> String {
        let (Action::Call(request), Some(actor)) = (action, actor) else {
            return action_words(action).0.to_owned();
        };
        if request.number != 4 {
            return format!("call {}", request.number);
        }
        let kind = self
            .state
            .cap_at(actor, request.first)
            .map(|cap| format!("{:?}", cap.kind));
        let operation = match request.words[0] {
            0xFE => "identify".to_owned(),
            0xFF => "destroy".to_owned(),
            number @ 1..=8 => number.to_string(),
            _ => "unknown".to_owned(),
        };
        format!("{} {operation}", kind.unwrap_or_else(|| "nothing".to_owned()))
    }

    fn result(&mut self, actor: Option<u64>, row: String) -> String {
        let Some(actor) = actor else {
            return "actor -".to_owned();
        };
        let registers = self.state.thread(actor).registers;
        *self.results.entry((row, registers[6])).or_default() += 1;
        let words = join(&registers[..6]);
        format!("actor {actor} rax {} rdx {} words {words}", registers[6], registers[7])
    }
}

/// A sequence on its way to the oracle's answers.
struct Batch {
    seed: u64,
    steps: Vec<Step>,
}

fn batch(seed: u64, summary: &mut Summary) -> Batch {
    let (mut sequence, first) = Sequence::begin(seed);
    let mut steps = vec![first];
    while steps.len() <= SEQUENCE && !sequence.is_over() {
        steps.push(sequence.next());
    }
    for (cell, count) in sequence.results {
        *summary.results.entry(cell).or_default() += count;
    }
    Batch { seed, steps }
}

fn start(oracle: &Path) -> Result<Child, String> {
    let mut command = Command::new(oracle);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", oracle.display()))
}

/// Compares answers with what is expected; the first step that differs, by seed and number, with the answer.
fn check(stdout: std::process::ChildStdout, batches: Receiver<Batch>) -> Result<u64, (u64, usize, String)> {
    let mut answers = BufReader::new(stdout).lines();
    let mut steps = 0;
    for batch in batches {
        for (index, step) in batch.steps.iter().enumerate() {
            let answer = answers
                .next()
                .and_then(Result::ok)
                .unwrap_or_else(|| "nothing: it ended".to_owned());
            if answer != step.expected {
                return Err((batch.seed, index, answer));
            }
            steps += 1;
        }
    }
    Ok(steps)
}

/// Makes at least so many steps with both.
///
/// # Errors
/// What cannot be started; or the first step that differs, with both results and both states.
pub fn run(oracle: &Path, steps: u64, seed: u64) -> Result<Summary, String> {
    let mut child = start(oracle)?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("the oracle has no pipes".to_owned());
    };
    let (to_writer, lines) = sync_channel::<String>(8);
    let (to_checker, batches) = sync_channel(64);
    // A write fails when the oracle has ended: the checker sees that as an answer that is missing.
    let writer = std::thread::spawn(move || lines.iter().all(|lines| stdin.write_all(lines.as_bytes()).is_ok()));
    let checker = std::thread::spawn(move || check(stdout, batches));
    let mut summary = Summary::default();
    let mut made = 0;
    for number in 0.. {
        if made >= steps {
            break;
        }
        let batch = batch(seed.wrapping_add(number), &mut summary);
        made += batch.steps.len() as u64;
        let lines = batch.steps.iter().map(|step| step.line.clone() + "\n").collect();
        if to_writer.send(lines).is_err() || to_checker.send(batch).is_err() {
            break;
        }
    }
    drop((to_writer, to_checker));
    let checked = checker.join().map_err(|_| "the comparison panicked".to_owned())?;
    if checked.is_err() {
        child.kill().ok();
    }
    writer.join().ok();
    child.wait().ok();
    summary.steps = checked.map_err(|(seed, index, answer)| explain(oracle, seed, index, &answer))?;
    Ok(summary)
}

/// A difference in full: the step, both results, and what only one of the two says of the state before and after.
fn explain(oracle: &Path, seed: u64, index: usize, answer: &str) -> String {
    let (mut sequence, first) = Sequence::begin(seed);
    let mut steps = vec![first];
    let mut before = String::new();
    for _ in 0..index {
        before = sequence.state.text();
        steps.push(sequence.next());
    }
    let after = sequence.state.text();
    let mut input: Vec<&str> = steps.iter().map(|step| step.line.as_str()).collect();
    input.insert(index, "state");
    input.push("state");
    let states = ask_states(oracle, &(input.join("\n") + "\n"));
    let Step { line, expected } = &steps[index];
    let [theirs_before, theirs_after] = &states;
    format!(
        "step {index} of sequence {seed} differs\n  step:   {line}\n  model:  {expected}\n  oracle: {answer}\n\
         before, in one only:\n{}after, in one only:\n{}state before:\n{before}",
        only(&before, theirs_before),
        only(&after, theirs_after)
    )
}

/// The two states that the oracle prints for some steps.
fn ask_states(oracle: &Path, input: &str) -> [String; 2] {
    let Ok(mut child) = start(oracle) else {
        return Default::default();
    };
    let (stdin, input) = (child.stdin.take(), input.to_owned());
    let writer = std::thread::spawn(move || stdin.is_some_and(|mut stdin| stdin.write_all(input.as_bytes()).is_ok()));
    let output = child.wait_with_output().map(|output| output.stdout).unwrap_or_default();
    writer.join().ok();
    let text = String::from_utf8_lossy(&output).into_owned();
    let is_state = |line: &&str| !line.starts_with("ok ") && !line.starts_with("refused ");
    let lines: Vec<&str> = text.lines().filter(is_state).collect();
    let mut states = lines.split(|line| *line == "end").map(|lines| lines.join("\n"));
    [states.next().unwrap_or_default(), states.next().unwrap_or_default()]
}

/// Lines that only one of two states has.
fn only(model: &str, oracle: &str) -> String {
    let missing = |from: &str, to: &str, who: &str| -> String {
        let lines = from.lines().filter(|line| !to.lines().any(|other| other == *line));
        lines.map(|line| format!("  {who}: {line}\n")).collect()
    };
    missing(model, oracle, "model ") + &missing(oracle, model, "oracle")
}
