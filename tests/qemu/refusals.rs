//! Bad input: one clear line that names the thing and the limit, and status 5. Broken images are an attack of their own
//! (`src/attack/images.rs`).

use hv_runner::Machine;
use hv_tests::built::{hosting, machine};
use hv_tests::bzimage::bzimage;
use hv_tests::guest_image::GuestImage;

/// Fails unless the host refuses to start, for a reason that names all of `parts`.
fn refused(machine: &Machine, parts: &[&str]) {
    let outcome = machine.run().expect("QEMU starts");
    assert_eq!(outcome.status, 5, "{}", outcome.report());
    for part in parts {
        assert!(
            outcome.stop().contains(part),
            "{part:?} is not in the reason\n{}",
            outcome.report()
        );
    }
    assert!(
        outcome.console.is_empty(),
        "a guest that did not start said something\n{}",
        outcome.report()
    );
}

#[test]
fn an_unknown_host_word_is_named() {
    refused(
        &machine("demo").command_line("frobnicate=7"),
        &["`frobnicate=7`", "mode=", "memory="],
    );
}

#[test]
fn an_unknown_value_is_named_with_the_known_ones() {
    refused(
        &machine("demo").command_line("mode=fast"),
        &["`mode=fast`", "shared, isolated"],
    );
}

#[test]
fn memory_outside_its_limits_is_named() {
    refused(
        &machine("demo").command_line("memory=4096"),
        &["`memory=4096`", "3072"],
    );
}

#[test]
fn no_guest_at_all() {
    refused(&machine("linux"), &["no guest kernel"]);
}

#[test]
fn guest_memory_larger_than_the_hosts() {
    refused(
        &machine("demo").memory_mib(128).command_line("memory=1024"),
        &["1024 MiB", "does not fit"],
    );
}

#[test]
fn linux_that_was_not_built_for_lguest() {
    let texts = b"Linux version 4.4.0 (a@b)\0Kernel panic - not syncing: %s\0";
    let image = [&GuestImage::default().bytes()[..], texts].concat();
    let reason = "guest kernel: this kernel was not built with CONFIG_LGUEST_GUEST";
    refused(&hosting(&image, ""), &[reason]);
}

/// A compressed kernel can only be judged by its end.
#[test]
fn a_compressed_kernel_that_never_calls_its_host() {
    // ud2, as in a kernel that does not know the machine that it is told to be on.
    let outcome = hosting(&bzimage(&[0x0f, 0x0b]), "")
        .run()
        .expect("QEMU starts");
    assert_eq!(
        (outcome.status, outcome.stop()),
        (
            3,
            "guest killed: unhandled trap 6 at 0x100000 (0x0); perhaps this kernel was not built with CONFIG_LGUEST_GUEST"
        ),
        "{}",
        outcome.report()
    );
}

#[test]
fn a_compressed_kernel_that_reaches_beyond_ram_before_it_runs() {
    // mov 0x80000000, %eax
    let outcome = hosting(&bzimage(&[0xa1, 0, 0, 0, 0x80]), "")
        .run()
        .expect("QEMU starts");
    assert_eq!(outcome.status, 3, "{}", outcome.report());
    let stop = outcome.stop();
    assert!(
        stop.starts_with("guest killed: bad page table entry 0x80000")
            && stop.ends_with("-Wa,-mrelax-relocations=no"),
        "{}",
        outcome.report()
    );
}

#[test]
fn a_command_line_that_is_too_long() {
    refused(
        &machine("demo").command_line(format!("-- {}", "x".repeat(2048))),
        &["guest command line: 2048 bytes", "2047"],
    );
}
