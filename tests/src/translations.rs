//! What QEMU's monitor says about the page tables that are in use (`info tlb`).

use std::ops::Range;

/// One page of an address space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Linear addresses.
    pub linear: Range<u64>,
    /// Where they lead.
    pub physical: u64,
    /// Whether code can run there.
    pub executable: bool,
    /// Whether it can be written to.
    pub writable: bool,
    /// Whether ring 3 reaches it.
    pub user: bool,
}

impl Page {
    /// Index of the top-level entry above it.
    pub fn slot(&self) -> u64 {
        self.linear.start >> 39 & 0x1ff
    }
}

/// Reads lines such as `ffff820000100000: 0000000000100000 XG-DA---W`. The flags are NX, global, large,
/// dirty, accessed, cache disabled, write-through, user, writable.
pub fn pages(tlb: &str) -> Vec<Page> {
    tlb.lines().filter_map(page).collect()
}

fn page(line: &str) -> Option<Page> {
    let (linear, rest) = line.trim().split_once(": ")?;
    let (physical, flags) = rest.split_once(' ')?;
    let flag = |at: usize| flags.as_bytes().get(at).is_some_and(|flag| *flag != b'-');
    let start = u64::from_str_radix(linear, 16).ok()?;
    let size = if flag(2) { 2 << 20 } else { 4096 };
    Some(Page {
        linear: start..start.saturating_add(size),
        physical: u64::from_str_radix(physical, 16).ok()?,
        executable: !flag(0),
        writable: flag(8),
        user: flag(7),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_monitor_is_read() {
        let pages =
            pages("ffff820000100000: 0000000000300000 XG-DA---W\nnoise\n00001000: 5000 --P----U-");
        assert_eq!(pages.len(), 2);
        assert_eq!((pages[0].slot(), pages[0].physical), (260, 0x30_0000));
        assert!(!pages[0].executable && pages[0].writable && !pages[0].user);
        assert_eq!(pages[1].linear, 0x1000..0x20_1000);
        assert!(pages[1].executable && !pages[1].writable && pages[1].user);
    }
}
