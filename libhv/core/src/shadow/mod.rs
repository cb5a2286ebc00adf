//! The shadow: the page tables that the processor really uses, derived from the guest's.
//!
//! A shadow table mirrors one guest table in one role and is found by that, not by the address it is
//! used at: a kernel table that all roots share has one shadow that all their shadows share, a new
//! root costs a page, and an announced change is applied once. Everything is derived on demand: a page
//! fault that the guest's tables would not cause is repaired here, silently.
//!
//! # The contract
//!
//! The guest changes its tables in memory, and announces some changes by hypercall. What it announces,
//! and what it changes in silence, decides what may be remembered:
//!
//! * **R1** Nothing absent is remembered, at any level: entries become present in silence. SET_PTE with
//!   an entry that is not present means "forget, and look again".
//! * **R2** For user addresses, every change from present to anything else is announced, for the
//!   current root or any other, but for the end of an address space. Generations before 2.6.31 announce it
//!   for the current root only; for them the personality drops the user part of each root that is loaded.
//! * **R3** An address space that ends loses its leaves in silence, then each leaf table is announced
//!   (SET_PGD) before its frame is reused, whether or not its root is current.
//! * **R4** So a leaf's shadow dies with the last cached top-level slot that names it, and never
//!   outlives its root.
//! * **R5** Leaf tables of user addresses belong to one root. Those of kernel addresses are shared by all,
//!   never freed, and changed through SET_PTE on any root, or FLUSH_TLB(1). While a guest boots, its
//!   first roots are built in silence and one table may hang in two slots, so everything is dropped
//!   when the first two roots are loaded.
//! * **R6** A root that is not current may be ordinary memory by now: only the current root's tables are
//!   read, and only they get accessed and dirty bits. If it is loaded again, its user part was emptied
//!   and refilled by announcements, so what is remembered of it still holds.
//! * **R7** The current root is not freed while it is current.
//! * **R8** A root of three levels is 32 bytes, and several may share a frame. Page directories of user
//!   addresses belong to one root, those of kernel addresses to all. A change in a page directory is
//!   announced (SET_PMD) and ends every path through its frame. A page directory may be freed in
//!   silence, but only an empty one, and the next root at the same address announces its top-level
//!   entries before it uses them.
//! * **R9** Announcements come late, from a queue: an announced value is never written to guest memory,
//!   and counts only as far as memory agrees with it.
//!
//! A guest that breaks the contract runs on translations it once had. It never gets a frame that is
//! not its RAM: every entry that is ever installed went through [`propagate`](crate::paging::propagate).

mod announce;
mod announce_upper;
mod any_format;
mod audit;
mod budget;
mod fault;
mod invalidation;
mod places;
mod roots;
mod slot;
mod tables;

pub use announce::LeafChange;
pub use announce_upper::NoMiddleTables;
pub use any_format::AnyFormatShadow;
pub(crate) use any_format::with_shadow;
pub use audit::{AuditFailure, AuditReport};
pub use budget::default_budget;
pub use fault::Fault;
pub use invalidation::Invalidation;
pub use slot::Slot;

use crate::address::{Gfn, Gpa, Gva, Hpa, PAGE_SIZE};
use crate::fast_paths::{FastPath, FastPaths};
use crate::frames::{TableIndex, TablePool};
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::paging::{Counterpart, Format, TwoLevel};
use core::marker::PhantomData;
use roots::Roots;
use slot::{Mirror, TableId};
use tables::Tables;

/// Entries that one exit may look at in order to free tables; then the rest has to wait for the next. With this
/// an exit stays below the bound that `docs/attacks.md` gives, even if it begins to free a whole page
/// directory right before the end.
pub const EFFORT_OF_AN_EXIT: u32 = 1024;

/// The limit of one exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ExitLimit {
    /// [`Tables::effort`] when it began.
    began: u32,
    /// How much more that may become before nothing long is begun any more.
    most: u32,
}

/// How far the shadow came with what the guest asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// It is done.
    Done,
    /// There is more to free than one exit should take. Ask again with the next: what was freed stays so.
    Unfinished,
}

/// Fewest tables a pool can have: a root, a directory and a leaf, and as many for the stack's page.
pub const LEAST_TABLES: usize = 8;

/// Page directories of a 4 GiB address space.
const QUARTERS: u32 = 4;
const QUARTER_SHIFT: u32 = 30;

/// Counts of what the shadow did. They wrap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Page faults repaired without the guest.
    pub repaired: u64,
    /// Page faults that were the guest's own.
    pub reflected: u64,
    /// Roots dropped to make room.
    pub evicted: u64,
    /// Times that everything was dropped.
    pub flushed: u64,
    /// Tables in use now.
    pub tables: usize,
    /// Tables that the budget allows.
    pub capacity: usize,
    /// Roots remembered now.
    pub roots: usize,
}

/// What the current root is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Current {
    /// The guest has loaded none: gva = gpa, for its kernel only.
    Linear,
    /// A root of the guest's, aligned as its format wants.
    Root(Gpa),
}

