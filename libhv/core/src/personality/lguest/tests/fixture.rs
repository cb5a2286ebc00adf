//! A scripted machine: RAM, a translation that can be told to refuse, devices and a clock that stand still.

use super::numbers::{data, hypercall};
use crate::address::{Gfn, Gpa, Gva, Hpa};
use crate::clock::{Clock, Nanos, Processor, WallTime};
use crate::device::{Devices, NoDevice, Width, Work};
use crate::generation::Choice;
use crate::kill::Kill;
use crate::load::boot_tables::Plan;
use crate::load::{Linux, Start};
use crate::memory::{Access, BadAddress, GuestMemory};
use crate::paging::Paging;
use crate::personality::lguest::Lguest;
use crate::personality::{
    AccessKind, End, Fault, LeafChange, Mmu, Next, NoMiddleTables, Progress, Trap,
};
use crate::registers::Registers;
use hv_abi::lguest::{Arguments, DeviceBus, Generation, Noirq, PAGE_OFFSET, generations};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const RAM: u64 = 0x4_0000;
/// Where device memory is, guest-physical.
pub(super) const DEVICE: u64 = 0x10_0000;
/// Where `lguest_data` is.
pub(super) const DATA: u32 = 0x4000;
/// Where the guest's code is.
pub(super) const CODE: u32 = 0x2000;
/// Its stack pointer.
pub(super) const STACK: u32 = 0x9000;
/// Its stack for traps from ring 3.
pub(super) const TRAP_STACK: u32 = 0xb000;
pub(super) const NOIRQ_IRET: u32 = 0x2f00;
/// End of the range without interrupts, in generations that have one.
pub(super) const NOIRQ_END: u32 = 0x2f10;
/// Where guests that load whole tables have theirs.
pub(super) const GDT: u32 = 0xd000;
pub(super) const KERNEL_ADDRESS: u32 = 0xc000_0000;
/// Ring-3 selectors of entries 14 and 15.
pub(super) const USER_CS: u32 = 0x73;
pub(super) const USER_DS: u32 = 0x7b;
pub(super) const INTERRUPT_GATE: u32 = 0x8e00;
pub(super) const TRAP_GATE: u32 = 0x8f00;
pub(super) const OPEN: u32 = 3 << 13;

pub(super) struct Ram {
    bytes: RefCell<Vec<u8>>,
    accesses: Cell<u32>,
}

impl Ram {
    fn new() -> Self {
        Self {
            bytes: RefCell::new(vec![0; RAM as usize]),
            accesses: Cell::new(0),
        }
    }

    fn start(&self, at: Gpa, length: usize, access: Access) -> Result<usize, BadAddress> {
        self.accesses.set(self.accesses.get() + 1);
        if self.contains(at, length as u64) {
            Ok(at.raw() as usize)
        } else {
            Err(BadAddress { at, length, access })
        }
    }
}

impl GuestMemory for Ram {
    fn frames(&self) -> Gfn {
        Gfn::new(RAM >> 12)
    }

    fn read(&self, at: Gpa, into: &mut [u8]) -> Result<(), BadAddress> {
        let start = self.start(at, into.len(), Access::Read)?;
        into.copy_from_slice(&self.bytes.borrow()[start..][..into.len()]);
        Ok(())
    }

    fn write(&self, at: Gpa, from: &[u8]) -> Result<(), BadAddress> {
        let start = self.start(at, from.len(), Access::Write)?;
        self.bytes.borrow_mut()[start..][..from.len()].copy_from_slice(from);
        Ok(())
    }

    fn read_u32(&self, at: Gpa) -> Result<u32, BadAddress> {
        let mut word = [0; 4];
        self.read(at, &mut word)?;
        Ok(u32::from_le_bytes(word))
    }

    fn write_u32(&self, at: Gpa, value: u32) -> Result<(), BadAddress> {
        self.write(at, &value.to_le_bytes())
    }

