//! Commands about the host.

use alloc::format;
use alloc::string::{String, ToString};

use super::options::Options;
use super::{Commands, Outcome, ReadError, Verdict, World, host_power};

impl<W: World> Commands<'_, W> {
    pub(super) fn info(&mut self, options: &Options<'_>) -> Outcome {
        let facts = self.world.host();
        Outcome::shows(match options.words.first() {
            Some(name) => facts.field(name),
            None => facts.info(options.has('n')),
        })
    }

    pub(super) fn dmesg(&mut self, options: &Options<'_>) -> Outcome {
        let text = self.world.messages();
        if options.has('c') {
            self.world.clear_messages();
        }
        Outcome::shows(text)
    }

    pub(super) fn autostart(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        let mut names = self.world.autostart();
        match options.words.as_slice() {
            [] => {
                return Ok(Outcome::shows(
                    names.iter().map(|name| format!("{name}\n")).collect::<String>(),
                ));
            }
            ["add", name] => {
                if self.world.read_config(name) == Err(ReadError::NotFound) {
                    let hint = "create it once: its configuration is kept then";
                    return Err(Outcome::fails(
                        1,
                        format!("Error: no configuration of {name} is kept.\nhint: {hint}"),
                    ));
                }
                if !names.iter().any(|one| one == name) {
                    names.push((*name).to_string());
                }
            }
            ["remove", name] => {
                let before = names.len();
                names.retain(|one| one != name);
                if names.len() == before {
                    return Err(Outcome::fails(
                        1,
                        format!("Error: {name} does not start with the host."),
                    ));
                }
            }
            _ => {
                return Err(Outcome::fails(
                    2,
                    "Error: Invalid argument.\nhint: autostart [add NAME | remove NAME]",
                ));
            }
        }
        let kept = self.world.keep_autostart(&names);
        kept.map(|()| Outcome::default())
            .map_err(|why| Outcome::fails(1, format!("Error: the list is not kept: {why}")))
    }

    pub(super) fn host(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        let Some(power) = host_power(options.word(0)) else {
            return Err(Outcome::fails(
                2,
                "Error: Invalid argument.\nhint: host shutdown, or host reboot",
            ));
        };
        let moment = self.world.moment();
        self.domains.stop_host(power, &moment);
        let count = self.domains.iter().count();
        let mut outcome = Outcome::default();
        outcome.complain(format!("Stopping {count} domains, then the host"));
        Ok(outcome)
    }
}
