//! The audit finds bookkeeping that is wrong: what cannot be spoilt from outside.

use super::places::{Announced, Target, Whose};
use super::slot::{Mirror, Slot, TableId};
use super::tables::Tables;
use super::{AuditFailure, Fault, Shadow};
use crate::address::{Gpa, Gva, Hpa};
use crate::device::fake_memory::FakeMemory;
use crate::frames::{Entries, Frame, FrameAllocator, Run, Table, TableIndex, TablePool};
use crate::paging::TwoLevel;
use std::cell::Cell;
use std::rc::Rc;

/// Far from guest RAM, which begins at 0.
const POOL: u64 = 0x8000_0000;
const TABLES: usize = 200;

/// Frames that are taken once; one of them may be said to be gone.
struct Pool {
    fresh: Run<Table>,
    entries: Vec<[u64; 512]>,
    lost: usize,
    /// Frames that were given back.
    given: Rc<Cell<usize>>,
}

fn number(address: Hpa) -> usize {
    ((address.raw() - POOL) >> 12) as usize
}

struct PoolEntries<'a>(&'a mut [u64; 512]);

impl Entries for PoolEntries<'_> {
    fn get(&self, index: TableIndex) -> u64 {
        self.0[usize::from(index.raw())]
    }

    fn set(&mut self, index: TableIndex, entry: u64) {
        self.0[usize::from(index.raw())] = entry;
    }
}

impl TablePool for Pool {
    type Entries<'a> = PoolEntries<'a>;

    fn capacity(&self) -> usize {
        TABLES
    }

    fn available(&self) -> usize {
        self.fresh.count() as usize - self.lost
    }

    fn take(&mut self) -> Option<Frame<Table>> {
        self.fresh.take_first()
    }

    fn give(&mut self, _table: Frame<Table>) {
        self.given.set(self.given.get() + 1);
    }

    fn number_at(&self, address: Hpa) -> Option<usize> {
        let offset = address.raw().checked_sub(POOL)?;
        Some((offset >> 12) as usize).filter(|number| *number < TABLES)
    }

    fn get(&self, table: &Frame<Table>, index: TableIndex) -> u64 {
        self.entries[number(table.address())][usize::from(index.raw())]
    }

    fn entries<'a>(&'a mut self, table: &'a mut Frame<Table>) -> PoolEntries<'a> {
        PoolEntries(&mut self.entries[number(table.address())])
    }
}

/// A pool that loses some frames.
fn pool(lost: usize) -> Pool {
    let mut frames = FrameAllocator::new();
    let end = POOL + ((TABLES as u64) << 12);
    frames.add(Hpa::new(POOL)..Hpa::new(end)).unwrap();
    Pool {
        fresh: frames.take(TABLES as u64, 1).unwrap().into_state(),
        entries: vec![[0; 512]; TABLES],
        lost,
        given: Rc::default(),
    }
}

/// One page in linear mode: a root, a directory and a leaf table. `lost`: frames that the pool loses.
fn shadow(lost: usize) -> (FakeMemory, Shadow<Pool, Vec<Slot>, TwoLevel>) {
    let memory = FakeMemory::with_bytes(0x8000);
    let pool = pool(lost);
    let slots = (0..TABLES).map(|_| Slot::default()).collect();
    let mut shadow = Shadow::new(pool, slots, 1);
    let repaired = shadow.page_fault(&memory, Gva::new(0x5000), 2);
    assert_eq!(repaired, Ok(Fault::Repaired));
    (memory, shadow)
}

/// The leaf table, and its address.
fn leaf(shadow: &Shadow<Pool, Vec<Slot>, TwoLevel>) -> (TableId, Hpa) {
    let id = shadow.tables.find(Mirror::LinearLeaf { part: 0 }).unwrap();
    (id, shadow.tables.address(id).unwrap())
}

#[test]
fn sound_tables_pass() {
    let (memory, shadow) = shadow(0);
    let report = shadow.audit(&memory).unwrap();
    assert_eq!((report.translations, report.stale), (1, 0));
}

#[test]
fn a_table_that_its_mirror_does_not_lead_to_is_found() {
    let (memory, mut shadow) = shadow(0);
    let (id, table) = leaf(&shadow);
    shadow.tables.table_mut(id).unwrap().mirror = Mirror::LinearLeaf { part: 1 };
    let failure = AuditFailure::Unindexed { table };
    assert_eq!(shadow.audit(&memory), Err(failure));
}

#[test]
fn a_table_that_nothing_refers_to_is_found() {
    let (memory, mut shadow) = shadow(0);
    let (id, table) = leaf(&shadow);
    shadow.tables.table_mut(id).unwrap().references = 0;
    let failure = AuditFailure::Unreferenced { table };
    assert_eq!(shadow.audit(&memory), Err(failure));
}

#[test]
fn references_that_no_entry_accounts_for_are_found() {
    let (memory, mut shadow) = shadow(0);
    let (id, _) = leaf(&shadow);
    shadow.tables.hold(id);
    let failure = AuditFailure::WrongReferences {
        references: 4,
        named: 3,
    };
    assert_eq!(shadow.audit(&memory), Err(failure));
}

/// LG-118.
#[test]
fn lg_118_a_frame_that_is_neither_in_use_nor_left_is_found() {
    let (memory, shadow) = shadow(1);
    let failure = AuditFailure::LostFrames {
        in_use: 3,
        available: TABLES - 4,
    };
    assert_eq!(shadow.audit(&memory), Err(failure));
}

