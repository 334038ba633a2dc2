//! The clock of a PC, MC146818: time of day and 114 bytes of memory. No interrupts: the guest is told of none.
//!
//! Key type: [`Rtc`]. A guest that sets the clock moves it by an offset of its own; the host's time is not touched.

use crate::time::Wall;

mod register {
    pub(super) const SECONDS: u8 = 0;
    pub(super) const MINUTES: u8 = 2;
    pub(super) const HOURS: u8 = 4;
    pub(super) const DAY_OF_WEEK: u8 = 6;
    pub(super) const DAY: u8 = 7;
    pub(super) const MONTH: u8 = 8;
    pub(super) const YEAR: u8 = 9;
    pub(super) const A: u8 = 10;
    pub(super) const B: u8 = 11;
    pub(super) const C: u8 = 12;
    pub(super) const D: u8 = 13;
    /// Where the FADT says that the century is.
    pub(super) const CENTURY: u8 = 0x32;
}

/// Register A: an oscillator that runs, the usual rate; the top bit says that the time is about to change.
const A_RUNNING: u8 = 0x26;
const A_UPDATING: u8 = 0x80;
const B_SET: u8 = 0x80;
const B_BINARY: u8 = 4;
const B_24_HOURS: u8 = 2;
/// Register D: the battery is good.
const D_VALID: u8 = 0x80;
/// Hours: afternoon, in 12-hour form.
const AFTERNOON: u8 = 0x80;
const NS: u64 = 1_000_000_000;
/// The chip announces an update so long before it.
const UPDATE_NS: u64 = 244_000;
const DAY: i64 = 86_400;
/// The clock counts up to here: the end of 2399, beyond which its calendar repeats nothing useful.
const SECONDS_MAX: i64 = 13_569_465_599;

/// A time of day in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fields {
    second: u8,
    minute: u8,
    hour: u8,
    /// 1 is Sunday.
    day_of_week: u8,
    day: u8,
    month: u8,
    /// All four digits.
    year: u16,
}

/// The clock.
#[derive(Clone, Debug)]
pub struct Rtc {
    index: u8,
    b: u8,
    /// What the guest added to the host's time, in seconds.
    offset: i64,
    /// While the guest sets the time: what it has set so far.
    setting: Option<Fields>,
    memory: [u8; 128],
}

impl Default for Rtc {
    fn default() -> Self {
        Self {
            index: 0,
            b: B_24_HOURS,
            offset: 0,
            setting: None,
            memory: [0; 128],
        }
    }
}

impl Rtc {
    /// Chooses the register that the data port stands for. The top bit masks NMIs on a PC and is ignored.
    pub fn select(&mut self, value: u8) {
        self.index = value & 0x7f;
    }

    /// Reads the data port.
    #[must_use]
    pub fn read(&self, now: Wall) -> u8 {
        let fields = self.fields(now);
        match self.index {
            register::SECONDS => self.encode(fields.second),
            register::MINUTES => self.encode(fields.minute),
            register::HOURS => self.encode_hour(fields.hour),
            register::DAY_OF_WEEK => self.encode(fields.day_of_week),
            register::DAY => self.encode(fields.day),
            register::MONTH => self.encode(fields.month),
            register::YEAR => self.encode((fields.year % 100) as u8),
            register::CENTURY => self.encode((fields.year / 100) as u8),
            register::A => {
                let updating = self.b & B_SET == 0 && now.0 % NS >= NS - UPDATE_NS;
                A_RUNNING | if updating { A_UPDATING } else { 0 }
            }
            register::B => self.b,
            register::C => 0,
            register::D => D_VALID,
            index => self.memory.get(usize::from(index)).copied().unwrap_or(u8::MAX),
        }
    }

    /// Writes the data port.
    pub fn write(&mut self, value: u8, now: Wall) {
        match self.index {
            register::A | register::C | register::D => {}
            register::B => self.write_b(value, now),
            index if is_time(index) => {
                let mut fields = self.fields(now);
                self.set_field(&mut fields, index, value);
                if self.b & B_SET == 0 {
                    self.set_time(&fields, now);
                } else {
                    self.setting = Some(fields);
                }
            }
            index => {
                if let Some(byte) = self.memory.get_mut(usize::from(index)) {
                    *byte = value;
                }
            }
        }
    }