    fn compare_exchange_u32(&self, at: Gpa, current: u32, new: u32) -> Result<bool, BadAddress> {
        if self.read_u32(at)? != current {
            return Ok(false);
        }
        self.write_u32(at, new)?;
        Ok(true)
    }

    fn read_u64(&self, at: Gpa) -> Result<u64, BadAddress> {
        let mut word = [0; 8];
        self.read(at, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    fn compare_exchange_u64(&self, at: Gpa, current: u64, new: u64) -> Result<bool, BadAddress> {
        if self.read_u64(at)? != current {
            return Ok(false);
        }
        self.write(at, &new.to_le_bytes())?;
        Ok(true)
    }

    fn host_frame(&self, gfn: Gfn) -> Option<Hpa> {
        (gfn < self.frames()).then(|| Hpa::new(gfn.start().raw()))
    }
}

/// What the translation was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    SetStack(u32, u32),
    NewPgtable(u64),
    SetPte(u64, u32, u64),
    SetPgd(u64, u32),
    SetPmd(u64),
    FlushUser,
    FlushAll,
    KernelAddress(u32),
}

/// Identity, except for what a test says.
#[derive(Default)]
pub(super) struct FakeMmu {
    /// Page to page, where it is not itself.
    pub(super) moved: BTreeMap<u32, u32>,
    pub(super) unmapped: BTreeSet<u32>,
    pub(super) read_only: BTreeSet<u32>,
    /// Pages that are device memory, and where it is.
    pub(super) device: BTreeMap<u32, Gpa>,
    /// Pages whose next fault is repaired.
    pub(super) demand: BTreeSet<u32>,
    /// Faults are repaired once this root is in use.
    pub(super) repaired_by: Option<u64>,
    /// As the tables of a guest with PAE.
    pub(super) has_middle_tables: bool,
    pub(super) told: Vec<Told>,
    /// A ring slot that becomes ready while a SET_PTE is carried out, as if by another writer.
    pub(super) fills: Option<u32>,
    /// Calls that it takes in one exit before it is tired.
    pub(super) tires_after: Option<u32>,
    /// Times that a flush of the user's part is not finished.
    pub(super) flush_parts: u32,
    calls_in_exit: u32,
    /// What the next announcement comes to.
    pub(super) refuse: Option<Kill>,
    /// Leaf flags that the generation does not have.
    pub(super) refused_leaf_flags: u64,
}

impl FakeMmu {
    fn tell(&mut self, told: Told) -> Result<(), Kill> {
        self.told.push(told);
        self.calls_in_exit += 1;
        self.refuse.take().map_or(Ok(()), Err)
    }
}

impl Mmu for FakeMmu {
    fn is_tired(&self) -> bool {
        self.tires_after
            .is_some_and(|calls| self.calls_in_exit >= calls)
    }

    fn page_fault(&mut self, _: &impl GuestMemory, gva: Gva, error: u32) -> Result<Fault, Kill> {
        let root = self.told.iter().rev().find_map(|told| match told {
            Told::NewPgtable(root) => Some(*root),
            _ => None,
        });
        if self.repaired_by.is_some() && self.repaired_by == root {
            return Ok(Fault::Repaired);
        }
        if self.demand.remove(&gva.page_start().raw()) {
            return Ok(Fault::Repaired);
        }
        let refused = error & 2 != 0 && self.read_only.contains(&gva.page_start().raw());
        if let Some(page) = self
            .device
            .get(&gva.page_start().raw())
            .filter(|_| !refused)
        {
            return Ok(Fault::Device(page.wrapping_add(gva.page_offset().into())));
        }
        let present = u32::from(!self.unmapped.contains(&gva.page_start().raw()));
        Ok(Fault::Reflect {
            error: error & !1 | present,
        })
    }

