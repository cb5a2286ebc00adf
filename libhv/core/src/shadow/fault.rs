//! Faults: what the guest's tables allow and the shadow does not have yet.

use super::slot::{Mirror, Slot, TableId};
use super::{Current, Place, Shadow, SharedQuarter};
use crate::address::{Gfn, Gpa, Gva, PAGE_SHIFT, PAGE_SIZE};
use crate::fast_paths::FastPath;
use crate::frames::{TableIndex, TablePool};
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::paging::{
    Access, AccessKind, BadEntry, Counterpart, Format, Mapping, Presence, Privilege, Refused,
    Translation, bits, error, propagate,
};

/// What a page fault came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The shadow was behind the guest's tables; it no longer is. Resume.
    Repaired,
    /// The guest's own tables allow the access, and it goes to device memory at this address.
    Device(Gpa),
    /// The guest's own tables refuse the access.
    Reflect {
        /// The error code that the guest's tables, not the shadow, call for.
        error: u32,
    },
}

/// A translation of the guest's, as the current root has it.
struct Found {
    mapping: Mapping,
    /// RW and US, as far as all levels above the leaf grant them.
    rights: u64,
    /// The guest's page directory; none in linear mode, or if its format has none.
    directory: Option<Gfn>,
    /// The leaf table; none in linear mode.
    table: Option<Gfn>,
}

impl<T: TablePool, S: AsRef<[Slot]> + AsMut<[Slot]>, F: Format> Shadow<T, S, F> {
    /// The processor refused an access to `gva`, with this error code: of which only the kind of
    /// access counts, for whether a translation exists is for the guest's tables to say.
    ///
    /// # Errors
    /// When the guest's entries are none that this ABI has, or the budget cannot hold even this one
    /// translation.
    pub fn page_fault(
        &mut self,
        memory: &impl GuestMemory,
        gva: Gva,
        error: u32,
    ) -> Result<Fault, Kill> {
        let access = Access::from_error(error);
        let found = match self.look_up(memory, gva, access) {
            Ok(found) => found,
            Err(Refused::Fault(error)) => {
                self.statistics.reflected = self.statistics.reflected.wrapping_add(1);
                return Ok(Fault::Reflect { error });
            }
            Err(Refused::Device(frame)) => {
                return Ok(Fault::Device(Mapping::of(frame, 0).address(gva)));
            }
            Err(Refused::Bad(bad)) => return Err(bad.into()),
            Err(Refused::Unreadable(bad)) => return Err(bad.into()),
        };
        self.statistics.repaired = self.statistics.repaired.wrapping_add(1);
        if self.install(memory, gva, &found).is_some() {
            return Ok(Fault::Repaired);
        }
        if self.is_tired() && self.evictable_root().is_some() {
            // It dropped what it may; the guest faults again, and more goes.
            return Ok(Fault::Repaired);
        }
        // Only the current root is left, and it fills the budget: begin anew.
        self.drop_all();
        self.install(memory, gva, &found)
            .map(|()| Fault::Repaired)
            .ok_or(Kill::OutOfShadowMemory)
    }

    /// Where the host may do what `access` says at `gva`, on the guest's behalf: with the guest's own
    /// rights, setting accessed and dirty bits as the processor does. The inner error is the error code
    /// of the page fault that the guest would have had.
    ///
    /// # Errors
    /// When the guest's entries are none that this ABI has.
    #[inline(always)]
    pub fn guest_access(
        &mut self,
        memory: &impl GuestMemory,
        gva: Gva,
        access: Access,
    ) -> Result<Result<Gpa, u32>, Kill> {
        match self.look_up(memory, gva, access) {
            Ok(found) => Ok(Ok(found.mapping.address(gva))),
            Err(Refused::Fault(error)) => Ok(Err(error)),
            // There is nothing in device memory that the host could use for the guest.
            Err(Refused::Device(_)) => Ok(Err(access.error(Presence::Absent))),
            Err(Refused::Bad(bad)) => Err(bad.into()),
            Err(Refused::Unreadable(bad)) => Err(bad.into()),
        }
    }

    /// Where `gva` lies by the current root, whatever its rights; leaves no trace.
    pub fn translate(&self, memory: &impl GuestMemory, gva: Gva) -> Option<Gpa> {
        match self.current {
            Current::Linear => {
                let gpa = Gpa::from(gva.raw());
                memory.contains(gpa, 1).then_some(gpa)
            }
            Current::Root(root) => {
                let found = crate::paging::walker::walk::<F>(memory, root, gva)?;
                Some(Mapping::of(found.frame, 0).address(gva))
            }
        }
    }

