//! `ecusson-explore [UNIVERSE...]`: explores, prints the reports, and fails if one is not clean.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use ecusson_explore::{search, universe};

fn main() -> ExitCode {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    if names.is_empty() {
        names.push("tiny".to_owned());
    }
    let mut is_clean = true;
    for name in names {
        let universes = universe::by_name(&name);
        if universes.is_empty() {
            eprintln!(
                "no universe is called {name}; there are: the sets tiny and ci, ipc, ipc-full, turns, passive, grants, memory"
            );
            return ExitCode::FAILURE;
        }
        for universe in universes {
            let report = search::explore(&universe);
            println!("{report}");
            is_clean &= report.is_clean();
        }
    }
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
