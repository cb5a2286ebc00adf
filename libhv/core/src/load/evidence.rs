//! What a kernel's image says about its generation and its build, before anything of it runs.

use super::{bzimage, u16_at};
use crate::generation::parse_version;
use hv_abi::lguest::{ENTRY_MARKER, KernelVersion};

/// Starts the text that every Linux kernel prints first.
const BANNER: &[u8] = b"Linux version ";
/// Offset in a bzImage of the version's place, which counts from the second sector.
const KERNEL_VERSION: usize = 0x20e;
const SECOND_SECTOR: usize = 0x200;
/// What every Linux kernel has to be able to say. A banner alone may stand in a guest that is no Linux, for
/// the sake of its version.
const PANIC: &[u8] = b"Kernel panic - not syncing";
/// The name that a kernel built with CONFIG_LGUEST_GUEST gives its operations, its interrupt controller and
/// its clock.
const LGUEST: &[u8] = b"lguest";

/// The Linux version that `image` names: a bzImage in its header, an ELF file in its banner. Of texts
/// that merely begin like a banner, such as the format string of one, none counts.
pub(super) fn version(image: &[u8]) -> Option<KernelVersion> {
    if bzimage::is_bzimage(image) {
        let place = usize::from(u16_at(image, KERNEL_VERSION)?);
        let text = image.get(place.checked_add(SECOND_SECTOR)?..)?;
        return Some(parse_version(text)?.0);
    }
    let mut rest = image;
    while let Some(at) = find(rest, BANNER) {
        rest = rest.get(at.saturating_add(BANNER.len())..)?;
        if let Some((version, _)) = parse_version(rest) {
            return Some(version);
        }
    }
    None
}

/// How sure one can be that a kernel is Linux, and for lguest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Linux {
    /// Linux without a trace of lguest.
    WithoutLguest,
    /// Linux in a compressed image: it may be for lguest or not.
    Compressed,
    /// Linux for lguest, or no Linux at all. Nothing more can be asked of it.
    NothingKnown,
}

/// What can be told of the kernel in `image`. In doubt it is not refused: whatever lacks one of the texts that
/// Linux has always had is taken for something else.
pub(super) fn linux(image: &[u8]) -> Linux {
    let has = |text| find(image, text).is_some();
    if bzimage::is_bzimage(image) {
        Linux::Compressed
    } else if !has(LGUEST) && has(PANIC) && has(BANNER) {
        Linux::WithoutLguest
    } else {
        Linux::NothingKnown
    }
}

/// Offset in `image` of the first byte after the marker that stands before the entry of a G1 kernel.
pub(super) fn marked_entry(image: &[u8]) -> Option<usize> {
    find(image, ENTRY_MARKER)?.checked_add(ENTRY_MARKER.len())
}

/// Offset of the first occurrence of `needle`, which is not empty and shorter than 256 bytes. Looks at
/// every thirteenth byte or so of a text that has none (Horspool's algorithm): kernels have megabytes.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let last = needle.len().checked_sub(1)?;
    // By the byte under the needle's end: how far the needle can move on.
    let mut moves = [needle.len(); 256];
    for (at, &byte) in needle.iter().enumerate().take(last) {
        if let Some(entry) = moves.get_mut(usize::from(byte)) {
            *entry = last.saturating_sub(at);
        }
    }
    let mut at = 0_usize;
    loop {
        let window = text.get(at..)?;
        let &end = window.get(last)?;
        if window.starts_with(needle) {
            return Some(at);
        }
        let step = moves.get(usize::from(end)).copied().unwrap_or(1);
        at = at.saturating_add(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_banner_is_found_behind_texts_that_only_begin_like_one() {
        let mut image = vec![0; 1000];
        image.extend(b"Linux version %s (%s)\0Linux vLinux version 2.6.24.7 (a@b)\0");
        assert_eq!(version(&image), Some(KernelVersion(2, 6, 24)));
        assert_eq!(version(b"Linux version "), None);
        assert_eq!(version(b""), None);
    }

    #[test]
    fn a_bzimage_says_it_in_its_header() {
        let mut image = vec![0; 2048];
        image[0x202..][..4].copy_from_slice(b"HdrS");
        image[0x20e..][..2].copy_from_slice(&0x300_u16.to_le_bytes());
        image[0x500..][..9].copy_from_slice(b"3.18.140 ");
        assert_eq!(version(&image), Some(KernelVersion(3, 18, 140)));
        image[0x20e..][..2].copy_from_slice(&0xffff_u16.to_le_bytes());
        assert_eq!(version(&image), None);
    }

    #[test]
    fn linux_without_a_trace_of_lguest_is_told() {
        let texts: [&[u8]; 3] = [
            b"Linux version 4.4.155 (a@b)",
            b"Kernel panic - not syncing: %s",
            b"lguest",
        ];
        // One bit a text. Only Linux with all texts but the last is refused.
        for present in 0..8_u8 {
            let parts = (0..3).filter(|part| present & (1 << part) != 0);
            let image: Vec<u8> = parts.flat_map(|part| texts[part]).copied().collect();
            let expected = match present {
                0b011 => Linux::WithoutLguest,
                _ => Linux::NothingKnown,
            };
            assert_eq!(linux(&image), expected, "{present:#b}");
        }
        let mut compressed = vec![0; 1024];
        compressed[0x202..][..4].copy_from_slice(b"HdrS");
        assert_eq!(linux(&compressed), Linux::Compressed);
    }

    proptest! {
        #[test]
        fn the_search_finds_what_a_slow_one_finds(text in "[abG]{0,40}", needle in "[abG]{1,4}") {
            let (text, needle) = (text.as_bytes(), needle.as_bytes());
            let slow = text.windows(needle.len()).position(|window| window == needle);
            prop_assert_eq!(find(text, needle), slow);
        }
    }
}
