//! An image with its guest inside needs nothing but a boot loader, and what a loader says comes first.
//!
//! The Makefile builds it: the guest `kills`, told which way to end, in isolated mode with 48 MiB.

use hv_runner::{Clock, Machine, Outcome};
use hv_tests::built;
use hv_tests::guest_image::GuestImage;

const APPLIANCE: &str = "linux-appliance";

/// Fails unless the guest ended with `stop` in a host whose log says `host`.
fn ended(outcome: &Outcome, host: &str, stop: &str) {
    assert_eq!(
        (outcome.status, outcome.stop()),
        (3, stop),
        "{}",
        outcome.report()
    );
    let logged = outcome
        .log
        .iter()
        .any(|line| line.to_string().contains(host));
    assert!(logged, "{host:?} is not in the log\n{}", outcome.report());
}

#[test]
fn it_boots_by_pvh_without_a_module_or_words() {
    let outcome = built::machine(APPLIANCE).run().expect("QEMU starts");
    let stop = "guest killed: Bad hypercall 11";
    ended(&outcome, "isolated mode, guest memory 48 MiB", stop);
}

#[test]
fn it_boots_by_multiboot2_from_a_disc() {
    let strings = built::image(APPLIANCE).with_extension("debug");
    let disc = Machine::disc(built::disc(APPLIANCE), strings).clock(Clock::Counted);
    let outcome = disc.run().expect("QEMU starts");
    let stop = "guest killed: Bad hypercall 11";
    ended(&outcome, "isolated mode, guest memory 48 MiB", stop);
}

#[test]
fn words_of_the_boot_loader_come_after_its_own() {
    let outcome = built::machine(APPLIANCE)
        .command_line("mode=shared -- case=call_3")
        .run()
        .expect("QEMU starts");
    let stop = "guest killed: Bad hypercall 3";
    ended(&outcome, "shared mode, guest memory 48 MiB", stop);
}

#[test]
fn a_module_of_the_boot_loader_takes_the_place_of_guest_and_words() {
    let outcome = built::machine(APPLIANCE)
        .module(GuestImage::default().bytes())
        .run()
        .expect("QEMU starts");
    let stop = "guest killed: unhandled trap 6 at 0x100000 (0x0)";
    ended(&outcome, "shared mode, guest memory 64 MiB", stop);
}