    fn guest_access(
        &mut self,
        memory: &impl GuestMemory,
        gva: Gva,
        kind: AccessKind,
    ) -> Result<Result<Gpa, u32>, Kill> {
        let write = if kind == AccessKind::Write { 2 } else { 0 };
        let read_only = self.read_only.contains(&gva.page_start().raw());
        Ok(match self.translate(memory, gva) {
            None => Err(write),
            Some(_) if write != 0 && read_only => Err(write | 1),
            Some(gpa) => Ok(gpa),
        })
    }

    fn translate(&self, _: &impl GuestMemory, gva: Gva) -> Option<Gpa> {
        let page = gva.page_start().raw();
        let to = self.moved.get(&page).copied().unwrap_or(page);
        (!self.unmapped.contains(&page) && u64::from(to) < RAM)
            .then(|| Gpa::from(to + gva.page_offset()))
    }

    fn set_stack(&mut self, _: &impl GuestMemory, top: Gva, pages: u32) -> Result<(), Kill> {
        self.tell(Told::SetStack(top.raw(), pages))
    }

    fn new_pgtable(&mut self, _: &impl GuestMemory, root: Gpa) -> Result<(), Kill> {
        self.tell(Told::NewPgtable(root.raw()))
    }

    fn set_pte(&mut self, memory: &impl GuestMemory, change: LeafChange) -> Result<(), Kill> {
        let LeafChange { root, gva, entry } = change;
        if let Some(slot) = self.fills {
            let status = Gpa::from(DATA + data::HCALL_STATUS + slot);
            memory.write(status, &[0]).unwrap();
        }
        self.tell(Told::SetPte(root.raw(), gva.raw(), entry))
    }

    fn set_ptes(
        &mut self,
        memory: &impl GuestMemory,
        changes: &mut impl Iterator<Item = LeafChange>,
    ) -> Result<(), Kill> {
        for change in changes {
            self.set_pte(memory, change)?;
            if self.is_tired() {
                break;
            }
        }
        Ok(())
    }

    fn set_pgd(&mut self, _: &impl GuestMemory, root: Gpa, index: u32) -> Result<(), Kill> {
        self.tell(Told::SetPgd(root.raw(), index))
    }

    fn set_pmd(
        &mut self,
        _: &impl GuestMemory,
        table: Gpa,
    ) -> Result<Result<(), NoMiddleTables>, Kill> {
        if self.has_middle_tables {
            self.tell(Told::SetPmd(table.raw())).map(Ok)
        } else {
            Ok(Err(NoMiddleTables))
        }
    }

    fn flush_user(&mut self, _: &impl GuestMemory) -> Result<Progress, Kill> {
        self.tell(Told::FlushUser)?;
        Ok(match self.flush_parts.checked_sub(1) {
            None => Progress::Done,
            Some(left) => {
                self.flush_parts = left;
                Progress::Unfinished
            }
        })
    }

    fn flush_all(&mut self, _: &impl GuestMemory) -> Result<(), Kill> {
        self.tell(Told::FlushAll)
    }

    fn refuse_leaf_flags(&mut self, flags: u64) {
        self.refused_leaf_flags = flags;
    }

    fn set_kernel_address(&mut self, start: Gva) {
        self.told.push(Told::KernelAddress(start.raw()));
    }
}

#[derive(Default)]
pub(super) struct FakeDevices {
    /// Everything that was written to the console without a driver.
    pub(super) console: Vec<u8>,
    /// What was typed there.
    pub(super) typed: Vec<u8>,
    /// The buses that the personality chose.
    pub(super) buses: Vec<DeviceBus>,
    /// Addresses of queues, and those that the guest notified.
    pub(super) queues: Vec<u64>,
    pub(super) notified: Vec<u64>,
    /// What every port reads, in 32 bits: wider than any access asks for.
    pub(super) value: u32,
    pub(super) reads: Vec<(u16, Width)>,
    pub(super) writes: Vec<(u16, Width, u32)>,
    pub(super) interrupts: u32,
    pub(super) polls: u32,
    /// Device memory, from [`DEVICE`] on; it remembers what is written.
    pub(super) memory: Vec<u8>,
    pub(super) memory_accesses: Vec<(u64, Width)>,
}

impl FakeDevices {
    fn memory_index(&self, at: Gpa, width: Width) -> Option<usize> {
        let index = at.raw().checked_sub(DEVICE)?;
        let end = index + u64::from(width.bytes());
        (end <= self.memory.len() as u64).then_some(index as usize)
    }
}

impl Devices for FakeDevices {
    fn memory_read(&mut self, at: Gpa, width: Width) -> Result<u32, NoDevice> {
        let index = self.memory_index(at, width).ok_or(NoDevice)?;
        self.memory_accesses.push((at.raw(), width));
        let mut bytes = [0; 4];
        let length = width.bytes() as usize;
        bytes[..length].copy_from_slice(&self.memory[index..][..length]);
        Ok(u32::from_le_bytes(bytes))
    }