/// The one directory of a quarter where all roots are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SharedQuarter {
    /// There is none yet.
    Unused,
    /// Its entries are not those of one table of the guest's.
    OwnEntries,
    /// It has the entries of this page directory of the guest's.
    EntriesOf(Gfn),
}

/// The kernel's stack for traps from ring 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct PinnedStack {
    top: Gva,
    pages: u32,
}

impl PinnedStack {
    /// Its last byte.
    fn last(self) -> Gva {
        Gva::new(self.top.raw().wrapping_sub(1))
    }
}

/// The shadow of one guest's page tables in format `F`, in frames from `T`, with the bookkeeping in
/// `S`: as many [`Slot`]s as the pool has frames.
#[derive(Debug)]
pub struct Shadow<T, S, F = TwoLevel> {
    tables: Tables<T, S>,
    roots: Roots,
    current: Current,
    /// The current root's shadow; `None` right after everything was dropped.
    current_table: Option<TableId>,
    /// First address at which all roots are the same.
    kernel_address: Gva,
    /// What [`Mirror::KernelDirectory`] has, for each quarter.
    shared: [SharedQuarter; QUARTERS as usize],
    /// Whether the current root has lost the last of its own tables, as an address space that ends.
    ended: bool,
    /// Roots loaded so far, counted up to the two of R5.
    boot_roots: u32,
    stack: PinnedStack,
    /// Flags of a leaf that end this guest.
    refused_leaf_flags: u64,
    paths: FastPaths,
    invalidation: Invalidation,
    statistics: Statistics,
    exit: ExitLimit,
    format: PhantomData<F>,
}

impl<T: TablePool, S: AsRef<[Slot]> + AsMut<[Slot]>, F: Format> Shadow<T, S, F> {
    /// An empty shadow, in linear mode. At most `roots` address spaces are remembered, one at least.
    pub fn new(pool: T, slots: S, roots: usize) -> Self {
        Self {
            tables: Tables::new(pool, slots),
            roots: Roots::new(roots),
            current: Current::Linear,
            current_table: None,
            kernel_address: Gva::new(u32::MAX),
            shared: [SharedQuarter::Unused; QUARTERS as usize],
            ended: false,
            boot_roots: 0,
            stack: PinnedStack::default(),
            refused_leaf_flags: refused::<F>(0),
            paths: FastPaths::ON,
            invalidation: Invalidation::None,
            statistics: Statistics::default(),
            exit: ExitLimit {
                began: 0,
                most: u32::MAX,
            },
            format: PhantomData,
        }
    }

    /// From now on nothing long is begun in an exit that has looked at `most` entries; for a guest,
    /// [`EFFORT_OF_AN_EXIT`]. Before it is said there is no limit. An exit ends with [`Shadow::take_invalidation`].
    pub fn limit_exits(&mut self, most: u32) {
        self.exit.most = most;
    }

    /// Of the shorter ways, the shadow takes these from now on; before it is said, all.
    pub fn choose_fast_paths(&mut self, paths: FastPaths) {
        self.paths = paths;
        self.tables.places.forget();
    }

    /// Whether this exit has reached the limit.
    pub fn is_tired(&self) -> bool {
        self.tables.effort().wrapping_sub(self.exit.began) > self.exit.most
    }

    /// The page-directory-pointer table for the current root; `None` while nothing is mapped.
    pub fn root(&self) -> Option<Hpa> {
        self.tables.address(self.current_table?)
    }

    /// The shadow of the current root is another one, or gone.
    fn run_on(&mut self, table: Option<TableId>) {
        self.current_table = table;
        self.invalidation.add_all();
    }

    /// The guest is about to run again: what the processor has to forget before.
    pub fn take_invalidation(&mut self) -> Invalidation {
        self.exit.began = self.tables.effort();
        match self.invalidation {
            // The common case moves nothing.
            Invalidation::None => Invalidation::None,
            _ if self.paths.contain(FastPath::Pages) => core::mem::take(&mut self.invalidation),
            _ => {
                self.invalidation = Invalidation::None;
                Invalidation::All
            }
        }
    }

