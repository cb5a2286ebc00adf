//! Guest RAM, table frames and a processor, all in ordinary memory.

use hv_core::address::{Gfn, Gpa, Gva, Hpa};
use hv_core::frames::{Frame, FrameAllocator, Run, Table, TableIndex, TablePool};
use hv_core::kill::Kill;
use hv_core::memory::{Access as Direction, BadAddress, GuestMemory};
use hv_core::paging::TwoLevel;
use hv_core::paging::{Access, AccessKind, Presence, Privilege, bits, walker};
use hv_core::shadow::{Fault, Invalidation, Shadow, Slot};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// Where the fake machine's guest RAM begins; far from the tables, so that a mix-up shows.
pub const RAM_BASE: u64 = 0x10_0000_0000;
const POOL_BASE: u64 = 0x8000_0000;
const WORDS: usize = 1024;

pub const READ: Access = Access {
    kind: AccessKind::Read,
    privilege: Privilege::Supervisor,
};
pub const WRITE: Access = Access {
    kind: AccessKind::Write,
    privilege: Privilege::Supervisor,
};
pub const USER_READ: Access = Access {
    kind: AccessKind::Read,
    privilege: Privilege::User,
};
pub const USER_WRITE: Access = Access {
    kind: AccessKind::Write,
    privilege: Privilege::User,
};
pub const ACCESSES: [Access; 4] = [READ, WRITE, USER_READ, USER_WRITE];

/// Guest RAM as words.
pub struct Ram {
    words: Vec<Cell<u32>>,
}

impl Ram {
    pub fn new(frames: usize) -> Self {
        Self {
            words: vec![Cell::new(0); frames * WORDS],
        }
    }

    fn word(&self, at: Gpa, access: Direction) -> Result<&Cell<u32>, BadAddress> {
        let bad = BadAddress {
            at,
            length: 4,
            access,
        };
        self.words
            .get((at.raw() / 4) as usize)
            .filter(|_| at.raw().is_multiple_of(4))
            .ok_or(bad)
    }

    pub fn entry(&self, table: u64, index: u32) -> u32 {
        self.words[table as usize * WORDS + index as usize].get()
    }

    pub fn set_entry(&self, table: u64, index: u32, entry: u32) {
        self.words[table as usize * WORDS + index as usize].set(entry);
    }

    pub fn fill(&self, frame: u64, value: u32) {
        (0..WORDS as u32).for_each(|index| self.set_entry(frame, index, value));
    }
}

impl GuestMemory for Ram {
    fn frames(&self) -> Gfn {
        Gfn::new((self.words.len() / WORDS) as u64)
    }

    fn read(&self, at: Gpa, into: &mut [u8]) -> Result<(), BadAddress> {
        for (at, bytes) in (at.raw()..).step_by(4).zip(into.chunks_mut(4)) {
            bytes.copy_from_slice(&self.read_u32(Gpa::new(at))?.to_le_bytes()[..bytes.len()]);
        }
        Ok(())
    }

    fn write(&self, at: Gpa, from: &[u8]) -> Result<(), BadAddress> {
        for (at, bytes) in (at.raw()..).step_by(4).zip(from.chunks_exact(4)) {
            self.write_u32(Gpa::new(at), u32::from_le_bytes(bytes.try_into().unwrap()))?;
        }
        Ok(())
    }

    fn read_u32(&self, at: Gpa) -> Result<u32, BadAddress> {
        Ok(self.word(at, Direction::Read)?.get())
    }

    fn write_u32(&self, at: Gpa, value: u32) -> Result<(), BadAddress> {
        self.word(at, Direction::Write)?.set(value);
        Ok(())
    }

    fn compare_exchange_u32(&self, at: Gpa, current: u32, new: u32) -> Result<bool, BadAddress> {
        let word = self.word(at, Direction::Write)?;
        let matches = word.get() == current;
        if matches {
            word.set(new);
        }
        Ok(matches)
    }

    fn host_frame(&self, gfn: Gfn) -> Option<Hpa> {
        (gfn < self.frames()).then(|| Hpa::new(RAM_BASE + (gfn.raw() << 12)))
    }
}

type Entries = Rc<RefCell<Vec<[u64; 512]>>>;

/// Table frames whose entries the processor model reads as well.
pub struct Pool {
    entries: Entries,
    fresh: Run<Table>,
    returned: Vec<Frame<Table>>,
    capacity: usize,
}

impl Pool {
    fn new(capacity: usize) -> Self {
        let mut frames = FrameAllocator::new();
        let end = POOL_BASE + ((capacity as u64) << 12);
        frames.add(Hpa::new(POOL_BASE)..Hpa::new(end)).unwrap();
        let fresh = frames.take(capacity as u64, 1).unwrap().into_state();
        let entries = Rc::new(RefCell::new(vec![[0; 512]; capacity]));
        Self {
            entries,
            fresh,
            returned: Vec::new(),
            capacity,
        }
    }

