//! The real-time clock, read once at start (MC146818 data sheet; CMOS ports 0x70, 0x71).

use x86_64::instructions::port::Port;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
/// Status A: an update is under way; the time registers may be half old.
const UPDATE_IN_PROGRESS: u8 = 1 << 7;
/// Status B: hours run to 23.
const HOURS_24: u8 = 1 << 1;
/// Status B: registers are binary, not BCD.
const BINARY: u8 = 1 << 2;
/// Hour register in 12-hour mode: afternoon.
const PM: u8 = 1 << 7;
/// A clock that never settles is read as it is: wrong time is better than no host.
const ATTEMPTS: usize = 1_000_000;

/// Seconds since 1970-01-01 UTC, as the clock has it (taken for UTC, years 2000 to 2099).
pub fn read() -> u32 {
    let mut last = snapshot();
    for _ in 0..ATTEMPTS {
        if cmos(STATUS_A) & UPDATE_IN_PROGRESS != 0 {
            continue;
        }
        let next = snapshot();
        if next == last && cmos(STATUS_A) & UPDATE_IN_PROGRESS == 0 {
            break;
        }
        last = next;
    }
    seconds_since_1970(last, cmos(STATUS_B))
}

/// Second, minute, hour, day, month, year.
type Snapshot = [u8; 6];

fn snapshot() -> Snapshot {
    [SECONDS, MINUTES, HOURS, DAY, MONTH, YEAR].map(cmos)
}

fn cmos(register: u8) -> u8 {
    // SAFETY: the CMOS ports touch no memory. Bit 7 of the index stays 0: NMI on.
    unsafe {
        Port::<u8>::new(INDEX).write(register);
        Port::<u8>::new(DATA).read()
    }
}

fn seconds_since_1970(raw: Snapshot, status_b: u8) -> u32 {
    let number = |value: u8| {
        if status_b & BINARY != 0 {
            value
        } else {
            (value >> 4) * 10 + (value & 15)
        }
    };
    let mut hour = number(raw[2] & !PM) as u32;
    if status_b & HOURS_24 == 0 {
        hour = hour % 12 + if raw[2] & PM != 0 { 12 } else { 0 };
    }
    let (day, month, year) = (number(raw[3]), number(raw[4]), number(raw[5]));
    let days = days_since_1970(2000 + year as u32, month as u32, day as u32);
    ((days * 24 + hour) * 60 + number(raw[1]) as u32) * 60 + number(raw[0]) as u32
}

/// Days from 1970-01-01 to a date of 2000 to 2099, a span in which every fourth year is a leap year.
fn days_since_1970(year: u32, month: u32, day: u32) -> u32 {
    const BEFORE_MONTH: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let month = month.clamp(1, 12);
    let years = year - 1970;
    let leap_days = (years + 1) / 4 + u32::from(year.is_multiple_of(4) && month > 2);
    years * 365 + leap_days + BEFORE_MONTH[month as usize - 1] + day.max(1) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bcd_and_binary_clocks_say_the_same() {
        // 2026-11-26 09:26:30 UTC.
        let bcd = [0x30, 0x26, 0x09, 0x26, 0x11, 0x26];
        let binary = [30, 26, 9, 26, 11, 26];
        assert_eq!(seconds_since_1970(bcd, HOURS_24), 1_795_685_190);
        assert_eq!(seconds_since_1970(binary, HOURS_24 | BINARY), 1_795_685_190);
    }

    #[test]
    fn twelve_hour_clocks_have_midnight_and_noon_at_twelve() {
        let at = |hour| seconds_since_1970([0, 0, hour, 1, 1, 0], BINARY) % 86_400;
        assert_eq!(at(12), 0);
        assert_eq!(at(12 | PM), 12 * 3600);
        assert_eq!(at(11 | PM), 23 * 3600);
    }

    #[test]
    fn leap_days_count_from_march() {
        assert_eq!(days_since_1970(2000, 1, 1), 10_957);
        assert_eq!(
            days_since_1970(2024, 2, 29) + 1,
            days_since_1970(2024, 3, 1)
        );
        assert_eq!(
            days_since_1970(2023, 2, 28) + 1,
            days_since_1970(2023, 3, 1)
        );
        assert_eq!(
            days_since_1970(2024, 12, 31) + 1,
            days_since_1970(2025, 1, 1)
        );
    }
}
