//! Commands that change how a domain lives.

use alloc::format;
use alloc::vec::Vec;

use super::create::ESCAPE;
use super::options::Options;
use super::{Commands, Follow, Outcome, Verdict, World, refused};
use crate::config::DomainName;
use crate::life::{DomId, Domains, Phase, Refusal};

impl<W: World> Commands<'_, W> {
    pub(super) fn destroy(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        let word = options.word(0);
        if self.domains.cancel_restart(word) {
            return Ok(Outcome::default());
        }
        match self.domain(word)? {
            DomId(0) => Err(Outcome::fails(
                1,
                "Not destroying domain 0; use -f to force.\n\
                 This can only be done when using a disaggregated hardware domain and toolstack.",
            )),
            id => {
                let destroyed = self.domains.destroy(id);
                destroyed.map_err(|_| Outcome::fails(1, "destroy failed (rc=-21)"))?;
                Ok(Outcome::default())
            }
        }
    }

    pub(super) fn shutdown(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        self.stop(options, "Shutting down", Domains::shutdown)
    }

    pub(super) fn reboot(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        self.stop(options, "Rebooting", Domains::reboot)
    }

    fn stop(
        &mut self,
        options: &Options<'_>,
        what: &str,
        stop: fn(&mut Domains, DomId) -> Result<(), Refusal>,
    ) -> Verdict<Outcome> {
        let ids: Vec<DomId> = match (options.has('a'), options.words.first()) {
            (true, _) => self
                .domains
                .iter()
                .filter(|domain| domain.phase == Phase::Alive)
                .map(|domain| domain.id)
                .collect(),
            (false, Some(word)) => alloc::vec![self.guest(word)?],
            (false, None) => return Err(Outcome::fails(1, "You must specify -a or a domain id.")),
        };
        let mut outcome = Outcome::default();
        for &id in &ids {
            outcome.complain(format!("{what} domain {id}"));
            if let Err(refusal) = stop(self.domains, id) {
                let failure = refused(&refusal);
                outcome.stderr.push_str(&failure.stderr);
                outcome.code = 1;
            }
        }
        if options.has('w') && outcome.code == 0 && !ids.is_empty() {
            outcome.complain(format!("Waiting for {} domains", ids.len()));
            outcome.follow = Follow::Wait(ids);
        }
        Ok(outcome)
    }

    pub(super) fn pause(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        let id = self.guest(options.word(0))?;
        self.silently(|domains| domains.pause(id))
    }

    pub(super) fn unpause(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        let id = self.guest(options.word(0))?;
        self.silently(|domains| domains.unpause(id))
    }

    fn silently(&mut self, change: impl FnOnce(&mut Domains) -> Result<(), Refusal>) -> Verdict<Outcome> {
        let changed = change(self.domains);
        changed.map(|()| Outcome::default()).map_err(|refusal| Outcome {
            code: 1,
            ..refused(&refusal)
        })
    }

    pub(super) fn rename(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        let id = self.guest(options.word(0))?;
        let text = options.word(1);
        let name = DomainName::new(text)
            .map_err(|error| Outcome::fails(1, format!("Error: Invalid domain name \"{text}\".\nhint: {error}")))?;
        self.silently(|domains| domains.rename(id, name))
    }

    pub(super) fn console(&mut self, options: &Options<'_>) -> Verdict<Outcome> {
        let domain = self.guest(options.word(0))?;
        if options.value('t').is_some_and(|kind| !matches!(kind, "pv" | "serial")) {
            return Err(Outcome::fails(2, "console type supported are: pv, serial"));
        }
        if options.value('n').is_some_and(|number| number != "0") {
            return Err(Outcome::fails(1, "Error: there is one console, number 0."));
        }
        let escape = match options.value('e').map(str::as_bytes) {
            None => ESCAPE,
            // `^]` is the control character of `]`.
            Some([b'^', letter @ b'@'..=b'_']) => letter - b'@',
            Some([b'^', letter @ b'a'..=b'z']) => letter.to_ascii_uppercase() - b'@',
            Some(&[byte]) => byte,
            Some(_) => {
                return Err(Outcome::fails(
                    1,
                    "Error: Invalid argument.\nhint: -e takes a character, or ^ and a letter",
                ));
            }
        };
        Ok(Outcome {
            follow: Follow::Console { domain, escape },
            ..Outcome::default()
        })
    }
}
