//! Which paging format a guest uses, told from the first root it loads.

use super::bits;
use crate::address::Gfn;

/// Which paging format a guest is taken to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Paging {
    /// The one that its first root looks like; see [`detect`].
    #[default]
    Auto,
    /// Two levels of 1024 entries, 32 bits each.
    TwoLevel,
    /// Physical address extension: entries of 64 bits, in three levels.
    Pae,
}

/// What a root looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detected {
    /// A page directory of two-level tables, or nothing in particular.
    TwoLevel,
    /// A page-directory-pointer table.
    Pae,
}

/// Tells the format from the 32 bytes at the first root that a guest loads, aligned to 32 bytes.
///
/// They are a page-directory-pointer table if each of the four entries is either all zero or names a
/// frame of RAM (`ram`: the first that is none) with P as its only flag, and there is one that does.
/// Everything else is taken for two-level tables.
///
/// To a two-level guest the same bytes are its first eight top-level entries. They look like a
/// page-directory-pointer table only if every other one is empty and the rest allow nothing but reads
/// by the kernel (no RW, no US) and have not been used (no A). No kernel has such entries: it could not
/// write through them, and they would cover every other 4 MiB. A two-level guest that does it anyway
/// has to be told so, and so has a PAE guest whose first root is empty when it is loaded.
pub fn detect(root: &[u64; 4], ram: Gfn) -> Detected {
    let names_table = |entry: u64| entry & 0xfff == bits::P && Gfn::new(entry >> 12) < ram;
    let plausible = root.iter().all(|entry| *entry == 0 || names_table(*entry));
    if plausible && root.iter().any(|entry| *entry != 0) {
        Detected::Pae
    } else {
        Detected::TwoLevel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAM: Gfn = Gfn::new(0x4000);

    fn two_level(entries: [u32; 8]) -> Detected {
        let pair = |at: usize| u64::from(entries[at + 1]) << 32 | u64::from(entries[at]);
        detect(&[pair(0), pair(2), pair(4), pair(6)], RAM)
    }

    #[test]
    fn pointer_tables_that_kernels_boot_with_are_recognised() {
        // Identity and kernel by one page directory; then a full table, as processes have.
        for root in [
            [0x200_1001, 0, 0, 0x200_1001],
            [0x200_1001, 0x200_2001, 0x200_3001, 0x200_4001],
            [0, 0, 0, 0x03ff_f001],
        ] {
            assert_eq!(detect(&root, RAM), Detected::Pae, "{root:x?}");
        }
    }

    #[test]
    fn page_directories_that_kernels_boot_with_are_recognised() {
        for root in [
            [0x0200_1063, 0x0200_2063, 0, 0, 0, 0, 0, 0],
            [0x0200_1063, 0, 0, 0, 0, 0, 0, 0],
            [0x0200_1007; 8],
            [0x0200_1067, 0, 0x0200_2067, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(two_level(root), Detected::TwoLevel, "{root:x?}");
        }
    }

    #[test]
    fn in_doubt_it_is_two_levels() {
        for root in [
            [0; 4],
            // One entry that no pointer table has spoils it.
            [0x200_1001, 0x200_2003, 0, 0],
            [0x200_1001, 0x200_2000, 0, 0],
            [0x200_1021, 0, 0, 0],
            [0x400_0001, 0, 0, 0],
            [0x8000_0000_0200_1001, 0, 0, 0],
            [0x1_0200_1001, 0, 0, 0],
        ] {
            assert_eq!(detect(&root, RAM), Detected::TwoLevel, "{root:x?}");
        }
    }

    /// The one ambiguity that the documentation names.
    #[test]
    fn read_only_kernel_entries_in_every_other_slot_are_taken_for_a_pointer_table() {
        let root = [0x0200_1001, 0, 0, 0, 0x0200_2001, 0, 0, 0];
        assert_eq!(two_level(root), Detected::Pae);
    }
}
