//! Hypercalls: one decoder over tables that say what a generation of the ABI has.

use super::counters::count;
use super::{Activity, Changes, Lguest};
use crate::address::{Gpa, Gva};
use crate::clock::Clock;
use crate::device::Devices;
use crate::kill::Kill;
use crate::memory::GuestMemory;
use crate::personality::{End, Mmu, NoMiddleTables, Ts};
use crate::registers::Registers;
use crate::segment::{Descriptor, NoSuchEntry};
use hv_abi::lguest::TLS_ENTRIES;

/// What a call asks for, whatever its number and registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hypercall {
    FlushAsync,
    Init,
    Shutdown,
    NewPgtable,
    FlushTlb,
    LoadIdtEntry,
    SetStack,
    Ts,
    SetClockEvent,
    Halt,
    SetPte,
    SetPgd,
    SetPmd,
    LoadTls,
    LoadGdtEntry,
    SendInterrupts,
}

/// Registers that carry arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ArgumentRegister {
    Ebx,
    Ecx,
    Edx,
    Esi,
}

/// What differs between generations of the ABI.
struct Generation {
    /// By number.
    calls: [Option<Hypercall>; 20],
    /// Where arguments 1 to 4 are.
    arguments: [ArgumentRegister; 4],
}

/// Linux 4.x to 4.13 (2.3).
const G5: Generation = Generation {
    calls: [
        Some(Hypercall::FlushAsync),
        Some(Hypercall::Init),
        Some(Hypercall::Shutdown),
        None,
        Some(Hypercall::NewPgtable),
        Some(Hypercall::FlushTlb),
        Some(Hypercall::LoadIdtEntry),
        Some(Hypercall::SetStack),
        Some(Hypercall::Ts),
        Some(Hypercall::SetClockEvent),
        Some(Hypercall::Halt),
        None,
        None,
        Some(Hypercall::SetPmd), // With PAE only (LG-032): what to do then is the tables' to say.
        Some(Hypercall::SetPte),
        Some(Hypercall::SetPgd),
        Some(Hypercall::LoadTls),
        None, // NOTIFY ended with generation G4 (LG-031).
        Some(Hypercall::LoadGdtEntry),
        Some(Hypercall::SendInterrupts),
    ],
    arguments: [
        ArgumentRegister::Ebx,
        ArgumentRegister::Ecx,
        ArgumentRegister::Edx,
        ArgumentRegister::Esi,
    ],
};

/// A call as a guest made it: by `int` or through the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Call {
    pub(super) number: u32,
    arguments: [u32; 4],
}

impl Call {
    fn from_registers(regs: &Registers) -> Self {
        let arguments = G5.arguments.map(|register| match register {
            ArgumentRegister::Ebx => regs.ebx,
            ArgumentRegister::Ecx => regs.ecx,
            ArgumentRegister::Edx => regs.edx,
            ArgumentRegister::Esi => regs.esi,
        });
        Self {
            number: regs.eax,
            arguments,
        }
    }

    /// From a ring slot: EAX, EBX, ECX, EDX, ESI (LG-053).
    pub(super) fn from_slot(slot: &[u8; 20]) -> Self {
        let word = |index: usize| {
            slot.as_chunks()
                .0
                .get(index)
                .copied()
                .map_or(0, u32::from_le_bytes)
        };
        let regs = Registers {
            eax: word(0),
            ebx: word(1),
            ecx: word(2),
            edx: word(3),
            esi: word(4),
            ..Registers::default()
        };
        Self::from_registers(&regs)
    }
}

impl<M: GuestMemory, U: Mmu, D: Devices> Lguest<M, U, D> {
    /// `int $0x1f` from ring 1: the ring first, then the call itself. EIP is past the instruction
    /// already, and no register changes (LG-020, LG-024).
    pub(super) fn hypercall(&mut self, regs: &Registers, clock: &impl Clock) -> Result<(), End> {
        let call = Call::from_registers(regs);
        count(&mut self.counters.calls, call.number);
        self.drain_ring(clock)?;
        self.execute(&call, clock)?;
        self.interrupts.note_single_step(regs);
        Ok(())
    }

