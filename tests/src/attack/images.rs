//! kernels and what comes with them, broken in every way that there is. Each is refused before anything of it
//! runs, in one line that names what is wrong and the limit.

use crate::built;
use crate::bzimage::bzimage;
use crate::guest_image::GuestImage;
use crate::matrix::evidence;
use hv_runner::archive::Archive;
use hv_runner::{Machine, Outcome};

/// A broken image.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// What is wrong with it.
    pub name: &'static str,
    /// Puts the boot module together.
    module: fn() -> Vec<u8>,
    /// More words for the host.
    words: &'static str,
    /// What the reason has to name.
    named: &'static [&'static str],
}

const fn image(
    name: &'static str,
    module: fn() -> Vec<u8>,
    named: &'static [&'static str],
) -> Image {
    Image {
        name,
        module,
        words: "",
        named,
    }
}

/// Status of a host that does not start its guest.
const NOT_STARTED: u8 = 5;

/// All of them.
pub const IMAGES: &[Image] = &[
    image(
        "no_kernel_of_any_kind",
        || kernel(b"just some text, long enough to be a kernel of some kind"),
        &["neither an ELF file nor a bzImage"],
    ),
    image(
        "an_empty_kernel",
        || kernel(b""),
        &["no guest kernel", "empty"],
    ),
    image(
        "an_elf_file_that_is_cut_short",
        || kernel(&GuestImage::default().bytes()[..40]),
        &["truncated", "52", "40"],
    ),
    image(
        "a_64_bit_kernel",
        || elf(|image| image.class = 2),
        &["64-bit"],
    ),
    image(
        "a_kernel_for_another_machine",
        || elf(|image| image.machine = 40),
        &["machine 40", "80386"],
    ),
    image(
        "an_entry_point_outside_ram",
        || elf(|image| image.entry = 0xf000_0000),
        &["entry point 0xf0000000", "0x4000000"],
    ),
    image(
        "a_kernel_too_large_for_its_memory",
        || elf(|image| image.memory = 80 << 20),
        &["0x5100000", "0x4000000"],
    ),
    image(
        "a_segment_that_wraps",
        || elf(|image| (image.address, image.memory) = (0xffff_f000, 0x2000)),
        &["0xfffff000", "runs past 4 GiB"],
    ),
    image(
        "more_program_headers_than_can_be_loaded",
        // e_phnum
        || changed(GuestImage::default().bytes(), 44, &u16::MAX.to_le_bytes()),
        &["65535 program headers", "2048"],
    ),
    image(
        "a_64_bit_bzimage",
        // XLF_KERNEL_64
        || changed(bzimage(&[0x0f, 0x0b]), 0x236, &[1]),
        &["a 64-bit kernel (bzImage)"],
    ),
    image(
        "a_bzimage_that_is_cut_short",
        || kernel(&bzimage(&[0; 4096])[..3000]),
        &["truncated", "the protected-mode code", "3000"],
    ),
    image(
        "a_bzimage_that_unpacks_itself_beyond_ram",
        // init_size
        || changed(bzimage(&[0x0f, 0x0b]), 0x260, &u32::MAX.to_le_bytes()),
        &["unpacking needs RAM", "0x4000000"],
    ),
    image(
        "an_archive_that_is_cut_short",
        || Archive::default().file("kernel", &[0; 5000]).finish()[..3000].to_vec(),
        &["boot module", "truncated"],
    ),
    image(
        "an_archive_with_a_stranger",
        || Archive::default().file("kernel.old", b"x").finish(),
        &["`kernel.old`", "kernel, initrd, cmdline"],
    ),
    Image {
        words: "memory=8",
        ..image(
            "an_initrd_larger_than_ram",
            || with("initrd", &vec![0; 8 << 20]),
            &["initrd: 8388608 bytes", "there are 7335936"],
        )
    },
    image(
        "a_command_line_of_64_kib",
        || with("cmdline", &[b'x'; 64 << 10]),
        &["guest command line: 65536 bytes", "2047"],
    ),
    image(
        "a_disk_without_a_whole_sector",
        || with("disk0", &[0; 511]),
        &["disk0: 511 bytes", "512"],
    ),
];

fn kernel(bytes: &[u8]) -> Vec<u8> {
    Archive::default().file("kernel", bytes).finish()
}

fn elf(change: fn(&mut GuestImage)) -> Vec<u8> {
    let mut image = GuestImage::default();
    change(&mut image);
    kernel(&image.bytes())
}

fn changed(mut image: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    image[at..at + bytes.len()].copy_from_slice(bytes);
    kernel(&image)
}

/// A good kernel with something else.
fn with(name: &str, contents: &[u8]) -> Vec<u8> {
    let kernel = GuestImage::default().bytes();
    let archive = Archive::default().file("kernel", &kernel);
    archive.file(name, contents).finish()
}

impl Image {
    /// The name of its run in `mode`.
    pub fn trial(&self, mode: &str) -> String {
        format!("images::{}::{mode}", self.name)
    }

    /// The machine that is to host it in `mode`.
    pub fn machine(&self, mode: &str) -> Machine {
        let words = format!("mode={mode} {}", self.words);
        let machine = built::machine("linux").module((self.module)());
        machine.command_line(words.trim_end())
    }

    /// Whether it was refused for its reason, for the matrix as well.
    ///
    /// # Errors
    /// What is not as it has to be.
    pub fn judge(&self, mode: &str, outcome: &Outcome) -> Result<(), String> {
        let judged = self.judged(outcome);
        let text = format!("A-37 pass {}\n", outcome.stop());
        evidence::record(&self.trial(mode), &judged, &text);
        judged.map_err(|reason| format!("{reason}\n{}", outcome.report()))
    }

    fn judged(&self, outcome: &Outcome) -> Result<(), String> {
        if outcome.status != NOT_STARTED {
            return Err(format!("status {}", outcome.status));
        }
        let mut named = self.named.iter();
        if let Some(part) = named.find(|part| !outcome.stop().contains(**part)) {
            return Err(format!("{part:?} is not in the reason"));
        }
        if !outcome.console.is_empty() {
            return Err("a guest that did not start said something".into());
        }
        Ok(())
    }
}
