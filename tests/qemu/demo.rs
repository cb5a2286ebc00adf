//! Dialogues with the demo guest's shell.

use hv_runner::Outcome;
use hv_tests::built::machine;
use hv_tests::golden::{self, Numbers};

/// Types the lines, as a script would, and waits for the end.
fn dialogue(command_line: &str, script: &str) -> Outcome {
    let mut running = machine("demo")
        .command_line(command_line)
        .spawn()
        .expect("QEMU starts");
    running.send(script).expect("the console takes input");
    running.wait()
}

fn check(outcome: &Outcome, status: u8, stop: &str) {
    assert_eq!(
        (outcome.status, outcome.stop()),
        (status, stop),
        "{}",
        outcome.report()
    );
}

const TOUR: &str = "help\nps\nmem\nfork 20\ncow\nfault\nfpu\nticks\nexit 0\n";

#[test]
fn the_shell_does_what_it_is_told_in_shared_mode() {
    let outcome = dialogue("mode=shared", TOUR);
    check(&outcome, 0, "guest powered off");
    golden::compare("demo", &golden::console(&outcome, Numbers::Masked)).unwrap();
}

#[test]
fn the_shell_does_what_it_is_told_in_isolated_mode() {
    let outcome = dialogue("mode=isolated", TOUR);
    check(&outcome, 0, "guest powered off");
    golden::compare("demo", &golden::console(&outcome, Numbers::Masked)).unwrap();
}

#[test]
fn the_hosts_log_is_as_reviewed() {
    let outcome = dialogue("", "exit 0\n");
    golden::compare("demo_log", &golden::log(&outcome)).unwrap();
}

#[test]
fn a_crash_is_a_kill_with_its_reason() {
    check(
        &dialogue("", "crash\n"),
        3,
        "guest killed: Bad hypercall 99",
    );
}

#[test]
fn an_exit_with_a_status_is_a_kill_with_that_status() {
    check(
        &dialogue("", "exit 7\n"),
        3,
        "guest killed: CRASH: exit status 7",
    );
}

#[test]
fn a_reboot_is_a_status_of_its_own() {
    check(&dialogue("", "reboot\n"), 4, "guest asked for restart");
}

#[test]
fn input_typed_while_a_command_runs_is_not_lost() {
    let mut running = machine("demo").spawn().expect("QEMU starts");
    running.send("fork 5\n").expect("the console takes input");
    running.send("fork 6\n").expect("the console takes input");
    running.send("exit 0\n").expect("the console takes input");
    check(&running.wait(), 0, "guest powered off");
}
