//! `ecusson-model ORACLE STEPS SEED`: compares the model with the oracle, and prints how often each operation came to each status.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;

use ecusson_model::compare::{Summary, run};

fn print(summary: &Summary) {
    let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ((row, status), count) in &summary.results {
        rows.entry(row).or_default().push(format!("{status:#x}: {count}"));
    }
    for (row, cells) in rows {
        println!("{row:<24} {}", cells.join("  "));
    }
}

fn main() -> std::process::ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [oracle, steps, seed] = words.as_slice() else {
        eprintln!("ecusson-model ORACLE STEPS SEED");
        return std::process::ExitCode::from(2);
    };
    let (Ok(steps), Ok(seed)) = (steps.parse(), seed.parse()) else {
        eprintln!("STEPS and SEED are numbers");
        return std::process::ExitCode::from(2);
    };
    let begun = std::time::Instant::now();
    match run(Path::new(oracle), steps, seed) {
        Ok(summary) => {
            print(&summary);
            println!("{} steps agree, {:.1} s", summary.steps, begun.elapsed().as_secs_f64());
            std::process::ExitCode::SUCCESS
        }
        Err(difference) => {
            eprintln!("{difference}");
            std::process::ExitCode::FAILURE
        }
    }
}