    fn memory_write(
        &mut self,
        _: &impl GuestMemory,
        at: Gpa,
        width: Width,
        value: u32,
    ) -> Result<Work, NoDevice> {
        let index = self.memory_index(at, width).ok_or(NoDevice)?;
        self.memory_accesses.push((at.raw(), width));
        let length = width.bytes() as usize;
        self.memory[index..][..length].copy_from_slice(&value.to_le_bytes()[..length]);
        Ok(Work::More)
    }

    fn port_read(&mut self, _: &impl GuestMemory, port: u16, width: Width) -> u32 {
        self.reads.push((port, width));
        self.value
    }

    fn port_write(&mut self, _: &impl GuestMemory, port: u16, width: Width, value: u32) -> Work {
        self.writes.push((port, width, value));
        Work::More
    }

    fn poll(&mut self, _: &impl GuestMemory) -> Work {
        self.polls += 1;
        Work::Done
    }

    fn take_interrupts(&mut self) -> u32 {
        std::mem::take(&mut self.interrupts)
    }

    fn choose_bus(&mut self, _: &impl GuestMemory, bus: DeviceBus) {
        self.buses.push(bus);
    }

    fn notify(&mut self, _: &impl GuestMemory, at: Gpa) -> Option<Work> {
        self.queues.contains(&at.raw()).then(|| {
            self.notified.push(at.raw());
            Work::Done
        })
    }

    fn console_write(&mut self, bytes: &[u8]) {
        self.console.extend(bytes);
    }

    fn console_read(&mut self) -> Option<u8> {
        (!self.typed.is_empty()).then(|| self.typed.remove(0))
    }
}

pub(super) struct FakeClock {
    pub(super) now: u64,
    pub(super) wall: WallTime,
    pub(super) tsc_khz: u32,
    pub(super) processor: Processor,
}

impl Clock for FakeClock {
    fn now(&self) -> Nanos {
        Nanos(self.now)
    }

    fn wall(&self) -> WallTime {
        self.wall
    }

    fn tsc_khz(&self) -> u32 {
        self.tsc_khz
    }

    fn processor(&self) -> Processor {
        self.processor
    }
}

pub(super) struct Machine {
    pub(super) guest: Lguest<Ram, FakeMmu, FakeDevices>,
    pub(super) regs: Registers,
    pub(super) clock: FakeClock,
}

impl Machine {
    /// A guest that has prepared `lguest_data` and nothing else.
    pub(super) fn new() -> Self {
        Self::of(&generations::LINUX_4_0)
    }

    /// The same of another generation.
    pub(super) fn of(generation: &'static Generation) -> Self {
        let machine = Self::taken_for(generation, Choice::Exactly(generation));
        machine.prepare_data(generation);
        machine
    }