    /// What happened so far.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            tables: self.tables.in_use(),
            capacity: self.tables.capacity(),
            roots: self.roots.count(),
            ..self.statistics
        }
    }

    /// Gives every frame back.
    pub fn release(self) -> T {
        self.tables.into_pool()
    }

    /// The same shadow, empty, for tables of another format.
    fn into_format<G: Format>(mut self) -> Shadow<T, S, G> {
        self.drop_all();
        Shadow {
            tables: self.tables,
            roots: self.roots,
            current: self.current,
            current_table: self.current_table,
            kernel_address: self.kernel_address,
            shared: self.shared,
            ended: self.ended,
            boot_roots: self.boot_roots,
            stack: self.stack,
            refused_leaf_flags: refused::<G>(self.refused_leaf_flags),
            paths: self.paths,
            invalidation: self.invalidation,
            statistics: self.statistics,
            exit: self.exit,
            format: PhantomData,
        }
    }

    /// At and above `start` all of the guest's page tables are the same. Drops everything: what is
    /// shared between roots was decided by the old address.
    pub fn set_kernel_address(&mut self, start: Gva) {
        self.kernel_address = start;
        self.drop_all();
    }

    /// From now on, an entry in use that has one of `flags` ends the guest: some generations of the ABI
    /// have fewer flags than the format.
    pub fn refuse_leaf_flags(&mut self, flags: u64) {
        self.refused_leaf_flags = refused::<F>(flags);
    }

    /// FLUSH_TLB(1): drops everything, and pins the stack again.
    ///
    /// # Errors
    /// When the stack is no longer mapped.
    pub fn flush_all(&mut self, memory: &impl GuestMemory) -> Result<(), Kill> {
        self.drop_all();
        self.pin_stack(memory)
    }

    /// FLUSH_TLB(0): drops the current root's translations below the kernel's address.
    pub fn flush_user(&mut self) -> Progress {
        let Some(root) = self.current_table else {
            return Progress::Done;
        };
        self.invalidation.add_all();
        let kernel = Place::of(self.kernel_address);
        for quarter in 0..kernel.quarter {
            if self.is_tired() {
                return Progress::Unfinished;
            }
            self.tables.unlink(root, TableIndex::new(quarter));
        }
        let quarter = TableIndex::new(kernel.quarter);
        match F::COUNTERPART {
            // The kernel has this quarter to itself.
            _ if self.is_shared(kernel.quarter) => {}
            // As above: the guest may have put another directory there, and this one elsewhere.
            Counterpart::Directory => {
                self.tables.unlink(root, quarter);
            }
            Counterpart::DirectoryEntries(_) => {
                if let Some(directory) = self.tables.child(root, quarter) {
                    self.tables.unlink_up_to(directory, kernel.directory);
                }
            }
        }
        Progress::Done
    }

    fn drop_all(&mut self) {
        self.tables.free_all();
        self.roots.clear();
        self.run_on(None);
        self.shared = [SharedQuarter::Unused; QUARTERS as usize];
        self.statistics.flushed = self.statistics.flushed.wrapping_add(1);
    }

    /// SET_STACK: the kernel's stack ends below `top`; `pages` of it have to be mapped writable.
    ///
    /// # Errors
    /// When they are not.
    pub fn set_stack(
        &mut self,
        memory: &impl GuestMemory,
        top: Gva,
        pages: u32,
    ) -> Result<(), Kill> {
        self.stack = PinnedStack { top, pages };
        match self.is_stack_pinned() {
            true => Ok(()),
            false => self.pin_stack(memory),
        }
    }

    /// Whether a quarter lies wholly where all roots are the same.
    fn is_shared(&self, quarter: u32) -> bool {
        Gva::new(quarter.wrapping_shl(QUARTER_SHIFT)) >= self.kernel_address
    }

    /// The directory of a quarter that all roots share, if there is one: a root names it or none. So a change
    /// there is made once, however many roots there are.
    fn shared_directory(&self, quarter: u32) -> Option<TableId> {
        match self.shared.get(quarter as usize)? {
            SharedQuarter::Unused => None,
            _ => self.tables.find(Mirror::KernelDirectory { quarter }),
        }
    }

    /// Forgets what is below a directory, which stays where it is.
    fn empty_directory(&mut self, directory: TableId) -> bool {
        let changed = self.tables.unlink_all(directory);
        if changed {
            self.invalidation.add_all();
        }
        changed
    }

    /// Clears a root's entry for a quarter.
    fn unlink_quarter(&mut self, root: TableId, quarter: u32) {
        if self.tables.unlink(root, TableIndex::new(quarter)) {
            self.invalidation.add_all();
        }
    }
}

impl<T, S, F> Default for Shadow<T, S, F>
where
    T: TablePool + Default,
    S: AsRef<[Slot]> + AsMut<[Slot]> + Default,
    F: Format,
{
    /// A shadow without a budget, which can map nothing.
    fn default() -> Self {
        Self::new(T::default(), S::default(), 1)
    }
}

/// Leaf flags that end a guest with this format whose generation does not have `flags`.
fn refused<F: Format>(flags: u64) -> u64 {
    flags | F::LEAF.refused
}

/// Where an address is found in the processor's tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    quarter: u32,
    directory: TableIndex,
    leaf: TableIndex,
}

impl Place {
    fn of(gva: Gva) -> Self {
        Self {
            quarter: gva.raw() >> QUARTER_SHIFT,
            directory: TableIndex::new(gva.raw() >> 21),
            leaf: TableIndex::new(gva.raw() >> 12),
        }
    }

    /// Which 2 MiB of the address space it is in.
    fn part(self) -> u32 {
        let tables = self.quarter.wrapping_mul(TableIndex::COUNT.into());
        tables.wrapping_add(self.directory.raw().into())
    }

    /// The first address of the page there.
    fn gva(self) -> Gva {
        let pages = self.part().wrapping_mul(TableIndex::COUNT.into());
        let page = pages.wrapping_add(self.leaf.raw().into());
        Gva::new(page.wrapping_mul(PAGE_SIZE))
    }
}

#[cfg(test)]
mod audit_tests;
