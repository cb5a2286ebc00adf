//! Time, as the host's hardware tells it.

/// Nanoseconds since the host started; never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The moment `nanoseconds` later; the end of time at most.
    pub const fn after(self, nanoseconds: u64) -> Self {
        Self(self.0.saturating_add(nanoseconds))
    }
}

/// Wall-clock time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WallTime {
    /// Seconds since 1970-01-01 UTC.
    pub seconds: u32,
    /// Nanoseconds of the second.
    pub nanoseconds: u32,
}

/// Processors that a kernel which trusts the time-stamp counter treats differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Processor {
    /// AMD's, with a counter of constant rate: Linux 2.6.31 to 2.6.33 would measure its clock with
    /// performance counters, which no guest has.
    AmdConstantTsc,
    /// Any other.
    Other,
}

/// The host's clocks.
pub trait Clock {
    /// Monotonic time.
    fn now(&self) -> Nanos;
    /// Wall-clock time: what the real-time clock said at start, plus monotonic time.
    fn wall(&self) -> WallTime;
    /// Rate of the time-stamp counter that the guest reads too, in kHz; 0 when it is not known.
    fn tsc_khz(&self) -> u32;
    /// How old kernels see the processor.
    fn processor(&self) -> Processor {
        Processor::Other
    }
}