    /// Sees to it, a page at a time, that the pages of the kernel's stack are mapped and writable.
    #[inline(never)]
    pub(super) fn pin_stack(&mut self, memory: &impl GuestMemory) -> Result<(), Kill> {
        let write = Access {
            kind: AccessKind::Write,
            privilege: Privilege::Supervisor,
        };
        for page in 0..self.stack.pages {
            let below_last = page.wrapping_mul(PAGE_SIZE);
            let gva = Gva::new(self.stack.last().raw().wrapping_sub(below_last));
            let place = Place::of(gva);
            let table = self.stack_table(place);
            let entry = table.map_or(0, |table| self.tables.entry(table, place.leaf));
            if entry & bits::WRITABLE == bits::WRITABLE {
                continue;
            }
            match self.page_fault(memory, gva, write.error(Presence::Absent))? {
                Fault::Repaired => {}
                Fault::Device(_) | Fault::Reflect { .. } => return Err(Kill::BadStackPage(gva)),
            }
        }
        Ok(())
    }

    /// Whether all pages of the kernel's stack are mapped writable, by one leaf table. Guests say where the stack is at
    /// every switch of their tasks, and there this is nearly always so.
    #[inline(always)]
    pub(super) fn is_stack_pinned(&mut self) -> bool {
        let last = Place::of(self.stack.last());
        let index = u32::from(last.leaf.raw());
        let Some(first) = index.wrapping_add(1).checked_sub(self.stack.pages) else {
            return false;
        };
        let Some(table) = self.stack_table(last) else {
            return false;
        };
        (first..=index).all(|index| {
            let entry = self.tables.entry(table, TableIndex::new(index));
            entry & bits::WRITABLE == bits::WRITABLE
        })
    }

    /// The leaf table of a place, if the levels above grant writing. Stacks lie near each other, in one table for all
    /// roots, which is remembered.
    fn stack_table(&mut self, place: Place) -> Option<TableId> {
        // A root without a shadow gets one.
        self.current_table?;
        let part = place.part();
        if let Some(known) = self.tables.places.stack_table(part) {
            return Some(known);
        }
        let id = self.writable_table(place)?;
        if self.is_shared(place.quarter) && self.paths.contain(FastPath::Places) {
            self.tables.places.remember_stack_table(part, id);
        }
        Some(id)
    }

    fn writable_table(&self, place: Place) -> Option<TableId> {
        let root = self.current_table?;
        let directory = self.tables.child(root, TableIndex::new(place.quarter))?;
        let grants = self.tables.entry(directory, place.directory);
        match grants & bits::RW {
            0 => None,
            _ => self.tables.child(directory, place.directory),
        }
    }

    /// Finds the translation for an access, and sets accessed and dirty bits in the guest's leaf.
    #[inline(always)]
    fn look_up(
        &self,
        memory: &impl GuestMemory,
        gva: Gva,
        access: Access,
    ) -> Result<Found, Refused> {
        let found = match self.current {
            Current::Linear => linear(memory, gva, access)?,
            Current::Root(root) => look_up_in::<F>(memory, root, gva, access)?,
        };
        if found.mapping.leaf & self.refused_leaf_flags != 0 {
            return Err(Refused::Bad(BadEntry::leaf(found.mapping.leaf)));
        }
        Ok(found)
    }

    /// Puts a translation where the processor finds it. `None` when the budget is used up.
    #[inline]
    fn install(&mut self, memory: &impl GuestMemory, gva: Gva, found: &Found) -> Option<()> {
        let place = Place::of(gva);
        let host = memory.host_frame(found.mapping.frame)?;
        let directory = self.directory(place.quarter, found)?;
        let leaf = self.leaf(directory, place, gva, found)?;
        let old = self
            .tables
            .set_entry(leaf, place.leaf, found.mapping.shadow(host));
        if old != 0 {
            self.invalidation.add_page(gva);
        }
        Some(())
    }

    /// The page directory of a quarter of the current root.
    fn directory(&mut self, quarter: u32, found: &Found) -> Option<TableId> {
        let root = self.current_root()?;
        let index = TableIndex::new(quarter);
        let named = self.tables.child(root, index);
        if named.is_some() && matches!(F::COUNTERPART, Counterpart::DirectoryEntries(_)) {
            // It stands for the gigabyte itself: the guest has nothing that it could put in its place.
            return named;
        }
        if self.is_shared(quarter) {
            return self.directory_of_all(root, quarter, found);
        }
        let mirror = match (self.current, found.directory) {
            (Current::Linear, _) => Mirror::LinearDirectory { quarter },
            (Current::Root(_), Some(table)) => Mirror::GuestDirectory(table),
            (Current::Root(root), None) => Mirror::Directory { root, quarter },
        };
        if let Some(id) = named {
            if self.tables.table(id)?.mirror == mirror {
                return Some(id);
            }
            // The guest changed its top-level entry in silence.
            self.unlink_quarter(root, quarter);
            if self.is_tired() {
                // The other may have as much to forget.
                return None;
            }
        }
        let id = self.find_or_create(mirror)?;
        // A user directory has one root (R8), so this shadow is of another use: what it holds may
        // have been flushed, or its frame may have become another table, where it was not linked.
        self.empty_directory(id);
        self.tables.link(root, index, id, bits::RIGHTS);
        Some(id)
    }

