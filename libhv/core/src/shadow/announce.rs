//! What the guest announces about its leaf tables: SET_PTE.

use super::places::{Announced, Target, Whose};
use super::slot::{Mirror, Slot, TableId};
use super::{Current, Place, Shadow};
use crate::address::{Gfn, Gpa, Gva};
use crate::fast_paths::FastPath;
use crate::frames::{TableIndex, TablePool};
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::paging::{Format, Level, Mapping, bits};
use hv_abi::lguest::RESERVE_MEM;

/// First address of the window at the top that guests leave alone.
const RESERVED: u32 = RESERVE_MEM.wrapping_neg();

/// What SET_PTE says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeafChange {
    /// The root that it happened in.
    pub root: Gpa,
    /// The page.
    pub gva: Gva,
    /// What the leaf became, as far as the format's entries are wide; 0 says only that it changed.
    pub entry: u64,
}

/// How many tables an announcement can have to do with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reached {
    /// One or none: it costs nearly nothing.
    Few,
    /// All: where roots have no directory in common, it may make them forget everything.
    Many,
}

/// Whether an announced entry is put where the processor has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Eagerness {
    /// It is, unless that way is not to be taken: a guest that makes the call waits for the page.
    Eager,
    /// It is not. What a guest queues is for the many pages of a fork, of which few are ever touched.
    Lazy,
}

impl<T: TablePool, S: AsRef<[Slot]> + AsMut<[Slot]>, F: Format> Shadow<T, S, F> {
    /// SET_PTE: a leaf changed, in one root or, for kernel addresses, in all of them. An unknown root is none of our
    /// business.
    ///
    /// # Errors
    /// When the address is reserved, or an entry that is present and in use names neither RAM nor device
    /// memory.
    #[inline(always)]
    pub fn set_pte(&mut self, memory: &impl GuestMemory, change: LeafChange) -> Result<(), Kill> {
        self.announce(memory, change, Eagerness::Eager).map(|_| ())
    }

