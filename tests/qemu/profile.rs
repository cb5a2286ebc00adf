//! A profile accounts for every instruction, and has every exit that the host counts otherwise.

use hv_runner::archive::Archive;
use hv_runner::{Clock, Machine, Outcome};
use hv_tests::built;
use hv_tests::profile::fold::fold;
use hv_tests::profile::guest_symbols::GuestSymbols;
use hv_tests::profile::kind::{Handling, Kind};
use hv_tests::profile::record::Profile;

const GUEST: &str = "counts";

fn run(mode: &str) -> Outcome {
    let kernel = built::micro_guest(GUEST);
    let machine = Machine::new(built::profiled_image()).clock(Clock::Counted);
    let outcome = machine
        .module(Archive::default().file("kernel", &kernel).finish())
        .command_line(format!("log=debug mode={mode}"))
        .run()
        .expect("QEMU starts");
    assert_eq!(outcome.status, 0, "{}", outcome.report());
    outcome
}

fn profile(outcome: &Outcome) -> Profile {
    let lines = outcome.log.iter().map(|line| line.text.as_str());
    Profile::parse(lines).unwrap_or_else(|error| panic!("{error}\n{}", outcome.report()))
}

fn exits(profile: &Profile, of: impl Fn(&Kind) -> bool) -> u64 {
    let rows = profile.rows.iter().filter(|row| of(&row.kind));
    rows.map(|row| row.exits).sum()
}

/// The host's own count of exits: `N exits by vector V`.
fn counted(outcome: &Outcome, vector: u8) -> u64 {
    let mut counts =
        (outcome.log.iter()).filter_map(|line| line.text.split_once(" exits by vector "));
    let count = counts.find(|(_, of)| of.parse() == Ok(vector));
    count.map_or(0, |(count, _)| count.parse().expect("a count is a number"))
}

fn is_whole(mode: &str) {
    let outcome = run(mode);
    let profile = profile(&outcome);
    assert_eq!(
        profile.accounted_for(),
        profile.total,
        "{}",
        outcome.report()
    );
    for vector in 0..32 {
        let found = match vector {
            // LGUEST_TRAP_ENTRY.
            31 => exits(&profile, |kind| matches!(kind, Kind::Call(_))),
            _ => exits(
                &profile,
                |kind| matches!(kind, Kind::Trap(of, _) if *of == vector),
            ),
        };
        assert_eq!(
            found,
            counted(&outcome, vector),
            "vector {vector}\n{}",
            outcome.report()
        );
    }
    // What the guest is about; its one trap ends its process.
    for (kind, least) in [
        (Kind::Call("FlushAsync".to_owned()), 64),
        (Kind::Trap(14, Handling::Served), 64),
        (Kind::Trap(13, Handling::Emulated), 1),
        (Kind::Trap(6, Handling::Reflected), 1),
    ] {
        let found = exits(&profile, |of| *of == kind);
        assert!(found >= least, "{kind}: {found}\n{}", outcome.report());
    }
}

#[test]
fn every_instruction_and_every_exit_is_in_a_profile_in_shared_mode() {
    is_whole("shared");
}

#[test]
fn every_instruction_and_every_exit_is_in_a_profile_in_isolated_mode() {
    is_whole("isolated");
}

#[test]
fn exits_are_found_at_the_functions_that_made_them() {
    let stacks = fold(
        &profile(&run("shared")),
        &GuestSymbols::of(&built::micro_guest(GUEST)),
    );
    for start in [
        "guest;user_system_calls ",
        "host;hypercall;LOAD_IDT_ENTRY;traps_init ",
        "host;invalid opcode;reflected;user_system_calls ",
        "host;page fault;repaired;guest_main;page 0x40000000 ",
    ] {
        let found = stacks.iter().any(|stack| stack.starts_with(start));
        assert!(found, "{start}\n{}", stacks.join("\n"));
    }
}
