//! A host that breaks says where, in one line on each port, and ends with status 1.

use hv_runner::{Device, Machine, Network, Outcome};
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

/// A processor that shuts down cannot say why; that it did is told all the same.
#[test]
fn a_triple_fault_is_not_silent() {
    for moment in MOMENTS {
        let machine = faulty(&moment.replace('*', "triple"));
        let outcome = machine.run().expect("QEMU starts");
        assert_eq!(
            (outcome.status, outcome.stop()),
            (1, "the machine ended without a word (QEMU status 0)"),
            "{}",
            outcome.report()
        );
    }
}

/// Allocations that a host with a guest and three devices makes; the test looks for the number itself.
const MOST_TAKES: u32 = 100;
/// ... and not fewer than these: page tables, guest RAM, the shadow, devices.
const LEAST_TAKES: u32 = 20;

/// Each allocation fails once: the first, or the first but one, and so on until the guest starts.
#[test]
fn wherever_frames_run_out_the_host_says_for_what() {
    let disk = tempfile::NamedTempFile::new().expect("there is room for a file");
    disk.as_file()
        .set_len(1 << 20)
        .expect("there is room for a disk");
    for takes in 0..MOST_TAKES {
        let outcome = faulty(&format!("ran nothing shared takes={takes}"))
            .device(Device::Disk(disk.path().to_owned()))
            .device(Device::Network(Network::User))
            .device(Device::Entropy)
            .run()
            .expect("QEMU starts");
        let (report, stop) = (outcome.report(), outcome.stop());
        if outcome.status == 3 {
            assert!(
                stop.starts_with("guest killed: unhandled trap 6"),
                "{report}"
            );
            assert!(takes >= LEAST_TAKES, "{takes} allocations only");
            return;
        }
        let named = stop.contains("no free run of") || stop.contains("does not fit");
        assert!(outcome.status == 5 && named, "takes={takes}: {report}");
        assert_eq!(outcome.text(), "", "{report}");
    }
    panic!("the host never starts its guest");
}

/// What the crash record says, without the registers.
fn recorded(outcome: &Outcome) -> Vec<String> {
    let lines = outcome.log.iter().map(|line| line.text.clone());
    lines.filter(|text| text.starts_with("crash: ")).collect()
}

#[test]
fn a_killed_guest_leaves_a_crash_record() {
    let outcome = faulty("ran nothing").run().expect("QEMU starts");
    let record = recorded(&outcome);
    assert_eq!(outcome.status, 3, "{}", outcome.report());
    assert!(record[0].starts_with("crash: eax 0x"), "{record:?}");
    assert!(
        record[1].starts_with("crash: eip 0x100000 eflags"),
        "{record:?}"
    );
    assert_eq!(
        record[2..],
        [
            "crash: exit -1: page fault 0x10 of 0x100000 at 0x100000: repaired",
            "crash: exit -0: vector 6 error 0x0 at 0x100000: under way",
        ],
        "{}",
        outcome.report()
    );
}

#[test]
fn a_broken_host_leaves_a_crash_record_once_its_guest_has_run() {
    for fault in ["panic", "divide", "overflow"] {
        let outcome = faulty(&format!("ran {fault}")).run().expect("QEMU starts");
        let record = recorded(&outcome);
        // The guest had been killed before, with a record of its own.
        let last = "crash: exit -0: vector 6 error 0x0 at 0x100000: under way";
        assert_eq!(record.len(), 8, "{}", outcome.report());
        assert_eq!(record.last().map(String::as_str), Some(last));
        let before = faulty(&format!("started {fault}"))
            .run()
            .expect("QEMU starts");
        assert!(recorded(&before).is_empty(), "{}", before.report());
    }
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
