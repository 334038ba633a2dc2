//! A short comparison of the model with the oracle, where `./x conformance` has built that; the long one is there.
#![allow(missing_docs)]

use std::path::Path;

use ecusson_model::compare::run;

/// Catches: a change of the model or of the Coq sources that makes them disagree, before the long comparison.
#[test]
fn model_and_oracle_agree() {
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/ecusson/coq/oracle");
    if !oracle.exists() {
        println!("skipped: {} is not built; ./x conformance builds it", oracle.display());
        return;
    }
    let summary = run(&oracle, 4_000, 7).unwrap_or_else(|difference| panic!("{difference}"));
    assert!(summary.steps >= 4_000, "{} steps only", summary.steps);
}

/// Catches: a comparison that takes anything for an answer.
#[test]
fn a_program_that_is_no_oracle_differs() {
    let difference = run(Path::new("/bin/cat"), 100, 7).expect_err("it only repeats the steps");
    assert!(difference.contains("step 0 of sequence 7 differs"), "{difference}");
    assert!(difference.contains("  oracle: machine "), "{difference}");
}
