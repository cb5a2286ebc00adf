//! What the page tables let a guest reach, seen from outside: QEMU stops the machine at points that nobody
//! chose, and its monitor says what is mapped.

use hv_runner::{Machine, Monitor, Running};
use hv_tests::built::{hosting, machine, micro_guest};
use hv_tests::symbols::symbol;
use hv_tests::translations::{Page, pages};
use std::ops::Range;

const FOUR_GIB: u64 = 1 << 32;
const PAGE: u64 = 4096;
/// Bytes below which a guest's RAM starts: its run of frames is aligned to that.
const RAM_ALIGNMENT: u64 = 2 << 20;
/// RAM of the guests here, with the two pages that some generations share with their devices.
const RAM: u64 = (64 << 20) + (2 << 12);
/// Top-level slots that belong to the host.
const HOST_SLOTS: Range<usize> = 256..272;
/// Entries of the second level that lead to the guest's 4 GiB.
const GUEST_ENTRIES: usize = 4;
/// Stops at which the guest was running.
const STOPS: usize = 12;
/// Stops in all: the guest's share of the time is not so small that more are needed.
const MOST_STOPS: usize = 5000;

/// What keeps processes coming and going, and how often: less in all than the pipe to the console holds, and far more
/// than [`STOPS`] take.
const TYPED: &str = "fork 20\ncow\n";
const TIMES: usize = 4000;

const MODES: [&str; 2] = ["shared", "isolated"];
/// How QEMU shows a processor that executes the guest's kernel or one of its processes.
const IN_GUEST: [&str; 2] = ["CPL=1", "CPL=3"];

/// What is mapped at one stop.
struct Observed {
    pages: Vec<Page>,
    /// The top-level table, and the table below its first entry.
    top: Vec<u64>,
    first: Vec<u64>,
}

/// A register in the monitor's words: `CR3=0000000000300000`.
fn register(registers: &str, name: &str) -> u64 {
    let (_, rest) = registers.split_once(name).expect("the register is shown");
    let digits = rest.split(|c: char| !c.is_ascii_hexdigit()).next();
    u64::from_str_radix(digits.unwrap_or_default(), 16).expect("a register is a number")
}

/// The 512 entries of the table at a physical address.
fn table(monitor: &mut Monitor, at: u64) -> Vec<u64> {
    let text = monitor
        .command(&format!("xp /512gx {at:#x}"))
        .expect("the machine still runs");
    let words = text.split_whitespace();
    let entries: Vec<u64> = words
        .filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok())
        .collect();
    assert_eq!(entries.len(), 512, "{text}");
    entries
}

/// Stops the machine until it was in the guest [`STOPS`] times.
fn observe(running: &mut Running) -> Vec<Observed> {
    let mut monitor = running.monitor().expect("QEMU has a monitor");
    let mut seen = Vec::new();
    for _ in 0..MOST_STOPS {
        monitor.command("stop").expect("the machine still runs");
        let registers = monitor.command("info registers").expect("it stands still");
        if IN_GUEST.iter().any(|state| registers.contains(state)) {
            let top = table(&mut monitor, register(&registers, "CR3="));
            let first = table(&mut monitor, top[0] & 0x000f_ffff_ffff_f000);
            let pages = pages(&monitor.command("info tlb").expect("it stands still"));
            seen.push(Observed { pages, top, first });
        }
        if seen.len() == STOPS {
            return seen;
        }
        monitor.command("cont").expect("the machine still runs");
    }
    panic!("the guest ran at {} stops only", seen.len());
}

/// Guest RAM, from the lowest page that is mapped below 4 GiB; the kernel's first pages always are.
fn ram(stops: &[Observed]) -> Range<u64> {
    let guest = stops.iter().flat_map(|stop| &stop.pages);
    let lowest = guest
        .filter(|page| page.linear.start < FOUR_GIB)
        .map(|page| page.physical)
        .min()
        .expect("the guest has pages");
    let start = lowest / RAM_ALIGNMENT * RAM_ALIGNMENT;
    start..start + RAM
}

/// Linear addresses that isolated mode leaves mapped: the switcher, and the area with tables and stacks.
fn entry_ranges(application: &str) -> [Range<u64>; 2] {
    [
        ("switcher_start", "switcher_end"),
        ("entry_start", "entry_end"),
    ]
    .map(|(start, end)| symbol(application, start)..symbol(application, end))
}

