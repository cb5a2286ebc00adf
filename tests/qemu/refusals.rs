//! Bad input: one clear line that names the thing and the limit, and status 5.

use hv_runner::Machine;
use hv_tests::built::{hosting, machine};
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
fn a_module_that_is_no_kernel() {
    refused(
        &hosting(
            b"just some text, long enough to be a kernel of some kind",
            "",
        ),
        &["neither an ELF file nor a bzImage"],
    );
}

#[test]
fn an_elf_file_that_is_cut_short() {
    let mut image = GuestImage::default().bytes();
    image.truncate(40);
    refused(&hosting(&image, ""), &["truncated", "52", "40"]);
}

#[test]
fn a_64_bit_kernel() {
    refused(
        &hosting(
            &GuestImage {
                class: 2,
                ..GuestImage::default()
            }
            .bytes(),
            "",
        ),
        &["64-bit"],
    );
}

#[test]
fn a_kernel_for_another_machine() {
    let image = GuestImage {
        machine: 40,
        ..GuestImage::default()
    };
    refused(&hosting(&image.bytes(), ""), &["machine 40", "80386"]);
}

#[test]
fn an_entry_point_outside_ram() {
    let image = GuestImage {
        entry: 0xf000_0000,
        ..GuestImage::default()
    };
    refused(
        &hosting(&image.bytes(), ""),
        &["entry point 0xf0000000", "0x4000000"],
    );
}

#[test]
fn a_kernel_too_large_for_its_memory() {
    let image = GuestImage {
        memory: 80 << 20,
        ..GuestImage::default()
    };
    refused(&hosting(&image.bytes(), ""), &["0x5100000", "0x4000000"]);
}

#[test]
fn guest_memory_larger_than_the_hosts() {
    refused(
        &machine("demo").memory_mib(128).command_line("memory=1024"),
        &["1024 MiB", "does not fit"],
    );
}

#[test]
fn a_damaged_archive() {
    let archive = hv_runner::archive::Archive::default()
        .file("kernel", &[0; 5000])
        .finish();
    let machine = machine("linux").module(archive[..3000].to_vec());
    refused(&machine, &["boot module", "truncated"]);
}

#[test]
fn an_archive_with_a_stranger() {
    let archive = hv_runner::archive::Archive::default()
        .file("kernel.old", b"x")
        .finish();
    refused(
        &machine("linux").module(archive),
        &["`kernel.old`", "kernel, initrd, cmdline"],
    );
}