/// What a table mirrors leads to it in a step or two, however many there are.
#[test]
fn tables_are_found_in_many_buckets() {
    let slots: Vec<Slot> = (0..TABLES).map(|_| Slot::default()).collect();
    let mut tables = Tables::new(pool(0), slots);
    for part in 0..150 {
        tables.create(Mirror::LinearLeaf { part }).unwrap();
    }
    let used = |slot: &&Slot| slot.bucket.is_some();
    assert!(tables.slots().iter().filter(used).count() > 75);
}

/// Where announcements went and where stacks are is known without a search, as long as no table may have moved.
#[test]
fn what_is_remembered_of_tables_holds_until_one_moves() {
    let slots = (0..TABLES).map(|_| Slot::default()).collect::<Vec<_>>();
    let mut tables = Tables::new(pool(0), slots);
    let id = tables.create(Mirror::LinearLeaf { part: 100 }).unwrap();
    let remember = |tables: &mut Tables<_, _>| {
        let target = Target::Nothing;
        tables
            .places
            .remember(Whose::CurrentRoot, Announced { key: 5, target });
        tables
            .places
            .remember(Whose::Another, Announced { key: 6, target });
        tables.places.remember_unknown_root(Gpa::new(0x5000));
        tables.places.remember_stack_table(3, id);
    };
    let known = |tables: &Tables<Pool, Vec<Slot>>| {
        let places = &tables.places;
        let roots = [0x5000, 0x6000].map(|root| places.is_unknown_root(Gpa::new(root)));
        let stacks = [3, 4, 11].map(|part| places.stack_table(part).is_some());
        (places.announced(5), places.announced(6), roots, stacks)
    };
    let all = (
        Some(Whose::CurrentRoot),
        Some(Whose::Another),
        [true, false],
        [true, false, false],
    );
    let nothing = (None, None, [false; 2], [false; 3]);
    remember(&mut tables);
    assert_eq!(known(&tables), all);
    assert_eq!(tables.places.announced(7), None);
    remember(&mut tables);
    let root = tables.create(Mirror::LinearRoot).unwrap();
    assert_eq!(known(&tables), nothing, "after a table was made");
    remember(&mut tables);
    tables.link(root, TableIndex::new(0), id, 0);
    assert_eq!(known(&tables), nothing, "after it was named");
    remember(&mut tables);
    tables.hold(id);
    tables.unlink(root, TableIndex::new(0));
    assert_eq!(known(&tables), nothing, "after it was named no more");
    remember(&mut tables);
    tables.release(id);
    assert_eq!(known(&tables), nothing, "after it was freed");
    remember(&mut tables);
    tables.free_all();
    assert_eq!(known(&tables), nothing, "after all were freed");
    remember(&mut tables);
    tables.places.forget_announced();
    assert_eq!(
        known(&tables),
        (None, None, [false; 2], [true, false, false]),
        "another root"
    );
}

/// however many tables were freed at once, what follows in the same exit takes no longer.
#[test]
fn a39_frames_of_tables_that_were_freed_at_once_come_back_a_few_at_a_time() {
    let given = Rc::<Cell<usize>>::default();
    let pool = Pool {
        given: given.clone(),
        ..pool(0)
    };
    let slots: Vec<Slot> = (0..TABLES).map(|_| Slot::default()).collect();
    let mut tables = Tables::new(pool, slots);
    for part in 0..150 {
        tables.create(Mirror::LinearLeaf { part }).unwrap();
    }
    assert_eq!((given.get(), tables.available()), (0, 50));
    tables.free_all();
    assert_eq!((given.get(), tables.in_use()), (0, 0));
    for most in [64, 128, 150, 150] {
        tables.create(Mirror::LinearRoot).unwrap();
        assert_eq!(given.get(), most);
    }
}

/// The image's log and its crash record carry these lines.
#[test]
fn every_failure_has_a_line_of_its_own() {
    let (entry, table) = (0x1003, Hpa::new(0x7000));
    let lines = [
        (
            AuditFailure::StrayBits { entry },
            "stray bits in entry 0x1003",
        ),
        (AuditFailure::AbsentNotZero { entry }, "absent entry 0x1003"),
        (
            AuditFailure::ForeignFrame { entry },
            "entry 0x1003 outside guest RAM",
        ),
        (
            AuditFailure::BrokenLink { entry },
            "entry 0x1003 names no table",
        ),
        (
            AuditFailure::WrongCount { table },
            "wrong count of table 0x7000",
        ),
        (
            AuditFailure::WrongReferences {
                references: 4,
                named: 3,
            },
            "4 references for 3 entries that name tables",
        ),
        (
            AuditFailure::Unreferenced { table },
            "nothing names table 0x7000",
        ),
        (
            AuditFailure::LostFrames {
                in_use: 3,
                available: 4,
            },
            "3 tables in use and 4 left are not all",
        ),
        (
            AuditFailure::Divided { quarter: 3 },
            "the roots differ in the kernel's gigabyte 3",
        ),
        (
            AuditFailure::Unindexed { table },
            "table 0x7000 is not in the index",
        ),
    ];
    for (failure, line) in lines {
        assert_eq!(failure.to_string(), line);
    }
}
