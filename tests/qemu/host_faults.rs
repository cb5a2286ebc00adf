//! A host that breaks says where, in one line on each port, and ends with status 1.

use hv_runner::{Machine, Outcome};
use hv_tests::built::machine;
use hv_tests::gdb::Gdb;
use hv_tests::guest_image::GuestImage;
use hv_tests::symbols::code;

/// When the test host breaks, and what the guest runs beside.
const MOMENTS: [&str; 5] = [
    "booted * shared",
    "started * shared",
    "started * isolated",
    "ran * shared",
    "ran * isolated",
];

/// Not mapped by any page tables, the boot's temporary ones included.
const NOWHERE: u64 = 0xffff_8780_0000_0000;

fn faulty(words: &str) -> Machine {
    machine("faulty")
        .command_line(words)
        .module(GuestImage::default().bytes())
}

/// Fails unless the machine ended with status 1 and this reason, said once on either port.
fn ended_with(outcome: &Outcome, reason: &str) {
    let report = outcome.report();
    assert_eq!(outcome.status, 1, "{report}");
    let stop = outcome.stop();
    assert!(stop.starts_with(reason), "{reason:?} is not why\n{report}");
    let console = outcome.text();
    let lines: Vec<&str> = console.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, [format!("libhv: {stop}")], "{report}");
    let stops = outcome.log.iter().filter(|line| line.stop().is_some());
    assert_eq!(stops.count(), 1, "{report}");
}

/// The same fault at every moment.
fn each_time(fault: &str, reason: &str) {
    for moment in MOMENTS {
        let machine = faulty(&moment.replace('*', fault));
        ended_with(&machine.run().expect("QEMU starts"), reason);
    }
}

#[test]
fn a_panic_says_its_place_in_one_line() {
    each_time("panic", "panic at tests/hosts/faulty/src/main.rs:");
    let outcome = faulty("booted panic").run().expect("QEMU starts");
    assert!(
        outcome.stop().ends_with(": as asked in two lines"),
        "{}",
        outcome.report()
    );
}

#[test]
fn a_stack_overflow_is_called_by_its_name() {
    each_time(
        "overflow",
        "host stack overflow: vector 8 error 0x0 at 0xffff82",
    );
}

#[test]
fn a_division_by_zero_is_reported() {
    each_time("divide", "host exception: vector 0 error 0x0 at 0xffff82");
}

#[test]
fn an_undefined_instruction_is_reported() {
    each_time(
        "undefined",
        "host exception: vector 6 error 0x0 at 0xffff82",
    );
}

#[test]
fn a_read_of_unmapped_memory_is_reported_with_its_address() {
    each_time("page", "host exception: vector 14 error 0x0 at 0xffff82");
    let outcome = faulty("booted page").run().expect("QEMU starts");
    let address = format!("address {NOWHERE:#x}");
    assert!(outcome.stop().ends_with(&address), "{}", outcome.report());
}

#[test]
fn a_write_to_code_is_reported() {
    each_time(
        "protection",
        "host exception: vector 14 error 0x3 at 0xffff82",
    );
}

#[test]
fn data_does_not_execute() {
    each_time("code", "host exception: vector 14 error 0x11 at 0xffff82");
}

/// LLDT and LTR of registers (`0f 00 /2`, `0f 00 /3`): the last of the descriptor tables' loads.
fn last_loads(code: &[u8; 6]) -> bool {
    let register = |modrm: u8| modrm & 0xf8;
    code[..2] == [0x0f, 0x00]
        && register(code[2]) == 0xd0
        && code[3..5] == code[..2]
        && register(code[5]) == 0xd8
}

#[test]
fn a_fault_before_the_hosts_own_page_tables_is_reported() {
    let (running, mut gdb) = Gdb::start(faulty("booted none"), "early");
    assert!(gdb.run_to(code("faulty", last_loads)), "the host starts");
    gdb.step();
    gdb.step();
    gdb.set_rip(NOWHERE);
    gdb.run();
    let reason = format!("host exception: vector 14 error 0x10 at {NOWHERE:#x}");
    ended_with(&running.wait(), &reason);
}
