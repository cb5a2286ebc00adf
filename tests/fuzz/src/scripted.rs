//! A guest whose processor does what the input says, on the real shadow, bus and devices.

use crate::far_ends::{Model, Shared, plug};
use crate::memory::Memory;
use hv_abi::lguest::{Arguments, Entry, Generation, Hypercall, Noirq, PAGE_OFFSET, data};
use hv_core::address::{Gpa, Gva};
use hv_core::clock::{Clock, Nanos, Processor, WallTime};
use hv_core::device::bus::{Bus, SHARED_FRAMES};
use hv_core::device::pci::PciBus;
use hv_core::frames::TablePool as _;
use hv_core::generation::Choice;
use hv_core::load::boot_tables::Plan;
use hv_core::load::{Linux, Start};
use hv_core::paging::Paging;
use hv_core::personality::lguest::Lguest;
use hv_core::personality::{End, Mmu, Next, Trap};
use hv_core::registers::{Registers, eflags};
use hv_core::segment::Descriptor;
use hv_core::shadow::{AnyFormatShadow, Slot};
use hv_machine::Pool;

/// Bytes of RAM.
pub const RAM: u32 = 0x1_0000;
/// Frames of RAM, by what they hold when the guest starts. The two at the end hold the tables that some
/// generations start on.
pub mod frame {
    pub const ROOT: u32 = 0x1000;
    pub const CODE: u32 = 0x2000;
    pub const LEAF: u32 = 0x3000;
    pub const DATA: u32 = 0x4000;
    pub const PAE_ROOT: u32 = 0x5000;
    pub const PAE_DIRECTORY: u32 = 0x6000;
    pub const PAE_LEAF: u32 = 0x7000;
    pub const STACK_TOP: u32 = 0x9000;
    pub const TRAP_STACK_TOP: u32 = 0xb000;
    pub const SCRATCH: u32 = 0xc000;
}
/// Addresses that mean something to this guest.
pub const PLACES: [u32; 16] = [
    frame::ROOT,
    frame::CODE,
    frame::LEAF,
    frame::DATA,
    frame::PAE_ROOT,
    frame::PAE_DIRECTORY,
    frame::PAE_LEAF,
    frame::STACK_TOP - 16,
    frame::TRAP_STACK_TOP,
    frame::SCRATCH,
    RAM - 4,
    RAM,
    PAGE_OFFSET,
    PAGE_OFFSET + frame::CODE,
    RAM + (1 << 20),
    0xffc0_0000,
];
/// What it says to be its `iret`.
const NOIRQ: u32 = frame::CODE + 0xf00;
const SHADOW_TABLES: usize = 12;
const ROOTS: usize = 3;
/// Accesses to guest memory that one exit and the entry after it may make: a round of everything that all
/// devices can do.
const ACCESSES: usize = 1 << 16;

type Virtual = Lguest<Memory, AnyFormatShadow<Pool, Vec<Slot>>, Bus<Model>>;

/// Time that the input moves.
pub struct ScriptedClock(pub u64);

impl Clock for ScriptedClock {
    fn now(&self) -> Nanos {
        Nanos(self.0)
    }

    fn wall(&self) -> WallTime {
        WallTime {
            seconds: 1_000_000,
            nanoseconds: 7,
        }
    }

    fn tsc_khz(&self) -> u32 {
        2_000_000
    }

    fn processor(&self) -> Processor {
        Processor::Other
    }
}

/// The guest and its processor.
pub struct Guest {
    pub lguest: Virtual,
    pub regs: Registers,
    pub clock: ScriptedClock,
    pub far: Shared,
}

