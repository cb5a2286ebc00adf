//! NMIs and machine checks, between any two instructions (A-09, LG-183): survived ones leave the guest
//! and the host as they were, others end the host with a line that says so.

use hv_runner::{Machine, Monitor, Outcome, Running};
use hv_tests::built::{hosting, micro_guest};
use hv_tests::expectation::verdicts;
use hv_tests::gdb::Gdb;
use hv_tests::symbols::symbol;
use std::collections::BTreeSet;
use std::ops::Range;

/// A test for each mode, which its name ends with: that is where the attack was tried.
macro_rules! in_both_modes {
    ($test:ident) => {
        mod $test {
            #[test]
            fn a09_shared() {
                super::$test("shared");
            }

            #[test]
            fn a09_isolated() {
                super::$test("isolated");
            }
        }
    };
}

const NMI: &str = "nmi";
/// An uncorrected error in bank 1: VAL, UC, EN and PCC in its status; RIPV and MCIP in MCG_STATUS.
const SURVIVABLE: &str = "mce 0 1 0xb200000000000000 5 0 0";
/// The same without RIPV: where it happened nothing can go on.
const FATAL: &str = "mce 0 1 0xb200000000000000 4 0 0";

/// NMIs that have to get through while guests count; on slow machines thousands do.
const LEAST_NMIS: u64 = 100;
/// Instructions of the switcher that a sweep interrupts, and how many different ones at least.
const SWEPT: usize = 120;
const DIFFERENT: usize = 70;
/// System calls of a sweep, and instructions of the switcher that each has at least.
const SWEPT_CALLS: u64 = 3;
const DIRECT_CALL: u64 = 20;
/// Steps that the handlers of one interruption may take to come back.
const HANDLER_STEPS: u32 = 100;
/// Compatibility-mode code runs below.
const FOUR_GIB: u64 = 1 << 32;

/// The guest that looks at its registers after every exit.
fn counting(mode: &str) -> Machine {
    hosting(&micro_guest("interrupted"), "").command_line(format!("log=debug mode={mode}"))
}

/// NMIs, and machine checks survived, as the host logs them when its guest has ended.
fn counts(outcome: &Outcome) -> (u64, u64) {
    let line = outcome.log.iter().find(|line| line.text.contains(" NMIs"));
    let text = &line.expect("the host logs what interrupted it").text;
    let number = |part: &str| part.split(' ').next()?.parse().ok();
    let mut numbers = text.split(", ").map(|part| number(part).unwrap_or(0));
    let (_interrupts, nmis) = (numbers.next(), numbers.next());
    (nmis.unwrap_or(0), numbers.next().unwrap_or(0))
}

fn guest_noticed_nothing(outcome: &Outcome) {
    assert_eq!(
        (outcome.status, outcome.stop()),
        (0, "guest powered off"),
        "{}",
        outcome.report()
    );
    if let Err(failed) = verdicts(&outcome.text()) {
        panic!("{failed}\n{}", outcome.report());
    }
}

fn started(machine: Machine) -> (Running, Monitor) {
    let mut running = machine.spawn().expect("QEMU starts");
    running.expect("counting").expect("the guest starts");
    let monitor = running.monitor().expect("QEMU has a monitor");
    (running, monitor)
}

in_both_modes!(a_storm_of_nmis_changes_nothing);

fn a_storm_of_nmis_changes_nothing(mode: &str) {
    // How many get through to one machine is for the developer's to say: on one with other work they are few.
    let mut nmis = 0;
    while nmis < LEAST_NMIS {
        let (running, mut monitor) = started(counting(mode));
        // Until the machine ends and its monitor with it.
        while monitor.command(NMI).is_ok() {}
        let outcome = running.wait();
        guest_noticed_nothing(&outcome);
        let (of_this_machine, _) = counts(&outcome);
        assert_ne!(of_this_machine, 0, "{}", outcome.report());
        nmis += of_this_machine;
    }
}

/// The switcher, stepped.
struct Sweep {
    gdb: Gdb,
    switcher: Range<u64>,
    enter: u64,
}

impl Sweep {
    /// Stops before an entry, with the guest's set-up done.
    fn start(mode: &str, name: &str) -> (Running, Self) {
        let (running, gdb) = Gdb::start(counting(mode), &format!("{name}-{mode}"));
        let linux = |name| symbol("linux", name);
        let mut sweep = Self {
            gdb,
            switcher: linux("switcher_start")..linux("switcher_end"),
            enter: linux("enter_guest"),
        };
        sweep.next_entry();
        sweep.gdb.interrupt_steps();
        (running, sweep)
    }

    fn next_entry(&mut self) {
        assert!(self.gdb.run_to(self.enter), "the guest is entered again");
    }

    /// Steps until `address` is next: the handlers have come back to what they interrupted.
    fn come_back(&mut self, address: u64) {
        for _ in 0..HANDLER_STEPS {
            self.gdb.step();
            if self.gdb.rip() == address {
                return;
            }
        }
        panic!("what came before {address:#x} does not come back");
    }

    /// Calls `interrupt` before each instruction of entries and exits.
    fn sweep(&mut self, mut interrupt: impl FnMut(&mut Self, u64)) {
        let mut different = BTreeSet::new();
        let mut swept = 0;
        while swept < SWEPT {
            let rip = self.gdb.rip();
            if self.switcher.contains(&rip) {
                interrupt(self, rip);
                different.insert(rip);
                swept += 1;
                self.gdb.step();
            } else if rip < FOUR_GIB {
                self.gdb.step();
            } else {
                self.next_entry();
            }
        }
        assert!(different.len() >= DIFFERENT, "{} only", different.len());
    }

