//! Faults: what the guest's tables allow and the shadow does not have yet.

use super::slot::{Mirror, Slot, TableId};
use super::{Current, OPEN, Place, Shadow};
use crate::address::{Gfn, Gpa, Gva, PAGE_SHIFT, PAGE_SIZE};
use crate::frames::{TableIndex, TablePool};
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::paging::{
    Access, AccessKind, Format, Mapping, Outcome, Presence, Privilege, bits, propagate,
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
    /// The top-level entry that it was found under; none in linear mode.
    top: u64,
    /// The leaf table; none in linear mode.
    table: Option<Gfn>,
}

/// Why there is none.
enum Refused {
    Device(Gfn),
    Fault(u32),
    Kill(Kill),
}

impl From<Kill> for Refused {
    fn from(kill: Kill) -> Self {
        Refused::Kill(kill)
    }
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
            Err(Refused::Kill(kill)) => return Err(kill),
            Err(Refused::Device(frame)) => {
                return Ok(Fault::Device(Mapping::of(frame, 0).address(gva)));
            }
            Err(Refused::Fault(error)) => {
                self.statistics.reflected = self.statistics.reflected.wrapping_add(1);
                return Ok(Fault::Reflect { error });
            }
        };
        self.statistics.repaired = self.statistics.repaired.wrapping_add(1);
        if self.install(memory, gva, &found).is_some() {
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
            Err(Refused::Kill(kill)) => Err(kill),
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

    /// Sees to it that the pages of the kernel's stack are mapped and writable.
    pub(super) fn pin_stack(&mut self, memory: &impl GuestMemory) -> Result<(), Kill> {
        let write = Access {
            kind: AccessKind::Write,
            privilege: Privilege::Supervisor,
        };
        let last = Gva::new(self.stack.top.raw().wrapping_sub(1));
        for page in 0..self.stack.pages {
            let gva = Gva::new(last.raw().wrapping_sub(page.wrapping_mul(PAGE_SIZE)));
            match self.page_fault(memory, gva, write.error(Presence::Absent))? {
                Fault::Repaired => {}
                Fault::Device(_) | Fault::Reflect { .. } => return Err(Kill::BadStackPage(gva)),
            }
        }
        Ok(())
    }

    /// Finds the translation for an access, and sets accessed and dirty bits in the guest's leaf.
    fn look_up(
        &mut self,
        memory: &impl GuestMemory,
        gva: Gva,
        access: Access,
    ) -> Result<Found, Refused> {
        match self.current {
            Current::Linear => linear(memory, gva, access),
            Current::Root(root) => look_up_in::<F>(memory, root, gva, access),
        }
    }

    /// Puts a translation where the processor finds it. `None` when the budget is used up.
    fn install(&mut self, memory: &impl GuestMemory, gva: Gva, found: &Found) -> Option<()> {
        let place = Place::of(gva);
        let host = memory.host_frame(found.mapping.frame)?;
        let directory = self.directory(place.quarter)?;
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
    fn directory(&mut self, quarter: u32) -> Option<TableId> {
        let root = self.current_root()?;
        let index = TableIndex::new(quarter);
        if let Some(id) = self.tables.child(root, index) {
            return Some(id);
        }
        let mirror = match self.current {
            Current::Linear => Mirror::LinearDirectory { quarter },
            Current::Root(_) if self.is_shared(quarter) => Mirror::KernelDirectory { quarter },
            Current::Root(root) => Mirror::Directory { root, quarter },
        };
        let id = self.find_or_create(mirror)?;
        self.tables.link(root, index, id, OPEN);
        Some(id)
    }

    /// The leaf table for an address, linked with the rights that the guest's top-level entry has now.
    fn leaf(
        &mut self,
        directory: TableId,
        place: Place,
        gva: Gva,
        found: &Found,
    ) -> Option<TableId> {
        let part = gva.raw() >> 21;
        let mirror = match found.table {
            None => Mirror::LinearLeaf { part },
            Some(table) => Mirror::Leaf {
                table,
                part: part.checked_rem(F::DIRECTORY_ENTRIES_PER_TOP).unwrap_or(0),
            },
        };
        let rights = found.top & OPEN;
        if let Some(id) = self.tables.child(directory, place.directory) {
            let entry = self.tables.entry(directory, place.directory);
            if entry & OPEN == rights && self.tables.table(id)?.mirror == mirror {
                return Some(id);
            }
            // The guest changed its top-level entry in silence, or other roots have another one.
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
        self.tables.link(directory, place.directory, id, rights);
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
    let leaf = u64::from(gva.page_start().raw()) | bits::P | bits::RW | bits::A | bits::D;
    if access.privilege == Privilege::User {
        return Err(Refused::Fault(access.error(Presence::Present)));
    }
    if frame >= memory.frames() && frame < memory.device_limit() {
        return Err(Refused::Device(frame));
    }
    if frame >= memory.frames() {
        return Err(Kill::BadPageTableEntry(leaf).into());
    }
    Ok(Found {
        mapping: Mapping::of(frame, leaf),
        top: OPEN,
        table: None,
    })
}

fn look_up_in<F: Format>(
    memory: &impl GuestMemory,
    root: Gfn,
    gva: Gva,
    access: Access,
) -> Result<Found, Refused> {
    let top = u64::from(
        memory
            .read_u32(F::top_entry(root, F::top_index(gva)))
            .map_err(Kill::from)?,
    );
    let mut seen = None;
    let read_leaf = |table: Gfn| {
        let entry = memory.read_u32(F::leaf_entry(table, gva))?;
        seen = Some((table, entry));
        Ok(u64::from(entry))
    };
    let mapping = match propagate::<F>(
        top,
        read_leaf,
        access,
        memory.frames(),
        memory.device_limit(),
    ) {
        Outcome::Mapped(mapping) => mapping,
        Outcome::Device(frame) => return Err(Refused::Device(frame)),
        Outcome::Fault(error) => return Err(Refused::Fault(error)),
        Outcome::Kill(kill) => return Err(Refused::Kill(kill)),
    };
    let Some((table, entry)) = seen else {
        return Err(Refused::Fault(access.error(Presence::Absent)));
    };
    let wanted = mapping.leaf as u32;
    if wanted != entry {
        // Should the entry change in between, it keeps what it changed to; the translation that we
        // read is then one that the guest had, and what it announces next corrects it.
        memory
            .compare_exchange_u32(F::leaf_entry(table, gva), entry, wanted)
            .map_err(Kill::from)?;
    }
    Ok(Found {
        mapping,
        top,
        table: Some(table),
    })
}
