//! The wall clock: the PC's CMOS clock (Motorola MC146818A data sheet), as it is found in every machine that ACPI does not say lacks it.
//!
//! Called by `start` with the registers of the machine, by tests with others.

use ecusson_abi::boot::BootFadt;

/// `boot_architecture`: there is no such clock.
const NO_CMOS_CLOCK: u16 = 1 << 5;
/// Readings before a clock that never says the same twice is given up.
const READINGS: u32 = 10;
/// Status register B, and its bits: numbers are binary, hours count to 24.
const FORMAT: u8 = 0x0B;
const BINARY: u8 = 4;
const HOURS_24: u8 = 2;
/// In the hours: afternoon.
const AFTERNOON: u8 = 0x80;

/// Nanoseconds since 1970, if the clock keeps UTC; 0 when there is none or it makes no sense. `register` reads one of its
/// registers, by index.
pub fn nanoseconds(fadt: &BootFadt, register: impl Fn(u8) -> u8) -> u64 {
    if fadt.boot_architecture & NO_CMOS_CLOCK != 0 {
        return 0;
    }
    // Two equal readings: no update came between.
    let mut last = read(fadt.century, &register);
    for _ in 0..READINGS {
        let next = read(fadt.century, &register);
        if next == last {
            return seconds_since_1970(next).map_or(0, |seconds| seconds * 1_000_000_000);
        }
        last = next;
    }
    0
}

/// Year, month, day, hour, minute, second.
fn read(century: u8, register: &impl Fn(u8) -> u8) -> [u64; 6] {
    let format = register(FORMAT);
    let number = |value: u8| {
        if format & BINARY != 0 {
            u64::from(value)
        } else {
            u64::from(value >> 4) * 10 + u64::from(value & 0xF)
        }
    };
    let hours = register(4);
    let mut hour = number(hours & !AFTERNOON);
    if format & HOURS_24 == 0 {
        hour = hour % 12 + if hours & AFTERNOON != 0 { 12 } else { 0 };
    }
    let hundreds = if century == 0 { 20 } else { number(register(century)) };
    let [day, month, year] = [7, 8, 9].map(|index| number(register(index)));
    [
        hundreds * 100 + year,
        month,
        day,
        hour,
        number(register(2)),
        number(register(0)),
    ]
}

/// Days by the civil calendar (era of 400 years beginning in March).
fn seconds_since_1970([year, month, day, hour, minute, second]: [u64; 6]) -> Option<u64> {
    let plausible = (2020..2200).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !plausible || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let year_from_march = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year_from_march / 400, year_from_march % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// 29 February 2024, the time in seconds, minutes and hours as the registers have it, and their format.
    fn clock(second: u8, hour: u8, format: u8) -> impl Fn(u8) -> u8 {
        move |index| match index {
            0 => second,
            2 => 0x30,
            4 => hour,
            7 => 0x29,
            8 => 0x02,
            9 => 0x24,
            FORMAT => format,
            _ => 0x20,
        }
    }

    #[test]
    fn formats_mean_the_same() {
        let fadt = BootFadt {
            century: 0x32,
            ..BootFadt::default()
        };
        let half_past_one_pm = 1_709_213_405 * 1_000_000_000;
        assert_eq!(nanoseconds(&fadt, clock(5, 0x13, HOURS_24)), half_past_one_pm);
        assert_eq!(nanoseconds(&fadt, clock(5, 0x01 | AFTERNOON, 0)), half_past_one_pm);
        assert_eq!(
            nanoseconds(&BootFadt::default(), clock(5, 0x13, HOURS_24)),
            half_past_one_pm
        );
        let binary = |index: u8| [5, 0, 30, 0, 13, 0, 0, 29, 2, 24, 0, BINARY | HOURS_24][usize::from(index)];
        assert_eq!(nanoseconds(&BootFadt::default(), binary), half_past_one_pm);
    }

    #[test]
    fn a_clock_that_is_not_there_or_never_stands_tells_nothing() {
        let fadt = BootFadt {
            boot_architecture: NO_CMOS_CLOCK,
            ..BootFadt::default()
        };
        assert_eq!(nanoseconds(&fadt, clock(5, 0x13, HOURS_24)), 0);
        let second = Cell::new(0);
        let racing = |index: u8| {
            if index == 0 {
                second.set((second.get() + 1) % 10);
            }
            clock(second.get(), 0x13, HOURS_24)(index)
        };
        assert_eq!(nanoseconds(&BootFadt::default(), racing), 0);
        assert_eq!(nanoseconds(&BootFadt::default(), |_| 0xFF), 0);
    }

    #[test]
    fn the_calendar_knows_leap_years_and_refuses_nonsense() {
        assert_eq!(seconds_since_1970([2024, 2, 29, 12, 0, 0]), Some(1_709_208_000));
        assert_eq!(seconds_since_1970([2026, 1, 1, 0, 0, 0]), Some(1_767_225_600));
        assert_eq!(seconds_since_1970([2026, 13, 1, 0, 0, 0]), None);
        assert_eq!(seconds_since_1970([1970, 1, 1, 0, 0, 0]), None);
    }
}
