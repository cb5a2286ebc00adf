//! Guest RAM, table frames and a processor, all in ordinary memory.

use hv_core::address::{Gfn, Gpa, Gva, Hpa};
use hv_core::frames::{Frame, FrameAllocator, Run, Table, TableIndex, TablePool};
use hv_core::kill::Kill;
use hv_core::memory::{Access as Direction, BadAddress, GuestMemory};
use hv_core::paging::{Access, AccessKind, Format, Presence, Privilege, bits, walker};
use hv_core::shadow::{Fault, Invalidation, Progress, Shadow, Slot};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::marker::PhantomData;
use std::rc::Rc;

/// A format, as these tests know it: written down by hand, so that a mistake in the format's own data
/// shows.
pub trait Tables: Format + Sized {
    /// Bytes of an entry.
    const WIDTH: u64;
    /// For each level from the top: the lowest address bit that chooses an entry, and how many entries a
    /// table has.
    const SHAPE: &'static [(u32, u32)];
    /// Bits of the error code that the guest gets to see.
    const ERRORS: u32;

    /// Gives a root page directories, if the format has such, one for each quarter.
    fn build(tables: &Entries<Self>, root: u64, directories: [u64; 4]);
    /// Announces that the entry at `at`, which names a leaf table, changed.
    fn announce(machine: &mut Machine<Self>, at: u64);
    /// Announces that the first `own` page directories of `root` changed.
    fn announce_top(machine: &mut Machine<Self>, root: u64, own: u32);
}

/// Bytes of address space that one leaf table covers.
pub const fn slot_size<G: Tables>() -> u32 {
    1 << G::SHAPE[G::SHAPE.len() - 2].0
}

/// A guest's view of its RAM: entries of its format.
pub struct Entries<'a, G> {
    ram: &'a Ram,
    format: PhantomData<G>,
}

