//! Serial port, clock and power registers, driven as drivers drive them.

use ecusson_vmm::chipset::{Power, PowerEvent, Rtc, Uart};
use ecusson_vmm::time::Wall;
use proptest::prelude::*;

const NS: u64 = 1_000_000_000;

/// A port with FIFOs on and its interrupt connected.
fn uart() -> Uart {
    let mut uart = Uart::default();
    uart.write(2, 0x81);
    uart.write(4, 0x0b);
    uart
}

#[test]
fn the_transmitter_interrupts_when_it_is_empty_and_when_it_is_switched_on() {
    let mut uart = uart();
    assert!(!uart.line());
    uart.write(1, 2);
    assert!(uart.line(), "switched on with an empty transmitter");
    assert_eq!(uart.read(2), 0xc2);
    assert!(!uart.line(), "identified, and so taken back");
    assert_eq!(uart.write(0, b'x'), Some(b'x'));
    assert!(uart.line());
    // Linux tests for a chip that does not repeat this: off and on again.
    uart.read(2);
    uart.write(1, 0);
    uart.write(1, 2);
    assert_eq!(uart.read(2), 0xc2);
    assert_eq!(uart.read(5) & 0x60, 0x60);
}

#[test]
fn received_bytes_interrupt_by_level_or_by_time_out() {
    let mut uart = uart();
    uart.write(1, 1);
    assert_eq!(uart.receive(b"12345678"), 8);
    assert_eq!(uart.read(2), 0xc4, "the trigger is at 8");
    assert_eq!(uart.read(0), b'1');
    assert_eq!(uart.read(2), 0xcc, "seven have waited");
    for expected in b"2345678" {
        assert_eq!(uart.read(5) & 1, 1);
        assert_eq!(uart.read(0), *expected);
    }
    assert_eq!((uart.read(5) & 1, uart.line()), (0, false));
    assert_eq!(uart.receive(&[0; Uart::INPUT_MAX + 7]), Uart::INPUT_MAX);
    assert_eq!((uart.room(), uart.receive(b"more")), (0, 0));
}

#[test]
fn loopback_keeps_to_itself() {
    let mut uart = uart();
    uart.write(4, 0x1e);
    assert_eq!(uart.read(6) & 0xf0, 0xd0, "RTS, OUT1 and OUT2 come back");
    assert_eq!(uart.write(0, 0x55), None);
    assert_eq!(uart.receive(b"outside"), 0);
    assert_eq!(uart.read(0), 0x55);
    for byte in 0..17 {
        uart.write(0, byte);
    }
    assert_eq!(uart.read(5) & 2, 2, "the seventeenth did not fit");
    assert_eq!(uart.read(5) & 2, 0);
}

#[test]
fn divisor_and_scratch_are_remembered() {
    let mut uart = uart();
    uart.write(7, 0xa5);
    uart.write(3, 0x83);
    uart.write(0, 1);
    uart.write(1, 2);
    assert_eq!((uart.read(0), uart.read(1)), (1, 2));
    uart.write(3, 3);
    assert_eq!((uart.read(1), uart.read(7), uart.read(3)), (0, 0xa5, 3));
}

fn read(rtc: &mut Rtc, index: u8, now: Wall) -> u8 {
    rtc.select(index);
    rtc.read(now)
}

fn write(rtc: &mut Rtc, index: u8, value: u8, now: Wall) {
    rtc.select(index);
    rtc.write(value, now);
}

/// Year, month, day, hour, minute, second, day of week.
fn time(rtc: &mut Rtc, now: Wall) -> [u8; 8] {
    [0x32, 9, 8, 7, 4, 2, 0, 6].map(|index| read(rtc, index, now))
}