    /// Several SET_PTEs, one after the other. Stops early when this exit has had its share, but never before the first.
    ///
    /// # Errors
    /// As for one.
    #[inline(always)]
    pub fn set_ptes(
        &mut self,
        memory: &impl GuestMemory,
        changes: &mut impl Iterator<Item = LeafChange>,
    ) -> Result<(), Kill> {
        for change in changes {
            let reached = self.announce(memory, change, Eagerness::Lazy)?;
            if reached == Reached::Many && self.is_tired() {
                break;
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn announce(
        &mut self,
        memory: &impl GuestMemory,
        change: LeafChange,
        eagerness: Eagerness,
    ) -> Result<Reached, Kill> {
        let LeafChange { root, gva, entry } = change;
        let owner = if gva < self.kernel_address {
            if self.tables.places.is_unknown_root(root) {
                // Half of what a fork announces: the child has not run yet.
                return Ok(Reached::Few);
            }
            Some(root)
        } else if gva.raw() < RESERVED {
            None
        } else {
            return Err(Kill::PteInReservedWindow(gva));
        };
        let target = self.target(owner, gva);
        // Where nearly all announcements go.
        if let Target::Leaf { id, table } = target {
            let mapping = self.announced_mapping(memory, entry)?;
            self.set_announced(memory, (id, table), gva, mapping, eagerness);
            return Ok(Reached::Few);
        }
        match target {
            Target::UnknownRoot => Ok(Reached::Few),
            Target::Nothing => {
                self.announced_mapping(memory, entry)?;
                Ok(Reached::Few)
            }
            _ => {
                self.set_pte_elsewhere(memory, target, change)?;
                Ok(Reached::Many)
            }
        }
    }

    /// Replaces one leaf in the shadow of `table` by what the guest announced.
    #[inline(always)]
    fn set_announced(
        &mut self,
        memory: &impl GuestMemory,
        (id, table): (TableId, Gfn),
        gva: Gva,
        mapping: Option<Mapping>,
        eagerness: Eagerness,
    ) {
        let Some(mut leaf) = self.tables.open(id) else {
            return;
        };
        let index = Place::of(gva).leaf;
        let old = leaf.get(index);
        if old == 0 && (eagerness == Eagerness::Lazy || !self.paths.contain(FastPath::Eager)) {
            return;
        }
        let entry = mapping.and_then(|mapping| believed::<F>(memory, table, gva, mapping));
        let entry = entry.unwrap_or(0);
        if entry != old {
            leaf.set(index, entry, old);
            if old != 0 {
                self.invalidation.add_page(gva);
            }
        }
    }

    /// What an announced entry maps: something, if it is present, in use, and names RAM. What is wrong with it is asked
    /// first: of most that a guest queues nothing else matters.
    #[inline(always)]
    fn announced_mapping(
        &self,
        memory: &impl GuestMemory,
        entry: u64,
    ) -> Result<Option<Mapping>, Kill> {
        let entry = F::ENTRY.truncate(entry);
        if entry & self.refused_leaf_flags != 0 {
            return flagged_mapping(entry);
        }
        let frame = Level::frame(entry);
        if frame >= memory.frames() {
            return device_mapping::<F>(memory, entry);
        }
        Ok(is_in_use(entry).then(|| Mapping::of(frame, entry)))
    }

    /// SET_PTE of a leaf in linear mode, or of a kernel address where each root has a directory of its own.
    #[inline(never)]
    fn set_pte_elsewhere(
        &mut self,
        memory: &impl GuestMemory,
        target: Target,
        change: LeafChange,
    ) -> Result<(), Kill> {
        let LeafChange { gva, entry, .. } = change;
        let mapping = self.announced_mapping(memory, entry)?;
        match target {
            Target::UnknownRoot | Target::Nothing | Target::Leaf { .. } => {}
            Target::LinearLeaf(id) => self.clear_leaf(id, gva),
            Target::EachRoot => return self.set_leaf_of_all(memory, gva, mapping),
        }
        Ok(())
    }

    /// A leaf of a kernel address changed where each root has a directory of its own. The leaf table is the same in all
    /// roots (R5), and so is its shadow: the current root tells which it is.
    fn set_leaf_of_all(
        &mut self,
        memory: &impl GuestMemory,
        gva: Gva,
        mapping: Option<Mapping>,
    ) -> Result<(), Kill> {
        let Current::Root(root) = self.current else {
            let root = self.current_table;
            if let Some(id) = root.and_then(|root| self.leaf_in(root, gva)) {
                self.clear_leaf(id, gva);
            }
            return Ok(());
        };
        let Some(table) = named_leaf_table::<F>(memory, root, gva) else {
            // Other roots may have one. Guests have no reason to change it from here.
            return self.flush_all(memory);
        };
        let part = F::leaf_part(gva);
        if let Some(id) = self.tables.find(Mirror::Leaf { table, part }) {
            self.set_announced(memory, (id, table), gva, mapping, Eagerness::Eager);
        }
        Ok(())
    }

    /// Where an announcement about `gva` goes, in one root or, without an `owner`, in all.
    #[inline(always)]
    fn target(&mut self, owner: Option<Gpa>, gva: Gva) -> Target {
        let key = Announced::key(owner, gva);
        let whose = match self.tables.places.announced(key) {
            Some(whose) => whose,
            None => self.find_target(owner, gva),
        };
        self.tables.places.target(whose)
    }

    #[inline(never)]
    fn find_target(&mut self, owner: Option<Gpa>, gva: Gva) -> Whose {
        let target = self.walk_to_target(owner, gva);
        let remembers = self.paths.contain(FastPath::Places);
        if let (Target::UnknownRoot, Some(root), true) = (target, owner, remembers) {
            self.tables.places.remember_unknown_root(root);
        }
        let whose = match owner {
            Some(root) if self.current != Current::Root(root) => Whose::Another,
            _ => Whose::CurrentRoot,
        };
        let key = match remembers {
            true => Announced::key(owner, gva),
            false => Announced::NO_KEY,
        };
        self.tables
            .places
            .remember(whose, Announced { key, target });
        whose
    }

    fn walk_to_target(&self, owner: Option<Gpa>, gva: Gva) -> Target {
        let place = Place::of(gva);
        let directory = match owner {
            Some(root) => match self.cached_root(root) {
                Some(root) => self.tables.child(root, TableIndex::new(place.quarter)),
                // The current root may have no shadow yet.
                None if self.current == Current::Root(F::root(root)) => None,
                None => return Target::UnknownRoot,
            },
            // One directory serves all roots.
            None if self.is_shared(place.quarter) => self.shared_directory(place.quarter),
            None => return Target::EachRoot,
        };
        directory
            .and_then(|directory| self.tables.child(directory, place.directory))
            .map_or(Target::Nothing, |leaf| self.leaf_of(leaf))
    }

    /// The leaf table for `gva` of one root.
    fn leaf_in(&self, root: TableId, gva: Gva) -> Option<TableId> {
        let place = Place::of(gva);
        let directory = self.tables.child(root, TableIndex::new(place.quarter))?;
        self.tables.child(directory, place.directory)
    }

    fn leaf_of(&self, id: TableId) -> Target {
        match self.tables.table(id).map(|table| table.mirror) {
            Some(Mirror::Leaf { table, .. }) => Target::Leaf { id, table },
            _ => Target::LinearLeaf(id),
        }
    }

    fn clear_leaf(&mut self, id: TableId, gva: Gva) {
        if self.tables.set_entry(id, Place::of(gva).leaf, 0) != 0 {
            self.invalidation.add_page(gva);
        }
    }
}

/// Whether an announced entry is present, and has been used.
const fn is_in_use(entry: u64) -> bool {
    entry & bits::P != 0 && entry & bits::USED != 0
}

/// What an announced entry maps that has flags which end the guest.
#[cold]
#[inline(never)]
fn flagged_mapping(entry: u64) -> Result<Option<Mapping>, Kill> {
    match is_in_use(entry) {
        true => Err(Kill::BadPageTableEntry(entry)),
        false => Ok(None),
    }
}

/// What an announced entry maps that names no RAM: nothing. Device memory is never mapped (lguest-abi 7.2, step 6).
#[cold]
#[inline(never)]
fn device_mapping<F: Format>(
    memory: &impl GuestMemory,
    entry: u64,
) -> Result<Option<Mapping>, Kill> {
    if is_in_use(entry) {
        F::LEAF.check(entry, memory.device_limit())?;
    }
    Ok(None)
}

/// The leaf table that the guest's own tables name for an address.
fn named_leaf_table<F: Format>(memory: &impl GuestMemory, root: Gpa, gva: Gva) -> Option<Gfn> {
    let mut table = root;
    for level in [&F::TOP].into_iter().chain(F::MIDDLE) {
        let entry = F::ENTRY.read(memory, F::entry(table, level, gva)).ok()?;
        let frame = level.check(entry, memory.frames()).ok()?;
        if entry & bits::P == 0 {
            return None;
        }
        table = frame.start();
    }
    Some(Gfn::containing(table))
}

/// The processor's entry for an announced mapping, if guest memory agrees with it (R9): then it spares a
/// fault. If not, a later announcement is on its way, or the guest lies; the next access will read the
/// truth.
#[inline(always)]
fn believed<F: Format>(
    memory: &impl GuestMemory,
    table: Gfn,
    gva: Gva,
    mapping: Mapping,
) -> Option<u64> {
    let Mapping { frame, leaf } = mapping;
    let in_memory = F::ENTRY
        .read(memory, F::entry(table.start(), &F::LEAF, gva))
        .ok()?;
    if (in_memory ^ leaf) & !bits::INSIGNIFICANT != 0 || in_memory & bits::A == 0 {
        return None;
    }
    // Clean in memory is clean: the next write has to be seen.
    Some(Mapping::of(frame, in_memory & leaf).shadow(memory.host_frame(frame)?))
}