    /// Carries out one call.
    #[inline]
    pub(super) fn execute(&mut self, call: &Call, clock: &impl Clock) -> Result<(), End> {
        let known = G5.calls.get(call.number as usize).copied().flatten();
        if self.data.is_none() && known != Some(Hypercall::Init) {
            return Err(Kill::CallBeforeInit(call.number).into());
        }
        let Some(known) = known else {
            return Err(Kill::BadHypercall(call.number).into());
        };
        let [first, second, third, fourth] = call.arguments;
        match known {
            // Both are done by having come here: the ring is empty, and interrupts are considered
            // before the next entry.
            Hypercall::FlushAsync | Hypercall::SendInterrupts => {}
            Hypercall::Init => self.init(Gpa::from(first), clock)?,
            Hypercall::Shutdown => return Err(self.shutdown(Gpa::from(first), second)),
            Hypercall::NewPgtable => self.new_pgtable(Gpa::from(first))?,
            Hypercall::FlushTlb if first == 0 => self.mmu.flush_user(&self.memory)?,
            Hypercall::FlushTlb => self.mmu.flush_all(&self.memory)?,
            Hypercall::LoadIdtEntry => self.load_idt_entry(first, second, third)?,
            Hypercall::SetStack => self.set_stack(first, second, third)?,
            Hypercall::Ts => self.set_ts(if first == 0 { Ts::Clear } else { Ts::Set }),
            Hypercall::SetClockEvent => self.interrupts.set_clock_event(clock.now(), first),
            Hypercall::Halt => self.activity = Activity::Halted,
            Hypercall::SetPte => {
                let (root, gva) = (Gpa::from(first), Gva::new(second));
                // The high word means something to guests with entries of 64 bits.
                let entry = u64::from(fourth) << 32 | u64::from(third);
                self.mmu.set_pte(&self.memory, root, gva, entry)?;
            }
            Hypercall::SetPgd => self.mmu.set_pgd(&self.memory, Gpa::from(first), second)?,
            Hypercall::SetPmd => self
                .mmu
                .set_pmd(&self.memory, Gpa::from(first))?
                .map_err(|NoMiddleTables| Kill::BadHypercall(call.number))?,
            Hypercall::LoadTls => self.load_tls(Gpa::from(first))?,
            Hypercall::LoadGdtEntry => self.load_gdt_entry(first, second, third)?,
        }
        Ok(())
    }

    fn new_pgtable(&mut self, root: Gpa) -> Result<(), Kill> {
        self.root = root;
        self.mmu.new_pgtable(&self.memory, root)
    }

    fn load_idt_entry(&mut self, vector: u32, low: u32, high: u32) -> Result<(), Kill> {
        if self
            .gates
            .load(vector, low, high)?
            .is_some_and(super::opens_to_software)
        {
            self.changes.add(Changes::GATES);
        }
        Ok(())
    }

    fn load_gdt_entry(&mut self, index: u32, low: u32, high: u32) -> Result<(), Kill> {
        self.gdt
            .load(index, Descriptor::from_words(low, high))
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
        self.gdt.load_tls(descriptors);
        self.changes.add(Changes::GDT);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hv_abi::lguest::hypercall;

    /// LG-031, LG-032: the table agrees with the numbers of the ABI and has no others.
    #[test]
    fn lg031_lg032_every_call_is_at_its_number() {
        let numbers = [
            (hypercall::FLUSH_ASYNC, Hypercall::FlushAsync),
            (hypercall::LGUEST_INIT, Hypercall::Init),
            (hypercall::SHUTDOWN, Hypercall::Shutdown),
            (hypercall::NEW_PGTABLE, Hypercall::NewPgtable),
            (hypercall::FLUSH_TLB, Hypercall::FlushTlb),
            (hypercall::LOAD_IDT_ENTRY, Hypercall::LoadIdtEntry),
            (hypercall::SET_STACK, Hypercall::SetStack),
            (hypercall::TS, Hypercall::Ts),
            (hypercall::SET_CLOCKEVENT, Hypercall::SetClockEvent),
            (hypercall::HALT, Hypercall::Halt),
            (hypercall::SET_PMD, Hypercall::SetPmd),
            (hypercall::SET_PTE, Hypercall::SetPte),
            (hypercall::SET_PGD, Hypercall::SetPgd),
            (hypercall::LOAD_TLS, Hypercall::LoadTls),
            (hypercall::LOAD_GDT_ENTRY, Hypercall::LoadGdtEntry),
            (hypercall::SEND_INTERRUPTS, Hypercall::SendInterrupts),
        ];
        for (number, call) in numbers {
            assert_eq!(G5.calls[number as usize], Some(call));
        }
        assert_eq!(G5.calls.iter().flatten().count(), numbers.len());
    }

    /// LG-023, LG-053.
    #[test]
    fn lg023_lg053_registers_and_slots_carry_the_same_words() {
        let regs = Registers {
            eax: 14,
            ebx: 1,
            ecx: 2,
            edx: 3,
            esi: 4,
            edi: 5,
            ..Registers::default()
        };
        let mut slot = [0; 20];
        for (index, word) in [14_u32, 1, 2, 3, 4].into_iter().enumerate() {
            slot[index * 4..][..4].copy_from_slice(&word.to_le_bytes());
        }
        let call = Call {
            number: 14,
            arguments: [1, 2, 3, 4],
        };
        assert_eq!(Call::from_registers(&regs), call);
        assert_eq!(Call::from_slot(&slot), call);
    }
}
