//! How much of what a guest causes is logged.
//!
//! The log is a serial line that the host waits for. A guest that could fill it at will would spend the
//! host's time there, and drown the lines that somebody looks for.

use crate::clock::Nanos;

/// Lines in a span: enough for every device of a guest to be broken once.
const LINES: u32 = 10;
/// Nanoseconds of a span.
const SPAN: u64 = 1_000_000_000;

/// Lets the first lines of each second through, and counts the others.
#[derive(Clone, Debug, Default)]
pub struct LogLimit {
    /// When the span began.
    since: Nanos,
    /// Lines in it.
    lines: u32,
    left_out: u64,
}

impl LogLimit {
    /// Whether a line may be logged at `now`. If not, it is counted.
    pub fn admits(&mut self, now: Nanos) -> bool {
        if now >= self.since.after(SPAN) {
            self.since = now;
            self.lines = 0;
        }
        if self.lines == LINES {
            self.left_out = self.left_out.saturating_add(1);
            return false;
        }
        self.lines = self.lines.saturating_add(1);
        true
    }

    /// Lines that were left out since the last call.
    pub fn take_left_out(&mut self) -> u64 {
        core::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_leaves_the_first_of_each_second() {
        let mut limit = LogLimit::default();
        for second in 0..3 {
            let admitted = (0..1000).filter(|line| limit.admits(Nanos(second * SPAN + line)));
            assert_eq!(admitted.count(), LINES as usize);
            assert_eq!(limit.take_left_out(), 1000 - u64::from(LINES));
        }
        assert_eq!(limit.take_left_out(), 0);
    }

    #[test]
    fn lines_with_pauses_all_come_through() {
        let mut limit = LogLimit::default();
        let pause = SPAN / u64::from(LINES);
        assert!((0..1000).all(|line| limit.admits(Nanos(line * pause))));
        assert_eq!(limit.take_left_out(), 0);
    }

    #[test]
    fn the_end_of_time_is_no_trap() {
        let mut limit = LogLimit::default();
        assert!(limit.admits(Nanos(u64::MAX)));
        assert!(limit.admits(Nanos(u64::MAX)));
    }
}
