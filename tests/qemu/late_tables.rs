//! Guests whose generation shows only at their first call, and that need tables for all of their RAM then: however much
//! RAM there is, no exit takes longer than it may.

use hv_tests::attack::unharmed::{exits, unharmed};
use hv_tests::built;
use hv_tests::expectation::verdicts;

/// LGUEST_INIT, as the host calls it.
const INIT: &str = "call 1";

/// RAM of the guest and of the machine, in MiB.
fn tables_at_the_first_call(guest: &str, words: &str, memory: u32) {
    let outcome = built::hosting(&built::micro_guest(guest), "")
        .memory_mib(memory + 256)
        .command_line(format!("log=debug memory={memory} {words}"))
        .run()
        .expect("QEMU starts");
    let judged = verdicts(&outcome.text()).and_then(|_| unharmed(&outcome));
    if let Err(reason) = judged {
        panic!("{reason}\n{}", outcome.report());
    }
    assert_eq!(outcome.status, 0, "{}", outcome.report());
    let first = exits(&outcome.log).find(|(kind, _)| *kind == INIT);
    let (_, instructions) = first.unwrap_or_else(|| panic!("{}", outcome.report()));
    println!("{guest}, {memory} MiB: {INIT}, {instructions} instructions");
    // Tables were written, and so there were several such exits.
    let calls = outcome.log.iter().find_map(|line| {
        let (count, call) = line.text.split_once(" hypercalls ")?;
        (call == "1").then_some(count.parse::<u32>().ok()?)
    });
    assert!(calls > Some(1), "{}", outcome.report());
}

#[test]
fn of_two_levels() {
    for memory in [64, 512, 1024] {
        tables_at_the_first_call("init.g2", "", memory);
    }
}

#[test]
fn of_three_levels() {
    tables_at_the_first_call("init.g3.pae", "paging=pae", 1024);
}
