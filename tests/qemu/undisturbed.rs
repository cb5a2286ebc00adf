//! Interrupts of the host's own while the guest runs.

use hv_runner::{Clock, Monitor};
use hv_tests::built;
use hv_tests::expectation::{Expectation, verdicts};
use hv_tests::matrix::evidence;

/// How QEMU shows a processor that executes the guest, in the two rings.
const IN_GUEST: [&str; 2] = ["CPL=1", "CPL=3"];
/// Rounds of the guest, each of which says that it begins.
const ROUNDS: usize = 8;
/// Stops in one round until the processor is found in the guest.
const ATTEMPTS: usize = 10;
/// So many rounds at least have to be caught in the guest: the monitor is not that fast.
const CAUGHT: usize = 3;

/// The timer's come by themselves; the monitor sends an NMI in each round.
#[test]
fn lg183_nmis_and_timer_interrupts_are_the_hosts() {
    let guest = built::micro_guest("hosted/undisturbed");
    let mut running = built::hosting(&guest, "").spawn().expect("QEMU starts");
    let mut monitor = running.monitor().expect("QEMU has a monitor");
    let mut caught = [0; IN_GUEST.len()];
    for _ in 0..ROUNDS {
        running.expect(".").expect("the guest begins a round");
        let mut ask = |command| monitor.command(command).expect("the machine runs");
        for _ in 0..ATTEMPTS {
            ask("stop");
            let registers = ask("info registers");
            let ring = IN_GUEST.iter().position(|ring| registers.contains(ring));
            if ring.is_some() {
                ask("nmi");
            }
            ask("cont");
            if let Some(ring) = ring {
                caught[ring] += 1;
                break;
            }
        }
    }
    let outcome = running.wait();
    let console = outcome.text();
    let expectation = Expectation {
        stop: "guest powered off".into(),
        status: 0,
    };
    let judged = expectation
        .check(&outcome)
        .and_then(|()| verdicts(&console).map(drop));
    evidence::record("undisturbed", &judged, &console);
    if let Err(reason) = judged {
        panic!("{reason}\n{}", outcome.report());
    }
    assert!(
        caught.iter().sum::<usize>() >= CAUGHT,
        "NMIs by ring of the guest: {caught:?}"
    );
}

/// How QEMU shows a processor that waits for an interrupt.
const IDLE: &str = "HLT=1";
/// Looks at the processor until it is found idle.
const LOOKS: usize = 1000;

fn idles(monitor: &mut Monitor) -> bool {
    (0..LOOKS).any(|_| {
        let registers = monitor.command("info registers");
        registers.is_ok_and(|registers| registers.contains(IDLE))
    })
}

/// A guest that blocked everything sleeps, and its host with it; what comes for the host is served, and the
/// guest sleeps on.
fn asleep(mode: &str) {
    let guest = built::micro_guest("hosted/asleep");
    let machine = built::hosting(&guest, "").clock(Clock::Real);
    let mut running = machine
        .command_line(format!("mode={mode}"))
        .spawn()
        .expect("QEMU starts");
    running.expect("asleep").expect("the guest goes to sleep");
    let mut monitor = running.monitor().expect("QEMU has a monitor");
    assert!(idles(&mut monitor), "the host does not idle");
    for _ in 0..3 {
        running.send("wake up\n").expect("the machine takes input");
        monitor.command("nmi").expect("the machine runs");
        assert!(idles(&mut monitor), "the host does not idle again");
    }
    // It has no end of its own.
    let _ = monitor.command("quit");
    let outcome = running.wait();
    assert!(!outcome.text().contains("awake"), "{}", outcome.report());
    assert!(
        outcome.log.iter().all(|line| line.level != Some("error")),
        "{}",
        outcome.report()
    );
}

#[test]
fn a30_asleep_for_ever_shared() {
    asleep("shared");
}

#[test]
fn a30_asleep_for_ever_isolated() {
    asleep("isolated");
}
