//! Where things are in the code of an image.

use crate::built;
use elf::ElfBytes;
use elf::abi::{PF_X, PT_LOAD};
use elf::endian::LittleEndian;

fn unstripped(application: &str) -> Vec<u8> {
    std::fs::read(built::image(application).with_extension("debug")).expect("the image is readable")
}

fn parsed(image: &[u8]) -> ElfBytes<'_, LittleEndian> {
    ElfBytes::minimal_parse(image).expect("the image is an ELF file")
}

/// Linear address of a symbol of an application's image.
pub fn symbol(application: &str, name: &str) -> u64 {
    let image = unstripped(application);
    let file = parsed(&image);
    let (symbols, names) = file
        .symbol_table()
        .expect("symbols are readable")
        .expect("there are symbols");
    let found = symbols.iter().find(|symbol| {
        names
            .get(symbol.st_name as usize)
            .is_ok_and(|found| found == name)
    });
    found
        .unwrap_or_else(|| panic!("the image has no symbol {name}"))
        .st_value
}

/// Linear address of the first `COUNT` bytes of code that `fits` takes.
pub fn code<const COUNT: usize>(application: &str, fits: impl Fn(&[u8; COUNT]) -> bool) -> u64 {
    let image = unstripped(application);
    let file = parsed(&image);
    let segments = file.segments().expect("the image has program headers");
    let executable = |flags: u32| flags & PF_X != 0;
    let mut code = segments
        .iter()
        .filter(|segment| segment.p_type == PT_LOAD && executable(segment.p_flags));
    let found = code.find_map(|segment| {
        let bytes = file.segment_data(&segment).ok()?;
        let at = bytes
            .windows(COUNT)
            .position(|window| <&[u8; COUNT]>::try_from(window).is_ok_and(&fits))?;
        Some(segment.p_vaddr + at as u64)
    });
    found.expect("the image has this code")
}