    fn write_b(&mut self, value: u8, now: Wall) {
        let was_setting = self.b & B_SET != 0;
        // Interrupts can't be switched on: there are none.
        let b = value & (B_SET | B_BINARY | B_24_HOURS);
        if b & B_SET != 0 && !was_setting {
            self.setting = Some(self.fields(now));
        }
        self.b = b;
        if b & B_SET == 0
            && let Some(fields) = self.setting.take()
        {
            self.set_time(&fields, now);
        }
    }

    fn host_seconds(now: Wall) -> i64 {
        i64::try_from(now.0 / NS).unwrap_or(i64::MAX)
    }

    fn fields(&self, now: Wall) -> Fields {
        self.setting.unwrap_or_else(|| {
            let seconds = Self::host_seconds(now).saturating_add(self.offset);
            Fields::of_seconds(seconds.clamp(0, SECONDS_MAX))
        })
    }

    /// Moves the clock. A date that is none is ignored, as if the battery had been out.
    fn set_time(&mut self, fields: &Fields, now: Wall) {
        if let Some(seconds) = fields.to_seconds() {
            self.offset = seconds.saturating_sub(Self::host_seconds(now));
        }
    }

    fn set_field(&self, fields: &mut Fields, index: u8, value: u8) {
        let number = self.decode(value);
        match index {
            register::SECONDS => fields.second = number,
            register::MINUTES => fields.minute = number,
            register::HOURS => fields.hour = self.decode_hour(value),
            register::DAY_OF_WEEK => fields.day_of_week = number,
            register::DAY => fields.day = number,
            register::MONTH => fields.month = number,
            register::YEAR => fields.year = fields.year / 100 * 100 + u16::from(number % 100),
            _ => fields.year = u16::from(number) * 100 + fields.year % 100,
        }
    }

    fn encode(&self, number: u8) -> u8 {
        if self.b & B_BINARY != 0 {
            return number;
        }
        ((number / 10 % 10) << 4) | (number % 10)
    }

    fn decode(&self, value: u8) -> u8 {
        if self.b & B_BINARY != 0 {
            return value;
        }
        (value >> 4) * 10 + (value & 15)
    }

    fn encode_hour(&self, hour: u8) -> u8 {
        if self.b & B_24_HOURS != 0 {
            return self.encode(hour);
        }
        let twelve = if hour.is_multiple_of(12) { 12 } else { hour % 12 };
        self.encode(twelve) | if hour >= 12 { AFTERNOON } else { 0 }
    }

    fn decode_hour(&self, value: u8) -> u8 {
        if self.b & B_24_HOURS != 0 {
            return self.decode(value);
        }
        let hour = self.decode(value & !AFTERNOON) % 12;
        hour + if value & AFTERNOON != 0 { 12 } else { 0 }
    }
}

fn is_time(index: u8) -> bool {
    matches!(
        index,
        register::SECONDS
            | register::MINUTES
            | register::HOURS
            | register::DAY_OF_WEEK
            | register::DAY
            | register::MONTH
            | register::YEAR
            | register::CENTURY
    )
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(month: u8, year: i64) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970 to the first of January of `year`, 1970 or later.
fn days_to(year: i64) -> i64 {
    let leaps = |year: i64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

impl Fields {
    /// Of seconds since 1970, from 0 to [`SECONDS_MAX`].
    fn of_seconds(seconds: i64) -> Self {
        let days = seconds / DAY;
        let of_day = seconds % DAY;
        // An estimate that is right or one year late.
        let mut year = 1970 + days / 365;
        while days_to(year) > days {
            year -= 1;
        }
        let mut rest = days - days_to(year);
        let mut month = 1;
        while month < 12 && rest >= i64::from(days_in(month, year)) {
            rest -= i64::from(days_in(month, year));
            month += 1;
        }
        Self {
            second: (of_day % 60) as u8,
            minute: (of_day / 60 % 60) as u8,
            hour: (of_day / 3600) as u8,
            // The first of January 1970 was a Thursday.
            day_of_week: ((days + 4) % 7 + 1) as u8,
            day: (rest + 1) as u8,
            month,
            year: year as u16,
        }
    }

    /// Seconds since 1970; `None` for what is no date since then.
    fn to_seconds(self) -> Option<i64> {
        let year = i64::from(self.year);
        let valid = self.second < 60
            && self.minute < 60
            && self.hour < 24
            && (1..=12).contains(&self.month)
            && (1970..2400).contains(&year)
            && (1..=days_in(self.month, year)).contains(&self.day);
        let months = (1..self.month)
            .map(|month| i64::from(days_in(month, year)))
            .sum::<i64>();
        valid.then(|| {
            let days = days_to(year) + months + i64::from(self.day) - 1;
            days * DAY + i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second)
        })
    }
}
