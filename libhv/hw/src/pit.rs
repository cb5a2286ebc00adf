//! The 8254 interval timer, used once, as the yardstick for the faster clocks.

use crate::apic::LocalApic;
use crate::clock::tsc;
use x86_64::instructions::port::Port;

/// Rate of the timer's input, the same on every PC (8254 data sheet; 14.31818 MHz / 12).
const PIT_HZ: u64 = 1_193_182;
const CHANNEL_2: u16 = 0x42;
const COMMAND: u16 = 0x43;
/// Speaker port: bit 0 gates channel 2, bit 1 sends it to the speaker.
const GATE: u16 = 0x61;
const GATE_ON: u8 = 1;
const SPEAKER_ON: u8 = 2;
/// Channel 2, both bytes, mode 0 (count down once).
const LOAD: u8 = 0b1011_0000;
/// Latch channel 2.
const LATCH: u8 = 0b1000_0000;
/// Length of a measurement in ticks: 5 ms.
const WINDOW: u16 = 5_966;
/// Reads of the counter of which the quickest is believed: the others may have been interrupted by
/// whatever virtualises this machine.
const READS: usize = 8;
/// Bound on polling; a timer that does not count gives rates of 0 instead of a host that hangs.
const POLLS: usize = 10_000_000;

/// Rates of the faster clocks, in Hz.
pub struct Rates {
    /// Time-stamp counter; 0 when the interval timer does not run.
    pub tsc_hz: u64,
    /// APIC timer, after its divider.
    pub apic_hz: u64,
}

struct Sample {
    pit: u16,
    tsc: u64,
    apic: u32,
}

/// Lets all three run for 5 ms and compares.
pub fn calibrate(apic: &LocalApic) -> Rates {
    let mut gate = Port::<u8>::new(GATE);
    // SAFETY: channel 2 drives nothing but the speaker, which stays off.
    unsafe {
        let value = gate.read();
        gate.write(value & !SPEAKER_ON | GATE_ON);
        Port::<u8>::new(COMMAND).write(LOAD);
        Port::<u8>::new(CHANNEL_2).write(0xff);
        Port::<u8>::new(CHANNEL_2).write(0xff);
    }
    apic.start_timer(u32::MAX);
    let first = sample(apic);
    for _ in 0..POLLS {
        if first.pit.wrapping_sub(count()) >= WINDOW {
            break;
        }
    }
    let last = sample(apic);
    apic.start_timer(0);
    let ticks = u64::from(first.pit.wrapping_sub(last.pit));
    let rate = |counts: u64| (counts * PIT_HZ).checked_div(ticks).unwrap_or(0);
    Rates {
        tsc_hz: rate(last.tsc.wrapping_sub(first.tsc)),
        apic_hz: rate(u64::from(first.apic.wrapping_sub(last.apic))),
    }
}

fn sample(apic: &LocalApic) -> Sample {
    let mut best = Sample {
        pit: 0,
        tsc: 0,
        apic: 0,
    };
    let mut quickest = u64::MAX;
    for _ in 0..READS {
        let before = tsc();
        let pit = count();
        let apic = apic.timer_ticks();
        let took = tsc().wrapping_sub(before);
        if took < quickest {
            quickest = took;
            best = Sample {
                pit,
                tsc: before,
                apic,
            };
        }
    }
    best
}

fn count() -> u16 {
    // SAFETY: latching and reading a counter changes nothing else.
    unsafe {
        Port::<u8>::new(COMMAND).write(LATCH);
        let low = Port::<u8>::new(CHANNEL_2).read();
        let high = Port::<u8>::new(CHANNEL_2).read();
        u16::from_le_bytes([low, high])
    }
}