    /// The page directory of a quarter that all roots share.
    fn directory_of_all(&mut self, root: TableId, quarter: u32, found: &Found) -> Option<TableId> {
        let id = self.find_or_create(Mirror::KernelDirectory { quarter })?;
        let now = found
            .directory
            .map_or(SharedQuarter::OwnEntries, SharedQuarter::EntriesOf);
        let shared = self.shared.get_mut(quarter as usize)?;
        if core::mem::replace(shared, now) != now {
            // The guest has put another one there, in silence. All roots are the same, so the old one is gone
            // from all of them.
            self.empty_directory(id);
        }
        let index = TableIndex::new(quarter);
        if self.tables.child(root, index) != Some(id) {
            self.tables.link(root, index, id, bits::RIGHTS);
        }
        Some(id)
    }

    /// The leaf table for an address, linked with the rights that the guest's upper levels grant now.
    fn leaf(
        &mut self,
        directory: TableId,
        place: Place,
        gva: Gva,
        found: &Found,
    ) -> Option<TableId> {
        let mirror = match found.table {
            None => Mirror::LinearLeaf {
                part: gva.raw() >> 21,
            },
            Some(table) => Mirror::Leaf {
                table,
                part: F::leaf_part(gva),
            },
        };
        if let Some(id) = self.tables.child(directory, place.directory) {
            let entry = self.tables.entry(directory, place.directory);
            if entry & bits::RIGHTS == found.rights && self.tables.table(id)?.mirror == mirror {
                return Some(id);
            }
            // The guest changed its entry in silence, or other roots have another one.
            self.tables.unlink(directory, place.directory);
            self.invalidation.add_all();
        }
        let id = self.find_or_create(mirror)?;
        if gva < self.kernel_address && self.tables.table(id)?.live != 0 {
            // A user table has one slot (R5), so this shadow is of another use: what it holds may
            // have been flushed, or its frame may have become another table, where it was not linked.
            self.tables.empty_leaf(id);
            self.invalidation.add_all();
        }
        self.tables
            .link(directory, place.directory, id, found.rights);
        Some(id)
    }

    fn find_or_create(&mut self, mirror: Mirror) -> Option<TableId> {
        match self.tables.find(mirror) {
            Some(id) => Some(id),
            None => self.create(mirror),
        }
    }
}

/// Before the first NEW_PGTABLE: gva = gpa for the kernel, nothing for ring 3 (lguest-abi 7.5).
fn linear(memory: &impl GuestMemory, gva: Gva, access: Access) -> Result<Found, Refused> {
    let frame = Gfn::new(u64::from(gva.raw() >> PAGE_SHIFT));
    let leaf = u64::from(gva.page_start().raw()) | bits::KERNEL_PAGE;
    if access.privilege == Privilege::User {
        // Without page tables there is no NX that a fetch could be told of.
        let error = access.error(Presence::Present) & !error::FETCH;
        return Err(Refused::Fault(error));
    }
    if frame >= memory.frames() && frame < memory.device_limit() {
        return Err(Refused::Device(frame));
    }
    if frame >= memory.frames() {
        return Err(Refused::Bad(BadEntry::leaf(leaf)));
    }
    Ok(Found {
        mapping: Mapping::of(frame, leaf),
        rights: bits::RIGHTS,
        directory: None,
        table: None,
    })
}

#[inline(always)]
fn look_up_in<F: Format>(
    memory: &impl GuestMemory,
    root: Gpa,
    gva: Gva,
    access: Access,
) -> Result<Found, Refused> {
    let read = |at| F::ENTRY.read(memory, at);
    let (ram, device_limit) = (memory.frames(), memory.device_limit());
    let translation = propagate::<F>(root, gva, read, access, ram, device_limit)?;
    let Translation { mapping, path } = translation;
    if mapping.leaf != path.entry {
        // Should the entry change in between, it keeps what it changed to; the translation that we
        // read is then one that the guest had, and what it announces next corrects it.
        F::ENTRY.compare_exchange(memory, path.at, path.entry, mapping.leaf)?;
    }
    Ok(Found {
        mapping,
        rights: path.rights,
        directory: path.directory,
        table: Some(path.table),
    })
}
