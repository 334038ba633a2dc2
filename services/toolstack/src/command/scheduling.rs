//! `vcpu-pin` and `sched-credit2`.

use alloc::format;
use alloc::string::ToString;

use super::options::Options;
use super::{Commands, Outcome, Verdict, World, refused};
use crate::config::{CpuSet, MAX_VCPUS, MAX_WEIGHT};
use crate::life::Refusal;
use crate::show;

impl<W: World> Commands<'_, W> {
    pub(super) fn vcpu_pin(&mut self, options: &Options<'_>, dry: bool) -> Verdict<Outcome> {
        let id = self.guest(options.word(0))?;
        let word = options.word(1);
        let vcpu = match word {
            "all" if options.has('f') => {
                return Err(Outcome::fails(1, "Error: --force and 'all' as VCPU not allowed."));
            }
            "all" => None,
            _ => {
                let digits = word.bytes().all(|digit| digit.is_ascii_digit());
                let number = word.parse().ok().filter(|_| digits);
                Some(number.ok_or_else(|| Outcome::fails(1, format!("Error: Invalid argument {word} as VCPU.")))?)
            }
        };
        let hard = affinity(options.word(2))?;
        let soft = options.words.get(3).map_or(Ok(None), |word| affinity(word))?;
        if dry {
            let cpus = self.domains.host().cpus;
            let show = |set: Option<CpuSet>| set.map_or("-".to_string(), |set| set.show(cpus));
            let soft = soft.map(|soft| format!(" {}", show(Some(soft)))).unwrap_or_default();
            return Ok(Outcome::shows(format!("cpumap: {}{soft}\n", show(hard))));
        }
        match self.domains.pin(id, vcpu, hard, soft) {
            Ok(()) => Ok(Outcome::default()),
            Err(refusal @ Refusal::NoSuchCpu(_)) => Err(Outcome {
                code: 1,
                ..refused(&refusal)
            }),
            Err(_) => Err(Outcome::fails(1, format!("Could not set affinity for vcpu `{word}'."))),
        }
    }

    pub(super) fn sched_credit2(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        if let Some(pool) = options.value('p').filter(|pool| *pool != "Pool-0") {
            return Err(Outcome::fails(1, format!("unknown cpupool '{pool}'")));
        }
        let Some(word) = options.value('d') else {
            if options.has('w') || options.has('c') {
                return Err(Outcome::fails(1, "Must specify a domain."));
            }
            return Ok(Outcome::shows(show::sched_credit2(&self.rows())));
        };
        let weight = number(options.value('w'), 1, u32::from(MAX_WEIGHT), "weight")?;
        let cap = number(options.value('c'), 0, MAX_VCPUS * 100, "cap")?;
        if weight.is_none() && cap.is_none() {
            let rows = self.chosen_rows(&[word])?;
            return Ok(Outcome::shows(
                rows.first().map(show::sched_credit2_row).unwrap_or_default(),
            ));
        }
        let id = self.guest(word)?;
        // `number` has held the weight against 16 bits.
        let changed = self.domains.set_scheduling(id, weight.map(|weight| weight as u16), cap);
        changed.map(|()| Outcome::default()).map_err(|refusal| Outcome {
            code: 1,
            ..refused(&refusal)
        })
    }
}

/// `-` leaves it.
fn affinity(word: &str) -> Verdict<Option<CpuSet>> {
    if word == "-" {
        return Ok(None);
    }
    CpuSet::parse(word)
        .map(Some)
        .map_err(|error| Outcome::fails(1, error.to_string()))
}

fn number(text: Option<&str>, least: u32, most: u32, what: &str) -> Verdict<Option<u32>> {
    let Some(text) = text else { return Ok(None) };
    let digits = text.bytes().all(|digit| digit.is_ascii_digit());
    let number = text
        .parse()
        .ok()
        .filter(|number| digits && (least..=most).contains(number));
    let complaint = || format!("Error: Invalid argument.\nhint: a {what} is {least} to {most}");
    number.map(Some).ok_or_else(|| Outcome::fails(1, complaint()))
}
