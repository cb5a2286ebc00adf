//! One shadow table: its frame, and what it mirrors.

use crate::address::{Gfn, Gpa};
use crate::frames::{Frame, Table};

/// Number of a shadow table: its frame's number in the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableId(u32);

impl TableId {
    pub(super) fn new(number: usize) -> Option<Self> {
        u32::try_from(number).ok().map(Self)
    }

    pub(super) fn number(self) -> usize {
        self.0 as usize
    }
}

/// What a shadow table stands for. There is at most one table for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mirror {
    /// A guest root: a page-directory-pointer table.
    Root(Gpa),
    /// One gigabyte of one root, for a guest without page directories of that size.
    Directory { root: Gpa, quarter: u32 },
    /// Likewise, one gigabyte that lies at or above `kernel_address`, the same in all roots.
    KernelDirectory { quarter: u32 },
    /// A page directory of the guest's, wherever it is used.
    GuestDirectory(Gfn),
    /// Part of a guest leaf table: 2 MiB of it, wherever it is used.
    Leaf { table: Gfn, part: u32 },
    /// The gva = gpa translation before the first NEW_PGTABLE.
    LinearRoot,
    /// One gigabyte of it.
    LinearDirectory { quarter: u32 },
    /// Two megabytes of it.
    LinearLeaf { part: u32 },
}

impl Mirror {
    /// Whether entries of the table name guest frames rather than further tables.
    pub(super) fn is_leaf(self) -> bool {
        matches!(self, Mirror::Leaf { .. } | Mirror::LinearLeaf { .. })
    }

    pub(super) fn is_root(self) -> bool {
        matches!(self, Mirror::Root(_) | Mirror::LinearRoot)
    }

    /// A number that differs for most pairs of mirrors that are in use together.
    #[inline(always)]
    pub(super) fn hash(self) -> u64 {
        let (kind, frame, part) = match self {
            Mirror::Root(root) => (0, root.raw(), 0),
            Mirror::Directory { root, quarter } => (1, root.raw(), quarter),
            Mirror::KernelDirectory { quarter } => (2, 0, quarter),
            Mirror::Leaf { table, part } => (3, table.raw(), part),
            Mirror::LinearRoot => (4, 0, 0),
            Mirror::LinearDirectory { quarter } => (5, 0, quarter),
            Mirror::LinearLeaf { part } => (6, 0, part),
            Mirror::GuestDirectory(table) => (7, table.raw(), 0),
        };
        let key = frame.wrapping_shl(7) ^ u64::from(part).wrapping_shl(3) ^ kind;
        // Fibonacci hashing: consecutive frames spread over all buckets.
        key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
    }
}

/// Bookkeeping of one frame of the pool, and, under the same number, one bucket of the index.
#[derive(Debug, Default)]
pub struct Slot {
    pub(super) table: Option<ShadowTable>,
    /// First table whose mirror hashes to this slot's number.
    pub(super) bucket: Option<TableId>,
    /// When that was: it counts only in the present age of the tables.
    pub(super) bucket_age: u64,
}

/// A table in use.
#[derive(Debug)]
pub(super) struct ShadowTable {
    pub(super) frame: Frame<Table>,
    pub(super) mirror: Mirror,
    /// When it was created. All tables of earlier ages are free.
    pub(super) age: u64,
    /// Entries of other tables that name this one; a root has one for being in the cache.
    pub(super) references: u32,
    /// Present entries.
    pub(super) live: u32,
    /// Next table in the same bucket.
    pub(super) next: Option<TableId>,
    /// Neighbours in the order of use, for roots.
    pub(super) newer: Option<TableId>,
    pub(super) older: Option<TableId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// The most mirrors that one of `buckets` has.
    fn fullest(mirrors: impl Iterator<Item = Mirror>, buckets: u64) -> usize {
        let mut count = HashMap::new();
        for mirror in mirrors {
            *count.entry(mirror.hash() % buckets).or_insert(0) += 1;
        }
        count.into_values().max().unwrap()
    }

    /// As many of a kind as there are buckets.
    #[test]
    fn neighbours_of_a_kind_spread_over_the_buckets() {
        const BUCKETS: u64 = 1024;
        let frames = || (0x100..0x100 + BUCKETS).map(Gfn::new);
        let leaves = frames().map(|table| Mirror::Leaf { table, part: 0 });
        assert!(fullest(leaves, BUCKETS) <= 4);
        let halves = frames()
            .take(512)
            .flat_map(|table| [0, 1].map(|part| Mirror::Leaf { table, part }));
        assert!(fullest(halves, BUCKETS) <= 4);
        assert!(fullest(frames().map(Mirror::GuestDirectory), BUCKETS) <= 4);
        assert!(fullest(frames().map(|frame| Mirror::Root(frame.start())), BUCKETS) <= 4);
        let packed = (0..BUCKETS).map(|root| Mirror::Root(Gpa::new(0x10_0000 + root * 32)));
        assert!(fullest(packed, BUCKETS) <= 4);
        let directories = frames().take(256).flat_map(|frame| {
            let root = frame.start();
            [0, 1, 2, 3].map(|quarter| Mirror::Directory { root, quarter })
        });
        assert!(fullest(directories, BUCKETS) <= 4);
        let linear = (0..BUCKETS as u32).map(|part| Mirror::LinearLeaf { part });
        assert!(fullest(linear, BUCKETS) <= 8);
    }

    /// A frame that is a root, a directory and a leaf table at once has its shadows in different places.
    #[test]
    fn kinds_of_one_frame_spread_over_the_buckets() {
        let frame = Gfn::new(5);
        let root = frame.start();
        let all = [
            Mirror::Root(root),
            Mirror::GuestDirectory(frame),
            Mirror::Leaf {
                table: frame,
                part: 0,
            },
            Mirror::Leaf {
                table: frame,
                part: 1,
            },
            Mirror::LinearRoot,
        ];
        let quarters = (0..4).flat_map(|quarter| {
            [
                Mirror::Directory { root, quarter },
                Mirror::KernelDirectory { quarter },
                Mirror::LinearDirectory { quarter },
            ]
        });
        assert_eq!(fullest(all.into_iter().chain(quarters), 1 << 20), 1);
    }
}
