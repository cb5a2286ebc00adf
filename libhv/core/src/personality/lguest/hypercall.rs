//! Hypercalls: one decoder, over the table that says what the guest's generation of the ABI has.

use super::counters::count;
use super::ring::Drained;
use super::trap::refuse_virtual_8086;
use super::{Changes, Lguest};
use crate::address::{Gpa, Gva};
use crate::clock::Clock;
use crate::device::Devices;
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::personality::{End, LeafChange, Mmu, NoMiddleTables, Progress, Ts};
use crate::registers::{Registers, eflags};
use crate::segment::{Descriptor, NoSuchEntry, Replaced};
use hv_abi::lguest::{
    Arguments, GDT_ENTRIES, Hypercall, Silence, TLS_ENTRIES, TRAP_HYPERCALL, TopIndex,
};

/// A call as a guest made it: by `int` or through the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Call {
    pub(super) number: u32,
    arguments: [u32; 4],
}

impl Call {
    /// From the registers that `int` or `vmcall` was executed with (LG-022, LG-023).
    fn from_registers(regs: &Registers, order: Arguments) -> Self {
        let arguments = match order {
            Arguments::EbxEcxEdxEsi => [regs.ebx, regs.ecx, regs.edx, regs.esi],
            Arguments::EdxEbxEcx => [regs.edx, regs.ebx, regs.ecx, 0],
        };
        Self {
            number: regs.eax,
            arguments,
        }
    }

    /// What it says, if it is SET_PTE. The high word means something to guests with entries of 64 bits.
    #[inline(always)]
    pub(super) fn leaf_change(&self) -> LeafChange {
        let [root, gva, low, high] = self.arguments;
        LeafChange {
            root: Gpa::from(root),
            gva: Gva::new(gva),
            entry: u64::from(high) << 32 | u64::from(low),
        }
    }

    /// From a slot of the ring (LG-053).
    #[inline(always)]
    pub(super) const fn queued(number: u32, arguments: [u32; 4]) -> Self {
        Self { number, arguments }
    }
}

/// What a call gives back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// Nothing: EAX stays as it is (LG-025).
    None,
    /// A value for EAX.
    Eax(u32),
    /// Nothing, but a device had to do with it, which takes long: it is the last call of this exit.
    Long,
    /// The call is to be made again: it takes longer than one exit should.
    Unfinished,
}

impl From<Progress> for Reply {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Done => Reply::None,
            Progress::Unfinished => Reply::Unfinished,
        }
    }
}