impl Guest {
    /// A guest of `generation` that has written its tables and its `lguest_data`, and made no call.
    pub fn new(generation: &'static Generation, choice: Choice, paging: Paging) -> Self {
        let mut memory = Memory::new((RAM >> 12).into(), SHARED_FRAMES);
        write_tables(&memory);
        write_data(&memory, generation);
        let far = Shared::default();
        let mut pci = PciBus::new(Gpa::from(RAM));
        plug(&mut pci, &far);
        memory.reserve_for_registers(pci.device_limit());
        let slots = (0..SHADOW_TABLES).map(|_| Slot::default()).collect();
        let mut shadow = AnyFormatShadow::new(Pool::new(SHADOW_TABLES), slots, ROOTS, paging);
        let mut tables = Plan::new(RAM.into(), RAM, PAGE_OFFSET, paging);
        let root = tables
            .write(&memory, generation.entry)
            .expect("there is room for them");
        if let Some(root) = root {
            shadow.new_pgtable(&memory, root).expect("they are RAM");
        }
        let entry = match generation.entry {
            Entry::Marker => PAGE_OFFSET + frame::CODE,
            _ => frame::CODE,
        };
        let start = Start {
            entry: Gva::new(entry),
            choice,
            generation,
            root,
            tables: Some(tables),
            page_offset: PAGE_OFFSET,
            linux: Linux::NothingKnown,
        };
        let lguest = Lguest::new(memory, shadow, Bus::new(pci), &start);
        let mut regs = Virtual::entry_registers(entry);
        regs.esp = frame::STACK_TOP;
        Self {
            lguest,
            regs,
            clock: ScriptedClock(5_000),
            far,
        }
    }

    /// Makes the calls by which a kernel starts: LGUEST_INIT, its segments, its stack, and a gate for each
    /// vector that a guest can have.
    pub fn start(&mut self) -> Result<(), End> {
        self.call(Hypercall::Init, [frame::DATA, 0, 0, 0])?;
        let user = [[0xffff, 0x00cf_fa00], [0xffff, 0x00cf_f200]];
        for (index, [low, high]) in (14..).zip(user) {
            self.call(Hypercall::LoadGdtEntry, [index, low, high, 0])?;
        }
        for vector in (0..15).chain(32..36).chain([0x80]) {
            let kind = if vector == 0x80 { 0xef00 } else { 0x8e00 };
            let handler = frame::CODE + 0x800 + 16 * (vector & 0x3f);
            let words = [vector, 0x61 << 16 | handler & 0xffff, kind, 0];
            self.call(Hypercall::LoadIdtEntry, words)?;
        }
        let pages = match self.lguest.generation().entry {
            // Its stack is mapped somewhere else.
            Entry::Marker => 0,
            _ => 1,
        };
        self.call(Hypercall::SetStack, [0x69, frame::TRAP_STACK_TOP, pages, 0])?;
        let blocked = frame::DATA + data::BLOCKED_INTERRUPTS;
        self.lguest.memory().put_word(blocked.into(), 0);
        self.lguest.memory().take_accesses();
        Ok(())
    }

    /// Makes a call, if the generation has it.
    fn call(&mut self, wanted: Hypercall, arguments: [u32; 4]) -> Result<(), End> {
        let mut calls = self.lguest.generation().calls.into_iter();
        let Some(number) = calls.position(|call| call == Some(wanted)) else {
            return Ok(());
        };
        self.load_call(number as u32, arguments);
        self.exit(31, 0, 0)
    }

    /// Loads the registers as for a call.
    pub fn load_call(&mut self, number: u32, [first, second, third, fourth]: [u32; 4]) {
        let regs = &mut self.regs;
        regs.eax = number;
        [regs.ebx, regs.ecx, regs.edx] = match self.lguest.generation().arguments {
            Arguments::EbxEcxEdxEsi => [first, second, third],
            Arguments::EdxEbxEcx => [second, third, first],
        };
        regs.esi = fourth;
    }

    /// An exit of the guest.
    pub fn exit(&mut self, vector: u8, error: u32, cr2: u64) -> Result<(), End> {
        let trap = Trap { vector, error, cr2 };
        self.lguest.on_trap(&mut self.regs, trap, &self.clock)
    }

