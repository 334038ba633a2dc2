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
        key: "ipc_cross_pd_round_trip_6_words",
        at_most: 212,
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

/// Figures with a goal in the order of the goals, then the others.
pub(super) fn render(figures: &Figures) -> String {
    let width = figures.keys().map(String::len).max().unwrap_or(0).max("figure".len());
    let mut text = format!(
        "{:width$}  {:>12}  {:>12}      rivals\n",
        "figure", "measured", "wanted"
    );
    // Writing to a string cannot fail.
    for goal in GOALS {
        if let Some(&value) = figures.get(goal.key) {
            let verdict = if value <= goal.at_most { "ok" } else { "over" };
            let _ = writeln!(
                text,
                "{:width$}  {value:>12}  {:>12} {verdict:4} {}",
                goal.key, goal.at_most, goal.rivals
            );
        }
    }
    let has_goal = |key: &str| GOALS.iter().any(|goal| goal.key == key);
    for (key, value) in figures.iter().filter(|(key, _)| !has_goal(key)) {
        let _ = writeln!(text, "{key:width$}  {value:>12}");
    }
    text
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
}
