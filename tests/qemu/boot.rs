//! How images boot, and what the host maps.

use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::LittleEndian;
use hv_runner::Machine;
use hv_tests::built::{self, hosting, machine};
use hv_tests::expectation::verdicts;
use hv_tests::guest_image::GuestImage;
use hv_tests::symbols::symbol;
use hv_tests::translations::{Page, pages};
use std::ops::Range;

const FOUR_GIB: u64 = 1 << 32;
/// Top-level slots that belong to the host.
const HOST_SLOTS: Range<u64> = 256..272;
/// Bytes that an image may have, without a guest.
const IMAGE_LIMIT: u64 = 512 << 10;

/// Pages that the switcher and the processor's tables and stacks may take.
const ISOLATED_PAGES: usize = 64;

/// A guest that spins for ever: `jmp .`
fn spinning() -> Vec<u8> {
    GuestImage {
        code: vec![0xeb, 0xfe],
        ..GuestImage::default()
    }
    .bytes()
}

/// How QEMU shows a processor that executes the guest's kernel.
const IN_GUEST: &str = "CPL=1";
/// ... and one that waits for an interrupt, which only the host can let it do.
const IDLE: &str = "HLT=1";

/// What the machine maps, at several moments at which the processor is in that state.
fn observed(machine: &Machine, state: &str) -> Vec<Vec<Page>> {
    let mut running = machine.spawn().expect("QEMU starts");
    let mut monitor = running.monitor().expect("QEMU has a monitor");
    let mut ask = |command| monitor.command(command).expect("the machine still runs");
    let mut seen = Vec::new();
    while seen.len() < 5 {
        ask("stop");
        if ask("info registers").contains(state) {
            seen.push(pages(&ask("info tlb")));
        }
        ask("cont");
    }
    seen
}

fn image_frames(application: &str) -> Range<u64> {
    let image = std::fs::read(built::image(application)).expect("the image is readable");
    let file = ElfBytes::<LittleEndian>::minimal_parse(&image).expect("the image is an ELF file");
    let segments = file.segments().expect("the image has program headers");
    let loaded = segments.iter().filter(|segment| segment.p_type == PT_LOAD);
    let (mut start, mut end) = (u64::MAX, 0);
    for segment in loaded {
        start = start.min(segment.p_paddr);
        end = end.max(segment.p_paddr + segment.p_memsz);
    }
    start & !0xfff..end
}

fn host_maps_are_safe(application: &str, machine: &Machine, state: &str) {
    let image = image_frames(application);
    let guard = symbol(application, "stack_guard");
    for page in observed(machine, state).iter().flatten() {
        let host = page.linear.start >= FOUR_GIB;
        assert!(
            !host || HOST_SLOTS.contains(&page.slot()),
            "outside the host's slots: {page:x?}"
        );
        assert!(!(host && page.user), "ring 3 reaches the host: {page:x?}");
        assert!(
            !(host && page.writable && page.executable),
            "writable and executable: {page:x?}"
        );
        assert!(
            host || !image.contains(&page.physical),
            "the image below 4 GiB: {page:x?}"
        );
        assert!(
            !page.linear.contains(&guard),
            "the guard page is mapped: {page:x?}"
        );
    }
}

fn in_mode(mode: &str) -> Machine {
    hosting(&spinning(), "").command_line(format!("mode={mode}"))
}

#[test]
fn a_guest_in_shared_mode_runs_beside_safe_maps() {
    host_maps_are_safe("linux", &in_mode("shared"), IN_GUEST);
}

#[test]
fn a_guest_in_isolated_mode_runs_beside_safe_maps() {
    host_maps_are_safe("linux", &in_mode("isolated"), IN_GUEST);
}

#[test]
fn the_host_waits_on_safe_maps() {
    for mode in ["shared", "isolated"] {
        // The shell waits for a line, so its kernel halts.
        host_maps_are_safe(
            "demo",
            &machine("demo").command_line(format!("mode={mode}")),
            IDLE,
        );
    }
}

#[test]
fn isolated_mode_hides_most_of_the_host_while_the_guest_runs() {
    let host_pages = |mode| {
        let count = |pages: &Vec<Page>| {
            pages
                .iter()
                .filter(|page| page.linear.start >= FOUR_GIB)
                .count()
        };
        observed(&in_mode(mode), IN_GUEST)
            .iter()
            .map(count)
            .max()
            .unwrap_or_default()
    };
    let (shared, isolated) = (host_pages("shared"), host_pages("isolated"));
    assert!(
        isolated < shared && isolated <= ISOLATED_PAGES,
        "shared {shared}, isolated {isolated}"
    );
}

#[test]
fn an_image_boots_from_a_grub_disc() {
    let disc = Machine::disc(
        built::disc("demo"),
        built::image("demo").with_extension("debug"),
    );
    let mut running = disc.spawn().expect("QEMU starts");
    running.send("exit 0\n").expect("the console takes input");
    let outcome = running.wait();
    assert_eq!(
        (outcome.status, outcome.stop()),
        (0, "guest powered off"),
        "{}",
        outcome.report()
    );
}

#[test]
fn a_module_alone_is_a_kernel() {
    let outcome = machine("linux")
        .module(GuestImage::default().bytes())
        .run()
        .expect("QEMU starts");
    assert_eq!(outcome.status, 3, "{}", outcome.report());
    assert_eq!(
        outcome.stop(),
        "guest killed: unhandled trap 6 at 0x100000 (0x0)"
    );
}

#[test]
fn a_run_with_counted_instructions_repeats_exactly() {
    let run = || {
        hosting(&GuestImage::default().bytes(), "")
            .run()
            .expect("QEMU starts")
            .log
    };
    assert_eq!(run(), run());
}

#[test]
fn an_image_without_a_guest_is_small() {
    let size = std::fs::metadata(built::image("linux"))
        .expect("the image is there")
        .len();
    assert!(
        size <= IMAGE_LIMIT,
        "{size} bytes; the limit is {IMAGE_LIMIT}"
    );
}

/// what `sgdt` and its kind say is no address of the host, where the processor can prevent it.
#[test]
fn a_guest_does_not_see_where_the_hosts_tables_are() {
    for mode in ["shared", "isolated"] {
        let machine = hosting(&built::micro_guest("tables_hidden"), "case=umip");
        let outcome = machine
            .model("qemu64,+umip")
            .command_line(format!("mode={mode}"))
            .run()
            .expect("QEMU starts");
        assert_eq!(outcome.status, 0, "{}", outcome.report());
        if let Err(failed) = verdicts(&outcome.text()) {
            panic!("{failed}\n{}", outcome.report());
        }
    }
}