    /// A guest with empty memory that is taken for `generation`.
    pub(super) fn taken_for(generation: &'static Generation, choice: Choice) -> Self {
        let start = Start {
            entry: Gva::new(CODE),
            choice,
            generation,
            root: None,
            tables: Some(Plan::new(RAM, RAM as u32, PAGE_OFFSET, Paging::TwoLevel)),
            page_offset: PAGE_OFFSET,
            linux: Linux::NothingKnown,
        };
        let guest = Lguest::new(
            Ram::new(),
            FakeMmu::default(),
            FakeDevices::default(),
            &start,
        );
        let mut regs = Lguest::<Ram, FakeMmu, FakeDevices>::entry_registers(CODE);
        regs.esp = STACK;
        let wall = WallTime {
            seconds: 1_000_000,
            nanoseconds: 7,
        };
        let clock = FakeClock {
            now: 5_000,
            wall,
            tsc_khz: 2_000_000,
            processor: Processor::Other,
        };
        Self { guest, regs, clock }
    }

    /// Fills `lguest_data` as a guest of `generation` does.
    pub(super) fn prepare_data(&self, generation: &Generation) {
        let layout = &generation.data;
        self.put(DATA + layout.hcall_status, &[0xff; 64]);
        self.put_word(DATA + data::BLOCKED_INTERRUPTS, 1);
        match layout.noirq {
            Noirq::Iret(at) => self.put_word(DATA + at, NOIRQ_IRET),
            Noirq::Range(start, end) => {
                self.put_word(DATA + start, NOIRQ_IRET);
                self.put_word(DATA + end, NOIRQ_END);
            }
        }
        if let Some(fields) = layout.kernel {
            self.put_word(DATA + fields.address, KERNEL_ADDRESS);
            self.put_word(DATA + fields.syscall_vector, 0x80);
        }
    }

    /// One that made LGUEST_INIT, loaded its user segments and its trap stack, and unmasked
    /// everything; `irq_enabled` is 0.
    pub(super) fn initialised() -> Self {
        Self::initialised_of(&generations::LINUX_4_0)
    }

    /// The same of another generation.
    pub(super) fn initialised_of(generation: &'static Generation) -> Self {
        let mut machine = Self::of(generation);
        machine.call(hypercall::LGUEST_INIT, [DATA, 0, 0]).unwrap();
        let user = [[0xffff, 0x00cf_fa00], [0xffff, 0x00cf_f200]];
        if generation.calls[3].is_some() {
            // A whole table; the kernel's own segments are sent as well.
            let kernel = [[0xffff, 0x00cf_9a00], [0xffff, 0x00cf_9200]];
            for (at, word) in (GDT + 12 * 8..)
                .step_by(4)
                .zip([kernel, user].concat().concat())
            {
                machine.put_word(at, word);
            }
            machine.call(hypercall::LOAD_GDT, [GDT, 32, 0]).unwrap();
        } else {
            for (index, [low, high]) in (14..).zip(user) {
                machine
                    .call(hypercall::LOAD_GDT_ENTRY, [index, low, high])
                    .unwrap();
            }
        }
        machine
            .call(hypercall::SET_STACK, [0x69, TRAP_STACK, 1])
            .unwrap();
        machine.put_word(DATA + data::BLOCKED_INTERRUPTS, 0);
        machine.guest.mmu_mut().told.clear();
        machine.guest.take_changes();
        machine
    }

    pub(super) fn put(&self, at: u32, bytes: &[u8]) {
        self.guest.memory().write(Gpa::from(at), bytes).unwrap();
    }

    pub(super) fn put_word(&self, at: u32, word: u32) {
        self.put(at, &word.to_le_bytes());
    }

    pub(super) fn word(&self, at: u32) -> u32 {
        self.guest.memory().read_u32(Gpa::from(at)).unwrap()
    }

    pub(super) fn words<const N: usize>(&self, at: u32) -> [u32; N] {
        std::array::from_fn(|index| self.word(at + 4 * index as u32))
    }

    /// A field of `lguest_data`.
    pub(super) fn field(&self, offset: u32) -> u32 {
        self.word(DATA + offset)
    }

    pub(super) fn set_field(&self, offset: u32, word: u32) {
        self.put_word(DATA + offset, word);
    }

