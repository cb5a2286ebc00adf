//! Time from the time-stamp counter, and the timer that interrupts the guest.

use crate::apic::LocalApic;
use crate::{pit, rtc};
use core::arch::x86_64::__cpuid;
use core::arch::x86_64::_rdtsc;
use core::sync::atomic::{AtomicU64, Ordering};
use hv_core::clock::{Clock, Nanos, Processor, WallTime};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Longest time that a guest runs without the host looking in: a `kick` waits no longer.
pub const TIME_SLICE: u64 = 10_000_000;

/// What [`microseconds`] needs of the calibration, for messages that are logged anywhere.
static LOG_START: AtomicU64 = AtomicU64::new(0);
static LOG_SCALE: AtomicU64 = AtomicU64::new(0);

/// Microseconds since the clocks were calibrated; 0 before.
pub fn microseconds() -> u64 {
    let scale = Scale(LOG_SCALE.load(Ordering::Relaxed));
    scale.apply(tsc().wrapping_sub(LOG_START.load(Ordering::Relaxed))) / 1000
}

/// The time-stamp counter's value.
pub fn tsc() -> u64 {
    // SAFETY: CR4.TSD is 0, and ring 0 may read it in any case.
    unsafe { _rdtsc() }
}

/// Converts between counts of a fixed rate and nanoseconds: a factor with 32 bits of fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scale(u64);

impl Scale {
    fn new(numerator: u64, denominator: u64) -> Self {
        Self(((u128::from(numerator) << 32) / u128::from(denominator.max(1))) as u64)
    }

    fn apply(self, value: u64) -> u64 {
        ((u128::from(value) * u128::from(self.0)) >> 32) as u64
    }
}

/// The host's clocks, calibrated against the interval timer, whose rate is the same everywhere.
pub struct Clocks {
    start: u64,
    tsc_khz: u32,
    tsc_to_nanos: Scale,
    nanos_to_apic: Scale,
    wall_at_start: u32,
}

impl Clocks {
    /// Measures the rates of the time-stamp counter and of the APIC timer; takes about 10 ms.
    pub fn calibrate(apic: &LocalApic) -> Self {
        let rates = pit::calibrate(apic);
        let start = tsc();
        LOG_START.store(start, Ordering::Relaxed);
        LOG_SCALE.store(
            Scale::new(NANOS_PER_SECOND, rates.tsc_hz).0,
            Ordering::Relaxed,
        );
        Self {
            start,
            tsc_khz: (rates.tsc_hz / 1000) as u32,
            tsc_to_nanos: Scale::new(NANOS_PER_SECOND, rates.tsc_hz),
            nanos_to_apic: Scale::new(rates.apic_hz, NANOS_PER_SECOND),
            wall_at_start: rtc::read(),
        }
    }
}

impl Clock for Clocks {
    fn now(&self) -> Nanos {
        Nanos(self.tsc_to_nanos.apply(tsc().wrapping_sub(self.start)))
    }

    fn wall(&self) -> WallTime {
        let Nanos(now) = self.now();
        WallTime {
            seconds: self
                .wall_at_start
                .wrapping_add((now / NANOS_PER_SECOND) as u32),
            nanoseconds: (now % NANOS_PER_SECOND) as u32,
        }
    }

    fn tsc_khz(&self) -> u32 {
        self.tsc_khz
    }

    fn processor(&self) -> Processor {
        /// Leaf with the vendor's name in EBX, EDX and ECX (Intel SDM volume 2, CPUID).
        const VENDOR: u32 = 0;
        const AMD: [u32; 3] = [
            u32::from_le_bytes(*b"Auth"),
            u32::from_le_bytes(*b"enti"),
            u32::from_le_bytes(*b"cAMD"),
        ];
        /// Highest extended leaf, and the one whose EDX bit 8 says that the counter's rate is constant.
        const EXTENDED: u32 = 0x8000_0000;
        const POWER: u32 = 0x8000_0007;
        const CONSTANT_TSC: u32 = 1 << 8;
        let vendor = __cpuid(VENDOR);
        let amd = [vendor.ebx, vendor.edx, vendor.ecx] == AMD;
        if amd && __cpuid(EXTENDED).eax >= POWER && __cpuid(POWER).edx & CONSTANT_TSC != 0 {
            Processor::AmdConstantTsc
        } else {
            Processor::Other
        }
    }
}

/// The one-shot timer behind every deadline.
pub struct Timer {
    apic: LocalApic,
    armed: Option<Nanos>,
}

impl Timer {
    /// A timer that is not running.
    pub fn new(apic: LocalApic) -> Self {
        Self { apic, armed: None }
    }

    /// Ends an interrupt in service that a device's message raised.
    pub fn end_of_message(&self) {
        self.apic.end_of_interrupt();
    }

    /// Whether an interrupt is under way that comes at `deadline` or earlier.
    pub fn covers(&self, deadline: Option<Nanos>) -> bool {
        match (self.armed, deadline) {
            (Some(armed), Some(deadline)) => armed <= deadline,
            (armed, None) => armed.is_some(),
            (None, Some(_)) => false,
        }
    }

    /// Sees to it that an interrupt comes at `deadline`, or earlier: a time slice from `now` at the
    /// latest.
    pub fn arm(&mut self, deadline: Option<Nanos>, now: Nanos, clocks: &Clocks) {
        if self.covers(deadline) {
            return;
        }
        let wanted = deadline.unwrap_or(Nanos(u64::MAX));
        let target = wanted.min(now.after(TIME_SLICE));
        let nanos = target.0.saturating_sub(now.0);
        // One tick more than the quotient: an interrupt must not come early.
        let ticks = clocks.nanos_to_apic.apply(nanos).saturating_add(1);
        self.apic
            .start_timer(u32::try_from(ticks).unwrap_or(u32::MAX));
        self.armed = Some(target);
    }

    /// The timer's interrupt came.
    pub fn expired(&mut self) {
        self.armed = None;
        self.apic.end_of_interrupt();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_convert_without_losing_more_than_one_part_in_a_billion() {
        let scale = Scale::new(NANOS_PER_SECOND, 2_893_412_000);
        let day = 86_400 * 2_893_412_000;
        let nanos = scale.apply(day);
        assert!(nanos.abs_diff(86_400 * NANOS_PER_SECOND) < 86_400 * 10);
    }

    #[test]
    fn a_rate_of_zero_is_not_a_division_by_zero() {
        assert_eq!(Scale::new(1, 0), Scale::new(1, 1));
    }
}