impl<G: Tables> Entries<'_, G> {
    /// Entry `index` of the table in frame `table`.
    pub fn get(&self, table: u64, index: u32) -> u64 {
        self.at((table << 12) + u64::from(index) * G::WIDTH)
    }

    pub fn set(&self, table: u64, index: u32, entry: u64) {
        self.set_at((table << 12) + u64::from(index) * G::WIDTH, entry);
    }

    pub fn at(&self, at: u64) -> u64 {
        let words = &self.ram.words[(at / 4) as usize..];
        match G::WIDTH {
            4 => u64::from(words[0].get()),
            _ => u64::from(words[1].get()) << 32 | u64::from(words[0].get()),
        }
    }

    pub fn set_at(&self, at: u64, entry: u64) {
        let words = &self.ram.words[(at / 4) as usize..];
        words[0].set(entry as u32);
        if G::WIDTH == 8 {
            words[1].set((entry >> 32) as u32);
        }
    }

    /// Where `root` names the leaf table for `gva`, if it gets that far.
    pub fn slot_at(&self, root: u64, gva: u32) -> Option<u64> {
        let (mut table, mut at) = (root, root);
        let upper = &G::SHAPE[..G::SHAPE.len() - 1];
        for (level, (shift, entries)) in upper.iter().enumerate() {
            at = table + u64::from(gva >> shift & (entries - 1)) * G::WIDTH;
            let entry = self.at(at);
            if level + 1 < upper.len() && entry & 1 == 0 {
                return None;
            }
            table = entry & 0xffff_f000;
        }
        Some(at)
    }

    /// The entry that names the leaf table for `gva`; 0 if there is no place for one.
    pub fn slot(&self, root: u64, gva: u32) -> u64 {
        self.slot_at(root, gva).map_or(0, |at| self.at(at))
    }

    /// Names a leaf table for `gva`.
    pub fn set_slot(&self, root: u64, gva: u32, entry: u64) {
        let at = self.slot_at(root, gva).expect("there is a page directory");
        self.set_at(at, entry);
    }

    /// The number of the leaf entry for `gva`.
    pub fn leaf_index(gva: u32) -> u32 {
        let (shift, entries) = G::SHAPE[G::SHAPE.len() - 1];
        gva >> shift & (entries - 1)
    }

    /// Where the leaf entry for `gva` is, if all entries above it are present, be they such that this ABI
    /// has or not.
    pub fn leaf_at(&self, root: u64, gva: u32) -> Option<u64> {
        let (mut table, mut at) = (root, root);
        for (level, (shift, entries)) in G::SHAPE.iter().enumerate() {
            if level > 0 && self.at(at) & 1 == 0 || table >= self.ram.bytes() {
                return None;
            }
            at = table + u64::from(gva >> shift & (entries - 1)) * G::WIDTH;
            table = self.at(at) & 0x7fff_ffff_ffff_f000;
        }
        Some(at)
    }

    /// Whether entries are present at all levels: rights are looked at before the leaf is checked
    /// (lguest-abi 7.2, steps 5 and 7).
    fn presence(&self, root: u64, gva: u32) -> Presence {
        match self.leaf_at(root, gva) {
            Some(at) if self.at(at) & 1 != 0 => Presence::Present,
            _ => Presence::Absent,
        }
    }
}

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
pub const EXECUTE: Access = Access {
    kind: AccessKind::Execute,
    privilege: Privilege::Supervisor,
};
pub const USER_EXECUTE: Access = Access {
    kind: AccessKind::Execute,
    privilege: Privilege::User,
};
pub const ACCESSES: [Access; 6] = [READ, WRITE, EXECUTE, USER_READ, USER_WRITE, USER_EXECUTE];

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

    fn bytes(&self) -> u64 {
        self.words.len() as u64 * 4
    }

    /// Fills `length` bytes with a word.
    pub fn fill(&self, at: u64, length: u64, value: u32) {
        let words = (at / 4) as usize..((at + length) / 4) as usize;
        self.words[words].iter().for_each(|word| word.set(value));
    }

    /// Whether `length` bytes are full of a word.
    pub fn is_full_of(&self, at: u64, length: u64, value: u32) -> bool {
        let words = (at / 4) as usize..((at + length) / 4) as usize;
        self.words[words].iter().all(|word| word.get() == value)
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

    fn read_u64(&self, at: Gpa) -> Result<u64, BadAddress> {
        let high = self.read_u32(at.wrapping_add(4))?;
        Ok(u64::from(high) << 32 | u64::from(self.read_u32(at)?))
    }

    fn compare_exchange_u64(&self, at: Gpa, current: u64, new: u64) -> Result<bool, BadAddress> {
        let matches = self.read_u64(at)? == current;
        if matches {
            self.write_u32(at, new as u32)?;
            self.write_u32(at.wrapping_add(4), (new >> 32) as u32)?;
        }
        Ok(matches)
    }

    fn host_frame(&self, gfn: Gfn) -> Option<Hpa> {
        (gfn < self.frames()).then(|| Hpa::new(RAM_BASE + (gfn.raw() << 12)))
    }
}

type PoolEntries = Rc<RefCell<Vec<[u64; 512]>>>;

/// Table frames whose entries the processor model reads as well.
#[derive(Default)]
pub struct Pool {
    entries: PoolEntries,
    fresh: Run<Table>,
    returned: Vec<Frame<Table>>,
    capacity: usize,
}

impl Pool {
    pub fn new(capacity: usize) -> Self {
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

    fn available(&self) -> usize {
        self.returned.len() + self.fresh.count() as usize
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

/// An entry's rights, with NX turned round so that every bit grants something.
fn grants(entry: u64) -> u64 {
    entry ^ bits::NX
}

/// A translation that the processor remembers.
#[derive(Clone, Copy)]
pub struct Remembered {
    pub frame: u64,
    /// RW and US where every level grants them, and NX where none withholds execution.
    pub rights: u64,
}

/// A guest's RAM, its shadow, and a processor that runs it. The processor keeps every translation and
/// every upper level it has seen until it is told to forget it: the worst that real ones may do.
pub struct Machine<G: Tables> {
    pub ram: Ram,
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

    /// The guest makes an access; the host repairs what it can. Every repair must lead on.
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

    pub fn load(&mut self, root: u64) {
        self.shadow.new_pgtable(&self.ram, Gpa::new(root)).unwrap();
    }

    pub fn set_pte(&mut self, root: u64, gva: u32, entry: u64) -> Result<(), Kill> {
        self.shadow
            .set_pte(&self.ram, Gpa::new(root), Gva::new(gva), entry)
    }

    pub fn set_pgd(&mut self, root: u64, index: u32) {
        self.until_done(|shadow| shadow.set_pgd(Gpa::new(root), index).unwrap());
    }

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