/// Length of `int n`, by which every hypercall is made in the end.
const INT_LENGTH: u32 = 2;

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// `int $0x1f` from ring 1. Most exits are; so what a call needs that does nothing is all in line, and the rest is
    /// elsewhere.
    ///
    /// # Errors
    /// How the guest ended.
    #[inline(always)]
    pub fn on_hypercall(&mut self, regs: &mut Registers, clock: &impl Clock) -> Result<(), End> {
        count(&mut self.counters.exits, TRAP_HYPERCALL.into(), 1);
        // Two rare cases in one test: see `rare_hypercall`.
        if regs.eflags & (eflags::VM | eflags::TF) != 0 {
            return self.rare_hypercall(regs, clock);
        }
        if self.data.is_none() {
            return self.rare_hypercall(regs, clock);
        }
        let known = self.generation.call(regs.eax);
        count(&mut self.counters.calls, regs.eax, 1);
        match known {
            // Both are done by having come here: the ring is empty, and interrupts are considered
            // before the next entry. They are the calls that guests make most often.
            Some(Hypercall::FlushAsync | Hypercall::SendInterrupts) if self.is_ring_empty()? => {
                return Ok(());
            }
            Some(Hypercall::SetPte) if self.is_ring_empty()? => {
                return Ok(self.set_pte_directly(regs)?);
            }
            _ => {}
        }
        self.hypercall(regs, clock)?;
        Ok(())
    }

    /// SET_PTE with nothing queued before it, which ends most faults of Linux's. In one function, so that registers are saved once.
    #[inline(never)]
    fn set_pte_directly(&mut self, regs: &Registers) -> Result<(), Kill> {
        if self.generation.arguments != Arguments::EbxEcxEdxEsi {
            let call = Call::from_registers(regs, self.generation.arguments);
            return self.set_pte(call.leaf_change());
        }
        // Known here, the order of the arguments costs nothing.
        let call = Call::from_registers(regs, Arguments::EbxEcxEdxEsi);
        self.mmu.set_pte(&self.memory, call.leaf_change())
    }

    /// SET_PTE by a way that is rarely taken.
    #[inline(never)]
    fn set_pte(&mut self, change: LeafChange) -> Result<(), Kill> {
        self.mmu.set_pte(&self.memory, change)
    }

    /// A call of a guest that single-steps, or that has not said yet where it has its shared memory.
    #[inline(never)]
    fn rare_hypercall(&mut self, regs: &mut Registers, clock: &impl Clock) -> Result<(), End> {
        refuse_virtual_8086(regs)?;
        if self.data.is_none() {
            self.settle_generation(regs)?;
        }
        count(&mut self.counters.calls, regs.eax, 1);
        if self.hypercall(regs, clock)? == Progress::Done {
            self.interrupts.note_single_step(regs);
        }
        Ok(())
    }

    /// The ring first, then the call itself. EIP is past the instruction already, and no register but EAX changes
    /// (LG-020, LG-024).
    ///
    /// What takes longer than one exit should is split: EIP goes back to the instruction, as if the exit had
    /// come before it, and the next exit goes on where this one stopped.
    #[inline(never)]
    fn hypercall(&mut self, regs: &mut Registers, clock: &impl Clock) -> Result<Progress, End> {
        let call = Call::from_registers(regs, self.generation.arguments);
        if self.drain_ring(clock)? == Drained::Part {
            regs.eip = regs.eip.wrapping_sub(INT_LENGTH);
            return Ok(Progress::Unfinished);
        }
        match self.execute(&call, clock)? {
            Reply::None | Reply::Long => {}
            Reply::Eax(value) => regs.eax = value,
            Reply::Unfinished => {
                regs.eip = regs.eip.wrapping_sub(INT_LENGTH);
                return Ok(Progress::Unfinished);
            }
        }
        Ok(Progress::Done)
    }

    /// Carries out one call from the ring.
    #[inline(never)]
    pub(super) fn execute_queued(&mut self, call: &Call, clock: &impl Clock) -> Result<Reply, End> {
        self.execute(call, clock)
    }

    /// Carries out one call.
    #[inline(always)]
    fn execute(&mut self, call: &Call, clock: &impl Clock) -> Result<Reply, End> {
        let known = self.generation.call(call.number);
        if self.data.is_none() && known != Some(Hypercall::Init) {
            return Err(Kill::CallBeforeInit(call.number).into());
        }
        let Some(known) = known else {
            return Err(Kill::BadHypercall(call.number).into());
        };
        let [first, second, third, _] = call.arguments;
        match known {
            // See `on_hypercall`.
            Hypercall::FlushAsync | Hypercall::SendInterrupts => {}
            Hypercall::SetPte => self.set_pte(call.leaf_change())?,
            Hypercall::Init => return Ok(self.init(Gpa::from(first), clock)?.into()),
            Hypercall::Crash => return Err(self.shutdown(Gpa::from(first), 0)),
            Hypercall::Shutdown => return Err(self.shutdown(Gpa::from(first), second)),
            Hypercall::NewPgtable => return Ok(self.new_pgtable(Gpa::from(first))?.into()),
            Hypercall::FlushTlb if first == 0 => {
                return Ok(self.mmu.flush_user(&self.memory)?.into());
            }
            Hypercall::FlushTlb => self.mmu.flush_all(&self.memory)?,
            Hypercall::LoadIdtEntry => self.load_idt_entry(first, second, third)?,
            Hypercall::SetStack => self.set_stack(first, second, third)?,
            Hypercall::Ts => self.set_ts(if first == 0 { Ts::Clear } else { Ts::Set }),
            Hypercall::SetClockEvent => {
                self.interrupts.set_clock_event(clock.now(), first);
                self.changes.add(Changes::CLOCK);
            }
            Hypercall::Halt => self.interrupts.halt(),
            Hypercall::SetPgd => self.set_pgd(Gpa::from(first), second)?,
            Hypercall::SetPmd => self
                .mmu
                .set_pmd(&self.memory, Gpa::from(first))?
                .map_err(|NoMiddleTables| Kill::BadHypercall(call.number))?,
            Hypercall::LoadGdt => self.load_gdt(Gpa::from(first), second)?,
            Hypercall::LoadTls => self.load_tls(Gpa::from(first))?,
            Hypercall::LoadGdtEntry => {
                self.load_descriptor(first, Descriptor::from_words(second, third))?
            }
            Hypercall::Notify => {
                self.notify(first)?;
                return Ok(Reply::Long);
            }
            Hypercall::BindDma => return Ok(Reply::Eax(self.bind_dma(first, second, third)?)),
            Hypercall::SendDma => {
                self.send_dma(first, Gpa::from(second))?;
                return Ok(Reply::Long);
            }
        }
        Ok(Reply::None)
    }

    fn new_pgtable(&mut self, root: Gpa) -> Result<Progress, Kill> {
        self.root = root;
        self.mmu.new_pgtable(&self.memory, root)?;
        match self.generation.silence {
            Silence::None => Ok(Progress::Done),
            // R2: what this space lost while another was active was never announced.
            Silence::InactiveSpaces => self.mmu.flush_user(&self.memory),
        }
    }

    fn set_pgd(&mut self, root: Gpa, index: u32) -> Result<(), Kill> {
        match self.mmu.set_pgd(&self.memory, root, index) {
            Err(Kill::BadPgdIndex { .. }) if self.generation.top_index == TopIndex::Ignore => {
                Ok(())
            }
            result => result,
        }
    }

    /// The first `count` entries of the table at once (LG-059).
    #[inline(never)]
    fn load_gdt(&mut self, table: Gpa, count: u32) -> Result<(), Kill> {
        let mut bytes = [0; GDT_ENTRIES * 8];
        let length = (count as usize).saturating_mul(8);
        let bytes = bytes
            .get_mut(..length)
            .ok_or(Kill::TooManyGdtEntries(count))?;
        self.memory.read(table, bytes)?;
        for (index, &entry) in (0..).zip(bytes.as_chunks().0) {
            let descriptor = Descriptor::new(u64::from_le_bytes(entry));
            self.load_descriptor(index, descriptor)?;
        }
        Ok(())
    }

    fn load_idt_entry(&mut self, vector: u32, low: u32, high: u32) -> Result<(), Kill> {
        let loaded = self.gates.load(self.generation.idt, vector, low, high)?;
        if loaded.is_some_and(|vector| self.opens_to_software(vector)) {
            self.changes.add(Changes::GATES);
        }
        Ok(())
    }

    fn load_descriptor(&mut self, index: u32, descriptor: Descriptor) -> Result<(), Kill> {
        self.gdt
            .load(index, descriptor)
            .map_err(|NoSuchEntry(index)| Kill::TooManyGdtEntries(index))?;
        self.changes.add(Changes::GDT);
        Ok(())
    }

    fn load_tls(&mut self, table: Gpa) -> Result<(), Kill> {
        let mut bytes = [0; TLS_ENTRIES * 8];
        self.memory.read(table, &mut bytes)?;
        let mut descriptors = [Descriptor::ABSENT; TLS_ENTRIES];
        for (descriptor, &bytes) in descriptors.iter_mut().zip(bytes.as_chunks().0) {
            *descriptor = Descriptor::new(u64::from_le_bytes(bytes));
        }
        if self.gdt.load_tls(descriptors) == Replaced::Others {
            self.changes.add(Changes::GDT);
        }
        Ok(())
    }
}
