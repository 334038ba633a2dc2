//! The words of the command line that are the kernel's; everything else is left for user mode.
//!
//! Called by the binary; gives `BootInfo::flags`.

use ecusson_abi::boot::{BOOT_DEBUG_EXIT, BOOT_MITIGATIONS_OFF, BOOT_MITIGATIONS_ON, BOOT_PANIC_HALT};

use crate::report::Report;

/// The `BOOT_*` bits that the words of `text` ask for. The last word about one matter counts.
pub fn flags<R: Report>(text: &[u8], report: &mut R) -> u64 {
    let mut flags = 0;
    for word in text.split(u8::is_ascii_whitespace) {
        let (clear, set) = match word {
            b"panic=halt" => (0, BOOT_PANIC_HALT),
            b"panic=reset" => (BOOT_PANIC_HALT, 0),
            b"test" => (0, BOOT_DEBUG_EXIT),
            b"mitigations=on" => (BOOT_MITIGATIONS_OFF, BOOT_MITIGATIONS_ON),
            b"mitigations=off" => (BOOT_MITIGATIONS_ON, BOOT_MITIGATIONS_OFF),
            b"mitigations=auto" => (BOOT_MITIGATIONS_ON | BOOT_MITIGATIONS_OFF, 0),
            _ if word.starts_with(b"panic=") => {
                report.line(format_args!("command line: panic= takes halt or reset; ignored"));
                continue;
            }
            _ if word.starts_with(b"mitigations=") => {
                report.line(format_args!(
                    "command line: mitigations= takes auto, on or off; ignored"
                ));
                continue;
            }
            _ => continue,
        };
        flags = flags & !clear | set;
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Lines;

    /// Catches a word that is matched by its beginning, an order that doesn't count, a silent typing mistake.
    #[test]
    fn words_become_flags() {
        let mut lines = Lines::default();
        assert_eq!(flags(b"", &mut lines), 0);
        assert_eq!(
            flags(b"tests console=x test\tpanic=halt", &mut lines),
            BOOT_DEBUG_EXIT | BOOT_PANIC_HALT
        );
        assert_eq!(
            flags(b"mitigations=off  mitigations=on", &mut lines),
            BOOT_MITIGATIONS_ON
        );
        assert_eq!(flags(b"mitigations=on mitigations=auto", &mut lines), 0);
        assert!(lines.0.is_empty());
        assert_eq!(flags(b"panic=hault mitigations=", &mut lines), 0);
        assert_eq!(lines.0.len(), 2);
    }
}
