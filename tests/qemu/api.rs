//! What an application can do with its guest: `hosts/api` talks to `guests/hosted/api.c`.

use hv_runner::LogLine;
use hv_runner::archive::Archive;
use hv_tests::built;
use hv_tests::expectation::{Expectation, verdicts};
use hv_tests::matrix::evidence;

/// Runs both up to the end that `case` names.
fn talk(case: &str, mode: &str, status: u8, stop: &str) {
    let archive = Archive::default()
        .file("kernel", &built::micro_guest("hosted/api"))
        .file("cmdline", format!("case={case}").as_bytes());
    let machine = built::machine("api")
        .command_line(format!("mode={mode}"))
        .module(archive.finish());
    let outcome = machine.run().expect("QEMU starts");
    let mut said = outcome.text();
    for line in outcome.log.iter().map(LogLine::without_time) {
        said.push_str(&format!("{line}\n"));
    }
    let expectation = Expectation {
        stop: stop.into(),
        status,
    };
    let judged = expectation
        .check(&outcome)
        .and_then(|()| verdicts(&said).map(drop));
    evidence::record(&format!("api::{case}::{mode}"), &judged, &said);
    if let Err(reason) = judged {
        panic!("{reason}\n{}", outcome.report());
    }
}

#[test]
fn a_killed_guest_stays_killed_for_its_first_reason() {
    talk("kill", "shared", 3, "guest killed: Bad hypercall 99");
}

#[test]
fn a_crashed_guest_has_127_bytes_of_last_words() {
    let stop = format!("guest killed: CRASH: {}", "x".repeat(127));
    talk("crash", "shared", 3, &stop);
}

#[test]
fn a_guest_that_powered_off_stays_off() {
    talk("power_off", "shared", 0, "guest powered off");
}

#[test]
fn a_restart_is_an_end_like_the_others() {
    talk("restart", "isolated", 4, "guest asked for restart");
}
