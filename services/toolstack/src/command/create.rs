//! `create` and `config-update`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::options::Options;
use super::{Commands, Follow, Outcome, ReadError, Verdict, World, refused};
use crate::config::{self, Diagnostic, DomainConfig};
use crate::life::StartMode;
use crate::show::domain_json;

/// `Ctrl-]`.
pub(super) const ESCAPE: u8 = 0x1d;

impl<W: World> Commands<'_, W> {
    pub(super) fn create(&mut self, options: &Options<'_>, dry: bool) -> Verdict<Outcome> {
        let (file, vars) = file_and_vars(options, 0)?;
        let mut outcome = Outcome::default();
        let config = self.read(file, vars, options.has('q'), &mut outcome)?;
        if dry || options.has('n') {
            outcome.stdout = domain_json(&config);
            return Ok(outcome);
        }
        let start = if options.has('p') {
            StartMode::Paused
        } else {
            StartMode::Running
        };
        let (name, text) = (config.name.to_string(), config.print());
        let moment = self.world.moment();
        let made = self.domains.create(config, start, &moment);
        let id = made.map_err(|refusal| after(&outcome, &refused(&refusal)))?;
        if let Err(why) = self.world.keep_config(&name, &text) {
            outcome.complain(format!("warning: the configuration of {name} is not kept: {why}"));
        }
        if options.has('c') {
            outcome.follow = Follow::Console {
                domain: id,
                escape: ESCAPE,
            };
        } else if options.has('F') {
            outcome.follow = Follow::Wait(alloc::vec![id]);
        }
        Ok(outcome)
    }

    pub(super) fn config_update(&mut self, options: &Options<'_>, dry: bool) -> Verdict<Outcome> {
        let id = self.guest(options.word(0))?;
        let (file, vars) = file_and_vars(options, 1)?;
        let mut outcome = Outcome::default();
        outcome.complain("WARNING: xl now has better capability to manage domain configuration, avoid using this command when possible");
        let config = self.read(file, vars, options.has('q'), &mut outcome)?;
        if dry {
            outcome.stdout = domain_json(&config);
            return Ok(outcome);
        }
        let text = config.print();
        let name = self
            .domains
            .get(id)
            .map(|domain| domain.config.name.to_string())
            .unwrap_or_default();
        self.domains
            .update_config(id, config)
            .map_err(|refusal| after(&outcome, &refused(&refusal)))?;
        if let Err(why) = self.world.keep_config(&name, &text) {
            outcome.complain(format!("warning: the configuration of {name} is not kept: {why}"));
        }
        Ok(outcome)
    }

    /// Reads a configuration; progress and warnings go to the outcome.
    fn read(&mut self, file: &str, vars: &[&str], quiet: bool, outcome: &mut Outcome) -> Verdict<DomainConfig> {
        let text = self.world.read_config(file).map_err(|error| {
            let why = match error {
                ReadError::NotFound => "No such file or directory".to_string(),
                ReadError::Failed(why) => why,
            };
            Outcome::fails(3, format!("Failed to read config file: {file}: {why}"))
        })?;
        if !quiet {
            outcome.complain(format!("Parsing config from {file}"));
        }
        match config::parse(file, &text, vars) {
            Ok((config, warnings)) => {
                outcome.stderr.push_str(&lines(&warnings));
                Ok(config)
            }
            Err(findings) => {
                let mut failed = Outcome {
                    code: 1,
                    ..outcome.clone()
                };
                failed.stderr.push_str(&lines(&findings));
                failed.complain("Failed to parse config: Invalid argument");
                Err(failed)
            }
        }
    }
}

fn lines(findings: &[Diagnostic]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

/// A failure after progress that was told.
fn after(progress: &Outcome, failure: &Outcome) -> Outcome {
    Outcome {
        stderr: format!("{}{}", progress.stderr, failure.stderr),
        ..failure.clone()
    }
}

/// The file's name and the words that count after it. A first word with `=` is no file if `-f` names one.
fn file_and_vars<'a, 'b>(options: &'b Options<'a>, first: usize) -> Verdict<(&'a str, &'b [&'a str])> {
    let words = options.words.get(first..).unwrap_or_default();
    if let Some(file) = options.value('f') {
        return Ok((file, words));
    }
    match words.split_first() {
        Some((file, vars)) => Ok((file, vars)),
        None => {
            let lines: Vec<&str> = alloc::vec![
                "Error: no configuration is named.",
                "hint: give a file, or the name of a domain that was made before"
            ];
            Err(Outcome::fails(2, lines.join("\n")))
        }
    }
}
