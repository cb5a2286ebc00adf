//! System calls that the switcher delivers by itself: which do without an exit, in each mode.

use hv_runner::Outcome;
use hv_tests::built::{hosting, micro_guest};
use hv_tests::expectation::verdicts;

/// Calls of the guest that find their stack mapped, and those that do not.
const DIRECT: u64 = 4 * 8;
const THROUGH_THE_HOST: u64 = 4;

fn hosted(words: &str) -> Outcome {
    let outcome = hosting(&micro_guest("system_calls"), "")
        .command_line(format!("log=debug {words}"))
        .run()
        .expect("QEMU starts");
    assert_eq!(outcome.status, 0, "{}", outcome.report());
    if let Err(failed) = verdicts(&outcome.text()) {
        panic!("{failed}\n{}", outcome.report());
    }
    outcome
}

/// The number in the line of the log that ends with `text`; 0 if there is none.
fn logged(outcome: &Outcome, text: &str) -> u64 {
    let line = outcome.log.iter().find(|line| line.text.ends_with(text));
    line.and_then(|line| line.text.split(' ').next()?.parse().ok())
        .unwrap_or(0)
}

fn direct(outcome: &Outcome) -> u64 {
    logged(outcome, "system calls delivered without an exit")
}

fn through_the_host(outcome: &Outcome) -> u64 {
    logged(outcome, "exits by vector 128")
}

/// Whatever happens to the mapping of the page with `irq_enabled`.
#[test]
fn system_calls_do_without_an_exit_in_both_modes() {
    for mode in ["mode=shared", "mode=isolated"] {
        let outcome = hosted(mode);
        let counted = (direct(&outcome), through_the_host(&outcome));
        assert_eq!(counted, (DIRECT, THROUGH_THE_HOST), "{}", outcome.report());
    }
}

#[test]
fn every_system_call_is_an_exit_without_fast_paths() {
    for mode in ["mode=shared", "mode=isolated"] {
        let outcome = hosted(&format!("{mode} fast_paths=off"));
        let counted = (direct(&outcome), through_the_host(&outcome));
        let all = DIRECT + THROUGH_THE_HOST;
        assert_eq!(counted, (0, all), "{}", outcome.report());
    }
}