#[test]
fn the_clock_tells_the_hosts_time() {
    let mut rtc = Rtc::default();
    // 29 February 2024, 23:59:58, a Thursday.
    let now = Wall(1_709_251_198 * NS);
    assert_eq!(time(&mut rtc, now), [0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58, 0x05]);
    let later = Wall(now.0 + 2 * NS);
    assert_eq!(time(&mut rtc, later), [0x20, 0x24, 0x03, 0x01, 0, 0, 0, 0x06]);
    assert_eq!(read(&mut rtc, 10, later) & 0x80, 0);
    assert_eq!(
        read(&mut rtc, 10, Wall(later.0 - 100_000)) & 0x80,
        0x80,
        "an update is near"
    );
    write(&mut rtc, 11, 0x06, later);
    assert_eq!(time(&mut rtc, Wall(946_684_799 * NS))[..4], [19, 99, 12, 31], "binary");
    write(&mut rtc, 11, 0x00, later);
    assert_eq!(read(&mut rtc, 4, now), 0x91, "eleven in the evening, 12-hour form");
}

#[test]
fn a_guest_sets_its_own_clock() {
    let mut rtc = Rtc::default();
    let now = Wall(1_709_251_198 * NS);
    write(&mut rtc, 11, 0x82, now);
    for (index, value) in [
        (9, 0x99),
        (0x32, 0x20),
        (8, 0x12),
        (7, 0x31),
        (4, 0x01),
        (2, 0x02),
        (0, 0x03),
    ] {
        write(&mut rtc, index, value, now);
    }
    write(&mut rtc, 11, 0x02, now);
    let later = Wall(now.0 + 60 * NS);
    assert_eq!(time(&mut rtc, later)[..7], [0x20, 0x99, 0x12, 0x31, 0x01, 0x03, 0x03]);
    // Nonsense changes nothing.
    write(&mut rtc, 8, 0x13, later);
    assert_eq!(read(&mut rtc, 8, later), 0x12);
    write(&mut rtc, 0x40, 0x77, later);
    assert_eq!(read(&mut rtc, 0x40, later), 0x77);
}

#[test]
fn power_registers_do_what_the_tables_say() {
    let mut power = Power::default();
    assert_eq!(power.write(0, 5 << 2), None, "not enabled");
    assert_eq!(power.write(0, 3 << 2 | 0x20), None, "another state");
    assert_eq!(power.write(0, 5 << 2 | 0x20), Some(PowerEvent::Off));
    assert_eq!(power.write(2, 1), Some(PowerEvent::Reset));
    assert!(!power.line());
    power.press_button();
    assert!(power.line());
    assert_eq!((power.read(3), power.read(3), power.line()), (1, 0, false));
}

proptest! {
    /// Whatever is written, the port goes on and its queue stays within bounds.
    #[test]
    fn a_serial_port_survives_anything(accesses in prop::collection::vec((any::<bool>(), any::<u8>(), any::<u8>()), 0..200)) {
        let mut uart = Uart::default();
        for (is_write, register, value) in accesses {
            if is_write {
                uart.write(register % 10, value);
            } else {
                uart.read(register % 10);
            }
            uart.receive(&[value]);
            let _ = uart.line();
            prop_assert!(uart.room() <= Uart::INPUT_MAX);
        }
    }

    #[test]
    fn a_clock_survives_anything(accesses in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u64>()), 0..100)) {
        let mut rtc = Rtc::default();
        for (index, value, now) in accesses {
            write(&mut rtc, index, value, Wall(now));
            read(&mut rtc, index, Wall(now.wrapping_add(1)));
        }
    }

    /// Days are counted as everybody counts them: forwards through the calendar, the clock agrees with itself.
    #[test]
    fn setting_the_clock_to_what_it_says_changes_nothing(seconds in 0_u64..13_000_000_000) {
        let mut rtc = Rtc::default();
        let now = Wall(seconds * NS);
        let before = time(&mut rtc, now);
        write(&mut rtc, 11, 0x82, now);
        for (index, value) in [0x32, 9, 8, 7, 4, 2, 0].into_iter().zip(before) {
            write(&mut rtc, index, value, now);
        }
        write(&mut rtc, 11, 0x02, now);
        prop_assert_eq!(time(&mut rtc, now), before);
    }
}