    /// What comes before the next entry.
    pub fn enter(&mut self) -> Result<Next, End> {
        self.lguest.host_event();
        let next = self.lguest.before_entry(&mut self.regs, &self.clock)?;
        self.check_entry();
        Ok(next)
    }

    /// What the host's safety rests on when it enters a guest.
    fn check_entry(&mut self) {
        let flags = self.regs.eflags;
        assert_eq!(flags & !(eflags::GUEST | eflags::FORCED), 0);
        assert_eq!(flags & eflags::FORCED, eflags::FORCED);
        for (index, &raw) in self.lguest.gdt().iter().enumerate() {
            let live = Descriptor::new(raw);
            assert!(
                raw == 0 || live.for_guest() == Ok(live),
                "{index}: {raw:#x}"
            );
            assert!(raw == 0 || ![0, 10, 11, 16, 31].contains(&index));
        }
        assert_eq!(self.lguest.gate_privilege(31), 1);
        if !self.lguest.take_changes().is_empty() {
            let syscalls = [0x80, 0x40];
            for vector in (0..=255).filter(|vector| *vector != 31) {
                let privilege = self.lguest.gate_privilege(vector);
                let may_open = matches!(vector, 3 | 4) || syscalls.contains(&vector);
                assert!(privilege == 0 || may_open, "vector {vector}");
                assert!(privilege <= 3);
            }
        }
        let accesses = self.lguest.memory().take_accesses();
        assert!(accesses < ACCESSES, "{accesses} accesses");
    }

    /// Audits the shadow of a guest that has come to this end, and takes its frames back.
    pub fn finish(mut self, end: Option<End>) {
        let audit = self.lguest.mmu().audit(self.lguest.memory());
        if let Err(failure) = audit {
            panic!("audit: {failure}");
        }
        let none = AnyFormatShadow::new(Pool::default(), Vec::new(), 1, Paging::Auto);
        let pool = std::mem::replace(self.lguest.mmu_mut(), none).release();
        assert_eq!(pool.available(), SHADOW_TABLES);
        match end {
            Some(End::Killed(kill)) => crate::targets::is_one_clean_line(&kill),
            Some(End::PowerOff(message) | End::Restart(message)) => {
                assert!(message.chars().all(|c| c.is_ascii_graphic() || c == ' '));
            }
            None => {}
        }
    }
}

/// Tables of both formats that map RAM at 0 and at PAGE_OFFSET; the two-level root has itself as a leaf table
/// as well.
fn write_tables(memory: &Memory) {
    let word = |at: u32, value: u32| memory.put_word(at.into(), value);
    for page in 0..RAM >> 12 {
        word(frame::LEAF + 4 * page, page << 12 | 7);
        word(frame::PAE_LEAF + 8 * page, page << 12 | 7);
    }
    for top in [0, PAGE_OFFSET >> 22] {
        word(frame::ROOT + 4 * top, frame::LEAF | 7);
    }
    word(frame::ROOT + 4 * 1022, frame::ROOT | 7);
    for top in [0, PAGE_OFFSET >> 30] {
        word(frame::PAE_ROOT + 8 * top, frame::PAE_DIRECTORY | 1);
    }
    word(frame::PAE_DIRECTORY, frame::PAE_LEAF | 7);
}

/// `lguest_data` as a guest of `generation` fills it.
fn write_data(memory: &Memory, generation: &Generation) {
    let layout = &generation.data;
    let at = |offset: u32| u64::from(frame::DATA + offset);
    memory.put(at(layout.hcall_status), &[0xff; 64]);
    memory.put_word(at(data::BLOCKED_INTERRUPTS), 1);
    match layout.noirq {
        Noirq::Iret(offset) => memory.put_word(at(offset), NOIRQ),
        Noirq::Range(start, end) => {
            memory.put_word(at(start), NOIRQ);
            memory.put_word(at(end), NOIRQ + 16);
        }
    }
    if let Some(fields) = layout.kernel {
        memory.put_word(at(fields.address), PAGE_OFFSET);
        memory.put_word(at(fields.syscall_vector), 0x80);
    }
}
