//! What a kernel's image says about its generation, before anything of it runs.

use super::{bzimage, u16_at};
use crate::generation::parse_version;
use hv_abi::lguest::{ENTRY_MARKER, KernelVersion};

/// Starts the text that every Linux kernel prints first.
const BANNER: &[u8] = b"Linux version ";
/// Offset in a bzImage of the version's place, which counts from the second sector.
const KERNEL_VERSION: usize = 0x20e;
const SECOND_SECTOR: usize = 0x200;

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

    proptest! {
        #[test]
        fn the_search_finds_what_a_slow_one_finds(text in "[abG]{0,40}", needle in "[abG]{1,4}") {
            let (text, needle) = (text.as_bytes(), needle.as_bytes());
            let slow = text.windows(needle.len()).position(|window| window == needle);
            prop_assert_eq!(find(text, needle), slow);
        }
    }
}