    pub(super) fn call(&mut self, number: u32, arguments: [u32; 3]) -> Result<(), End> {
        self.load_call(self.guest.generation(), number, arguments);
        self.mmu().calls_in_exit = 0;
        self.trap(31, 0)
    }

    /// Loads the registers for a call as guests of `generation` do.
    pub(super) fn load_call(
        &mut self,
        generation: &Generation,
        number: u32,
        [first, second, third]: [u32; 3],
    ) {
        let regs = &mut self.regs;
        regs.eax = number;
        [regs.ebx, regs.ecx, regs.edx] = match generation.arguments {
            Arguments::EbxEcxEdxEsi => [first, second, third],
            Arguments::EdxEbxEcx => [second, third, first],
        };
    }

    pub(super) fn trap(&mut self, vector: u8, error: u32) -> Result<(), End> {
        self.exit(Trap {
            vector,
            error,
            cr2: 0,
        })
    }

    pub(super) fn page_fault(&mut self, cr2: u64, error: u32) -> Result<(), End> {
        self.exit(Trap {
            vector: 14,
            error,
            cr2,
        })
    }

    pub(super) fn exit(&mut self, trap: Trap) -> Result<(), End> {
        self.guest.on_trap(&mut self.regs, trap, &self.clock)
    }

    pub(super) fn enter(&mut self) -> Result<Next, End> {
        self.guest.host_event();
        match self.guest.before_entry(&mut self.regs, &self.clock) {
            // What devices left is the host's business.
            Ok(Next::Polled) => Ok(Next::Enter),
            next => next,
        }
    }

    /// #GP(0) on `code`, which the guest has at EIP.
    pub(super) fn privileged(&mut self, code: &[u8]) -> Result<(), End> {
        self.regs.eip = CODE;
        self.put(CODE, code);
        self.trap(13, 0)
    }

    pub(super) fn load_gate(&mut self, vector: u8, kind: u32) {
        let handler = handler(vector);
        let words = [
            u32::from(vector),
            0x0008_0000 | handler & 0xffff,
            handler & 0xffff_0000 | kind,
        ];
        let saved = self.regs.clone();
        self.call(hypercall::LOAD_IDT_ENTRY, words).unwrap();
        self.regs = saved;
    }

    /// Puts a call into `slot` and marks it ready.
    pub(super) fn queue(&self, slot: u32, [number, arguments @ ..]: [u32; 5]) {
        let Generation {
            slot: layout, data, ..
        } = self.guest.generation();
        let start = DATA + data.hcalls + slot * layout.size();
        for (at, word) in (start..).step_by(4).zip(layout.words(number, arguments)) {
            self.put_word(at, word);
        }
        self.put(DATA + data.hcall_status + slot, &[0]);
    }

    pub(super) fn slot_status(&self, slot: u32) -> u8 {
        self.word(DATA + self.guest.generation().data.hcall_status + slot) as u8
    }

    pub(super) fn enter_ring_3(&mut self) {
        self.regs.cs = USER_CS;
        self.regs.ss = USER_DS;
        self.regs.eip = 0x1_2345;
        self.regs.esp = 0x1_6000;
    }

    pub(super) fn mmu(&mut self) -> &mut FakeMmu {
        self.guest.mmu_mut()
    }

    pub(super) fn told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.mmu().told)
    }

    /// Accesses to memory since this was last asked.
    pub(super) fn accesses(&self) -> u32 {
        self.guest.memory().accesses.replace(0)
    }

    pub(super) fn ram(&self) -> Vec<u8> {
        self.guest.memory().bytes.borrow().clone()
    }
}

/// Where the fixture's guest has its handler for `vector`.
pub(super) fn handler(vector: u8) -> u32 {
    0x1_0000 + 16 * u32::from(vector)
}

/// The line that ends the guest.
pub(super) fn killed(result: Result<impl std::fmt::Debug, End>) -> String {
    match result {
        Err(End::Killed(kill)) => kill.to_string(),
        other => panic!("not killed: {other:?}"),
    }
}