    /// Lets the guest finish, and compares what the host counted.
    fn finish(self, running: Running, nmis: u64, machine_checks: u64) {
        self.gdb.run();
        let outcome = running.wait();
        guest_noticed_nothing(&outcome);
        assert_eq!(
            counts(&outcome),
            (nmis, machine_checks),
            "{}",
            outcome.report()
        );
    }
}

in_both_modes!(an_nmi_before_each_instruction_of_the_switcher_changes_nothing);

fn an_nmi_before_each_instruction_of_the_switcher_changes_nothing(mode: &str) {
    let (running, mut sweep) = Sweep::start(mode, "nmi");
    sweep.sweep(|sweep, rip| {
        sweep.gdb.monitor(NMI);
        sweep.come_back(rip);
    });
    sweep.finish(running, SWEPT as u64, 0);
}

in_both_modes!(an_nmi_before_each_instruction_of_a_direct_system_call_changes_nothing);

/// The way from `int $0x80` to the guest's handler without the host, from its first instruction to the last.
fn an_nmi_before_each_instruction_of_a_direct_system_call_changes_nothing(mode: &str) {
    let (running, mut sweep) = Sweep::start(mode, "syscall");
    let start = symbol("linux", "syscall_by_trap_gate");
    let mut nmis = 0;
    for _ in 0..SWEPT_CALLS {
        assert!(sweep.gdb.run_to(start), "the guest makes a system call");
        let mut rip = start;
        while sweep.switcher.contains(&rip) {
            sweep.gdb.monitor(NMI);
            sweep.come_back(rip);
            nmis += 1;
            sweep.gdb.step();
            rip = sweep.gdb.rip();
        }
        assert!(rip < FOUR_GIB, "the call took the long way");
    }
    assert!(nmis >= SWEPT_CALLS * DIRECT_CALL, "{nmis} only");
    sweep.finish(running, nmis, 0);
}

in_both_modes!(a_survivable_machine_check_before_each_instruction_of_the_switcher_changes_nothing);

fn a_survivable_machine_check_before_each_instruction_of_the_switcher_changes_nothing(mode: &str) {
    let (running, mut sweep) = Sweep::start(mode, "mce");
    sweep.sweep(|sweep, rip| {
        sweep.gdb.monitor(SURVIVABLE);
        sweep.come_back(rip);
    });
    sweep.finish(running, 0, SWEPT as u64);
}

in_both_modes!(a_machine_check_inside_an_nmi_does_not_let_the_next_nmi_in_too_early);

/// The machine check comes before the first or the second instruction of the NMI's stub, in turn, and
/// while it is handled another NMI comes. That one has to wait for the end of the first.
fn a_machine_check_inside_an_nmi_does_not_let_the_next_nmi_in_too_early(mode: &str) {
    let (running, mut sweep) = Sweep::start(mode, "nested");
    let mut counted = false;
    sweep.sweep(|sweep, rip| {
        sweep.gdb.monitor(NMI);
        sweep.gdb.step();
        if counted {
            sweep.gdb.step();
        }
        counted = !counted;
        sweep.gdb.monitor(SURVIVABLE);
        sweep.gdb.step();
        sweep.gdb.monitor(NMI);
        // From the first NMI and the machine check in it, then from the second.
        sweep.come_back(rip);
        sweep.come_back(rip);
    });
    sweep.finish(running, 2 * SWEPT as u64, SWEPT as u64);
}

fn broken_by_machine_check(outcome: &Outcome) {
    let report = outcome.report();
    assert_eq!(outcome.status, 1, "{report}");
    let stop = outcome.stop();
    assert!(stop.starts_with("machine check: vector 18"), "{report}");
    let last = outcome.text().lines().last().map(str::to_owned);
    assert_eq!(last, Some(format!("libhv: {stop}")), "{report}");
}

in_both_modes!(a_fatal_machine_check_ends_the_host);

fn a_fatal_machine_check_ends_the_host(mode: &str) {
    let (running, mut monitor) = started(counting(mode));
    // The machine may end before the monitor has answered.
    let _ = monitor.command(FATAL);
    broken_by_machine_check(&running.wait());
}

const WRMSR: [u8; 2] = [0x0f, 0x30];

in_both_modes!(a_machine_check_that_overwrites_another_ends_the_host);

/// Once the handler has cleared MCIP a second machine check comes through, and overwrites the frame.
fn a_machine_check_that_overwrites_another_ends_the_host(mode: &str) {
    let (running, mut sweep) = Sweep::start(mode, "overwritten");
    sweep.gdb.monitor(SURVIVABLE);
    sweep.gdb.step();
    loop {
        let rip = sweep.gdb.rip();
        assert!(sweep.switcher.contains(&rip), "MCIP is never cleared");
        let clears = sweep.gdb.memory(rip, WRMSR.len()) == WRMSR;
        sweep.gdb.step();
        if clears {
            break;
        }
    }
    sweep.gdb.monitor(SURVIVABLE);
    sweep.gdb.run();
    broken_by_machine_check(&running.wait());
}
