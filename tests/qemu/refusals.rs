//! Bad input: one clear line that names the thing and the limit, and status 5.

use hv_runner::Machine;
use hv_runner::archive::Archive;
use hv_tests::built::{hosting, hosting_with_disk, machine};
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
    let archive = Archive::default().file("kernel", &[0; 5000]).finish();
    let machine = machine("linux").module(archive[..3000].to_vec());
    refused(&machine, &["boot module", "truncated"]);
}

#[test]
fn an_archive_with_a_stranger() {
    let archive = Archive::default().file("kernel.old", b"x").finish();
    refused(
        &machine("linux").module(archive),
        &["`kernel.old`", "kernel, initrd, cmdline"],
    );
}

#[test]
fn an_empty_kernel() {
    refused(&hosting(b"", ""), &["no guest kernel", "empty"]);
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
fn a_64_bit_bzimage() {
    let mut image = bzimage(&[0x0f, 0x0b]);
    // XLF_KERNEL_64
    image[0x236] = 1;
    refused(&hosting(&image, ""), &["a 64-bit kernel (bzImage)"]);
}

#[test]
fn a_bzimage_that_is_cut_short() {
    let image = bzimage(&[0; 4096]);
    refused(
        &hosting(&image[..3000], ""),
        &["truncated", "the protected-mode code", "3000"],
    );
}

#[test]
fn a_bzimage_that_unpacks_itself_beyond_ram() {
    let mut image = bzimage(&[0x0f, 0x0b]);
    // init_size
    image[0x260..0x264].copy_from_slice(&u32::MAX.to_le_bytes());
    refused(&hosting(&image, ""), &["unpacking needs RAM", "0x4000000"]);
}

#[test]
fn more_program_headers_than_can_be_loaded() {
    let mut image = GuestImage::default().bytes();
    // e_phnum
    image[44..46].copy_from_slice(&u16::MAX.to_le_bytes());
    refused(&hosting(&image, ""), &["65535 program headers", "2048"]);
}

#[test]
fn a_segment_that_wraps() {
    let image = GuestImage {
        address: 0xffff_f000,
        memory: 0x2000,
        ..GuestImage::default()
    };
    refused(
        &hosting(&image.bytes(), ""),
        &["0xfffff000", "runs past 4 GiB"],
    );
}

#[test]
fn an_initrd_that_does_not_fit() {
    let archive = Archive::default()
        .file("kernel", &GuestImage::default().bytes())
        .file("initrd", &vec![0; 8 << 20])
        .finish();
    let machine = machine("linux").module(archive).command_line("memory=8");
    refused(&machine, &["initrd: 8388608 bytes", "there are 7335936"]);
}

#[test]
fn a_command_line_that_is_too_long() {
    let kernel = GuestImage::default().bytes();
    refused(
        &hosting(&kernel, &"x".repeat(64 << 10)),
        &["guest command line: 65536 bytes", "2047"],
    );
    refused(
        &machine("demo").command_line(format!("-- {}", "x".repeat(2048))),
        &["guest command line: 2048 bytes", "2047"],
    );
}

#[test]
fn a_disk_in_memory_without_a_whole_sector() {
    let kernel = GuestImage::default().bytes();
    refused(
        &hosting_with_disk(&kernel, "", &[0; 511]),
        &["disk0: 511 bytes", "512"],
    );
}