    /// Frames that nobody holds.
    pub fn available(&self) -> usize {
        self.fresh.count() as usize + self.returned.len()
    }
}

fn number(address: Hpa) -> usize {
    ((address.raw() - POOL_BASE) >> 12) as usize
}

impl TablePool for Pool {
    fn capacity(&self) -> usize {
        self.capacity
    }

    fn take(&mut self) -> Option<Frame<Table>> {
        let table = self.returned.pop().or_else(|| self.fresh.take_first())?;
        self.entries.borrow_mut()[number(table.address())] = [0; 512];
        Some(table)
    }

    fn give(&mut self, table: Frame<Table>) {
        // A freed table that the processor still uses must not go unnoticed: its entries name nothing.
        self.entries.borrow_mut()[number(table.address())] = [bits::P | bits::FRAME; 512];
        self.returned.push(table);
    }

    fn number_at(&self, address: Hpa) -> Option<usize> {
        let offset = address.raw().checked_sub(POOL_BASE)?;
        Some((offset >> 12) as usize).filter(|number| *number < self.capacity)
    }

    fn get(&self, table: &Frame<Table>, index: TableIndex) -> u64 {
        self.entries.borrow()[number(table.address())][usize::from(index.raw())]
    }

    fn set(&mut self, table: &mut Frame<Table>, index: TableIndex, entry: u64) {
        self.entries.borrow_mut()[number(table.address())][usize::from(index.raw())] = entry;
    }
}

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

/// A translation that the processor remembers.
#[derive(Clone, Copy)]
pub struct Remembered {
    pub frame: u64,
    pub rights: u64,
}

/// A guest's RAM, its shadow, and a processor that runs it. The processor keeps every translation and
/// every upper level it has seen until it is told to forget it: the worst that real ones may do.
pub struct Machine {
    pub ram: Ram,
    pub shadow: Shadow<Pool, Vec<Slot>>,
    entries: Entries,
    loaded: Option<Hpa>,
    translations: HashMap<u32, Remembered>,
    upper: HashMap<u32, (Hpa, u64)>,
    /// Page faults that the host repaired.
    pub repairs: u64,
}

impl Machine {
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

    fn entry(&self, table: Hpa, index: u32) -> Option<u64> {
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
        let found = (Hpa::new(middle & bits::FRAME), top & middle);
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
            rights: leaf & upper,
        };
        self.translations.insert(page, found);
        Some(found)
    }

    fn allows(found: Remembered, access: Access) -> bool {
        (access.kind == AccessKind::Read || found.rights & bits::RW != 0)
            && (access.privilege == Privilege::Supervisor || found.rights & bits::US != 0)
    }

    /// The guest makes an access; the host repairs what it can. Every repair must lead on.
    pub fn access(&mut self, gva: u32, access: Access) -> Seen {
        for _ in 0..3 {
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
        let found = walker::walk::<TwoLevel>(&self.ram, Gfn::new(root), Gva::new(gva));
        let Some(found) = found else {
            return Err(access.error(self.presence(root, gva)));
        };
        let frame = RAM_BASE + (found.frame.raw() << 12);
        let allowed = Self::allows(
            Remembered {
                frame,
                rights: found.rights,
            },
            access,
        );
        if allowed {
            Ok(frame)
        } else {
            Err(access.error(Presence::Present))
        }
    }

    /// Whether entries are present at both levels, be the leaf one that this ABI has or not: rights are
    /// looked at before the leaf is (lguest-abi 7.2, steps 5 and 7).
    fn presence(&self, root: u64, gva: u32) -> Presence {
        let top = self.ram.entry(root, gva >> 22);
        let table = u64::from(top >> 12);
        let within = top & 1 != 0 && table < self.ram.frames().raw();
        let present = within && self.ram.entry(table, gva >> 12 & 1023) & 1 != 0;
        if present {
            Presence::Present
        } else {
            Presence::Absent
        }
    }

    pub fn load(&mut self, root: u64) {
        self.shadow
            .new_pgtable(&self.ram, Gpa::new(root << 12))
            .unwrap();
    }

    pub fn set_pte(&mut self, root: u64, gva: u32, entry: u32) -> Result<(), Kill> {
        self.shadow
            .set_pte(&self.ram, Gpa::new(root << 12), Gva::new(gva), entry.into())
    }

    pub fn set_pgd(&mut self, root: u64, index: u32) {
        self.shadow.set_pgd(Gpa::new(root << 12), index).unwrap();
    }

    /// Audits the live tables; returns the number of stale translations.
    pub fn audit(&self) -> u64 {
        self.shadow.audit(&self.ram).unwrap().stale
    }

    /// Ends the guest: every frame has to be back (LG-118).
    pub fn finish(self) {
        self.audit();
        let pool = self.shadow.release();
        assert_eq!(pool.available(), pool.capacity());
    }
}
