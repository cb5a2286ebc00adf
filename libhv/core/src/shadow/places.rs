//! Places of tables that are remembered, because the next question is mostly about the same: where announcements went, and
//! where the kernel's stacks are. All of it is forgotten when tables come or go.

use super::slot::TableId;
use crate::address::{Gfn, Gpa, Gva};

/// Lowest bit of an address that chooses the leaf table.
const LEAF_TABLE_SHIFT: u32 = 21;

/// Where announcements about one leaf table go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// To the shadow of a table of the guest's. First, as most go there.
    Leaf {
        /// The shadow.
        id: TableId,
        /// The guest's table.
        table: Gfn,
    },
    /// Nowhere: the table has no shadow.
    Nothing,
    /// Nowhere: the root is not remembered.
    UnknownRoot,
    /// To a table of linear mode, which mirrors nothing that could change.
    LinearLeaf(TableId),
    /// To all roots, which do not have a directory in common there.
    EachRoot,
}

/// Which root an announcement was about. A fork announces each page for both, a thousand of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    /// The current one, or all of them.
    CurrentRoot,
    /// Another one.
    Another,
}

/// Where an announcement went. Guests announce neighbours one after the other, so most go where the last one went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    /// Which table it was about; see [`Announced::key`].
    pub(super) key: u64,
    pub(super) target: Target,
}

impl Announced {
    /// A key that no announcement has.
    pub(super) const NO_KEY: u64 = u64::MAX;
    /// One that is like no announcement.
    pub(super) const NONE: Self = Self {
        key: Self::NO_KEY,
        target: Target::Nothing,
    };

    /// A number for the 2 MiB that `gva` is in, in one root or in all.
    #[inline(always)]
    pub(super) fn key(owner: Option<Gpa>, gva: Gva) -> u64 {
        const ALL_ROOTS: u64 = 1 << 63;
        let part = u64::from(gva.raw() >> LEAF_TABLE_SHIFT);
        // Addresses have far fewer bits.
        let owner = owner.map_or(ALL_ROOTS, |root| {
            root.raw()
                .wrapping_shl(u32::BITS.wrapping_sub(LEAF_TABLE_SHIFT))
        });
        owner | part
    }
}

/// No root is there: announcements have 32 bits for it. Told by one comparison, which most announcements make.
const NO_ROOT: Gpa = Gpa::new(u64::MAX);

/// Leaf tables of stacks that are remembered.
const STACKS: usize = 8;

/// A leaf table that all roots share, below entries that grant writing.
#[derive(Clone, Copy, Debug)]
struct StackTable {
    /// The 2 MiB that it is for.
    part: u32,
    id: Option<TableId>,
    /// [`Places::moves`] when it was found there.
    found: u64,
}

impl StackTable {
    const NONE: Self = Self {
        part: 0,
        id: None,
        found: 0,
    };
}

/// What is remembered of places.
#[derive(Debug)]
pub(super) struct Places {
    /// Where the last announcements went, about the current root or all
    /// of them, and about another.
    announced: Announced,
    announced_elsewhere: Announced,
    /// Leaf tables that kernel stacks were found in, each at a place that follows from its part of the address space.
    stacks: [StackTable; STACKS],
    /// A root without a shadow that announcements were about, likewise; or [`NO_ROOT`].
    unknown_root: Gpa,
    /// Changes so far after which a table may be at another place.
    moves: u64,
}

impl Default for Places {
    /// Nothing.
    fn default() -> Self {
        Self {
            announced: Announced::NONE,
            announced_elsewhere: Announced::NONE,
            stacks: [StackTable::NONE; _],
            unknown_root: NO_ROOT,
            moves: 0,
        }
    }
}

impl Places {
    /// Under which of the two the last announcement with this key is remembered, if nothing has changed since.
    #[inline(always)]
    pub(super) fn announced(&self, key: u64) -> Option<Whose> {
        if self.announced.key == key {
            Some(Whose::CurrentRoot)
        } else if self.announced_elsewhere.key == key {
            Some(Whose::Another)
        } else {
            None
        }
    }

    /// Where the last announcement about one of the two went.
    #[inline(always)]
    pub(super) fn target(&self, whose: Whose) -> Target {
        match whose {
            Whose::CurrentRoot => self.announced.target,
            Whose::Another => self.announced_elsewhere.target,
        }
    }

    pub(super) fn remember(&mut self, whose: Whose, announced: Announced) {
        match whose {
            Whose::CurrentRoot => self.announced = announced,
            Whose::Another => self.announced_elsewhere = announced,
        }
    }

    /// Whether announcements about a root have nowhere to go, as far as one is known.
    #[inline(always)]
    pub(super) fn is_unknown_root(&self, root: Gpa) -> bool {
        self.unknown_root == root
    }

    pub(super) fn remember_unknown_root(&mut self, root: Gpa) {
        self.unknown_root = root;
    }

    /// The leaf table that stacks in `part` were found in, if it must still be there.
    pub(super) fn stack_table(&self, part: u32) -> Option<TableId> {
        let stack = self.stacks.get(part as usize % STACKS)?;
        let holds = stack.part == part && stack.found == self.moves;
        stack.id.filter(|_| holds)
    }

    pub(super) fn remember_stack_table(&mut self, part: u32, id: TableId) {
        let found = self.moves;
        if let Some(stack) = self.stacks.get_mut(part as usize % STACKS) {
            *stack = StackTable {
                part,
                id: Some(id),
                found,
            };
        }
    }

    /// To be called when tables come, go, or are named by others than before.
    pub(super) fn forget(&mut self) {
        self.forget_announced();
        self.moves = self.moves.wrapping_add(1);
    }

    /// To be called when another root is loaded.
    pub(super) fn forget_announced(&mut self) {
        self.announced.key = Announced::NO_KEY;
        self.announced_elsewhere.key = Announced::NO_KEY;
        self.unknown_root = NO_ROOT;
    }
}
