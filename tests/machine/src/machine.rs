//! A processor that runs a guest on its shadow.

use crate::pool::{PoolEntries, number};
use crate::{Entries, Pool, RAM_BASE, Ram, Tables};
use hv_core::address::{Gpa, Gva, Hpa};
use hv_core::frames::TablePool;
use hv_core::kill::Kill;
use hv_core::paging::{Access, AccessKind, Presence, Privilege, bits, walker};
use hv_core::shadow::{Fault, Invalidation, LeafChange, Progress, Shadow, Slot};
use std::collections::HashMap;
use std::marker::PhantomData;

/// A read by the kernel.
pub const READ: Access = Access {
    kind: AccessKind::Read,
    privilege: Privilege::Supervisor,
};
/// A write by the kernel.
pub const WRITE: Access = Access {
    kind: AccessKind::Write,
    privilege: Privilege::Supervisor,
};
/// A read from ring 3.
pub const USER_READ: Access = Access {
    kind: AccessKind::Read,
    privilege: Privilege::User,
};
/// A write from ring 3.
pub const USER_WRITE: Access = Access {
    kind: AccessKind::Write,
    privilege: Privilege::User,
};
/// A fetch by the kernel.
pub const EXECUTE: Access = Access {
    kind: AccessKind::Execute,
    privilege: Privilege::Supervisor,
};
/// A fetch from ring 3.
pub const USER_EXECUTE: Access = Access {
    kind: AccessKind::Execute,
    privilege: Privilege::User,
};
/// All of them.
pub const ACCESSES: [Access; 6] = [READ, WRITE, EXECUTE, USER_READ, USER_WRITE, USER_EXECUTE];

/// What an access of the guest's came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// It reached this host frame.
    Frame(u64),
    /// The guest had a page fault with this error code.
    Fault(u32),
    /// The guest was killed.
    Killed(Kill),
}

/// An entry's rights, with NX turned round so that every bit grants something.
fn grants(entry: u64) -> u64 {
    entry ^ bits::NX
}

/// A translation that the processor remembers.
#[derive(Clone, Copy)]
pub struct Remembered {
    /// Host-physical address of the frame.
    pub frame: u64,
    /// RW and US where every level grants them, and NX where none withholds execution.
    pub rights: u64,
}

/// A guest's RAM, its shadow, and a processor that runs it. The processor keeps every translation and
/// every upper level it has seen until it is told to forget it: the worst that real ones may do.
pub struct Machine<G: Tables> {
    /// Guest RAM.
    pub ram: Ram,
    /// The shadow of the guest's tables.
    pub shadow: Shadow<Pool, Vec<Slot>, G>,
    entries: PoolEntries,
    loaded: Option<Hpa>,
    translations: HashMap<u32, Remembered>,
    upper: HashMap<u32, (Hpa, u64)>,
    /// Page faults that the host repaired.
    pub repairs: u64,
    effort: u32,
}

impl<G: Tables> Machine<G> {
    /// A machine with `frames` frames of RAM, whose shadow has `tables` tables and remembers `roots` roots.
    pub fn new(frames: usize, tables: usize, roots: usize) -> Self {
        let pool = Pool::new(tables);
        let entries = pool.entries.clone();
        let slots = (0..tables).map(|_| Slot::default()).collect();
        let shadow = Shadow::new(pool, slots, roots);
        Self {
            ram: Ram::new(frames),
            shadow,
            entries,
            loaded: None,
            translations: HashMap::new(),
            upper: HashMap::new(),
            repairs: 0,
            effort: u32::MAX,
        }
    }