fn check(application: &str, mode: &str, stops: &[Observed]) {
    let ram = ram(stops);
    let image = symbol(application, "image_end") & 0xffff_ffff;
    assert!(image <= ram.start, "guest RAM {ram:x?} holds the image");
    let entry = entry_ranges(application);
    for stop in stops {
        for page in &stop.pages {
            if page.linear.start < FOUR_GIB {
                assert!(page.linear.end <= FOUR_GIB, "{page:x?}");
                let end = page.physical + (page.linear.end - page.linear.start);
                assert!(
                    ram.start <= page.physical && end <= ram.end,
                    "the guest reaches more than its RAM {ram:x?}: {page:x?}"
                );
            } else {
                assert!(!page.user, "ring 3 reaches the host: {page:x?}");
                assert!(
                    !(page.writable && page.executable),
                    "writable and executable: {page:x?}"
                );
                let inside = |range: &Range<u64>| {
                    range.start <= page.linear.start && page.linear.end <= range.end
                };
                assert!(
                    mode != "isolated" || entry.iter().any(inside),
                    "more than the switcher is mapped: {page:x?}"
                );
            }
        }
        // The tables themselves: what is not there is all zero, so that no bit of an address is left in it.
        let unused = |index: usize| index != 0 && !HOST_SLOTS.contains(&index);
        for (index, entry) in stop.top.iter().enumerate() {
            assert!(!unused(index) || *entry == 0, "slot {index}: {entry:#x}");
        }
        for (index, entry) in stop.first.iter().enumerate() {
            assert!(
                index < GUEST_ENTRIES || *entry == 0,
                "beyond the guest's 4 GiB, {index}: {entry:#x}"
            );
        }
    }
}

/// Exits for each kind of reason, and never ends: how far a guest runs between two stops is not for a test to say.
fn kernel() -> Machine {
    hosting(&micro_guest("interrupted"), "case=endless")
}

fn in_mode(machine: Machine, mode: &str) -> Machine {
    machine.command_line(format!("mode={mode}"))
}

/// A kernel alone, which exits for each kind of reason.
#[test]
fn a_kernel_reaches_its_ram_and_nothing_else() {
    for mode in MODES {
        let mut running = in_mode(kernel(), mode).spawn().expect("QEMU starts");
        running.expect("counting").expect("the guest starts");
        check("linux", mode, &observe(&mut running));
    }
}

/// Processes that come and go, with address spaces of their own.
#[test]
fn processes_reach_their_guests_ram_and_nothing_else() {
    for mode in MODES {
        let mut running = in_mode(machine("demo"), mode).spawn().expect("QEMU starts");
        running.expect("demo> ").expect("the guest starts");
        running
            .send(&TYPED.repeat(TIMES))
            .expect("the console takes input");
        check("demo", mode, &observe(&mut running));
    }
}

/// What is mapped in the entry area is the image's own, but for the window: that is one page, and the guest's.
#[test]
fn the_window_shows_a_page_of_the_guest_s_ram_only() {
    let window = symbol("linux", "entry_window");
    for mode in MODES {
        let mut running = in_mode(kernel(), mode).spawn().expect("QEMU starts");
        running.expect("counting").expect("the guest starts");
        let stops = observe(&mut running);
        let ram = ram(&stops);
        let mut seen = 0;
        let all_pages = stops.iter().flat_map(|stop| &stop.pages);
        let inside = |page: &&Page| {
            entry_ranges("linux")
                .iter()
                .any(|range| range.contains(&page.linear.start))
        };
        for page in all_pages.filter(inside) {
            if page.linear.start == window {
                assert_eq!(page.linear.end, window + PAGE, "{page:x?}");
                assert!(ram.contains(&page.physical), "RAM {ram:x?}: {page:x?}");
                assert!(!page.user && !page.executable, "{page:x?}");
                seen += 1;
            } else {
                assert_eq!(page.physical, page.linear.start & 0xffff_ffff, "{page:x?}");
            }
        }
        assert_eq!(seen, STOPS, "the window is always there");
    }
}

/// The observer sees what it has to see: the host in shared mode, and the guest in both.
#[test]
fn the_observer_is_not_blind() {
    let mut running = in_mode(kernel(), "shared").spawn().expect("QEMU starts");
    running.expect("counting").expect("the guest starts");
    let stops = observe(&mut running);
    let text = symbol("linux", "text_start");
    for stop in &stops {
        let mapped = |address| stop.pages.iter().any(|page| page.linear.contains(&address));
        assert!(mapped(text), "the host's code is not seen");
        assert!(stop.pages.iter().any(|page| page.linear.start < FOUR_GIB));
        assert!(HOST_SLOTS.into_iter().any(|slot| stop.top[slot] & 1 != 0));
    }
}
