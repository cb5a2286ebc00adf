//! Kernels, and what is loaded with them.

use crate::input::Input;
use crate::memory::Memory;
use hv_abi::lguest::{Entry, Family, PAGE_OFFSET, boot, generations};
use hv_core::address::Gpa;
use hv_core::generation::Choice;
use hv_core::load::{Boot, load};
use hv_core::memory::GuestMemory;
use hv_core::paging::Paging;

/// Frames of RAM: around the place where a bzImage goes, too.
const RAM: [u64; 4] = [320, 258, 64, 2];
const PAGE_OFFSETS: [u32; 4] = [PAGE_OFFSET, 0x4000_0000, 0xff80_0000, 0x1234];
const FAMILIES: [Family; 5] = [Family::G1, Family::G2, Family::G3, Family::G4, Family::G5];
/// Longest command line of one input; a page of it is more than fits.
const COMMAND_LINE: [usize; 4] = [0, 5, 2047, 4096];
const INITRD: [usize; 4] = [0, 1, 4097, 0x2_0000];

/// An image, an initrd, a command line and what the user says about them: they are refused with one clean
/// line, or the guest starts in its RAM and finds what it was given.
pub fn kernels(data: &[u8]) {
    let mut input = Input::new(data);
    let ram = input.choose(&RAM);
    let generation = match input.byte() {
        0..128 => Choice::Detect,
        128..192 => Choice::Family(input.choose(&FAMILIES)),
        _ => Choice::Exactly(input.choose(&generations::ALL)),
    };
    let page_offset = input.choose(&PAGE_OFFSETS);
    let paging = input.choose(&[Paging::Auto, Paging::TwoLevel, Paging::Pae]);
    let command_line = vec![b'c'; input.choose(&COMMAND_LINE)];
    let initrd = vec![b'i'; input.choose(&INITRD)];
    let kernel = input.rest();
    let boot = Boot {
        kernel,
        initrd: &initrd,
        command_line: &command_line,
        generation,
        page_offset,
        paging,
    };
    let memory = Memory::new(ram, 0);
    let start = match load(&memory, &boot) {
        Ok(start) => start,
        Err(error) => return super::is_one_clean_line(&error),
    };
    assert_eq!(memory.refused(), 0, "checked before it is written");
    assert!(generation.allows(start.generation));
    let base = match start.generation.entry {
        Entry::Marker => page_offset,
        _ => 0,
    };
    let entry = start.entry.raw().wrapping_sub(base);
    assert!(memory.contains(Gpa::from(entry), 1) || base != 0);
    assert_eq!(
        start.root.is_some(),
        start.generation.entry != Entry::Linear
    );
    let top = Gpa::new(ram << 12);
    assert!(start.root.is_none_or(|root| root < top));

    let word = |at: u32| {
        memory
            .read_u32(Gpa::from(at))
            .expect("the boot page is RAM")
    };
    assert_eq!(word(boot::E820_MAP + 8), (ram << 12) as u32);
    assert_eq!(word(boot::CMD_LINE_PTR), boot::COMMAND_LINE);
    holds(
        &memory,
        boot::COMMAND_LINE,
        &[&command_line[..], &[0]].concat(),
    );
    assert!(word(boot::RAMDISK_SIZE) as usize >= initrd.len());
    if !initrd.is_empty() {
        holds(&memory, word(boot::RAMDISK_IMAGE), &initrd);
    }
}

/// Whether the guest finds these bytes there.
fn holds(memory: &Memory, at: u32, bytes: &[u8]) {
    let mut found = vec![0; bytes.len()];
    memory.read(Gpa::from(at), &mut found).expect("it is RAM");
    assert!(found == bytes, "at {at:#x}");
}