    /// RAM, as the guest's tables.
    pub fn tables(&self) -> Entries<'_, G> {
        Entries {
            ram: &self.ram,
            format: PhantomData,
        }
    }

    /// What happens before every entry: the processor forgets what it was told to.
    fn enter(&mut self) {
        let root = self.shadow.root();
        let all = match self.shadow.take_invalidation() {
            Invalidation::None => false,
            Invalidation::Pages(pages) => {
                for gva in &pages {
                    self.translations.remove(&(gva.raw() >> 12));
                }
                // INVLPG drops all upper levels (Intel SDM volume 3, 4.10.4.1).
                self.upper.clear();
                false
            }
            Invalidation::All => true,
        };
        if all || root != self.loaded {
            self.translations.clear();
            self.upper.clear();
            self.loaded = root;
        }
    }

    /// Entry `index` of the shadow table at `table`, if it is present.
    pub fn entry(&self, table: Hpa, index: u32) -> Option<u64> {
        let entry = self.entries.borrow()[number(table)][index as usize & 511];
        (entry & bits::P != 0).then_some(entry)
    }

    fn leaf_table(&mut self, page: u32) -> Option<(Hpa, u64)> {
        if let Some(known) = self.upper.get(&(page >> 9)) {
            return Some(*known);
        }
        // A PDPT entry has no rights here: the fields are reserved in PAE and open in four levels.
        let top = self.entry(self.loaded?, page >> 18)?;
        let middle = self.entry(Hpa::new(top & bits::FRAME), page >> 9)?;
        let found = (Hpa::new(middle & bits::FRAME), grants(top) & grants(middle));
        self.upper.insert(page >> 9, found);
        Some(found)
    }

    /// The processor's own translation, from what it remembers or from the shadow.
    pub fn translation(&mut self, gva: u32) -> Option<Remembered> {
        let page = gva >> 12;
        if let Some(known) = self.translations.get(&page) {
            return Some(*known);
        }
        let (table, upper) = self.leaf_table(page)?;
        let leaf = self.entry(table, page)?;
        let found = Remembered {
            frame: leaf & bits::FRAME,
            rights: grants(leaf) & upper,
        };
        self.translations.insert(page, found);
        Some(found)
    }

    fn allows(found: Remembered, access: Access) -> bool {
        let needed = match access.kind {
            AccessKind::Read => 0,
            AccessKind::Write => bits::RW,
            AccessKind::Execute => bits::NX,
        };
        found.rights & needed == needed
            && (access.privilege == Privilege::Supervisor || found.rights & bits::US != 0)
    }

    /// The guest makes an access; the host repairs what it can.
    ///
    /// # Panics
    /// When a repair does not lead on.
    pub fn access(&mut self, gva: u32, access: Access) -> Seen {
        // One that has to drop tables first is repaired little by little: two exits for each root at most.
        let most = if self.effort == u32::MAX { 3 } else { 40 };
        for _ in 0..most {
            self.enter();
            let found = self.translation(gva);
            if let Some(found) = found.filter(|found| Self::allows(*found, access)) {
                return Seen::Frame(found.frame);
            }
            // A page fault drops what the processor remembers for its address.
            self.translations.remove(&(gva >> 12));
            self.upper.remove(&(gva >> 21));
            let presence = if found.is_some() {
                Presence::Present
            } else {
                Presence::Absent
            };
            match self
                .shadow
                .page_fault(&self.ram, Gva::new(gva), access.error(presence))
            {
                Ok(Fault::Repaired) => self.repairs += 1,
                Ok(Fault::Reflect { error }) => return Seen::Fault(error),
                Ok(Fault::Device(at)) => panic!("{at} is no device's: this machine has none"),
                Err(kill) => return Seen::Killed(kill),
            }
        }
        panic!("{access:?} at {gva:#x} is repaired for ever");
    }

    /// What the tables of `root` say about an access right now.
    pub fn truth(&self, root: u64, gva: u32, access: Access) -> Result<u64, u32> {
        let error = |presence| access.error(presence) & G::ERRORS;
        let found = walker::walk::<G>(&self.ram, Gpa::new(root), Gva::new(gva));
        let Some(found) = found else {
            return Err(error(self.tables().presence(root, gva)));
        };
        let kind = match access.kind {
            AccessKind::Read => true,
            AccessKind::Write => found.writable,
            AccessKind::Execute => found.executable,
        };
        if kind && (found.user || access.privilege == Privilege::Supervisor) {
            Ok(RAM_BASE + (found.frame.raw() << 12))
        } else {
            Err(error(Presence::Present))
        }
    }

    /// NEW_PGTABLE of a root that exists.
    ///
    /// # Panics
    /// When it is refused.
    pub fn load(&mut self, root: u64) {
        self.shadow.new_pgtable(&self.ram, Gpa::new(root)).unwrap();
    }

    /// SET_PTE.
    ///
    /// # Errors
    /// When that ends the guest.
    pub fn set_pte(&mut self, root: u64, gva: u32, entry: u64) -> Result<(), Kill> {
        let change = LeafChange {
            root: Gpa::new(root),
            gva: Gva::new(gva),
            entry,
        };
        self.shadow.set_pte(&self.ram, change)
    }

    /// SET_PTEs that were queued, each a root, an address and an entry. Returns how many were executed.
    ///
    /// # Errors
    /// When one of them ends the guest.
    pub fn set_queued_ptes(&mut self, queued: &[(u64, u32, u64)]) -> Result<usize, Kill> {
        let mut changes = queued.iter().map(|&(root, gva, entry)| LeafChange {
            root: Gpa::new(root),
            gva: Gva::new(gva),
            entry,
        });
        self.shadow.set_ptes(&self.ram, &mut changes)?;
        Ok(queued.len() - changes.len())
    }

    /// SET_PGD of an index that exists.
    ///
    /// # Panics
    /// When it is refused.
    pub fn set_pgd(&mut self, root: u64, index: u32) {
        let Machine { ram, shadow, .. } = self;
        shadow.set_pgd(ram, Gpa::new(root), index).unwrap();
    }

    /// FLUSH_TLB(0).
    ///
    /// # Panics
    /// When that does not end.
    pub fn flush_user(&mut self) {
        self.until_done(Shadow::flush_user);
    }

    /// Asks again, in further exits, until it is done.
    fn until_done(&mut self, mut ask: impl FnMut(&mut Shadow<Pool, Vec<Slot>, G>) -> Progress) {
        for _ in 0..40 {
            self.enter();
            if ask(&mut self.shadow) == Progress::Done {
                return;
            }
            self.audit();
        }
        panic!("it is never done");
    }

    /// What the shadow may do in one exit, in entries looked at.
    pub fn limit_exits(&mut self, most: u32) {
        self.effort = most;
        self.shadow.limit_exits(most);
    }

    /// Writes an entry of the shadow table at `table` behind the shadow's back. Returns the old one.
    pub fn spoil(&mut self, table: Hpa, index: u32, entry: u64) -> u64 {
        let entries = &mut self.entries.borrow_mut()[number(table)];
        std::mem::replace(&mut entries[index as usize & 511], entry)
    }

    /// Audits the live tables; returns the number of stale translations.
    ///
    /// # Panics
    /// When the audit finds something.
    pub fn audit(&self) -> u64 {
        self.shadow.audit(&self.ram).unwrap().stale
    }

    /// Ends the guest, and returns its RAM.
    ///
    /// # Panics
    /// When the audit finds something, or not every frame is back (LG-118).
    pub fn finish(self) -> Ram {
        self.audit();
        let pool = self.shadow.release();
        assert_eq!(pool.available(), pool.capacity());
        self.ram
    }
}
