//! Decodes the trace port: defmt frames, whose texts lie in the unstripped kernel.
//!
//! Key types: [`Decoder`] (the texts), [`Stream`] (one run's frames). Called by [`crate::run`].

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use defmt_decoder::{DecodeError, Locations, StreamDecoder, Table};

/// The texts of one kernel.
pub(crate) struct Decoder {
    table: Table,
    locations: Option<Locations>,
}

/// The frames of one run.
pub(crate) struct Stream<'a> {
    decoder: &'a Decoder,
    frames: Box<dyn StreamDecoder + Send + Sync + 'a>,
}

impl Decoder {
    /// Reads the texts; `None` if this kernel sends no frames.
    pub(crate) fn load(elf: &Path) -> anyhow::Result<Option<Self>> {
        let bytes = fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
        let Some(table) = Table::parse(&bytes).with_context(|| format!("trace texts of {}", elf.display()))? else {
            return Ok(None);
        };
        // Without line tables the texts still do.
        let locations = table.get_locations(&bytes).ok();
        Ok(Some(Self { table, locations }))
    }

    /// A decoder for the frames of a run, from their beginning.
    pub(crate) fn stream(&self) -> Stream<'_> {
        Stream {
            decoder: self,
            frames: self.table.new_stream_decoder(),
        }
    }
}

impl Stream<'_> {
    /// Takes bytes as they came and returns the lines of the frames that are complete.
    pub(crate) fn lines(&mut self, bytes: &[u8]) -> Vec<String> {
        self.frames.received(bytes);
        let mut lines = Vec::new();
        loop {
            match self.frames.decode() {
                Ok(frame) => {
                    let place = self.decoder.locations.as_ref().and_then(|all| all.get(&frame.index()));
                    let place = place.map_or(String::new(), |place| {
                        format!(" ({}:{})", place.file.display(), place.line)
                    });
                    lines.push(format!("trace | {}{place}", frame.display(false)));
                }
                Err(DecodeError::UnexpectedEof) => return lines,
                Err(DecodeError::Malformed) if self.decoder.table.encoding().can_recover() => {
                    lines.push("trace | (a damaged frame)".to_owned());
                }
                Err(DecodeError::Malformed) => {
                    lines.push("trace | (damaged, cannot go on)".to_owned());
                    return lines;
                }
            }
        }
    }
}
