//! A guest that is kicked comes back within a time slice, whatever it does: it never lets its host in by itself, or it
//! keeps it busy (`guests/hosted/spins.c`).

use hv_runner::{Clock, Machine, Outcome};
use hv_tests::built;

const MODES: [&str; 2] = ["shared", "isolated"];

/// What the host `impatient` gives a guest.
const PATIENCE: f64 = 0.100;
/// A kick gets in so much later at most: `TIME_SLICE` of `hv-hw`.
const SLICE: f64 = 0.010;
/// What the two lines of the log and the last exit take of the processor's time.
const OVERHEAD: f64 = 0.000_200;

/// When the host logged a line.
fn time_of(outcome: &Outcome, text: &str) -> f64 {
    let line = outcome.log.iter().find(|line| line.text == text);
    let seconds = line.and_then(|line| line.seconds.as_ref());
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    seconds.unwrap_or_else(|| panic!("no time of {text:?}\n{}", outcome.report()))
}

fn is_kicked_in_time(machine: Machine) {
    let machine = machine.clock(Clock::CountedByEight);
    let outcome = machine.run().expect("QEMU starts");
    let (status, stop) = (outcome.status, outcome.stop());
    assert_eq!((status, stop), (1, "kicked"), "{}", outcome.report());
    let took = time_of(&outcome, "came back") - time_of(&outcome, "kick after 100 ms");
    let allowed = PATIENCE..PATIENCE + SLICE + OVERHEAD;
    assert!(allowed.contains(&took), "{took} s\n{}", outcome.report());
}

fn spins(case: &str) {
    let guest = built::micro_guest("hosted/spins");
    for mode in MODES {
        let machine = built::hosting_on("impatient", &guest, &format!("case={case}"));
        is_kicked_in_time(machine.command_line(format!("log=info mode={mode}")));
    }
}

#[test]
fn a_guest_that_spins_in_ring_1_with_interrupts_off() {
    spins("ring_1");
}

#[test]
fn a_guest_that_spins_in_ring_3_with_interrupts_off() {
    spins("ring_3");
}

#[test]
fn a_guest_in_one_long_instruction() {
    spins("string");
}

#[test]
fn a_guest_that_makes_long_calls_for_ever() {
    spins("calls");
}

#[test]
fn a_guest_that_traps_for_ever() {
    spins("traps");
}

#[test]
fn a_guest_that_is_interrupted_for_ever() {
    spins("interrupts");
}

#[test]
fn a_guest_that_sleeps_for_ever() {
    spins("asleep");
}

#[test]
fn a_guest_that_works_in_both_rings() {
    let guest = built::micro_guest("hosted/undisturbed");
    for mode in MODES {
        let machine = built::hosting_on("impatient", &guest, "");
        is_kicked_in_time(machine.command_line(format!("log=info mode={mode}")));
    }
}
