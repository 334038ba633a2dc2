//! The table of figures: measured, wanted, rivals.
//!
//! Called by [`super::run`]. Where the rivals' figures come from is told in the book on measurements.

use std::fmt::Write as _;

use super::Figures;

/// What a figure should be, and what others reach.
struct Goal {
    key: &'static str,
    /// At most this.
    at_most: u64,
    rivals: &'static str,
}

const GOALS: &[Goal] = &[
    Goal {
        key: "ipc_cross_pd_round_trip",
        at_most: 200,
        rivals: "NOVA 283, seL4 406",
    },
    Goal {
        key: MEMORY_ACCESSES,
        at_most: 152,
        rivals: "NOVA 88 loads, 64 stores; seL4 69, 73",
    },
    Goal {
        key: "ipc_cross_pd_round_trip_mitigations",
        at_most: u64::MAX,
        rivals: "",
    },
    Goal {
        key: SIX_WORDS,
        at_most: 12,
        rivals: "NOVA (8 words) 353",
    },
    Goal {
        key: "ipc_same_pd_round_trip",
        at_most: 190,
        rivals: "NOVA 263, seL4 402",
    },
    Goal {
        key: "syscall_null",
        at_most: 50,
        rivals: "NOVA 56",
    },
    Goal {
        key: "notification_signal_idle",
        at_most: 120,
        rivals: "NOVA 139",
    },
    Goal {
        key: "interrupt_to_user",
        at_most: 250,
        rivals: "seL4 355",
    },
    Goal {
        key: "fault_round_trip",
        at_most: 450,
        rivals: "seL4 1303",
    },
    Goal {
        key: "yield_cross_pd",
        at_most: 200,
        rivals: "seL4 270",
    },
    Goal {
        key: "map_page",
        at_most: 350,
        rivals: "seL4 734",
    },
    Goal {
        key: "boot_to_root_instructions",
        at_most: 30_000_000,
        rivals: "",
    },
    Goal {
        key: "kernel_image_bytes",
        at_most: 150_000,
        rivals: "",
    },
    Goal {
        key: "kernel_lines",
        at_most: 10_000,
        rivals: "NOVA 14000, Hedron 11200, seL4 20700",
    },
];

/// Its goal is counted from the figure without words.
const SIX_WORDS: &str = "ipc_cross_pd_round_trip_6_words";
/// Loads and stores together of a call and reply between protection domains; a row of the table only.
const MEMORY_ACCESSES: &str = "  its loads and stores together";
/// Endings of the keys that are columns beside a figure.
const COLUMNS: [&str; 3] = ["_loads", "_stores", "_serialising"];

/// Figures with a goal in the order of the goals, then the others.
pub(super) fn render(figures: &Figures) -> String {
    let round_trip = |what: &str| figures.get(&format!("ipc_cross_pd_round_trip{what}")).copied();
    let mut figures = figures.clone();
    if let (Some(loads), Some(stores)) = (round_trip("_loads"), round_trip("_stores")) {
        figures.insert(MEMORY_ACCESSES.to_owned(), loads + stores);
    }
    let is_column = |key: &str| COLUMNS.iter().any(|column| key.ends_with(column));
    let width = figures.keys().map(String::len).max().unwrap_or(0).max("figure".len());
    let mut text = format!(
        "{:width$}  {:>10} {:>6} {:>6} {:>11}  {:>10}      rivals\n",
        "figure", "measured", "loads", "stores", "serialising", "wanted"
    );
    for goal in GOALS {
        if let Some(&value) = figures.get(goal.key) {
            let base = if goal.key == SIX_WORDS { round_trip("") } else { None };
            let (wanted, verdict) = match goal.at_most.saturating_add(base.unwrap_or(0)) {
                u64::MAX => (String::new(), ""),
                most if value <= most => (most.to_string(), "ok"),
                most => (most.to_string(), "over"),
            };
            let row = row(&figures, goal.key, value, width);
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{}",
                format!("{row}  {wanted:>10} {verdict:4} {}", goal.rivals).trim_end()
            );
        }
    }
    let has_goal = |key: &str| GOALS.iter().any(|goal| goal.key == key);
    for (key, &value) in figures.iter().filter(|(key, _)| !has_goal(key) && !is_column(key)) {
        let _ = writeln!(text, "{}", row(&figures, key, value, width).trim_end());
    }
    text
}

/// A figure and what was counted beside it.
fn row(figures: &Figures, key: &str, value: u64, width: usize) -> String {
    let column = |what: &str| {
        figures
            .get(&format!("{key}{what}"))
            .map_or(String::new(), u64::to_string)
    };
    let [loads, stores, serialising] = COLUMNS.map(column);
    format!("{key:width$}  {value:>10} {loads:>6} {stores:>6} {serialising:>11}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_over_its_goal_says_so() {
        let figures = Figures::from([("syscall_null".to_owned(), 51), ("other".to_owned(), 7)]);
        let text = render(&figures);
        assert!(text.contains("over NOVA 56") && text.contains("other"), "{text}");
    }

    #[test]
    fn what_a_trace_counted_stands_beside_its_figure() {
        let key = "ipc_cross_pd_round_trip";
        let pairs = [("", 200), ("_loads", 81), ("_stores", 72), ("_serialising", 4)];
        let figures = pairs.map(|(what, value)| (format!("{key}{what}"), value)).into();
        let text = render(&figures);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1][..6], [key, "200", "81", "72", "4", "200"]);
        assert!(rows[2].contains(&"153") && rows[2].contains(&"over"), "{text}");
        assert_eq!(rows.len(), 3, "{text}");
    }
}
